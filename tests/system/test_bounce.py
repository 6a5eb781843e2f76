"""Reports to the sender (RFC 3464): when, in what shape, and when never."""

import email
import email.policy
import os
import signal

import pytest

from harness import judge
from harness.process import HANG_S, freeze, is_alive, wait_for
from harness.smtp import message, submit

ZONES = {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
         "example.com": "@ IN MX 10 mx.example.net."}


def refuse_bob(address):
    return "550 5.1.1 no such user" if address.startswith("bob") else None


def report_of(delivery):
    return email.message_from_bytes(delivery.data,
                                    policy=email.policy.default)


@pytest.fixture
def bouncing(world):
    world.setup.subdomains = True  # the report is from relay.example.com
    world.setup.delivery = 'retry = {"1s"}\n expire = "60s"'
    return world


def test_report(bouncing, keys):
    world = bouncing.start(ZONES, {"replies": {"RCPT": refuse_bob}})
    submit(world.relay.port, message("the lost one", "secret body\r\n"),
           recipients=["bob@example.net", "carol@example.net"])
    world.relay.wait("bounced")
    delivered = world.receiver.wait_deliveries(2)
    reports = [one for one in delivered if one.sender == ""]
    assert len(reports) == 1, delivered
    assert reports[0].recipients == ["alice@example.com"]
    # From the failure to what became of its report.
    told = world.relay.wait("report")
    assert told["about"] == world.relay.named("bounced")[0]["id"]
    assert told["to"] == "alice@example.com"
    wait_for(lambda: told["id"] in [
        event["id"] for event in world.relay.named("delivered")], 10,
        "the report's delivery in the log")

    report = report_of(reports[0])
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert "MAILER-DAEMON@relay.example.com" in report["From"]
    assert "alice@example.com" in report["To"]
    assert report["Date"] and report["Message-ID"] and report["Subject"]
    assert report["MIME-Version"] == "1.0"
    assert report["Auto-Submitted"].startswith("auto-")
    human, status, original = list(report.iter_parts())
    assert human.get_content_type() == "text/plain"
    assert "bob@example.net" in human.get_content()
    assert "no such user" in human.get_content()
    assert status.get_content_type() == "message/delivery-status"
    fields = status.as_string()
    assert "Reporting-MTA: dns; relay.example.com" in fields
    assert "Final-Recipient: rfc822; bob@example.net" in fields \
        or "Final-Recipient: rfc822;bob@example.net" in fields
    assert "Action: failed" in fields
    assert "Status: 5.1.1" in fields
    assert "Diagnostic-Code: smtp; 550 5.1.1 no such user" in fields
    assert "carol" not in fields, "delivered, so not reported"
    assert original.get_content_type() in ("message/rfc822",
                                           "text/rfc822-headers")
    assert "the lost one" in original.as_string()

    verdicts = judge.dkimpy(reports[0].data, judge.lookup_in(keys.records))
    ours = [verdict for verdict in verdicts if verdict.domain == "example.com"]
    assert len(ours) >= 2 and all(verdict.passed for verdict in ours[:2])


def test_a_report_waits_for_the_signer_and_nothing_else_does(bouncing):
    """The signer stands still, and the relay is stopped: over the restart the
    one who has it does not get it again, and the report on the other comes."""
    world = bouncing
    family = {}

    def refuse_and_freeze(address):
        if address.startswith("bob"):
            family.update(world.relay.family())
            freeze(family["signer"])
        return refuse_bob(address)

    world.start(ZONES, {"replies": {"RCPT": refuse_and_freeze}})
    submit(world.relay.port, message(),
           recipients=["carol@example.net", "bob@example.net"])
    world.relay.wait("bounced")
    os.kill(family["supervisor"], signal.SIGTERM)
    wait_for(lambda: not is_alive(family["relay"]), 20, "the relay to stop")
    os.kill(family["signer"], signal.SIGCONT)
    world.relay.stop()
    world.relay.start()
    reports = [one for one in world.receiver.wait_deliveries(2)
               if one.sender == ""]
    assert len(reports) == 1 and b"no such user" in reports[0].data
    world.relay.wait("delivered", to="alice@example.com")
    world.relay.stop()
    assert [one.recipients for one in world.receiver.deliveries] == \
        [["carol@example.net"], ["alice@example.com"]]
    assert len(world.relay.named("bounced")) == 1


