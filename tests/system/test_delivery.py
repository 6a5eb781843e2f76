"""Delivery: MX, addresses, STARTTLS, refusals, retries."""

import time

import pytest

from harness.faulty import HANG_UP, SILENCE
from harness.ports import free_port
from harness.signet import seconds_of
from harness.smtp import message, submit

SHORT = 'retry = {"1s", "2s"}\n expire = "60s"'


def send(world, **options):
    submit(world.relay.port, message(), **options)
    return world.relay.wait("accepted", count=len(
        world.relay.named("accepted")) or 1)


def test_second_host_when_the_first_is_down(world, receiver):
    """Nobody listens at the first; the second takes it, in one attempt."""
    world.start({"example.net": "@ IN MX 10 one\n@ IN MX 20 two\n"
                                "one IN A 127.0.0.3\ntwo IN A 127.0.0.2"})
    send(world)
    delivered = world.relay.wait("delivered")
    assert delivered["mx"].rstrip(".") == "two.example.net"
    assert not world.relay.named("deferred")


@pytest.mark.parametrize("trouble", (
    {"CONNECT": HANG_UP}, {"CONNECT": "421 4.3.2 closing"},
    {"CONNECT": "554 5.3.2 no service"}, {"EHLO": HANG_UP},
    {"MAIL": "421 4.3.2 closing"}, {"MAIL": "451 4.3.0 later"}), ids=str)
def test_second_host_when_the_first_is_sick(world, receiver, trouble):
    world.setup.delivery = SHORT
    first = receiver(world.setup.mx_port, "127.0.0.3", replies=trouble)
    world.start({"example.net": "@ IN MX 10 one\n@ IN MX 20 two\n"
                                "one IN A 127.0.0.3\ntwo IN A 127.0.0.2"})
    send(world)
    delivered = world.relay.wait("delivered")
    assert delivered["mx"].rstrip(".") == "two.example.net"
    assert first.sessions >= 1


def test_preference(world, receiver):
    """The lower number first, however the answer is ordered."""
    best = receiver(world.setup.mx_port, "127.0.0.3")
    world.start({"example.net": "@ IN MX 30 two\n@ IN MX 5 one\n"
                                "one IN A 127.0.0.3\ntwo IN A 127.0.0.2"})
    for _ in range(4):
        submit(world.relay.port, message())
    best.wait_deliveries(4)
    assert world.receiver.deliveries == []


def test_every_address_of_a_host(world):
    world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.3\n"
                                "mx IN A 127.0.0.4\nmx IN A 127.0.0.2"})
    send(world)
    delivered = world.relay.wait("delivered")
    assert delivered["address"].startswith("127.0.0.2")


def test_no_mx_means_the_host_itself(world):
    world.start({"example.net": "@ IN A 127.0.0.2"})
    send(world)
    assert world.relay.wait("delivered")["mx"].rstrip(".") == "example.net"


def test_mx_behind_a_cname(world):
    world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2\n"
                                "alias IN CNAME @"})
    send(world, recipients=["bob@alias.example.net"])
    world.relay.wait("delivered")
    assert world.receiver.wait_deliveries(1)


def test_an_odd_yes_brings_no_second_copy(world):
    world.setup.delivery = SHORT
    world.start(receiver_options={
        "replies": {"END": "250-ok\r\nqueued as 17\r\n250 bye"}})
    for _ in range(2):
        send(world)
    world.relay.wait("delivered", count=2)
    assert len(world.receiver.deliveries) == 2
    assert not world.relay.named("deferred")


def test_null_mx(world):
    """RFC 7505: a permanent failure, 5.1.10, and no attempt."""
    world.start({"example.net": "@ IN MX 0 .\n@ IN A 127.0.0.2",
                 "example.com": "@ IN MX 10 mx.example.com.\n"
                                "mx IN A 127.0.0.2"})
    send(world)
    bounced = world.relay.wait("bounced")
    assert bounced["status"] == "5.1.10"
    report = world.receiver.wait_deliveries(1)[0]
    assert report.recipients == ["alice@example.com"]
    assert b"5.1.10" in report.data


