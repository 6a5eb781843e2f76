"""Clients that do their worst, all at once: memory stays below what relay/limits.h
says, and who asks for little is served."""

import os

import pytest

from harness import signet
from harness.process import wait_for
from harness.smtp import Client, message, submit

SESSIONS = 60
# KiB, as in relay/limits.h, but for RELAY_MEMORY: what there is before counts.
SESSION_MEMORY = 256
MAX_MEMORY = 2 << 10
BOUND = SESSIONS * SESSION_MEMORY + MAX_MEMORY * 3 // 2

RECIPIENTS = 200
# Each another one: who is named twice is kept once.
NAMED = "".join("RCPT TO:<%04d%s@%s.example.net> ORCPT=rfc822;%s\r\n" %
                (number, "x" * 56, ".".join(["d" * 60] * 2), "y" * 490)
                for number in range(RECIPIENTS)).encode()
HEADER = (b"From: alice@example.com\r\nTo: a\r\n" +
          (b" " + b"x" * 900 + b"\r\n") * 1150)[:1 << 20]


def resident(pid):
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file
                    if line.startswith("RssAnon:"))


def enveloped(port):
    """TLS, and as many recipients as are taken."""
    client = Client(port, timeout=60)
    client.ehlo()
    client.starttls()
    client.ehlo()
    client.expect("MAIL FROM:<alice@example.com>", 250)
    client.send(NAMED)
    return client, {client.reply()[0] for _ in range(RECIPIENTS)}


@pytest.fixture
def small(world, certificate, monkeypatch):
    """Sanitizers keep what is freed."""
    monkeypatch.setenv("SIGNET", os.environ.get("PLAIN") or signet.binary())
    cert, key = certificate
    world.setup.listener = ('tls = "starttls" tls_cert = "%s" tls_key = "%s"' %
                            (cert, key))
    world.setup.limits = 'max_sessions = %d\nmax_memory = "%dK"' % (
        SESSIONS, MAX_MEMORY)
    return world.start()


def test_full_sessions(small):
    world = small
    relay = world.relay.family()["relay"]
    submit(world.relay.port, message())
    before = resident(relay)
    clients, codes = [], set()
    for _ in range(SESSIONS):
        client, own = enveloped(world.relay.port)
        clients.append(client)
        codes |= own
    assert codes == {250, 452}, codes
    world.relay.wait("no-room", reason="limits.max_memory, one client's part")
    # One more is not served at all.
    with Client(world.relay.port, greet=False) as client:
        Client.check(client.reply(), 421, "4.7.0", "the greeting")
        client.expect_closed()
    most = resident(relay)
    for client in clients:
        client.expect("DATA", 354)
        client.send(HEADER)
        most = max(most, resident(relay))
    assert most - before < BOUND, "%d KiB" % (most - before)
    # Each is refused in the end, in step, and the next one is served.
    for client in clients:
        client.send(b"\r\n\r\nx\r\n.\r\nNOOP\r\n")
        assert client.reply()[0] == 452
        assert client.reply()[0] == 250
        client.close()
    wait_for(lambda: served(world), 10, "a place")
    assert world.relay.family()["relay"] == relay


def served(world):
    try:
        submit(world.relay.port, message())
    except AssertionError:
        return False
    return True
