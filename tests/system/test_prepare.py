"""What the relay adds to a message before it signs, and what it never does."""

import email.utils

import pytest

from harness import judge
from harness.smtp import Client, message, submit


def fields(data, name):
    head = data.split(b"\r\n\r\n", 1)[0].replace(b"\r\n ", b" ") \
        .replace(b"\r\n\t", b" ")
    return [line for line in head.split(b"\r\n")
            if line.lower().startswith(name.lower() + b":")]


def without(data, name):
    return b"\r\n".join(line for line in data.split(b"\r\n")
                        if not line.startswith(name + b":"))


@pytest.mark.parametrize("missing", ([b"Date"], [b"Message-ID"],
                                     [b"Date", b"Message-ID"]))
def test_missing_fields_are_added_and_signed(world, keys, missing):
    world.start()
    sent = message(body="x\r\n" * 50000)
    for name in missing:
        sent = without(sent, name)
    submit(world.relay.port, sent)
    data = world.receiver.wait_deliveries(1)[0].data
    for name in (b"Date", b"Message-ID"):
        assert len(fields(data, name)) == 1, name
    verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
    assert [verdict.passed for verdict in verdicts] == [True, True]
    for tags in judge.signature_tags(data):
        signed = [name.strip().lower() for name in tags["h"].split(":")]
        assert "date" in signed and "message-id" in signed
    accepted = world.relay.wait("accepted")
    assert accepted["changed"], "the event does not say what was changed"
    assert accepted["message_id"] == \
        email.message_from_bytes(data)["Message-ID"].strip()


def test_many_addresses_on_one_line(world, keys):
    """As programs join them, without white space: cut behind commas, and whoever
    reads the field reads the same addresses."""
    names = ['"Last, First %d" <a%d@example.net>' % (i, i) if i % 3 == 0 else
             "a%d@example.net" % i for i in range(300)]
    line = ",".join(name.replace("> ", ">").replace(" ", "") for name in names)
    world.start()
    submit(world.relay.port,
           without(message(), b"To").replace(
               b"Subject:", b"To:" + line.encode() + b"\r\nSubject:", 1))
    data = world.receiver.wait_deliveries(1)[0].data
    assert max(len(each) for each in data.split(b"\r\n")) <= 998
    told = email.message_from_bytes(data)["To"]
    assert len(email.utils.getaddresses([told])) == 300
    assert email.utils.getaddresses([told]) == email.utils.getaddresses([line])
    assert told.replace("\r\n ", "").replace("\n ", "") == line
    assert all(verdict.passed for verdict in judge.dkimpy(
        data, judge.lookup_in(keys.records)))
    assert world.relay.wait("accepted")["changed"] == \
        ["long header lines folded"]


EMPTY_LINE = "empty line added behind the header"
TEXTS = (
    # What is handed in, what is above it when it is sent, what is said.
    (b"Subject: x\r\nFrom: alice@example.com\r\nBackup of db: done\r\nok: 1\r\n",
     b"Subject: x\r\nFrom: alice@example.com\r\n\r\nBackup of db: done\r\n"
     b"ok: 1\r\n", [EMPTY_LINE]),
    (b"From alice Sat Nov 21 20:00:00 2026\r\n" + message(),
     b"X-Mailbox-Line: From alice Sat Nov 21 20:00:00 2026\r\nFrom: ",
     ["first line made X-Mailbox-Line"]),
    (b">From alice Sat Nov 21 20:00:00 2026\r\n" + message(),
     b"X-Mailbox-Line: >From alice Sat Nov 21 20:00:00 2026\r\nFrom: ",
     ["first line made X-Mailbox-Line"]),
    (b"From " + b"a" * 985 + b"\r\n" + message(),
     b"X-Mailbox-Line: From\r\n " + b"a" * 985 + b"\r\nFrom: ",
     ["first line made X-Mailbox-Line"]),
    (b"hello\r\nworld\r\n", b"\r\n\r\nhello\r\nworld\r\n",
     [EMPTY_LINE, "From added"]),
)


def test_a_text_begins_without_an_empty_line(world, keys):
    """MTAs on the way would put one there, behind the signature's back."""
    world.setup.listener = 'rewrite_from = "*@example.com"'
    world.start()
    for count, (given, expected, said) in enumerate(TEXTS, 1):
        submit(world.relay.port, given)
        data = world.receiver.wait_deliveries(count)[-1].data
        assert expected in data
        changed = world.relay.wait("accepted", count=count)["changed"]
        assert set(said) <= set(changed), changed
        assert [verdict.passed for verdict in judge.dkimpy(
            data, judge.lookup_in(keys.records))] == [True, True]


