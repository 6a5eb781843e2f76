"""Clients that take their time: an octet now and then buys none, in any phase;
whoever is not slow is not disturbed."""

import contextlib
import socket
import ssl
import threading
import time

import pytest

from harness.ports import free_port
from harness.process import wait_for
from harness.smtp import Client, message, submit

TIMEOUT_S = 2
# What the slowest of them may take: the bound, and what a loaded machine adds.
LATE_S = 58
HELO = b"EHLO client.example.com\r\n"
MAIL = (b"MAIL FROM:<alice@example.com>\r\n"
        b"RCPT TO:<bob@example.net>\r\n")
# phase: (listener, said at once, then octet by octet, state in the event)
PHASES = {
    "before EHLO": ("plain", b"", b"E", "START"),
    "in a command": ("plain", HELO, b"MAIL FROM:<alice", "READY"),
    "in a line that is too long": ("plain", HELO + b"x" * 5000, b"x",
                                   "READY"),
    "between commands": ("plain", HELO + MAIL, b"", "RCPT"),
    "in DATA": ("plain", HELO + MAIL + b"DATA\r\n", b"x", "DATA"),
    "in a chunk": ("plain", HELO + MAIL + b"BDAT 1000000\r\n", b"x",
                   "CHUNK"),
    # In a command or behind it, before its octet: where it is at the time.
    "in chunks of one octet": ("plain", HELO + MAIL, b"BDAT 1\r\nx",
                               ("BDAT", "CHUNK")),
    "in AUTH": ("plain", HELO + b"AUTH LOGIN\r\n", b"YWxp", "AUTH"),
    "behind STARTTLS": ("starttls", HELO + b"STARTTLS\r\n", None,
                        "SECURING"),
    "in the handshake": ("implicit", b"", None, "SECURING"),
    "before a proxy's header": ("proxy", b"", b"PROXY TCP4 192.0.2.1 192",
                                "PROXY"),
}
# There is nobody to talk to.
UNHEARD = {"SECURING", "PROXY"}

LISTENERS = """
listener "starttls" {
    address = "127.0.0.1:%(starttls)d"
    tls = "starttls" tls_cert = "%(cert)s" tls_key = "%(key)s"
}
listener "implicit" {
    address = "127.0.0.1:%(implicit)d"
    tls = "implicit" tls_cert = "%(cert)s" tls_key = "%(key)s"
}
listener "proxy" { address = "127.0.0.1:%(proxy)d" proxy_from = {"127.0.0.1"} }
"""


def client_hello():
    """Of a handshake that will never end."""
    sent, unused = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(unused, sent, server_hostname="x").do_handshake()
    return sent.read()


class Slow(threading.Thread):
    """Says its words, then an octet every tenth of a second."""

    def __init__(self, port, words, drip):
        super().__init__(daemon=True)
        self.words, self.drip = words, client_hello() if drip is None else drip
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.heard = b""
        self.ended_s = None
        self.began = time.monotonic()
        self.start()

    def run(self):
        listening = threading.Thread(target=self.listen, daemon=True)
        listening.start()
        try:
            words = self.words
            if words.startswith(HELO):
                self.socket.sendall(HELO)
                self.wait_for(b"\n250 ", listening)
                words = words[len(HELO):]
            self.socket.sendall(words)
            if words.endswith(b"DATA\r\n"):
                self.wait_for(b"354", listening)
            at = 0
            while listening.is_alive():
                if self.drip:
                    self.socket.sendall(self.drip[at:at + 1])
                    at = (at + 1) % len(self.drip)
                listening.join(0.1)
        except OSError:
            pass
        listening.join(60)

    def wait_for(self, reply, listening):
        """What comes before it would come too early."""
        while reply not in self.heard and listening.is_alive():
            time.sleep(0.01)

    def listen(self):
        try:
            while more := self.socket.recv(65536):
                self.heard += more
        except OSError:
            pass
        self.ended_s = time.monotonic() - self.began
        self.socket.close()


@pytest.fixture
def ports(world, certificate, directory):
    """Listeners, by what they ask for first."""
    cert, key = certificate
    found = {name: free_port() for name in ("starttls", "implicit", "proxy")}
    world.setup.limits = 'command_timeout = "%ds"' % TIMEOUT_S
    with open(directory + "/users", "w") as file:
        file.write("alice:$6$abcdefgh$x\n")
    world.setup.listener = ('auth = "optional" auth_without_tls = true\n'
                            'auth_file = "%s/users"' % directory)
    world.setup.extra = LISTENERS % dict(found, cert=cert, key=key)
    world.start()
    found["plain"] = world.relay.port
    return found


def test_an_octet_now_and_then(world, ports):
    """All at once, and somebody who is not slow between them."""
    clients = {name: Slow(ports[listener], words, drip)
               for name, (listener, words, drip, _) in PHASES.items()}
    for _ in range(3):
        submit(world.relay.port, message())
    for name, client in clients.items():
        client.join(TIMEOUT_S + LATE_S)
        assert client.ended_s is not None, "%s: it is still there" % name
        assert client.ended_s > TIMEOUT_S / 2, (name, client.heard)
        state = PHASES[name][3]
        last = client.heard.split(b"\r\n")[-2] if client.heard else b""
        if state in UNHEARD:
            assert not last.startswith(b"421"), (name, client.heard)
        else:
            assert last.startswith(b"421 4.4.2 "), (name, client.heard)
        states = state if isinstance(state, tuple) else (state,)
        wait_for(lambda: any(world.relay.named(
            "lost", state=one, reason="timed out") for one in states), 10,
            lambda: "%s: %s" % (name, world.relay.tail()))
    world.receiver.wait_deliveries(3)


def test_who_reads_no_replies(world, ports):
    """It costs a few KiB and one timer, and ends when its time is up."""
    deaf = socket.create_connection(("127.0.0.1", ports["plain"]), 30)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.sendall(HELO)
    greeting = b""
    while b"\n250 " not in greeting:
        greeting += deaf.recv(4096)
    deaf.settimeout(1)
    sent = 0
    with contextlib.suppress(OSError):
        while True:
            sent += deaf.send(b"RSET\r\n" * 10000)
    # It was stopped, not cut off; and it is cut off in the end.
    assert sent > 100000
    world.relay.wait("lost", state="READY", reason="timed out",
                     seconds=TIMEOUT_S + LATE_S)
    deaf.close()
    submit(world.relay.port, message())


def test_a_steady_trickle_is_taken(world, ports):
    """Slower than the bound for one command in all, but it goes on."""
    with Client(ports["plain"]) as client:
        client.ehlo()
        client.send(MAIL)
        client.reply()
        client.reply()
        client.expect("DATA", 354)
        data = message(body=("x" * 70 + "\r\n") * 60)
        began = time.monotonic()
        while data:
            client.send(data[:200])
            data = data[200:]
            time.sleep(0.12)
        assert time.monotonic() - began > TIMEOUT_S
        client.send(b".\r\n")
        assert client.reply()[0] == 250
    wait_for(lambda: world.receiver.deliveries, 10, "it to arrive")
