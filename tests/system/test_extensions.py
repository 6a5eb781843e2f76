"""SMTPUTF8, DSN and CHUNKING: at the door, in the queue, and towards Postfix
and hosts that offer less."""

import email
import email.policy
import smtplib

import pytest

from harness import judge, smtp
from harness.postfix import as_sent

ZONES = {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
         "example.com": "@ IN MX 10 mx.example.net.",
         "xn--bcher-kva.example": "@ IN MX 10 mx.example.net."}
PLAIN = ["PIPELINING", "8BITMIME", "SIZE 100000000"]
SMTPUTF8 = PLAIN + ["SMTPUTF8"]


def check_signed(data, keys):
    verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
    assert [(one.selector, one.passed) for one in verdicts] == \
        [("rsa", True), ("ed", True)], data[:3000]


def utf8_message(sender="alice@example.com", to="bob@example.net"):
    return smtp.message("Grüße", "用户\r\n.\r\n", sender=sender, to=to,
                        extra="MIME-Version: 1.0\r\nContent-Type: text/plain;"
                        " charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")


def open_mail(client, recipients=("bob@example.net",), parameters="",
              sender="alice@example.com"):
    client.expect("MAIL FROM:<%s>%s" % (sender, parameters), 250)
    for one in recipients:
        client.expect("RCPT TO:" + (one if one.startswith("<")
                                    else "<%s>" % one), 250)


def hand_in(world, data, recipients, parameters="",
            sender="alice@example.com"):
    with smtp.Client(world.relay.port) as client:
        client.ehlo()
        open_mail(client, recipients, parameters, sender)
        code, lines = client.data(data)
        assert code == 250, lines


def bdat(data, *sizes):
    """In chunks of these sizes, the rest in the last one."""
    wire, at = b"", 0
    for size in sizes:
        wire += b"BDAT %d\r\n" % size + data[at:at + size]
        at += size
    return wire + b"BDAT %d LAST\r\n" % (len(data) - at) + data[at:]


@pytest.fixture
def postfix_world(world, postfix):
    """example.net is a Postfix that takes everything, UTF-8 too."""
    world.start(ZONES, receiver_options=False)
    world.postfix = postfix(world.setup.mx_port, addresses=("127.0.0.2",),
                            extra="smtputf8_enable = yes\n")
    return world


def test_offered(world):
    world.start(receiver_options=False)
    with smtp.Client(world.relay.port) as client:
        offered = client.ehlo()
        for name in ("SMTPUTF8", "DSN", "CHUNKING"):
            assert offered[name] == ""
        assert "RCPTMAX=1000" in offered["LIMITS"].split()


def test_chunks(postfix_world, keys):
    """In by BDAT, cut anywhere, all at once; out to Postfix by BDAT, too."""
    sent = [smtp.message(body=".\r\n..x\r\n" * 3),
            smtp.message(body="x" * 70 + "\r\n" * 3),
            utf8_message(),
            smtp.message(body=("." + "y" * 76 + "\r\n") * 40000)]
    with smtp.Client(postfix_world.relay.port) as client:
        client.ehlo()
        for number, data in enumerate(sent):
            open_mail(client)
            client.send(bdat(data, 1, 0, 17, number * 50, 100))
            for _ in range(5):
                client.check(client.reply(), 250, "2.0.0", "chunk")
            client.check(client.reply(), 250, "2.0.0", "the last chunk")
    arrived = postfix_world.postfix.wait_messages(len(sent))
    bodies = sorted(one.partition(b"\r\n\r\n")[2] for one in sent)
    assert sorted(as_sent(one).partition(b"\r\n\r\n")[2]
                  for one in arrived) == bodies
    for one in arrived:
        check_signed(as_sent(one), keys)


def test_dsn_through_postfix(postfix_world):
    """What the sender asked for comes back in Postfix's own report."""
    hand_in(postfix_world, smtp.message(),
            ["<bob@example.net> NOTIFY=SUCCESS "
             "ORCPT=rfc822;Bob+2Bold@example.org"],
            " RET=HDRS ENVID=QQ+2B314")
    arrived = postfix_world.postfix.wait_messages(2)
    reports = [email.message_from_bytes(one) for one in arrived
               if b"multipart/report" in one]
    assert len(reports) == 1
    message, recipient = reports[0].get_payload()[1].get_payload()
    assert message["Original-Envelope-Id"] == "QQ+314"
    assert recipient["Original-Recipient"] == "rfc822;Bob+old@example.org"
    assert recipient["Action"] == "delivered"
    assert reports[0].get_payload()[2].get_content_type() == \
        "text/rfc822-headers"


