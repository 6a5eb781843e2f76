"""`signet milter`, asked byte for byte: what it signs, and what it says."""

import struct

import pytest

from harness import judge, signet
from harness.milter_client import (ACTIONS_ALL, ADDHDRS, LEADSPC, MACROS,
                                   NODATA, NR_EOH, PROTOCOL_ALL, Result,
                                   fields_of)
from harness.milter_world import PLAIN, World

STRANGER = {"host": "mx.example.org", "address": "192.0.2.7"}


@pytest.fixture(scope="module")
def shared(binary, keys):
    """One that all tests of this file use that do not disturb it."""
    world = World(keys)
    world.milter.start()
    yield world
    world.stop()


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


def test_a_stranger_is_asked_for_no_body(shared):
    result = shared.message(client=STRANGER)
    assert (result.verdict, result.stage) == ("accept", "N")
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


# Exact bytes.

CANONICALIZATIONS = [header + "/" + body for header in ("relaxed", "simple")
                     for body in ("relaxed", "simple")]

MESSAGES = {
    "empty body": PLAIN.partition(b"Hello")[0],
    "blank lines at the end": PLAIN + b"\r\n" * 5,
    "leading dots": PLAIN + b".\r\n..\r\n.a\r\n",
    "8 bits": PLAIN.replace(b"Subject: a", b"Subject: \xc3\xa4\xff") +
    b"\xc3\xa4\xff\r\n",
    "no space behind a colon": PLAIN.replace(b"Subject: a", b"Subject:a"),
    "many spaces": PLAIN.replace(b"Subject: a", b"Subject:  \t a  ") +
    b" a \t b  \r\n\t\r\n",
    "folded at once": PLAIN.replace(b"Subject: a", b"Subject:\r\n a"),
    "500 fields": b"".join(b"X-%d: %d\r\n" % (number, number)
                           for number in range(500)) + PLAIN,
    "a field of 100 KiB": b"Cc: " + b",\r\n ".join(
        b"user-%04d@example.net" % number for number in range(4000)) +
    b"\r\n" + PLAIN,
    "large": PLAIN + b"0123456789 abcdef\r\n" * 100000,
    "no CRLF at the end": PLAIN + b"end",
}


@pytest.fixture(scope="module", params=CANONICALIZATIONS)
def canonical(binary, keys, request):
    world = World(keys, signing='canonicalization = "%s"\n' % request.param)
    world.milter.start()
    yield world
    world.stop()


def test_what_is_signed_is_what_the_mta_sends(canonical):
    with canonical.client() as client:
        for number, (name, data) in enumerate(MESSAGES.items()):
            result = client.message(data, begin=number == 0)
            assert canonical.passes(result), name


def test_chunks_of_the_body_end_anywhere(shared):
    data = PLAIN + b" a \r\n\r\nb \t\r\n\r\n"
    with shared.client() as client:
        for number, chunks in enumerate(([1], [2], [3, 1], [7, 1000])):
            assert shared.passes(client.message(data, chunks=chunks,
                                                begin=number == 0))


def test_an_mta_that_leaves_out_data(shared):
    """Sendmail before 8.14 and others: protocol 2 has no DATA."""
    with shared.client() as client:
        client.negotiate(protocol=(PROTOCOL_ALL & ~NODATA))
        assert shared.passes(client.message(PLAIN))


def test_a_stranger_behind_an_mta_that_leaves_out_data(shared):
    """There is nothing to say before the end of the header."""
    with shared.client() as client:
        client.begin(STRANGER)
        for _ in range(2):
            client.mail()
            for name, value in fields_of(PLAIN)[0]:
                assert client.header(name, value) is None
            assert client.eoh().verdict == "accept"
        client.abort()
        client.mail()
        assert client.eoh().verdict == "accept"


# Two clients by way of one connection, as QUIT_NC lets them.

OTHERS = PLAIN.replace(b"From: Alice <alice@example.com>",
                       b"From: carol@unknown.example")
TURNS = [("a stranger", STRANGER, PLAIN, "accept"),
         ("of nobody's domain", None, OTHERS, "accept"),
         ("signed", None, PLAIN, "continue")]


