"""The bench behind tests/bench/relay; usage is written there."""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))

from harness import signet  # noqa: E402
from harness.judge import Keys  # noqa: E402
from harness.names import NameServer  # noqa: E402
from harness.ports import free_port  # noqa: E402
from harness.postfix import Instance, unpacked  # noqa: E402
from harness.process import Server, accepts, wait_for  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
RUN_MAX = 300  # seconds, for one run


def tree(roots):
    """Every living process at or below the roots."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry)] = (int(fields[1]), fields)
    found = {}
    for pid, (_, fields) in parents.items():
        walk = pid
        while walk in parents and walk not in roots:
            walk = parents[walk][0]
        if walk in roots:
            found[pid] = fields
    return found


def cpu_seconds(roots):
    """user + sys of a tree, of children that ended and were reaped too."""
    return sum(sum(int(value) for value in fields[11:15])
               for fields in tree(set(roots)).values()) / TICK


def settled_cpu(roots):
    """When the work behind the last message (log, queue files) is done."""
    last, deadline = cpu_seconds(roots), time.monotonic() + 5
    while time.monotonic() < deadline:
        time.sleep(0.25)
        now = cpu_seconds(roots)
        if now - last < 0.011:
            return now
        last = now
    return last


class Sink:
    """smtp-sink; its own counter says how many messages it has."""

    def __init__(self, directory):
        self.port = free_port()
        root, env = unpacked("/usr/sbin/smtp-sink")
        self.process = subprocess.Popen(
            [root + "/usr/sbin/smtp-sink", "-c", "-u", "nobody",
             "127.0.0.1:%d" % self.port, "1000"], env=env, cwd=directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.count = 0
        threading.Thread(target=self._read, daemon=True).start()
        wait_for(lambda: accepts("127.0.0.1", self.port), 10, "smtp-sink")

    def _read(self):
        pipe, rest = self.process.stdout.fileno(), b""
        while True:
            data = os.read(pipe, 1 << 16)
            if not data:
                return
            counts = re.findall(rb"mesg=(\d+)\D", rest + data)
            if counts:
                self.count = int(counts[-1])
            rest = data[-64:]
            time.sleep(0.02)  # a reader that costs nothing

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Direct:
    """No relay at all: what the load and the sink can do."""
    name = "direct"

    def __init__(self, bench):
        self.port = bench.sink.port
        self.roots = []

    def stop(self):
        pass


class Plain:
    """Postfix that relays and does not sign."""
    name = "plain"

    def __init__(self, bench, milters=""):
        self.port = free_port()
        directory = os.path.join(bench.directory, "postfix-" + self.name)
        self.postfix = Instance(
            directory, [("127.0.0.1", self.port)], "relay.example.com",
            "relayhost = [127.0.0.1]:%d\n"
            "disable_dns_lookups = yes\n"
            "message_size_limit = 104857600\n"
            "smtpd_milters = %s\n"
            "milter_default_action = tempfail\n" % (bench.sink.port, milters))
        self.postfix.start()
        self.roots = [self.postfix.server.process.pid]

    def stop(self):
        self.postfix.stop()


class OpenDkim(Plain):
    """Postfix with OpenDKIM for its milter."""
    name = "opendkim"

    def __init__(self, bench):
        port = free_port()
        root, env = unpacked("/usr/sbin/opendkim")
        directory = os.path.join(bench.directory, "opendkim")
        os.makedirs(directory)
        os.chmod(directory, 0o755)
        conf = os.path.join(directory, "opendkim.conf")
        with open(conf, "w") as file:
            file.write("""
