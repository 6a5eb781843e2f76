import argparse
import os
import random
import re
import signal
import socket
import sys
import threading
import time

from stand import Stand

from harness import signet
from harness.account import Load, Sink, stop
from harness.faulty import SILENCE
from harness.process import wait_for

ZONES = {
    "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",  # the good one
    "example.org": "@ IN MX 10 mx\nmx IN A 127.0.0.3",  # undecided, slow
    "dead.example": "@ IN MX 10 mx\nmx IN A 127.0.0.4",
}
CONFIGURATION = """retry = {"1s", "2s", "5s"}
    expire = "60s"
    bounce_from = "" """
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
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1))


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
    """Answers of a next hop that defers, refuses, is slow or silent."""

    def __init__(self, chance):
        self.chance = chance

    def __call__(self, argument):
        dice = self.chance.random()
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


class Trouble(threading.Thread):
    """One fault after the other."""

    def __init__(self, stand, chance):
        super().__init__(daemon=True)
        self.stand, self.chance = stand, chance
        self.stopping = threading.Event()
        self.count = 0
        self.signer_killed = 0

    def run(self):
        deeds = (self.reload, self.kill_signer, self.no_resolver,
                 self.no_sink, self.queue)
        while not self.stopping.wait(1 + self.chance.random() * 4):
            self.chance.choice(deeds)()
            self.count += 1

    def reload(self):
        self.stand.relay.hang_up()

    def kill_signer(self):
        # More often, and each new one is waited for longer.
        if time.monotonic() < self.signer_killed + 65:
            return
        self.signer_killed = time.monotonic()
        try:
            os.kill(self.stand.relay.family()["signer"], signal.SIGKILL)
        except (AssertionError, ProcessLookupError):
            pass

    def no_resolver(self):
        self.stand.names.stop()
        self.stopping.wait(self.chance.random() * 3)
        self.stand.names.start()

    def no_sink(self):
        self.stand.sink.stop()
        self.stopping.wait(self.chance.random() * 2)
        self.stand.sink.start()

    def queue(self):
        for words in (("list", "--json"), ("hold", "--domain", "example.org"),
                      ("release", "--domain", "example.org")):
            signet.run("queue", *words, config=self.stand.setup.path)
        signet.run("status", config=self.stand.setup.path)


def loads_of(stand):
    port, account = stand.relay.port, stand.account
    return [
        Load(port, "small", account, sizes=(1, 50, 300)),
        Load(port, "mixed", account, sizes=(1, 3000, 30000), pause=0.1),
        Load(port, "large", account, sizes=(200000,), pause=2),
        Load(port, "other", account.others, sizes=(1, 50), pause=0.02,
             recipients=["bob@example.org", "carol@example.org"]),
        Load(port, "dead", account.others, sizes=(1, 50), pause=0.2,
             recipients=["bob@dead.example"]),
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


def soak(stand, minutes, chance):
    """All samples."""
    samples, begun = [], time.monotonic()
    relay = stand.relay.family()["relay"]
    print("  min  acknow.  arrived missing    relay files   signer files"
          "  superv. files threads")
    while time.monotonic() < begun + 60 * minutes:
        time.sleep(min(60, 60 * minutes / 20))
        stand.relay.events[:-300] = []
        for hop in stand.hops:
            del hop.commands[:-100], hop.peers[:-100]
        try:
            samples.append(Sample(stand.relay.family()))
        except (AssertionError, OSError):
            continue  # the signer is just being replaced
        row(stand, samples[-1], begun)
        if stand.relay.family()["relay"] != relay:
            raise AssertionError("the relay was replaced:\n%s" %
                                 stand.relay.tail())
    return samples


def drain(stand):
    try:
        wait_for(lambda: not stand.account.missing(), 180, "the queue")
    except AssertionError:
        return ["%d messages are missing" % len(stand.account.missing())]
    # Twice is what a receiver took whose answer did not get through.
    return ["not as sent: %s" % stand.account.broken[:3]] \
        if stand.account.broken else []


def run(stand, given):
    chance = random.Random(given.seed)
    stand.relay.start()
    loads = loads_of(stand)
    helpers = [Idlers(stand.relay.port, chance), Trouble(stand, chance)]
    for thread in loads + helpers:
        thread.start()
    samples = soak(stand, given.minutes, chance)
    stop(helpers)
    stop(loads)
    print("%d faults; %s" % (helpers[1].count, stand.account))
    problems = drain(stand) + growth(samples)
    stand.relay.stop()
    return problems


def main():
    given = arguments()
    with Stand(delivery=CONFIGURATION, zones=ZONES) as stand:
        chance = random.Random(given.seed + 1)
        stand.account.others = type(stand.account)()
        undecided = Sink(stand.account.others, stand.setup.mx_port,
                         "127.0.0.3", replies={"RCPT": Undecided(chance)})
        stand.hops = (stand.sink, undecided)
        problems = run(stand, given)
        undecided.stop()
    for problem in problems:
        print("FAILED: " + problem)
    print("verdict: %s" % ("FAILED" if problems else "memory and files are "
                           "flat, nothing is missing"))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
