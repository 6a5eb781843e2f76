"""The program under test: its configuration, its commands, its relay."""

import array
import datetime
import fcntl
import json
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import termios
import threading
import time

from .ports import free_port
from .process import (HANG_S, TimedOut, children_of, end_with_parent, is_alive,
                      is_running, started_at, wait_end, wait_for)

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))


def binary():
    path = os.environ.get("SIGNET")
    if path:
        return path
    for directory in ("build-tests", "build"):
        path = os.path.join(ROOT, directory, "signet")
        if os.path.exists(path):
            return path
    raise RuntimeError("no signet; set SIGNET to the program")


def run_as(user, directory, *arguments):
    """By a user who may not walk down to where signet was built: by a copy."""
    copy = os.path.join(directory, "signet")
    shutil.copy(binary(), copy)
    os.chmod(copy, 0o755)
    return subprocess.run(
        [copy] + list(arguments), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=120, cwd="/",
        user=pwd.getpwnam(user).pw_uid, extra_groups=[])


def run(*arguments, stdin=b"", check=None, timeout=120, config=None, env=None,
        cwd=None):
    """One command, with -c before it."""
    command = [binary()] + (["-c", config] if config else []) + \
        list(arguments)
    environment = dict(os.environ)
    environment.update(env or {})
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout,
                          env=environment, cwd=cwd)
    if check is not None:
        assert done.returncode == check, \
            "%s: exit %d, not %d\n%s" % (" ".join(command), done.returncode,
                                         check, done.stderr.decode())
    return done


class Setup:
    """One configuration and its directories, for one test."""

    def __init__(self, directory, keys, resolver="127.0.0.1:1", mx_port=None):
        self.directory = str(directory)
        self.keys = keys
        self.port = free_port()
        self.mx_port = mx_port or free_port()
        self.resolver = resolver
        self.state_dir = os.path.join(self.directory, "state")
        self.path = os.path.join(self.directory, "signet.conf")
        os.makedirs(self.state_dir, exist_ok=True)
        os.chmod(self.directory, 0o711)
        os.chmod(self.state_dir, 0o700)
        if os.getuid() == 0:
            import pwd
            nobody = pwd.getpwnam("nobody")
            os.chown(self.state_dir, nobody.pw_uid, nobody.pw_gid)
        self.top = ""
        self.listener = ""
        self.delivery = ""
        self.signing = ""
        self.limits = ""
        self.extra = ""
        self.domains = {"example.com": ["rsa", "ed"]}
        self.subdomains = False

    def text(self):
        domains = "\n".join(
            'domain "%s" {\n    subdomains = %s\n%s\n}' % (
                domain, "true" if self.subdomains else "false", "\n".join(
                    '    selector "%s" { key = "%s/%s.pem" }' %
                    (selector, domain, selector) for selector in selectors))
            for domain, selectors in self.domains.items())
        return """
hostname  = "relay.example.com"
state_dir = "{state}"
keys_dir  = "{keys}"
user      = "nobody"
{top}
log {{ format = "json" }}
dns {{ {resolver} }}
listener "apps" {{
    address = "127.0.0.1:{port}"
    {listener}
}}
limits {{
    {limits}
}}
delivery {{
    port = {mx_port}
    {delivery}
}}
signing {{
    {signing}
}}
{domains}
{extra}
""".format(state=self.state_dir, keys=self.keys.directory, top=self.top,
           resolver='resolvers = {"%s"}' % self.resolver
           if self.resolver else "", port=self.port, listener=self.listener,
           limits=self.limits, mx_port=self.mx_port, delivery=self.delivery,
           signing=self.signing, domains=domains, extra=self.extra)

    def write(self):
        with open(self.path, "w") as file:
            file.write(self.text())
        return self.path


# What those who parse the log rely on, event by event. Empty where there is
# nothing to say, such as the host of a domain that has none.
COMMON = {"time": str, "level": str, "event": str}
SIGNATURE = {"domain": str, "selector": str, "algorithm": str}
PROCESS = {"version": str, "listeners": list}
OUTCOME = {"id": str, "to": str, "domain": str, "mx": str, "address": str,
           "tls": str, "reply": str, "delay": (int, float)}
MAIL = {"id": str, "client": str, "from": str, "signatures": list,
        "reason": str}
