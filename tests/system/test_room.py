"""How much is received at once, and how much the queue holds: 452 beyond it,
and whoever is in already goes on."""

import json

import pytest

from harness import signet
from harness.process import wait_for
from harness.smtp import Client, message, submit

MIB = 1 << 20
INCOMING = "4.3.1 Too much mail is being received at once"
PART = "4.3.1 Room for mail that is being received is short"
MEMORY_PART = "4.3.1 Memory for envelopes and headers is short"
QUEUE = "4.3.1 The queue holds as much as it may"


def status(world):
    return json.loads(signet.run("status", "--json", config=world.setup.path,
                                 check=0).stdout)


def greeted(world, source=None):
    client = Client(world.relay.port, source=source)
    client.ehlo()
    return client


def announced(world, size=MIB, text="MAIL FROM:<alice@example.com>",
              source=None):
    """Up to the 354."""
    client = greeted(world, source)
    client.expect("%s SIZE=%d" % (text, size) if size else text, 250)
    client.expect("RCPT TO:<bob@example.net>", 250)
    client.expect("DATA", 354)
    return client


@pytest.fixture
def receiving(world):
    """Room for four of the largest and a half."""
    world.setup.limits = 'max_message_size = "1M"\nmax_incoming = "4608K"'
    world.start()
    return world


