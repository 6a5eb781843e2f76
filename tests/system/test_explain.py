"""`signet explain`: what would become of a message, told as one would."""

import os

from harness import signet
from harness.messages import USUAL
from harness.ports import free_port
from harness.smtp import Client, message, submit

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
            "h=From:To:Subject:Date:Message-ID:From:Reply-To:Subject:",
            "it expires (x=) on", "it does not expire (no x=)",
            "Signed: the From domain example.com is signed with 1 selector: "
            "rsa; also by example.org with 1 selector: ed."):
        assert part in told, (part, told)


def test_a_message_without_an_end(setup):
    """What is too large is not read, nor kept, to its end."""
    made = setup()
    made.domains, made.extra = {}, SECTIONS
    told = signet.run("explain", "/dev/zero", config=made.write(), check=65,
                      timeout=120).stdout
    assert b"But the relay refuses it: " in told


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
            ("strip", "already: such ones are taken away"),
            ("skip", "it carries a signature of example.com already")):
        told = explain(setup(), data, signing='existing = "%s"' % existing)
        assert part in told, told


def test_a_message_that_is_refused(setup):
    told = explain(setup(), author(b"alice@example.com") + b"a\rb\r\n",
                   check=65)
    assert "Signed: " in told
    assert "But the relay refuses it: " in told and "a bare CR" in told


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


# What preparation would do, and the words that say so.
ENCODED = message(body="x " * 600 + "\r\n")
PARTS = message(
    body="--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" +
    "äöü " * 300 + "\r\n--b\r\nContent-Type: application/pdf\r\n"
    "Content-Transfer-Encoding: base64\r\n\r\n" + "QUJD" * 300 +
    "\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n\r\n" +
    "z" * 1001 + "\r\n--c--\r\n--b--\r\n",
    extra="MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n")
FOREIGN = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x;\r\n" \
    b"\th=From:Date:Bcc; bh=x; b=x\r\n"
BCC = message(extra="Bcc: secret@example.org\r\n")
EIGHT = message(body="Grüße\r\n")
FOLDED = message(extra="X-List: " + "word " * 500 + "end\r\n")
MIXED_ENDS = message(body="a\rb\r\nc\nd\r\n")
PREAMBLE = message(
    body="x" * 1000 + "\r\n--b\r\n\r\nx\r\n--b--\r\n",
    extra="MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n")
FORWARDED = message(
    body=(FOREIGN + message(body="x" * 2000 + "\r\n")).decode(),
    extra="MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n")
PARTIAL = message(
    body="x" * 2000 + "\r\n", extra="MIME-Version: 1.0\r\nContent-Type: "
    "message/partial; id=x; number=1; total=2\r\n")


def bare(data, *names):
    """Without these fields."""
    return b"".join(line for line in data.splitlines(True)
                    if line.split(b":")[0].decode() not in names)


PREPARED = {
    "nothing": (message(), "", ["would change nothing in it"]),
    "long lines": (ENCODED, "", [
        "the message itself: encoded as quoted-printable"]),
    "long lines kept": (ENCODED, 'long_lines = "keep"', [
        "would change nothing", 'prepare.long_lines = "keep"']),
    "parts": (PARTS, "", [
        "part 1 (text/html): encoded as base64",
        "part 2 (application/pdf): the lines of its encoding broken",
        "part 3 (multipart/signed): stays as it is, a signed part",
        "lines over 998 octets stay: a signed part"]),
    "what others signed": (FOREIGN + bare(ENCODED, "Date"), "", [
        "would change nothing",
        "lines over 998 octets stay: the message carries a signature",
        "Date stays missing: a signature covers that it is not there"]),
    "ARC": (b"ARC-Seal: i=1; cv=none; d=example.org; s=x; b=x\r\n" + ENCODED,
            "", ["lines over 998 octets stay: the message carries a"]),
    "forwarded": (FORWARDED, "", ["would change nothing",
                                  "lines over 998 octets stay: "]),
    "partial": (PARTIAL, "", ["would change nothing",
                              "lines over 998 octets stay: "]),
    "preamble": (PREAMBLE, "", ["long lines between parts broken"]),
    "header": (FOLDED, "", ["the message itself: lines of its header folded"]),
    "Bcc": (BCC, "", []),
    "Bcc kept": (BCC, "remove_bcc = false", [
        "would change nothing", "Bcc stays: prepare.remove_bcc = false"]),
    "Bcc signed by others": (FOREIGN + BCC, "", [
        "Bcc stays: the message carries a signature"]),
    "fields": (bare(message(), "Date", "Message-ID"), "", ["h=From:To:Subject:"]),
    "fields not added": (
        bare(message(), "Date", "Message-ID"),
        "add_date = false add_message_id = false",
        ["Date stays missing: prepare.add_date = false",
         "Message-ID stays missing: prepare.add_message_id = false"]),
    "8-bit": (EIGHT, "", ['8-bit text stays: prepare.eight_bit = "keep"']),
    "8-bit encoded": (EIGHT, 'eight_bit = "encode"', [
        "the message itself: encoded as base64"]),
    "8-bit unsaid": (EIGHT, "add_mime_version = false", [
        "without MIME-Version: prepare.add_mime_version = false"]),
    "of a mailbox": (b"From alice Sat Nov 21 20:00:00 2026\r\n" + message(), "",
                     ["first line made X-Mailbox-Line"]),
    "line ends": (MIXED_ENDS, "", [
        'made CRLF by the listener "odd" (bare_newlines = "normalize"), '
        'refused by "apps"']),
}


