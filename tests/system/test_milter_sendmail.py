"""Sendmail with `signet milter`, set up by etc/sendmail/signet.mc as it
stands: what leaves it verifies, and what Sendmail does to a message after its
milters is known, one by one, with the setting that keeps the signature whole.
"""

import os
import re

import pytest

from harness import judge, smtp
from harness.faulty import Receiver
from harness.judge import Keys
from harness.messages import MESSAGES, USUAL
from harness.milter import MilterSetup, SignetMilter
from harness.outgoing import (CANONS, SELECTORS, Outgoing, cases, make_keys,
                              of, sections, snippet, without_received)
from harness.ports import free_port
from harness.sendmail import Sendmail
from harness.signet import ROOT

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("milter_sendmail")

SNIPPET = os.path.join(ROOT, "etc/sendmail/signet.mc")
OURS = "inet:8891@127.0.0.1"
HOST = "mx.example.com"
# Signs nothing that Sendmail adds where it is missing.
DATELESS = "dateless.example.com"
DATELESS_OPTIONS = 'oversign = {"From", "Subject", "To", "Cc", "Reply-To"}'
DOMAINS = list(CANONS) + [HOST, DATELESS]

# Address fields that Sendmail writes anew, with the same addresses: only
# simple canonicalization of the header minds.
REFORMATTED = ("much space after colon", "space at end of fields",
               "long To, folded")
# It takes the b of "a:b;" for an address without a domain, and adds one.
COMPLETED = ("colons in values",)


class World(Outgoing):
    """The milter and the next hop, which the module shares. A Sendmail starts
    in a twentieth of a second, so that each configuration has its own."""

    def __init__(self, directory):
        keys = Keys(os.path.join(directory, "keys"))
        make_keys(keys, DOMAINS)
        self.directory = directory
        self.setup = MilterSetup(os.path.join(directory, "signet"), keys)
        self.setup.domains = {}
        self.setup.extra = (
            sections() + sections({HOST: "relaxed/relaxed"}) +
            sections({DATELESS: "relaxed/relaxed"}, DATELESS_OPTIONS))
        super().__init__(Receiver(free_port()), keys.records)
        self.milter = SignetMilter(self.setup, start=False)
        self.running = []

    def sendmail(self, site, relay_port=None, **options):
        """A further Sendmail; without relay_port it hands mail to the next
        hop."""
        place = os.path.join(self.directory, "mta%d" % len(self.running))
        made = Sendmail(place, relay_port or self.receiver.port, site,
                        **options)
        self.running.append(made)
        return made

    def snippet(self):
        return snippet(SNIPPET, OURS, self.setup.socket)

    def filter_only(self):
        """The milter, and nothing that keeps signatures whole."""
        return re.search(r"^INPUT_MAIL_FILTER.*\n", self.snippet(),
                         re.M).group()

    def stop(self):
        for made in self.running:
            made.stop()
        self.receiver.stop()
        try:
            if self.milter.process and self.milter.process.poll() is None:
                self.milter.stop()
        finally:
            self.milter.discard()


@pytest.fixture(scope="module")
def world(module_directory):
    made = World(module_directory)
    try:
        made.milter.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def mta(world):
    """Sendmail as the snippet makes it."""
    return world.sendmail(world.snippet())


@pytest.mark.parametrize("domain", CANONS)
def test_what_leaves_verifies(world, mta, domain):
    left_out = COMPLETED
    if CANONS[domain].startswith("simple/"):
        left_out += REFORMATTED
    names, messages = cases(*left_out)
    sent = [of(domain, message) for message in messages]
    arrived = world.send(mta.port, sent)
    world.assert_signed(arrived, [domain] * len(sent), names)
    plain = names.index("500 fields")
    assert without_received(arrived[plain]) == \
        sent[plain].partition(b"\r\n\r\n")[0] + b"\r\n"


