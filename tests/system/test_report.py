"""Reports (RFC 3464): what they say, that other people's parsers read them and
other people's verifiers take their signatures; delays; the postmaster's copy."""

import re

import pytest

from harness.process import wait_for
from harness.reporting import POSTMASTER, Place, answer, sender_of
from harness.reports import Report, bounce_parser
from harness.smtp import message, submit

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def place(binary, keys):
    made = Place(keys)
    yield made
    made.stop()


# -- what it says -------------------------------------------------------------

def mime(body, kind="text/plain; charset=utf-8", encoding="8bit", extra=""):
    return message(extra="MIME-Version: 1.0\r\nContent-Type: %s\r\n"
                   "Content-Transfer-Encoding: %s\r\n%s" %
                   (kind, encoding, extra), body="")[:-2] + b"\r\n" + body


BOTH = (b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa4\r\n--b--\r\n")
THEIRS = "DKIM-Signature: v=1; a=rsa-sha256; d=example.edu; s=x; b=AA==\r\n"

# name: (message, returned as a whole, and in seven bits).
ORIGINALS = {
    "plain": (message("the lost one", "secret body\r\n"), True),
    "large": (message("the lost one", ("x" * 70 + "\r\n") * 400), False),
    "eight bits": (mime(b"gr\xc3\xbc\xc3\x9fe\r\n"), True),
    "nested": (mime(BOTH, 'multipart/mixed; boundary="b"'), True),
    "signed by others": (message(body="x\r\n", extra=THEIRS), True),
    "eight bits signed by others": (
        mime(b"gr\xc3\xbc\xc3\x9fe\r\n", extra=THEIRS), False),
    "a raw header": (message().replace(b"Subject: test",
                                       b"Subject: gr\xfc\xdfe"), False),
    "latin text": (mime(b"gr\xfc\xdfe\r\n", "text/plain; charset=iso-8859-1"),
                   True),
}


@pytest.mark.parametrize("name", ORIGINALS)
@pytest.mark.parametrize("domain", ("example.com", "example.org"))
def test_failure(place, name, domain):
    data, is_whole = ORIGINALS[name]
    sender = sender_of(name, domain)
    place.submit(data, sender, ["bob@example.net", "carol@example.net"])
    one = place.wait_report(sender)
    report = Report(one.data)
    head = report.message
    assert "MAILER-DAEMON@relay.example.com" in head["From"]
    assert sender in head["To"]
    assert head["Auto-Submitted"] == "auto-replied"
    assert head["Date"] and head["Message-ID"]
    assert "bob@example.net" in report.words
    assert "no such user" in report.words
    assert "carol" not in report.words
    assert report.fields["Reporting-MTA"] == "dns; relay.example.com"
    assert "client.example.com" in report.fields["Received-From-MTA"]
    assert report.fields["Arrival-Date"]
    assert report.actions() == {"bob@example.net": "failed"}
    bob = report.of("bob@example.net")
    assert bob["Status"] == "5.1.1"
    assert bob["Remote-MTA"] == "dns; mx.example.net"
    assert bob["Diagnostic-Code"] == \
        "smtp; 550 5.1.1 no such user 5.1.1 here, ?? says"
    assert bob["Last-Attempt-Date"]
    assert bob["Original-Recipient"] is None
    check_original(report, data, is_whole)
    if domain == "example.org":
        assert one.data.isascii()
    place.assert_signed(one.data)
    read = bounce_parser(one.data)
    assert read["is_bounce"] == 1
    entry, = read["reports"]
    assert entry["Email"] == "bob@example.net"
    assert entry["Std_reason"] == "user_unknown"


def check_original(report, data, is_whole):
    header, _, body = data.partition(b"\r\n\r\n")
    subject = re.search(rb"Subject: ([^\r]*)", header).group(1)
    if is_whole:
        assert report.original_kind == "message/rfc822"
        inner = report.inner()
        assert inner["Subject"] == subject.decode()
        assert inner["Received"]
        assert "example.com" not in (inner["DKIM-Signature"] or "")
        # What it says is the same, however it is encoded by now.
        leaf = inner
        while leaf.is_multipart():
            leaf = leaf.get_payload(0)
        assert leaf.get_payload(decode=True).split() in (
            body.split(), b"gr\xc3\xbc\xc3\x9fe".split())
    else:
        assert report.original_kind == "text/rfc822-headers"
        returned = report.original()
        assert b"Subject: " + subject in returned
        assert body.strip()[:20] not in returned


def test_several_at_once(place):
    sender = sender_of("several")
    submit(place.relay.port, message(), sender=sender,
           recipients=["bob%d@example.net" % i for i in range(8)])
    report = Report(place.wait_report(sender).data)
    assert report.actions() == {"bob%d@example.net" % i: "failed"
                                for i in range(8)}
    assert len(bounce_parser(report.data)["reports"]) == 8


def test_injection(place):
    """Nothing that others say begins a field or a part."""
    sender = sender_of("injection")
    data = message(extra="X-One: a\r\n --=_x\r\n Content-Type: text/html\r\n")
    place.submit(data, sender, ['"bob\\ --=_x: y"@example.net'])
    report = Report(place.wait_report(sender).data)
    assert len(list(report.message.iter_parts())) == 3
    assert len(report.recipients) == 1


# -- delay ----------------------------------------------------------------------

def deferrals(place, address):
    return len(place.relay.named("deferred", to=address))


def wait_deferrals(place, address, more):
    count = deferrals(place, address) + more
    place.relay.wait("deferred", count=count, to=address)


def test_delay_is_told_once(place):
    """And not again after a restart."""
    sender, address = sender_of("delay"), "slow1@example.net"
    submit(place.relay.port, message(body="secret body\r\n"), sender=sender,
           recipients=[address, "carol@example.net"])
    one = place.wait_report(sender)
    report = Report(one.data)
    assert report.message["Subject"] == "Your message is delayed"
    assert report.message["Auto-Submitted"] == "auto-generated"
    assert report.actions() == {address: "delayed"}
    slow = report.of(address)
    assert slow["Status"] == "4.2.0"
    assert slow["Diagnostic-Code"] == "smtp; 450 4.2.0 later"
    assert slow["Will-Retry-Until"]
    assert report.original_kind == "text/rfc822-headers"
    assert "secret body" not in report.data.decode()
    place.assert_signed(one.data)
    wait_deferrals(place, address, 2)
    place.relay.stop()
    place.relay.start()
    wait_deferrals(place, address, 2)
    assert len(place.reports(sender)) == 1


AUTOMATIC = {
    "auto": "Auto-Submitted: auto-generated\r\n",
    "bulk": "Precedence: bulk\r\n",
    "list": "List-Id: <list.example.com>\r\n",
}


def test_no_delay_is_told_to_programs_and_lists(place):
    addresses = {name: "slow-%s@example.net" % name for name in AUTOMATIC}
    for name, extra in AUTOMATIC.items():
        submit(place.relay.port, message(extra=extra),
               sender=sender_of(name), recipients=[addresses[name]])
    submit(place.relay.port, message(), sender="",
           recipients=["slow-null@example.net"])
    for address in list(addresses.values()) + ["slow-null@example.net"]:
        wait_for(lambda: deferrals(place, address) >= 5, 30, address)
    for name in AUTOMATIC:
        assert place.reports(sender_of(name)) == []


def test_automatic_mail_that_fails_is_reported(place):
    sender = sender_of("automatic failure")
    submit(place.relay.port, message(extra=AUTOMATIC["auto"]), sender=sender)
    assert Report(place.wait_report(sender).data).actions() == \
        {"bob@example.net": "failed"}


# -- the postmaster's copy ----------------------------------------------------

def copies_about(place, address):
    return [one for one in place.reports(POSTMASTER)
            if address.encode() in one.data]


def wait_copy(place, address):
    found = wait_for(lambda: copies_about(place, address), 20,
                     "a copy about " + address)
    assert len(found) == 1
    return Report(found[0].data)


def test_copy(place):
    sender, address = sender_of("copied"), "bob-copied@example.net"
    submit(place.relay.port, message(body="secret body\r\n"), sender=sender,
           recipients=[address])
    report = wait_copy(place, address)
    assert report.actions() == {address: "failed"}
    assert report.original_kind == "text/rfc822-headers"
    assert "secret body" not in report.data.decode()
    assert sender in report.words
    place.assert_signed(report.data)


def test_copy_of_what_has_no_sender(place):
    address = "bob-null@example.net"
    submit(place.relay.port, message(), sender="", recipients=[address])
    assert wait_copy(place, address).actions() == {address: "failed"}


def test_no_copy_of_a_copy(place):
    """The postmaster is refused, too: that is the end of it."""
    address = "bob-loop@example.net"
    before = len(place.relay.named("bounced"))
    place.receiver.replies["RCPT"] = lambda to: (
        "550 5.1.1 nobody" if to in (address, POSTMASTER) or
        to.startswith("loop@") else answer(to))
    try:
        submit(place.relay.port, message(), sender="loop@example.com",
               recipients=[address])
        # The message; its report; the copies of both.
        place.relay.wait("bounced", to="loop@example.com")
        wait_for(lambda: len(place.relay.named("bounced", to=POSTMASTER)) == 2,
                 20, place.relay.tail)
        sender = sender_of("afterwards")
        submit(place.relay.port, message(), sender=sender)
        place.wait_report(sender)
    finally:
        place.receiver.replies["RCPT"] = answer
    bounced = [event["to"] for event in place.relay.named("bounced")[before:]]
    assert bounced.count("loop@example.com") == 1
    # The third is of the message that went afterwards.
    assert bounced.count(POSTMASTER) in (2, 3)
