"""Reports beside a real Postfix: it refuses, defers, passes on what the sender
wants to hear, or does not know how; and takes our reports."""

import pytest

from harness import judge
from harness.ports import free_port
from harness.postfix import as_sent
from harness.process import wait_for
from harness.reports import Report, bounce_parser
from harness.smtp import Client, message

ZONES = {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
         "example.com": "@ IN MX 10 mx.example.net."}
RULES = """
smtpd_recipient_restrictions = check_recipient_access inline:{
 { bob@example.net = 550 5.7.1 not for Bob },
 { slow@example.net = 450 4.2.0 Greylisted } }, permit_mynetworks, reject
"""


@pytest.fixture
def beside(setup, name_server, postfix, relay):
    """(relay, receiving Postfix); nodsn.example.net goes to a service of it
    that does not offer DSN."""
    configured = setup(mx_port=free_port())
    configured.resolver = name_server(ZONES).resolver
    configured.subdomains = True
    configured.delivery = 'retry = {"1s"}\n delay_warning = "1s"'
    plain = free_port()
    configured.extra = ('route "nodsn.example.net" { via = "127.0.0.1:%d" }'
                        % plain)
    receiving = postfix(
        configured.mx_port, addresses=("127.0.0.2",), extra=RULES,
        services={plain: ["smtpd_discard_ehlo_keywords=dsn"]})
    return relay(configured), receiving


def send(started, recipients, rcpt):
    with Client(started.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com> ENVID=one", 250)
        for recipient in recipients:
            client.expect("RCPT TO:<%s>%s" % (recipient, rcpt), 250)
        assert client.data(message())[0] == 250


def reports_in(receiving, count):
    def reports():
        found = [as_sent(raw) for raw in receiving.raw_messages()
                 if b"multipart/report" in raw]
        return found if len(found) >= count else None
    return wait_for(reports, 20, lambda: receiving.maillog()[-3000:])


def test_refused_deferred_and_passed_on(beside, keys):
    started, receiving = beside
    send(started, ["bob@example.net", "slow@example.net",
                   "carol@example.net", "carol@nodsn.example.net"],
         " NOTIFY=SUCCESS,FAILURE,DELAY")
    ours, theirs = {}, {}
    for data in reports_in(receiving, 4):
        report = Report(data)
        who = report.fields["Reporting-MTA"]
        (ours if "relay.example.com" in who else theirs).update({
            address: (action, report)
            for address, action in report.actions().items()})
        assert report.fields["Original-Envelope-Id"] == "one"
        if "relay.example.com" in who:
            verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
            assert verdicts and all(one.passed for one in verdicts)
    assert {address: action for address, (action, _) in ours.items()} == {
        "bob@example.net": "failed", "slow@example.net": "delayed",
        "carol@nodsn.example.net": "relayed"}
    assert {address: action for address, (action, _) in theirs.items()} == {
        "carol@example.net": "delivered"}
    failed = ours["bob@example.net"][1]
    assert "Bob" in failed.of("bob@example.net")["Diagnostic-Code"]
    entry, = bounce_parser(failed.data)["reports"]
    assert entry["Email"] == "bob@example.net"
    assert failed.original_kind == "message/rfc822"