def test_a_whole_message_is_not_changed(world):
    world.start()
    sent = message(body="Grüße\r\n\r\n", extra="MIME-Version: 1.0\r\n"
                   "Content-Type: text/plain; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n").replace(
                       b"Message-ID: ", b"Message-ID:\r\n ")
    submit(world.relay.port, sent)
    data = world.receiver.wait_deliveries(1)[0].data
    assert data.endswith(sent)
    accepted = world.relay.wait("accepted")
    assert accepted["changed"] == []
    assert accepted["message_id"].encode() in sent
    added = data[:-len(sent)]
    assert {line.split(b":")[0] for line in added.split(b"\r\n")
            if line[:1] not in (b" ", b"\t", b"")} == \
        {b"DKIM-Signature", b"Received"}
    assert len(fields(added + b"\r\n", b"Received")) == 1


def test_two_from(world):
    """Nobody's author: not signed, so not ours to send either way."""
    world.setup.signing = 'unsigned = "reject"'
    world.start()
    with Client(world.relay.port) as client:
        client.ehlo()
        code, lines = client.transaction(
            "alice@example.com", ["bob@example.net"],
            b"From: mallory@example.net\r\n" + message())
        assert 500 <= code < 600, lines
        code, lines = client.transaction(
            "alice@example.com", ["bob@example.net"],
            without(message(), b"From"))
        assert 500 <= code < 600, lines
    world.relay.wait("rejected", count=2)


def test_two_from_where_unsigned_is_relayed(world):
    """Never a signature for a message with a second author."""
    world.start()
    for sent in (b"From: mallory@example.net\r\n" + message(),
                 b"From: eve@example.com\r\n" + message(),
                 without(message(), b"From")):
        with Client(world.relay.port) as client:
            client.ehlo()
            code, lines = client.transaction(
                "alice@example.com", ["bob@example.net"], sent)
            assert code == 250 or 500 <= code < 600, lines
    world.relay.stop()
    for one in world.receiver.deliveries:
        assert not fields(one.data, b"DKIM-Signature"), one.data
    for event in world.relay.named("accepted"):
        assert event["signatures"] == [] and event["reason"]


def test_unsigned_relay_and_reject(world):
    world.start()
    foreign = message(sender="a@other.example")
    submit(world.relay.port, foreign, sender="a@other.example")
    event = world.relay.wait("accepted")
    assert event["signatures"] == []
    assert event["reason"]
    assert not fields(world.receiver.wait_deliveries(1)[0].data,
                      b"DKIM-Signature")
    world.setup.signing = 'unsigned = "reject"'
    world.setup.write()
    world.relay.hang_up()
    world.relay.wait("reload")
    with Client(world.relay.port) as client:
        client.ehlo()
        code, lines = client.transaction("a@other.example",
                                         ["bob@example.net"], foreign)
        assert 500 <= code < 600, lines
        assert lines[-1].startswith("5.7."), lines
    assert fields(foreign, b"Message-ID")[0].decode().endswith(
        world.relay.wait("rejected")["message_id"])


def test_two_domains_sign_for_themselves(world, keys):
    world.setup.domains["example.org"] = ["rsa", "ed"]
    world.start()
    for domain in ("example.com", "example.org"):
        submit(world.relay.port, message(sender="a@" + domain),
               sender="bounces@example.com")
    for one in world.receiver.wait_deliveries(2):
        verdicts = judge.dkimpy(one.data, judge.lookup_in(keys.records))
        author = fields(one.data, b"From")[0]
        assert len(verdicts) == 2
        for verdict in verdicts:
            assert verdict.passed
            assert b"@" + verdict.domain.encode() in author


def test_received_says_where_from(world):
    world.start()
    with Client(world.relay.port) as client:
        client.ehlo("printer.example.com")
        client.transaction("alice@example.com", ["bob@example.net"],
                           message())
    with Client(world.relay.port) as client:
        client.expect("HELO printer.example.com", 250)
        client.transaction("alice@example.com", ["bob@example.net"],
                           message())
    world.receiver.wait_deliveries(2)
    received = sorted(fields(one.data, b"Received")[0]
                      for one in world.receiver.deliveries)
    for field in received:
        assert b"printer.example.com" in field
        assert b"127.0.0.1" in field
        assert b"by relay.example.com" in field
    assert any(b"with ESMTP " in field for field in received)
    assert any(b"with SMTP " in field for field in received)
