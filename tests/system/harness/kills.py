"""SIGKILL for one of the family or all, at random moments under load."""

import collections
import os
import random
import signal
import time

from .account import Load, stop
from .process import wait_for

CLIENTS = 6
ENOUGH = 8  # messages through, between two kills


def hit_child(name):
    def hit(relay):
        before = relay.family()[name]
        os.kill(before, signal.SIGKILL)

        def replaced():
            try:
                return relay.family()[name] != before
            except AssertionError:
                return False
        wait_for(replaced, 30, lambda: "a new %s\n%s" % (name, relay.tail()))
    return hit


def hit_supervisor(relay):
    relay.kill()
    relay.start()


def hit_all(relay):
    relay.kill(whole_family=True)
    relay.start()


VICTIMS = {"relay": hit_child("relay"), "signer": hit_child("signer"),
           "supervisor": hit_supervisor, "all": hit_all}


def run(relay, account, rounds, seed, only=None, say=print):
    """The problems, in words. The relay runs; afterwards it has stopped."""
    chance, hits = random.Random(seed), collections.Counter()
    loads = [Load(relay.port, str(number), account)
             for number in range(CLIENTS)]
    for load in loads:
        load.start()
    for turn in range(rounds):
        enough = len(account.acknowledged) + ENOUGH
        wait_for(lambda: len(account.acknowledged) >= enough, 60,
                 lambda: "load to get through\n" + relay.tail())
        time.sleep(chance.random() / 8)  # anywhere in what it does
        name = only or chance.choice(sorted(VICTIMS))
        hits[name] += 1
        VICTIMS[name](relay)
        relay.events[:-200] = []
        if turn % 20 == 19:
            say("%4d kills: %s" % (turn + 1, account))
    stop(loads)
    problems = []
    try:
        wait_for(lambda: not account.missing(), 120, "the queue to drain")
    except AssertionError:
        problems.append("%d messages are missing, such as %s" % (
            len(account.missing()), account.missing()[:3]))
    if account.broken:
        problems.append("not as they were sent: %s" % account.broken[:3])
    relay.stop()
    say("killed: %s" % dict(hits))
    say(str(account))
    return problems
