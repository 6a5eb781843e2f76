"""Hosts that behave in every way, and what becomes of one message to each.

One relay, one table. Each row is a host with a domain of its own; all of them
are sent to at once.
"""

import os

import pytest

from harness import signet
from harness.faulty import HANG_UP, SILENCE, Receiver
from harness.names import NameServer
from harness.ports import free_port
from harness.process import wait_for
from harness.smtp import Client, message, submit

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("outbound")

DELIVERED, DEFERRED, BOUNCED = "delivered", "deferred", "bounced"
MEANINGLESS = ["SIZE 10", "PIPELINING", "8BITMIME"]


class Row:
    """host: options of its Receiver; then: of a second MX host. policy: of its
    route. outcome of the first attempt, and what its event has: a text is what
    the value begins with. arrives: deliveries in the end; sessions: connections
    to the first host, where they are counted; never_clear: no MAIL without
    TLS."""

    def __init__(self, what, host, outcome, event=None, policy="",
                 arrives=None, then=None, sessions=None, never_clear=False):
        self.what, self.host, self.then = what, host, then
        self.outcome, self.event, self.policy = outcome, event or {}, policy
        self.arrives = (1 if outcome == DELIVERED else 0) \
            if arrives is None else arrives
        self.sessions, self.never_clear = sessions, never_clear


def once(reply):
    """This reply to the first, and then the usual one."""
    replies = iter([reply])
    return lambda argument: next(replies, None)


def says(**replies):
    return {"replies": replies}


CLEAR = {"tls": "none", "certificate": None}
TLS = {"tls": "TLSv1.3 ", "certificate": "self-signed certificate",
       "resumed": False}
REQUIRED = 'tls = "required"'
VERIFY = 'tls = "verify"'
LINES = "\r\n".join(["220-mx.example.net"] * 200)