def test_a_domain_that_does_not_exist(world):
    world.start({"example.net": "x IN A 127.0.0.2",
                 "example.com": "@ IN MX 10 mx.example.com.\n"
                                "mx IN A 127.0.0.2"})
    send(world, recipients=["bob@nowhere.example.net"])
    bounced = world.relay.wait("bounced")
    assert bounced["status"] == "5.1.2"


def test_resolver_down_defers(world):
    world.setup.delivery = SHORT
    world.start()
    world.names.stop()
    send(world)
    deferred = world.relay.wait("deferred", seconds=60)
    assert deferred["next"]
    assert deferred["status"] == "4.4.3"
    assert "MX of example.net" in deferred["reply"]
    assert not world.relay.named("bounced")
    world.names.start()
    world.relay.wait("delivered", seconds=60)


def test_servfail_defers(world, setup):
    """A name server that refuses the zone is no proof that it is not there."""
    world.setup.delivery = SHORT
    world.start()
    send(world, recipients=["bob@other.example"])  # NSD: REFUSED
    deferred = world.relay.wait("deferred", seconds=60)
    assert deferred["status"] == "4.4.3"
    assert "REFUSED" in deferred["reply"]
    assert not world.relay.named("bounced")


def test_second_resolver(world):
    """The first resolver is dead, the second answers."""
    configured = world.setup
    dead = "127.0.0.1:%d" % free_port()
    names_before = configured.text

    def text():
        return names_before().replace(
            'resolvers = {"', 'resolvers = {"%s", "' % dead)
    configured.text = text
    world.start()
    send(world)
    world.relay.wait("delivered", seconds=30)


def test_a_truncated_answer(world):
    """An MX answer too large for UDP is asked for again over TCP."""
    many = "\n".join("@ IN MX 10 a-rather-long-name-for-a-host-number-%d" % i
                     for i in range(150))
    hosts = "\n".join("a-rather-long-name-for-a-host-number-%d IN A 127.0.0.2"
                      % i for i in range(150))
    world.start({"example.net": many + "\n" + hosts})
    send(world)
    world.relay.wait("delivered", seconds=30)


# -- STARTTLS ---------------------------------------------------------------

def test_starttls_is_used(world):
    """Of the authorities that the system trusts none knows the receiver."""
    world.start(receiver_options={"tls": "good"}, env={"SSL_CERT_FILE": None})
    send(world)
    delivered = world.relay.wait("delivered")
    assert "TLSv1" in str(delivered["tls"])
    assert delivered["certificate"] == "self-signed certificate"
    assert world.receiver.wait_deliveries(1)[0].tls in ("TLSv1.2", "TLSv1.3")
    assert world.receiver.verbs().count("EHLO") == 2  # once more behind TLS


def test_starttls_not_offered(world):
    world.start()
    send(world)
    delivered = world.relay.wait("delivered")
    assert not delivered["tls"] or delivered["tls"] == "none"
    assert "STARTTLS" not in world.receiver.verbs()


@pytest.mark.parametrize("kind", ("refused", "garbage", "hang up"))
def test_starttls_that_fails(world, kind):
    """In clear then, on a new connection where the old one is spoilt."""
    world.setup.delivery = SHORT
    world.start(receiver_options={"tls": kind})
    send(world)
    world.relay.wait("delivered", seconds=30)
    assert world.receiver.wait_deliveries(1)[0].tls == ""
    if kind != "refused":
        assert world.receiver.sessions >= 2


def test_tls_required_never_sends_in_clear(world):
    world.setup.delivery = SHORT + '\n tls = "required"'
    world.start(receiver_options={"tls": "garbage"})
    send(world)
    world.relay.wait("deferred")
    assert "MAIL" not in world.receiver.verbs()


