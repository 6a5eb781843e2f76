"""Processes that hang, and a machine that stood still, with no service manager
to see to it. For the supervisor time is made to pass by a clock that jumps."""

import concurrent.futures as futures
import ctypes
import errno
import os
import signal
import socket
import time

import pytest

from harness import smtp
from harness.preload import ClockJumps
from harness.process import freeze, is_asleep_without, wait_for

LOOK_S = 2     # between two looks at the signer
LOOKS = 6      # that it may miss
CALL_S = 20    # for which a session waits for its signatures
ASK_S = 30     # between two questions to the relay process
QUESTIONS = 4  # of which it may owe the answer


class Watched:
    def __init__(self, made, clock):
        self.relay, self.clock, self.seconds = made, clock, 0
        self.family = made.family()
        clock.only_for(self.family["supervisor"])

    def pass_time(self, seconds):
        """The supervisor has seen what it would then, and waits again."""
        self.seconds += seconds
        self.clock.forward(self.seconds)
        supervisor = self.family["supervisor"]
        os.kill(supervisor, signal.SIGCHLD)
        wait_for(lambda: is_asleep_without(supervisor, signal.SIGCHLD), 20,
                 "the supervisor to have looked")

    def pass_until(self, event, each, at_most):
        """How long the supervisor took it to be: a loaded machine adds its own
        time to the one that is made to pass."""
        begun, began = self.seconds, time.monotonic()
        while not self.relay.named(event):
            assert self.seconds - begun <= at_most, self.relay.tail()
            self.pass_time(each)
        return self.seconds - begun + time.monotonic() - began

    def expect_another(self, name):
        wait_for(lambda: self.family[name] not in
                 self.relay.family().values(), 20, "another " + name)


@pytest.fixture
def watched(setup, relay, directory):
    clock = ClockJumps(directory)
    return Watched(relay(setup(), env=clock.environment), clock)


def test_a_signer_that_hangs_costs_no_mail(watched):
    """It is replaced before those who wait for signatures give up."""
    freeze(watched.family["signer"])
    with futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(smtp.submit, watched.relay.setup.port,
                           smtp.message())
        taken = watched.pass_until("signer-hangs", LOOK_S, CALL_S)
        assert taken > LOOKS * LOOK_S / 2, "who is merely busy has time"
        watched.relay.wait("signer-died")
        watched.pass_time(LOOK_S)
        sent.result(60)
    assert len(watched.relay.wait("accepted")["signatures"]) == 2
    watched.expect_another("signer")


PIDFD_GETFD = 438


def sever(signer):
    """Ends what the signer's clients have, all but its supervisor's, as the
    kernel makes it do when it has no memory for an answer."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    process, count = os.pidfd_open(signer), 0
    for name in os.listdir("/proc/%d/fd" % signer):
        if int(name) <= 3 or not os.readlink(
                "/proc/%d/fd/%s" % (signer, name)).startswith("socket:"):
            continue
        copy = call(PIDFD_GETFD, process, int(name), 0)
        if copy < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
            os.close(process)
            pytest.skip("pidfd_getfd: " + os.strerror(ctypes.get_errno()))
        assert copy >= 0, os.strerror(ctypes.get_errno())
        with socket.socket(fileno=copy) as client:
            client.shutdown(socket.SHUT_RDWR)
        count += 1
    os.close(process)
    return count


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_way_to_the_signer_that_is_lost(watched):
    """Neither process has ended: mail is signed again all the same."""
    assert sever(watched.family["signer"]) > 0
    watched.pass_until("signer-lost", LOOK_S, 8 * LOOK_S)
    smtp.submit(watched.relay.setup.port, smtp.message())
    assert len(watched.relay.wait("accepted")["signatures"]) == 2
    assert watched.relay.family() == watched.family
    for _ in range(5):
        watched.pass_time(LOOK_S)
    assert len(watched.relay.named("signer-lost")) == 1


def test_nor_does_one_that_is_to_load_keys_then(watched):
    """A reload waits until it is known that the signer goes on."""
    freeze(watched.family["signer"])
    watched.pass_time(LOOK_S)
    with futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(smtp.submit, watched.relay.setup.port,
                           smtp.message())
        os.kill(watched.family["supervisor"], signal.SIGHUP)
        watched.pass_until("signer-hangs", LOOK_S, CALL_S)
        watched.relay.wait("signer-died")
        watched.pass_time(LOOK_S)
        sent.result(60)
    assert len(watched.relay.wait("accepted")["signatures"]) == 2
    watched.relay.wait("reload")


def test_a_relay_that_hangs_is_replaced(watched):
    watched.pass_time(ASK_S)
    freeze(watched.family["relay"])
    taken = watched.pass_until("relay-died", ASK_S,
                               (QUESTIONS + 2) * ASK_S)
    assert taken >= QUESTIONS * ASK_S, "a slow disk has time"
    watched.relay.wait("ready", count=2)
    smtp.submit(watched.relay.setup.port, smtp.message())
    watched.expect_another("relay")


def test_a_machine_that_stood_still(watched):
    """Everybody did: that nobody has answered for days is nobody's fault."""
    for name in ("signer", "relay", "supervisor"):
        freeze(watched.family[name])
    for name in ("supervisor", "relay", "signer"):
        os.kill(watched.family[name], signal.SIGCONT)
        if name == "supervisor":
            for _ in range(3):
                watched.pass_time(86400)
    watched.pass_time(LOOK_S)
    smtp.submit(watched.relay.setup.port, smtp.message())
    assert watched.relay.family() == watched.family
    assert not watched.relay.named("signer-hangs")