ROWS = [
    # -- how the conversation goes --
    Row("usual", {}, DELIVERED, dict(CLEAR, reply="250 2.0.0 kept")),
    Row("no EHLO", says(EHLO="502 5.5.1 what?"), DELIVERED),
    Row("no pipelining", {"extensions": []}, DELIVERED),
    Row("replies octet by octet", {"dribbles": True}, DELIVERED),
    Row("a long greeting", says(CONNECT="220-a\r\n220-b\r\n220 c"), DELIVERED),
    Row("a greeting without end", says(CONNECT=LINES), DEFERRED,
        {"status": "4.5.0"}),
    Row("a greeting of two codes", says(CONNECT="220-a\r\n554 b"), DEFERRED,
        {"status": "4.3.2", "reply": "554 a b"}),
    Row("a long line", says(CONNECT="220 " + "x" * 100000), DEFERRED,
        {"status": "4.5.0"}),
    Row("NUL in a reply", says(RCPT="550 5.1.1 a\x00b"), BOUNCED,
        {"reply": "550 5.1.1 a?b"}),
    Row("no SMTP", says(CONNECT="HTTP/1.0 400 Bad Request"), DEFERRED,
        {"status": "4.5.0"}),
    Row("a greeting of 554, and another host", says(CONNECT="554 no"),
        DELIVERED, then={}),
    Row("a greeting of 421, and another host", says(CONNECT="421 no"),
        DELIVERED, then={}),
    Row("a greeting of 521", says(CONNECT="521 no mail"), DEFERRED,
        {"reply": "521 no mail"}),
    Row("RCPT refused with 556", says(RCPT="556 5.1.10 no mail"), BOUNCED,
        {"status": "5.1.10"}),
    Row("hangs up at EHLO, and another host", says(EHLO=HANG_UP), DELIVERED,
        then={}),
    Row("hangs up at MAIL, and another host", says(MAIL=HANG_UP), DELIVERED,
        then={}),
    Row("421 at MAIL, and another host", says(MAIL="421 no"), DELIVERED,
        then={}),
    Row("451 at MAIL, and another host", says(MAIL="451 4.3.0 no"), DELIVERED,
        then={}),
    Row("421 at RCPT, and another host", says(RCPT="421 no"), DELIVERED,
        then={}),
    Row("421 at DATA, and another host", says(DATA="421 no"), DELIVERED,
        then={}),
    Row("450 at RCPT: not to another host", says(RCPT=once("450 4.2.0 no")),
        DEFERRED, {"reply": "450 4.2.0 no"}, then={}, arrives=1),
    Row("451 at DATA", says(DATA=once("451 4.3.0 no")), DEFERRED,
        {"status": "4.3.0"}, arrives=1),
    Row("452 to the message", says(END=once("452 4.3.1 full")), DEFERRED,
        {"status": "4.3.1"}, arrives=1),
    Row("452 to the message, and another host", says(END="452 4.3.1 full"),
        DELIVERED, then={}),
    Row("554 to the message", says(END="554 5.7.1 spam"), BOUNCED,
        {"status": "5.7.1"}),
    Row("354 to MAIL", says(MAIL="354 go"), DEFERRED, {"status": "4.5.0"}),
    Row("250 to DATA", says(DATA="250 ok"), DEFERRED, {"status": "4.5.0"}),
    Row("gone behind the message: later, and not to another host",
        says(END=once(HANG_UP)), DEFERRED,
        {"reply": "4.4.2 the connection was lost while waiting for the final "
         "reply; the message may be sent twice"},
        then={}, arrives=1),
    Row("QUIT is not answered", says(QUIT=SILENCE), DELIVERED),
    # -- opportunistic TLS --
    Row("TLS", {"tls": "good"}, DELIVERED, TLS, never_clear=True),
    Row("TLS 1.0", {"tls": "old"}, DELIVERED, {"tls": "TLSv1 "},
        never_clear=True),
    Row("TLS 1.0 where 1.2 is the least", {"tls": "old"}, DELIVERED, CLEAR,
        'tls_min = "1.2"', sessions=2),
    Row("STARTTLS refused with 454", {"tls": "refused"}, DELIVERED, CLEAR,
        sessions=1),
    Row("STARTTLS refused with 500",
        {"tls": "good", "replies": {"STARTTLS": "500 what"}}, DELIVERED, CLEAR,
        sessions=1),
    Row("STARTTLS refused with 421",
        {"tls": "good", "replies": {"STARTTLS": "421 no"}}, DELIVERED, CLEAR,
        sessions=2),
    Row("no handshake", {"tls": "garbage"}, DELIVERED, CLEAR, sessions=2),
    Row("hangs up at the handshake", {"tls": "hang up"}, DELIVERED, CLEAR,
        sessions=2),
    Row("a reply injected before the handshake", {"tls": "injected"},
        DELIVERED, CLEAR, sessions=2),
    Row("what was said before TLS is forgotten",
        {"tls": "good", "extensions": MEANINGLESS, "later_extensions": []},
        DELIVERED, TLS, never_clear=True),
    Row("no handshake, and no mail in clear",
        {"tls": "garbage", "replies": {"MAIL": "530 5.7.0 STARTTLS first"}},
        DEFERRED, {"reply": "530 5.7.0"}),
    Row("hangs up over TLS, not without", {"tls": "good", "replies": {
        "EHLO": lambda _, count=iter(range(9)):
        HANG_UP if next(count) == 1 else None}}, DELIVERED, CLEAR,
        sessions=2),
    Row("421 over TLS is no trouble of TLS", {"tls": "good", "replies": {
        "EHLO": lambda _, count=iter(range(9)):
        "421 4.3.2 busy" if next(count) == 1 else None}}, DEFERRED,
        {"reply": "421 4.3.2 busy"}, arrives=1, never_clear=True),
    Row("TLS by policy none", {"tls": "good"}, DELIVERED, CLEAR,
        'tls = "none"'),
    # -- TLS that is required --
    Row("required", {"tls": "good"}, DELIVERED, TLS, REQUIRED,
        never_clear=True),
    Row("required, not offered", {}, DEFERRED, {"status": "4.7.4"}, REQUIRED,
        never_clear=True),
    Row("required, not offered, by the other host", {}, DELIVERED, TLS,
        REQUIRED, then={"tls": "good"}, never_clear=True),
    Row("required, refused", {"tls": "refused"}, DEFERRED,
        {"status": "4.7.0"}, REQUIRED, never_clear=True),
    Row("required, no handshake", {"tls": "garbage"}, DEFERRED,
        {"status": "4.7.5"}, REQUIRED, never_clear=True),
    Row("required, hangs up", {"tls": "hang up"}, DEFERRED,
        {"status": "4.7.5"}, REQUIRED, never_clear=True),
    Row("required, injected", {"tls": "injected"}, DEFERRED,
        {"status": "4.7.5"}, REQUIRED, never_clear=True),
    Row("required, EHLO refused", says(EHLO="502 5.5.1 what?"), DEFERRED,
        {"status": "4.7.4"}, REQUIRED, never_clear=True),
    Row("required, TLS 1.0", {"tls": "old"}, DEFERRED, {"status": "4.7.5"},
        REQUIRED, never_clear=True),
    Row("required, TLS 1.0 allowed", {"tls": "old"}, DELIVERED,
        {"tls": "TLSv1 "}, REQUIRED + ' tls_min = "1.0"', never_clear=True),
    Row("verify, nobody vouches", {"tls": "good"}, DEFERRED,
        {"reply": "4.7.5 the peer's certificate is not trusted"},
        VERIFY, never_clear=True),
]


