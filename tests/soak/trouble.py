"""One fault after the other, of every kind that a relay has to live with."""

import collections
import os
import shutil
import signal
import subprocess
import threading
import time

from harness import signet
from harness.preload import ClockJumps, DiskFaults

JUMP_SECONDS = 60
# A process that was killed is waited for longer each time, and again from the
# beginning after a minute.
APART = 65


def small_disk(path, megabytes):
    """Whether `path` is a small disk of its own now; only root can do that."""
    owner = os.stat(path)
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=%dm,mode=0700,uid=%d,gid=%d" % (
            megabytes, owner.st_uid, owner.st_gid), "tmpfs", path],
        stderr=subprocess.DEVNULL).returncode == 0


class Trouble(threading.Thread):
    """Until told to stop. What ends the relay process happens only while
    `lethal` is set, for afterwards its memory is looked at."""

    def __init__(self, stand, chance):
        super().__init__(daemon=True)
        self.stand, self.chance = stand, chance
        self.clock = ClockJumps(stand.directory)
        self.disk = DiskFaults(stand.directory)
        self.environment = dict(self.clock.environment)
        self.environment.update(self.disk.environment, LD_PRELOAD=" ".join(
            one.environment["LD_PRELOAD"] for one in (self.clock, self.disk)))
        self.has_small_disk = small_disk(stand.setup.state_dir, 256)
        self.stopping = threading.Event()
        self.lethal = threading.Event()
        self.lethal.set()
        self.counts = collections.Counter()
        self.problems = []
        self.killed = {}
        self.slowest = (0, ())  # answer to a command, in seconds

    def run(self):
        usual = [self.reload, self.reload_storm, self.kill_signer,
                 self.no_resolver, self.no_receiver, self.queue,
                 self.clock_jump, self.interrupted_writes]
        if self.has_small_disk:
            usual.append(self.full_disk)
        while not self.stopping.wait(1 + self.chance.random() * 4):
            deeds = list(usual)
            if self.lethal.is_set():
                deeds += [self.kill_relay, self.failing_disk]
            deed = self.chance.choice(deeds)
            try:
                if deed() is not False:
                    self.counts[deed.__name__] += 1
            except (OSError, AssertionError,
                    subprocess.SubprocessError) as error:
                self.problems.append("%s: %s" % (deed.__name__, error))

    def pause(self, most):
        self.stopping.wait(self.chance.random() * most)

    def kill(self, name):
        now = time.monotonic()
        if now < self.killed.get(name, 0) + APART:
            return False
        self.killed[name] = now
        try:
            os.kill(self.stand.relay.family()[name], signal.SIGKILL)
        except (AssertionError, ProcessLookupError):
            return False
        return True

    def kill_signer(self):
        return self.kill("signer")

    def kill_relay(self):
        return self.kill("relay")

    def reload(self):
        self.stand.relay.hang_up()

    def reload_storm(self):
        for _ in range(30):
            self.stand.relay.hang_up()
            self.pause(0.02)

    def no_resolver(self):
        self.stand.names.stop()
        self.pause(3)
        self.stand.names.start()

    def no_receiver(self):
        self.stand.sink.stop()
        self.pause(2)
        self.stand.sink.start()

    def clock_jump(self):
        self.clock.set(self.chance.choice((-1, 1)) * JUMP_SECONDS)
        self.pause(5)
        self.clock.set(0)

    def full_disk(self):
        path = os.path.join(self.stand.setup.state_dir, "ballast")
        leave = self.chance.choice((0, 300 << 10, 8 << 20))
        room = shutil.disk_usage(self.stand.setup.state_dir).free - leave
        try:
            with open(path, "wb") as file:
                while room > 0:
                    file.write(b"\0" * min(room, 1 << 20))
                    room -= 1 << 20
        except OSError:
            pass  # the relay was quicker
        self.pause(4)
        os.unlink(path)

    def interrupted_writes(self):
        self.fail(("EINTR",), 20)

    def failing_disk(self):
        """Where that hits a sync, or the root of the queue's file, it ends
        itself, and is started again."""
        self.fail(DiskFaults.FAILURES, 200)

    def fail(self, kinds, each):
        self.disk.set(kinds, each)
        self.pause(3)
        self.disk.set((), 1)

    def queue(self):
        for words in (("list", "--json"), ("hold", "--domain", "example.org"),
                      ("release", "--domain", "example.org")):
            self.ask("queue", *words)
        self.ask("status")

    def ask(self, *words):
        begun = time.monotonic()
        signet.run(*words, config=self.stand.setup.path, timeout=120)
        self.slowest = max(self.slowest, (time.monotonic() - begun, words[:2]))

    def done(self):
        """What the directory needs before it can go."""
        if self.has_small_disk:
            subprocess.run(["umount", "-l", self.stand.setup.state_dir])
