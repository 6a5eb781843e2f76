"""Postfix with `signet milter`, set up by etc/postfix/main.cf as it stands:
what leaves it verifies, whichever way it came in.

One Postfix and one milter serve the whole module; a test that wants Postfix
configured otherwise starts another one.
"""

import contextlib
import os
import re
import threading

import pytest

from harness import judge, smtp
from harness.faulty import Receiver
from harness.judge import Keys
from harness.messages import MESSAGES, USUAL
from harness.milter import MilterSetup, SignetMilter
from harness.outgoing import (CANONS, SELECTORS, Outgoing, cases, make_keys,
                              of, sections, snippet, without_received)
from harness.ports import free_port
from harness.postfix import Relaying
from harness.process import wait_for
from harness.signet import ROOT

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("milter_postfix")

SNIPPET = os.path.join(ROOT, "etc/postfix/main.cf")
STRANGER = "127.0.0.5"  # of Postfix's mynetworks, not of sign_from
HOST = "mx.example.com"  # writes the delivery reports
IN_QUEUE = "unix:signet/milter.sock"
OPTIONS = 'sign_from = {"127.0.0.1/32"}'


class World(Outgoing):
    """Everything that the module shares."""

    def __init__(self, directory):
        keys = Keys(os.path.join(directory, "keys"))
        make_keys(keys, list(CANONS) + [HOST])
        self.setup = MilterSetup(os.path.join(directory, "signet"), keys,
                                 OPTIONS)
        self.setup.domains = {}
        self.setup.extra = sections() + sections({HOST: "relaxed/relaxed"})
        super().__init__(Receiver(free_port()), keys.records)
        self.keys = keys
        self.milter = SignetMilter(self.setup, start=False)
        self.on_unix = SignetMilter(self._unix_setup(directory),
                                    start=False)
        self.on_inet6 = SignetMilter(self._inet6_setup(directory),
                                     start=False)
        self.postfix = None
        self.directory = directory

    def _unix_setup(self, directory):
        """Only root and the group of Postfix's user may connect. Below the
        queue directory, where smtpd finds it with and without a chroot."""
        setup = MilterSetup(os.path.join(directory, "on-unix"), self.keys,
                            'socket_group = "daemon"')
        place = os.path.join(directory, "postfix/queue/signet")
        os.makedirs(place)
        setup.socket = "unix:" + os.path.join(place, "milter.sock")
        setup.domains, setup.extra = {}, sections()
        return setup

    def _inet6_setup(self, directory):
        setup = MilterSetup(os.path.join(directory, "on-inet6"), self.keys)
        setup.socket = "inet6:%d@::1" % setup.milter_port
        setup.domains, setup.extra = {}, sections()
        return setup

    def start(self):
        self.milter.start()
        for other in (self.on_unix, self.on_inet6):
            other.launch().wait("ready")
        self.main = snippet(
            SNIPPET, "inet:127.0.0.1:8891",
            "inet:127.0.0.1:%d" % self.setup.milter_port
        ) + "myorigin = %s\n" % HOST
        self.originating = free_port()
        self.by_unix = [free_port(), free_port()]
        self.by_inet6 = free_port()
        self.postfix = Relaying(
            self.directory, self.receiver.port, self.main,
            services={
                self.originating: ["milter_macro_daemon_name=ORIGINATING"],
                self.by_inet6: ["inet_protocols=all",
                                "smtpd_milters=inet:[::1]:%d" %
                                self.on_inet6.port],
                self.by_unix[0]: ["smtpd_milters=" + IN_QUEUE],
                self.by_unix[1]: ["chroot", "smtpd_milters=" + IN_QUEUE]})
        return self

    @contextlib.contextmanager
    def configured(self, name, **parameters):
        """Another Postfix, with these in its main.cf."""
        postfix = Relaying(
            os.path.join(self.directory, name), self.receiver.port,
            self.main + "".join("%s = %s\n" % parameter
                                for parameter in parameters.items()))
        try:
            yield postfix
        finally:
            postfix.stop()

    def stop(self):
        if self.postfix is not None:
            self.postfix.stop()
        self.receiver.stop()
        for milter in (self.milter, self.on_unix, self.on_inet6):
            try:
                if milter.process and milter.process.poll() is None:
                    milter.stop()
            finally:
                milter.discard()


@pytest.fixture(scope="module")
def world(module_directory):
    made = World(module_directory)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(autouse=True)
def usual(world):
    yield
    world.receiver.replies.clear()
    assert not world.receiver.errors


@pytest.mark.parametrize("domain", CANONS)
def test_what_leaves_verifies(world, domain):
    names, messages = cases()
    sent = [of(domain, message) for message in messages]
    arrived = world.send(world.postfix.port, sent)
    world.assert_signed(arrived, [domain] * len(sent), names)
    for data in arrived:
        ours = [tags for tags in judge.signature_tags(data)
                if tags["d"] == domain]
        assert [tags["c"] for tags in ours] == \
            [CANONS[domain]] * len(SELECTORS)
    # Nothing but Received and the signatures came to it.
    plain = names.index("500 fields")
    assert without_received(arrived[plain]) == \
        sent[plain].partition(b"\r\n\r\n")[0] + b"\r\n"


