"""The SMTP server, spoken to byte by byte."""

import re
import time

import pytest

from harness.smtp import Client, Closed, message, submit


@pytest.fixture
def server(world):
    """A relay that refuses a million ways; deliveries go to a Receiver."""
    def make(**options):
        for name, value in options.items():
            setattr(world.setup, name, value)
        return world.start()
    return make


def begin(client, recipients=1):
    client.ehlo()
    client.expect("MAIL FROM:<alice@example.com>", 250, "2.1.0")
    for number in range(recipients):
        client.expect("RCPT TO:<bob%d@example.net>" % number, 250, "2.1.5")


def nothing_arrived(world):
    """A further message arrives, and it is the only one."""
    submit(world.relay.port, message("the only one"))
    world.receiver.wait_deliveries(1)
    world.relay.stop()
    assert len(world.receiver.deliveries) == 1
    assert b"Subject: the only one" in world.receiver.deliveries[0].data


def test_greeting_and_extensions(server):
    world = server()
    with Client(world.relay.port) as client:
        assert client.greeting[0] == 220
        assert client.greeting[1][0].startswith("relay.example.com ")
        offered = client.ehlo()
        assert offered["SIZE"] == "52428800"
        for name in ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"):
            assert name in offered, offered
        for name in ("STARTTLS", "AUTH"):
            assert name not in offered, offered
        client.expect("HELO client.example.com", 250)
        client.expect("NOOP", 250)
        client.expect("RSET", 250)
        code, lines = client.say("VRFY bob")
        assert code in (252, 502), lines
        client.expect("STARTTLS", 502)
        code, lines = client.say("NONSENSE")
        assert code == 500, lines
        client.expect("QUIT", 221)
        client.expect_closed()


def test_order_of_commands(server):
    world = server()
    with Client(world.relay.port) as client:
        client.expect("MAIL FROM:<a@example.com>", 503)
        client.ehlo()
        client.expect("RCPT TO:<b@example.net>", 503)
        client.expect("DATA", 503)
        client.expect("MAIL FROM:<a@example.com>", 250)
        client.expect("MAIL FROM:<a@example.com>", 503)
        assert client.say("DATA")[0] in (503, 554)  # RFC 5321 3.3: either
        client.expect("RCPT TO:<b@example.net>", 250)
        client.expect("RSET", 250)
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("RCPT TO:<b@example.net>", 503)


# 553 is for a mailbox whose syntax is wrong, 501 for the command's.
BAD_LINES = (
    # what is wrong, the command, the replies
    ("no colon", "MAIL FROM <a@example.com>", (501,)),
    ("no brackets end", "MAIL FROM:<a@example.com", (501, 553)),
    ("two at signs", "MAIL FROM:<a@b@example.com>", (501, 553)),
    ("a space inside", "MAIL FROM:<a b@example.com>", (501, 553)),
    ("unknown parameter", "MAIL FROM:<a@example.com> COLOUR=blue", (555,)),
    ("size is no number", "MAIL FROM:<a@example.com> SIZE=big", (501, 555)),
    ("size is too big", "MAIL FROM:<a@example.com> SIZE=52428801", (552,)),
    ("body is unknown", "MAIL FROM:<a@example.com> BODY=9BIT", (501, 555)),
    ("control character", "MAIL FROM:<a\x01@example.com>", (501, 553)),
    ("address of 3000", "MAIL FROM:<%s@example.com>" % ("a" * 3000),
     (500, 501, 553)),
)


def test_bad_commands_are_refused_and_nothing_more(server):
    world = server()
    for what, line, codes in BAD_LINES:
        with Client(world.relay.port) as client:
            client.ehlo()
            answer = client.say(line)
            assert answer[0] in codes, (what, answer)
            client.expect("MAIL FROM:<a@example.com>", 250)
    for line in ("RCPT TO:<>", "RCPT TO:<b>", "RCPT TO:<b@>",
                 "RCPT TO:<@example.net>", "RCPT TO:<b@exa mple.net>",
                 "RCPT TO:b@example.net>", "RCPT TO:<b@-.example.net>"):
        with Client(world.relay.port) as client:
            client.ehlo()
            client.expect("MAIL FROM:<a@example.com>", 250)
            code, lines = client.say(line)
            assert 500 <= code < 600, (line, lines)
            client.expect("RCPT TO:<b@example.net>", 250)