def test_smtplib(postfix_world, keys):
    """Python's client, with its own idea of UTF-8 and of parameters."""
    message = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
    message["From"] = "Jörg <alice@example.com>"
    message["To"] = "用户@example.net"
    message["Subject"] = "Grüße"
    message.set_content("Über\n", cte="8bit")
    with smtplib.SMTP("127.0.0.1", postfix_world.relay.port) as client:
        client.ehlo()
        client.send_message(message, rcpt_options=["NOTIFY=FAILURE,DELAY"])
    found, = postfix_world.postfix.wait_messages(1)
    assert "with UTF8SMTP id" in as_sent(found).decode()
    assert "To: 用户@example.net" in as_sent(found).decode()
    check_signed(as_sent(found), keys)


def test_utf8_domains(postfix_world, keys):
    """A U-label is looked up, and signed for, in A-labels."""
    hand_in(postfix_world, utf8_message(to="用户@bücher.example"),
            ["用户@BÜCHER.example"], " BODY=8BITMIME SMTPUTF8")
    event = postfix_world.relay.wait("delivered")
    assert event["domain"] == "xn--bcher-kva.example"
    assert event["to"] == "用户@BÜCHER.example"
    check_signed(as_sent(postfix_world.postfix.wait_messages(1)[0]), keys)


def test_host_without_smtputf8(world, keys):
    """Nothing goes there that it cannot read; a domain alone can be said in
    ASCII, and who declared UTF-8 for nothing need not have."""
    world.start(ZONES, {"extensions": PLAIN})
    hand_in(world, utf8_message(), ["bob@example.net"], " SMTPUTF8")
    bounced = world.relay.wait("bounced", to="bob@example.net")
    assert "SMTPUTF8" in bounced["reply"]
    hand_in(world, smtp.message(), ["用户@example.net", "carol@example.net"],
            " SMTPUTF8")
    world.relay.wait("bounced", to="用户@example.net")
    world.relay.wait("delivered", to="carol@example.net")
    hand_in(world, smtp.message(), ["dave@bücher.example"], " SMTPUTF8")
    world.relay.wait("delivered", to="dave@bücher.example")
    to = sum((one.recipients for one in world.receiver.deliveries
              if one.sender), [])
    assert sorted(to) == ["carol@example.net", "dave@xn--bcher-kva.example"]
    for one in world.receiver.deliveries:
        if one.sender:
            assert max(one.data) < 128
            assert "SMTPUTF8" not in one.parameters
            check_signed(one.data, keys)


def test_a_dead_backup_host_keeps_nobody_waiting(world):
    """It might have had what the first one lacks: that takes what it can, and
    the rest is told the reason at once."""
    world.start(dict(ZONES, **{"example.net": "@ IN MX 10 mx\n@ IN MX 20 dead\n"
                               "mx IN A 127.0.0.2\ndead IN A 127.0.0.3"}),
                {"extensions": PLAIN})
    hand_in(world, smtp.message(), ["用户@example.net", "carol@example.net"],
            " SMTPUTF8")
    world.relay.wait("delivered", to="carol@example.net")
    bounced = world.relay.wait("bounced", to="用户@example.net")
    assert "SMTPUTF8" in bounced["reply"]
    assert not world.relay.named("deferred")


def test_kept_over_a_restart(world):
    """Killed with the message in the queue: all its parameters are there."""
    world.setup.delivery = 'retry = {"1s"}'
    world.start(ZONES, {"extensions": SMTPUTF8 + ["DSN"]})
    world.receiver.stop()
    hand_in(world, utf8_message(), [
        "<用户@example.net> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;用户@example.org",
        "<bob@example.net> NOTIFY=NEVER"],
        " RET=HDRS ENVID=QQ+2B BODY=8BITMIME SMTPUTF8")
    world.relay.wait("deferred", 2)
    world.relay.kill(whole_family=True)
    world.receiver.start()
    world.relay.start()
    found, = world.receiver.wait_deliveries(1)
    assert found.parameters.split()[1:] == \
        ["BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=QQ+2B"]
    said = [command for _, command in world.receiver.commands
            if command.startswith("RCPT")]
    assert said == ["RCPT TO:<用户@example.net> NOTIFY=SUCCESS,DELAY "
                    "ORCPT=utf-8;用户@example.org",
                    "RCPT TO:<bob@example.net> NOTIFY=NEVER"]
