"""Starting, watching and stopping programs."""

import ctypes
import glob
import os
import select
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def end_with_parent():
    """For preexec_fn: tests that are killed leave no servers behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


# Whatever is waited for has hung after so long, and not before: a test shares its
# core with others.
HANG_S = 60


class TimedOut(AssertionError):
    """Something did not happen within its bound."""


def wait_for(condition, seconds, what, pause_s=0.01):
    """The first true value of condition(), or TimedOut. A condition that
    starts programs needs a longer pause."""
    seconds = max(seconds, HANG_S)
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            what = what() if callable(what) else what
            raise TimedOut("waited %g s for %s" % (seconds, what))
        time.sleep(pause_s)


def wait_end(process, seconds):
    """Popen.wait(), which looks for the end of it now and then."""
    if process.poll() is None:
        ended = os.pidfd_open(process.pid)
        try:
            waiting = select.poll()
            waiting.register(ended, select.POLLIN)
            waiting.poll(seconds * 1000)
        finally:
            os.close(ended)
    if process.poll() is None:
        raise subprocess.TimeoutExpired(process.args, seconds)
    return process.returncode


def accepts(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def accepts_at(path):
    """At a Unix socket, which is there before it can be connected to."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(1)
    try:
        client.connect(path)
    except OSError:
        return False
    finally:
        client.close()
    return True


def quickest(seconds, attempt, times=8, before=lambda: None):
    """What attempt() returns, which once takes less than that: a loaded machine
    may delay a few of them, a fault delays all. before(): to come to where one
    can be made, however long that takes."""
    taken = []
    while len(taken) < times:
        before()
        began = time.monotonic()
        result = attempt()
        taken.append(time.monotonic() - began)
        if taken[-1] < seconds:
            return result
    raise AssertionError("never within %g s: %s" % (seconds, taken))


class Server:
    """A program in the foreground; its output goes to a file."""

    def __init__(self, command, directory, name, env=None):
        self.name = name
        self.log_path = os.path.join(directory, name + ".log")
        self._log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log,
            stderr=self._log, cwd=directory, env=env, start_new_session=True,
            preexec_fn=end_with_parent)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def wait_until(self, condition, seconds, what):
        def check():
            if self.process.poll() is not None:
                raise AssertionError("%s ended with %d:\n%s" % (
                    self.name, self.process.returncode, self.log()))
            return condition()
        wait_for(check, seconds,
                 lambda: "%s: %s\n%s" % (
                     self.name, what() if callable(what) else what,
                     self.log()))

    def stop(self, seconds=10):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                wait_end(self.process, seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()


def children_of(pid):
    """The living children of a process, by /proc."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and parent_of(int(entry)) == pid:
            found.append(int(entry))
    return sorted(found)


def parent_of(pid):
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def freeze(pid):
    """SIGSTOP, and waits until it has reached every thread: the one that gets
    the signal tells the others, once it runs."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_still(pid), 20, "process %d to be stopped" % pid)


def is_still(pid):
    """Every thread of it is stopped, or has ended."""
    return _states(pid) <= set("TtZX")


def _states(pid):
    found = set()
    for thread in os.listdir("/proc/%d/task" % pid):
        fields = _stat("%d/task/%s" % (pid, thread))
        if fields:
            found.add(fields[0])
    return found


def is_alive(pid, since=None):
    """since: of a started_at(), for the number may be another's by now."""
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z" and \
        since in (None, fields[19])


def started_at(pid):
    fields = _stat(pid)
    return fields[19] if fields else None


def is_running(pid, name):
    """Whether a thread of this name has, or waits for, a processor."""
    for thread in glob.glob("/proc/%d/task/*" % pid):
        try:
            with open(thread + "/comm") as file:
                if file.read().strip() != name:
                    continue
        except OSError:
            continue
        fields = _stat(thread[len("/proc/"):])
        if fields and fields[0] == "R":
            return True
    return False


def is_asleep_without(pid, number):
    """A process of one thread that has taken the signal, and waits."""
    with open("/proc/%d/status" % pid) as file:
        fields = dict(line.split(":", 1) for line in file)
    return fields["State"].split()[0] == "S" and \
        not int(fields["ShdPnd"], 16) & 1 << number - 1


def _stat(pid):
    """From the state on, which is field 3 of proc(5). Each start of a relay
    reads that of every process there is."""
    try:
        with open("/proc/%s/stat" % pid, "rb", buffering=0) as file:
            return file.read(4096).rpartition(b")")[2].decode().split()
    except OSError:
        return None
