"""A next hop without 8BITMIME gets a 7-bit version, signed for it."""

import base64
import email
import email.policy
import os

from harness import judge, signet
from harness.ports import free_port
from harness.postfix import as_sent
from harness.process import wait_for
from harness.smtp import message, submit

SEVEN = ("PIPELINING", "SIZE 100000000", "ENHANCEDSTATUSCODES")
SHORT = 'retry = {"1s"}\n expire = "60s"'
TEXT = "Grüße aus Berlin, und bis bald: ein Satz, der lang ist = 1\r\n"
UTF8 = ("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n")
# Mail for the sender, too: reports.
ZONES = {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
         "example.com": "@ IN MX 10 mx.example.net."}

MIXED = message(
    body="--b\r\nContent-Type: text/plain\r\n\r\nplain = 7-bit \r\n--b\r\n"
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\n<p>" + TEXT + "</p>\r\n--b--\r\n",
    extra="MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
    "Content-Type: multipart/alternative; boundary=b\r\n")
BINARY = message(
    extra="MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
    "Content-Transfer-Encoding: 8bit\r\n", body="") + \
    bytes(b for b in range(1, 256) if b not in (10, 13)) * 3 + b"\r\n"
FORWARDED = message(
    body=message(body=TEXT, extra=UTF8).decode(),
    extra="MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n"
    "Content-Transfer-Encoding: 8bit\r\n")

MESSAGES = {
    "no MIME": (message(body=TEXT), "quoted-printable"),
    "not UTF-8": (message(body="") + b"Gr\xfc\xdfe\r\n" + b"short\r\n" * 9,
                  "quoted-printable"),
    "text": (message(body=TEXT, extra=UTF8), "quoted-printable"),
    "other script": (message(body="日本語のテキスト\r\n", extra=UTF8),
                     "base64"),
    "one of two parts": (MIXED, "7bit"),
    "binary": (BINARY, "base64"),
    "forwarded": (FORWARDED, "7bit"),
    "large": (message(body=TEXT * 60000, extra=UTF8), "quoted-printable"),
}


def parse(data):
    return email.message_from_bytes(data, policy=email.policy.SMTP)


def leaves(data):
    return [part for part in parse(data).walk() if not part.is_multipart()]


def check_converted(data, sent, keys, encoding=None):
    """7-bit, signed, and as it was."""
    assert max(data) < 128
    verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
    assert [(one.selector, one.passed) for one in verdicts] == \
        [("rsa", True), ("ed", True)]
    before, after = leaves(sent), leaves(data)
    assert len(before) == len(after)
    for one, other in zip(before, after):
        assert one.get_content_type() == other.get_content_type()
        assert one.get_payload(decode=True) == other.get_payload(decode=True)
    parsed = parse(data)
    assert parsed["MIME-Version"] == "1.0"
    assert parsed["Content-Transfer-Encoding"] == \
        (encoding or "quoted-printable")
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        assert parsed.get_all(name) == parse(sent).get_all(name)
    assert len(parsed.get_all("Received")) == 1


def spooled(world):
    return os.listdir(os.path.join(world.setup.state_dir, "spool"))


def test_messages(world, keys):
    """And what needs no conversion goes as it is, on the same connection."""
    world.start(receiver_options={"extensions": SEVEN})
    for sent, encoding in MESSAGES.values():
        count = len(world.receiver.deliveries)
        submit(world.relay.port, sent)
        data = world.receiver.wait_deliveries(count + 1)[-1].data
        check_converted(data, sent, keys, encoding)
    plain = message(body="7-bit \r\n")
    submit(world.relay.port, plain)
    last = world.receiver.wait_deliveries(len(MESSAGES) + 1)[-1]
    assert last.data.endswith(plain)
    for one in world.receiver.deliveries:
        assert "BODY=" not in one.parameters
    world.relay.wait("delivered", count=len(MESSAGES) + 1)
    for event in world.relay.named("delivered")[:-1]:
        assert [one["algorithm"] for one in event["signatures"]] == \
            ["rsa-sha256", "ed25519-sha256"]
        assert any("encoded" in words for words in event["changed"]), event
    assert "changed" not in world.relay.named("delivered")[-1]
    for event in world.relay.named("accepted"):
        assert not any("encoded" in words for words in event["changed"])
    wait_for(lambda: not spooled(world), 10, "the spool to be empty")


def test_each_host_gets_what_it_takes(world, keys, receiver):
    """One message, two destinations: as it was signed first, and anew."""
    world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
                 "example.edu": "@ IN MX 10 mx\nmx IN A 127.0.0.3"})
    seven = receiver(world.setup.mx_port, "127.0.0.3", extensions=SEVEN)
    sent = MESSAGES["text"][0]
    submit(world.relay.port, sent,
           recipients=["bob@example.net", "bob@example.edu",
                       "carol@example.edu"])
    first = world.receiver.wait_deliveries(1)[0]
    assert first.data.endswith(sent) and "BODY=8BITMIME" in first.parameters
    assert all(one.passed for one in judge.dkimpy(
        first.data, judge.lookup_in(keys.records)))
    other = seven.wait_deliveries(1)[0]
    assert other.recipients == ["bob@example.edu", "carol@example.edu"]
    check_converted(other.data, sent, keys)
    for name in ("Received", "Date"):
        assert parse(first.data)[name] == parse(other.data)[name]


