"""What the system takes away while the relay runs: descriptors, the resolver,
the time. Each defers, none ends it, nothing is lost."""

import contextlib
import os
import re
import socket
import subprocess
import time

import pytest

from harness.account import Account, Load, Sink, stop
from harness.preload import ClockJumps
from harness.process import wait_for
from harness.smtp import Client, message, submit

SHORT = 'retry = {"1s"}\n expire = "300s"'


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def limit(pid, what):
    """By its own user: even root may not be allowed to."""
    subprocess.run(["prlimit", "--pid", str(pid), "--" + what], check=True,
                   user=os.stat("/proc/%d" % pid).st_uid,
                   group=os.stat("/proc/%d" % pid).st_gid, extra_groups=[])


@contextlib.contextmanager
def few_descriptors(pid, more):
    """No more than there are now, and a few."""
    before = int(re.search(r"Max open files\s+(\d+)", open(
        "/proc/%d/limits" % pid).read()).group(1))
    highest = max(int(name) for name in os.listdir("/proc/%d/fd" % pid))
    limit(pid, "nofile=%d:" % (highest + 1 + more))
    try:
        yield
    finally:
        limit(pid, "nofile=%d:" % before)


def connected(port):
    peer = socket.create_connection(("127.0.0.1", port), timeout=120)
    peer.settimeout(1)
    return peer


@pytest.mark.skipif(os.getuid() != 0, reason="only root acts as its user")
def test_a_file_that_may_not_grow(world):
    """As a disk that is full, and as short."""
    world.start()
    relay = world.relay.family()["relay"]
    large = message(body=("x" * 70 + "\r\n") * 30000)

    def offer(bytes_):
        with Client(world.relay.port) as client:
            client.ehlo()
            code, lines = client.transaction("alice@example.com",
                                             ["bob@example.net"], bytes_)
            return code, lines[-1][:5]
    limit(relay, "fsize=1000000:")
    assert offer(large) == (452, "4.3.1")
    assert offer(message())[0] == 250
    limit(relay, "fsize=unlimited:")
    assert offer(large)[0] == 250
    world.receiver.wait_deliveries(2)
    assert world.relay.family()["relay"] == relay


@pytest.mark.skipif(os.getuid() != 0, reason="only root acts as its user")
def test_without_a_descriptor_left(world):
    """Clients wait or are told 4yz, deliveries wait, bodies are refused."""
    world.setup.delivery = SHORT
    world.setup.limits = 'max_memory = "1M"'  # so that bodies need files
    world.start(receiver_options=False)
    account = Account()
    sink = Sink(account, world.setup.mx_port, "127.0.0.2")
    relay = world.relay.family()["relay"]
    waiting = []
    try:
        submit(world.relay.port, first(account))
        wait_for(lambda: len(account) == 1, 20, "the first")
        loads = [Load(world.relay.port, str(number), account,
                      sizes=(1, 3000, 40000)) for number in range(3)]
        for load in loads:
            load.start()
        wait_for(lambda: len(account.acknowledged) > 5, 20, "some load")
        with few_descriptors(relay, 3):
            waiting = [connected(world.relay.port) for _ in range(30)]
            seen = len(account.acknowledged)
            wait_for(lambda: sum(account.refused.values()) > 3 or
                     len(account.acknowledged) > seen + 30, 30,
                     lambda: "answers; %s" % account.refused)
        for peer in waiting:
            peer.close()
        seen = len(account.acknowledged)
        wait_for(lambda: len(account.acknowledged) > seen + 5, 30,
                 "load to get through again")
        stop(loads)
        wait_for(lambda: not account.missing(), 40, lambda: str(account))
        assert not account.broken and not account.twice()
        assert all(reply[0] == "4" for reply in account.refused), \
            account.refused
        assert world.relay.family()["relay"] == relay
        assert not world.relay.named("bounced")
        wait_for(lambda: descriptors(relay) < 100, 20, "descriptors to go")
    finally:
        sink.stop()


def first(account):
    account.lines["load-first"] = 0
    return message("load-first", "")


def test_a_resolver_that_dies_under_load(world):
    world.setup.delivery = SHORT
    world.start(receiver_options=False)
    account = Account()
    sink = Sink(account, world.setup.mx_port, "127.0.0.2")
    relay = world.relay.family()["relay"]
    try:
        world.names.stop()
        loads = [Load(world.relay.port, str(number), account, sizes=(1, 50))
                 for number in range(2)]
        for load in loads:
            load.start()
        wait_for(lambda: len(account.acknowledged) > 20, 30, "load")
        world.relay.wait("deferred", seconds=40)
        assert len(account) == 0
        assert world.relay.named("deferred")[0]["status"] == "4.4.3"
        world.names.start()
        wait_for(lambda: len(account) > 0, 60, world.relay.tail)
        stop(loads)
        wait_for(lambda: not account.missing(), 60, lambda: str(account))
        assert not account.twice()
        assert world.relay.family()["relay"] == relay
    finally:
        sink.stop()


@pytest.mark.parametrize("start, end", (
    (0, -3 * 3600),
    (0, 3 * 3600),
    (60 - int(time.time()), 0),
), ids=("back", "on", "set"))
def test_a_clock_that_jumps(world, relay, directory, start, end):
    """What is due waits neither for hours nor is it given up; nor where no
    battery had kept the clock, and the network sets it only then."""
    clock = ClockJumps(directory)
    clock.set(start)
    world.setup.delivery = 'retry = {"1s"}\n expire = "5d"'
    answers = ["450 4.2.0 later"] * 3
    world.start(receiver_options={"replies": {
        "RCPT": lambda _: answers.pop() if answers else None}})
    world.relay.stop()
    jumping = relay(world.setup, env=clock.environment)
    submit(jumping.port, message())
    before = jumping.wait("deferred")["time"]
    clock.set(end)
    submit(jumping.port, message())
    jumping.wait("delivered", count=2, seconds=30)
    assert not jumping.named("bounced")
    assert (jumping.named("delivered")[-1]["time"] > before) == (end > start)
    assert len(jumping.named("clock")) == (start != 0)
