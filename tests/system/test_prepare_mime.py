"""What hosts on the way would mangle is mended before it is signed; what arrives
says the same and verifies."""

import email
import email.policy

import pytest

from harness import judge
from harness.ports import free_port
from harness.postfix import as_sent
from harness.smtp import Client, message, submit

LONG = "Zeile mit Umlauten: äöü = 1; " * 60
ZONE = {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"}


def parse(data):
    return email.message_from_bytes(data, policy=email.policy.SMTP)


def longest(data):
    return max(len(line) for line in data.split(b"\r\n"))


def verified(data, keys):
    verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
    assert len(verdicts) == 2
    assert all(verdict.passed for verdict in verdicts), verdicts


def mixed():
    return message(
        body="preamble\r\n--=_o\r\n"
        "Content-Type: multipart/alternative; boundary=inner\r\n\r\n"
        "--inner\r\nContent-Type: text/plain; charset=utf-8; format=flowed\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\nflowed \r\ntext\r\n"
        "--inner\r\nContent-Type: text/html; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\n<p>" + LONG + "</p>\r\n"
        "--inner--\r\n\r\n--=_o\r\nContent-Type: application/json\r\n\r\n"
        "{" + '"a": 1, ' * 200 + "}\r\n--=_o\r\n"
        "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + "QUJD" * 1000 + "\r\n--=_o--\r\n",
        extra="MIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="=_o"\r\n')


MESSAGES = {
    "plain": message(body="short\r\n" + LONG + "\r\n"),
    "mixed": mixed(),
    "large": message(body=(LONG + "\r\nshort \r\n") * 1000),
    "forwarded": message(
        body=message(body="x" * 2000 + "\r\n").decode(),
        extra="MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n"),
    "preamble": message(
        body=LONG + "\r\n--b\r\n\r\nx\r\n--b--\r\n" + LONG + "\r\n",
        extra="MIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=b\r\n"),
    "header": message(extra="X-List: " + "word " * 500 + "end\r\n"),
}


def leaves(parsed):
    return [part for part in parsed.walk() if not part.is_multipart()]


@pytest.mark.parametrize("name", MESSAGES)
def test_long_lines(setup, name_server, postfix, relay, keys, name):
    """Through Postfix, which folds what is too long when it sends on."""
    configured = setup(mx_port=free_port())
    configured.resolver = name_server(ZONE).resolver
    receiving = postfix(configured.mx_port, addresses=("127.0.0.2",))
    running = relay(configured)
    sent = MESSAGES[name]
    assert longest(sent) > 998
    submit(configured.port, sent)
    data = as_sent(receiving.wait_messages(1)[0])
    verified(data, keys)
    assert longest(data) <= 998
    assert running.wait("accepted")["changed"]
    before, after = leaves(parse(sent)), leaves(parse(data))
    assert len(before) == len(after)
    for one, other in zip(before, after):
        assert one.get_content_type() == other.get_content_type()
        if one["Content-Type"]:
            assert one["Content-Type"] == other["Content-Type"]
        assert one.get_payload(decode=True) == other.get_payload(decode=True)
    for field in ("Subject", "From", "X-List"):
        assert parse(sent)[field] == parse(data)[field]


@pytest.mark.parametrize("mode", ("encode", "keep"))
def test_postfix_folds_what_was_kept(setup, name_server, postfix, receiver,
                                     relay, keys, mode):
    """The next host is a Postfix that sends on and folds at 998 octets: our
    signature survives that where the message was prepared, and only there."""
    configured = setup(mx_port=free_port())
    configured.extra = 'prepare { long_lines = "%s" }' % mode
    configured.resolver = name_server(ZONE).resolver
    last = receiver(free_port(), "127.0.0.4")
    postfix(configured.mx_port, addresses=("127.0.0.2",), extra="\n".join((
        "virtual_mailbox_domains =", "relay_domains = static:all",
        "relay_recipient_maps =", "relay_transport = smtp",
        "relayhost = [127.0.0.4]:%d" % last.port,
        "smtp_tls_security_level = none", "disable_dns_lookups = yes", "")))
    relay(configured)
    submit(configured.port, MESSAGES["plain"])
    data = last.wait_deliveries(1)[0].data
    verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
    assert [verdict.passed for verdict in verdicts] == [mode == "encode"] * 2


def test_a_long_line_is_refused_where_asked(world):
    world.setup.extra = 'prepare { long_lines = "reject" }'
    world.start()
    with Client(world.relay.port) as client:
        client.ehlo()
        code, lines = client.transaction("alice@example.com",
                                         ["bob@example.net"],
                                         MESSAGES["plain"])
    assert code == 554 and lines[-1].startswith("5.6.0 "), lines
    assert world.relay.wait("rejected")["reason"]


def test_what_others_have_signed_stays(world, keys):
    """Neither a foreign signature nor a signed part is broken."""
    world.start()
    foreign = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x;\r\n" \
        b"\th=From:Date; bh=x; b=x\r\n" + MESSAGES["plain"]
    parts = message(
        body="--b\r\nContent-Type: text/plain\r\n\r\n" + "x" * 2000 +
        "\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n"
        "--b--\r\n",
        extra="MIME-Version: 1.0\r\nContent-Type: multipart/signed; "
        "boundary=b; protocol=\"application/pgp-signature\"\r\n")
    for count, sent in enumerate((foreign, parts), 1):
        submit(world.relay.port, sent)
        data = world.receiver.wait_deliveries(count)[-1].data
        assert data.endswith(sent)
    for event in world.relay.named("accepted"):
        assert event["changed"] == []
        assert "998" in event["reason"]


def test_bcc(world, keys):
    world.start()
    sent = message(extra="Bcc: secret@example.org,\r\n other@example.org\r\n")
    submit(world.relay.port, sent)
    data = world.receiver.wait_deliveries(1)[0].data
    assert b"secret" not in data and b"other@" not in data
    assert data.endswith(sent.replace(
        b"Bcc: secret@example.org,\r\n other@example.org\r\n", b""))
    verified(data, keys)
    assert world.relay.wait("accepted")["changed"] == ["Bcc removed"]


@pytest.mark.parametrize("text, charset", (
    ("Grüße\r\n".encode(), "utf-8"),
    ("Grüße\r\n".encode("latin-1"), "unknown-8bit")))
def test_8bit_text_says_what_it_is(world, keys, text, charset):
    world.start()
    submit(world.relay.port, message(body="") + text)
    data = world.receiver.wait_deliveries(1)[0].data
    verified(data, keys)
    parsed = parse(data)
    assert parsed["MIME-Version"] == "1.0"
    assert parsed.get_content_charset() == charset
    assert parsed.get_payload(decode=True) == text


def test_bare_line_ends_are_normalized(world, keys):
    """And nothing in them ends the data."""
    world.setup.listener = 'bare_newlines = "normalize"'
    world.start()
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        client.expect("DATA", 354)
        client.send(message().replace(b"\r\n", b"\n") +
                    b".\nMAIL FROM:<eve@example.com>\n.\r\nx\r.\ry\r\n.\r\n")
        code, lines = client.reply()
        assert code == 250, lines
        client.expect("NOOP", 250)
    data = world.receiver.wait_deliveries(1)[0].data
    assert data.replace(b"\r\n", b"").count(b"\n") == 0
    assert data.replace(b"\r\n", b"").count(b"\r") == 0
    assert data.endswith(b"\r\n.\r\nMAIL FROM:<eve@example.com>\r\n.\r\nx\r\n"
                         b".\r\ny\r\n")
    verified(data, keys)
    assert len(world.relay.named("accepted")) == 1
    assert "line ends" in world.relay.wait("accepted")["changed"][0]


def test_8bit_content_is_encoded_where_asked(world, keys):
    """For a smarthost without 8BITMIME."""
    world.setup.extra = 'prepare { eight_bit = "encode" }'
    world.start(receiver_options={"extensions": ("PIPELINING",)})
    submit(world.relay.port, message(body="Grüße aus Berlin, und bis bald\r\n"))
    data = world.receiver.wait_deliveries(1)[0].data
    assert max(data) < 128
    verified(data, keys)
    assert parse(data).get_content() == "Grüße aus Berlin, und bis bald\r\n"


@pytest.mark.parametrize("policy", ("bounce", "send"))
def test_a_host_without_8bitmime(world, policy):
    """Never passed on in silence: RFC 6152 3."""
    world.setup.delivery = 'without_8bitmime = "%s"' % policy
    world.start(receiver_options={"extensions": ("PIPELINING",)})
    submit(world.relay.port, message(subject="7"))
    world.receiver.wait_deliveries(1)
    sent = message(body="Grüße\r\n", extra="MIME-Version: 1.0\r\n"
                   "Content-Type: text/plain; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n")
    submit(world.relay.port, sent)
    if policy == "send":
        assert world.receiver.wait_deliveries(2)[1].data.endswith(sent)
    else:
        bounced = world.relay.wait("bounced")
        assert "8BITMIME" in bounced["reply"], bounced
        assert len(world.receiver.deliveries) == 1


def test_a_client_that_leaves(world):
    """In the middle of preparing: nothing is left behind, and the next one is
    served."""
    world.start()
    for _ in range(20):
        with Client(world.relay.port) as client:
            client.ehlo()
            client.expect("MAIL FROM:<alice@example.com>", 250)
            client.expect("RCPT TO:<bob@example.net>", 250)
            client.expect("DATA", 354)
            client.send(MESSAGES["large"] + b".\r\n")
    submit(world.relay.port, MESSAGES["mixed"])
    world.receiver.wait_deliveries(1)


def test_the_size_limit_is_for_what_comes(world, keys):
    """Encoding may make it larger than that: it still goes out, and one octet
    more from the client does not."""
    world.setup.limits = 'max_message_size = "100K"'
    world.start()
    head = message(body="")
    line = "äöü".encode() * 300 + b"\r\n"
    body = line * ((100 * 1024 - len(head)) // len(line))
    rest = 100 * 1024 - len(head) - len(body) - 2
    sent = head + body + b"x" * rest + b"\r\n"
    assert len(sent) == 100 * 1024
    with Client(world.relay.port) as client:
        client.ehlo()
        code, lines = client.transaction("alice@example.com",
                                         ["bob@example.net"], b"X" + sent)
        assert code == 552, lines
    submit(world.relay.port, sent)
    data = world.receiver.wait_deliveries(1)[0].data
    assert 1.3 * len(sent) < len(data) < 1.5 * len(sent)
    verified(data, keys)
    assert parse(data).get_payload(decode=True) == sent[len(head):]