def test_what_is_received_at_once(receiving):
    world = receiving
    most = 4 * MIB + MIB // 2
    clients = [announced(world, source="127.0.0.%d" % (number + 1))
               for number in range(4)]
    assert status(world)["incoming_bytes"] == 4 * MIB
    late = greeted(world)
    code, lines = late.say("MAIL FROM:<alice@example.com> SIZE=%d" % MIB)
    assert (code, lines[0].startswith(INCOMING)) == (452, True), lines
    # Who announces nothing gets what there is, until it is gone.
    free = most - 4 * MIB
    unannounced = announced(world, 0, source="127.0.0.9")
    unannounced.send(message(body="x" * 70 + "\r\n"))
    wait_for(lambda: status(world)["incoming_bytes"] > 4 * MIB, 10,
             "its bytes to be counted")
    unannounced.send((b"x" * 70 + b"\r\n") * (free // 72) + b".\r\nNOOP\r\n")
    code, lines = unannounced.reply()
    assert (code, lines[0].startswith(INCOMING)) == (452, True), lines
    assert unannounced.reply()[0] == 250
    world.relay.wait("no-room", reason="limits.max_incoming")
    event = world.relay.wait("rejected", reason="limits.max_incoming")
    assert event["to"] == "bob@example.net"
    # The others go on as if nothing was.
    for client in clients:
        client.send(message(body="x\r\n") + b".\r\n")
        assert client.reply()[0] == 250
    assert status(world)["incoming_bytes"] == 0
    late.expect("MAIL FROM:<alice@example.com> SIZE=%d" % MIB, 250)
    world.receiver.wait_deliveries(4)


def test_no_client_takes_all(receiving):
    """One who opens connection after connection has three quarters of it; what
    he is refused others get."""
    world = receiving
    greedy = [announced(world) for _ in range(3)]
    refused = greeted(world)
    code, lines = refused.say("MAIL FROM:<alice@example.com> SIZE=%d" % MIB)
    assert (code, lines[0].startswith(PART)) == (452, True), lines
    # Nor by saying nothing of its size.
    refused = announced(world, 0)
    refused.send(message(body=("x" * 70 + "\r\n") * (MIB // 72)) + b".\r\n")
    code, lines = refused.reply()
    assert (code, lines[0].startswith(PART)) == (452, True), lines
    world.relay.wait("no-room", reason="limits.max_incoming, one client's part")
    other = announced(world, source="127.0.0.7")
    for client in greedy + [other]:
        client.send(message(body="x\r\n") + b".\r\n")
        assert client.reply()[0] == 250
    # Nobody is held by what has been.
    refused.expect("MAIL FROM:<alice@example.com> SIZE=%d" % MIB, 250)
    world.receiver.wait_deliveries(4)


def test_nor_all_memory(world):
    """For envelopes and headers: half of 4M, of which he has three quarters."""
    world.setup.limits = 'max_memory = "4M"\nmax_header_size = "1M"'
    world.start()
    field = "X-Filler: " + "x" * 900 + "\r\n"
    greedy, answers = [], []
    for _ in range(8):
        client = announced(world, 0)
        client.send(field.encode() * 250)
        greedy.append(client)
    wait_for(lambda: status(world)["memory_bytes"] > MIB, 10,
             "its memory to be counted")
    with greeted(world, "127.0.0.7") as other:
        assert other.transaction(
            "alice@example.com", ["bob@example.net"],
            message(extra=field * 100))[0] == 250
    for client in greedy:
        client.send(message() + b".\r\n")
        answers.append(client.reply())
    codes = [code for code, _ in answers]
    assert 2 <= codes.count(452) <= 7, codes
    assert set(codes) == {452, 250}, answers
    for code, lines in answers:
        assert code != 452 or lines[0].startswith(MEMORY_PART), lines


def test_who_goes_gives_back(receiving):
    world = receiving
    for number, leaves in enumerate((
            lambda one: one.close(),
            lambda one: one.send(b"QUIT\r\n") or one.close(),
            lambda one: one.send(b"x" * 2 * MIB + b"\r\n.\r\n"))):
        client = announced(world)
        assert status(world)["incoming_bytes"] == MIB, number
        leaves(client)
        wait_for(lambda: status(world)["incoming_bytes"] == 0, 10,
                 "number %d to be forgotten" % number)
    # Nobody has a place who may not relay anyway, or has yet to say for whom.
    client = greeted(world)
    client.expect("MAIL FROM:<alice@example.com> SIZE=%d" % MIB, 250)
    assert status(world)["incoming_bytes"] == 0


def refused(world, size=0):
    with greeted(world) as client:
        code, lines = client.say("MAIL FROM:<alice@example.com> SIZE=%d" %
                                 size)
        if code == 250:
            return False
        assert (code, lines[0].startswith(QUEUE)) == (452, True), lines
        return True


def test_what_the_queue_holds(world):
    world.setup.delivery = 'retry = {"1h"}'
    world.setup.limits = "max_queue_messages = 3"
    world.start(receiver_options={"replies": {
        "RCPT": lambda to: "550 5.1.1 nobody" if "mallory" in to
        else "450 4.2.0 later"}})
    for number in range(3):
        assert not refused(world)
        submit(world.relay.port, message())
    assert refused(world)
    world.relay.wait("no-room", messages=3)
    world.relay.wait("deferred", count=3)
    found = status(world)
    assert found["messages"] == 3
    assert found["message_bytes"] > 3 * 500
    text = signet.run("status", config=world.setup.path, check=0).stdout
    assert b"\nmessages: 3\n" in text

    # It is known at once after whatever happened.
    for kill in (False, True):
        if kill:
            world.relay.kill(whole_family=True)
        else:
            world.relay.stop()
        world.relay.start()
        after = status(world)
        assert (after["messages"], after["message_bytes"]) == \
            (3, found["message_bytes"])
        assert refused(world)

    # A report of ours is taken, though the queue is full; and there is room
    # once something has gone.
    gone = world.relay.named("accepted")[0]["id"]
    signet.run("queue", "delete", gone, config=world.setup.path, check=0)
    assert status(world)["messages"] == 2
    submit(world.relay.port, message(), sender="carol@example.net",
           recipients=["mallory@example.net", "bob@example.net"])
    world.relay.wait("deferred", to="carol@example.net")
    assert status(world)["messages"] == 4
    assert refused(world)

    # By size, after a reload.
    world.setup.limits = 'max_queue_size = "100K"'
    world.setup.write()
    world.relay.hang_up()
    world.relay.wait("reload")
    assert not refused(world, 50000)
    assert refused(world, 102000)