def test_tls_none_does_not_start(world):
    world.setup.delivery = 'tls = "none"'
    world.start(receiver_options={"tls": "good"})
    send(world)
    world.relay.wait("delivered")
    assert "STARTTLS" not in world.receiver.verbs()


# -- refusals and retries ---------------------------------------------------

def test_retry_schedule(world):
    """1 s, then 2 s, then 2 s again: the last one repeats."""
    answers = iter(["450 4.2.0 later"] * 3)
    times = []

    def rcpt(_):
        times.append(time.monotonic())
        return next(answers, None)
    world.setup.delivery = SHORT
    world.start(receiver_options={"replies": {"RCPT": rcpt}})
    send(world)
    delivered = world.relay.wait("delivered", seconds=30)
    deferred = world.relay.named("deferred")
    assert len(deferred) == 3
    assert all("450" in event["reply"] and "later" in event["reply"]
               for event in deferred)
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    # Never early, and due with no more than the jitter on top. A loaded machine
    # may be late once, a fault is always.
    for gap, event, wanted in zip(gaps, deferred, (1, 2, 2)):
        assert gap >= wanted * 0.75, gaps
        assert seconds_of(event["next"]) - seconds_of(event["time"]) <= \
            wanted + 2.5
    assert any(gap <= wanted + 2.5 for gap, wanted in zip(gaps, (1, 2, 2))), gaps
    assert delivered["delay"] >= 4


@pytest.mark.parametrize("where", ("MAIL", "RCPT", "DATA", "END"))
@pytest.mark.parametrize("code", ("451 4.3.0 later", "552 5.2.2 full"))
def test_refused_at_every_step(world, where, code):
    """4yz is tried again and arrives; 5yz is not, and bounces."""
    answers = iter([code])
    world.setup.delivery = SHORT
    world.start(
        {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"},
        receiver_options={"replies": {where: lambda _: next(answers, None)}})
    send(world, sender="alice@nowhere.example")
    if code.startswith("4"):
        assert world.relay.wait("deferred")["reply"].startswith("451")
        world.relay.wait("delivered", seconds=30)
        assert len(world.receiver.deliveries) == 1
    else:
        assert world.relay.wait("bounced")["reply"].startswith("552")
        assert world.receiver.deliveries == []


@pytest.mark.parametrize("where", ("MAIL", "RCPT", "DATA", "END"))
def test_connection_lost_at_every_step(world, where):
    answers = iter([HANG_UP])
    world.setup.delivery = SHORT
    world.start(receiver_options={
        "replies": {where: lambda _: next(answers, None)}})
    send(world)
    world.relay.wait("delivered", seconds=30)
    assert len(world.receiver.deliveries) == 1


def test_a_receiver_that_is_down_for_a_while(world):
    world.setup.delivery = SHORT
    world.start(receiver_options=False)
    send(world)
    world.relay.wait("deferred")
    from harness.faulty import Receiver
    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        world.relay.wait("delivered", seconds=30)
        late.wait_deliveries(1)
    finally:
        late.stop()


def test_each_recipient_has_a_fate_of_its_own(world):
    """One delivered, one deferred and later delivered, one bounced."""
    busy = iter(["450 4.2.1 busy"])

    def rcpt(address):
        if address.startswith("gone"):
            return "550 5.1.1 nobody of that name"
        if address.startswith("busy"):
            return next(busy, None)
        return None
    world.setup.delivery = SHORT
    world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
                 "example.com": "@ IN MX 10 mx.example.net."},
                receiver_options={"replies": {"RCPT": rcpt}})
    send(world, recipients=["good@example.net", "busy@example.net",
                            "gone@example.net"])
    world.relay.wait("delivered", to="good@example.net")
    world.relay.wait("bounced", to="gone@example.net")
    world.relay.wait("deferred", to="busy@example.net")
    world.relay.wait("delivered", to="busy@example.net", seconds=30)
    world.relay.wait("delivered", to="alice@example.com")
    ours = [one for one in world.receiver.deliveries if one.sender]
    assert sorted(sum((one.recipients for one in ours), [])) == \
        ["busy@example.net", "good@example.net"]


