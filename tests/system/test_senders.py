"""Mail from Postfix, Exim, OpenSMTPD and Sendmail that have the relay for their
next hop: what they hand in is signed, and arrives as they sent it.
"""

import pytest

from harness import judge, smtp
from harness.ports import free_port
from harness.receivers import RIGS, authority
from harness.sendmail import Sendmail

BODY = ".\r\n..\r\n" + "x" * 980 + "\r\nGrüße\r\n\r\n\r\n"
EXTRA = ("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
         "Content-Transfer-Encoding: 8bit\r\n")


@pytest.fixture
def senders(world, directory):
    """They stop before the relay does: OpenSMTPD keeps a connection for ten
    seconds, whatever it is told on it."""
    world.start()
    by = authority(directory)
    made = {}
    try:
        for number, rig in enumerate(RIGS):
            made[rig.name] = rig(directory, "127.0.0.%d" % (number + 10),
                                 free_port(), by, world.relay.port)
        yield made
    finally:
        for rig in made.values():
            rig.stop()


def signed(world, keys, recipients):
    """What arrived for these recipients, once each; signed by both keys."""
    def all_of_them():
        return [one for one in world.receiver.deliveries
                if set(one.recipients) & set(recipients)]
    for recipient in recipients:
        world.relay.wait("delivered", to=recipient)
    found = all_of_them()
    assert sorted(sum((one.recipients for one in found), [])) == \
        sorted(recipients)
    for one in found:
        verdicts = judge.dkimpy(one.data, judge.lookup_in(keys.records))
        assert [(verdict.selector, verdict.passed) for verdict in verdicts] \
            == [("rsa", True), ("ed", True)], one.data[:3000]
    return found


def test_mail_servers(world, keys, senders):
    """20 messages of 3 recipients from each, on a few connections."""
    sent = {}
    for name, rig in senders.items():
        with smtp.Client(rig.port, rig.address) as client:
            client.ehlo()
            for number in range(20):
                to = tuple("%s-%d-%d@example.net" % (name, number, one)
                           for one in range(3))
                data = smtp.message(name, BODY, to=to[0], extra=EXTRA)
                code, lines = client.transaction("alice@example.com", to,
                                                 data)
                assert code == 250, lines
                sent[to] = data
    for to, data in sent.items():
        for one in signed(world, keys, to):
            assert one.data.partition(b"\r\n\r\n")[2] == \
                data.partition(b"\r\n\r\n")[2]


def test_sendmail_command(world, keys, directory):
    """Its submission program, straight to the relay."""
    world.start()
    program = Sendmail(directory, 0, start=False, port=world.relay.port)
    program.submit(b"From: Alice <alice@example.com>\nTo: bob@example.net\n"
                   b"Subject: x\n\n.\nno date, no id\n", "-i", "-f",
                   "alice@example.com", "bob@example.net")
    found, = signed(world, keys, ["bob@example.net"])
    assert found.data.endswith(b"\r\n\r\n.\r\nno date, no id\r\n")
