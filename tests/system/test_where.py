"""Where mail goes: real zones in NSD, Unbound in front of it, and every answer
that the DNS may give."""

import os

import pytest

from harness.names import Silent
from harness.network import Network
from harness.process import wait_for
from harness.smtp import message, submit

ZONE = """
@           IN MX 10 mx
mx          IN A 127.0.0.2
implicit    IN A 127.0.0.2
prefer      IN MX 20 dead
prefer      IN MX 10 mx
dead        IN A 127.0.0.3
alias       IN CNAME alias1
alias1      IN CNAME alias2
alias2      IN CNAME alias3
alias3      IN CNAME implicit
aliasmx     IN MX 10 alias
circle      IN CNAME circle1
circle1     IN CNAME circle
null        IN MX 0 .
null        IN A 127.0.0.2
halfnull    IN MX 0 .
halfnull    IN MX 10 mx
empty       IN TXT "no mail here"
broken      IN CNAME nothing
nohost      IN MX 10 nothing
nohost      IN MX 20 empty
skips       IN MX 10 nothing
skips       IN MX 20 mx
literal     IN MX 10 127.0.0.2.
local       IN MX 0 localhost.
zero        IN A 0.0.0.0
zero        IN AAAA ::
lamemx      IN MX 10 mx.lame.example.
halflame    IN MX 10 mx.lame.example.
halflame    IN MX 20 mx
inside      IN A 127.66.1.1
inside      IN AAAA ::ffff:127.66.1.2
half        IN MX 10 inside
half        IN MX 20 mx
self        IN MX 10 relay.example.com.
selfaddress IN A 127.0.0.1
mapped      IN AAAA ::ffff:127.0.0.1
backup      IN MX 10 mx.lame.example.
backup      IN MX 20 relay.example.com.
backup2     IN MX 10 nothing
backup2     IN MX 20 selfaddress
better      IN MX 10 mx
better      IN MX 20 selfaddress
better      IN MX 20 dead
"""
IDN = "xn--bcher-kva.example"

# domain: event, status, mx, what the reply says
FATES = {
    "example.net": ("delivered", None, "mx.example.net", ""),
    "implicit.example.net": ("delivered", None, "implicit.example.net", ""),
    "prefer.example.net": ("delivered", None, "mx.example.net", ""),
    "alias.example.net": ("delivered", None, "alias.example.net", ""),
    "aliasmx.example.net": ("delivered", None, "alias.example.net", ""),
    "halfnull.example.net": ("delivered", None, "mx.example.net", ""),
    "skips.example.net": ("delivered", None, "mx.example.net", ""),
    "halflame.example.net": ("delivered", None, "mx.example.net", ""),
    "half.example.net": ("delivered", None, "mx.example.net", ""),
    "better.example.net": ("delivered", None, "mx.example.net", ""),
    "literal.example.net": ("delivered", None, "127.0.0.2", ""),
    IDN: ("delivered", None, "mx.example.net", ""),
    "[127.0.0.2]": ("delivered", None, "[127.0.0.2]", ""),
    "null.example.net": ("bounced", "5.1.10", "", "null MX"),
    "nothing.example.net": ("bounced", "5.1.2", "", "does not exist"),
    "broken.example.net": ("bounced", "5.1.2", "", "does not exist"),
    "empty.example.net": ("bounced", "5.4.4", "", "neither MX nor A"),
    "nohost.example.net": ("bounced", "5.4.4", "", "'nothing.example.net'"),
    "local.example.net": ("bounced", "5.4.4", "", "'localhost'"),
    "zero.example.net": ("bounced", "5.4.4", "", "0.0.0.0"),
    "[0.0.0.0]": ("bounced", "5.4.4", "", "0.0.0.0"),
    "inside.example.net": ("bounced", "5.7.1", "", "refuse_addresses"),
    "[127.66.1.1]": ("bounced", "5.7.1", "", "refuse_addresses"),
    "self.example.net": ("bounced", "5.4.6", "", "best MX"),
    "selfaddress.example.net": ("bounced", "5.4.6", "", "loops back"),
    "mapped.example.net": ("bounced", "5.4.6", "", "loops back"),
    "[127.0.0.1]": ("bounced", "5.4.6", "", "loops back"),
    "circle.example.net": ("deferred", "4.4.3", "", "SERVFAIL"),
    "lame.example": ("deferred", "4.4.3", "", "MX of lame.example: SERVFAIL"),
    "lamemx.example.net": ("deferred", "4.4.3", "",
                           "A of mx.lame.example: SERVFAIL"),
    "backup.example.net": ("deferred", "4.4.3", "", "SERVFAIL"),
    "backup2.example.net": ("deferred", "4.4.4", "", "MX hosts before it"),
}


