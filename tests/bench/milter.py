"""The bench behind tests/bench/milter; usage is written there.

Load, sink, Postfix and CPU are those of tests/bench/relay. What is added: the
milter's processes apart from Postfix's, the time that one message waits, and
memory.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

# First: the way to harness/.
from bench import Bench, parse_size, percentile
import machine as computer
import processes
import systems
from load import latencies

from harness import opendkim, rspamd, signet
from harness.milter import MilterSetup
from harness.ports import free_port
from harness.process import Server

LABELS = {"signet": "Postfix + signet milter",
          "opendkim": "Postfix + OpenDKIM", "rspamd": "Postfix + rspamd",
          "plain": "Postfix, no milter"}


class Plain(systems.Plain):
    milter_roots = ()


class WithMilter(Plain):
    """start_milter() says what its Server is, and its socket."""

    def start(self):
        self.milter, self.milters = self.start_milter()
        self.milter_roots = [self.milter.process.pid]
        return super().start() + self.milter_roots

    def end(self):
        super().end()
        self.milter.process.kill()
        self.milter.process.wait()


class OpenDkim(WithMilter):
    name = "opendkim"

    def start_milter(self):
        options = {
            "Mode": "s", "Domain": "example.com", "Selector": "rsa",
            "KeyFile": opendkim.private_copy(self.bench.key, self.directory),
            "UMask": "000", "Canonicalization": "relaxed/relaxed",
            "SignatureAlgorithm": "rsa-sha256", "OversignHeaders": "From"}
        port = free_port()
        if self.bench.unix:
            place = os.path.join(self.directory, "opendkim/socket")
            ours, theirs = "local:" + place, "unix:" + place
        else:
            ours = "inet:%d@127.0.0.1" % port
            theirs = "inet:127.0.0.1:%d" % port
        return opendkim.OpenDkim(self.directory, options, ours).server, theirs


class Rspamd(WithMilter):
    """Which signs, and looks at nothing else."""
    name = "rspamd"

    def start_milter(self):
        ours = "127.0.0.1:%d" % free_port()
        theirs = "inet:" + ours
        if self.bench.unix:
            place = os.path.join(self.directory, "socket")
            ours, theirs = place + " mode=0666", "unix:" + place
        return rspamd.Rspamd(self.directory, "example.com", "rsa",
                             self.bench.key, ours,
                             cache="build-bench/rspamd").server, theirs

    def end(self):
        self.milter.stop()  # its workers outlive it otherwise
        super().end()


class Signet(WithMilter):
    name = "signet"

    def start_milter(self):
        directory = os.path.join(self.directory, "signet")
        setup = MilterSetup(directory, self.bench.keys)
        setup.domains = {"example.com": ["rsa"]}
        theirs = "inet:127.0.0.1:%d" % setup.milter_port
        if self.bench.unix:
            theirs = "unix:" + os.path.join(directory, "socket")
            setup.socket = theirs
            setup.options = 'socket_mode = "0666"'
        milter = Server([signet.binary(), "-c", setup.write(), "milter"],
                        directory, "milter")
        milter.wait_until(lambda: '"ready"' in milter.log(), 20,
                          "the event ready")
        return milter, theirs

    def end(self):
        self.milter.stop(40)
        super().end()


SYSTEMS = {one.name: one for one in (Signet, OpenDkim, Rspamd, Plain)}


def parts(roots):
    """{(pid, what it is): (user, system)} of a tree, in seconds."""
    found = {}
    for pid, fields in processes.tree(set(roots)).items():
        try:
            with open("/proc/%d/cmdline" % pid) as file:
                words = file.read().split("\0")
        except OSError:
            continue
        name = next((word for word in words if word.endswith("-process")),
                    os.path.basename(words[0]))
        found[pid, name] = (int(fields[11]) / processes.TICK,
                            int(fields[12]) / processes.TICK)
    return found


def run(bench, system, size, sessions, messages, probes):
    """One round of one system."""
    before = parts(system.milter_roots)
    found = bench.run(system, size, sessions, messages)
    used = {}
    for (pid, name), times in parts(system.milter_roots).items():
        earlier = before.get((pid, name), (0, 0))
        used[name] = [
            sum + (now - then) / messages * 1e6 for sum, now, then in
            zip(used.get(name, (0, 0)), times, earlier)]
    return {"rate": found["rate"], "cpu_us": found["cpu_us"],
            "parts_us": used,
            "milter_us": sum(sum(times) for times in used.values()),
            "waits": latencies(system.port, probes, size)}


def summary(rounds):
    waits = [wait for one in rounds for wait in one["waits"]]
    found = {name: statistics.median(one[name] for one in rounds)
             for name in ("rate", "cpu_us", "milter_us")}
    found["p50_us"] = percentile(waits, 0.5) * 1e6
    found["p99_us"] = percentile(waits, 0.99) * 1e6
    found["parts_us"] = {
        name: [statistics.median(one["parts_us"].get(name, (0, 0))[which]
                                 for one in rounds) for which in (0, 1)]
        for name in rounds[0]["parts_us"]}
    return found


def measure_size(bench, systems, options, size, sessions, messages):
    rounds = {system.name: [] for system in systems}
    for system in systems:  # one that does not count
        bench.run(system, size, sessions, max(50, messages // 10))
    for number in range(options.rounds):
        # Each goes first in turn.
        turn = number % len(systems)
        for system in systems[turn:] + systems[:turn]:
            one = run(bench, system, size, sessions, messages, options.probes)
            rounds[system.name].append(one)
            print("  %d bytes, round %d/%d  %-8s %6.0f messages/s %6.0f µs,"
                  " %5.0f µs of it in the milter" % (
                      size, number + 1, options.rounds, system.name,
                      one["rate"], one["cpu_us"], one["milter_us"]),
                  file=sys.stderr, flush=True)
    return {"size": size, "sessions": sessions, "messages": messages,
            "rounds": rounds, "systems": {name: summary(rows)
                                          for name, rows in rounds.items()}}


def anonymous_kib(system):
    return processes.anonymous_bytes(system.milter_roots) >> 10


def measure_memory(bench, systems, messages):
    """{name: (KiB before, KiB after)} of the milters."""
    found = {}
    for system in systems:
        if not system.milter_roots:
            continue
        before, left = anonymous_kib(system), messages
        while left > 0:  # a run has a bound in time
            part = min(left, 10000)
            bench.run(system, 1024, 20, part)
            left -= part
        found[system.name] = (before, anonymous_kib(system))
    return found


def show(results, memory, messages, machine):
    print(computer.sentence(machine))
    for row in results:
        plain = row["systems"].get("plain")
        print("\n%d bytes, %d sessions, %d messages, %d rounds" % (
            row["size"], row["sessions"], row["messages"],
            len(next(iter(row["rounds"].values())))))
        print("  %-24s %10s %10s %10s %9s %9s %9s %9s" % (
            "", "messages/s", "CPU µs", "in milter", "p50 µs", "p99 µs",
            "added p50", "added p99"))
        for name, one in row["systems"].items():
            added = ["%9.0f" % (one[part] - plain[part]) if plain else ""
                     for part in ("p50_us", "p99_us")]
            print("  %-24s %10.0f %10.0f %10.0f %9.0f %9.0f %9s %9s" % (
                LABELS[name], one["rate"], one["cpu_us"], one["milter_us"],
                one["p50_us"], one["p99_us"], *added))
        for name, one in row["systems"].items():
            for part, (user, system) in one["parts_us"].items():
                print("  %-24s %4.0f µs user, %4.0f µs system in %s" % (
                    LABELS[name] + ":", user, system, part))
        ours = row["systems"].get("signet")
        for name, title in (("opendkim", "OpenDKIM"), ("rspamd", "rspamd")):
            theirs = row["systems"].get(name)
            if ours and theirs and theirs["milter_us"]:
                print("  signet's milter uses %.2f of the CPU of %s" % (
                    ours["milter_us"] / theirs["milter_us"], title))
    for name, (before, after) in memory.items():
        print("\n%s: the milter's own memory was %d KiB, and %d KiB after"
              " %d more messages" % (LABELS[name], before, after, messages))


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/milter")
    parser.add_argument("--size", action="append", type=parse_size)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--probes", type=int, default=100)
    parser.add_argument("--memory", type=int, default=5000)
    parser.add_argument("--only", action="append", choices=sorted(SYSTEMS))
    parser.add_argument("--unix", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.size = [(size, sessions, messages or 2000) for size, sessions,
                    messages in options.size or [(4096, 20, 0)]]
    return options


def main():
    options = arguments()
    machine = computer.facts()
    with tempfile.TemporaryDirectory(prefix="signet-bench.") as directory:
        os.chmod(directory, 0o755)
        bench = Bench(directory)
        bench.unix = options.unix
        peers = []
        try:
            for name in options.only or list(SYSTEMS):
                peers.append(SYSTEMS[name](bench))
            results = [measure_size(bench, peers, options, *size)
                       for size in options.size]
            memory = measure_memory(bench, peers, options.memory)
        finally:
            for system in reversed(peers):
                system.stop()
            bench.stop()
    show(results, memory, options.memory, machine)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": machine, "results": results,
                       "memory_kib": memory, "unix": options.unix,
                       "memory_messages": options.memory}, file, indent=1)


if __name__ == "__main__":
    main()
