"""A systemd of a test's own, in namespaces of its own, with the units that are
installed."""

import os
import shutil
import signal
import subprocess

from . import signet
from .process import TimedOut, children_of, end_with_parent, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ETC = os.path.join(signet.ROOT, "etc")
NAMESPACES = ("--mount", "--pid", "--fork", "--cgroup", "--ipc", "--uts",
              "--net")
# Services of this machine that a boot would start.
QUIET = ("systemd-resolved systemd-timesyncd systemd-udevd systemd-networkd "
         "systemd-logind systemd-journal-flush apt-daily e2scrub_reap").split()
# Of systemd, by two programs each time: where it does not come up, for as long
# as anything is waited for.
ASKED_EVERY_S = 0.2
TARGET = """[Unit]
Requires=basic.target
After=basic.target
Wants=%s
AllowIsolate=yes
"""


def is_possible():
    return os.getuid() == 0 and os.path.exists("/lib/systemd/systemd") and \
        subprocess.run(["unshare", *NAMESPACES, "sh", "-c",
                        "mount --make-rprivate / && "
                        "mount -t cgroup2 cgroup2 /mnt"],
                       stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL).returncode == 0


class NotBooted(Exception):
    """systemd does not come up here."""


class Machine:
    """config: /etc/signet/signet.conf; keys: of harness.judge; units: by name;
    drop_ins: what an administrator adds to them. With `with`: booted, and
    ended."""

    def __init__(self, directory, program, config, keys, units, drop_ins=None):
        self.directory = os.path.join(directory, "machine")
        self.units = units
        self.console = os.path.join(directory, "console")
        etc = os.path.join(self.directory, "etc")
        system = os.path.join(etc, "systemd/system")
        for path in (system, etc + "/sysusers.d", etc + "/tmpfiles.d",
                     etc + "/signet", self.directory + "/bin"):
            os.makedirs(path)
        shutil.copy(program, self.directory + "/bin/signet")
        shutil.copy(ETC + "/signet.sysusers", etc + "/sysusers.d/signet.conf")
        shutil.copy(ETC + "/signet.tmpfiles", etc + "/tmpfiles.d/signet.conf")
        shutil.copytree(keys.directory, etc + "/signet/keys")
        for unit in units:
            shutil.copy(os.path.join(ETC, unit), system)
        for unit, text in (drop_ins or {}).items():
            os.mkdir(os.path.join(system, unit + ".d"))
            with open(os.path.join(system, unit + ".d/test.conf"),
                      "w") as file:
                file.write(text)
        with open(etc + "/signet/signet.conf", "w") as file:
            file.write(config)
        with open(system + "/signet-test.target", "w") as file:
            file.write(TARGET % " ".join(units))
        for service in QUIET:
            os.symlink("/dev/null", system + "/%s.service" % service)

    def add_unit(self, name, text):
        """Before it is booted."""
        with open(os.path.join(self.directory, "etc/systemd/system", name),
                  "w") as file:
            file.write(text)

    def _wait_for_manager(self):
        """Where it does not come up at all, that says nothing of our units."""
        try:
            self.first = wait_for(self._first, 20, self._said)
            wait_for(lambda: self.ask("systemctl is-system-running") in
                     ("starting", "running", "degraded", "initializing"), 20,
                     self._said, ASKED_EVERY_S)
        except TimedOut as fault:
            raise NotBooted(str(fault)) from fault

    def __enter__(self):
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(
                ["unshare", *NAMESPACES, "--kill-child", "sh",
                 os.path.join(HERE, "boot.sh"), self.directory],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                preexec_fn=end_with_parent)
        try:
            self._wait_for_manager()
            for unit in self.units:
                wait_for(lambda: self.ask("systemctl is-active " + unit) in
                         ("active", "failed"), 30, self._said,
                         ASKED_EVERY_S)
        except BaseException:
            print(self._said())
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)  # --kill-child
        self.process.wait(60)

    def _first(self):
        """systemd, once it has its own root."""
        assert self.process.poll() is None, self._said()
        for child in children_of(self.process.pid):
            with open("/proc/%d/comm" % child) as file:
                if file.read() == "systemd\n":
                    return child
        return None

    def outside(self, pid):
        """As whom this machine knows a process of that one."""
        waiting = [self.first]
        while waiting:
            found = waiting.pop()
            with open("/proc/%d/status" % found) as file:
                inside = [line.split()[-1] for line in file
                          if line.startswith("NSpid:")]
            if inside == [str(pid)]:
                return found
            waiting += children_of(found)
        raise LookupError(pid)

    def _said(self):
        with open(self.console, errors="replace") as file:
            return file.read()[-4000:]

    def run(self, command, seconds=30):
        return subprocess.run(
            ["nsenter", "-t", str(self.first), "-m", "-p", "-n", "-u", "-i",
             "-C", "sh", "-c", command], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)

    def ask(self, command):
        return self.run(command).stdout.decode().strip()

    def done(self, command):
        done = self.run(command)
        assert done.returncode == 0, "%s: %s" % (command, done.stdout.decode())
        return done.stdout.decode()
