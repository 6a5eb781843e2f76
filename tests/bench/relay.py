"""The bench behind tests/bench/relay; usage is written there."""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time

from bench import Bench, parse_size, percentile  # first: the way to harness/
import groups
import load
import machine
import split
from systems import SYSTEMS

SIZES = (4 << 10, 100 << 10, 1 << 20)
SESSIONS = (1, 20, 200)
ALL_MINUTES = 30
MESSAGES_MAX = 50000  # of a run


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/relay")
    parser.add_argument("--size", action="append", type=parse_size)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--ed25519", action="store_true")
    parser.add_argument("--only", action="append", choices=sorted(SYSTEMS))
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.all:
        options.size = [(size, sessions, 0)
                        for size in SIZES for sessions in SESSIONS]
        options.minutes = options.minutes or ALL_MINUTES
    options.size = options.size or [(4096, 20, 0)]
    return options


class Budget:
    """How long it may take in all: the rows that are left share what is left.
    Each has one round at least."""

    def __init__(self, minutes, rows):
        self._begun = time.monotonic()
        self._seconds = minutes * 60 if minutes else None
        self._rows, self._done = rows, 0
        self._until = None

    def _spent(self):
        return time.monotonic() - self._begun

    def begin_row(self, size, sessions):
        left = self._rows - self._done
        self._done += 1
        if self._seconds:
            self._until = self._spent() + \
                (self._seconds - self._spent()) / left
        to_go = self._spent() / (self._done - 1) * left if self._done > 1 \
            else self._seconds
        tell("row %d of %d: %d bytes, %d sessions; %.1f minutes so far%s" % (
            self._done, self._rows, size, sessions, self._spent() / 60,
            ", about %.0f to go" % (to_go / 60) if to_go else ""))

    def is_row_over(self):
        return self._until is not None and self._spent() > self._until


def tell(text):
    print(text, file=sys.stderr, flush=True)


def calibrated(bench, system, size, sessions, seconds):
    """How many messages it takes in the time that a run may last. Whoever is
    slow gets few, from the first run on; but a few that wait for something at
    the end do not say how quick he is with many."""
    least = count = max(sessions, 20)
    while True:
        lasted = count / bench.run(system, size, sessions, count)["rate"]
        if lasted > seconds / 2 or count == MESSAGES_MAX:
            break
        count = int(min(count * min(10, max(3, seconds / lasted)),
                        MESSAGES_MAX))
    return int(min(max(least, count * seconds / lasted), MESSAGES_MAX))


def one_run(bench, system, size, sessions, messages, seconds):
    """With one session, latency is measured when nothing else goes on, else
    beside the load."""
    found = bench.run(system, size, sessions, messages, probed=sessions > 1)
    if sessions == 1:
        found["waits"] = load.latencies(system.port, 100, size, seconds)
        found["commit_us"] = machine.commit_microseconds(bench.directory)
        found["rsa_us"] = machine.rsa_microseconds()
    return found


def summary(rounds):
    """Medians of the rounds; percentiles of the waits in all of them."""
    waits = [wait * 1e6 for one in rounds for wait in one["waits"]]
    found = {name: statistics.median(one[name] for one in rounds)
             for name in ("rate", "cpu_us", "written_bytes")}
    for name in ("commit_us", "rsa_us"):
        known = [one[name] for one in rounds if one.get(name)]
        if known:
            found[name] = statistics.median(known)
    found["peak_bytes"] = max(one["peak_bytes"] for one in rounds)
    found["p50_us"] = percentile(waits, 0.5)
    found["p99_us"] = percentile(waits, 0.99)
    return found


def complain(name, fault):
    """Others go on without it."""
    tell("  %s: %s: %s" % (name, type(fault).__name__, fault))


class Systems:
    """Those that are compared. One that does not start, or fails, is tried
    again when it is next asked for."""

    def __init__(self, bench, names):
        self.names = names
        self._bench = bench
        self._running = {}

    def get(self, name):
        """None: it does not start."""
        if name not in self._running:
            try:
                self._running[name] = SYSTEMS[name](self._bench)
            except Exception as fault:
                complain(name, fault)
                return None
        return self._running[name]

    def stop(self, name):
        system = self._running.pop(name, None)
        if system is not None:
            try:
                system.stop()
            except Exception as fault:
                complain(name, fault)
            # What it had under way counts for nobody.
            load.settled(lambda: self._bench.sink.count)

    def stop_all(self):
        for name in list(self._running):
            self.stop(name)