def test_connections_are_reused(world):
    """Many messages for one destination do not need many connections."""
    world.start()
    for _ in range(40):
        submit(world.relay.port, message())
    world.receiver.wait_deliveries(40, seconds=30)
    assert world.receiver.sessions < 40


def test_old_server_without_ehlo(world):
    world.start(receiver_options={"replies": {"EHLO": "502 5.5.1 what?"}})
    send(world)
    world.relay.wait("delivered")
    assert "HELO" in world.receiver.verbs()


def test_a_size_that_the_receiver_does_not_take(world):
    """SIZE says that it is hopeless: no need to send it."""
    world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"},
                receiver_options={"extensions": ["SIZE 1000"]})
    submit(world.relay.port, message(body="x\r\n" * 10000),
           sender="alice@nowhere.example")
    bounced = world.relay.wait("bounced")
    assert bounced["status"] == "5.3.4"
    assert world.receiver.deliveries == []


def test_our_own_listener_is_no_destination(world):
    """An MX that points at ourselves would be a loop."""
    world.setup.mx_port = world.setup.port
    world.setup.delivery = SHORT
    world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.1"},
                receiver_options=False)
    submit(world.relay.port, message(), sender="alice@nowhere.example")
    bounced = world.relay.wait("bounced")
    assert bounced["status"] == "5.4.6"
    assert len(world.relay.named("accepted")) <= 2


def test_one_dead_destination_delays_no_other(world):
    """A receiver that accepts connections and says nothing."""
    world.setup.delivery = SHORT
    from harness.faulty import Receiver
    silent = Receiver(world.setup.mx_port, "127.0.0.3",
                      replies={"CONNECT": SILENCE})
    try:
        world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2\n"
                                    "slow IN MX 10 tar\ntar IN A 127.0.0.3"})
        for number in range(30):
            submit(world.relay.port, message(),
                   recipients=["b%d@slow.example.net" % number])
        send(world)
        world.relay.wait("delivered", to="bob@example.net")
        assert not world.relay.named("deferred"), "it was waited for"
    finally:
        silent.stop()


# -- where else mail may go ---------------------------------------------------

def test_smarthost(world, receiver):
    """Everything goes there, and nobody asks for MX."""
    port = free_port()
    hub = receiver(port, "127.0.0.4", tls="good")
    world.setup.delivery = 'smarthost = "127.0.0.4:%d"' % port
    world.start({"example.com": "hub IN A 127.0.0.4"})
    submit(world.relay.port, message(),
           recipients=["a@example.net", "b@nowhere.example"])
    hub.wait_deliveries(1)
    world.relay.wait("delivered", count=2)
    assert sorted(sum((one.recipients for one in hub.deliveries), [])) == \
        ["a@example.net", "b@nowhere.example"]
    assert world.receiver.deliveries == []
    # As a name, looked up as an address.
    world.setup.delivery = 'smarthost = "hub.example.com:%d"' % port
    world.setup.write()
    world.relay.hang_up()
    world.relay.wait("reload")
    submit(world.relay.port, message())
    world.relay.wait("delivered", count=3)


def test_routes(world, receiver):
    """The closest route wins; the rest goes to the MX."""
    port = free_port()
    exact = receiver(port, "127.0.0.4")
    below = receiver(port, "127.0.0.5")
    world.setup.extra = (
        'route "example.org" { via = "127.0.0.4:%d" }\n'
        'route "*.example.org" { via = "127.0.0.5:%d" }\n' % (port, port))
    world.start()
    for domain in ("example.org", "deep.example.org", "example.net"):
        submit(world.relay.port, message(), recipients=["x@" + domain])
    world.relay.wait("delivered", count=3)
    for server, domain in ((exact, "example.org"), (world.receiver,
                                                    "example.net"),
                           (below, "deep.example.org")):
        assert [one.recipients for one in server.deliveries] == \
            [["x@" + domain]]