@pytest.mark.parametrize("first", TURNS, ids=lambda turn: turn[0])
@pytest.mark.parametrize("second", TURNS, ids=lambda turn: turn[0])
def test_a_second_client_is_not_taken_for_the_first(shared, first, second):
    """Nor is what the first one logged in as."""
    with shared.client() as client:
        for number, (_, origin, data, verdict) in enumerate((first, second)):
            macros = dict(MACROS)
            if number == 0 and verdict == "continue":
                macros[b"M"] = {"{auth_authen}": "alice"}
            result = client.message(data, client=origin, macros=macros)
            assert result.verdict == verdict, number
            if verdict == "continue":
                assert shared.passes(result)
            client.quit_new()


def test_clients_that_follow_an_aborted_one(shared):
    with shared.client() as client:
        client.begin(STRANGER)
        client.quit_new()
        client.begin()
        client.mail()
        client.header(b"From", b" alice@example.com")
        client.abort()
        client.quit_new()
        client.quit_new()
        assert client.message(PLAIN, client=STRANGER).verdict == "accept"
        client.quit_new()
        assert shared.passes(client.message(PLAIN))


def test_the_last_bytes_of_a_body_may_come_with_its_end(shared):
    fields, body = fields_of(PLAIN)
    with shared.client() as client:
        client.begin()
        client.mail()
        client.data()
        for name, value in fields:
            client.header(name, value)
        client.eoh()
        client.body(body)
        reply, changes, _ = client.eob(rest=b"more\r\n")
        data = client.changed(fields, body + b"more\r\n", changes)
    assert shared.passes(Result(*reply, "E", changes, data, 0))


# Where all mail is signed, the end of the header is not waited for.

def asks_for_whole(world):
    with world.client() as client:
        return bool(client.negotiate().protocol & NR_EOH)


def end_headers(client, count):
    """Of messages that would be signed."""
    for _ in range(count):
        client.mail()
        client.header(b"From", b" alice@example.com")
        assert client.eoh().verdict == "continue"
        client.abort()


@pytest.fixture
def silent(milter_world):
    world = milter_world(signing='unsigned = "reject"')
    with world.client() as client:
        client.begin()
        end_headers(client, 99)
        assert not asks_for_whole(world)
        end_headers(client, 1)
    assert asks_for_whole(world)
    return world


def test_what_is_signed_without_a_word_at_its_header(silent):
    with silent.client() as client:
        for _ in range(3):
            assert silent.passes(client.message(PLAIN))
            client.quit_new()  # what was agreed on holds for the next, too
        assert client.options.protocol & NR_EOH
    assert asks_for_whole(silent)


def test_what_is_not_signed_is_then_told_at_its_end(silent):
    with silent.client() as client:
        result = client.message(PLAIN, client=STRANGER)
        assert (result.verdict, result.stage) == ("accept", "E")
        client.quit_new()
        result = client.message(OTHERS)
        assert (result.stage, result.text[:9]) == ("E", "550 5.7.1")
        assert silent.passes(client.message(PLAIN, begin=False))
    assert not asks_for_whole(silent)
    for event in ("skipped", "rejected", "signed"):
        silent.milter.wait(event)
        assert len(silent.milter.named(event)) == 1


@pytest.mark.parametrize("options, why", [
    ({"protocol": PROTOCOL_ALL & ~LEADSPC}, "leading space"),
    ({"actions": ADDHDRS}, "neither add nor remove")])
def test_an_mta_that_cannot_do_what_is_needed(shared, options, why):
    seen = len(shared.milter.named("refused"))
    with shared.client() as client:
        client.send(b"O", struct.pack(
            ">III", 6, options.get("actions", ACTIONS_ALL),
            options.get("protocol", PROTOCOL_ALL)))
        client.expect_closed()
    assert why in shared.milter.wait("refused", count=seen + 1)["reason"]


# What is decided.

def test_mail_that_nobody_signs_can_be_refused(milter_world):
    strict = milter_world(signing='unsigned = "reject"')
    result = strict.message(PLAIN.replace(b"alice@example.com",
                                          b"50%@none.example"))
    assert result.verdict == "reply"
    assert result.text == (
        "550 5.7.1 Nobody here signs this message: no domain section matches "
        "the From domain none.example")
    event = strict.milter.wait("rejected")
    assert event["reply"] == result.text
    assert strict.passes(strict.message())