Mode s
Syslog no
UserID nobody
Socket inet:{port}@127.0.0.1
Domain example.com
Selector rsa
KeyFile {key}
RequireSafeKeys no
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
InternalHosts 127.0.0.1
OversignHeaders From
""".format(port=port, key=bench.opendkim_key))
        self.milter = Server([root + "/usr/sbin/opendkim", "-f", "-x", conf],
                             directory, "opendkim", env=env)
        self.milter.wait_until(lambda: accepts("127.0.0.1", port), 10,
                               "its port")
        super().__init__(bench, "inet:127.0.0.1:%d" % port)
        self.roots.append(self.milter.process.pid)

    def stop(self):
        super().stop()
        self.milter.stop()


class Signet:
    """signet relay, straight to the MX that NSD names."""
    name = "signet"

    def __init__(self, bench):
        directory = os.path.join(bench.directory, "signet")
        os.makedirs(directory)
        self.names = NameServer(bench.directory, {
            "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.1"})
        setup = signet.Setup(directory, bench.keys, self.names.resolver,
                             mx_port=bench.sink.port)
        setup.domains = {"example.com": ["rsa", "ed"] if bench.options.ed25519
                         else ["rsa"]}
        self.port = setup.port
        self.server = Server([signet.binary(), "-c", setup.write(), "relay"],
                             directory, "relay")
        self.server.wait_until(lambda: '"ready"' in self.server.log(), 20,
                               "the event ready")
        self.roots = [self.server.process.pid]

    def stop(self):
        self.server.stop(40)
        self.names.stop()


SYSTEMS = {one.name: one for one in (Signet, OpenDkim, Plain, Direct)}


class Bench:
    def __init__(self, directory, options):
        self.directory, self.options = directory, options
        self.keys = Keys(os.path.join(directory, "keys"))
        self.keys.make("example.com", "rsa", "rsa")
        self.keys.make("example.com", "ed", "ed25519")
        # OpenDKIM reads its key as its own user.
        self.opendkim_key = os.path.join(directory, "opendkim.pem")
        with open(self.keys.path("example.com", "rsa")) as file:
            pem = file.read()
        with open(self.opendkim_key, "w") as file:
            file.write(pem)
        self.sink = Sink(directory)

    def run(self, system, size, sessions, messages):
        """One run: (messages per second, CPU in µs per message)."""
        root, env = unpacked("/usr/sbin/smtp-source")
        before, cpu = self.sink.count, cpu_seconds(system.roots)
        begun = time.monotonic()
        source = subprocess.Popen(
            [root + "/usr/sbin/smtp-source", "-s", str(sessions),
             "-m", str(messages), "-l", str(size), "-f", "alice@example.com",
             "-t", "bob@example.net", "-S", "bench",
             "127.0.0.1:%d" % system.port], env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            while self.sink.count < before + messages:
                if source.poll():
                    raise RuntimeError("smtp-source: " +
                                       source.stderr.read().decode())
                if time.monotonic() - begun > RUN_MAX:
                    raise RuntimeError("%s: %d of %d after %d s" % (
                        system.name, self.sink.count - before, messages,
                        RUN_MAX))
                time.sleep(0.005)
            elapsed = time.monotonic() - begun
        finally:
            if source.poll() is None:
                try:
                    source.wait(10)
                except subprocess.TimeoutExpired:
                    source.kill()
            source.wait()
        used = settled_cpu(system.roots) - cpu
        return messages / elapsed, used / messages * 1e6


def parse_size(text):
    numbers = [int(part) for part in text.split(":")]
    size = numbers[0]
    sessions = numbers[1] if len(numbers) > 1 else 20
    messages = numbers[2] if len(numbers) > 2 else max(100, 4000 if
                                                       size < 50000 else 500)
    return size, sessions, messages


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/relay")
    parser.add_argument("--size", action="append", type=parse_size)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ed25519", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--only", action="append", choices=sorted(SYSTEMS))
    parser.add_argument("--json")
    options = parser.parse_args()
    if not options.size:
        options.size = [(4096, 20, 4000)]
        if options.all:
            options.size += [(100 << 10, 10, 1000), (1 << 20, 4, 200)]
    return options


def rsa_microseconds():
    """What one RSA-2048 signature costs here, by OpenSSL's own measure."""
    done = subprocess.run(
        ["openssl", "speed", "-mr", "-seconds", "1", "rsa2048"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = re.search(rb"^\+F2:\d+:2048:([0-9.e+-]+):", done.stdout, re.M)
    if not found:
        return None
    value = float(found.group(1))  # seconds each, or in newer ones how many
    return value * 1e6 if value < 1 else 1e6 / value


def measure_size(bench, systems, rounds, size, sessions, messages):
    runs = {system.name: [] for system in systems}
    for system in systems:  # one that does not count
        bench.run(system, size, sessions, max(50, messages // 10))
    for number in range(rounds):
        # Each goes first in turn.
        turn = number % len(systems)
        for system in systems[turn:] + systems[:turn]:
            rate, cpu = bench.run(system, size, sessions, messages)
            runs[system.name].append((rate, cpu))
            print("  %d bytes, round %d/%d  %-8s  %6.0f messages/s"
                  "  %6.0f µs" % (size, number + 1, rounds, system.name,
                                  rate, cpu), file=sys.stderr, flush=True)
    return {
        "size": size, "sessions": sessions, "messages": messages,
        "runs": runs,
        "rate": {name: statistics.median(rate for rate, _ in rows)
                 for name, rows in runs.items()},
        "cpu_us": {name: statistics.median(cpu for _, cpu in rows)
                   for name, rows in runs.items()}}


def measure(bench, names, options):
    systems = []
    try:
        for name in names:
            systems.append(SYSTEMS[name](bench))
        return [measure_size(bench, systems, options.rounds, *size)
                for size in options.size]
    finally:
        for system in reversed(systems):
            system.stop()


LABELS = {"signet": "signet", "opendkim": "Postfix + OpenDKIM",
          "plain": "Postfix, no signature",
          "direct": "no relay (load and sink)"}


def show(results, machine):
    print("%d cores, %s; OpenSSL signs RSA-2048 in %s µs; medians" % (
        machine["cores"], machine["processor"],
        "%.0f" % machine["rsa_us"] if machine["rsa_us"] else "?"))
    for row in results:
        print("\n%d bytes, %d sessions, %d messages, %d runs each" % (
            row["size"], row["sessions"], row["messages"],
            len(next(iter(row["runs"].values())))))
        print("  %-26s %12s %16s %8s %8s" % (
            "", "messages/s", "CPU µs/message", "rate", "CPU"))
        peer = "opendkim" if "opendkim" in row["rate"] else None
        for name in row["rate"]:
            ratio = ("%.2f" % (row["rate"][name] / row["rate"][peer])
                     if peer else "")
            part = ("%.2f" % (row["cpu_us"][name] / row["cpu_us"][peer])
                    if peer and row["cpu_us"][peer] else "")
            print("  %-26s %12.0f %16.0f %8s %8s" % (
                LABELS[name], row["rate"][name], row["cpu_us"][name],
                ratio, part))
        if peer:
            print("  (rate and CPU: as a multiple of Postfix + OpenDKIM)")


def processor():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*: (.*)", file.read(), re.M)
    return found.group(1) if found else platform.machine()


def main():
    options = arguments()
    names = options.only or (["signet", "opendkim"] +
                             (["plain"] if options.plain else []))
    machine = {"cores": os.cpu_count(), "processor": processor(),
               "rsa_us": rsa_microseconds()}
    with tempfile.TemporaryDirectory(prefix="signet-bench.") as directory:
        os.chmod(directory, 0o755)
        bench = Bench(directory, options)
        try:
            results = measure(bench, names, options)
        finally:
            bench.sink.stop()
    show(results, machine)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": machine, "ed25519": options.ed25519,
                       "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
