"""The bench behind tests/bench/fanout; usage is written there."""

import argparse
import collections
import json
import os
import sys
import tempfile
import threading
import time

import bench  # the way to harness/  # noqa: F401
import running

from harness import smtp
from harness.judge import Keys
from harness.names import Counter, NameServer
from harness.process import wait_for

AT_ONCE = 1000  # recipients of a message
PROBES = "probe%d.example"


class Names(NameServer):
    """Whose answers, the negative ones too, live longer than this takes."""

    soa = ("@ 3600 IN SOA ns hostmaster 1 3600 600 86400 3600\n"
           "@ IN NS ns\nns IN A 127.0.0.1\n")


def zone(options):
    """An address for each domain: 127.1.0.0 and so on; dead ones have one at
    which nobody listens."""
    lines = []
    for number in range(options.domains + 1000):
        name = ("d%d" % number if number < options.domains else
                "probe%d" % (number - options.domains))
        address = "127.%d.%d.%d" % (
            1 + number // 65536, number // 256 % 256, number % 256)
        if number < options.dead:
            address = running.DEAD
        lines.append("%s 3600 IN MX 10 mx.%s\nmx.%s 3600 IN A %s" %
                     (name, name, name, address))
    return "\n".join(lines)


def pipelined(client, sender, recipients, text):
    """One transaction; RCPTs all at once."""
    client.expect("MAIL FROM:<%s>" % sender, 250)
    client.send("".join("RCPT TO:<%s>\r\n" % one
                        for one in recipients).encode())
    for one in recipients:
        client.check(client.reply(), 250, None, one)
    client.check(client.data(text), 250, None, "the end of data")


def inject(port, options):
    text = smtp.message()
    with smtp.Client(port, timeout=120) as client:
        client.ehlo()
        for first in range(0, options.recipients, AT_ONCE):
            pipelined(client, "alice@example.com", [
                "u%d@d%d.example" % (i, i % options.domains)
                for i in range(first, min(first + AT_ONCE,
                                          options.recipients))], text)


class Probes(threading.Thread):
    """A message to another domain each second."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.sent, self.is_over = port, 0, threading.Event()

    def run(self):
        with smtp.Client(self.port, timeout=60) as client:
            client.ehlo()
            while not self.is_over.wait(1) and self.sent < 1000:
                pipelined(client, "alice@example.com",
                          ["probe@" + PROBES % self.sent], smtp.message())
                self.sent += 1


def fates(path):
    """{event: [seconds since it was accepted]} of recipients and probes."""
    found = collections.defaultdict(list)
    with open(path, errors="replace") as file:
        for line in file:
            if '"delivered"' in line or '"deferred"' in line:
                event = json.loads(line)
                who = ("probe" if event["domain"].startswith("probe")
                       else "all")
                found[who, event["event"]].append(event["delay"])
    return found


def describe(delays):
    if not delays:
        return "none"
    ordered = sorted(delays)
    return "%d: %.2f, %.2f, %.2f" % (
        len(ordered), ordered[len(ordered) // 2],
        ordered[len(ordered) * 99 // 100], ordered[-1])


def measure(directory, options, table):
    keys = Keys(os.path.join(directory, "keys"))
    keys.make("example.com", "rsa", "rsa")
    sink = running.Sink()
    names = Names(directory, {"example": zone(options)})
    counter = Counter(names.port)
    one = running.Relay(os.path.join(directory, "relay"), keys,
                        "127.0.0.1:%d" % counter.port, sink.port)
    one.start()
    samples, probes = running.Samples(one), Probes(one.port)
    try:
        begun = time.monotonic()
        probes.start()
        inject(one.port, options)
        table.row("accepted, s", "%.1f" % (time.monotonic() - begun))
        wanted = sum(i % options.domains >= options.dead
                     for i in range(options.recipients))
        wait_for(lambda: sink.count >= wanted, options.seconds,
                 lambda: "%d of %d" % (sink.count, wanted))
        probes.is_over.set()
        probes.join()
        wait_for(lambda: sink.count >= wanted + probes.sent, 60,
                 "the last of the probes")
        elapsed = time.monotonic() - begun
        table.row("all delivered, s", "%.1f" % elapsed)
        table.row("deliveries/s", "%.0f" % (sink.count / elapsed))
        table.row("CPU, us/delivery", "%.0f" % (
            one.group.cpu_seconds() / sink.count * 1e6))
        time.sleep(1)
        report(table, one, samples, counter)
    finally:
        one.stop()
        names.stop()
        sink.stop()


def report(table, one, samples, counter):
    samples.stop()
    table.row("RssAnon, highest, MiB", "%.1f" % samples.memory_mib)
    table.row("RssAnon, then, MiB", "%.1f" % one.memory_mib())
    table.row("descriptors, most", "%d" % samples.descriptors)
    table.row("connections, most", "%d" % samples.connections)
    for kind in ("MX", "A", "AAAA"):
        times = [count for (_, which), count in counter.asked.items()
                 if which == kind]
        table.row("questions for %s; names; most for one" % kind,
                  "%d; %d; %d" % (sum(times), len(times), max(times)))
    found = fates(one.server.log_path)
    table.row("delivered: count: p50, p99, longest, s",
              describe(found["all", "delivered"]))
    table.row("probes delivered: count: p50, p99, longest, s",
              describe(found["probe", "delivered"]))
    table.row("deferred", "%d" % len(found["all", "deferred"]))


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/fanout")
    parser.add_argument("--recipients", type=int, default=100000)
    parser.add_argument("--domains", type=int, default=20000)
    parser.add_argument("--dead", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=220)
    parser.add_argument("--json")
    options = parser.parse_args()
    table = running.Table()
    running.allow_files()
    with tempfile.TemporaryDirectory(prefix="signet-bench.") as directory:
        os.chmod(directory, 0o755)
        print("%d recipients at %d domains, of which %d do not answer" % (
            options.recipients, options.domains, options.dead))
        measure(directory, options, table)
    table.write(options.json)


if __name__ == "__main__":
    sys.exit(main())
