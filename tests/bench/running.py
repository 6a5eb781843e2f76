"""A relay under load, and what is to be seen of it from outside."""

import glob
import json
import os
import resource
import subprocess
import sys
import threading
import time

import bench  # the way to harness/  # noqa: F401
import groups

from harness import signet
from harness.ports import free_port
from harness.process import (Server, accepts, children_of, end_with_parent,
                             wait_for)


def status_of(pid, name):
    """In KiB, of /proc/PID/status."""
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    raise KeyError(name)


def thread_of(pid, name):
    """What the thread of this name has used and written so far; of the latter
    also what stays in the system's memory for a while."""
    for place in glob.glob("/proc/%d/task/*" % pid):
        with open(place + "/comm") as file:
            if file.read().strip() != name:
                continue
        with open(place + "/schedstat") as file:
            used_ns = int(file.read().split()[0])
        with open(place + "/io") as file:
            rows = dict(line.split(": ") for line in file)
        return {"cpu_us": used_ns / 1e3, "writes": int(rows["syscw"]),
                "bytes": int(rows["wchar"])}
    raise KeyError(name)


class Table:
    """What has been measured: printed as it comes, and kept."""

    def __init__(self):
        self.figures = {}

    def row(self, what, value, beside=""):
        self.figures[what] = [value, beside] if beside else value
        print("  %-56s %16s %12s" % (what, value, beside), flush=True)

    def write(self, path):
        if path:
            with open(path, "w") as file:
                json.dump(self.figures, file, indent=1)


# Nobody has it (RFC 5737), and what is sent there gets no answer
# where tests/bench/fanout has made a network.
DEAD = "192.0.2.1"


class Relay:
    """signet relay on a state directory of its own."""

    def __init__(self, directory, keys, resolver, mx_port):
        self.directory = directory
        self.setup = signet.Setup(directory, keys, resolver, mx_port=mx_port)
        self.setup.domains = {"example.com": ["rsa"]}
        self.port = self.setup.port
        self.group, self.clients_stay = groups.Tree("signet"), False
        self.server = None

    def bytes_on_disk(self):
        return sum(os.stat(os.path.join(place, name)).st_blocks * 512
                   for place, _, names in os.walk(self.setup.state_dir)
                   for name in names)

    def start(self):
        """Seconds until it accepts."""
        begun = time.monotonic()
        self.server = Server(
            [signet.binary(), "-c", self.setup.write(), "relay"],
            self.directory, "relay")
        self.server.wait_until(lambda: b'"ready"' in self._tail(), 60,
                               "the event ready")
        elapsed = time.monotonic() - begun
        self.group.adopt([self.server.process.pid])
        # The signer has no map of the store.
        self.pid = max(children_of(self.server.process.pid),
                       key=lambda pid: status_of(pid, "VmSize"))
        return elapsed

    def _tail(self, size=4096):
        with open(self.server.log_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read()

    def memory_mib(self):
        return status_of(self.pid, "RssAnon") / 1024

    def command(self, *words):
        """(seconds until its first byte, and until its end, bytes)."""
        begun, first, size = time.monotonic(), None, 0
        process = subprocess.Popen(
            [signet.binary(), "-c", self.setup.path, *words],
            stdout=subprocess.PIPE, cwd="/")
        while True:
            data = os.read(process.stdout.fileno(), 1 << 20)
            first = first or time.monotonic()
            if not data:
                break
            size += len(data)
        if process.wait() != 0:
            raise RuntimeError("%s: exit %d" % (words, process.returncode))
        return first - begun, time.monotonic() - begun, size

    def counters(self):
        done = subprocess.run(
            [signet.binary(), "-c", self.setup.path, "status", "--json"],
            stdout=subprocess.PIPE, check=True, cwd="/")
        return json.loads(done.stdout)

    def stop(self):
        if self.server is not None:
            self.server.stop(60)
            self.server = None


class Sink:
    """receiver.py in a process of its own."""

    def __init__(self):
        self.port, self.count = free_port(), 0
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(os.path.dirname(__file__),
                                          "receiver.py"),
             str(self.port)],
            stdout=subprocess.PIPE, preexec_fn=end_with_parent)
        threading.Thread(target=self._read, daemon=True).start()
        wait_for(lambda: accepts("127.0.0.1", self.port), 10, "the receiver")

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 1 << 16):
            self.count += len(data)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def allow_files():
    """As many as there may be, for this process and those that it starts."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def delays(one, domain):
    """Of its recipients that were delivered: seconds since each was accepted."""
    found = []
    with open(one.server.log_path, errors="replace") as file:
        for line in file:
            if '"delivered"' in line and domain in line:
                event = json.loads(line)
                if event["domain"] == domain:
                    found.append(event["delay"])
    return found


class Samples(threading.Thread):
    """The most that a relay had of each at a time."""

    def __init__(self, one):
        super().__init__(daemon=True)
        self.one = one
        self.memory_mib, self.descriptors, self.connections = 0, 0, 0
        self._is_over = threading.Event()
        self.start()

    def run(self):
        while not self._is_over.wait(0.25):
            self.memory_mib = max(self.memory_mib, self.one.memory_mib())
            self.descriptors = max(
                self.descriptors,
                len(os.listdir("/proc/%d/fd" % self.one.pid)))
            self.connections = max(self.connections,
                                   self.one.counters()["connections"])

    def stop(self):
        self._is_over.set()
        self.join()
