"""`signet milter`, asked byte for byte: what it signs, and what it says."""

import os
import shutil
import tempfile

import pytest

from harness import judge
from harness.milter import MilterSetup, SignetMilter
from harness.milter_client import MACROS, Milter

STRANGER = {"host": "mx.example.org", "address": "192.0.2.7"}
PLAIN = (b"From: Alice <alice@example.com>\r\nTo: bob@example.net\r\n"
         b"Subject: a\r\n folded\r\n\tone\r\n"
         b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
         b"Message-ID: <1@example.com>\r\n\r\nHello.\r\n")


class World:
    def __init__(self, keys, options="", **more):
        self.directory = tempfile.mkdtemp(prefix="signet-test.")
        self.setup = MilterSetup(self.directory, keys, options)
        for name, value in more.items():
            setattr(self.setup, name, value)
        self.milter = SignetMilter(self.setup, start=False)
        self.lookup = judge.lookup_in(keys.records)

    def client(self):
        return Milter(self.setup.socket)

    def message(self, data=PLAIN, **options):
        with self.client() as client:
            return client.message(data, **options)

    def passes(self, result, selectors=("rsa", "ed")):
        """Every signature verifies, in this order."""
        assert result.verdict in ("continue", "accept"), result
        verdicts = judge.dkimpy(result.data, self.lookup)
        assert [verdict.selector for verdict in verdicts] == list(selectors)
        assert all(verdict.passed for verdict in verdicts), result.data
        return True

    def stop(self):
        try:
            if self.milter.process is not None and \
                    self.milter.process.poll() is None:
                self.milter.stop()
        finally:
            self.milter.discard()
            shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def shared(binary, keys):
    """One that all tests of this file use that do not disturb it."""
    world = World(keys)
    world.milter.start()
    yield world
    world.stop()


@pytest.fixture
def world(binary, keys):
    """world(options) starts one of a test's own."""
    made = []

    def make(options="", keys=keys, **more):
        made.append(World(keys, options, **more))
        made[-1].milter.start()
        return made[-1]
    yield make
    for each in made:
        each.stop()


# What is signed.

def test_both_signatures_verify_and_the_first_selector_stands_on_top(shared):
    assert shared.passes(shared.message())
    event = shared.milter.wait("signed")
    assert event["id"] == "4XyZ0123456"
    assert event["from"] == "alice@example.com"
    assert [each["selector"] for each in event["signatures"]] == ["rsa", "ed"]
    assert "example.com is signed" in event["reason"]


def test_nothing_but_the_signatures_changes(shared):
    result = shared.message()
    assert [change[:2] for change in result.changes] == [("insert", 0)] * 2
    assert result.data.endswith(PLAIN)


def test_a_domain_that_nobody_signs_is_passed_on_without_its_body(shared):
    result = shared.message(PLAIN.replace(b"alice@example.com",
                                          b"a@none.example"))
    assert (result.verdict, result.stage) == ("accept", "N")
    event = shared.milter.wait("skipped", reason="no domain section matches "
                               "the From domain none.example")
    assert event["signatures"] == []


def test_a_stranger_is_asked_for_nothing_beyond_the_envelope(shared):
    result = shared.message(client=STRANGER)
    assert (result.verdict, result.stage) == ("accept", "T")
    shared.milter.wait(
        "skipped", client="192.0.2.7", id="4XyZ0123456",
        reason="the client 192.0.2.7 is not in milter.sign_from and has not "
        "logged in; the daemon mx.example.com is not in milter.sign_daemons")


@pytest.mark.parametrize("stage, name, value", [
    (b"M", "{auth_authen}", "alice"), (b"M", "{auth_type}", "PLAIN"),
    (b"C", "{daemon_name}", "originating")])
def test_a_stranger_of_ours_is_signed(shared, stage, name, value):
    macros = dict(MACROS)
    macros[stage] = dict(macros[stage], **{name: value})
    assert shared.passes(shared.message(client=STRANGER, macros=macros))


@pytest.mark.parametrize("client", [
    {"family": "U", "host": "unknown"}, {"family": "L", "address": "/x"},
    {"host": "localhost", "address": "127.0.0.1"},
    {"family": "6", "address": "::1"}], ids=lambda client: str(client))
def test_mail_of_the_machine_itself_is_signed(shared, client):
    assert shared.passes(shared.message(client=client, sender="alice"))