def test_a_large_body(world, mta):
    """20 MB, lines that begin with a dot among them."""
    line = b"." + b"0123456789abcdef" * 4 + b" \r\n"
    sent = of("ss.example.com", USUAL) + b"\r\n" + line * (
        20000000 // len(line))
    data = world.one(mta.port, sent)
    assert data.endswith(sent.partition(b"\r\n\r\n")[2])
    assert world.passes(data, "ss.example.com") == \
        dict.fromkeys(SELECTORS, True)


def test_sendmail_command(world, mta):
    """It adds what is missing, and writes the addresses anew, before the
    daemon and its milter see the message."""
    before = len(world.receiver.deliveries)
    mta.submit(b"From: alice@ss.example.com\nTo: bob@example.net,"
               b"carol@example.net\n\n.\n..\nno date, no id\n", "-t", "-i")
    arrived = world.receiver.wait_deliveries(before + 1)[before:]
    world.assert_signed([one.data for one in arrived], ["ss.example.com"])


def test_a_milter_that_is_gone(world, mta):
    plain = of("rr.example.com", MESSAGES["plain"])
    world.milter.stop()
    with smtp.Client(mta.port) as client:
        client.ehlo()
        assert client.say("MAIL FROM:<alice@example.com>")[0] == 451
    world.milter.start()
    world.assert_signed([world.one(mta.port, plain)], ["rr.example.com"])


# What Sendmail does to a message after its milters:
# name: (message, m4 without which it happens, m4 that keeps it whole or "")

LABELLED = USUAL + (b"MIME-Version: 1.0\r\nContent-Type: text/plain;"
                    b" charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
                    ) + "Grüße\r\n".encode()
TEXT = b"\r\nx\r\n"
LATER = {
    "a display name is quoted":
        USUAL.replace(b"Alice", b"Alice B. C.") + TEXT,
    "8-bit text is recoded": LABELLED,
    "a MIME field is mended": USUAL + (
        b'MIME-Version: 1.0\r\nContent-Type: text/plain; charset="us-ascii'
        b"\r\n") + TEXT,
    "long lines are folded": USUAL + b"\r\n" + b"y" * 3000 + b"\r\n",
}
LONG = "define(`SMTP_MAILER_LL', `0')define(`RELAY_MAILER_LL', `0')\n"


def test_what_a_setting_prevents(world):
    """Seen to break every signature, then to leave every one whole."""
    domain = "rr.example.com"
    messages = [of(domain, message) for message in LATER.values()]
    extensions = world.receiver.extensions
    world.receiver.extensions = [one for one in extensions
                                 if one != "8BITMIME"]
    try:
        bare = world.sendmail(world.filter_only(), mailer="esmtp")
        for name, data in zip(LATER, world.send(bare.port, messages)):
            assert world.passes(data, domain) == \
                dict.fromkeys(SELECTORS, False), name
        world.milter.warned("`confMUST_QUOTE_CHARS', `'", "`SMTP', `+8'",
                            "`confMAX_MIME_HEADER_LENGTH', `0/0'",
                            "`SMTP_MAILER_LL', `0'")
        kept = world.sendmail(world.snippet() + LONG, mailer="esmtp")
        world.assert_signed(world.send(kept.port, messages),
                            [domain] * len(messages), list(LATER))
    finally:
        world.receiver.extensions = extensions


# What no setting of one Sendmail prevents, and a second one does: the first
# rewrites, the second signs. {name: (author's domain, message)}
REWRITTEN = {
    "an address list": ("rr.example.com", USUAL.replace(
        b"Bob <bob@example.net>", b"bob@example.net,carol@example.net") + TEXT),
    "an address without a domain": ("rr.example.com", USUAL.replace(
        b"Bob <bob@example.net>", b"bob") + TEXT),
    "a missing Date": ("rr.example.com", b"From: alice@example.com\r\n"
                       b"To: bob@example.net\r\nSubject: x\r\n" + TEXT),
    "a header line without end": ("rr.example.com", USUAL.replace(
        b"awkward", b"awk " * 1000) + TEXT),
    "an author that is masqueraded": (HOST, USUAL + TEXT),
}
REWRITTEN.update((name, ("ss.example.com", MESSAGES[name]))
                 for name in REFORMATTED)
MASQUERADE = "MASQUERADE_AS(`rr.example.com')\n"
SAME_NAME = "MODIFY_MAILER_FLAGS(`RELAY', `+k')\n"


def test_what_a_second_sendmail_prevents(world, mta):
    alone = world.sendmail(world.snippet() + MASQUERADE)
    messages = [of(domain, message)
                for domain, message in REWRITTEN.values()]
    domains = [domain for domain, _ in REWRITTEN.values()]
    for name, domain, data in zip(REWRITTEN, domains,
                                  world.send(alone.port, messages)):
        assert world.passes(data, domain) == \
            dict.fromkeys(SELECTORS, False), name
    world.milter.warned("separated by", "without a domain", "no Date",
                        "a line of a signed field has over 990",
                        "lays them out anew")
    first = world.sendmail(MASQUERADE + SAME_NAME, relay_port=mta.port)
    domains = ["rr.example.com" if domain == HOST else domain
               for domain in domains]
    world.assert_signed(world.send(first.port, messages), domains,
                        list(REWRITTEN))


def test_a_missing_date_that_is_not_promised(world, mta):
    """Without Date in oversign nothing is said about one, and Sendmail may
    add it."""
    data = world.one(mta.port, of(DATELESS, b"From: alice@example.com\r\n"
                                  b"To: bob@example.net\r\n" + TEXT))
    assert b"\r\nDate:" in data
    world.assert_signed([data], [DATELESS])


def test_its_own_reports_are_not_signed(world, mta):
    """Sendmail shows its milters what comes by SMTP, and nothing else."""
    before = len(world.receiver.deliveries)
    world.receiver.replies["RCPT"] = lambda address: (
        "550 5.1.1 nobody" if address.startswith("nobody@") else None)
    try:
        smtp.submit(mta.port, of("rr.example.com", MESSAGES["plain"]),
                    recipients=("nobody@example.net",))
        report = world.receiver.wait_deliveries(before + 1)[-1]
    finally:
        world.receiver.replies.clear()
    assert (report.sender, report.recipients) == ("", ["alice@example.com"])
    ours = report.data.partition(b"\r\n\r\n")[0]
    assert b"DKIM-Signature" not in ours
    assert judge.signature_tags(report.data) == []
