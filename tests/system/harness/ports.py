"""Ports that nobody uses.

Ports come from a fixed range below the kernel's ephemeral ports, so that a
port stays free between the moment it is chosen and the moment a server binds
it. Each worker of a parallel run takes its own slice of the range.
"""

import itertools
import os
import socket

FIRST, LAST = (
    int(part)
    for part in os.environ.get("SIGNET_TEST_PORTS", "20000-20999").split("-"))
WORKERS_MAX = 8  # tests/run starts no more


def _slice():
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]
    each = (LAST - FIRST + 1) // WORKERS_MAX
    start = FIRST + (int(worker) % WORKERS_MAX) * each
    # Where to begin differs, should somebody else run these tests too.
    turn = os.getpid() * 37 % each
    return [start + (turn + i) % each for i in range(each)]


_candidates = itertools.cycle(_slice())


def _is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


def free_port():
    for port in itertools.islice(_candidates, len(_slice())):
        if _is_free(port):
            return port
    raise RuntimeError("every port of %d-%d is taken" % (FIRST, LAST))
