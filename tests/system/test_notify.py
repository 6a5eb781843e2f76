"""What the service manager is told: sd_notify(3), over a socket of the test's
in the manager's place."""

import os
import signal
import socket
import threading
import time

import pytest

from harness import traced
from harness.milter import MilterSetup, SignetMilter
from harness.process import accepts, freeze, wait_for

WATCHDOG_S = 0.8
SIGNS = 4  # in that time


class Manager:
    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.heard = []
        self.port = None  # tried when READY=1 comes
        self.accepted = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            said = self.socket.recv(4096).decode()
            if said == "READY=1" and self.port:
                self.accepted.append(accepts("127.0.0.1", self.port))
            self.heard.append(said)

    def environment(self):
        return {"NOTIFY_SOCKET": self.path,
                "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}

    def count(self, word):
        return sum(word in said.split("\n") for said in list(self.heard))

    def wait(self, word, more=1, seconds=20):
        wanted = self.count(word) + more
        wait_for(lambda: self.count(word) >= wanted, seconds,
                 lambda: "%s %d times: %s" % (word, wanted, self.heard))

    def is_silent(self):
        """Waits out what was under way, then for as long as would have the
        manager end the service."""
        time.sleep(2 * WATCHDOG_S / SIGNS)
        before = self.count("WATCHDOG=1")
        time.sleep(WATCHDOG_S)
        return self.count("WATCHDOG=1") == before


@pytest.fixture
def manager(directory):
    return Manager(directory)


@pytest.fixture
def watched(setup, relay, manager):
    return relay(setup(), env=manager.environment())


def falls_silent_with(running, manager):
    """While the process that serves hangs, and no longer."""
    stopped = running.family()["relay"]
    freeze(stopped)
    try:
        assert manager.is_silent()
    finally:
        os.kill(stopped, signal.SIGCONT)
    manager.wait("WATCHDOG=1", more=SIGNS)


def test_ready_once_it_listens(setup, relay, manager):
    configured = setup()
    manager.port = configured.port
    made = relay(configured, env=manager.environment())
    made.hang_up()
    wait_for(lambda: manager.heard.count("READY=1") == 2, 20, "a reload's end")
    made.stop()
    said = [word for word in manager.heard if word != "WATCHDOG=1"]
    assert said == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert manager.accepted == [True, True]


def test_a_relay_that_hangs_is_not_alive(watched, manager):
    manager.wait("WATCHDOG=1", more=2 * SIGNS)
    falls_silent_with(watched, manager)
    assert watched.named("watchdog")


@pytest.mark.skipif(not traced.is_possible(), reason="one thread is traced")
def test_a_loop_that_hangs_is_not_alive(watched, manager):
    """One of several, while the others turn."""
    pid = watched.family()["relay"]
    loops = []
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, thread)) as file:
            if file.read() == "loop\n":
                loops.append(int(thread))
    with traced.Traced(loops[-1]):
        assert manager.is_silent()
    manager.wait("WATCHDOG=1", more=SIGNS)


def test_a_signer_that_hangs_is_replaced(watched, manager):
    before = watched.family()["signer"]
    freeze(before)
    watched.wait("signer-died", seconds=40)
    wait_for(lambda: watched.family()["signer"] != before, 20, "another signer")
    manager.wait("WATCHDOG=1", more=SIGNS)


def test_a_relay_that_is_replaced_owes_nothing(watched, manager):
    """Its answer, due when it died, is not waited for."""
    relay = watched.family()["relay"]
    freeze(relay)
    wait_for(lambda: watched.named("watchdog"), 20, "an answer that is owed")
    os.kill(relay, signal.SIGKILL)
    manager.wait("WATCHDOG=1", more=2 * SIGNS)


def test_the_milter(directory, keys, manager):
    milter = SignetMilter(MilterSetup(directory, keys),
                          env=manager.environment())
    try:
        manager.wait("WATCHDOG=1", more=SIGNS)
        falls_silent_with(milter, manager)
        milter.stop()
    finally:
        milter.discard()


def test_who_asks_for_none_gets_none(setup, relay, manager):
    made = relay(setup(), env={"NOTIFY_SOCKET": manager.path})
    made.hang_up()
    wait_for(lambda: manager.heard.count("READY=1") == 2, 20, "a reload")
    assert not manager.count("WATCHDOG=1")
