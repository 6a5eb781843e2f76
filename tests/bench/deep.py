"""The bench behind tests/bench/deep; usage is written there."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench as common  # and, by it, the way to harness/
import load
import running

from harness import signet
from harness.judge import Keys
from harness.names import NameServer
from harness.process import wait_for

FILL = os.path.join(os.environ["BUILD"], "tests/bench/bench-queue")
HEALTHY = "example.net"
# Of the bodies of the load, and which part of the messages.
SIZES = (4096, 1), (100 << 10, 5)
FIGURES = (
    ("rate", "accepted and delivered, messages/s"),
    ("cpu", "CPU, µs/message"),
    ("cpu_us", "of it the store's thread, µs/message"),
    ("writes", "its writes/message"),
    ("bytes", "bytes that it writes/message"),
)


class Relay(running.Relay):
    """On a store that is there before it starts."""

    def __init__(self, bench, name):
        super().__init__(os.path.join(bench.state, name), bench.keys,
                         bench.names.resolver, bench.sink.port)
        self.name = name
        # The deferred ones stay so for as long as this lasts.
        self.setup.delivery = 'expire = "30d" retry = {"5m", "12h"}'

    def fill(self, options, due):
        """What the filling said."""
        done = subprocess.run(
            [FILL, "fill", self.setup.state_dir, str(options.messages),
             str(options.destinations), str(options.size), str(due),
             str(options.part)],
            stdout=subprocess.PIPE, check=True)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "--reference",
                            self.setup.state_dir,
                            os.path.join(self.setup.state_dir, "queue")],
                           check=True)
        return done.stdout.decode().strip()


class Bench:
    def __init__(self, directory, options):
        self.options = options
        self.state = options.state or directory
        self.keys = Keys(os.path.join(directory, "keys"))
        self.keys.make("example.com", "rsa", "rsa")
        self.sink = load.Sink(directory)
        # Nobody listens at 127.0.0.2; each domain is a host of its own.
        self.names = NameServer(directory, {
            HEALTHY: "@ IN MX 10 mx\nmx IN A 127.0.0.1",
            "example.com": "@ IN MX 10 mx\nmx IN A 127.0.0.1",
            "example": "* IN A 127.0.0.2"})
        self.rows, self.figures = [], {}

    def say(self, what, value, empty=None):
        self.rows.append((what, value, "" if empty is None else empty))
        print("  %-52s %16s %16s" % self.rows[-1], flush=True)

    def keep(self, name, value):
        self.figures[name] = value
        return value

    def stop(self):
        self.names.stop()
        self.sink.stop()

    def load(self, one, messages, size=4096):
        """What it was like for each message."""
        before = running.thread_of(one.pid, "store")
        found = common.Bench.run(self, one, size, 20, messages)
        after = running.thread_of(one.pid, "store")
        return {"rate": found["rate"], "cpu": found["cpu_us"], **{
            what: (after[what] - before[what]) / messages for what in after}}


def look(bench, deep, when):
    """What looking at the queue takes."""
    for words in (["status"], ["status", "--json", "--all"], ["queue", "list"],
                  ["queue", "list", "--domain", "d7.example"]):
        try:
            first, whole, size = deep.command(*words)
        except RuntimeError as error:
            bench.say(" ".join(words), str(error))
            continue
        bench.keep("%s %s" % (when, " ".join(words)),
                   {"first": first, "whole": whole, "bytes": size})
        bench.say("%s: first byte, whole" % " ".join(words),
                  "%.3f, %.3f s" % (first, whole))


def compare(bench, empty, deep, when):
    """Interleaved: rate and CPU for the destination that works."""
    for size, part in SIZES:
        compare_size(bench, empty, deep, when, size, part)


def compare_size(bench, empty, deep, when, size, part):
    options, runs = bench.options, {empty: [], deep: []}
    for number in range(options.rounds):
        for one in (empty, deep) if number % 2 else (deep, empty):
            runs[one].append(bench.load(one, options.load // part, size))
    when += ", %d KiB" % (size >> 10)
    bench.keep(when + " runs", {one.name: rows for one, rows in runs.items()})
    for which, words in FIGURES:
        median = {one: statistics.median(run[which] for run in rows)
                  for one, rows in runs.items()}
        bench.say("%s: %s" % (when, words), "%.1f (%.2f)" % (
            median[deep], median[deep] / median[empty]),
            "%.1f" % median[empty])


def tried(one, wanted):
    """Every destination has met with its refusal."""
    counters = one.counters()
    return counters["deferred"] >= wanted and counters["connections"] < 10


def measure_quiet(bench, empty):
    options, deep = bench.options, Relay(bench, "quiet")
    bench.say("filling", deep.fill(options, 7200).rpartition(": ")[2])
    bench.say("disk, bytes/message",
              "%.0f" % bench.keep("disk", deep.bytes_on_disk() /
                                  options.messages))
    try:
        bench.say("nothing due: start, s", "%.2f" % bench.keep(
            "quiet start", deep.start()), "%.2f" % empty.started)
        bench.say("nothing due: RssAnon, MiB", "%.1f" % bench.keep(
            "quiet memory", deep.memory_mib()), "%.1f" % empty.memory_mib())
        look(bench, deep, "quiet")
        compare(bench, empty, deep, "nothing due")
        bench.say("nothing due, after that: RssAnon, MiB", "%.1f" % bench.keep(
            "quiet memory after", deep.memory_mib()),
            "%.1f" % empty.memory_mib())
    finally:
        deep.stop()
        shutil.rmtree(deep.directory)


def quantiles(waits):
    ordered = sorted(waits)
    return "%.3f, %.3f, %.3f s" % tuple(
        ordered[int((len(ordered) - 1) * part)] for part in (0.5, 0.99, 1))


def measure_sweep(bench, deep):
    """Every destination is tried; meanwhile a message in every 50 ms."""
    begun, cpu = time.monotonic(), deep.group.cpu_seconds()
    prober = load.Prober(deep.port, 4096)
    wait_for(lambda: tried(deep, bench.options.destinations), 120,
             "every destination to be tried")
    elapsed = time.monotonic() - begun
    cpu = deep.group.cpu_seconds() - cpu
    waits = prober.end()
    bench.say("each destination tried, s", "%.1f" % bench.keep(
        "due tried", elapsed))
    bench.say("its CPU, µs/destination", "%.0f" % bench.keep(
        "due tried cpu", cpu / bench.options.destinations * 1e6))
    bench.say("meanwhile, dot to 250: p50, p99, longest", quantiles(
        bench.keep("due tried waits", waits)))
    wait_for(lambda: len(running.delays(deep, HEALTHY)) >= len(waits), 60,
             "what was sent meanwhile")
    bench.say("meanwhile, until delivered: p50, p99, longest", quantiles(
        bench.keep("due tried delays", running.delays(deep, HEALTHY))))


def measure_due(bench, empty):
    options, deep = bench.options, Relay(bench, "due")
    deep.fill(options, -3600)
    try:
        bench.say("all due: start, s", "%.2f" % bench.keep(
            "due start", deep.start()), "%.2f" % empty.started)
        measure_sweep(bench, deep)
        bench.say("all due: RssAnon, MiB", "%.1f" % bench.keep(
            "due memory", deep.memory_mib()))
        bench.say("all due: highest RSS with mapped pages, MiB",
                  "%.1f" % (running.status_of(deep.pid, "VmHWM") / 1024))
        look(bench, deep, "due")
        compare(bench, empty, deep, "all due")
        bench.say("all due, after that: RssAnon, MiB", "%.1f" % bench.keep(
            "due memory after", deep.memory_mib()),
            "%.1f" % empty.memory_mib())
        if options.delete:
            measure_delete(bench, empty, deep)
    finally:
        deep.stop()
        shutil.rmtree(deep.directory)


def measure_expiry(bench):
    """All are over once they have been tried; their sender answers."""
    options, deep = bench.options, Relay(bench, "expired")
    deep.setup.delivery = 'expire = "1s" retry = {"1s"}'
    deep.fill(options, -3600)
    sent = bench.sink.count
    try:
        begun = time.monotonic()
        deep.start()
        samples, prober = running.Samples(deep), load.Prober(deep.port, 4096)
        wait_for(lambda: bench.sink.count - sent >= options.messages, 900,
                 lambda: "%d reports" % (bench.sink.count - sent))
        elapsed = time.monotonic() - begun
        waits = prober.end()
        samples.stop()
        bench.say("all expired and reported, s", "%.1f" % bench.keep(
            "expired", elapsed))
        bench.say("meanwhile: RssAnon, highest, MiB", "%.1f" % bench.keep(
            "expired memory", samples.memory_mib))
        bench.say("meanwhile, dot to 250: p50, p99, longest", quantiles(
            bench.keep("expired waits", waits)))
        bench.say("then: RssAnon, MiB", "%.1f" % deep.memory_mib())
        bench.say("CPU, µs/message", "%.0f" % (
            deep.group.cpu_seconds() / options.messages * 1e6))
    finally:
        deep.stop()
        shutil.rmtree(deep.directory)


def measure_delete(bench, empty, deep):
    begun = time.monotonic()
    process = subprocess.Popen(
        [signet.binary(), "-c", deep.setup.path, "queue", "delete", "--all"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    rate = bench.load(deep, bench.options.load)["rate"]
    bench.say("being deleted: messages/s", "%.0f" % rate)
    # 75: what is being delivered is left alone.
    if process.wait(300) not in (0, 75):
        raise RuntimeError("queue delete: exit %d" % process.returncode)
    bench.say("all deleted, s", "%.1f" % bench.keep(
        "delete", time.monotonic() - begun))
    bench.say("left: queued", "%d" % deep.counters()["queued"])
    bench.say("then: RssAnon, MiB", "%.1f" % deep.memory_mib())
    compare(bench, empty, deep, "emptied")


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/deep")
    parser.add_argument("--messages", type=int, default=1000000)
    parser.add_argument("--destinations", type=int, default=10000)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=3000)
    parser.add_argument("--delete", action="store_true")
    parser.add_argument("--only", choices=["quiet", "due", "expired"])
    parser.add_argument("--state")
    parser.add_argument("--json")
    return parser.parse_args()


def measure(bench):
    options = bench.options
    print("%d messages of %d bytes for %d destinations; beside an empty queue"
          % (options.messages, options.size, options.destinations))
    empty = Relay(bench, "empty")
    empty.started = empty.start()
    try:
        bench.load(empty, options.load)  # one that does not count
        if options.only in (None, "quiet"):
            measure_quiet(bench, empty)
        if options.only in (None, "due"):
            measure_due(bench, empty)
        if options.only == "expired":
            measure_expiry(bench)
    finally:
        empty.stop()


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="signet-bench.") as directory:
        os.chmod(directory, 0o755)
        needed = options.messages * (
            6000 + 5 * options.size // 4 // options.part)
        if shutil.disk_usage(options.state or directory).free < needed:
            sys.exit("not %d bytes free there; see --state" % needed)
        bench = Bench(directory, options)
        try:
            measure(bench)
        finally:
            bench.stop()
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"messages": options.messages, "size": options.size,
                       "destinations": options.destinations,
                       "results": bench.figures}, file, indent=1)


if __name__ == "__main__":
    main()
