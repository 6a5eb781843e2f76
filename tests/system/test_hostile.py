"""Clients that ask for too much, or speak out of turn: what each is told, and
that the others go on."""

import json
import socket
import time

import pytest

from harness import signet
from harness.process import wait_for
from harness.smtp import Client, message, submit

STRANGER = "127.0.0.7"
OTHER = "127.0.0.8"


@pytest.fixture
def strict(world):
    world.setup.listener = 'allow_from = {"127.0.0.1"}'
    world.setup.limits = """
        max_message_size = "1M"
        max_header_size = "4K"
        max_recipients = 2
        max_messages_per_session = 3
        max_sessions_per_address = 2
        max_session_rate = 4
    """
    return world.start()


def greeted(world, **options):
    client = Client(world.relay.port, **options)
    client.ehlo()
    return client


def test_more_clients_than_there_are_places(world):
    """Each is told, and the log is not filled."""
    world.setup.limits = "max_sessions = 1"
    world.start()
    with greeted(world) as first:
        for _ in range(5):
            other = Client(world.relay.port, greet=False)
            Client.check(other.reply(), 421, "4.7.0", "one too many")
            other.expect_closed()
        first.expect("NOOP", 250)
    assert "max_sessions" in world.relay.wait("refused")["reason"]
    world.relay.stop()
    assert len(world.relay.named("refused")) == 1


def test_strangers_and_those_who_may_send(world):
    """Neither keep the others out while there are places; by a front strangers
    get no more of them either, and who goes leaves his to the next."""
    world.setup.listener = ('allow_from = {"127.0.0.1"}\n'
                            'xclient_from = {"127.0.0.1"}')
    world.setup.limits = "max_sessions = 4"
    world.start()
    idle = [greeted(world) for _ in range(3)]
    greeted(world, source=STRANGER).close()
    for client in idle:
        client.close()
    wait_for(lambda: sessions(world) == 0, 10, "the places")

    strangers = [greeted(world) for _ in range(3)]
    for client in strangers:
        client.expect("XCLIENT ADDR=192.0.2.1", 220)
    refused = Client(world.relay.port, source=STRANGER, greet=False)
    Client.check(refused.reply(), 421, "4.7.0", "one stranger too many")
    refused.expect_closed()
    with greeted(world) as client:
        client.expect("XCLIENT ADDR=192.0.2.2", 421, "4.7.0")
        client.expect_closed()
    world.relay.wait("lost", client="192.0.2.2", reason="limits.max_sessions")
    wait_for(lambda: sessions(world) == 3, 10, "the place")
    greeted(world).close()
    strangers.pop().close()
    wait_for(lambda: sessions(world) == 2, 10, "the places")
    greeted(world, source=STRANGER).close()


def test_limits(strict):
    """Each beside somebody who has a transaction open all the while."""
    world = strict
    steady = greeted(world)
    steady.expect("MAIL FROM:<alice@example.com>", 250)
    steady.expect("RCPT TO:<bob@example.net>", 250)

    # Connections of one address at once, and in a minute.
    strangers = [greeted(world, source=STRANGER) for _ in range(2)]
    too_many = Client(world.relay.port, source=STRANGER, greet=False)
    Client.check(too_many.reply(), 421, "4.7.0", "one too many")
    too_many.expect_closed()
    world.relay.wait("lost", reason="limits.max_sessions_per_address")
    for _ in range(3):
        strangers.pop().close()
        wait_for(lambda: sessions(world) <= 2, 10, "the place")
        client = Client(world.relay.port, source=STRANGER, greet=False)
        code, lines = client.reply()
        if code == 421:
            break
        strangers.insert(0, client)
    assert (code, lines[0].startswith("4.7.0 Too many connections from your "
                                      "address in a minute")) == (421, True)
    client.expect_closed()
    world.relay.wait("lost", reason="limits.max_session_rate")
    greeted(world, source=OTHER).close()

    # Recipients, the length of a line, the header, messages.
    with greeted(world) as client:
        client.expect("MAIL FROM:<alice@example.com>", 250)
        for name, code in (("a", 250), ("b", 250), ("c", 452), ("d", 452)):
            lines = client.expect("RCPT TO:<%s@example.net>" % name, code)
        assert lines[0].startswith("4.5.3 Too many recipients")
        code, lines = client.data(message("two of four"))
        assert code == 250, lines
        client.expect("NOOP " + "x" * 4092, 500, "5.5.2")
        client.expect("NOOP", 250)
        code, lines = client.transaction(
            "alice@example.com", ["bob@example.net"],
            message(extra="X: %s\r\n" % ("x" * 900) * 5))
        assert (code, lines[0].startswith("5.3.4 Header size")) == (552, True)
        code, lines = client.transaction(
            "alice@example.com", ["bob@example.net"], message("third"))
        assert code == 250, lines
        client.expect("MAIL FROM:<alice@example.com>", 421, "4.7.0")
        client.expect_closed()

    code, lines = steady.data(message("steady"))
    assert code == 250, lines
    world.receiver.wait_deliveries(3)


