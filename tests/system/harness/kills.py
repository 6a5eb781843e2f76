"""SIGKILL for one of the family or all, at random moments under load."""

import collections
import json
import os
import random
import signal
import time

from . import signet
from .account import Load, stop
from .process import wait_for

CLIENTS = 6
ENOUGH = 8  # messages through, between two kills
# What was delivered so shortly before a kill may not have been settled yet: that
# takes some milliseconds, and on a machine with other things to do longer.
IN_FLIGHT_SECONDS = 3


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


Kill = collections.namedtuple("Kill", "at sessions")

VICTIMS = {"relay": hit_child("relay"), "signer": hit_child("signer"),
           "supervisor": hit_supervisor, "all": hit_all}


def is_idle(relay):
    """Nothing is stored, and nothing in memory either."""
    done = signet.run("status", "--json", config=relay.setup.path)
    status = json.loads(done.stdout) if done.returncode == 0 else {}
    return status.get("queued") == 0 and status.get("destinations") == []


def without_reason(account, kills):
    """What arrived twice though the relay that had sent it was not killed just
    then. The sessions tell which relay that was: what a dead one had sent is read
    whenever the receiver comes to it."""
    return [token for token, arrivals in list(account.arrivals.items())
            for when, session in arrivals[:-1]
            if not any(session <= kill.sessions and
                       kill.at < when + IN_FLIGHT_SECONDS for kill in kills)]


def at_rest(relay, account):
    """The problems: all is over once, and stays so."""
    try:
        wait_for(lambda: not account.missing(), 120, "the queue to drain")
    except AssertionError:
        return ["%d messages are missing, such as %s" % (
            len(account.missing()), account.missing()[:3])]
    try:
        wait_for(lambda: is_idle(relay), 30, "nothing to be left")
    except AssertionError:
        return ["something is left: %s" % signet.run(
            "status", config=relay.setup.path).stdout.decode()]
    arrived = len(account)
    relay.stop()
    relay.start()
    wait_for(lambda: is_idle(relay), 30, "nothing to come back")
    if len(account) != arrived:
        return ["%d came again after a restart" % (len(account) - arrived)]
    return []


def run(relay, sink, rounds, seed, only=None, say=print):
    """The problems, in words. The relay runs; afterwards it has stopped."""
    account = sink.deliveries
    chance, hits, kills = random.Random(seed), collections.Counter(), []
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
        at = time.monotonic()
        VICTIMS[name](relay)
        if name != "signer":  # its death is no reason to send anything again
            kills.append(Kill(at, sink.sessions))
        relay.events[:-200] = []
        if turn % 20 == 19:
            say("%4d kills: %s" % (turn + 1, account))
    stop(loads)
    problems = at_rest(relay, account)
    again = without_reason(account, kills)
    if again:
        problems.append("%d came twice for no reason, such as %s" % (
            len(again), again[:3]))
    if account.broken:
        problems.append("not as they were sent: %s" % account.broken[:3])
    relay.stop()
    say("killed: %s" % dict(hits))
    say(str(account))
    return problems
