"""RSA keys that OpenSSL makes once for all workers, because making one takes
longer than most of what a test then does with it. Each worker takes them in the
same order and none of them twice: what one worker sees are keys of its own."""

import collections
import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile

PLACE = "SIGNET_TEST_STOCK"
_taken = collections.Counter()


@contextlib.contextmanager
def opened():
    """Where those look who are started meanwhile."""
    with tempfile.TemporaryDirectory(prefix="signet-stock.") as directory:
        os.environ[PLACE] = directory
        yield


def take_rsa_key(path, bits=2048):
    """Writes the next one there, for its owner alone."""
    mask = os.umask(0o077)
    try:
        if PLACE in os.environ:
            shutil.copyfile(_next(bits), path)
        else:  # not a test: one who measures, alone
            _make(path, bits)
    finally:
        os.umask(mask)


def _next(bits):
    path = os.path.join(os.environ[PLACE], "%d-%d" % (bits, _taken[bits]))
    _taken[bits] += 1
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            _make(path + ".new", bits)
            os.rename(path + ".new", path)
    return path


def _make(path, bits):
    subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA",
                    "-pkeyopt", "rsa_keygen_bits:%d" % bits, "-out", path],
                   check=True, stderr=subprocess.DEVNULL)
