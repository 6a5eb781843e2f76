"""Routes: by recipient and by sender, several hosts, and what becomes of the
queue when they change."""

import json
import re
import subprocess
import threading

import pytest

from harness import signet
from harness.ports import free_port
from harness.process import wait_for
from harness.smtp import message, submit

SHORT = 'retry = {"1s"}\n expire = "300s"'


def listed(world):
    done = signet.run("queue", "list", "--json", config=world.setup.path,
                      check=0)
    return [json.loads(line) for line in done.stdout.splitlines()]


def send(world, sender, recipient="bob@example.net"):
    submit(world.relay.port, message(sender=sender or "alice@example.com"),
           sender=sender, recipients=[recipient])


def senders(server):
    return sorted(one.sender for one in server.deliveries)


@pytest.fixture
def hops(receiver):
    """Next hops by name, all on one port: hops("a", …) starts them."""
    class Hops(dict):
        port = free_port()

        def __call__(self, *names, **options):
            for name in names:
                self[name] = receiver(self.port, self.address(name),
                                      **options)

        @staticmethod
        def address(name):
            return "127.0.0.%d" % (ord(name) - ord("a") + 10)

        def via(self, *names):
            return "via = {%s}" % ", ".join(
                '"%s:%d"' % (self.address(name), self.port) for name in names)
    return Hops()


def reload(world):
    count = len(world.relay.named("reload"))
    world.setup.write()
    world.relay.hang_up()
    world.relay.wait("reload", count=count + 1)


# -- by sender ----------------------------------------------------------------

def test_by_recipient_and_by_sender(world, hops):
    """Recipient first, then the sender: address, domain, below it, any, the
    null path. What no route takes goes to the MX."""
    hops(*"abcdefg")
    world.setup.delivery = SHORT
    world.setup.extra = """
        route "inside.example" { %s }
        route "*" { from = {"boss@example.com"}  %s }
        route "*" { from = {"example.com"}  %s }
        route "*" { from = {"*.example.com"}  %s }
        route "*" { from = {"<>"}  %s }
        route "*.example.net" { from = {"*"}  %s }
        route "[192.0.2.1]" { %s }
    """ % tuple(map(hops.via, "abcdefg"))
    world.start()
    sent = (("boss@example.com", "x@inside.example", "a"),
            ("u@example.org", "x@inside.example", "a"),
            ("Boss@Example.COM", "bob@example.net", "b"),
            ("u@example.com", "bob@example.net", "c"),
            ("u@news.example.com", "bob@example.net", "d"),
            ("u@example.org", "bob@sub.example.net", "f"),
            ("u@example.com", "bob@sub.example.net", "f"),
            ("", "bob@sub.example.net", "e"),
            ("", "bob@example.net", "e"),
            ("u@example.org", "x@[192.0.2.1]", "g"),
            ("u@example.com", "x@[192.0.2.1]", "g"))
    for sender, recipient, _ in sent:
        send(world, sender, recipient)
    send(world, "u@example.org")
    world.relay.wait("delivered", count=len(sent) + 1)
    for name, server in hops.items():
        assert sorted((one.sender, one.recipients[0])
                      for one in server.deliveries) == sorted(
            (sender, recipient) for sender, recipient, to in sent
            if to == name), name
    assert senders(world.receiver) == ["u@example.org"]
    assert all("/" not in one["domain"]
               for one in world.relay.named("delivered"))
    # A report of ours has the null path, whoever it goes to.
    hops["c"].replies["RCPT"] = "550 5.1.1 no such user"
    hops["e"].deliveries.clear()
    send(world, "u@example.com")
    world.relay.wait("bounced")
    assert hops["e"].wait_deliveries(1)[0].recipients == ["u@example.com"]


def test_a_message_for_many_has_a_route_for_each(world, hops):
    """One stored message, one sender, three ways."""
    hops("a", "b")
    world.setup.extra = """
        route "a.example" { %s }
        route "*" { from = {"example.com"}  %s }
    """ % (hops.via("a"), hops.via("b"))
    world.start()
    submit(world.relay.port, message(),
           recipients=["x@a.example", "x@b.example", "y@b.example",
                       "x@c.example"])
    world.relay.wait("delivered", count=4)
    assert [one.recipients for one in hops["a"].deliveries] == [
        ["x@a.example"]]
    assert sorted(one.recipients for one in hops["b"].deliveries) == [
        ["x@b.example", "y@b.example"], ["x@c.example"]]


# -- a queue and routes that change -------------------------------------------

LATER = {"RCPT": "450 4.2.0 later"}


def fill(world, count):
    """Of each of three senders; they all wait."""
    for number in range(count):
        for domain in ("com", "org", "net"):
            send(world, "u%d@example.%s" % (number, domain))
    world.relay.wait("deferred", count=3 * count)
    rows = listed(world)
    assert len(rows) == 3 * count
    assert {one["domain"] for row in rows
            for one in row["recipients"]} == {"example.net"}


