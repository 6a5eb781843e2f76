"""Mail to Postfix, Exim, OpenSMTPD and Sendmail: what arrives there is, byte
for byte, what was signed, under every TLS policy.
"""

import os

import pytest

from harness import judge, signet
from harness.names import NameServer
from harness.ports import free_port
from harness.process import wait_for
from harness.receivers import RIGS, authority
from harness.smtp import Client, message

NAMES = [rig.name for rig in RIGS]
WITH_TLS = [rig.name for rig in RIGS if rig.has_tls]
WITHOUT_TLS = [rig.name for rig in RIGS if not rig.has_tls]
# Policies by the subdomain that has them.
ROUTES = """
route "plain.{name}.example.net" {{ tls = "none" }}
route "verify.{name}.example.net" {{ tls = "verify" }}
route "other.{name}.example.net" {{ tls = "verify" tls_names = {{"mx.example.org"}} }}
route "required.{name}.example.net" {{ via = "{plain}" tls = "required" }}
"""
DOTS = "".join("%s\r\n" % ("." * count) for count in range(5)) + \
    ".\r\n..a\r\n" + "x" * 998 + "\r\n." + "y" * 997 + "\r\n \r\n\t.\r\n"
LINE = "." + "0123456789abcdef" * 4 + "\r\n"
MESSAGES = {
    "short": {},
    "8-bit": {"body": "Grüße aus dem Süden.\r\n",
              "extra": "MIME-Version: 1.0\r\nContent-Type: text/plain;"
                       " charset=utf-8\r\n"
                       "Content-Transfer-Encoding: 8bit\r\n"},
    "dots and long lines": {"body": DOTS},
    "empty": {"body": ""},
    "blank lines at the end": {"body": "x\r\n\r\n\r\n\r\n"},
    "20 MB": {"body": LINE * (20000000 // len(LINE))},
}


class World:
    """One relay, all receivers, and who signs for example.com."""

    def __init__(self, directory, keys):
        self.keys = keys
        self.port = free_port()
        self.rigs = {}
        self.names = self.relay = None
        by = authority(directory)
        try:
            for number, rig in enumerate(RIGS):
                self.rigs[rig.name] = rig(
                    directory, "127.0.0.%d" % (number + 2), self.port, by)
            self._start(directory, by[0])
        except BaseException:
            self.stop()
            raise

    def _start(self, directory, trusted):
        self.names = NameServer(directory, {
            "example.com": self.keys.zone("example.com"),
            "example.net": "".join(
                "%s IN A %s\n%s IN MX 10 %s\n*.%s IN MX 10 %s\n" % (
                    rig.host.split(".")[0], rig.address, name,
                    rig.host.split(".")[0], name, rig.host.split(".")[0])
                for name, rig in self.rigs.items())})
        setup = signet.Setup(os.path.join(directory, "signet"), self.keys,
                             self.names.resolver, mx_port=self.port)
        setup.delivery = 'retry = {"1s"}'
        setup.extra = "".join(
            ROUTES.format(name=name, plain=rig.plain)
            for name, rig in self.rigs.items())
        self.relay = signet.Relay(setup, start=False,
                                  env={"SSL_CERT_FILE": trusted})
        self.relay.start()

    def send(self, subject, recipients, **parts):
        """(the message, its id)"""
        data = message(subject, **parts)
        # As prepared: without a line end behind the header it gets one.
        with Client(self.relay.port, timeout=60) as client:
            client.ehlo()
            code, lines = client.transaction("alice@example.com", recipients,
                                             data)
            assert code == 250, lines
        return data

    def check(self, sent, deliveries):
        """Everything that arrived: as sent, and both signatures good."""
        for one in deliveries:
            assert one.data.endswith(sent), (one.data[:2000], sent[:2000])
            verdicts = judge.dkimpy(
                one.data, judge.lookup_in(self.keys.records))
            assert [(verdict.selector, verdict.passed)
                    for verdict in verdicts] == [("rsa", True), ("ed", True)]

    def stop(self):
        try:
            if self.relay and self.relay.process:
                self.relay.stop()
        finally:
            if self.relay:
                self.relay.discard()
            for rig in self.rigs.values():
                rig.stop()
            if self.names:
                self.names.stop()


@pytest.fixture(scope="module")
def world(session_directory, keys):
    directory = os.path.join(session_directory, "receivers")
    os.makedirs(os.path.join(directory, "signet"))
    os.chmod(directory, 0o711)
    made = World(directory, keys)
    try:
        yield made
    finally:
        made.stop()


def test_sessions_are_resumed(world):
    """On the second connection, by everyone who does that. First of all: what is deferred
    later on connects every second."""
    for turn in range(2):
        for name in WITH_TLS:
            world.send("resumed %d %s" % (turn, name),
                       ["resumed%d@%s.example.net" % (turn, name)])
        events = {name: world.relay.wait(
            "delivered", to="resumed%d@%s.example.net" % (turn, name))
            for name in WITH_TLS}
        wait_for(lambda: not connections(world), 20, "connections to end")
    assert {name: event["resumed"] for name, event in events.items()} == \
        {name: world.rigs[name].resumes for name in WITH_TLS}
    assert {event["certificate"] for event in events.values()} == {"verified"}


def connections(world):
    """Of the relay, to the receivers."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [row for row in rows if row[3] == "01" and
            int(row[2].rpartition(":")[2], 16) == world.port]


@pytest.mark.parametrize("name", NAMES)
def test_messages_arrive_as_they_were_signed(world, name):
    sent = {}
    for number, (kind, parts) in enumerate(MESSAGES.items()):
        subject = "%s %d" % (name, number)
        sent[kind] = (subject, world.send(
            subject, ["m%d@%s.example.net" % (number, name)], **parts))
    for number, (kind, (subject, data)) in enumerate(sent.items()):
        world.check(data, world.rigs[name].arrived(subject))
        event = world.relay.wait(
            "delivered", to="m%d@%s.example.net" % (number, name))
        if world.rigs[name].has_tls:
            assert event["tls"].startswith("TLSv1."), event
        else:
            assert event["tls"] == "none", event


@pytest.mark.parametrize("name", WITHOUT_TLS)
def test_broken_tls(world, name):
    """It is left out where that is allowed, which is said once and then known
    to all destinations on that host, also after a reload."""
    rig = world.rigs[name]
    to = "bob@verify.%s.example.net" % name
    world.send("broken " + name, [to])
    event = world.relay.wait("deferred", to=to)
    assert event["status"] == "4.7.5" and event["mx"] == rig.host, event
    for number in range(3):
        to = "bob@more%d.%s.example.net" % (number, name)
        world.check(world.send("more%d %s" % (number, name), [to]),
                    rig.arrived("more%d %s" % (number, name)))
        if number == 1:
            world.relay.hang_up()
            world.relay.wait("reload")
    failures = world.relay.named("tls-failed")
    assert [one["mx"] for one in failures] == [rig.host]
    assert "handshake" in failures[0]["reason"]


@pytest.mark.parametrize("name", WITH_TLS)
def test_policies(world, name):
    """In clear because of the policy, and with a certificate that was
    verified; never to whom another name was expected of, nor to whom does not
    offer TLS."""
    rig = world.rigs[name]
    to = {policy: "bob@%s.%s.example.net" % (policy, name)
          for policy in ("plain", "verify", "other", "required")}
    sent = {policy: world.send("%s %s" % (policy, name), [address])
            for policy, address in to.items()}
    for policy in ("plain", "verify"):
        world.check(sent[policy], rig.arrived("%s %s" % (policy, name)))
    event = world.relay.wait("delivered", to=to["plain"])
    assert event["tls"] == "none" and "certificate" not in event
    event = world.relay.wait("delivered", to=to["verify"])
    assert event["certificate"] == "verified" and event["mx"] == rig.host
    event = world.relay.wait("deferred", to=to["other"])
    assert event["status"] == "4.7.5" and "mismatch" in event["reply"], event
    event = world.relay.wait("deferred", to=to["required"])
    assert event["status"] == "4.7.4", event
    assert not world.relay.named("delivered", to=to["other"])
    assert not world.relay.named("delivered", to=to["required"])


@pytest.mark.parametrize("name", NAMES)
def test_recipients(world, name):
    """200 of them, one who is refused, and one who is put off."""
    rig, domain = world.rigs[name], name + ".example.net"
    many = ["r%d@%s" % (number, domain) for number in range(200)]
    sent = world.send("many " + name,
                      ["gone@" + domain, "later@" + domain] + many)
    found = rig.arrived("many " + name, 200)
    world.check(sent, found[:1])
    assert sorted(sum((one.recipients for one in found), [])) == sorted(many)
    bounced = world.relay.wait("bounced", to="gone@" + domain)
    assert bounced["reply"].startswith("55"), bounced
    deferred = world.relay.wait("deferred", to="later@" + domain)
    assert deferred["reply"].startswith("45"), deferred
    rig.stop_putting_off()
    found = rig.arrived("many " + name, 201)
    assert [one.recipients for one in found].count(["later@" + domain]) == 1
    assert sum(len(one.recipients) for one in found) == 201
