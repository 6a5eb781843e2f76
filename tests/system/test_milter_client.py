"""The tests' own milter client, tried on a filter that others wrote: what it
says OpenDKIM does must be what verifies."""

import os

import pytest

from harness import judge, smtp
from harness.messages import MESSAGES
from harness.milter_client import LEADSPC, PROTOCOL_ALL, Milter, fields_of
from harness.opendkim import OpenDkim, private_copy

CANONS = ("simple/simple", "simple/relaxed", "relaxed/simple",
          "relaxed/relaxed")


@pytest.fixture
def opendkim(directory, keys, started):
    def make(canon="relaxed/relaxed", socket=None, **options):
        place = os.path.join(directory, canon.replace("/", "-"))
        os.makedirs(place)
        os.chmod(place, 0o755)
        server = OpenDkim(place, dict({
            "Mode": "sv", "Domain": "example.com", "Selector": "rsa",
            "KeyFile": private_copy(keys.path("example.com", "rsa"), place),
            "Canonicalization": canon}, **options), socket,
            records=keys.records)
        started(server)
        return server
    return make


@pytest.mark.parametrize("canon", CANONS)
def test_what_opendkim_signs_verifies(opendkim, keys, canon):
    """Through LEADSPC and without it, with the body cut anywhere."""
    server = opendkim(canon)
    lookup = judge.lookup_in(keys.records)
    for name in ("plain", "empty body", "folded subject", "lines of dots",
                 "8-bit body", "trailing blank lines", "mime"):
        for protocol in (PROTOCOL_ALL, PROTOCOL_ALL & ~LEADSPC):
            for chunks in ([65535], [1], [3, 1, 100]):
                with Milter(server.socket) as milter:
                    milter.negotiate(protocol=protocol)
                    result = milter.message(MESSAGES[name], chunks=chunks)
                    milter.quit()
                assert result.verdict in ("continue", "accept"), result
                assert [one[0] for one in result.changes
                        if one[2] == b"DKIM-Signature"] == ["insert"], result
                verdicts = judge.dkimpy(result.data, lookup)
                assert [one.passed for one in verdicts] == [True], \
                    (name, hex(protocol), chunks, verdicts)


def test_several_messages_on_one_connection(opendkim, keys, directory):
    """On a unix socket; one is aborted between them."""
    server = opendkim(socket="local:" + os.path.join(
        directory, "relaxed-relaxed", "opendkim", "socket"))
    lookup = judge.lookup_in(keys.records)
    with Milter(server.socket.replace("local:", "unix:")) as milter:
        for turn in range(3):
            result = milter.message(smtp.message(), begin=turn == 0)
            assert judge.dkimpy(result.data, lookup)[0].passed
            milter.mail()
            milter.abort()
        milter.quit_new()
        assert milter.message(smtp.message()).changes


def test_a_verifier_sees_our_bytes(opendkim, keys):
    """What one instance signed, told to it by a host that is not internal:
    the client's address and the bytes of the header arrive."""
    server = opendkim("simple/simple")
    stranger = {"address": "192.0.2.1", "host": "mx.example.net"}
    with Milter(server.socket) as milter:
        signed = milter.message(MESSAGES["folded subject"]).data
    with Milter(server.socket) as milter:
        result = milter.message(signed, client=stranger)
    assert b"dkim=pass" in result.changes[0][3], result
    with Milter(server.socket) as milter:
        result = milter.message(signed.replace(b"three", b"four"),
                                client=stranger)
    assert b"dkim=fail" in result.changes[0][3], result


def test_changes_are_made_as_an_mta_makes_them():
    data = b"A: 1\r\nB:  2\r\n\tx\r\nA: 3\r\n\r\nbody\r\n"
    fields, body = fields_of(data)
    assert fields == [(b"A", b" 1"), (b"B", b"  2\r\n\tx"), (b"A", b" 3")]
    milter = Milter.__new__(Milter)
    milter.options = type("o", (), {"protocol": LEADSPC})
    changed = milter.changed(fields, body, [
        ("insert", 0, b"T", b" top"), ("insert", 3, b"I", b" in"),
        ("change", 2, b"a", b""), ("change", 1, b"B", b" n\n ew"),
        ("change", 9, b"Z", b" z"), ("add", b"E", b" end"),
        ("body", b"b1"), ("body", b"b2")])
    assert changed == (b"T: top\r\nA: 1\r\nI: in\r\nB: n\r\n ew\r\nZ: z\r\n"
                       b"E: end\r\n\r\nb1b2")