ALTERED = {"id": str, "from": str, "to": list, "domain": str, "uid": int}
EVENTS = {
    "ready": PROCESS,
    "reload": PROCESS,
    "stopping": PROCESS,
    "accepted": {"id": str, "listener": str, "client": str, "from": str,
                 "recipients": list, "size": int, "signatures": list,
                 "reason": str, "changed": list},
    "rejected": {"listener": str, "client": str, "from": str, "to": str,
                 "reply": str, "reason": str},
    "verified": {"id": str, "client": str, "from": str, "results": list},
    "signed": MAIL,
    "skipped": MAIL,
    "lint": {"id": str, "client": str, "from": str, "warnings": list},
    "delivered": OUTCOME,
    "deferred": dict(OUTCOME, next=str),
    "bounced": OUTCOME,
    "held": ALTERED,
    "released": ALTERED,
    "retried": ALTERED,
    "deleted": ALTERED,
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def seconds_of(text):
    """Since 1970: a time as events have it."""
    return datetime.datetime.fromisoformat(
        text.replace("Z", "+00:00")).timestamp()


def check_event(event):
    """Asserts that an event is what those who parse it expect."""
    for name, kind in COMMON.items():
        assert isinstance(event.get(name), kind), (name, event)
    assert TIME.fullmatch(event["time"]), event
    for name, kind in EVENTS.get(event["event"], {}).items():
        assert name in event, "%s is missing in %s" % (name, event)
        assert isinstance(event[name], kind), \
            "%s is a %s in %s" % (name, type(event[name]), event)
    for signature in event.get("signatures", []):
        for name, kind in SIGNATURE.items():
            assert isinstance(signature.get(name), kind), event


class Relay:
    """A running `signet relay`; every line that it logs, parsed. env: what its
    environment has besides ours, or with None has not."""

    command = "relay"

    def __init__(self, setup, start=True, env=None, prefix=()):
        self.setup = setup
        self.port = setup.port
        self.events = []
        self.strays = []
        self.process = None
        self.deaths_expected = False  # other than by SIGKILL
        self._env = {name: value for name, value in
                     {**os.environ, **(env or {})}.items()
                     if value is not None}
        self._prefix = list(prefix)
        self._reader = None
        self._reading = threading.Lock()  # from a read until it is in events
        self._family = {}  # pid: since when
        setup.write()
        if start:
            self.start()

    def start(self, seconds=20):
        seen = len(self._named("ready"))
        self.launch()
        self.wait("ready", count=seen + 1, seconds=seconds)
        self.family()
        return self

    def launch(self):
        """Starts without waiting for anything."""
        return self.launch_with(self._prefix)

    def launch_with(self, prefix):
        """By another program, which becomes it."""
        self.process = subprocess.Popen(
            list(prefix) + [binary(), "-c", self.setup.path, self.command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=self._env,
            preexec_fn=end_with_parent)
        self._reader = threading.Thread(
            target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def _read(self, pipe):
        rest = b""
        more = None
        while more != b"":
            select.select([pipe], [], [])
            with self._reading:
                more = os.read(pipe.fileno(), 65536)
                *lines, rest = (rest + more).split(b"\n")
                for line in lines:
                    self._take(line.decode(errors="replace"))
        if rest:
            self._take(rest.decode(errors="replace"))
        with self._reading:
            pipe.close()

    def _take(self, line):
        try:
            event = json.loads(line)
            check = event["event"]  # an object with an event
            assert isinstance(check, str)
        except (ValueError, KeyError, TypeError, AssertionError):
            self.strays.append(line)
        else:
            self.events.append(event)

    # -- what it said ------------------------------------------------------

    def named(self, name, **fields):
        """All such events that have been logged by now: lines that follow
        closely on others are written a few ms later, together."""
        self._hear_out()
        return self._named(name, **fields)

    def _hear_out(self):
        """Twice no log thread runs, and between that none has slept on what
        it gathers; then all that they have written is read."""
        quiet = 0
        deadline = time.monotonic() + HANG_S
        while quiet < 2 and time.monotonic() < deadline:
            time.sleep(0.025)
            if any(is_running(pid, "log") for pid in self._family):
                quiet = 0
            else:
                quiet += 1
        while self._unread() and time.monotonic() < deadline:
            time.sleep(0.005)

    def _unread(self):
        pipe = self.process.stderr if self.process else None
        with self._reading:
            if pipe is None or pipe.closed:
                return 0
            count = array.array("i", [0])
            fcntl.ioctl(pipe, termios.FIONREAD, count)
            return count[0]

    def _named(self, name, **fields):
        return [event for event in list(self.events)
                if event["event"] == name and
                all(event.get(key) == value for key, value in fields.items())]

    def wait(self, name, count=1, seconds=20, **fields):
        """The count-th such event; the process may not end meanwhile."""
        seconds = max(seconds, HANG_S)
        deadline = time.monotonic() + seconds
        while True:
            found = self._named(name, **fields)
            if len(found) >= count:
                return found[count - 1]
            if self.process.poll() is not None:
                self._reader.join(60)
                found = self._named(name, **fields)
                if len(found) >= count:
                    return found[count - 1]
                raise AssertionError("signet ended with %d; it said:\n%s" % (
                    self.process.returncode, self.tail()))
            if time.monotonic() > deadline:
                raise TimedOut("waited %g s for %d × %s %s; signet said:\n%s" %
                               (seconds, count, name, fields, self.tail()))
            time.sleep(0.01)

    def tail(self):
        return "\n".join([json.dumps(event) for event in self.events[-30:]] +
                         self.strays[-30:])

    # -- its processes -----------------------------------------------------

    def family(self):
        """{"supervisor": pid, "relay": pid, "signer": pid}: the relay is
        the child that holds the listening socket, the signer the other."""
        supervisor = self._supervisor()

        def both():
            children = children_of(supervisor)
            listening = _listening(supervisor, self.port)
            relays = [pid for pid in children
                      if not listening.isdisjoint(socket_inodes(pid))]
            others = [pid for pid in children if pid not in relays]
            return (relays[0], others[0]) if relays and others else None

        relay, signer = wait_for(both, 10, "a relay and a signer process")
        self._family |= {pid: started_at(pid)
                         for pid in (supervisor, relay, signer)}
        return {"supervisor": supervisor, "relay": relay, "signer": signer}

    def _supervisor(self):
        pid = self.process.pid
        if self._prefix:
            return wait_for(lambda: (children_of(pid) or [None])[0], 10,
                            "the supervisor below %s" % self._prefix[0])
        return pid

    def hang_up(self):
        """SIGHUP: reload."""
        os.kill(self._supervisor(), signal.SIGHUP)

    def stop(self, code=0):
        """SIGTERM, and what must hold at every end of every test."""
        if self.process.poll() is None:
            os.kill(self._supervisor(), signal.SIGTERM)
        wait_end(self.process, HANG_S)
        self._reader.join(60)
        assert self.process.returncode == code, \
            "exit %d; signet said:\n%s" % (self.process.returncode,
                                           self.tail())
        self._gone()
        self.check_log()

    def check_log(self):
        for event in self.events:
            check_event(event)
        assert not self.strays, "not JSON: %s" % self.strays
        # A sanitizer cannot always write its report: the signer may open no
        # file. But the process it ends is missed. SIGKILL is the tests' own.
        died = [event for event in self.events
                if event["event"].endswith("-died")
                and "signal 9" not in event["reason"]]
        assert self.deaths_expected or not died, died

    def kill(self, whole_family=False):
        """SIGKILL. Without its supervisor the family ends by itself."""
        pids = [self._supervisor()]
        if whole_family:
            pids += children_of(pids[0])
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_end(self.process, 60)
        self._gone()
        self._reader.join(60)

    def _gone(self):
        wait_for(lambda: not any(is_alive(pid, since) for pid, since
                                 in list(self._family.items())), 10,
                 "the children to follow their supervisor: %s" % self._family)
        self._family.clear()

    def discard(self):
        """For fixtures: ends whatever a failed test left behind."""
        if self.process is None or self.process.poll() is not None:
            return
        pids = [self.process.pid] + children_of(self.process.pid)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_end(self.process, 60)
        wait_for(lambda: not any(is_alive(pid) for pid in pids), 10,
                 "processes to end: %s" % pids)


def _listening(pid, port):
    """The inodes of the TCP sockets that listen there, as this process sees the
    network. They come first in the tables, whose rows have 150 bytes each; the
    others of a large machine take long to read."""
    for table in ("tcp", "tcp6"):
        found = set()
        try:
            with open("/proc/%d/net/%s" % (pid, table), "rb",
                      buffering=150) as file:
                file.readline()
                for row in map(bytes.split, file):
                    if row[3] != b"0A":
                        break
                    if int(row[1].rpartition(b":")[2], 16) == port:
                        found.add(row[9].decode())
        except OSError:
            continue
        if found:
            return found
    return set()


def socket_inodes(pid):
    directory = "/proc/%d/fd" % pid
    found = set()
    try:
        names = os.listdir(directory)
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(os.path.join(directory, name))
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found
