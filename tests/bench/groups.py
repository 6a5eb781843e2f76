"""What a server and all that it starts use, as the kernel counts it: in a
cgroup (cgroups(7)), of either version. Nothing is missed there: neither
children that nobody waits for, nor pages that they share.
"""

import os
import signal

from harness.process import TimedOut, wait_for

import processes

TOP = "/sys/fs/cgroup"
DISK = "/var/tmp"  # on it are the files that are written


def _read(path):
    with open(path) as file:
        return file.read()


def _field(path, name):
    """The number behind a name at the start of a line."""
    for line in _read(path).splitlines():
        words = line.split()
        if words[0] == name:
            return int(words[1])
    raise RuntimeError("%s has no %s" % (path, name))


def _device():
    """major:minor of the whole disk below a directory; None: there is none."""
    number = os.stat(DISK).st_dev
    place = os.path.realpath("/sys/dev/block/%d:%d" % (os.major(number),
                                                       os.minor(number)))
    if os.path.exists(os.path.join(place, "partition")):
        place = os.path.dirname(place)
    path = os.path.join(place, "dev")
    return _read(path).strip() if os.path.exists(path) else None


class First:
    """Version 1: a hierarchy of its own for each controller. What the journal
    of the file system writes is nobody's here."""

    CONTROLLERS = ("cpuacct", "memory", "blkio")

    def __init__(self, name):
        self._homes = self._old()
        self._places = {one: os.path.join(TOP, one, name)
                        for one in self.CONTROLLERS}
        for place in self._places.values():
            os.mkdir(place)
        device = _device()
        if device:  # what is not limited is not counted
            with open(os.path.join(self._places["blkio"],
                                   "blkio.throttle.write_bps_device"),
                      "w") as file:
                file.write("%s %d" % (device, 1 << 50))

    @staticmethod
    def available():
        return all(os.access(os.path.join(TOP, one, "cgroup.procs"), os.W_OK)
                   for one in First.CONTROLLERS)

    def _old(self):
        """Where this process is now."""
        found = {}
        for line in _read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            for one in controllers.split(","):
                found[one] = os.path.join(TOP, one, path.lstrip("/"))
        return found

    def directories(self):
        return list(self._places.values())

    def homes(self):
        return [self._homes[one] for one in self.CONTROLLERS]

    def cpu_seconds(self):
        return int(_read(self._places["cpuacct"] + "/cpuacct.usage")) / 1e9

    def anonymous_bytes(self):
        return _field(self._places["memory"] + "/memory.stat", "total_rss")

    def written_bytes(self):
        path = self._places["blkio"] + \
            "/blkio.throttle.io_service_bytes_recursive"
        rows = [line.split() for line in _read(path).splitlines()]
        return sum(int(row[2]) for row in rows if row[1:2] == ["Write"])


class Second:
    """Version 2: one hierarchy."""

    CONTROLLERS = ("cpu", "memory", "io")

    def __init__(self, name):
        with open(os.path.join(TOP, "cgroup.subtree_control"), "w") as file:
            file.write(" ".join("+" + one for one in self.CONTROLLERS))
        home = _read("/proc/self/cgroup").strip().partition("::")[2]
        self._home = os.path.join(TOP, home.lstrip("/"))
        self._place = os.path.join(TOP, name)
        os.mkdir(self._place)

    @staticmethod
    def available():
        try:
            offered = _read(os.path.join(TOP, "cgroup.controllers")).split()
        except OSError:
            return False
        return (set(Second.CONTROLLERS) <= set(offered) and
                os.access(os.path.join(TOP, "cgroup.procs"), os.W_OK))

    def directories(self):
        return [self._place]

    def homes(self):
        return [self._home]

    def cpu_seconds(self):
        return _field(self._place + "/cpu.stat", "usage_usec") / 1e6

    def anonymous_bytes(self):
        return _field(self._place + "/memory.stat", "anon")

    def written_bytes(self):
        words = _read(self._place + "/io.stat").split()
        return sum(int(word.partition("=")[2]) for word in words
                   if word.startswith("wbytes="))


def move(directories):
    for place in directories:
        with open(os.path.join(place, "cgroup.procs"), "w") as file:
            file.write("0")  # this process


class Group:
    """with Group(name) as group: what is started here, and by that, counts."""

    exact = True

    def __init__(self, name):
        version = next(one for one in (First, Second) if one.available())
        self._group = version("signet-bench-%d-%s" % (os.getpid(), name))
        self.cpu_seconds = self._group.cpu_seconds
        self.anonymous_bytes = self._group.anonymous_bytes
        self.written_bytes = self._group.written_bytes

    def __enter__(self):
        move(self._group.directories())
        return self

    def __exit__(self, *unused):
        move(self._group.homes())

    def adopt(self, roots):
        pass  # they are in it

    def remove(self, patience=10):
        """Once all have ended; who takes longer than so many seconds is
        killed, as nobody else knows of him."""
        for place in self._group.directories():
            try:
                wait_for(lambda: _removed(place), patience, "all in it")
            except TimedOut:
                wait_for(lambda: _kill(place) or _removed(place), 10,
                         "the end of all in " + place)


def _kill(place):
    for pid in _read(os.path.join(place, "cgroup.procs")).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass


def _removed(place):
    try:
        os.rmdir(place)
    except OSError:
        return False
    return True


class Tree:
    """The same without cgroups, by /proc: what ended and was not waited for
    is missed, pages that processes share count for each, and nobody knows
    what was written."""

    exact = False

    def __init__(self, name):
        self._roots = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def adopt(self, roots):
        self._roots = list(roots)

    def cpu_seconds(self):
        return processes.cpu_seconds(self._roots)

    def anonymous_bytes(self):
        return processes.anonymous_bytes(self._roots)

    def written_bytes(self):
        return 0

    def remove(self, patience=0):
        pass


def group(name):
    usable = First.available() or Second.available()
    return (Group if usable else Tree)(name)
