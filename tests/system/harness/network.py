"""A network of the test's own, with the addresses that it likes."""

import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(arguments):
    subprocess.run(["ip"] + arguments.split(), check=True)


class Network:
    """From here on the test's thread, and all that it starts, live in a
    network that is empty but for loopback. Needs root."""

    def __init__(self):
        self._before = os.open("/proc/thread-self/ns/net",
                               os.O_RDONLY | os.O_CLOEXEC)
        if _libc.unshare(CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            os.close(self._before)
            raise OSError(error, os.strerror(error))
        ip("link set lo up")

    def add(self, *addresses):
        """Addresses that lead here, and so are those one speaks from."""
        for address in addresses:
            ip("addr add %s dev lo%s" % (address,
                                         " nodad" if ":" in address else ""))

    def swallow(self, network, source):
        """A network that there is a way to, and never an answer from."""
        ip("link add hole type veth peer name bottom")
        ip("link set hole arp off up")
        ip("link set bottom up")
        ip("addr add %s dev hole nodad" % source)
        ip("route add %s dev hole" % network)

    def stop(self):
        if _libc.setns(self._before, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(self._before)