def test_one_report_for_one_transaction(bouncing):
    world = bouncing.start(ZONES, {"replies": {"RCPT": refuse_bob}})
    submit(world.relay.port, message(),
           recipients=["bob%d@example.net" % i for i in range(8)])
    world.relay.wait("bounced", count=8)
    reports = world.receiver.wait_deliveries(1)
    text = b"".join(one.data for one in reports).decode()
    for number in range(8):
        assert "bob%d@example.net" % number in text
    assert len(reports) == 1


def test_never_about_a_report(bouncing):
    world = bouncing.start(ZONES, {"replies": {"RCPT": refuse_bob}})
    submit(world.relay.port, message(), sender="")
    world.relay.wait("bounced")
    submit(world.relay.port, message(), recipients=["carol@example.net"])
    world.relay.wait("delivered")
    world.relay.stop()
    assert [one.recipients for one in world.receiver.deliveries] == \
        [["carol@example.net"]]


def test_a_report_that_cannot_be_delivered_is_the_end(bouncing):
    """The sender does not exist either: no report about the report."""
    world = bouncing.start(ZONES, {"replies": {
        "RCPT": lambda address: "550 5.1.1 nobody"}})
    submit(world.relay.port, message())
    world.relay.wait("bounced", to="bob@example.net")
    world.relay.wait("bounced", to="alice@example.com")
    world.relay.stop()
    assert len(world.relay.named("bounced")) == 2
    assert world.receiver.deliveries == []


def test_expiry(bouncing):
    world = bouncing
    world.setup.delivery = 'retry = {"1s"}\n expire = "4s"'
    world.start(ZONES, {"replies": {
        "RCPT": lambda address: "450 4.2.0 later"
        if address.startswith("bob") else None}})
    submit(world.relay.port, message())
    bounced = world.relay.wait("bounced", seconds=30)
    assert bounced["to"] == "bob@example.net"
    assert 3 <= bounced["delay"] <= HANG_S
    assert len(world.relay.named("deferred")) >= 2
    report = report_of(world.receiver.wait_deliveries(1)[0])
    status = list(report.iter_parts())[1].as_string()
    assert "Action: failed" in status
    assert "Status: 4.4.7" in status or "Status: 5.4.7" in status \
        or "Status: 4.2.0" in status
    assert "450 4.2.0 later" in status


def test_reports_pass_where_unsigned_mail_does_not(bouncing):
    """unsigned = reject; nobody has a key for the relay's own name."""
    world = bouncing
    world.setup.subdomains = False
    world.setup.signing = 'unsigned = "reject"'
    world.start(ZONES, {"replies": {"RCPT": refuse_bob}})
    submit(world.relay.port, message())
    report = world.receiver.wait_deliveries(1)[0]
    assert report.recipients == ["alice@example.com"]


def test_bounce_from(bouncing, keys):
    world = bouncing
    world.setup.delivery += '\n bounce_from = "postmaster@example.org"'
    world.setup.domains["example.org"] = ["rsa", "ed"]
    world.start(ZONES, {"replies": {"RCPT": refuse_bob}})
    submit(world.relay.port, message())
    one = world.receiver.wait_deliveries(1)[0]
    assert one.sender == ""
    assert "postmaster@example.org" in report_of(one)["From"]
    verdicts = judge.dkimpy(one.data, judge.lookup_in(keys.records))
    assert [(v.domain, v.passed) for v in verdicts[:2]] == \
        [("example.org", True)] * 2


def test_a_large_original(bouncing):
    """The report of a large message is not a large message."""
    world = bouncing.start(ZONES, {"replies": {"RCPT": refuse_bob}})
    submit(world.relay.port, message(body="x" * 70 + "\r\n" * 40000))
    report = world.receiver.wait_deliveries(1)[0]
    assert len(report.data) < 200000