def test_what_moves_is_held_all_the_same(world, hops):
    """While a reload and a retry give it another route, it is never unknown:
    held, or left alone because it is being tried."""
    ways = ['route "*" { from = {%s}  %s }' % (names, hops.via("a")) for names
            in ('"example.com"', '"example.com", "a.example.com"')]
    world.setup.delivery = 'retry = {"1h"}'
    world.setup.extra = ways[0]
    world.start()
    for number in range(30):
        send(world, "u%d@example.com" % number,
             "bob@d%d.example.net" % (number % 7))
    for turn in range(4):
        world.setup.extra = ways[(turn + 1) % 2]
        reload(world)
        retry = subprocess.Popen(
            [signet.binary(), "queue", "retry", "--all", "-c",
             world.setup.path], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        held = signet.run("queue", "hold", "--all", config=world.setup.path)
        retry.wait()
        said = (held.stdout + held.stderr).decode()
        assert sum(map(int, re.findall(r"(\d+) message", said))) == 30, said
        signet.run("queue", "release", "--all", config=world.setup.path)
        assert len(listed(world)) == 30


@pytest.mark.parametrize("how", ("reload", "restart", "kill"))
def test_what_waits_takes_the_routes_of_now(world, hops, how):
    """Mail of one sender gets a route, of another loses it, of a third goes
    to another one: all of it, and none goes the old way."""
    hops("a", "b", replies=LATER)
    hops("c", "d")
    world.setup.delivery = SHORT
    world.setup.extra = """
        route "*" { from = {"example.com"}  %s }
        route "*" { from = {"example.org"}  %s }
    """ % (hops.via("a"), hops.via("b"))
    world.start(receiver_options={"replies": LATER})
    fill(world, 12)
    world.setup.extra = """
        route "*" { from = {"example.com", "*.example.com"}  %s }
        route "example.net" { from = {"example.net"}  %s }
    """ % (hops.via("c"), hops.via("d"))
    if how == "reload":
        reload(world)
    else:
        world.setup.write()
        if how == "kill":
            world.relay.kill(whole_family=True)
        else:
            world.relay.stop()
        world.relay.start()
    world.receiver.replies.clear()  # not before: it takes one's by the old way
    old = [len(server.verbs()) for server in (hops["a"], hops["b"])]
    world.relay.wait("delivered", count=36, seconds=40)
    for server, domain in ((hops["c"], "com"), (world.receiver, "org"),
                           (hops["d"], "net")):
        assert senders(server) == sorted(
            "u%d@example.%s" % (number, domain) for number in range(12))
    for server, before in zip((hops["a"], hops["b"]), old):
        assert not server.deliveries
        assert {"MAIL", "RCPT"}.isdisjoint(server.verbs()[before:])
    assert not world.relay.named("bounced")
    wait_for(lambda: listed(world) == [], 10, lambda: listed(world))


# -- several hosts ------------------------------------------------------------

@pytest.mark.parametrize("option", ("route", "smarthost"))
def test_the_next_host_while_the_first_is_down(world, hops, option):
    """In order, in one attempt; what fails is asked once, not by every
    message; the first again once it is well."""
    hops("a", replies={"CONNECT": "421 4.3.2 closing"})
    # The destination is not gone and new in between, which would ask again.
    are_there = threading.Event()
    hops("b", replies={"MAIL": lambda _: are_there.wait() and None})
    hops("c")
    via = hops.via("z", "a", "b", "c")  # nobody listens at z
    if option == "route":
        world.setup.extra = 'route "*" { %s }' % via
    else:
        world.setup.delivery = via.replace("via", "smarthost")
    world.start()
    for number in range(30):
        send(world, "u%d@example.com" % number)
    are_there.set()
    world.relay.wait("delivered", count=30)
    assert not world.relay.named("deferred")
    assert len(hops["b"].deliveries) == 30
    assert not hops["c"].deliveries
    assert hops["a"].sessions <= 5  # as many as there are at first
    hops["a"].replies.clear()
    reload(world)
    send(world, "again@example.com")
    world.relay.wait("delivered", count=31)
    assert senders(hops["a"]) == ["again@example.com"]


def test_all_hosts_down_defers(world, hops):
    world.setup.delivery = SHORT
    world.setup.extra = 'route "*" { %s }' % hops.via("y", "z")
    world.start()
    send(world, "u@example.com")
    deferred = world.relay.wait("deferred")
    assert deferred["mx"] == hops.address("z")
    hops("y")
    world.relay.wait("delivered")
    assert senders(hops["y"]) == ["u@example.com"]


# -- where connections come from ----------------------------------------------

def greetings(server):
    return {command.partition(" ")[2] for _, command in server.commands
            if command.startswith("EHLO")}


def test_bind_and_helo(world, hops, receiver):
    """For all mail, and for a sender's; IPv6 without an address of its own
    goes as the kernel has it. Loops are found as before."""
    hops("a", "b")
    six = receiver(hops.port, "::1")
    world.setup.delivery = SHORT + (
        '\n bind = {"127.0.0.30"}  helo = "all.example.com"')
    world.setup.extra = """
        route "*" { from = {"example.com"}  bind = "127.0.0.31"
                    helo = "com.example.com" }
        route "a.example" { %s  bind = {"127.0.0.32", "::1"} }
        route "b.example" { %s  helo = "b.example.com" }
        route "six.example" { via = "[::1]:%d"  helo = "[IPv6:::1]" }
        route "loop.example" { via = "us.example.net:%d"  bind = "127.0.0.33" }
    """ % (hops.via("a"), hops.via("b"), hops.port, world.setup.port)
    world.start({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2\n"
                                "us IN A 127.0.0.1"})
    send(world, "u@example.org")
    world.relay.wait("delivered", count=1)
    assert world.receiver.peers == ["127.0.0.30"]
    assert greetings(world.receiver) == {"all.example.com"}
    send(world, "u@example.com")
    world.relay.wait("delivered", count=2)
    assert world.receiver.peers == ["127.0.0.30", "127.0.0.31"]
    assert greetings(world.receiver) == {"all.example.com", "com.example.com"}
    for number, name in enumerate(("a", "b", "six")):
        send(world, "u@example.org", "x@%s.example" % name)
        world.relay.wait("delivered", count=3 + number)
    assert hops["a"].peers == ["127.0.0.32"]
    assert greetings(hops["a"]) == {"all.example.com"}
    assert hops["b"].peers == ["127.0.0.30"]
    assert greetings(hops["b"]) == {"b.example.com"}
    assert six.peers == ["::1"] and greetings(six) == {"[IPv6:::1]"}
    send(world, "u@example.org", "x@loop.example")
    assert world.relay.wait("deferred")["status"] == "4.4.6"


def test_an_address_that_is_not_there(world, hops):
    """A warning, and mail waits with a sentence; it goes once the address is
    right."""
    world.setup.delivery = SHORT
    world.setup.extra = (
        'route "*" { from = {"example.com"}  bind = "192.0.2.77" }')
    world.start()
    assert "192.0.2.77" in world.relay.wait("bind")["reason"]
    send(world, "u@example.com")
    deferred = world.relay.wait("deferred")
    assert "this machine does not have that address" in deferred["reply"]
    assert deferred["status"] == "4.4.1"
    world.setup.extra = world.setup.extra.replace("192.0.2.77", "127.0.0.31")
    reload(world)
    world.relay.wait("delivered")
    assert world.receiver.peers == ["127.0.0.31"]
    assert not world.relay.named("bounced")


# -- signatures ---------------------------------------------------------------

FOREIGN = ("DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x;\r\n"
           "\tbh=; b=\r\nARC-Seal: i=1; cv=none\r\n")


def test_sign(world, hops):
    """One stored message, three routes: all signatures, none, those of
    others. A large one is read from the store in pieces."""
    hops("a", "b", extensions=("PIPELINING", "8BITMIME", "CHUNKING"))
    world.setup.extra = """
        route "strip.example" { %s  sign = "strip" }
        route "none.example" { %s  sign = "none" }
    """ % (hops.via("a"), hops.via("b"))
    world.start()
    for number, body in enumerate(("Hello.\r\n", "x" * 70 + "\r\n",)):
        body = body * (1 if number == 0 else 20000)
        submit(world.relay.port,
               message(extra=FOREIGN, body="DKIM-Signature: no\r\n" + body),
               recipients=["x@strip.example", "x@none.example",
                           "bob@example.net"])
        world.relay.wait("delivered", count=3 * (number + 1))
        kept = world.receiver.wait_deliveries(number + 1)[number].data
        stripped, ours = (hops[name].deliveries[number].data
                          for name in ("a", "b"))
        assert kept.count(b"DKIM-Signature: v=1") == 3
        assert stripped.count(b"DKIM-Signature: v=1") == 0
        assert ours.count(b"DKIM-Signature: v=1") == 1
        for one in (stripped, ours):
            assert b"ARC-Seal" in one and b"DKIM-Signature: no" in one
            assert one.partition(b"\r\n\r\n")[2] == \
                kept.partition(b"\r\n\r\n")[2]
        assert ours[ours.index(b"From: "):] == kept[kept.index(b"From: "):]
    for one in world.relay.named("delivered"):
        assert ("unsigned" in one) == (one["domain"] != "example.net"), one
