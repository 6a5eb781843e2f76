import argparse
import os
import random
import re
import socket
import sys
import threading
import time

from stand import Stand

from ledger import Ledger, Reports
from trouble import Trouble

from harness import signet
from harness.account import Load, Sink, stop
from harness.faulty import SILENCE
from harness.process import wait_for

ZONES = {
    "example.com": "@ IN MX 10 mx\nmx IN A 127.0.0.6",  # takes reports
    "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",  # the good one
    "example.org": "@ IN MX 10 mx\nmx IN A 127.0.0.3",  # undecided, slow
    "dead.example": "@ IN MX 10 mx\nmx IN A 127.0.0.4",
    "slow.example": "@ IN MX 10 mx\nmx IN A 127.0.0.5",  # trickles
}
EXPIRE = 180
CONFIGURATION = """retry = {"1s", "2s", "5s"}
    expire = "%ds" """ % EXPIRE
# What a process may grow by over the second half, beyond which it leaks.
GROWTH_KIB = 6 * 1024
GROWTH_RATIO = 0.10
GROWTH_FILES = 40


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def memory_kib(pid):
    with open("/proc/%d/status" % pid) as file:
        anonymous = re.search(r"RssAnon:\s+(\d+)", file.read())
    if anonymous is None:
        raise ProcessLookupError("it has been killed and not yet replaced")
    return int(anonymous.group(1))