class Row:
    """All systems with messages of one size from so many sessions. What fails
    has no figures here."""

    def __init__(self, bench, systems, options, budget, size, sessions,
                 messages):
        self._bench, self._systems, self._options = bench, systems, options
        self._budget = budget
        self._size, self._sessions = size, sessions
        self._messages = messages
        self._counts = {}
        self._rounds = {}

    def _try(self, name, work, *arguments):
        system = self._systems.get(name)
        if system is None:
            return None
        try:
            return work(self._bench, system, self._size, self._sessions,
                        *arguments)
        except Exception as fault:
            complain(name, fault)
            self._systems.stop(name)
            return None

    def _round(self, name, number):
        one = self._try(name, one_run, self._counts[name],
                        self._options.seconds)
        if one is None:
            del self._counts[name]
            return
        self._rounds.setdefault(name, []).append(one)
        tell("  %d bytes, %d sessions, round %d/%d  %-9s %7.0f messages/s"
             " %7.0f µs" % (self._size, self._sessions, number + 1,
                            self._options.rounds, name, one["rate"],
                            one["cpu_us"]))

    def measure(self):
        self._budget.begin_row(self._size, self._sessions)
        for name in self._systems.names:
            count = self._messages or self._try(
                name, calibrated, self._options.seconds)
            if count:
                self._counts[name] = count
        for number in range(self._options.rounds):
            if number and self._budget.is_row_over():
                tell("  no time for more than %d" % number)
                break
            # Each goes first in turn.
            names = list(self._counts)
            turn = number % max(1, len(names))
            for name in names[turn:] + names[:turn]:
                self._round(name, number)
        row = {"size": self._size, "sessions": self._sessions,
               "rounds": self._rounds,
               "systems": {name: summary(self._rounds[name])
                           for name in self._systems.names
                           if name in self._counts}}
        if "signet" in self._counts:
            row["split"] = self._try("signet", split.measure,
                                     self._counts["signet"])
        return row


def measure(bench, names, options, found):
    """Calls found() with each row."""
    systems = Systems(bench, names)
    budget = Budget(options.minutes, len(options.size))
    try:
        for size in options.size:
            found(Row(bench, systems, options, budget, *size).measure())
    finally:
        systems.stop_all()


COLUMNS = "  %-24s %10s %10s %9s %9s %9s %9s %7s %7s"


def figures(name, one, peer):
    """One line of a table."""
    rate = cpu = ""
    if peer:
        rate = "%.2f" % (one["rate"] / peer["rate"])
        cpu = "%.2f" % (one["cpu_us"] / peer["cpu_us"])
    return COLUMNS % (
        SYSTEMS[name].label, "%.0f" % one["rate"], "%.0f" % one["cpu_us"],
        "%.1f" % (one["peak_bytes"] / 1048576),
        "%.1f" % (one["written_bytes"] / 1024), "%.0f" % one["p50_us"],
        "%.0f" % one["p99_us"], rate, cpu)


def show_row(row, facts):
    if not row["systems"]:
        return
    rounds = max(len(rounds) for rounds in row["rounds"].values())
    print("\n%d bytes, %d session%s, %d round%s" % (
        row["size"], row["sessions"], "s"[:row["sessions"] - 1],
        rounds, "s"[:rounds - 1]))
    print(COLUMNS % ("", "messages/s", "CPU µs", "MiB", "KiB disk",
                     "p50 µs", "p99 µs", "rate", "CPU"))
    peer = row["systems"].get("opendkim")
    for name, one in row["systems"].items():
        print(figures(name, one, peer))
    if row.get("split"):
        split.show(row["split"], row["size"], facts)
        show_wait(row["systems"]["signet"])
    sys.stdout.flush()


def show_wait(one):
    """Of one session: what no relay that signs and stores can do without."""
    if "commit_us" in one and "rsa_us" in one:
        print("  signet's p50: RSA %.0f, a commit by itself %.0f, the rest %.0f"
              % (one["rsa_us"], one["commit_us"],
                 one["p50_us"] - one["rsa_us"] - one["commit_us"]))


def show_all(results):
    """Rate and CPU of each system in all rows, side by side."""
    names = [name for name in SYSTEMS
             if any(name in row["systems"] for row in results)]
    print("\nmessages/s (CPU µs per message)\n" + "%17s" % "" + "".join(
        "%16s" % name for name in names))
    for row in results:
        print("%8d x %-6d" % (row["size"], row["sessions"]) + "".join(
            "%16s" % ("%.0f (%.0f)" % (one["rate"], one["cpu_us"])
                      if one else "-")
            for one in map(row["systems"].get, names)))


def show_legend():
    print("""
  CPU and disk: per message; MiB: the most memory of its own. Those at the right
  are multiples of Postfix + OpenDKIM. What OpenSMTPD writes it leaves to the
  system, after its 250.""")


def write(options, facts, results):
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": facts, "ed25519": options.ed25519,
                       "results": results}, file, indent=1)


def main():
    options = arguments()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = options.only or [name for name in SYSTEMS if name != "direct"]
    facts = machine.facts()
    with tempfile.TemporaryDirectory(prefix="signet-bench.",
                                     dir=groups.DISK) as directory:
        os.chmod(directory, 0o755)
        bench = Bench(directory, options.ed25519)
        results = []

        def found(row):
            results.append(row)
            show_row(row, facts)
            write(options, facts, results)

        print(machine.sentence(facts))
        try:
            measure(bench, names, options, found)
        finally:
            bench.stop()
            if len(results) > 1:
                show_all(results)
            show_legend()


if __name__ == "__main__":
    main()
