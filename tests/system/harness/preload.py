"""What the relay meets in place of some calls of the C library."""

import mmap
import os
import struct
import subprocess


class Preload:
    """Builds NAME.c of this directory; `environment` makes a program load it.
    It reads what it has to do from a page that it shares with us."""

    def __init__(self, directory, name):
        library = os.path.join(directory, name + ".so")
        source = os.path.join(os.path.dirname(__file__), name + ".c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O", "-o", library, source,
                        "-ldl"], check=True)
        path = os.path.join(directory, name)
        with open(path, "wb") as file:
            file.write(b"\0" * 4096)
        os.chmod(path, 0o666)
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 4096)
        self.environment = {
            "LD_PRELOAD": library, name.upper(): path,
            # It does nothing that a sanitizer has to be there first for.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
                            ":verify_asan_link_order=0"}


class ClockJumps(Preload):
    def __init__(self, directory):
        super().__init__(directory, "clock_jumps")

    def set(self, seconds):
        struct.pack_into("=q", self.page, 0, seconds)

    def forward(self, seconds):
        """All of that time seems to have passed: no way leads back."""
        struct.pack_into("=q", self.page, 8, seconds)

    def only_for(self, pid):
        struct.pack_into("=q", self.page, 16, pid)


class SlowSigner(Preload):
    def __init__(self, directory):
        super().__init__(directory, "slow_signer")

    def set(self, is_held):
        struct.pack_into("=q", self.page, 0, is_held)


class DiskFaults(Preload):
    """Writes and syncs below state_dir that fail at random; with "hang" syncs
    that end when there is no such kind any more."""

    KINDS = {"EIO": 1, "ENOSPC": 2, "EINTR": 4, "short": 8, "sync": 16,
             "hang": 32}
    FAILURES = ("EIO", "ENOSPC", "EINTR", "short", "sync")  # and go on

    def __init__(self, directory):
        super().__init__(directory, "disk_faults")

    def set(self, kinds, each):
        """One call in `each` fails, in one of these ways; none: no more."""
        bits = sum(self.KINDS[kind] for kind in kinds)
        struct.pack_into("=QQ", self.page, 0,
                         1000000 // each if kinds else 0, bits)

    def count(self):
        return struct.unpack_from("=Q", self.page, 16)[0]


class DiskJournal(Preload):
    """What is written and synced below state_dir: see power.py."""

    def __init__(self, directory):
        super().__init__(directory, "disk_journal")
        self.path = os.path.join(directory, "journal")
        open(self.path, "wb").close()
        os.chmod(self.path, 0o666)
        self.environment["DISK_JOURNAL_TO"] = self.path
