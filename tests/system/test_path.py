"""The whole path: real DNS, a real receiving server, other verifiers."""

import dns.message
import dns.query

from harness import judge
from harness.ports import free_port
from harness.postfix import as_sent, parse
from harness.smtp import message, submit

BOTH = [("example.com", "rsa", "rsa-sha256", True),
        ("example.com", "ed", "ed25519-sha256", True)]


def test_one_message_all_the_way(setup, name_server, recursor, postfix, relay,
                                 keys):
    """NSD behind Unbound, Postfix with STARTTLS, three verifiers."""
    names = name_server({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
    resolver = recursor(names)
    configured = setup(resolver.resolver, mx_port=free_port())
    receiving = postfix(configured.mx_port, addresses=("127.0.0.2",))
    running = relay(configured)

    sent = message(body="Grüße,\r\n.\r\n..dots\r\n\r\n\r\n",
                   extra="MIME-Version: 1.0\r\n"
                   "Content-Type: text/plain; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n")
    submit(running.port, sent)
    raw, = receiving.wait_messages(1)
    arrived = as_sent(raw)

    dkimpy = judge.dkimpy(arrived, judge.lookup_txt(names.port))
    assert sorted(dkimpy) == sorted(BOTH)
    assert sorted(judge.opendkim([arrived], keys.records)[0]) == sorted(BOTH)
    assert judge.mail_dkim([arrived], names.port) == [BOTH[:1]]

    # Everything that was sent is there, unchanged, below what was added.
    assert arrived.endswith(sent)
    received = parse(raw).get_all("Received")
    assert len(received) == 2
    assert "relay.example.com" in received[1]
    assert "using TLSv1." in received[0]  # Postfix's word for our TLS

    accepted = running.wait("accepted")
    assert accepted["from"] == "alice@example.com"
    assert accepted["recipients"] == ["bob@example.net"]
    assert accepted["listener"] == "apps"
    assert [(s["domain"], s["selector"], s["algorithm"])
            for s in accepted["signatures"]] == [row[:3] for row in BOTH]
    delivered = running.wait("delivered")
    assert delivered["id"] == accepted["id"]
    assert delivered["to"] == "bob@example.net"
    assert delivered["domain"] == "example.net"
    assert delivered["mx"].rstrip(".") == "mx.example.net"
    assert delivered["address"].startswith("127.0.0.2")
    assert delivered["tls"]
    assert delivered["reply"].startswith("250")
    assert 0 <= delivered["delay"] < 20


def test_several_recipients_and_domains(setup, name_server, postfix, relay):
    """One transaction for each destination, all its recipients in it."""
    names = name_server({
        "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
        "example.edu": "@ IN MX 10 mx.example.net."})
    configured = setup(names.resolver, mx_port=free_port())
    receiving = postfix(configured.mx_port, addresses=("127.0.0.2",))
    running = relay(configured)
    to = ["a@example.net", "b@example.net", "c@example.edu"]
    submit(running.port, message(), recipients=to)
    receiving.wait_messages(3)
    log = receiving.maillog()
    assert log.count("nrcpt=2 ") == 1, log
    assert log.count("nrcpt=1 ") == 1, log
    running.wait("delivered", count=3)
    assert sorted(e["to"] for e in running.named("delivered")) == to


def test_a_message_in_all_sizes(setup, name_server, postfix, relay, keys):
    """Across the bounds where a body moves from memory to records to files."""
    names = name_server({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
    configured = setup(names.resolver, mx_port=free_port())
    receiving = postfix(configured.mx_port, addresses=("127.0.0.2",))
    running = relay(configured)
    line = "0123456789abcdef" * 4 + "\r\n"
    sizes = [0, 1, 100, 16384, 65536, 262144, 262145, 1048576, 5 << 20]
    for number, size in enumerate(sizes):
        body = (line * (size // len(line) + 1))[:size]
        submit(running.port, message("size %d" % number, body))
    arrived = [as_sent(raw) for raw in
               receiving.wait_messages(len(sizes), seconds=60)]
    bodies = sorted(len(one.split(b"\r\n\r\n", 1)[1]) for one in arrived)
    # A body that does not end in CRLF gets one: SMTP has only lines.
    for size, length in zip(sizes, bodies):
        assert size <= length <= size + 2, (size, length)
    for one in arrived:
        for verdict in judge.dkimpy(one, judge.lookup_in(keys.records)):
            assert verdict.passed, one[:200]


def test_the_name_server_is_real(name_server):
    """The harness itself: NSD says what the zone says."""
    names = name_server({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
    reply = dns.query.udp(dns.message.make_query("example.net", "MX"),
                          "127.0.0.1", port=names.port, timeout=120)
    assert "10 mx.example.net." in reply.answer[0].to_text()
