"""SIGKILL at any moment loses no accepted message."""

import collections
import os
import random
import signal
import threading
import time

import pytest

from harness import judge, kills, signet
from harness.account import Account, Load, Sink, token_of
from harness.faulty import Receiver
from harness.process import wait_for
from harness.smtp import Client, Closed, message, submit

SHORT = 'retry = {"1s"}\n expire = "300s"'


@pytest.mark.parametrize("whole_family", (False, True))
def test_killed_between_the_250_and_delivery(world, whole_family):
    world.setup.delivery = SHORT
    world.start(receiver_options=False)  # nobody takes the mail yet
    sizes = (10, 3000, 40000, 400000, 2000000)
    for number, size in enumerate(sizes):
        submit(world.relay.port, message("load-%d" % number,
                                         "0123456789abc\r\n" * (size // 15)))
    world.relay.kill(whole_family)
    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        world.relay.start()
        late.wait_deliveries(len(sizes), seconds=30)
        assert {token_of(one.data) for one in late.deliveries} == \
            {"load-%d" % number for number in range(len(sizes))}
        for one in late.deliveries:
            size = sizes[int(token_of(one.data)[5:])]
            body = one.data.split(b"\r\n\r\n", 1)[1]
            assert body == b"0123456789abc\r\n" * (size // 15)
        ids = [event["id"] for event in world.relay.named("accepted")]
        for identity in ids:
            assert world.relay.wait("delivered", id=identity)
    finally:
        late.stop()


def test_killed_before_the_250(world):
    """What was never acknowledged may be gone, and disturbs nothing."""
    world.setup.delivery = SHORT
    world.start()
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        client.expect("DATA", 354)
        client.send(message() + b"half\r\n" * 200000)
        world.relay.kill()
    world.relay.start()
    submit(world.relay.port, message("load-whole"))
    world.receiver.wait_deliveries(1)
    world.relay.stop()
    assert [token_of(one.data) for one in world.receiver.deliveries] == \
        ["load-whole"]


def test_killed_under_load_again_and_again(world):
    """Every acknowledged message arrives, whole; the store opens every time.
    tests/soak/kill does this for hundreds of kills."""
    world.setup.delivery = SHORT
    world.start(receiver_options=False)
    account = Account()
    sink = Sink(account, world.setup.mx_port, "127.0.0.2")
    try:
        problems = kills.run(world.relay, sink, rounds=8, seed=20261121,
                             say=lambda _: None)
    finally:
        sink.stop()
    assert not problems, "%s\n%s" % (problems, world.relay.tail())
    assert len(account.acknowledged) >= 64


class Hand(threading.Thread):
    """Alters the queue and the routes of senders, all the time."""

    ROUTES = ("", 'route "*" { from = {"example.com"} }')

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world = world
        self.stopping = threading.Event()
        self.reloading = threading.Lock()
        self.random = random.Random(5)
        self.done = collections.Counter()

    def has_met_all(self):
        """A relay that lived, with each of its verbs."""
        return all(self.done[verb, 0] + self.done[verb, 75] > 0
                   for verb in ("hold", "release", "retry"))

    def queue(self, *words):
        done = signet.run("queue", *words, config=self.world.setup.path,
                          check=None)
        self.done[words[0], done.returncode] += 1

    def run(self):
        while not self.stopping.is_set():
            verb = self.random.choice(("hold", "release", "retry", "reload"))
            if verb != "reload":
                self.queue(verb, "--all")
                continue
            with self.reloading:
                self.world.setup.extra = self.random.choice(self.ROUTES)
                self.world.setup.write()
                self.world.relay.hang_up()


@pytest.mark.parametrize("kills", (0, 4))
def test_altered_under_load(world, kills):
    """Every acknowledged message arrives, and once where nothing is killed."""
    chance = random.Random(7)
    world.setup.delivery = SHORT
    world.start(receiver_options={"replies": {
        "RCPT": lambda _: chance.random() < 0.3 and "450 4.3.0 later" or
        None}})
    account = Account()
    acknowledged = account.acknowledged
    loads = [Load(world.relay.port, str(number), account)
             for number in range(3)]
    hand = Hand(world)
    for thread in loads + [hand]:
        thread.start()
    for turn in range(max(kills, 3)):
        enough = len(acknowledged) + 20
        wait_for(lambda: len(acknowledged) >= enough, 60,
                 "load to get through")
        time.sleep(chance.random() / 4)  # anywhere in what it does
        if turn < kills:
            with hand.reloading:
                world.relay.kill(whole_family=turn % 2 == 0)
                world.relay.start()
    wait_for(hand.has_met_all, 60, lambda: "each verb: %s" % hand.done)
    for thread in loads + [hand]:
        thread.stopping.set()
    for thread in loads + [hand]:
        thread.join(60)
    hand.queue("release", "--all")

    def missing():
        arrived = {token_of(one.data) for one in world.receiver.deliveries}
        return set(acknowledged) - arrived

    def retried():
        hand.queue("retry", "--all")
        return not missing()
    wait_for(retried, 60,
             lambda: "%d of %d acknowledged messages, such as %s; signet:\n%s"
             % (len(missing()), len(acknowledged), sorted(missing())[:3],
                world.relay.tail()))
    if kills == 0:
        tokens = collections.Counter(token_of(one.data)
                                     for one in world.receiver.deliveries)
        assert not [one for one in tokens if tokens[one] > 1]


def test_ids_are_unique_across_restarts(world):
    world.start()
    for turn in range(3):
        for _ in range(5):
            submit(world.relay.port, message())
        world.relay.wait("accepted", count=5 * (turn + 1))
        world.relay.kill()
        world.relay.start()
    for _ in range(5):
        submit(world.relay.port, message())
    world.relay.wait("accepted", count=20)
    ids = [event["id"] for event in world.relay.named("accepted")]
    assert len(set(ids)) == len(ids) == 20
    made, = world.relay.named("store")  # a queue, at the first of four starts
    assert "'%s' has no queue yet" % world.setup.state_dir in made["reason"]


@pytest.mark.parametrize("which", ("signer", "relay"))
def test_a_dead_child_is_replaced(world, keys, which):
    """Killed while mail waits; what comes next is signed and arrives."""
    world.setup.delivery = SHORT
    world.start(receiver_options=False)
    submit(world.relay.port, message("load-before"))
    before = world.relay.family()
    os.kill(before[which], signal.SIGKILL)

    def replaced():
        try:
            now = world.relay.family()
        except AssertionError:
            return None
        return now if now[which] != before[which] else None
    wait_for(replaced, 20, lambda: "a new %s\n%s" % (which,
                                                     world.relay.tail()))
    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        def accepted():
            try:
                return submit(world.relay.port, message("load-after"))
            except (OSError, Closed, AssertionError):
                return None
        wait_for(accepted, 20, "a 250 from the renewed family")
        late.wait_deliveries(2, seconds=30)
        for one in late.deliveries:
            verdicts = judge.dkimpy(one.data, judge.lookup_in(keys.records))
            assert [verdict.passed for verdict in verdicts] == [True, True]
    finally:
        late.stop()


def test_signing_that_fails_is_never_unsigned(world):
    """While the signer is dead the answer is 4yz or a signature."""
    world.start()
    for _ in range(3):
        os.kill(world.relay.family()["signer"], signal.SIGKILL)
        for _ in range(5):
            with Client(world.relay.port) as client:
                client.ehlo()
                code, lines = client.transaction(
                    "alice@example.com", ["bob@example.net"], message())
                assert code == 250 or 400 <= code < 500, lines
    world.relay.stop()
    assert world.relay.named("accepted")
    for event in world.relay.named("accepted"):
        assert len(event["signatures"]) == 2, event
    for one in world.receiver.deliveries:
        assert one.data.count(b"DKIM-Signature:") == 2
