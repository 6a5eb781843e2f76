"""When what was deferred is tried again, and that nobody gets it twice."""

import os
import signal

import pytest

from harness import signet
from harness.preload import ClockJumps
from harness.process import wait_for
from harness.reports import Report
from harness.smtp import message, submit

ZONES = {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
         "example.com": "@ IN MX 10 mx.example.net."}


class Times:
    """A recipient's first answers; then he is taken."""

    def __init__(self, **answers):
        self.answers = {name: list(given) for name, given in answers.items()}

    def __call__(self, address):
        left = self.answers.get(address.partition("@")[0])
        return left.pop(0) if left else None


@pytest.fixture
def retrying(world):
    world.setup.subdomains = True
    world.setup.delivery = 'retry = {"1s"}\n expire = "60s"'
    return world


def recipients_of(world):
    return sorted(to for one in world.receiver.deliveries
                  for to in one.recipients)


def test_each_recipient_once(retrying):
    """2xx, 4xx and 5xx in one transaction, and 4xx behind DATA."""
    ends = ["451 4.3.0 not now"]
    world = retrying.start(ZONES, {"replies": {
        "RCPT": Times(late=["450 4.2.0 later"] * 2, bob=["550 5.1.1 no"] * 9,
                      full=["452 4.2.2 full"]),
        "END": lambda unused: ends.pop() if ends else None}})
    submit(world.relay.port, message(), recipients=[
        name + "@example.net" for name in ("ok", "late", "bob", "full")])
    for name in ("ok", "late", "full"):
        world.relay.wait("delivered", to=name + "@example.net")
    # The first transaction was refused behind DATA; its bob before that.
    delivered = world.receiver.wait_deliveries(3)
    assert recipients_of(world) == [
        "alice@example.com", "full@example.net", "late@example.net",
        "ok@example.net"]
    assert len(world.relay.named("bounced")) == 1
    assert Report([one for one in delivered if one.sender == ""][0].data) \
        .actions() == {"bob@example.net": "failed"}
    assert len(world.relay.named("deferred", to="ok@example.net")) == 1
    # Never earlier than asked.
    first, second = [signet.seconds_of(event["time"])
                     for event in world.relay.named(
                         "deferred", to="late@example.net")][:2]
    assert second - first >= 0.99


def test_a_crash_repeats_nobody(retrying):
    """Killed once the store knows that one has it and the other has not."""
    world = retrying.start(ZONES, {"replies": {
        "RCPT": Times(late=["450 4.2.0 later"] * 3)}})
    submit(world.relay.port, message(),
           recipients=["ok@example.net", "late@example.net"])
    world.relay.wait("delivered", to="ok@example.net")

    def stored():
        said = signet.run("queue", "list", "--json",
                          config=world.setup.path).stdout.decode()
        return "late@example.net" in said and "ok@example.net" not in said
    wait_for(stored, 20, world.relay.tail)
    os.kill(world.relay.family()["relay"], signal.SIGKILL)
    world.relay.wait("delivered", to="late@example.net", seconds=30)
    assert recipients_of(world) == ["late@example.net", "ok@example.net"]


def test_a_clock_set_forward_bounces_nothing(world, relay, directory):
    """Ten days, five past the end, as after a long time off or where the clock
    was wrong: all the attempts that `retry` lists are made yet."""
    world.setup.delivery = 'retry = {"1s", "1s", "1s"}\n expire = "5d"'
    world.start(ZONES, {"replies": {
        "RCPT": Times(late=["450 4.2.0 later"] * 3)}})
    submit(world.relay.port, message(), recipients=["late@example.net"])
    world.relay.wait("deferred", to="late@example.net")
    world.relay.stop()
    clock = ClockJumps(directory)
    clock.set(10 * 86400)
    again = relay(world.setup, env=clock.environment)
    delivered = again.wait("delivered", to="late@example.net")
    assert delivered["delay"] > 864000
    assert len(again.named("deferred")) == 2
    assert again.named("bounced") == []


def test_nobody_is_forgotten_behind_a_dead_host(retrying):
    """Only a few of many are ever tried; all are returned in time."""
    world = retrying
    world.setup.delivery = 'retry = {"1s"}\n expire = "3s"'
    world.start(dict(ZONES, **{"example.org": "@ IN MX 10 mx\n"
                               "mx IN A 127.0.0.9"}))
    for number in range(20):
        submit(world.relay.port, message(),
               recipients=["r%d@example.org" % number])
    world.relay.wait("bounced", count=20, seconds=60)
    reports = world.receiver.wait_deliveries(20)
    failed = {address for one in reports
              for address in Report(one.data).actions()}
    assert len(failed) == 20
    assert all("cannot connect" in one.data.decode() for one in reports)
