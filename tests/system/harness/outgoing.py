"""Mail that leaves through an MTA and its milter: who signs it, how it is
sent, and what the judges say of what arrived.

One domain for each canonicalization, so that one running server shows all
four.
"""

import re
import tempfile
import threading

from . import judge, jury
from .messages import MESSAGES
from .process import wait_for
from .smtp import Client

CANONS = {"ss.example.com": "simple/simple", "sr.example.com": "simple/relaxed",
          "rs.example.com": "relaxed/simple",
          "rr.example.com": "relaxed/relaxed"}
# Of every domain here, in the order in which they are configured.
SELECTORS = ("rsa", "ed")
SENDERS = 4

SECTION = """
domain "{domain}" {{
    canonicalization = "{canon}"
    {more}
    selector "rsa" {{ key = "{domain}/rsa.pem" }}
    selector "ed"  {{ key = "{domain}/ed.pem" }}
}}
"""


def make_keys(keys, domains=CANONS):
    for domain in domains:
        keys.make(domain, "rsa", "rsa")
        keys.make(domain, "ed", "ed25519")


def sections(domains=None, more=""):
    """Domain sections: {domain: canonicalization}."""
    return "".join(SECTION.format(domain=domain, canon=canon, more=more)
                   for domain, canon in (domains or CANONS).items())


def of(domain, message):
    """A message with this domain in the place of example.com."""
    return message.replace(b"example.com", domain.encode()).replace(
        b"EXAMPLE.COM", domain.upper().encode())


def snippet(path, ours, theirs):
    """A file of etc/ as an admin would use it, with another socket."""
    with open(path) as file:
        text = file.read()
    assert text.count(ours) == 1, "%s has not one %s" % (path, ours)
    return text.replace(ours, theirs)


class Outgoing:
    """Sends to an MTA whose next hop is a faulty.Receiver."""

    def __init__(self, receiver, records):
        self.receiver, self.records = receiver, records

    def send(self, port, messages, sender="alice@example.com", source=None,
             parameters=""):
        """Sends them all, a few connections at once; returns what arrived of
        each, in order."""
        before = len(self.receiver.deliveries)
        refused = []
        threads = [threading.Thread(target=self._send_some, args=(
            port, messages, first, sender, source, parameters, refused))
            for first in range(min(SENDERS, len(messages)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not refused, refused
        wanted = ["to%d@example.net" % number
                  for number in range(len(messages))]

        def arrived():
            found = {one.recipients[0]: one.data
                     for one in self.receiver.deliveries[before:]}
            return found if all(one in found for one in wanted) else None

        found = wait_for(arrived, 60, lambda: "%d messages; there are %d" % (
            len(wanted), len(self.receiver.deliveries) - before))
        return [found[one] for one in wanted]

    def _send_some(self, port, messages, first, sender, source, parameters,
                   refused):
        try:
            with Client(port, source=source, timeout=60) as client:
                client.ehlo()
                for number in range(first, len(messages), SENDERS):
                    client.expect("MAIL FROM:<%s>%s" % (sender, parameters),
                                  250)
                    client.expect("RCPT TO:<to%d@example.net>" % number, 250)
                    reply = client.data(messages[number])
                    if reply[0] != 250:
                        refused.append((number, reply))
                client.say("QUIT")
        except Exception as error:  # the caller's thread has to hear of it
            refused.append((first, repr(error)))

    def one(self, port, message, **options):
        return self.send(port, [message], **options)[0]

    def passes(self, data, domain):
        """{selector: passed} of this domain's signatures, by dkimpy."""
        return {one.selector: one.passed
                for one in judge.dkimpy(data, judge.lookup_in(self.records))
                if one.domain == domain}

    def judged_by_opendkim(self, arrived):
        """By the library: OpenDKIM's own test mode writes the header anew."""
        with tempfile.TemporaryDirectory(prefix="signet-judge") as directory:
            return jury.OpenDkim.verify(
                arrived, jury.Records(directory, self.records))

    def assert_signed(self, arrived, domains, names=None):
        """Each has every selector of its domain, in their order, and both
        dkimpy and OpenDKIM say that each signature is good."""
        others = self.judged_by_opendkim(arrived)
        bad = []
        for number, (data, domain) in enumerate(zip(arrived, domains)):
            for who, verdicts in (
                    ("dkimpy", judge.dkimpy(
                        data, judge.lookup_in(self.records))),
                    ("OpenDKIM", others[number])):
                ours = [(one.selector, one.passed) for one in verdicts
                        if one.domain == domain]
                if ours != [(selector, True) for selector in SELECTORS]:
                    bad.append((names[number] if names else number, domain,
                                who, ours))
        assert not bad, "%d: %s" % (len(bad), bad[:20])


def without_received(data):
    """What is left of a message without Received and our own fields."""
    return re.sub(rb"(?:Received|DKIM-Signature):.*(?:\r\n[ \t].*)*\r\n", b"",
                  data.partition(b"\r\n\r\n")[0] + b"\r\n")


def cases(*left_out):
    """(names, messages) of all that is awkward, as an MTA gets it."""
    names = [name for name in MESSAGES
             if name not in ("bare LF for newlines",) + left_out]
    return names, [MESSAGES[name] for name in names]
