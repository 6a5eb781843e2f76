"""What libfaketime leaves in /dev/shm when a process that it is loaded into is
killed, or ends without its destructors: named by the process, and in the way of
the next one that is given its number."""

import contextlib
import glob
import os

PATTERNS = ("/dev/shm/faketime_shm_*", "/dev/shm/sem.faketime_sem_*")


def sweep():
    """Those of processes that are no more."""
    for pattern in PATTERNS:
        for path in glob.glob(pattern):
            pid = path.rpartition("_")[2]
            if pid.isdigit() and not os.path.exists("/proc/" + pid):
                with contextlib.suppress(OSError):
                    os.unlink(path)
