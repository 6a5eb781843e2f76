"""Load, sink and clock: Postfix's smtp-source and smtp-sink, and a client of
our own that measures what one message waits."""

import os
import re
import socket
import subprocess
import threading
import time

from harness import smtp
from harness.ports import free_port
from harness.postfix import unpacked
from harness.process import accepts, wait_for

RUN_MAX = 60  # seconds, for one run
SAMPLE_EVERY = 0.05  # seconds
SENDER, RECIPIENT = "alice@example.com", "bob@example.net"


class Slow(Exception):
    """A run did not end, or the load was refused."""


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


class Source:
    """One run of smtp-source."""

    def __init__(self, system, size, sessions, messages):
        root, env = unpacked("/usr/sbin/smtp-source")
        self.process = subprocess.Popen(
            [root + "/usr/sbin/smtp-source", "-s", str(sessions),
             "-m", str(messages), "-l", str(size), "-f", SENDER,
             "-t", RECIPIENT, "-S", "bench"] +
            (["-d"] if system.clients_stay else []) +
            ["127.0.0.1:%d" % system.port], env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def check(self):
        if self.process.poll():
            raise Slow("smtp-source: " +
                               self.process.stderr.read().decode())

    def end(self):
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Clock:
    """One session that sends a message after the other and measures each from
    its final dot to the 250."""

    PER_SESSION = 100  # messages; some servers want to see a client again

    def __init__(self, port, size):
        body = "0123456789abcdef" * 4 + "\r\n"
        self._data = smtp.stuffed(smtp.message(
            body=body * max(1, size // len(body))))
        self._port = port
        self._client = None
        self.waits = []

    def _connect(self):
        self._client = smtp.Client(self._port, timeout=RUN_MAX)
        # The dot may not wait for the ACK of what was sent before it.
        self._client.socket.setsockopt(socket.IPPROTO_TCP,
                                       socket.TCP_NODELAY, 1)
        self._client.ehlo()

    def send(self):
        if self._client is None:
            self._connect()
        client = self._client
        client.expect("MAIL FROM:<%s>" % SENDER, 250)
        client.expect("RCPT TO:<%s>" % RECIPIENT, 250)
        client.expect("DATA", 354)
        client.send(self._data[:-3])
        begun = time.monotonic()
        client.send(self._data[-3:])
        reply = client.reply()
        self.waits.append(time.monotonic() - begun)
        if reply[0] != 250:
            raise RuntimeError("after the data: %d %s" % (reply[0], reply[1]))
        if len(self.waits) % self.PER_SESSION == 0:
            self.close()

    def close(self):
        if self._client is not None:
            self._client.say("QUIT")
            self._client.close()
            self._client = None


def latencies(port, count, size, seconds=RUN_MAX):
    """Seconds from a message's final dot to its 250, one at a time: of so many
    messages, or of those that there is time for."""
    clock = Clock(port, size)
    deadline = time.monotonic() + seconds
    while len(clock.waits) < count and time.monotonic() < deadline:
        clock.send()
    clock.close()
    return clock.waits


class Prober(threading.Thread):
    """A Clock beside a load, as one session more: a message in every 50 ms."""

    EVERY = 0.05

    def __init__(self, port, size):
        super().__init__(daemon=True)
        self._clock = Clock(port, size)
        self._over = threading.Event()
        self._fault = None
        self.start()

    def run(self):
        try:
            while not self._over.wait(self.EVERY):
                self._clock.send()
            self._clock.close()
        except Exception as fault:  # told in end()
            self._fault = fault

    def end(self):
        """The waits, once the last one is over."""
        self._over.set()
        self.join()
        if self._fault:
            raise Slow("a message beside the load: %s" % self._fault)
        return self._clock.waits


def settled(read, step=0.25, still=0.011, longest=5):
    """When the work behind the last message (log, queue files) is done."""
    last, deadline = read(), time.monotonic() + longest
    while time.monotonic() < deadline:
        time.sleep(step)
        now = read()
        if now - last < still:
            return now
        last = now
    return last


class Run:
    """Messages through one system, until the sink has every one."""

    def __init__(self, sink, system, size, sessions, messages, probed=False):
        self._sink, self._system = sink, system
        self._before = sink.count
        self._cpu = system.group.cpu_seconds()
        self._written = system.group.written_bytes()
        self._peak = 0
        self._prober = Prober(system.port, size) if probed else None
        self._begun = time.monotonic()
        self._source = Source(system, size, sessions, messages)
        self.messages = messages
        self.waits = []

    def _wait_for_source(self):
        """Sampling memory, which is little work."""
        sample = 0
        while self._sink.count < self._before + self.messages:
            self._source.check()
            now = time.monotonic()
            if now - self._begun > RUN_MAX:
                raise Slow("%s: %d of %d after %d s" % (
                    self._system.name, self._sink.count - self._before,
                    self.messages, RUN_MAX))
            if now >= sample:
                self._peak = max(self._peak,
                                 self._system.group.anonymous_bytes())
                sample = now + SAMPLE_EVERY
            time.sleep(0.005)

    def _end_probes(self):
        """They are messages as others are."""
        if self._prober:
            self.waits = self._prober.end()
            self.messages += len(self.waits)
            self._prober = None

    def finish(self):
        """{what: how much}; µs and bytes are per message."""
        try:
            self._wait_for_source()
            self._end_probes()
            self._wait_for_source()
            elapsed = time.monotonic() - self._begun
        finally:
            self._source.end()
        group = self._system.group
        cpu = settled(group.cpu_seconds) - self._cpu
        return {"messages": self.messages,
                "rate": self.messages / elapsed,
                "cpu_us": cpu / self.messages * 1e6,
                "peak_bytes": self._peak,
                "written_bytes": (group.written_bytes() - self._written) /
                self.messages,
                "waits": self.waits}