# The relay takes it for text, as MTAs do before they ask their milters.
NO_FIELD = "a header line is not a field"
# name: (what replaces the From field, a part of the reason)
UNSURE = {
    "two From fields": (b"From: a@example.com\r\nFrom: b@example.com\r\n",
                        "there are 2 From fields"),
    "no From": (b"Sender: a@example.com\r\n", "there is no From field"),
    "two authors' domains": (b"From: a@example.com, b@none.example\r\n",
                             "none.example"),
    "an address that goes on": (b"From: a@example.com <b\r\n",
                                "the From field cannot be read"),
    "nobody": (b"From: undisclosed:;\r\n", "names no address"),
    "a name that is none": (b"From: a@example.com\r\nX Y: z\r\n", NO_FIELD),
    "900 fields": (b"From: a@example.com\r\n" +
                   b"".join(b"References: <%d@example.com>\r\n" % i
                            for i in range(900)), "too many fields"),
}


@pytest.mark.parametrize("name", UNSURE)
def test_what_nobody_can_be_sure_of_is_not_signed(shared, name, directory):
    """And signet explain says why in the same words."""
    head, reason = UNSURE[name]
    message = head + PLAIN.partition(b"\r\n")[2]
    seen = len(shared.milter.named("skipped"))
    result = shared.message(message)
    assert (result.verdict, result.stage) == ("accept", "N")
    event = shared.milter.wait("skipped", count=seen + 1)
    assert reason in event["reason"]
    assert event["level"] == ("info" if "authors" in name else "warning")
    said = signet.run("explain", config=shared.setup.write(), stdin=message,
                      check=None).stdout.decode()
    assert (event["reason"] in said) == (reason != NO_FIELD)


def test_a_message_larger_than_the_one_that_is_looked_at(milter_world):
    """The first message of each selector is: here one of 3 MB."""
    world = milter_world(signing="verify_every = 1")
    message = PLAIN + b"A line  with spaces. \r\n" * 140000 + b"\r\n\r\n"
    assert world.passes(world.message(message, chunks=[65535]))


SIGNED = (b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x\r\n"
          b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com;\r\n\ts=old\r\n" + PLAIN)


def test_signatures_of_ours_are_replaced(milter_world):
    strip = milter_world(signing='existing = "strip"')
    data = (b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=one\r\n" + SIGNED +
            b"more\r\n")
    result = strip.message(data)
    assert [change[:3] for change in result.changes[:2]] == [
        ("change", 3, b"DKIM-Signature"), ("change", 1, b"DKIM-Signature")]
    assert [tags["s"] for tags in judge.signature_tags(result.data)] == [
        "rsa", "ed", "x"]
    assert all(verdict.passed for verdict
               in judge.dkimpy(result.data, strip.lookup)[:2])


def test_mail_with_a_signature_of_ours_is_left_alone(milter_world):
    skip = milter_world(signing='existing = "skip"')
    assert skip.message(SIGNED).verdict == "accept"
    skip.milter.wait("skipped", reason="it carries a signature of "
                     "example.com already")


def test_a_header_that_is_too_large(milter_world):
    small = milter_world(limits='max_header_size = "2K"')
    with small.client() as client:
        result = client.message(PLAIN + b"x" * 5000)
        assert small.passes(result)  # that was the body
        result = client.message(b"X-Large: " + b"x" * 3000 + b"\r\n" + PLAIN,
                                begin=False)
        assert result.text == "552 5.3.4 Header size exceeds the limit"
        result = client.message(b"X: y\r\n" * 400 + PLAIN, begin=False)
        assert result.text == "552 5.3.4 Header size exceeds the limit"
        assert small.passes(client.message(PLAIN, begin=False))


def test_where_strangers_are_signed_is_configured(milter_world):
    own = milter_world('sign_from = {"192.0.2.0/24", "::/1"}  sign_daemons = {}'
                       'sign_authenticated = false')
    warned, = own.milter.named("configuration")
    assert "'milter.sign_from' names everybody" in warned["reason"]
    assert own.passes(own.message(client=STRANGER))
    assert own.message().stage == "N"
    macros = dict(MACROS)
    macros[b"M"] = {"{auth_authen}": "alice"}
    assert own.message(macros=macros).stage == "N"
    own.milter.wait("skipped", reason="the client 127.0.0.1 is not in "
                    "milter.sign_from, milter.sign_authenticated is false; "
                    "the daemon mx.example.com is not in "
                    "milter.sign_daemons")
