"""Writes and syncs below state_dir that fail at random: see disk_faults.c."""

import mmap
import os
import struct
import subprocess

KINDS = {"EIO": 1, "ENOSPC": 2, "EINTR": 4, "short": 8, "sync": 16}


class DiskFaults:
    """`environment` is for the relay."""

    def __init__(self, directory):
        library = os.path.join(directory, "disk_faults.so")
        source = os.path.join(os.path.dirname(__file__), "disk_faults.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O", "-o", library, source,
                        "-ldl"], check=True)
        path = os.path.join(directory, "disk_faults")
        with open(path, "wb") as file:
            file.write(b"\0" * 4096)
        os.chmod(path, 0o666)
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)
        self.environment = {
            "LD_PRELOAD": library, "DISK_FAULTS": path,
            # It does nothing that a sanitizer has to be there first for.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
                            ":verify_asan_link_order=0"}

    def set(self, kinds, each):
        """One call in `each` fails, in one of these ways; none: no more."""
        bits = sum(KINDS[kind] for kind in kinds)
        struct.pack_into("=QQ", self._map, 0,
                         1000000 // each if kinds else 0, bits)

    def count(self):
        return struct.unpack_from("=Q", self._map, 16)[0]