def domain(number):
    return "r%d.example.net" % number


def number_of(what):
    return [row.what for row in ROWS].index(what)


class World:
    def __init__(self, directory, keys, certificate):
        self.directory, self.keys = directory, keys
        self.certificate = certificate
        self.receivers = []
        self.names = self.relay = None
        self.port = free_port()

    def start(self):
        zone = ""
        for number, row in enumerate(ROWS):
            hosts = [row.host] + ([row.then] if row.then is not None else [])
            made = []
            for place, options in enumerate(hosts):
                address = "127.0.%d.%d" % (10 + place, number + 1)
                made.append(Receiver(self.port, address,
                                     certificate=self.certificate, **options))
                zone += "r%d IN MX %d m%d-%d\nm%d-%d IN A %s\n" % (
                    number, place, number, place, number, place, address)
            self.receivers.append(made)
        # The host of the row "TLS", for those who want to know whom they talk
        # to.
        zone += "careful IN MX 0 m%d-0\n" % number_of("TLS")
        self.names = NameServer(self.directory, {"example.net": zone})
        setup = signet.Setup(os.path.join(self.directory, "signet"),
                             self.keys, self.names.resolver,
                             mx_port=self.port)
        setup.delivery = 'retry = {"1s"}'
        setup.extra = "".join(
            'route "%s" { %s }\n' % (domain(number), row.policy)
            for number, row in enumerate(ROWS) if row.policy)
        setup.extra += 'route "careful.example.net" { %s }\n' % VERIFY
        setup.extra += 'route "address.example.net" { via = "%s:%d" }\n' % (
            self.receivers[number_of("TLS")][0].address, self.port)
        self.relay = signet.Relay(setup, start=False)
        self.relay.start()
        with Client(self.relay.port) as client:
            client.ehlo()
            for number in range(len(ROWS)):
                client.transaction("alice@nowhere.example",
                                   ["bob@" + domain(number)], message())

    def stop(self):
        try:
            if self.relay and self.relay.process:
                self.relay.stop()
        finally:
            if self.relay:
                self.relay.discard()
            for receiver in sum(self.receivers, []):
                receiver.stop()
            if self.names:
                self.names.stop()


