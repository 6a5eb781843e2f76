"""`signet explain`: what would become of a message, told as one would."""

from harness import signet
from harness.messages import USUAL
from harness.smtp import message, submit

SECTIONS = """
domain "example.com" {
    subdomains = true
    also_sign = "example.org"
    expire = "30d"
    identity = "@example.com"
    selector "rsa" { key = "example.com/rsa.pem" }
    selector "next" { key = "example.com/ed.pem" state = publish }
    selector "old" { key = "example.com/rsa.pem" state = retired }
    selector "news" { key = "example.com/rsa.pem" from = "*@news.example.com" }
}
domain "example.org" { selector "ed" { key = "example.org/ed.pem" } }
"""


def explain(setup, data, check=0, signing="", extra=SECTIONS, **options):
    setup.domains = {}
    setup.extra = extra
    setup.signing = signing
    return signet.run("explain", config=setup.write(), stdin=data,
                      check=check, **options).stdout.decode()


def author(address):
    return USUAL.replace(b"Alice <alice@example.com>", address) + \
        b"\r\nHello.\r\n"


def test_it_tells_what_would_be_signed(setup):
    told = explain(setup(), author(b"alice@example.com"))
    for part in (
            "The author's domain, in From, is example.com.",
            'The section domain "example.com" (', "it is that domain's own",
            'selector "rsa": active, rsa-sha256 with 2048 bits, signs\n',
            'selector "next": publish, ed25519-sha256',
            'selector "old": retired, rsa-sha256',
            'does not sign: it is for the senders "*@news.example.com"',
            'also_sign brings in the section domain "example.org"',
            "2 signatures would be put on top",
            "a=rsa-sha256 c=relaxed/relaxed d=example.com s=rsa "
            "i=@example.com",
            "h=From:From:Reply-To:Subject:Subject:",
            "it expires (x=) on", "it does not expire (no x=)",
            "Signed: the From domain example.com is signed with 1 selector: "
            "rsa; also by example.org with 1 selector: ed."):
        assert part in told, (part, told)


def test_it_tells_why_a_selector_was_picked(setup):
    told = explain(setup(), author(b"a@news.example.com"))
    assert "it is the closest domain above, and has subdomains = true" in told
    assert 'signs: it names this sender, "*@news.example.com"' in told
    assert "does not sign: another selector names this sender" in told


def test_it_tells_what_stops_it(setup):
    for data, part in (
            (author(b"a@example.net"),
             "no domain section matches the From domain example.net"),
            (author(b"a@example.com, b@example.org"),
             "From names addresses of several domain sections"),
            (b"Subject: x\r\n\r\n", "there is no From field"),
            (b"From: a@example.com\r\nFrom: a@example.com\r\n\r\n",
             "there are 2 From fields"),
            (b"From: alice\r\n\r\n", "the From field cannot be read")):
        told = explain(setup(), data)
        assert "Passed on without a signature of ours: " in told
        assert part in told, told
        told = explain(setup(), data, signing='unsigned = "reject"')
        assert "Refused, since signing.unsigned" in told
        assert part in told, told


def test_it_tells_of_a_signature_that_is_there(setup):
    data = b"DKIM-Signature: v=1; d=example.com; s=x; b=\r\n" + \
        author(b"alice@example.com")
    for existing, part in (
            ("keep", "already: that one stays"),
            ("strip", "already: `signet sign` takes such ones away"),
            ("skip", "it carries a signature of example.com already")):
        told = explain(setup(), data, signing='existing = "%s"' % existing)
        assert part in told, told


def test_a_message_that_is_refused(setup):
    told = explain(setup(), author(b"alice@example.com") + b"a\rb\r\n",
                   check=65)
    assert "Signed: " in told
    assert "But the message is refused: " in told and "a bare CR" in told


def test_keys_that_cannot_be_loaded(setup):
    broken = SECTIONS.replace("example.org/ed.pem", "example.org/gone.pem")
    told = explain(setup(), author(b"alice@example.com"), extra=broken)
    assert "2 signatures would be put on top" in told
    assert "But the keys cannot be loaded" in told and "gone.pem" in told


def test_what_a_message_says_reaches_no_terminal_raw(setup):
    told = explain(setup(), b"From: a@[\x1b[31m\xc2\x9b]\r\n\r\n")
    assert "\x1b" not in told and "\x9b" not in told


def test_usage_and_missing_files(setup):
    configured = setup()
    assert signet.run("explain", "a", "b",
                      config=configured.write()).returncode == 64
    assert signet.run("explain", "/nonexistent/message",
                      config=configured.path).returncode == 65


def test_the_log_has_the_same_sentence(world):
    world.setup.domains = {}
    world.setup.extra = SECTIONS
    world.start()
    data = message()
    submit(world.relay.port, data)
    reason = world.relay.wait("accepted")["reason"]
    assert "is signed with 1 selector: rsa; also by example.org" in reason
    told = signet.run("explain", config=world.setup.path, stdin=data,
                      check=0).stdout.decode()
    assert "Signed: %s.\n" % reason in told