def test_a_unix_socket(world):
    plain = of("rr.example.com", MESSAGES["plain"])
    world.milter.stop()  # so that it is not the one that answers
    data = [world.one(port, plain) for port in world.by_unix]
    world.milter.start()
    world.assert_signed(data, ["rr.example.com"] * 2)


def test_an_inet6_socket(world):
    plain = of("rr.example.com", MESSAGES["plain"])
    signed = len(world.on_inet6.named("signed"))
    world.assert_signed([world.one(world.by_inet6, plain)],
                        ["rr.example.com"])
    world.on_inet6.wait("signed", count=signed + 1)


def test_a_large_body(world):
    """20 MB, lines that begin with a dot among them."""
    line = b"." + b"0123456789abcdef" * 4 + b" \r\n"
    sent = [of(domain, USUAL) + b"\r\n" + line * (20000000 // len(line))
            for domain in CANONS]
    arrived = world.send(world.postfix.port, sent)
    for domain, data, message in zip(CANONS, arrived, sent):
        assert data.endswith(message.partition(b"\r\n\r\n")[2])
        # dkimpy takes a minute for so much.
        assert [(one.domain, one.selector, one.passed)
                for one in world.judged_by_opendkim([data])[0]] == [
                    (domain, selector, True) for selector in SELECTORS]


def test_sendmail_command(world):
    """What comes without SMTP, has no client, and lacks half of a header."""
    before = len(world.receiver.deliveries)
    messages = [
        b"From: alice@rr.example.com\nTo: bob@example.net\n\nno date\n",
        b"From: alice@ss.example.com\nTo: bob@example.net\nSubject: a\n"
        b" folded\n\tone\n\n.\n..\n.leading dots\n",
        b"From: alice@sr.example.com\nTo: bob@example.net\n\n",
        MESSAGES["8-bit body"].replace(b"\r\n", b"\n").replace(
            b"example.com", b"rs.example.com")]
    for message in messages:
        world.postfix.sendmail(message, "-t", "-i")
    arrived = world.receiver.wait_deliveries(
        before + len(messages))[before:]
    domains = [re.search(rb"From: .*@(\w\w\.example\.com)", one.data)
               .group(1).decode() for one in arrived]
    assert sorted(domains) == sorted(CANONS)
    world.assert_signed([one.data for one in arrived], domains)


def test_delivery_reports(world):
    """A report has the empty sender, and its author is this host."""
    before = len(world.receiver.deliveries)
    world.receiver.replies["RCPT"] = lambda address: (
        "550 5.1.1 nobody" if address.startswith("nobody@") else None)
    smtp.submit(world.postfix.port, of("rr.example.com", MESSAGES["plain"]),
                recipients=("nobody@example.net",))
    report = world.receiver.wait_deliveries(before + 1)[-1]
    assert (report.sender, report.recipients) == ("", ["alice@example.com"])
    assert b"From: Mail Delivery System <MAILER-DAEMON@%s>" % \
        HOST.encode() in report.data
    world.assert_signed([report.data], [HOST])


def test_whose_mail_is_not_signed(world):
    """Not a stranger's, unless his daemon's name says so; not that of a
    domain without keys."""
    plain = of("rr.example.com", MESSAGES["plain"])
    data = world.one(world.postfix.port, plain, source=STRANGER)
    assert not judge.signature_tags(data)
    data = world.one(world.originating, plain, source=STRANGER)
    world.assert_signed([data], ["rr.example.com"])
    data = world.one(world.postfix.port, of("example.org", plain))
    assert judge.dkimpy(data, judge.lookup_in(world.records)) == []


def test_who_has_logged_in_is_signed(world):
    """Postfix tells its milters so; XCLIENT has it believe in a login."""
    before = len(world.receiver.deliveries)
    message = of("rr.example.com", MESSAGES["plain"]).decode()
    with world.configured(
            "login", smtpd_sasl_auth_enable="yes",
            smtpd_authorized_xclient_hosts="127.0.0.0/8",
            smtpd_relay_restrictions="check_client_access static:permit, "
            "reject",
            smtpd_recipient_restrictions="permit") as postfix:
        for who in ("", " LOGIN=alice"):
            with smtp.Client(postfix.port) as client:
                for line in ("EHLO client.example.com",
                             "XCLIENT ADDR=192.0.2.7" + who,
                             "EHLO client.example.com",
                             "MAIL FROM:<alice@example.com>",
                             "RCPT TO:<bob@example.net>", "DATA",
                             message + "."):
                    assert client.say(line)[0] in (220, 250, 354), line
        arrived = world.receiver.wait_deliveries(before + 2)[before:]
    signed = [one.data for one in arrived if judge.signature_tags(one.data)]
    assert len(signed) == 1
    world.assert_signed(signed, ["rr.example.com"])


def test_a_milter_that_is_gone(world):
    """Nothing leaves unsigned: SMTP is told to come again, and what
    sendmail(1) took waits."""
    plain = of("rr.example.com", MESSAGES["plain"])
    before = len(world.receiver.deliveries)
    world.milter.stop()
    with smtp.Client(world.postfix.port) as client:
        reply = client.say("EHLO client.example.com")
        if reply[0] == 250:
            reply = client.say("MAIL FROM:<alice@example.com>")
        assert reply[0] in (421, 451), reply
    said = len(world.postfix.maillog())
    world.postfix.sendmail(plain.replace(b"\r\n", b"\n"), "-i",
                           "-f", "alice@example.com", "bob@example.net")
    wait_for(lambda: "milter" in world.postfix.maillog()[said:], 10,
             "pickup to hand it on")
    world.milter.start()
    data = world.one(world.postfix.port, plain)
    world.assert_signed([data], ["rr.example.com"])
    arrived = world.receiver.wait_deliveries(before + 2)[before:]
    world.assert_signed([one.data for one in arrived],
                        ["rr.example.com"] * 2)


def test_reloads_under_load_drop_nothing(world):
    plain = [of("rr.example.com", MESSAGES["plain"]) for _ in range(60)]
    done = threading.Event()
    reloads = []

    def reload():
        while not done.is_set():
            count = len(world.milter.named("reload"))
            world.milter.hang_up()
            world.milter.wait("reload", count=count + 1)
            reloads.append(1)

    thread = threading.Thread(target=reload)
    thread.start()
    arrived = []
    try:
        while len(reloads) < 3:
            arrived += world.send(world.postfix.port, plain)
    finally:
        done.set()
        thread.join()
    for data in arrived:
        assert world.passes(data, "rr.example.com") == \
            dict.fromkeys(SELECTORS, True)


# What Postfix does to a message after its milters, and the setting of
# etc/postfix/README.md that keeps the signature whole.

LABELLED = USUAL + (b"MIME-Version: 1.0\r\nContent-Type: text/plain;"
                    b" charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
                    ) + "Grüße\r\n".encode()
LATER = {
    "long lines are folded": USUAL + b"\r\n" + b"y" * 2000 + b"\r\n",
    "8-bit text is recoded": LABELLED,
    "addresses are mapped": USUAL.replace(b"alice@", b"mapped@") + b"\r\nx\r\n",
    "headers are edited": USUAL.replace(b"awkward", b"edit") + b"\r\nx\r\n",
}
MAP = "inline:{mapped@rr.example.com=other@rr.example.com}"
EDIT = "regexp:{{/^Subject: edit/ REPLACE Subject: edited}}"
BREAKING = {"smtp_line_length_limit": "998",
            "disable_mime_output_conversion": "no",
            "smtp_generic_maps": MAP, "smtp_header_checks": EDIT}
KEEPING = {"smtp_line_length_limit": "0",
           "canonical_maps": MAP, "header_checks": EDIT}

# What it does before its milters see the message, so that nothing breaks:
# (what is sent, what arrives of it).
BEFORE = {
    "a missing Date and Message-ID": (
        b"From: alice@example.com\r\n\r\nx\r\n", b"\r\nDate: "),
    "an address without a domain": (
        USUAL.replace(b"Bob <bob@example.net>", b"bob") + b"\r\nx\r\n",
        b"To: bob@domain.invalid\r\n"),
    "an author that is masqueraded": (
        USUAL.replace(b"alice@", b"alice@host.") + b"\r\nx\r\n",
        b"From: Alice <alice@rr.example.com>\r\n"),
    "a Bcc": (USUAL + b"Bcc: carol@example.net\r\n\r\nx\r\n", b"\r\n\r\nx"),
    "a body that is cut by a check": (
        USUAL + b"\r\none\r\nforbidden\r\ntwo\r\n", b"\r\none\r\ntwo\r\n"),
}
FIRST = {"always_add_missing_headers": "yes",
         "local_header_rewrite_clients": "",
         "remote_header_rewrite_domain": "domain.invalid",
         "masquerade_domains": "rr.example.com",
         "body_checks": "regexp:{{/^forbidden/ IGNORE}}"}


def test_what_postfix_changes(world):
    """Later: seen to break every signature, then to leave every one whole
    with the settings that do the same before."""
    domain = "rr.example.com"
    later = [of(domain, message) for message in LATER.values()]
    before = [of(domain, message) for message, _ in BEFORE.values()]
    extensions = world.receiver.extensions
    world.receiver.extensions = [one for one in extensions
                                 if one != "8BITMIME"]
    try:
        with world.configured("breaking", **BREAKING) as postfix:
            for name, data in zip(LATER, world.send(postfix.port, later)):
                assert world.passes(data, domain) == \
                    dict.fromkeys(SELECTORS, False), name
        with world.configured("keeping", **KEEPING, **FIRST) as postfix:
            arrived = world.send(postfix.port, later + before)
    finally:
        world.receiver.extensions = extensions
    world.assert_signed(arrived, [domain] * len(arrived),
                        list(LATER) + list(BEFORE))
    assert b"other@rr.example.com" in arrived[2]
    assert b"Subject: edited" in arrived[3]
    for (name, (_, wanted)), data in zip(BEFORE.items(),
                                         arrived[len(later):]):
        assert wanted in data, (name, data)
        assert b"carol@" not in data
