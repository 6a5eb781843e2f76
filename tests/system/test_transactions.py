"""One message to so many recipients of one next hop that it takes several
transactions: between two of them the rest of the message has no more of the
connection, nor of the rules that it was made by, than another message has; and
what has become of its first recipients is not forgotten."""

import collections
import threading

import pytest

from harness import faulty
from harness.kills import is_idle
from harness.process import wait_for
from harness.smtp import Client, message, submit

SPARE = ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]


def addresses(count):
    return ["user%d@example.net" % i for i in range(count)]


def start(world, options, most, **replies):
    world.setup.delivery = 'retry = {"1h"}\n' + options
    world.start(receiver_options={
        "replies": replies, "extensions": SPARE + ["LIMITS RCPTMAX=%d" % most]})


def reached(world):
    """How often each recipient has been."""
    return collections.Counter(address
                               for delivery in world.receiver.deliveries
                               for address in delivery.recipients)


class Gate:
    """Final replies: so many at once, the others once it is open."""

    def __init__(self, count):
        self.left, self.opened = count, threading.Event()

    def __call__(self, argument):
        self.left -= 1
        if self.left < 0:
            self.opened.wait(30)


def open_at_stop(idle, gate):
    """An idle client is told behind all deliveries; the event is there before."""
    assert idle.reply()[0] == 421
    gate.opened.set()


@pytest.mark.parametrize("leaves", ["421 4.7.0 too many messages", faulty.HANG_UP])
def test_a_host_that_leaves_between_two(world, leaves):
    mails = collections.Counter()

    def mail(argument):
        mails[world.receiver.sessions] += 1
        return leaves if mails[world.receiver.sessions] > 5 else None

    start(world, "max_connections = 1", 2, MAIL=mail)
    submit(world.relay.port, message(), recipients=addresses(40))
    world.receiver.wait_deliveries(20)
    world.relay.wait("delivered", count=40)
    assert set(reached(world).values()) == {1}
    assert not world.relay.named("deferred")
    assert world.receiver.sessions == 4


def test_the_rest_goes_by_the_rules_of_a_reload(world):
    gate = Gate(3)
    start(world, "", 1, END=gate)
    submit(world.relay.port, message(), recipients=addresses(20))
    world.receiver.wait_deliveries(4)
    world.setup.delivery = 'retry = {"1h"}\ntls = "required"'
    world.setup.write()
    world.relay.hang_up()
    world.relay.wait("reload")
    gate.opened.set()
    world.relay.wait("deferred", count=16)
    world.relay.wait("delivered", count=4)
    assert len(world.receiver.deliveries) == 4
    assert all("does not offer STARTTLS" in event["reply"]
               for event in world.relay.named("deferred"))


def test_a_stop_ends_it(world):
    gate = Gate(3)
    start(world, "", 5, END=gate)
    submit(world.relay.port, message(), recipients=addresses(60))
    world.receiver.wait_deliveries(4)
    with Client(world.relay.port) as idle:
        threading.Thread(target=open_at_stop, args=(idle, gate)).start()
        world.relay.stop()
    assert len(world.receiver.deliveries) == 4
    world.relay.start()
    world.relay.wait("delivered", count=60)
    assert set(reached(world).values()) == {1}
    assert len(reached(world)) == 60


@pytest.mark.parametrize("most", [100, 5])
def test_little_is_sent_twice_after_a_crash(world, most):
    """Also by a host that takes few on one connection."""
    gate, mails = Gate(35), collections.Counter()

    def mail(argument):
        mails[world.receiver.sessions] += 1
        return "421 4.7.0 enough" \
            if mails[world.receiver.sessions] > most else None

    start(world, "", 1, END=gate, MAIL=mail)
    submit(world.relay.port, message(), recipients=addresses(40))
    world.receiver.wait_deliveries(36)
    world.relay.kill(whole_family=True)
    gate.opened.set()
    world.relay.start()
    wait_for(lambda: len(reached(world)) == 40, 20, lambda: reached(world))
    # Not by the log, of which the dead one may have had some lines left.
    wait_for(lambda: is_idle(world.relay), 20, "an empty queue", pause_s=0.2)
    assert sum(count - 1 for count in reached(world).values()) <= 10


def test_little_is_sent_twice_with_somebody_deferred(world):
    """He is not tried again with each part of the rest."""
    gate, asked = Gate(35), []

    def rcpt(argument):
        if "user0@" in argument:
            asked.append(argument)
            return "450 4.2.0 later"

    start(world, "", 1, END=gate, RCPT=rcpt)
    submit(world.relay.port, message(), recipients=addresses(40))
    world.receiver.wait_deliveries(36)
    assert len(asked) == 1
    world.relay.kill(whole_family=True)
    gate.opened.set()
    world.relay.start()
    wait_for(lambda: len(reached(world)) == 39, 20, lambda: reached(world))
    world.relay.wait("deferred")
    assert sum(count - 1 for count in reached(world).values()) <= 10
    assert len(asked) == 2


def test_a_connection_is_not_used_without_end(world):
    start(world, "", 1)
    submit(world.relay.port, message(), recipients=addresses(110))
    world.relay.wait("delivered", count=110)
    by_session = collections.Counter(delivery.session
                                     for delivery in world.receiver.deliveries)
    assert max(by_session.values()) <= 100
    assert set(reached(world).values()) == {1}


def test_a_report_of_a_part_says_when(world):
    """Made while the rest of the message is still under way: first attempt, and
    its own."""
    start(world, "", 1, RCPT=lambda argument:
          "550 5.1.1 nobody" if "user3@" in argument else None)
    submit(world.relay.port, message(), sender="alice@example.net",
           recipients=addresses(24))
    world.relay.wait("delivered", count=24)  # 23, and the report
    report, = [each.data for each in world.receiver.deliveries
               if each.sender == ""]
    assert b"\r\nLast-Attempt-Date: " in report
    assert report.count(b"\r\nFinal-Recipient: ") == 1
