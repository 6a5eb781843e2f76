"""What old devices get wrong, where a listener forgives it."""

import re
import socket
import ssl

from harness import judge
from harness.ports import free_port
from harness.smtp import Client, message


def old_client(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


def handshake(port, version):
    """The version spoken, or None where the server does not want to."""
    with Client(port) as client:
        client.ehlo()
        client.expect("STARTTLS", 220)
        try:
            with old_client(version).wrap_socket(client.socket) as secured:
                return secured.version()
        except (ssl.SSLError, ConnectionError):
            return None


def test_old_tls_at_one_listener(world, certificate):
    """Its own matter: the listener beside it stays strict."""
    other = free_port()
    tls = 'tls = "starttls"\n tls_cert = "%s"\n tls_key = "%s"\n' % certificate
    world.setup.listener = tls
    world.setup.extra = ('listener "old" {\n address = "127.0.0.1:%d"\n%s'
                         'tls_min = "1.0"\n}' % (other, tls))
    world.start()
    assert handshake(world.relay.port, ssl.TLSVersion.TLSv1) is None
    assert handshake(world.relay.port, ssl.TLSVersion.TLSv1_1) is None
    assert handshake(world.relay.port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert world.relay.named("legacy") == []
    said = world.relay.named("lost", listener="apps", state="SECURING")
    assert len(said) == 2 and "protocol" in said[0]["reason"], said
    assert handshake(other, ssl.TLSVersion.TLSv1) == "TLSv1"
    assert world.relay.wait("legacy")["listener"] == "old"
    assert handshake(other, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


def test_any_name_or_none(world):
    """And each is written so that the trace field stays one. None has to be
    forgiven: the reply says how."""
    strict = free_port()
    world.setup.listener = "lenient = true"
    world.setup.extra = 'listener "strict" { address = "127.0.0.1:%d" }' % strict
    world.start()
    greetings = ("HELO", "EHLO", "EHLO two words", "HELO B\xfcro-PC",
                 "EHLO \"(;\" <x>")
    for greeting in greetings:
        with Client(strict) as client:
            if len(greeting) == 4:
                assert "lenient" in " ".join(client.expect(greeting, 501))
            else:
                client.expect(greeting, 250)
        with Client(world.relay.port) as client:
            client.expect(greeting, 250)
            for _ in range(2):
                code, words = client.transaction(
                    "alice@example.com", ["bob@example.net"], message())
                assert code == 250, words
    for one in world.receiver.wait_deliveries(2 * len(greetings)):
        verdicts = judge.dkimpy(one.data, judge.lookup_txt(world.names.port))
        assert verdicts and all(each.passed for each in verdicts), verdicts
    traces = {re.search(rb"^Received: from (\S+) \(", one.data, re.M).group(1)
              for one in world.receiver.deliveries}
    assert traces == {b"unknown", b"two?words", b"B??ro-PC", b"??????x?"}
    said = world.relay.named("legacy")
    assert [event["what"] for event in said] == \
        ["EHLO or HELO without a host name"] * 2
    assert {event["listener"] for event in said} == {"apps"}


def test_lines_that_end_in_lf(world):
    """All of a session, and the message verifies where it arrives."""
    world.setup.listener = "lenient = true"
    world.start()
    text = message().replace(b"\r\n", b"\n") + b".dot\n\nlast\n"
    stuffed = text.replace(b"\n.", b"\n..")
    with socket.create_connection(("127.0.0.1", world.relay.port),
                                  timeout=120) as device:
        lines = device.makefile("rb")
        assert lines.readline().startswith(b"220")
        device.sendall(b"HELO scanner\nMAIL FROM:<alice@example.com>\n"
                       b"RCPT TO:<bob@example.net>\nDATA\n")
        for code in (b"250", b"250", b"250", b"354"):
            assert lines.readline().startswith(code)
        device.sendall(stuffed + b".\nQUIT\n")
        assert lines.readline().startswith(b"250")
        assert lines.readline().startswith(b"221")
    world.receiver.wait_deliveries(1)
    received = world.receiver.deliveries[0].data
    assert received.endswith(text.replace(b"\n", b"\r\n"))
    verdicts = judge.dkimpy(received, judge.lookup_txt(world.names.port))
    assert verdicts and all(each.passed for each in verdicts), verdicts
    said = {event["what"] for event in world.relay.named("legacy")}
    assert said == {"lines that end in LF", "commands before their turn"}
