"""The bench behind tests/bench/milter; usage is written there.

Load, sink, Postfix and CPU are those of tests/bench/relay. What is added: the
milter's processes apart from Postfix's, the time that one message waits, and
memory.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time

import relay  # and, by it, the way to harness/

from harness import opendkim, signet, smtp
from harness.milter import MilterSetup
from harness.ports import free_port
from harness.process import Server

LABELS = {"signet": "Postfix + signet milter",
          "opendkim": "Postfix + OpenDKIM", "plain": "Postfix, no milter"}


class Plain(relay.Plain):
    milter_roots = ()


class WithMilter(relay.Plain):
    """self.milter (a Server) is there before Postfix is."""

    def __init__(self, bench, socket):
        super().__init__(bench, socket)
        self.milter_roots = [self.milter.process.pid]
        self.roots += self.milter_roots

    def stop(self):
        super().stop()
        self.milter.process.kill()
        self.milter.process.wait()


class OpenDkim(WithMilter):
    name = "opendkim"

    def __init__(self, bench):
        options = {
            "Mode": "s", "Domain": "example.com", "Selector": "rsa",
            "KeyFile": bench.opendkim_key, "UMask": "000",
            "Canonicalization": "relaxed/relaxed",
            "SignatureAlgorithm": "rsa-sha256", "OversignHeaders": "From"}
        place, port = bench.directory, free_port()
        if bench.options.unix:
            ours = theirs = "unix:" + os.path.join(place, "opendkim/socket")
            ours = ours.replace("unix:", "local:")
        else:
            ours = "inet:%d@127.0.0.1" % port
            theirs = "inet:127.0.0.1:%d" % port
        self.milter = opendkim.OpenDkim(place, options, ours).server
        super().__init__(bench, theirs)


class Signet(WithMilter):
    name = "signet"

    def __init__(self, bench):
        directory = os.path.join(bench.directory, "signet")
        setup = MilterSetup(directory, bench.keys)
        setup.domains = {"example.com": ["rsa"]}
        theirs = "inet:127.0.0.1:%d" % setup.milter_port
        if bench.options.unix:
            theirs = "unix:" + os.path.join(directory, "socket")
            setup.socket = theirs
            setup.options = 'socket_mode = "0666"'
        self.milter = Server([signet.binary(), "-c", setup.write(), "milter"],
                             directory, "milter")
        self.milter.wait_until(lambda: '"ready"' in self.milter.log(), 20,
                               "the event ready")
        super().__init__(bench, theirs)

    def stop(self):
        self.milter.stop(40)
        super().stop()


SYSTEMS = {one.name: one for one in (Signet, OpenDkim, Plain)}


def latencies(port, count, size):
    """Seconds from a message's final dot to its 250, one at a time."""
    body = "0123456789abcdef" * 4 + "\r\n"
    data = smtp.stuffed(smtp.message(body=body * max(1, size // len(body))))
    waits = []
    with smtp.Client(port, timeout=60) as client:
        # The dot may not wait for the ACK of what was sent before it.
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.ehlo()
        for _ in range(count):
            client.expect("MAIL FROM:<alice@example.com>", 250)
            client.expect("RCPT TO:<bob@example.net>", 250)
            client.expect("DATA", 354)
            client.send(data[:-3])
            begun = time.monotonic()
            client.send(data[-3:])
            reply = client.reply()
            waits.append(time.monotonic() - begun)
            assert reply[0] == 250, reply
        client.say("QUIT")
    return waits


def anonymous_kib(roots):
    """RssAnon of a tree: memory of its own, not of mapped files."""
    total = 0
    for pid in relay.tree(set(roots)):
        try:
            with open("/proc/%d/status" % pid) as file:
                total += sum(int(line.split()[1]) for line in file
                             if line.startswith("RssAnon:"))
        except OSError:
            pass
    return total


def parts(roots):
    """{(pid, what it is): (user, system)} of a tree, in seconds."""
    found = {}
    for pid, fields in relay.tree(set(roots)).items():
        try:
            with open("/proc/%d/cmdline" % pid) as file:
                words = file.read().split("\0")
        except OSError:
            continue
        name = next((word for word in words if word.endswith("-process")),
                    os.path.basename(words[0]))
        found[pid, name] = (int(fields[11]) / relay.TICK,
                            int(fields[12]) / relay.TICK)
    return found


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def run(bench, system, size, sessions, messages, probes):
    """One round of one system."""
    before = parts(system.milter_roots)
    rate, cpu = bench.run(system, size, sessions, messages)
    used = {}
    for (pid, name), times in parts(system.milter_roots).items():
        earlier = before.get((pid, name), (0, 0))
        used[name] = [(now - then) / messages * 1e6
                      for now, then in zip(times, earlier)]
    return {"rate": rate, "cpu_us": cpu, "parts_us": used,
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


def measure_memory(bench, systems, messages):
    """{name: (KiB before, KiB after)} of the milters."""
    found = {}
    for system in systems:
        if not system.milter_roots:
            continue
        before, left = anonymous_kib(system.milter_roots), messages
        while left > 0:  # a run has a bound in time
            part = min(left, 10000)
            bench.run(system, 1024, 20, part)
            left -= part
        found[system.name] = (before, anonymous_kib(system.milter_roots))
    return found


def show(results, memory, messages, machine):
    print("%d cores, %s; OpenSSL signs RSA-2048 in %s µs; medians" % (
        machine["cores"], machine["processor"],
        "%.0f" % machine["rsa_us"] if machine["rsa_us"] else "?"))
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
        ours, theirs = (row["systems"].get(name)
                        for name in ("signet", "opendkim"))
        if ours and theirs and theirs["milter_us"]:
            print("  signet's milter uses %.2f of the CPU of OpenDKIM" % (
                ours["milter_us"] / theirs["milter_us"]))
    for name, (before, after) in memory.items():
        print("\n%s: the milter's own memory was %d KiB, and %d KiB after"
              " %d more messages" % (LABELS[name], before, after, messages))


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/milter")
    parser.add_argument("--size", action="append", type=relay.parse_size)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--probes", type=int, default=100)
    parser.add_argument("--memory", type=int, default=5000)
    parser.add_argument("--only", action="append", choices=sorted(SYSTEMS))
    parser.add_argument("--unix", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.size = options.size or [(4096, 20, 2000)]
    return options


def main():
    options = arguments()
    machine = {"cores": os.cpu_count(), "processor": relay.processor(),
               "rsa_us": relay.rsa_microseconds()}
    with tempfile.TemporaryDirectory(prefix="signet-bench.") as directory:
        os.chmod(directory, 0o755)
        bench = relay.Bench(directory, options)
        systems = []
        try:
            for name in options.only or ["signet", "opendkim", "plain"]:
                systems.append(SYSTEMS[name](bench))
            results = [measure_size(bench, systems, options, *size)
                       for size in options.size]
            memory = measure_memory(bench, systems, options.memory)
        finally:
            for system in reversed(systems):
                system.stop()
            bench.sink.stop()
    show(results, memory, options.memory, machine)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": machine, "results": results,
                       "memory_kib": memory, "unix": options.unix,
                       "memory_messages": options.memory}, file, indent=1)


if __name__ == "__main__":
    main()
