"""The bench behind tests/bench/big; usage is written there."""

import argparse
import itertools
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import bench  # the way to harness/  # noqa: F401
import running

from harness import smtp
from harness.judge import Keys
from harness.names import NameServer
from harness.process import wait_for

SLOW_SIZE = 256 << 10
PIECE = 1 << 20


class World:
    """Keys, names and hosts, for relays one after the other."""

    def __init__(self, directory, options):
        self.directory, self.numbers = directory, itertools.count()
        self.keys = Keys(os.path.join(directory, "keys"))
        self.keys.make("example.com", "rsa", "rsa")
        self.sink = running.Sink()
        slow = "\n".join("slow%d IN A 127.9.%d.%d" % (i, i // 256, i % 256)
                         for i in range(options.slow))
        self.names = NameServer(directory, {
            "example": "fast IN A 127.0.0.1\n" + slow})

    def relay(self, listener=""):
        one = running.Relay(
            os.path.join(self.directory, "relay%d" % next(self.numbers)),
            self.keys, self.names.resolver, self.sink.port)
        # All large messages come from one address, at once.
        one.setup.limits = "max_sessions = 30000\nmax_incoming = 16G"
        one.setup.listener = listener
        one.start()
        return one

    def stop(self):
        self.names.stop()
        self.sink.stop()


def text_of(size):
    return smtp.stuffed(smtp.message(body=("0123456789abcde" * 5 + "\r\n") *
                                     (size // 77)))


def send(port, recipient, data, source=None):
    with smtp.Client(port, source=source, timeout=220) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<%s>" % recipient, 250)
        client.expect("DATA", 354)
        for first in range(0, len(data), PIECE):
            client.send(data[first:first + PIECE])
        client.check(client.reply(), 250, None, "the end of data")
        client.say("QUIT")


# --- large messages ---

def measure_messages(world, options, table):
    data, one = text_of(options.size), world.relay()
    before = one.memory_mib()
    samples, wanted = running.Samples(one), world.sink.count + options.messages
    threads = [threading.Thread(target=send, args=(
        one.port, "bob@fast.example", data)) for _ in range(options.messages)]
    try:
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        table.row("large: all accepted, s", "%.1f" % (time.monotonic() - begun))
        wait_for(lambda: world.sink.count >= wanted, 220, "all of them")
        table.row("large: all delivered, s",
                  "%.1f" % (time.monotonic() - begun))
        samples.stop()
        table.row("large: CPU, us/MiB", "%.0f" % (
            one.group.cpu_seconds() * 1e6 * (1 << 20) /
            (len(data) * options.messages)))
        table.row("large: RssAnon, before; highest, MiB", "%.1f; %.1f" % (
            before, samples.memory_mib))
    finally:
        one.stop()
        shutil.rmtree(one.directory)


# --- idle clients ---

def open_idle(port, count, until, tls=None):
    """Clients that have said as much as `until` and now say nothing."""
    clients = []
    for i in range(count):
        client = smtp.Client(port, source="127.4.%d.%d" % (i // 250,
                                                           i % 250 + 1))
        if tls:
            client.ehlo()
            client.expect("STARTTLS", 220)
            client.socket = tls.wrap_socket(client.socket)
        if until != "greeting":
            client.ehlo()
        if until == "message":
            client.check(client.transaction(
                "alice@example.com", ["bob@fast.example"], smtp.message()),
                250, None, "the end of data")
        clients.append(client)
    return clients


def measure_idle_once(world, count, until, table, tls=None, listener=""):
    one = world.relay(listener)
    try:
        # What the first ones make is made once.
        open_idle(one.port, 20, until, tls)
        before = one.memory_mib()
        clients = open_idle(one.port, count, until, tls)
        each = (one.memory_mib() - before) * 1024 / count
        table.row("%d idle after the %s%s: RssAnon, KiB each" % (
            count, until, " over TLS" if tls else ""), "%.1f" % each)
        for client in clients:
            client.close()
    finally:
        one.stop()


def certificate(directory):
    names = [os.path.join(directory, name) for name in ("tls.crt", "tls.key")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=relay.example.com", "-out", names[0], "-keyout", names[1]],
        check=True, stderr=subprocess.DEVNULL)
    return names


def measure_idle(world, options, table):
    for until in ("greeting", "EHLO", "message"):
        count = options.idle if until == "EHLO" else options.idle // 4
        measure_idle_once(world, count, until, table)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    listener = 'tls = "starttls" tls_cert = "%s" tls_key = "%s"' % tuple(
        certificate(world.directory))
    measure_idle_once(world, options.tls, "EHLO", table, context, listener)
    measure_idle_once(world, options.tls // 4, "message", table, context,
                      listener)


# --- slow hosts ---

def measure_slow(world, options, table):
    one, data = world.relay(), text_of(SLOW_SIZE)
    samples, wanted = running.Samples(one), world.sink.count + options.slow
    begun, sent = time.monotonic(), 0
    try:
        with smtp.Client(one.port, timeout=60) as client:
            client.ehlo()
            for i in range(options.slow):
                client.expect("MAIL FROM:<alice@example.com>", 250)
                client.expect("RCPT TO:<bob@slow%d.example>" % i, 250)
                client.expect("DATA", 354)
                client.send(data)
                client.check(client.reply(), 250, None, "the end of data")
        table.row("slow: all accepted, s", "%.1f" % (time.monotonic() - begun))
        # Meanwhile, to one that is not slow.
        while world.sink.count < wanted + sent:
            if time.monotonic() > begun + 200:
                raise RuntimeError("only %d of %d" % (
                    world.sink.count - sent, wanted))
            send(one.port, "bob@fast.example", text_of(4096))
            sent += 1
            time.sleep(0.2)
        samples.stop()
        table.row("slow: all delivered, s", "%.1f" % (time.monotonic() - begun))
        table.row("slow: RssAnon, highest, MiB", "%.1f" % samples.memory_mib)
        table.row("slow: connections, most", "%d" % samples.connections)
        time.sleep(1)
        waits = sorted(running.delays(one, "fast.example"))
        table.row("slow: fast ones meanwhile: count; p50; longest, s",
                  "%d; %.3f; %.3f" % (len(waits), waits[len(waits) // 2],
                                      waits[-1]))
    finally:
        one.stop()


PARTS = {"idle": measure_idle, "messages": measure_messages,
         "slow": measure_slow}


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/big")
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--size", type=int, default=50000000)
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--tls", type=int, default=2000)
    parser.add_argument("--slow", type=int, default=1000)
    parser.add_argument("--only", action="append", choices=sorted(PARTS))
    parser.add_argument("--json")
    options = parser.parse_args()
    table = running.Table()
    most = running.allow_files()
    options.idle = min(options.idle, most - 2000)
    with tempfile.TemporaryDirectory(prefix="signet-bench.") as directory:
        os.chmod(directory, 0o755)
        world = World(directory, options)
        try:
            for name in options.only or PARTS:
                PARTS[name](world, options, table)
        finally:
            world.stop()
    table.write(options.json)


if __name__ == "__main__":
    sys.exit(main())