def test_every_answer(world, name_server, recursor, receiver, relay):
    """One message to a recipient in each domain; each has its fate."""
    setup = world.setup
    setup.mx_port = setup.port  # of others; and of ours, where it is a loop
    setup.delivery = 'refuse_addresses = {"127.66.0.0/16"}'
    names = name_server({"example.net": ZONE,
                         IDN: "@ IN MX 10 mx.example.net."})
    setup.resolver = recursor(names, lame=["lame.example"]).resolver
    mx = receiver(setup.mx_port, "127.0.0.2")
    world.relay = relay(setup)
    # The null sender: nobody wants reports.
    submit(setup.port, message(), sender="",
           recipients=["bob@" + domain for domain in FATES])
    for domain, (name, status, host, says) in FATES.items():
        event = world.relay.wait(name, to="bob@" + domain, seconds=60)
        assert event["mx"].rstrip(".") == host, event
        assert status is None or event["status"] == status, event
        assert says in event["reply"], event
        assert event["domain"] == domain
        assert event["address"] == ("127.0.0.2:%d" % setup.mx_port if host
                                    else ""), event
    outcomes = [event["to"] for name in ("delivered", "deferred", "bounced")
                for event in world.relay.named(name)]
    assert sorted(outcomes) == sorted("bob@" + domain for domain in FATES)
    assert sorted(sum((one.recipients for one in mx.deliveries), [])) == \
        sorted("bob@" + domain for domain, fate in FATES.items()
               if fate[0] == "delivered")


def test_an_alias_is_followed_from_server_to_server(world):
    """NSD alone gives the target of an alias only where it is in the same
    zone: the rest is asked for."""
    world.start({"example.net": "one IN CNAME two.example.org.\n"
                                "three IN CNAME mx.example.edu.",
                 "example.org": "two IN MX 10 three.example.net.",
                 "example.edu": "mx IN A 127.0.0.2"})
    submit(world.relay.port, message(), recipients=["bob@one.example.net"])
    delivered = world.relay.wait("delivered")
    assert delivered["mx"] == "three.example.net"


def test_no_report_to_a_domain_that_takes_none(world):
    """The sender's domain has a null MX: its mail is taken, and the report of
    what failed ends with a word in the log."""
    world.start({"example.net": "@ IN A 127.0.0.2",
                 "null.example": "@ IN MX 0 ."})
    submit(world.relay.port, message(), sender="news@null.example",
           recipients=["bob@gone.example.net", "bob@example.net"])
    world.relay.wait("delivered", to="bob@example.net")
    world.relay.wait("bounced", to="bob@gone.example.net", status="5.1.2")
    world.relay.wait("bounced", to="news@null.example", status="5.1.10")
    assert len(world.receiver.deliveries) == 1