def changes_told(told):
    lines = told.splitlines()
    if "The relay would change nothing in it." in lines:
        return []
    at = lines.index("The relay would change it before it is signed:")
    found = []
    for line in lines[at + 1:]:
        if not line.startswith("  ") or line == "  of its parts:":
            break
        found.append(line.strip())
    return found


def test_it_tells_what_the_relay_then_does(world):
    """Row by row the same changes, and the same sentence."""
    port = free_port()
    odd = 'listener "odd" { address = "127.0.0.1:%d" ' \
        'bare_newlines = "normalize" }\n' % port
    world.setup.extra = odd
    world.start()
    before, reloads = "", 0
    rows = sorted(PREPARED.items(), key=lambda row: row[1][1])
    for count, (name, (data, options, parts)) in enumerate(rows, 1):
        if options != before:
            world.setup.extra = odd + "prepare { %s }\n" % options
            world.setup.write()
            world.relay.hang_up()
            reloads += 1
            world.relay.wait("reload", count=reloads)
        before = options
        submit(port, data)
        event = world.relay.wait("accepted", count=count)
        told = signet.run("explain", config=world.setup.path, stdin=data,
                          check=0).stdout.decode()
        assert changes_told(told) == event["changed"], (name, told)
        assert "Signed: %s.\n" % event["reason"] in told, (name, told)
        for part in parts:
            assert part in told, (name, part, told)


REFUSED = {
    "bare CR": (message(body="a\rb\r\n"), "",
                'no listener has bare_newlines = "normalize"'),
    "NUL": (message(body="a\0b\r\n"), "", "it has a NUL"),
    "long line": (ENCODED, 'prepare { long_lines = "reject" }',
                  'prepare.long_lines = "reject"'),
    "long word": (message(extra="X: %s\r\n" % ("x" * 1000)), "",
                  "a header line over 998 octets cannot be folded"),
    "hops": (b"Received: x\r\n" * 3 + message(), "max_hops = 2",
             "it has 3 Received fields, over limits.max_hops"),
    "size": (message(body="x\r\n" * 1000), 'max_message_size = "2K"',
             "over limits.max_message_size"),
    "header": (message(extra="X: x\r\n" * 1000),
               'max_header_size = "2K"',
               "the header is larger than 2048 bytes"),
}


def test_it_tells_what_the_relay_refuses(world):
    """The relay does, for that reason."""
    world.start()
    for count, (name, (data, options, part)) in enumerate(REFUSED.items(), 1):
        is_limit = options.startswith("max")
        world.setup.extra = "" if is_limit else options
        world.setup.limits = options if is_limit else ""
        world.setup.write()
        world.relay.hang_up()
        world.relay.wait("reload", count=count)
        with Client(world.relay.port) as client:
            client.ehlo()
            code, lines = client.transaction("alice@example.com",
                                             ["bob@example.net"], data)
        assert 500 <= code < 600, (name, lines)
        told = signet.run("explain", config=world.setup.path, stdin=data,
                          check=65).stdout.decode()
        assert "But the relay refuses it: " in told, (name, told)
        assert part in told, (name, told)


def test_many_parts(setup):
    """Are told in bounded lines."""
    part = "--b\r\n\r\n" + "x" * 999 + "\r\n"
    told = explain(setup(), message(
        body=part * 30 + "--b--\r\n", extra="MIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=b\r\n"))
    assert told.count("    part ") == 20
    assert "and so on, 30 in all" in told


def test_options_end(setup):
    """Behind "--" a file may have any name."""
    configured = setup()
    path = configured.write()
    directory = os.path.dirname(path)
    for name, data in (("-x", message()), ("--", message())):
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)
        for command in ("explain", "sign"):
            done = signet.run(command, "--", name, config=path, check=0,
                              cwd=directory)
            assert b"example.com" in done.stdout
        done = signet.run("verify", "--", name, config=path, cwd=directory)
        assert done.returncode == 65
        assert b"no DKIM-Signature" in done.stderr
        assert signet.run("explain", "-x", config=path,
                          cwd=directory).returncode == 64