def test_postfix(setup, name_server, postfix, relay, keys):
    """A real host that does not offer it, and three judges."""
    configured = setup(mx_port=free_port())
    names = name_server({"example.net": ZONES["example.net"]})
    configured.resolver = names.resolver
    receiving = postfix(configured.mx_port, addresses=("127.0.0.2",),
                        extra="smtpd_discard_ehlo_keywords = 8bitmime\n")
    relay(configured)
    for count, name in enumerate(("no MIME", "one of two parts"), 1):
        sent, encoding = MESSAGES[name]
        submit(configured.port, sent)
        data = as_sent(receiving.wait_messages(count)[-1])
        verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
        assert [one.passed for one in verdicts] == [True, True]
        assert max(data) < 128
        assert parse(data)["Content-Transfer-Encoding"] == encoding
        for judged in (judge.opendkim([data], keys.records)[0],
                       judge.mail_dkim([data], names.port)[0]):
            assert judged and all(one.passed for one in judged), judged


def test_what_cannot_be_converted(world, keys):
    """5.6.3, and the sender is told why; the report, which quotes an 8-bit
    header, takes the same road."""
    smime = message(
        body="--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + TEXT +
        "\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n"
        "--b--\r\n", extra="MIME-Version: 1.0\r\nContent-Type: "
        'multipart/signed; boundary=b; protocol="application/pkcs7-signature"'
        "\r\n")
    foreign = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x;\r\n" \
        b"\th=From:Date; bh=x; b=x\r\n" + MESSAGES["text"][0]
    arc = b"ARC-Seal: i=1; a=rsa-sha256; d=example.org; s=x; b=x\r\n" + \
        MESSAGES["text"][0]
    header = message(body=TEXT, extra="X-Ort: Köln\r\n" + UTF8)
    world.setup.domains["relay.example.com"] = ["rsa"]
    keys.make("relay.example.com", "rsa", "rsa")
    world.start(ZONES, {"extensions": SEVEN})
    for count, (sent, why) in enumerate((
            (smime, "a signed part (multipart/signed)"),
            (foreign, "a DKIM-Signature that is not ours"),
            (arc, "an ARC set"), (header, "8-bit text in a header")), 1):
        submit(world.relay.port, sent)
        bounced = world.relay.wait("bounced", count=count)
        assert bounced["status"] == "5.6.3"
        assert bounced["reply"].endswith("cannot be converted: it has " + why)
        report = world.receiver.wait_deliveries(count)[-1]
        assert report.recipients == ["alice@example.com"]
        assert max(report.data) < 128
        assert why.encode() in report.data
        assert b"Status: 5.6.3" in report.data
        assert all(one.passed for one in judge.dkimpy(
            report.data, judge.lookup_in(keys.records)))
    quoted = parse(report.data).get_payload()[2]
    assert quoted["Content-Transfer-Encoding"] == "quoted-printable"
    assert "X-Ort: Köln".encode() in quoted.get_payload(decode=True)


def test_a_signature_of_ours_that_it_brought_along(world, keys):
    """Ours take its place, as they do that of what we had put on top."""
    world.start(receiver_options={"extensions": SEVEN})
    sent = MESSAGES["text"][0]
    signed = signet.run("sign", stdin=sent, check=0,
                        config=world.setup.path).stdout
    submit(world.relay.port, signed)
    data = world.receiver.wait_deliveries(1)[0].data
    check_converted(data, sent, keys)
    assert "DKIM-Signature removed" in world.relay.wait("delivered")["changed"]


def test_never_without_a_key_that_was_there(world, keys):
    """It was signed when it was accepted: until it can be again, it waits."""
    later = ["450 4.2.0 later"]
    world.setup.delivery = SHORT
    world.start(receiver_options={
        "extensions": SEVEN,
        "replies": {"MAIL": lambda _: later[0] if later else None}})
    sent = MESSAGES["no MIME"][0]
    submit(world.relay.port, sent)
    world.relay.wait("deferred")
    domains = world.setup.domains
    world.setup.domains = {"example.org": ["rsa"]}
    world.setup.write()
    world.relay.hang_up()
    world.relay.wait("reload")
    later.clear()
    deferred = world.relay.wait("deferred", status="4.7.5")
    assert "no domain section matches" in deferred["reply"]
    assert not world.receiver.deliveries
    world.setup.domains = domains
    world.setup.write()
    world.relay.hang_up()
    data = world.receiver.wait_deliveries(1)[0].data
    check_converted(data, sent, keys)


def test_killed_in_the_middle(world, keys):
    """What was made for the host is swept; it is made again."""
    world.setup.delivery = SHORT
    world.start(receiver_options={"extensions": SEVEN})
    sent = MESSAGES["large"][0]
    seen = []

    def kill(_):
        if not seen:
            seen.extend(spooled(world))
            world.relay.kill(True)
    world.receiver.replies["DATA"] = kill
    submit(world.relay.port, sent)
    wait_for(lambda: len(seen) == 2, 20, "a version beside the message")
    world.relay.process.wait(60)
    world.relay.start()
    check_converted(world.receiver.wait_deliveries(1)[0].data, sent, keys)
    world.relay.wait("delivered")
    wait_for(lambda: not spooled(world), 10, "the spool to be empty")


def test_stopped_in_the_middle(world, keys):
    """What is under way is finished, or left for the next start."""
    world.setup.delivery = SHORT
    world.start(receiver_options={"extensions": SEVEN})
    sent = MESSAGES["large"][0]
    for _ in range(3):
        submit(world.relay.port, sent)
    world.relay.stop()
    world.relay.start()
    for one in world.receiver.wait_deliveries(3):
        check_converted(one.data, sent, keys)
    wait_for(lambda: not spooled(world), 10, "the spool to be empty")


def test_lines_of_base64_decode_alike(world):
    """By another decoder than the one above."""
    world.start(receiver_options={"extensions": SEVEN})
    submit(world.relay.port, BINARY)
    data = world.receiver.wait_deliveries(1)[0].data
    body = data.split(b"\r\n\r\n", 1)[1]
    assert base64.b64decode(body) == BINARY.split(b"\r\n\r\n", 1)[1]