@pytest.fixture(scope="module")
def world(module_directory, keys, certificate):
    os.mkdir(os.path.join(module_directory, "signet"))
    made = World(module_directory, keys, certificate)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def outcome(world, number):
    """The first event of a row's recipient."""
    to = "bob@" + domain(number)
    return wait_for(
        lambda: next((event for event in list(world.relay.events)
                      if event.get("to") == to), None), 20,
        lambda: "%s\n%s" % (ROWS[number].what, world.relay.tail()))


def check_event(row, event):
    assert event["event"] == row.outcome, event
    for name, value in row.event.items():
        found = event.get(name)
        assert found == value or (
            isinstance(value, str) and value and
            str(found).startswith(value)), (name, found)


def check_row(world, number):
    row, receivers = ROWS[number], world.receivers[number]
    event = outcome(world, number)
    sessions = receivers[0].sessions
    check_event(row, event)
    if row.sessions is not None:
        assert sessions == row.sessions
    wait_for(lambda: sum(len(one.deliveries) for one in receivers) >=
             row.arrives, 20, lambda: world.relay.tail())
    for receiver in receivers:
        assert not receiver.errors, receiver.errors
    deliveries = sum((one.deliveries for one in receivers), [])
    assert len(deliveries) == row.arrives
    if row.never_clear:
        assert all(one.tls for one in deliveries)
        assert not any("MAIL" in receiver.verbs() for receiver in receivers
                       if not any(one.tls for one in receiver.deliveries))


def test_each_host(world):
    bad = []
    for number, row in enumerate(ROWS):
        try:
            check_row(world, number)
        except AssertionError as error:
            bad.append("%s: %s" % (row.what, error))
    assert not bad, "\n".join(bad)


def test_a_careless_session_is_not_resumed_by_the_careful(world):
    number = number_of("TLS")
    assert outcome(world, number)["event"] == DELIVERED
    for wanted in (DELIVERED, DEFERRED):
        to = "bob@" + ("careful.example.net" if wanted == DEFERRED
                       else domain(number))
        submit(world.relay.port, message(), sender="alice@nowhere.example",
               recipients=[to])
        # Perhaps on the connection that is still there.
        event = world.relay.wait(wanted, to=to)
    assert event["status"] == "4.7.5" and "self-signed" in event["reply"]
    ROWS[number].arrives += 1


def send_to(world, to):
    submit(world.relay.port, message(), sender="alice@nowhere.example",
           recipients=[to])
    return world.relay.wait("delivered", to=to)


def test_the_server_is_told_its_name_but_no_address(world):
    number = number_of("TLS")
    host = world.receivers[number][0]
    outcome(world, number)
    assert set(host.server_names) == {"m%d-0.example.net" % number}
    event = send_to(world, "bob@address.example.net")
    assert event["tls"].startswith("TLSv1.3") and not event["resumed"]
    assert event["certificate"] == "self-signed certificate"
    assert host.server_names[-1] is None
    ROWS[number].arrives += 1


@pytest.mark.parametrize("what", ["TLS", "TLS 1.0"])
def test_sessions_are_resumed(world, what):
    """Again and again, in each version's own way."""
    number = number_of(what)
    host = world.receivers[number][0]
    outcome(world, number)
    for turn in range(2):
        wait_for(host.is_alone, 10, "the connection to end")
        event = send_to(world, "turn%d@%s" % (turn, domain(number)))
        assert event["resumed"], event
    ROWS[number].arrives += 2


def test_nobody_got_it_twice(world):
    """After all those retries."""
    for number, row in enumerate(ROWS):
        outcome(world, number)
        assert sum(len(one.deliveries)
                   for one in world.receivers[number]) <= row.arrives, row.what


def test_broken_tls_is_said_once(world):
    failures = [one["mx"] for one in world.relay.named("tls-failed")]
    broken = [number for number, row in enumerate(ROWS) if row.sessions == 2]
    assert broken
    for number in broken:
        assert failures.count("m%d-0.example.net" % number) == 1