def test_equal_hosts_share_the_work(world, receiver):
    """While one has a message in hand the next goes to the other, though both
    connections know one list."""
    receivers = []

    def end(_):
        wait_for(lambda: all(one.sessions for one in receivers), 10,
                 "a connection to each host")
    receivers += [receiver(world.setup.mx_port, address, replies={"END": end})
                  for address in ("127.0.0.2", "127.0.0.3")]
    world.start({"example.net": "@ IN MX 10 one\n@ IN MX 10 two\n"
                                "one IN A 127.0.0.2\ntwo IN A 127.0.0.3"},
                receiver_options=False)
    for _ in range(4):
        submit(world.relay.port, message())
    world.relay.wait("delivered", count=4)
    assert not sum((one.errors for one in receivers), [])


@pytest.fixture
def network(started):
    try:
        made = Network()
    except PermissionError:
        pytest.skip("a network of its own needs root")
    started(made)
    return made


V6_ZONE = """
both   IN MX 10 both.mx
both.mx   IN A 192.0.2.2
both.mx   IN AAAA 2001:db8::2
six    IN AAAA 2001:db8::2
four   IN A 192.0.2.2
dead6  IN MX 10 dead6.mx
dead6.mx  IN AAAA 2001:db8::3
dead6.mx  IN A 192.0.2.2
loop   IN AAAA 2001:db8::1
"""


def test_ipv6(network, world, name_server, receiver, relay):
    """IPv6 first where there is a way to it, never alone, and as told."""
    setup = world.setup
    world.names = name_server({"example.net": V6_ZONE})
    setup.resolver = world.names.resolver
    network.add("192.0.2.2/32")
    receiver(setup.mx_port, "192.0.2.2")
    sent = []

    def send(domain, name, **expected):
        recipient = "bob%d@%s.example.net" % (len(sent), domain)
        sent.append(recipient)
        submit(setup.port, message(), sender="", recipients=[recipient])
        event = world.relay.wait(name, to=recipient)
        for key, value in expected.items():
            assert value in event[key], event

    world.relay = relay(setup)
    # No way to IPv6.
    send("both", "delivered", address="192.0.2.2:")
    send("six", "deferred", status="4.4.1", reply="no way to them")
    # A way, and a host that does not listen there.
    network.add("2001:db8::2/128", "2001:db8::3/128")
    receiver(setup.mx_port, "2001:db8::2")
    send("dead6", "delivered", address="192.0.2.2:")
    send("four", "delivered", address="192.0.2.2:")
    setup.delivery = 'ipv6 = "off"'
    setup.write()
    world.relay.hang_up()
    world.relay.wait("reload")
    send("both", "delivered", address="192.0.2.2:")
    setup.delivery = 'ipv6 = "prefer"'
    setup.write()
    world.relay.hang_up()
    world.relay.wait("reload", count=2)
    send("both", "delivered", address="[2001:db8::2]:")
    # Literals need no name.
    submit(setup.port, message(), sender="",
           recipients=["bob@[IPv6:2001:db8::2]"])
    assert "[2001:db8::2]:" in world.relay.wait(
        "delivered", to="bob@[IPv6:2001:db8::2]")["address"]


def test_ipv6_switched_off(network, world, name_server, receiver, relay):
    """As in many a container: its addresses cannot even be tried, IPv4 can."""
    try:
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as switch:
            switch.write("1")
    except OSError:
        pytest.skip("the kernel's settings cannot be written")
    setup = world.setup
    world.names = name_server({"example.net": V6_ZONE})
    setup.resolver = world.names.resolver
    setup.delivery = 'ipv6 = "prefer"'
    network.add("192.0.2.2/32")
    receiver(setup.mx_port, "192.0.2.2")
    world.relay = relay(setup)
    submit(setup.port, message(), sender="", recipients=["bob@both.example.net"])
    assert world.relay.wait("delivered")["address"].startswith("192.0.2.2:")
    submit(setup.port, message(), sender="", recipients=["bob@six.example.net"])
    deferred = world.relay.wait("deferred")
    assert deferred["status"] == "4.4.1" and "[2001:db8::2]" in \
        deferred["address"] and "cannot connect" in deferred["reply"]


