"""One relay for tests of reports: bob is refused, slow and his like are
deferred, everybody else gets his mail. What is for example.org goes to a host
that takes seven bits only, what is for dsn.example.net to one with DSN.
"""

import re
import shutil
import tempfile

from . import judge, signet
from .faulty import Receiver
from .names import NameServer
from .ports import free_port
from .process import wait_for
from .smtp import Client

ZONES = {
    "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
    "dsn.example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.4",
    "example.com": "@ IN MX 10 mx.example.net.",
    "example.org": "@ IN MX 10 mx\nmx IN A 127.0.0.3",
}
POSTMASTER = "postmaster@example.com"


def answer(address):
    if address.startswith(("bob", '"bob')):
        return "550-5.1.1 no such user\r\n550 5.1.1 here, \xe9 says"
    if address.startswith("slow"):
        return "450 4.2.0 later"
    return None


class Place:
    def __init__(self, keys):
        self.directory = tempfile.mkdtemp(prefix="signet-test.")
        self.keys = keys
        self.setup = signet.Setup(self.directory, keys, mx_port=free_port())
        self.setup.subdomains = True
        self.setup.delivery = (
            'retry = {"1s"}\n expire = "5m"\n delay_warning = "2s"\n'
            ' bounce_copy = "%s"\n bounce_size_limit = "20K"' % POSTMASTER)
        zones = {domain: keys.zone(domain)
                 for domain in ("example.com", "example.org")}
        for domain, records in ZONES.items():
            zones[domain] = zones.get(domain, "") + "\n" + records
        self.names = NameServer(self.directory, zones)
        self.setup.resolver = self.names.resolver
        self.receiver = Receiver(self.setup.mx_port, "127.0.0.2",
                                 replies={"RCPT": answer},
                                 extensions=["PIPELINING", "8BITMIME",
                                             "SMTPUTF8", "SIZE 100000000"])
        self.narrow = Receiver(self.setup.mx_port, "127.0.0.3",
                               extensions=["PIPELINING", "SIZE 100000000"])
        self.dsn = Receiver(self.setup.mx_port, "127.0.0.4",
                            replies={"RCPT": answer},
                            extensions=["PIPELINING", "8BITMIME", "DSN"])
        self.relay = signet.Relay(self.setup)

    def stop(self):
        try:
            self.relay.stop()
        finally:
            self.relay.discard()
            for server in (self.receiver, self.narrow, self.dsn, self.names):
                server.stop()
            shutil.rmtree(self.directory, ignore_errors=True)

    def reports(self, sender):
        """All that this sender has got, oldest first."""
        receiver = self.narrow if sender.endswith(".org") else self.receiver
        return [one for one in list(receiver.deliveries)
                if one.sender == "" and one.recipients == [sender]]

    def wait_report(self, sender):
        found = wait_for(lambda: self.reports(sender), 20,
                         lambda: "a report to %s\n%s" % (sender,
                                                         self.relay.tail()))
        assert len(found) == 1, found
        return found[0]

    def submit(self, data, sender, recipients, mail="", rcpt=""):
        """With parameters of MAIL and RCPT."""
        with Client(self.relay.port) as client:
            client.ehlo()
            client.expect("MAIL FROM:<%s>%s" % (sender, mail), 250)
            for recipient in recipients:
                client.expect("RCPT TO:<%s>%s" % (recipient, rcpt), 250)
            assert client.data(data)[0] == 250

    def assert_signed(self, data):
        verdicts = judge.dkimpy(data, judge.lookup_in(self.keys.records))
        assert [(one.domain, one.passed) for one in verdicts] == \
            [("example.com", True)] * 2, verdicts


def sender_of(name, domain="example.com"):
    """One of a test's own, so that its reports are known."""
    return "%s@%s" % (re.sub("[^a-z0-9]", "-", name.lower()), domain)