def sessions(world):
    return json.loads(signet.run("status", "--json", config=world.setup.path,
                                 check=0).stdout)["sessions"]


MAIL = "MAIL FROM:<alice@example.com>"
RCPT = "RCPT TO:<bob@example.net>"
# what is said, the last reply, whether that is the end
SAYINGS = {
    "a sender of any size": ([MAIL + " SIZE=18446744073709551615"],
                             552, "5.3.4", False),
    "a size beyond numbers": ([MAIL + " SIZE=" + "9" * 21],
                              501, "5.5.4", False),
    "a size below nothing": ([MAIL + " SIZE=-1"], 501, "5.5.4", False),
    "a chunk without an end": ([MAIL, RCPT, "BDAT 18446744073709551615"],
                               552, "5.3.4", True),
    "a chunk before its turn": (["BDAT 18446744073709551615 LAST"],
                                552, "5.3.4", True),
    "a chunk beyond numbers": ([MAIL, RCPT, "BDAT 18446744073709551616"],
                               501, "5.5.4", True),
    "the last chunk of nothing": (["BDAT 0 LAST"], 503, "5.5.1", False),
    "the last chunk for nobody": ([MAIL, "BDAT 0 LAST"], 503, "5.5.1", False),
    "TLS that is not offered": (["STARTTLS"], 502, "5.5.1", False),
    "HTTP": (["POST / HTTP/1.1"], 500, "5.5.2", True),
    "another client meanwhile": ([MAIL, RCPT, "XCLIENT ADDR=192.0.2.1"],
                                 503, "5.5.1", False),
    "a command within": ([MAIL, MAIL], 503, "5.5.1", False),
    "data for nobody": ([MAIL, "DATA"], 554, "5.5.1", False),
}


@pytest.fixture
def plain(world):
    world.setup.limits = 'max_message_size = "1M"'
    return world.start()


def test_out_of_turn(plain):
    world = plain
    for name, (words, code, status, is_the_end) in SAYINGS.items():
        with greeted(world) as client:
            for word in words[:-1]:
                client.expect(word, 250)
            Client.check(client.say(words[-1]), code, status, name)
            if is_the_end:
                client.expect_closed()
            else:
                client.expect("RSET", 250)
    submit(world.relay.port, message())


def test_a_message_without_an_end(plain):
    """It is refused, and when as much has come again its sender is sent away."""
    world = plain
    line = b"x" * 998 + b"\r\n"
    with greeted(world) as client:
        client.expect(MAIL, 250)
        client.expect(RCPT, 250)
        client.expect("DATA", 354)
        client.send(line * 2500)
        Client.check(client.reply(), 552, "5.3.4", "twice too much")
        client.expect_closed()
    world.relay.wait("rejected", to="bob@example.net")
    # What is merely too large is heard to its end, and the next one taken.
    with greeted(world) as client:
        for begin, end in (("DATA", b".\r\n"), ("BDAT 1500000 LAST", b"")):
            client.expect(MAIL, 250)
            client.expect(RCPT, 250)
            client.send(begin.encode() + b"\r\n")
            if end:
                assert client.reply()[0] == 354
            client.send(line * 1500 + end)
            Client.check(client.reply(), 552, "5.3.4", begin)
        code, lines = client.transaction("alice@example.com",
                                         ["bob@example.net"], message())
        assert code == 250, lines
    submit(world.relay.port, message())


def test_a_flood_of_recipients(plain):
    """Whoever may relay is not sent away for that, and gets no more memory."""
    world = plain
    with greeted(world) as client:
        client.expect(MAIL, 250)
        for i in range(20):
            client.send("".join("RCPT TO:<%d.%d@example.net>\r\n" % (i, j)
                                for j in range(200)).encode())
            answers = [client.reply()[0] for _ in range(200)]
        assert set(answers) == {452}, set(answers)
        code, lines = client.data(message())
        assert code == 250, lines
    world.receiver.wait_deliveries(1)


def test_tls_twice(world, certificate):
    cert, key = certificate
    world.setup.listener = ('tls = "starttls" tls_cert = "%s" tls_key = "%s"' %
                            (cert, key))
    world.start()
    with greeted(world) as client:
        client.starttls()
        assert "STARTTLS" not in client.ehlo()
        client.expect("STARTTLS", 503, "5.5.1")
        code, lines = client.transaction("alice@example.com",
                                         ["bob@example.net"], message())
        assert code == 250, lines


def test_a_proxys_header_in_octets(world):
    world.setup.listener = ('proxy_from = {"127.0.0.1"}\n'
                            'allow_from = {"192.0.2.0/24"}')
    world.start()
    with socket.create_connection(("127.0.0.1", world.relay.port), 10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"PROXY TCP4 192.0.2.9 127.0.0.1 40000 25\r\nEHLO x\r\n":
            raw.sendall(bytes([octet]))
            time.sleep(0.001)
        heard = b""
        while b"LIMITS" not in heard:
            heard += raw.recv(4096)
        raw.sendall((MAIL + "\r\n" + RCPT + "\r\nQUIT\r\n").encode())
        while more := raw.recv(4096):
            heard += more
    assert b"250 2.1.5" in heard