def files(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def threads(pid):
    return len(os.listdir("/proc/%d/task" % pid))


class Sample:
    def __init__(self, family):
        self.at = time.monotonic()
        self.memory = {name: memory_kib(pid) for name, pid in family.items()}
        self.files = {name: files(pid) for name, pid in family.items()}
        self.threads = threads(family["relay"])


class Undecided:
    """Answers of a next hop that defers, refuses, is slow or silent; and that
    knows nobody for some seconds, as those do who look at who comes again."""

    def __init__(self, chance):
        self.chance = chance
        self.is_well = False

    def __call__(self, argument):
        if self.is_well:
            return None
        dice = self.chance.random()
        if time.monotonic() % 20 < 3:
            return "451 4.7.1 come again in a while"
        if dice < 0.30:
            return "450 4.2.0 later"
        if dice < 0.40:
            return "550 5.1.1 nobody"
        if dice < 0.45:
            time.sleep(1)
        return SILENCE if dice > 0.995 else None


class Idlers(threading.Thread):
    """Clients that come, say little or half of something, and go or stay."""

    def __init__(self, port, chance):
        super().__init__(daemon=True)
        self.port, self.chance = port, chance
        self.stopping = threading.Event()
        self.peers = []

    def run(self):
        words = (b"", b"EHLO a.example\r\n", b"EHLO b.example\r\nMAIL FR",
                 b"EHLO c.example\r\nMAIL FROM:<alice@example.com>\r\n"
                 b"RCPT TO:<bob@example.net>\r\nDATA\r\nSubject: half\r\n")
        while not self.stopping.is_set():
            try:
                peer = socket.create_connection(("127.0.0.1", self.port), 5)
                peer.sendall(self.chance.choice(words))
                self.peers.append(peer)
            except OSError:
                pass
            while len(self.peers) > 50:
                self.peers.pop(self.chance.randrange(50)).close()
            time.sleep(0.05)
        for peer in self.peers:
            peer.close()


class Sender(Load):
    """Who says in the ledger whom it writes to."""

    def one(self, client):
        token = "load-%s-%d" % (self.label, self.number + 1)
        self.account.recipients[token] = self.recipients
        super().one(client)


class Hops:
    """The receivers, good and others, and the ledgers of what they take."""

    def __init__(self, stand, chance):
        port = stand.setup.mx_port
        self.others = Ledger()
        self.answers = Undecided(chance)
        stand.sink.stop()
        stand.account = Ledger()
        stand.sink = Sink(stand.account, port, "127.0.0.2")
        self.undecided = Sink(self.others, port, "127.0.0.3",
                              replies={"RCPT": self.answers})
        self.slow = Sink(self.others, port, "127.0.0.5", dribbles=True,
                         replies={"END": lambda _: time.sleep(0.3)})
        self.reports = Sink(Reports(stand.account, self.others), port,
                            "127.0.0.6")
        self.all = (stand.sink, self.undecided, self.slow, self.reports)
        self.ledgers = (stand.account, self.others)

    def open(self):
        return [one for ledger in self.ledgers for one in ledger.open()]

    def be_well(self):
        """Nobody waits for an answer any more."""
        self.answers.is_well = True
        self.undecided.stop()
        self.undecided.start()


def loads_of(stand, hops):
    port, account, others = stand.relay.port, stand.account, hops.others
    return [
        Sender(port, "small", account, sizes=(1, 50, 300), pause=0.005),
        Sender(port, "mixed", account, sizes=(1, 3000, 30000), pause=0.1),
        Sender(port, "large", account, sizes=(200000,), pause=2),
        Sender(port, "other", others, sizes=(1, 50), pause=0.02,
               recipients=["bob@example.org", "carol@example.org"]),
        Sender(port, "dead", others, sizes=(1, 50), pause=0.2,
               recipients=["bob@dead.example"]),
        Sender(port, "slow", others, sizes=(1, 50), pause=0.5,
               recipients=["bob@slow.example"]),
    ]


def row(stand, sample, begun):
    print("%5.1f %8d %8d %7d" % (
        (sample.at - begun) / 60, len(stand.account.acknowledged),
        len(stand.account), len(stand.account.missing())) + "".join(
            "%9d %5d" % (sample.memory[name], sample.files[name])
            for name in ("relay", "signer", "supervisor")) +
        " %7d" % sample.threads, flush=True)


def slope(samples, what):
    """By least squares, a minute."""
    times = [(one.at - samples[0].at) / 60 for one in samples]
    values = [what(one) for one in samples]
    middle = sum(times) / len(times)
    mean = sum(values) / len(values)
    over = sum((at - middle) ** 2 for at in times)
    return sum((at - middle) * (value - mean)
               for at, value in zip(times, values)) / (over or 1)


def growth(samples):
    """The problems. A signer is a new one each time: it is not looked at."""
    half = samples[len(samples) // 2:]
    minutes = (half[-1].at - half[0].at) / 60
    problems = []
    for name in ("relay", "supervisor"):
        grown = slope(half, lambda one: one.memory[name]) * minutes
        more = slope(half, lambda one: one.files[name]) * minutes
        print("%s over the last %.1f minutes: %+.0f KiB, %+.1f files" % (
            name, minutes, grown, more))
        if grown > max(GROWTH_KIB, GROWTH_RATIO * half[0].memory[name]):
            problems.append("%s: memory grows by %.0f KiB" % (name, grown))
        if more > GROWTH_FILES:
            problems.append("%s: files grow by %.0f" % (name, more))
    return problems


class Watch:
    """The relay's log, of which little is kept."""

    def __init__(self, relay):
        self.relay = relay
        self.unexpected = []

    def look(self):
        events = list(self.relay.events[:-300])
        del self.relay.events[:len(events)]
        self.judge(events)

    def judge(self, events):
        for event in events:
            died = event["event"].endswith("-died")
            if event["event"] == "store-damaged" or died and \
                    "signal 9" not in event["reason"] and \
                    "exit status 75" not in event["reason"]:
                self.unexpected.append(event)

    def problems(self):
        self.judge(self.relay.events)
        return ["%s" % event for event in self.unexpected[:5]]


def soak(stand, hops, trouble, watch, minutes):
    """The samples since nothing ends the relay any more."""
    samples, begun, relay = [], time.monotonic(), None
    print("  min  acknow.  arrived missing    relay files   signer files"
          "  superv. files threads")
    while time.monotonic() < begun + 60 * minutes:
        time.sleep(min(60, 60 * minutes / 20))
        watch.look()
        for hop in hops.all:
            del hop.commands[:-100], hop.peers[:-100]
        try:
            family = stand.relay.family()
            sample = Sample(family)
        except (AssertionError, OSError):
            continue  # one of them is just being replaced
        row(stand, sample, begun)
        if time.monotonic() < begun + 60 * minutes / 3:
            continue
        if trouble.lethal.is_set():
            trouble.lethal.clear()
            print("from here on nothing ends the relay", flush=True)
            continue
        relay = relay or family["relay"]
        samples.append(sample)
        if family["relay"] != relay:
            raise AssertionError("the relay was replaced:\n%s" %
                                 stand.relay.tail())
    return samples


def drain(stand, hops):
    """Whatever still waits arrives, or expires and is reported."""
    hops.be_well()
    # What the troublemaker has started ends with its thread.
    stand.names.stop()
    stand.names.start()
    # Should the one after the last hold have met with a fault.
    signet.run("queue", "release", "--all", config=stand.setup.path)
    try:
        wait_for(lambda: not hops.open(), EXPIRE + 120, "the queue")
    except AssertionError:
        print(signet.run("status", config=stand.setup.path).stdout.decode())
        print(signet.run("queue", "list", config=stand.setup.path)
              .stdout.decode()[:4000])
        return ["nobody has heard of %d, such as %s" % (
            len(hops.open()), hops.open()[:5])]
    # Twice is what a receiver took whose answer did not get through.
    lost = hops.ledgers[0].missing()
    return ["%d given up, such as %s" % (len(lost), lost[:5])] * bool(lost) + \
        ["not as sent: %s" % ledger.broken[:3]
            for ledger in hops.ledgers if ledger.broken]


def run(stand, hops, trouble, given):
    stand.relay = signet.Relay(stand.setup, env=trouble.environment)
    stand.relay.deaths_expected = True  # judged by what they died of
    watch = Watch(stand.relay)
    loads = loads_of(stand, hops)
    helpers = [Idlers(stand.relay.port, trouble.chance), trouble]
    for thread in loads + helpers:
        thread.start()
    samples = soak(stand, hops, trouble, watch, given.minutes)
    stop(helpers)
    stop(loads)
    print("faults: %s; calls that failed: %d" % (
        ", ".join("%d %s" % (count, name) for name, count in
                  sorted(trouble.counts.items())), trouble.disk.count()))
    print("the slowest answer to a command: %.1f s, %s" % trouble.slowest)
    problems = trouble.problems + drain(stand, hops) + growth(samples)
    for ledger in hops.ledgers:
        print("%s; refused: %s" % (ledger, dict(ledger.refused)))
    print("%d reports" % len(hops.reports.deliveries))
    stand.relay.stop()
    return problems + watch.problems()


def main():
    given = arguments()
    with Stand(delivery=CONFIGURATION, zones=ZONES) as stand:
        hops = Hops(stand, random.Random(given.seed + 1))
        trouble = Trouble(stand, random.Random(given.seed))
        try:
            problems = run(stand, hops, trouble, given)
        finally:
            stand.relay.discard()
            trouble.done()
        for hop in hops.all:
            hop.stop()
    for problem in problems:
        print("FAILED: " + problem)
    print("verdict: %s" % ("FAILED" if problems else "memory and files are "
                           "flat, nothing is missing"))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
