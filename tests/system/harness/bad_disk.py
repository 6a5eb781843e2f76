"""Load while the disk fails in one way after the other."""

import collections
import time

from .account import Load, stop
from .preload import DiskFaults
from .process import wait_for

CLIENTS = 4
ONE_IN = {"EIO": 400, "ENOSPC": 40, "EINTR": 20, "short": 400, "sync": 300}


PHASES = [((kind,), each) for kind, each in ONE_IN.items()]
MIXED = (DiskFaults.FAILURES, 100)


def run(relay, account, faults, seconds, phases=None, say=print,
        is_enough=lambda: True):
    """The problems, in words. The relay runs; afterwards it has stopped. A phase
    takes its share of the seconds, and longer until it is enough."""
    relay.deaths_expected = True  # of a failed sync: 75, and started again
    loads = [Load(relay.port, str(number), account)
             for number in range(CLIENTS)]
    for load in loads:
        load.start()
    phases = phases or PHASES + [MIXED]
    for kinds, each in phases:
        relay.kill()
        relay.start()  # so that it need not wait before it starts again
        before, failed = len(account.acknowledged), faults.count()
        died = len(relay.named("relay-died"))
        faults.set(kinds, each)
        time.sleep(seconds / len(phases))
        wait_for(is_enough, 150, lambda: "enough, with %d calls failed, %s" % (
            faults.count(), account))
        faults.set((), 1)
        say("%-27s %5d calls failed, %5d messages acknowledged, %d deaths" % (
            " ".join(kinds), faults.count() - failed,
            len(account.acknowledged) - before,
            len(relay.named("relay-died")) - died))
    stop(loads)
    problems = []
    try:
        wait_for(lambda: not account.missing(), 150, "the queue to drain")
    except AssertionError:
        problems.append("%d messages are missing, such as %s" % (
            len(account.missing()), account.missing()[:3]))
    if account.broken:
        problems.append("not as they were sent: %s" % account.broken[:3])
    if any(not reply.startswith("4") for reply in account.refused):
        problems.append("refused for good: %s" % account.refused)
    deaths = relay.named("relay-died")
    if any("exit status 75" not in event["reason"] for event in deaths):
        problems.append("died of: %s" % {one["reason"] for one in deaths})
    if relay.named("store-damaged"):
        problems.append("%s" % relay.named("store-damaged"))
    relay.stop()
    failed = collections.Counter(
        event["reason"] for event in relay.named("store-failed"))
    say("ended by: %s" % dict(failed))
    say("refused: %s" % dict(account.refused))
    say("started again: %d times" % len(deaths))
    say(str(account))
    return problems
