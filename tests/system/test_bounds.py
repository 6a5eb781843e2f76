"""Input without an end: memory stays where it is."""

import os
import socket
import subprocess
import threading

import pytest

from harness import signet
from harness.smtp import message, submit

SENT = 12 << 20
# KiB; without sanitizers a command takes 11 MiB, and a relay grows by 4.
RESIDENT_MAX = 14 << 10
GROWTH_MAX = 8 << 10

HEAD = (b"From: alice@example.com\r\nTo: bob@example.net\r\nSubject: x\r\n"
        b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
        b"Message-ID: <1@example.com>\r\n")
MULTIPART = HEAD + (b"MIME-Version: 1.0\r\n"
                    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n")
SIGNATURE = (b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=rsa; "
             b"h=from; bh=AAAA; b=AAAA\r\n")
# what it is, how it begins, what is said again and again
MESSAGES = {
    "fields": (HEAD, b"A: b\r\n"),
    "a field": (HEAD + b"B: ", b"x"),
    "a folded field": (HEAD + b"B: ", b"x\r\n "),
    "signatures": (HEAD, SIGNATURE),
    "authors": (b"From: ", b"alice@example.com, "),
    "a line": (HEAD + b"\r\n", b"x"),
    "empty lines": (HEAD + b"\r\n", b"\r\n"),
    "parts": (MULTIPART, b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"),
}
GREETED = b"EHLO client.example.com\r\n"
COMMANDS = {
    "a command": (b"", b"x"),
    "commands": (GREETED, b"RSET\r\n"),
    "parameters": (GREETED + b"MAIL FROM:<alice@example.com>", b" A=b"),
    "recipients": (GREETED + b"MAIL FROM:<alice@example.com>\r\n",
                   b"RCPT TO:<bob@example.net>\r\n"),
    "fields": (GREETED + b"MAIL FROM:<alice@example.com>\r\n"
               b"RCPT TO:<bob@example.net>\r\nDATA\r\n" + HEAD, b"A: b\r\n"),
    "a chunk": (GREETED + b"MAIL FROM:<alice@example.com>\r\n"
                b"RCPT TO:<bob@example.net>\r\nBDAT 99999999999 LAST\r\n",
                b"x"),
}


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Sanitizers keep what is freed."""
    monkeypatch.setenv("SIGNET", os.environ.get("PLAIN") or signet.binary())


def blocks(head, again):
    yield head
    block = again * (65536 // len(again))
    for _ in range(SENT // len(block)):
        yield block


def resident_of(command, config, rows):
    """KiB at most, of a command that is given it all; 0: it did not want it."""
    process = subprocess.Popen([signet.binary(), "-c", config, command],
                               stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    resident = 0
    try:
        for block in blocks(*rows):
            process.stdin.write(block)
        resident = field_of(process.pid, "VmHWM")
        process.stdin.close()
    except OSError:
        pass
    assert process.wait(30) in (0, 65), process.returncode
    return resident


def field_of(pid, name):
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


@pytest.mark.parametrize("command", ("sign", "verify", "explain"))
def test_messages(setup, command):
    config = setup().write()
    for name, rows in MESSAGES.items():
        assert resident_of(command, config, rows) < RESIDENT_MAX, name


def test_clients_of_the_relay(world):
    world.start()
    submit(world.relay.port, message())
    relay = world.relay.family()["relay"]
    before = field_of(relay, "RssAnon")
    for name, rows in COMMANDS.items():
        client = socket.create_connection(("127.0.0.1", world.relay.port), 10)
        client.settimeout(10)
        reading = threading.Thread(target=drain, args=(client,))
        reading.start()
        try:
            for block in blocks(*rows):
                client.sendall(block)
        except OSError:
            pass  # it has heard enough
        assert field_of(relay, "RssAnon") - before < GROWTH_MAX, name
        try:
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        reading.join()
        client.close()
    assert world.relay.family()["relay"] == relay
    submit(world.relay.port, message())


def drain(client):
    try:
        while client.recv(65536):
            pass
    except OSError:
        pass