def test_a_client_that_makes_nothing_but_errors(server):
    """Five, and it is sent away; a list with dead addresses is no error."""
    world = server()
    with Client(world.relay.port) as client:
        for _ in range(5):
            client.expect("NONSENSE", 500, "5.5.2")
        assert client.reply()[0] == 421
        client.expect_closed()
    with Client(world.relay.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")
        assert client.reply()[0] == 500
        client.expect_closed()
    with Client(world.relay.port) as client:
        begin(client)
        for _ in range(30):
            client.expect("RCPT TO:<dead@example..net>", 553, "5.1.3")
        assert client.data(message())[0] == 250


def test_a_message_before_its_turn(server):
    """It is not read as commands, whatever DATA was answered."""
    world = server()
    smuggled = b"DATA\r\nRSET\r\nMAIL FROM:<evil@example.com>\r\n"
    for recipients in (0, 1):
        with Client(world.relay.port) as client:
            begin(client, recipients)
            client.send(smuggled)
            assert client.reply()[0] == 503
            client.expect_closed()


def test_postmaster_needs_no_domain(server):
    world = server()
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<>", 250)
        client.expect("RCPT TO:<postmaster>", 250)


def test_pipelining(server):
    world = server()
    with Client(world.relay.port) as client:
        client.send(b"EHLO c.example.com\r\n")
        client.reply()
        client.send(b"MAIL FROM:<a@example.com>\r\n" +
                    b"".join(b"RCPT TO:<b%d@example.net>\r\n" % i
                             for i in range(50)) +
                    b"RCPT TO:<broken\r\nDATA\r\n")
        codes = [client.reply()[0] for _ in range(53)]
        assert codes[:51] + codes[52:] == [250] * 51 + [354]
        assert codes[51] in (501, 553)
        client.send(message() + b".\r\nMAIL FROM:<c@example.com>\r\nRSET\r\n"
                    b"RSET\r\nQUIT\r\n")
        assert [client.reply()[0] for _ in range(5)] == \
            [250, 250, 250, 250, 221]
        client.expect_closed()
    delivered = world.receiver.wait_deliveries(1)
    assert sum(len(one.recipients) for one in delivered) == 50


def test_commands_cut_anywhere(server):
    """The same bytes one at a time, and in twos and sevens."""
    world = server()
    dialogue = (b"MAIL FROM:<a@example.com>\r\n"
                b"RCPT TO:<b@example.net>\r\n")
    text = message("cut") + b"..stuffed\r\n.\r\nQUIT\r\n"
    for size in (1, 2, 7):
        with Client(world.relay.port) as client:
            for part, replies in ((b"EHLO c.example.com\r\n", 1),
                                  (dialogue, 2), (b"DATA\r\n", 1), (text, 2)):
                for start in range(0, len(part), size):
                    client.send(part[start:start + size])
                answers = [client.reply() for _ in range(replies)]
                assert all(code < 400 for code, _ in answers), answers
    world.receiver.wait_deliveries(3)
    assert all(one.data.endswith(b"\r\n.stuffed\r\n")
               for one in world.receiver.deliveries)


SMUGGLED = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<v@example.net>\r\n" \
           b"DATA\r\nFrom: evil@example.com\r\n\r\nsmuggled\r\n.\r\n"

ENDINGS = {
    "LF . LF": b"\n.\n",
    "LF . CRLF": b"\n.\r\n",
    "CRLF . LF": b"\r\n.\n",
    "CR . CR": b"\r.\r",
    "CR . CRLF": b"\r.\r\n",
    "CRLF . CR": b"\r\n.\r",
    "CRLF . CR CRLF": b"\r\n.\r\r\n",
    "NUL before the dot": b"\r\n\0.\r\n",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_smuggling(server, name):
    """Only CRLF.CRLF ends a message; anything near it is refused whole."""
    world = server()
    with Client(world.relay.port) as client:
        begin(client)
        client.expect("DATA", 354)
        client.send(message("carrier") + b"text" + ENDINGS[name] + SMUGGLED)
        code, lines = client.reply()
        assert code == 554, lines
        assert lines[-1].startswith("5.6.0 "), lines
        client.expect("RSET", 250)  # exactly one reply, and in step
    rejected = world.relay.wait("rejected")
    assert rejected["from"] == "alice@example.com"
    # By its id both sides can speak of it.
    assert rejected["reply"] == "554 " + lines[-1]
    assert re.search(r"\[id \w{26}\]$", lines[-1]), lines
    nothing_arrived(world)


@pytest.mark.parametrize("text", (b"a\nb", b"a\rb", b"a\0b"))
@pytest.mark.parametrize("where", ("header", "body"))
def test_bare_newlines_and_nul(server, text, where):
    world = server()
    with Client(world.relay.port) as client:
        begin(client)
        whole = message("carrier", body="x\r\n")
        whole = (whole.replace(b"carrier", text) if where == "header"
                 else whole + text + b"\r\n")
        code, lines = client.data(whole)
        assert (code, lines[-1][:5]) == (554, "5.6.0"), lines
        client.expect("NOOP", 250)


def test_bare_newlines_in_commands(server):
    world = server()
    for line in (b"NOOP\n", b"NO\rOP\r\n", b"NO\0OP\r\n"):
        with Client(world.relay.port) as client:
            client.ehlo()
            client.send(line + b"QUIT\r\n")
            code, lines = client.reply()
            assert code in (500, 501, 554), (line, lines)


def test_recipient_with_newline_in_it(server):
    """CR LF inside an address is the end of the line, nothing else."""
    world = server()
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.send(b"RCPT TO:<b@example.net\r\nDATA>\r\n")
        assert client.reply()[0] in (501, 553)
        assert client.reply()[0] in (500, 501)
        client.send(b'RCPT TO:<"b\r\nRCPT TO:<evil@example.net>\r\n"@x>\r\n')
        assert client.reply()[0] in (501, 553)
        assert client.reply()[0] == 250  # a command of its own, seen as such
        assert client.reply()[0] in (500, 501)
        client.send(b"RCPT TO:<b\n@example.net>\r\n")
        assert client.reply()[0] in (500, 501, 554)


def test_starttls_with_commands_behind_it(server, certificate):
    world = server(listener='tls = "starttls"\n tls_cert = "%s"\n'
                            ' tls_key = "%s"' % certificate)
    with Client(world.relay.port) as client:
        assert "STARTTLS" in client.ehlo()
        client.send(b"STARTTLS\r\nEHLO injected.example.com\r\n"
                    b"MAIL FROM:<evil@example.com>\r\n")
        client.expect_closed()


def test_starttls(server, certificate):
    world = server(listener='tls = "starttls"\n tls_cert = "%s"\n'
                            ' tls_key = "%s"' % certificate)
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<before@example.com>", 250)
        client.expect("RSET", 250)
        client.starttls()
        assert client.socket.version() in ("TLSv1.2", "TLSv1.3")
        # Nothing said before counts.
        client.expect("MAIL FROM:<a@example.com>", 503)
        assert "STARTTLS" not in client.ehlo()
        client.expect("STARTTLS", 503)
        assert client.transaction("alice@example.com", ["bob@example.net"],
                                  message())[0] == 250
    world.receiver.wait_deliveries(1)
    received = world.receiver.deliveries[0].data
    assert b"with ESMTPS" in received


def test_starttls_then_garbage(server, certificate):
    """A handshake that is none ends that connection and no other."""
    world = server(listener='tls = "starttls"\n tls_cert = "%s"\n'
                            ' tls_key = "%s"' % certificate)
    with Client(world.relay.port) as other:
        other.ehlo()
        with Client(world.relay.port) as client:
            client.ehlo()
            client.expect("STARTTLS", 220)
            client.send(b"EHLO this is not TLS\r\n" * 10)
            try:
                while client.socket.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        other.expect("NOOP", 250)


def test_allow_from(server):
    world = server(listener='allow_from = {"127.0.0.5/32"}')
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        code, lines = client.say("RCPT TO:<bob@example.net>")
        assert 500 <= code < 600, lines
        assert lines[-1].startswith("5.7."), lines
        code, lines = client.say("DATA")
        assert code in (503, 554), lines
    with Client(world.relay.port, source="127.0.0.5") as client:
        begin(client)
        assert client.data(message())[0] == 250
    rejected = world.relay.wait("rejected")
    assert rejected["to"] == "bob@example.net"
    assert rejected["client"].startswith("127.0.0.1")


def test_size(server):
    world = server(limits='max_message_size = "100K"')
    with Client(world.relay.port) as client:
        assert client.ehlo()["SIZE"] == "102400"
        client.expect("MAIL FROM:<a@example.com> SIZE=102401", 552, "5.3.4")
        client.expect("MAIL FROM:<a@example.com> SIZE=102400", 250)
        client.expect("RCPT TO:<b@example.net>", 250)
        code, lines = client.data(message("too long", "x" * 76 + "\r\n") +
                                  b"0123456789abcdef\r\n" * 6000)
        assert (code, lines[-1][:5]) == (552, "5.3.4"), lines
        client.expect("MAIL FROM:<a@example.com>", 250)  # still in step
        client.expect("RSET", 250)
    nothing_arrived(world)


def test_header_of_a_megabyte(server):
    world = server()
    line = b"X-Long: " + b"y" * (1 << 20) + b"\r\n"
    with Client(world.relay.port) as client:
        begin(client)
        code, lines = client.data(line + message())
        assert (code, lines[-1][:5]) == (552, "5.3.4"), lines
        client.expect("NOOP", 250)
    with Client(world.relay.port) as client:  # many fields, the same sum
        begin(client)
        code, lines = client.data(b"X-Field: 0123456789abcdef\r\n" * 40000
                                  + message())
        assert (code, lines[-1][:5]) == (552, "5.3.4"), lines
    nothing_arrived(world)


def test_too_many_recipients(server):
    world = server(limits="max_recipients = 5")
    with Client(world.relay.port) as client:
        begin(client, recipients=5)
        client.expect("RCPT TO:<sixth@example.net>", 452, "4.5.3")
        assert client.data(message())[0] == 250
    delivered = world.receiver.wait_deliveries(1)
    assert sorted(delivered[0].recipients) == \
        ["bob%d@example.net" % i for i in range(5)]


def test_too_many_hops(server):
    world = server(limits="max_hops = 10")
    hop = b"Received: from a by b; Sat, 21 Nov 2026 20:00:00 +0000\r\n"
    with Client(world.relay.port) as client:
        begin(client)
        assert client.data(hop * 10 + message("ten hops"))[0] == 250
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        code, lines = client.data(hop * 11 + message("eleven hops"))
        assert (code, lines[-1][:5]) == (554, "5.4.6"), lines
    world.receiver.wait_deliveries(1)


def test_line_of_exactly_the_limit(server):
    """998 octets and CRLF pass; a command line may have 512 at least."""
    world = server()
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("NOOP " + "x" * 505, 250)
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        assert client.data(message(body="y" * 998 + "\r\n"))[0] == 250
    world.receiver.wait_deliveries(1)
    assert b"y" * 998 in world.receiver.deliveries[0].data


def test_endless_line_does_not_grow(server):
    """A command line without end is refused; the server stays healthy."""
    world = server()
    relay_pid = world.relay.family()["relay"]
    with Client(world.relay.port) as client:
        client.ehlo()
        try:
            for _ in range(200):
                client.send(b"x" * 65536)
        except OSError:
            pass
    with Client(world.relay.port) as client:
        client.expect("NOOP", 250)
    assert world.relay.family()["relay"] == relay_pid


def test_eight_bit_header(server):
    world = server()
    submit(world.relay.port, message("Grüße"))
    submit(world.relay.port, message("latin").replace(b"latin", b"Gr\xfc\xdfe"))
    world.receiver.wait_deliveries(2)
    data = b"".join(one.data for one in world.receiver.deliveries)
    assert "Grüße".encode() in data and b"Gr\xfc\xdfe" in data


def test_a_client_that_vanishes(server):
    """In the middle of anything: nothing is kept, nothing is stuck."""
    world = server()
    greeting = b"EHLO c.example.com\r\n"
    whole = (greeting + b"MAIL FROM:<a@example.com>\r\n"
             b"RCPT TO:<b@example.net>\r\nDATA\r\n" + message() + b".\r")
    for cut in (0, 3, 20, 30, 60, 80, 90, 120, len(whole) - 3, len(whole)):
        client = Client(world.relay.port)
        client.send(whole[:min(cut, len(greeting))])
        if cut >= len(greeting):
            client.reply()
            client.send(whole[len(greeting):cut])
        client.close()
    nothing_arrived(world)


def test_many_sessions_at_once(server):
    world = server()
    clients = [Client(world.relay.port) for _ in range(200)]
    for client in clients:
        client.send(b"EHLO c.example.com\r\n")
    for client in clients:
        assert client.reply()[0] == 250
    for number, client in enumerate(clients[:50]):
        client.send(b"MAIL FROM:<alice@example.com>\r\n"
                    b"RCPT TO:<b%d@example.net>\r\nDATA\r\n" % number)
    for client in clients[:50]:
        assert [client.reply()[0] for _ in range(3)] == [250, 250, 354]
        client.send(message() + b".\r\n")
    for client in clients[:50]:
        assert client.reply()[0] == 250
    for client in clients:
        client.close()
    world.receiver.wait_deliveries(50, seconds=40)


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as file:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", file.read(),
                             re.M).group(1))


def test_slow_reader(server):
    """Replies to a client that does not read them are not kept for ever."""
    world = server()
    pid = world.relay.family()["relay"]
    before = resident_kib(pid)
    with Client(world.relay.port) as client:
        client.ehlo()
        client.socket.setblocking(False)
        sent, deadline = 0, time.monotonic() + 3
        while time.monotonic() < deadline and sent < 64 << 20:
            try:
                sent += client.socket.send(b"RSET\r\n" * 10000)
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                break
        assert sent > 100000
        # Unread, the replies to what was sent would be more than twice this.
        assert resident_kib(pid) - before < 64 << 10
    with Client(world.relay.port) as client:
        client.expect("NOOP", 250)