HOLE_ZONE = """
hole1  IN A 192.0.2.2
hole1  IN AAAA 2001:db8:1::2
hole2  IN A 192.0.2.2
hole2  IN AAAA 2001:db8:2::2
hole3  IN A 192.0.2.2
hole3  IN AAAA 2001:db8:3::2
late   IN A 192.0.2.3
late   IN AAAA 2001:db8:3::3
well1  IN A 192.0.2.2
well1  IN AAAA 2001:db8:4::2
well2  IN A 192.0.2.2
well2  IN AAAA 2001:db8:4::2
well3  IN A 192.0.2.2
well3  IN AAAA 2001:db8:4::2
six    IN AAAA 2001:db8:4::2
"""


def test_ipv6_that_leads_nowhere(network, world, name_server, receiver, relay):
    """There is a way to IPv6, and no answer: mail does not wait for it long,
    and after three networks IPv4 is first, until IPv6 works. Where there is
    nothing else IPv6 has its time all the same."""
    setup = world.setup
    world.names = name_server({"example.net": HOLE_ZONE})
    setup.resolver = world.names.resolver
    network.add("192.0.2.2/32", "2001:db8:4::2/128")
    network.swallow("2001:db8::/46", "2001:db8:ffff::1/64")
    receiver(setup.mx_port, "192.0.2.2")
    receiver(setup.mx_port, "2001:db8:4::2")
    world.relay = relay(setup)

    def put(domain):
        submit(setup.port, message(), sender="",
               recipients=["bob@%s.example.net" % domain])

    def send(*domains, address):
        for domain in domains:
            put(domain)
        for domain in domains:
            event = world.relay.wait("delivered",
                                     to="bob@%s.example.net" % domain)
            assert event["address"] == "%s:%d" % (address, setup.mx_port)

    send("well1", address="[2001:db8:4::2]")
    assert not world.relay.named("ipv6")
    put("late")
    send("hole1", "hole2", "hole3", address="192.0.2.2")
    assert "IPv4 is tried first" in world.relay.wait("ipv6")["reason"]
    send("well2", address="192.0.2.2")
    send("six", address="[2001:db8:4::2]")
    assert "works again" in world.relay.wait("ipv6", count=2)["reason"]
    send("well3", address="[2001:db8:4::2]")
    # The one attempt still goes on.
    network.add("2001:db8:3::3/128")
    receiver(setup.mx_port, "2001:db8:3::3")
    late = world.relay.wait("delivered", to="bob@late.example.net")
    assert late["address"].startswith("[2001:db8:3::3]")
    assert not world.relay.named("deferred")


def test_resolv_conf_that_changes(network, world, name_server, receiver, relay,
                                  directory, started):
    """A DHCP client or a VPN names other servers while the relay runs: they are
    asked, also what the old ones have not answered yet."""
    setup = world.setup
    setup.resolver = None
    setup.delivery = 'retry = {"1s"}'
    name_server({"example.net": "@ IN MX 10 mx\nmx IN A 192.0.2.2"}, 53)
    silent = Silent("127.0.0.9", 53)
    started(silent)
    network.add("192.0.2.2/32")
    receiver(setup.mx_port, "192.0.2.2")
    path = os.path.join(directory, "resolv.conf")

    def write(text):
        with open(path, "w") as file:
            file.write(text)

    write("nameserver 127.0.0.9\n")
    world.relay = relay(setup, start=False).launch_with([
        "unshare", "-m", "sh", "-c",
        'mount --bind "$0" /etc/resolv.conf && exec "$@"', path])
    world.relay.wait("ready")
    submit(setup.port, message())
    silent.wait()
    write("search example.org\nnameserver 127.0.0.1\n")
    assert "127.0.0.1 " in world.relay.wait("resolvers")["reason"]
    world.relay.wait("delivered")
