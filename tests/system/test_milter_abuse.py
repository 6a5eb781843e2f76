"""Whoever reaches the milter's port and is no MTA."""

import os
import random
import socket
import struct
import time

import pytest

from harness.milter_client import Closed, Milter
from harness.milter_world import PLAIN, World
from harness.process import wait_for


@pytest.fixture(scope="module")
def shared(binary, keys):
    world = World(keys)
    world.milter.start()
    yield world
    world.stop()


@pytest.fixture(autouse=True)
def unharmed(shared):
    """After each test: the same process, no descriptor more, and it signs."""
    pid = shared.milter.family()["relay"]
    before = descriptors(pid)
    yield
    assert shared.passes(shared.message())
    assert shared.milter.family()["relay"] == pid
    wait_for(lambda: descriptors(pid) <= before + 2, 20,
             lambda: "%d descriptors instead of %d" % (descriptors(pid),
                                                       before))
    assert not shared.milter.named("milter-died")


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def raw(world):
    connection = socket.create_connection(
        ("127.0.0.1", world.setup.milter_port), timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def packet(command, payload=b""):
    return struct.pack(">I", 1 + len(payload)) + command + payload


NEGOTIATION = packet(b"O", struct.pack(">III", 6, 0x1ff, 0x1fffff))
CONNECT = packet(b"C", b"host\0004\x30\x39127.0.0.1\0")

NOISE = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "SMTP": b"EHLO example.com\r\nMAIL FROM:<a@example.com>\r\n",
    "zeros": b"\0" * 4096,
    "length 0": struct.pack(">I", 0) * 100,
    "length of 4 GB": struct.pack(">I", 0xffffffff) + b"O" + b"x" * 1000,
    "length of 2 GB": struct.pack(">I", 0x7fffffff) + b"O" + b"x" * 1000,
    "length beyond the largest": struct.pack(">I", 1 << 24) + b"B",
    "short negotiation": packet(b"O", b"\0\0\0\6"),
    "old version": packet(b"O", struct.pack(">III", 1, 0x1ff, 0x1fffff)),
    "negotiation twice": NEGOTIATION * 2,
    "no negotiation": CONNECT + packet(b"M", b"<a@example.com>\0"),
    "unknown command": NEGOTIATION + packet(b"?", b"x"),
    "connect without an end": NEGOTIATION + packet(b"C", b"x" * 3000),
    "connect of nothing": NEGOTIATION + packet(b"C"),
    "bad family": NEGOTIATION + packet(b"C", b"host\0Z\0\1x\0"),
    "bad address": NEGOTIATION + packet(b"C", b"host\0004\0\1999.9.9\0"),
    "address too long": NEGOTIATION + packet(b"C", b"host\0L\0\1" +
                                             b"x" * 4000 + b"\0"),
    "MAIL without a sender": NEGOTIATION + CONNECT + packet(b"M"),
    "MAIL without an end": NEGOTIATION + CONNECT + packet(b"M", b"<a"),
    "a long MAIL": NEGOTIATION + CONNECT + packet(
        b"M", b"<" + b"a" * 60000 + b">\0"),
    "many arguments": NEGOTIATION + CONNECT + packet(b"M", b"a\0" * 30000),
    "header without a value": NEGOTIATION + CONNECT + packet(
        b"M", b"<a>\0") + packet(b"T") + packet(b"L", b"From\0"),
    "body first": NEGOTIATION + CONNECT + packet(b"B", b"x" * 60000),
    "end first": NEGOTIATION + CONNECT + packet(b"E"),
    "end after MAIL": NEGOTIATION + CONNECT + packet(b"M", b"<a>\0") +
    packet(b"E"),
    "end of the header after MAIL": NEGOTIATION + CONNECT + packet(
        b"M", b"<a>\0") + packet(b"N"),
    "body after MAIL": NEGOTIATION + CONNECT + packet(b"M", b"<a>\0") +
    packet(b"B", b"x"),
    "header after the body": NEGOTIATION + CONNECT + packet(b"M", b"<a>\0") +
    packet(b"T") + packet(b"L", b"From\0 a@example.com\0") + packet(b"N") +
    packet(b"B", b"x") + packet(b"L", b"To\0 b\0") + packet(b"E"),
    "everything twice": (NEGOTIATION + CONNECT + packet(b"M", b"<a>\0") +
                         packet(b"T") +
                         packet(b"L", b"From\0 a@example.com\0") +
                         packet(b"N") + packet(b"B", b"x")) * 2,
    "aborts": (NEGOTIATION + CONNECT + packet(b"M", b"<a>\0") +
               packet(b"A") * 50),
    "MAIL after MAIL": NEGOTIATION + CONNECT +
    packet(b"M", b"<a>\0") * 50,
    "QUIT_NC without end": NEGOTIATION + (CONNECT + packet(b"K")) * 50,
    "QUIT_NC first": packet(b"K") + NEGOTIATION,
    "odd macros": NEGOTIATION + packet(b"D", b"C{daemon_name}\0x\0v\0") +
    CONNECT,
    "macros without an end": NEGOTIATION + packet(b"D", b"Mi\0x") + CONNECT,
    "a megabyte of macros": NEGOTIATION + packet(
        b"D", b"C" + b"{x}\0y\0" * 170000) + CONNECT,
    "two megabytes of macros": NEGOTIATION + packet(
        b"D", b"C" + b"{x}\0y\0" * 340000) + CONNECT,
    "a header without an end": NEGOTIATION + CONNECT + packet(
        b"M", b"<a>\0") + packet(b"L", b"From\0 a@example.com\0")[:-3],
    "macros of nothing": NEGOTIATION + packet(b"D") + packet(b"D", b"C") +
    packet(b"D", b"Zi\0x\0") + packet(b"D", b"C{daemon_name}\0x\0") + CONNECT,
}


