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

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("receivers")

NAMES = [rig.name for rig in RIGS]
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
        self.verified = set()
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
        """The message."""
        data = message(subject, **parts)
        with Client(self.relay.port, timeout=60) as client:
            client.ehlo()
            code, lines = client.transaction("alice@example.com", recipients,
                                             data)
            assert code == 250, lines
        return data

    def check(self, sent, deliveries):
        """Everything that arrived: as sent, and both signatures good. What is
        the same from its signatures on needs no second verdict."""
        for one in deliveries:
            assert one.data.endswith(sent), (one.data[:2000], sent[:2000])
            signed = one.data[one.data.index(b"DKIM-Signature:"):]
            if signed in self.verified:
                continue
            verdicts = judge.dkimpy(
                one.data, judge.lookup_in(self.keys.records))
            assert [(verdict.selector, verdict.passed)
                    for verdict in verdicts] == [("rsa", True), ("ed", True)]
            self.verified.add(signed)

    def with_tls(self):
        return [name for name, rig in self.rigs.items() if rig.has_tls]

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
def world(module_directory, keys):
    os.mkdir(os.path.join(module_directory, "signet"))
    made = World(module_directory, keys)
    try:
        yield made
    finally:
        made.stop()


def test_sessions_are_resumed(world):
    """On the second connection, by everyone who does that. First of all: what is deferred
    later on connects every second."""
    places = {prefix + name: name for name in world.with_tls()
              for prefix in ("", "verify.")}
    for turn in range(2):
        to = {place: "resumed%d@%s.example.net" % (turn, place)
              for place in places}
        for place in places:
            world.send("resumed %d %s" % (turn, place), [to[place]])
        events = {place: world.relay.wait("delivered", to=to[place])
                  for place in places}
        wait_for(lambda: not connections(world), 20, "connections to end")
        assert {event["certificate"] for event in events.values()} == \
            {"verified"}
    assert {place: event["resumed"] for place, event in events.items()} == \
        {place: world.rigs[name].resumes for place, name in places.items()}


def connections(world):
    """Of the relay, to the receivers."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [row for row in rows if row[3] == "01" and
            int(row[2].rpartition(":")[2], 16) == world.port]


def test_messages_arrive_as_they_were_signed(world):
    """One message to all of them."""
    sent = {kind: world.send(kind, ["%s@%s.example.net" % (number, name)
                                    for name in NAMES], **parts)
            for number, (kind, parts) in enumerate(MESSAGES.items())}
    for number, (kind, data) in enumerate(sent.items()):
        for name, rig in world.rigs.items():
            world.check(data, rig.arrived(kind))
            event = world.relay.wait(
                "delivered", to="%s@%s.example.net" % (number, name))
            if rig.has_tls:
                assert event["tls"].startswith("TLSv1."), event
            else:
                assert event["tls"] == "none", event


def test_broken_tls(world):
    """It is left out where that is allowed, which is said once and then known
    to all destinations on that host, also after a reload."""
    broken = [name for name in world.rigs if name not in world.with_tls()]
    if not broken:
        pytest.skip("no receiver here breaks its TLS")
    for name in broken:
        rig = world.rigs[name]
        to = "bob@verify.%s.example.net" % name
        world.send("broken " + name, [to])
        event = world.relay.wait("deferred", to=to)
        assert event["status"] == "4.7.5" and event["mx"] == rig.host, event
        for number in range(3):
            to = "bob@more%d.%s.example.net" % (number, name)
            world.check(world.send(to, [to]), rig.arrived(to))
            if number == 1:
                world.relay.hang_up()
                world.relay.wait("reload")
        failures = world.relay.named("tls-failed")
        assert [one["mx"] for one in failures] == [rig.host]
        assert "handshake" in failures[0]["reason"]


def test_policies(world):
    """In clear because of the policy, and with a certificate that was
    verified; never to whom another name was expected of, nor to whom does not
    offer TLS."""
    to = {(policy, name): "bob@%s.%s.example.net" % (policy, name)
          for policy in ("plain", "verify", "other", "required")
          for name in world.with_tls()}
    sent = {key: world.send(address, [address])
            for key, address in to.items()}
    for (policy, name), address in to.items():
        if policy in ("plain", "verify"):
            world.check(sent[policy, name], world.rigs[name].arrived(address))
            event = world.relay.wait("delivered", to=address)
            assert event["mx"] == world.rigs[name].host
        if policy == "plain":
            assert event["tls"] == "none" and "certificate" not in event
        if policy == "verify":
            assert event["certificate"] == "verified", event
        if policy == "other":
            event = world.relay.wait("deferred", to=address)
            assert event["status"] == "4.7.5", event
            assert "mismatch" in event["reply"], event
        if policy == "required":
            event = world.relay.wait("deferred", to=address)
            assert event["status"] == "4.7.4", event
        if policy in ("other", "required"):
            assert not world.relay.named("delivered", to=address)


def test_recipients(world):
    """200 of them, one who is refused, and one who is put off."""
    to, sent = {}, {}
    for name in NAMES:
        domain = name + ".example.net"
        to[name] = ["r%d@%s" % (number, domain) for number in range(200)]
        sent[name] = world.send(
            "many " + name, ["gone@" + domain, "later@" + domain] + to[name])
    for name, rig in world.rigs.items():
        found = rig.arrived("many " + name, 200)
        world.check(sent[name], found[:1])
        assert sorted(sum((one.recipients for one in found), [])) == \
            sorted(to[name])
        event = world.relay.wait("bounced", to="gone@%s.example.net" % name)
        assert event["reply"].startswith("55"), event
        event = world.relay.wait("deferred", to="later@%s.example.net" % name)
        assert event["reply"].startswith("45"), event
        rig.stop_putting_off()
    for name, rig in world.rigs.items():
        found = rig.arrived("many " + name, 201)
        assert sorted(sum((one.recipients for one in found), [])) == \
            sorted(to[name] + ["later@%s.example.net" % name])
