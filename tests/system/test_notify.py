"""What the service manager is told: sd_notify(3), over a socket of the test's
in the manager's place."""

import concurrent.futures as futures
import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from harness import smtp, traced
from harness.milter import MilterSetup, SignetMilter
from harness.milter_client import Milter
from harness.names import Silent
from harness.preload import ClockJumps, DiskFaults
from harness.process import accepts, freeze, wait_for

SIGNATURE = ("v=1; a=ed25519-sha256; d=example.org; s=one; h=from; "
             "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=" + "A" * 86 +
             "==")
WATCHDOG_S = 0.8
SIGNS = 4  # in that time
LOADED = 500  # keys, which take longer than from one to the next


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
    wait_for(lambda: manager.heard.count("STOPPING=1"), 20, "the last word")
    said = [word for word in manager.heard if word != "WATCHDOG=1"]
    assert said == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert manager.accepted == [True, True]


def test_a_long_load_of_keys_is_not_taken_for_a_hang(setup, relay, manager,
                                                     keys, directory):
    """By a reload: no two files are alike, so each is decoded."""
    with open(keys.path("example.com", "rsa")) as file:
        pem = file.read()
    configured = setup()
    running = relay(configured, env=manager.environment())
    for i in range(LOADED):
        path = os.path.join(directory, "%d.pem" % i)
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(pem + "%d\n" % i)
        configured.extra += \
            'domain "d%d.example" { selector "s" { key = "%s" } }\n' % (
                i, path)
    configured.write()
    running.hang_up()
    wait_for(lambda: manager.heard.count("READY=1") == 2, 60, "a reload's end")
    said = manager.heard[manager.heard.index("RELOADING=1"):]
    loading = said[:said.index("READY=1")]
    # One comes behind the load in any case.
    assert loading.count("WATCHDOG=1") > 1, (loading, running.tail())


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


def test_a_store_that_hangs_is_not_alive(setup, relay, manager, directory):
    """Its thread waits for the disk, while every loop turns: that is slow, as
    long as the manager allows, and loses nothing."""
    faults = DiskFaults(directory)
    configured = setup()
    relay(configured, env={**manager.environment(), **faults.environment})
    manager.wait("WATCHDOG=1", more=SIGNS)
    faults.set(["hang"], each=1)
    with smtp.Client(configured.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        client.expect("DATA", 354)
        client.send(smtp.stuffed(smtp.message()))
        wait_for(lambda: faults.count() > 0, 20, "a sync")
        assert manager.is_silent()
        faults.set([], each=1)
        manager.wait("WATCHDOG=1", more=SIGNS)
        client.check(client.reply(), 250, "2.0.0", "end of data")


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


@pytest.mark.skipif(not traced.is_possible(), reason="threads are traced")
def test_a_thread_of_the_milter_that_hangs(directory, keys, manager):
    """At a packet, while the others answer: not for as long as it may take."""
    clock, resolver = ClockJumps(directory), Silent()
    milter = SignetMilter(
        MilterSetup(directory, keys, 'mode = "verify"\ndns_timeout = "60s"',
                    resolver=resolver.address),
        env={**manager.environment(), **clock.environment})
    signed = smtp.message(extra="DKIM-Signature: %s\r\n" % SIGNATURE)
    try:
        with Milter(milter.socket) as mta, futures.ThreadPoolExecutor() as pool:
            asked = pool.submit(mta.message, signed)
            resolver.wait()
            manager.wait("WATCHDOG=1", more=SIGNS)
            pid = milter.family()["relay"]
            with contextlib.ExitStack() as stack:
                for thread in os.listdir("/proc/%d/task" % pid):
                    if int(thread) != pid:
                        stack.enter_context(traced.Traced(int(thread)))
                clock.forward(300)
                assert manager.is_silent()
            manager.wait("WATCHDOG=1", more=SIGNS)
            assert asked.result().verdict in ("continue", "accept")
        assert "hangs" in milter.named("watchdog")[0]["reason"]
        milter.stop()
    finally:
        milter.discard()
        resolver.stop()


def test_who_asks_for_none_gets_none(setup, relay, manager):
    made = relay(setup(), env={"NOTIFY_SOCKET": manager.path})
    made.hang_up()
    wait_for(lambda: manager.heard.count("READY=1") == 2, 20, "a reload")
    assert not manager.count("WATCHDOG=1")