@pytest.mark.parametrize("name", NOISE)
def test_noise(shared, name):
    for ends in (False, True):
        with raw(shared) as connection:
            try:
                connection.sendall(NOISE[name])
                if ends:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 16):
                        pass
            except OSError:
                pass  # closed before it had read everything


def test_every_cut_of_a_message(shared):
    """The MTA vanishes, at each of its packets' ends and in their middle."""
    message = (NEGOTIATION + CONNECT + packet(b"DM", b"i\0x\0") +
               packet(b"M", b"<a@example.com>\0") + packet(b"T") +
               packet(b"L", b"From\0 a@example.com\0") + packet(b"N") +
               packet(b"B", b"Hello.\r\n") + packet(b"E"))
    for cut in range(0, len(message), 3):
        with raw(shared) as connection:
            connection.sendall(message[:cut])


def test_random_packets(shared):
    dice = random.Random(20261122)
    for _ in range(150):
        with raw(shared) as connection:
            try:
                connection.sendall(NEGOTIATION + b"".join(
                    packet(dice.choice([b"C", b"M", b"T", b"L", b"N", b"B",
                                        b"E", b"A", b"K", b"R", b"H"]),
                           dice.randbytes(dice.choice((0, 1, 9, 300))) +
                           dice.choice((b"", b"\0", b"a\0b\0")))
                    for _ in range(dice.randrange(20))))
            except ConnectionError:
                pass


def test_aborts_in_the_middle(shared):
    with shared.client() as client:
        client.begin()
        for stage in range(4):
            client.mail()
            if stage > 0:
                client.data()
            if stage > 1:
                client.header(b"From", b" alice@example.com")
                client.eoh()
            if stage > 2:
                client.body(b"x" * 60000)
            client.abort()
        assert shared.passes(client.message(PLAIN, begin=False))


def test_thousands_that_only_connect(shared):
    """As a monitor does. The kernel keeps them from us."""
    pid = shared.milter.family()["relay"]
    before = descriptors(pid)
    held = [raw(shared) for _ in range(900)]
    assert shared.passes(shared.message())
    assert descriptors(pid) < before + 100
    for connection in held:
        connection.close()
    for _ in range(3000):
        raw(shared).close()


def test_clients_that_say_too_little_have_to_go(milter_world):
    """Each would keep a thread waiting. At once where there are many; where
    not, ten seconds later."""
    world = milter_world("max_connections = 5")
    held = [raw(world) for _ in range(50)]
    for connection in held:
        connection.sendall(b"\0")
    for connection in held:
        assert connection.recv(1) == b""
        connection.close()
    assert world.passes(world.message())


def test_many_that_stop_in_a_packet_keep_nobody_waiting(shared):
    """Each has said part of its envelope or its header. They take no thread,
    and no memory but what they have said."""
    pid = shared.milter.family()["relay"]
    before = len(os.listdir("/proc/%d/task" % pid))
    begun = NEGOTIATION + CONNECT + packet(b"M", b"<a@example.com>\0")
    parts = [NEGOTIATION[:9], begun + b"\0\0", begun + packet(
        b"L", b"From\0 a@example.com\0") + struct.pack(">I", 1000000) + b"L"]
    held = [raw(shared) for _ in range(150)]
    for number, connection in enumerate(held):
        connection.sendall(parts[number % len(parts)])
    for _ in range(5):
        assert shared.passes(shared.message())
    assert len(os.listdir("/proc/%d/task" % pid)) <= before + 8
    assert anonymous_kib(pid) < 64 << 10
    for connection in held:
        connection.close()


def anonymous_kib(pid):
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file
                    if line.startswith("RssAnon:"))


def test_more_mtas_than_allowed(milter_world):
    world = milter_world("max_connections = 5")
    clients = [world.client() for _ in range(5)]
    for client in clients:
        client.begin()
    with world.client() as sixth:
        with pytest.raises(Closed):
            sixth.begin()
    assert "max_connections" in world.milter.wait("refused")["reason"]
    clients.pop().close()

    def has_room():
        try:
            return world.passes(world.message())
        except Closed:
            return None
    wait_for(has_room, 10, "room for another")
    for client in clients:
        assert world.passes(client.message(PLAIN, begin=False))
        client.close()


def test_idle_mtas_cost_no_signatures(shared):
    """As many as are allowed, but one; and it is as quick as before."""
    clients = [shared.client() for _ in range(400)]
    for client in clients:
        client.begin()
    started = time.monotonic()
    with shared.client() as client:
        for number in range(20):
            assert shared.passes(client.message(PLAIN, begin=number == 0))
    assert time.monotonic() - started < 60
    for client in clients:
        client.close()
