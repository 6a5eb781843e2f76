"""Reports as the sender asks for them: NOTIFY, RET, ENVID, ORCPT (RFC 3461),
SMTPUTF8 (RFC 6533)."""

import time

import pytest

from harness.reporting import Place, sender_of
from harness.reports import Report
from harness.smtp import message, submit

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("report_asked")


@pytest.fixture(scope="module")
def place(binary, keys):
    made = Place(keys)
    yield made
    made.stop()


def test_parameters_come_back(place):
    sender = sender_of("parameters")
    place.submit(message(body="secret body\r\n"), sender, ["bob@example.net"],
                 mail=" RET=HDRS ENVID=QQ+2B1",
                 rcpt=" NOTIFY=FAILURE ORCPT=rfc822;B+2Bob@example.com")
    report = Report(place.wait_report(sender).data)
    assert report.fields["Original-Envelope-Id"] == "QQ+1"
    assert report.of("bob@example.net")["Original-Recipient"] == \
        "rfc822; B+ob@example.com"
    assert report.original_kind == "text/rfc822-headers"
    assert "secret body" not in report.data.decode()


def told_to(place, sender):
    return [list(Report(one.data).actions().values())
            for one in place.reports(sender)]


def told(place, notify, address, wait, is_told):
    """What the sender hears of one recipient."""
    sender = sender_of("%s %s %d" % (notify, address, time.monotonic_ns()))
    place.submit(message(), sender, [address], rcpt=" NOTIFY=" + notify)
    wait()
    if is_told:
        place.wait_report(sender)
    # What else there is to tell is told by now: a marker's follows it, though
    # two at once may overtake each other.
    marker = sender_of("marker %d" % time.monotonic_ns())
    submit(place.relay.port, message(), sender=marker)
    place.wait_report(marker)
    return told_to(place, sender)


@pytest.mark.parametrize("notify, wanted", (
    ("NEVER", []), ("SUCCESS,DELAY", []), ("FAILURE", [["failed"]])))
def test_failure_as_asked(place, notify, wanted):
    address = "bob-%s@example.net" % notify.replace(",", "-").lower()
    assert told(place, notify, address, lambda: place.relay.wait(
        "bounced", to=address), wanted != []) == wanted


def test_delay_as_asked(place):
    wanted = {"NEVER": [], "SUCCESS,FAILURE": [], "DELAY": [["delayed"]]}
    addresses, senders = {}, {}
    for notify in wanted:
        name = notify.replace(",", "-").lower()
        addresses[notify] = "slow-%s@example.net" % name
        senders[notify] = sender_of("asked " + name)
        place.submit(message(extra="Auto-Submitted: auto-generated\r\n"),
                     senders[notify], [addresses[notify]],
                     rcpt=" NOTIFY=" + notify)
    for notify in wanted:
        place.relay.wait("deferred", count=5, to=addresses[notify])
    place.wait_report(senders["DELAY"])
    assert {notify: told_to(place, senders[notify])
            for notify in wanted} == wanted


@pytest.mark.parametrize("notify, host, wanted", (
    ("SUCCESS", "example.net", [["relayed"]]),
    ("SUCCESS", "dsn.example.net", []),
    ("FAILURE,DELAY", "example.net", []),
    ("NEVER", "example.net", [])))
def test_success_as_asked(place, notify, host, wanted):
    address = "carol-%s@%s" % (notify.replace(",", "-").lower(), host)
    assert told(place, notify, address, lambda: place.relay.wait(
        "delivered", to=address), wanted != []) == wanted
    if host == "dsn.example.net":
        rcpt = [command for _, command in place.dsn.commands
                if address in command]
        assert rcpt and "NOTIFY=SUCCESS" in rcpt[0]


def test_utf8(place):
    """A recipient beyond ASCII, an ASCII sender: no '?' but the address, in
    seven bits."""
    sender = sender_of("utf8")
    address = "bobbü@example.net"
    data = message().replace(b"Subject: test", "Subject: grüße".encode())
    place.submit(data, sender, [address], mail=" SMTPUTF8 BODY=8BITMIME")
    one = place.wait_report(sender)
    assert one.data.isascii()
    report = Report(one.data)
    assert report.kind == "message/delivery-status"
    group, = report.recipients
    assert group["Final-Recipient"] == "utf-8; bobb\\x{FC}@example.net"
    assert group["Status"] == "5.1.1"
    assert address in report.words
    assert report.original_kind == "message/global"
    assert "Subject: grüße".encode() in report.original()
    place.assert_signed(one.data)


def test_utf8_sender(place):
    """Whose report has to be UTF-8 itself (RFC 6533 4)."""
    sender = "grün@example.com"
    place.submit(message(), sender, ["bob@example.net"], mail=" SMTPUTF8")
    one = place.wait_report(sender)
    assert "SMTPUTF8" in one.parameters
    report = Report(one.data)
    assert report.kind == "message/global-delivery-status"
    assert report.actions() == {"bob@example.net": "failed"}
    place.assert_signed(one.data)
