"""Politeness: what the hosts of many domains are asked to bear."""

import threading
import time

from harness import signet
from harness.faulty import Receiver
from harness.process import wait_for
from harness.smtp import Client, message, submit

DOMAINS = 30
ZONE = "\n".join("d%d IN MX 10 mx" % i for i in range(DOMAINS)) + \
    "\nmx IN A 127.0.0.2\n"


def times_of(events):
    return [signet.seconds_of(event["time"]) for event in events]


def to_all(world):
    for i in range(DOMAINS):
        submit(world.relay.port, message(),
               recipients=["bob@d%d.example.net" % i])


def test_domains_of_one_host_cost_one_probe_while_it_is_down(world):
    """Thirty domains, one message each: a handful of connections when it goes
    down, one message that says so, and one connection for each time it is
    looked whether it is back."""
    world.setup.delivery = 'retry = {"2s"}\n expire = "60s"'
    world.start({"example.net": ZONE},
                receiver_options={"replies": {"CONNECT": "421 4.3.2 full"}})
    submit(world.relay.port, message(), recipients=["bob@d0.example.net"])
    world.relay.wait("deferred")
    to_all(world)
    # Two pauses more.
    deferred = world.relay.wait("deferred", count=3, seconds=30)
    assert deferred["reply"].startswith("421")
    down = world.receiver.sessions
    world.receiver.replies.clear()
    world.relay.wait("delivered", count=DOMAINS + 1, seconds=30)
    probes = times_of(world.relay.named("deferred"))
    assert min(late - soon for soon, late in zip(probes, probes[1:])) >= 0.9
    assert down <= len(probes) + 1, "the last one's may come yet"


def test_domains_share_what_one_host_is_given(world):
    lock, now, most = threading.Lock(), set(), []
    several = threading.Event()

    def slow(_):
        with lock:
            now.add(threading.get_ident())
            most.append(len(now))
            if len(now) > 1:
                several.set()
        several.wait(60)
        time.sleep(0.05)
        with lock:
            now.discard(threading.get_ident())

    world.setup.delivery = "max_host_connections = 3"
    world.start({"example.net": ZONE},
                receiver_options={"replies": {"END": slow}})
    to_all(world)
    world.relay.wait("delivered", count=DOMAINS, seconds=30)
    assert 1 < max(most) <= 3


def test_one_after_the_other_uses_one_connection(world):
    """As many devices do with one smarthost: a domain each, seldom at once."""
    world.setup.delivery = ('smarthost = "127.0.0.2:%d"' %
                            world.setup.mx_port)
    world.start({"example.net": ""})
    for i in range(10):
        submit(world.relay.port, message(),
               recipients=["bob@d%d.example.net" % i])
        world.relay.wait("delivered", count=i + 1)
    # Each loop has its own.
    assert world.receiver.sessions <= 4


def test_messages_keep_to_a_rate(world):
    """One each fifth of a second: the sixth comes a second after the first."""
    world.setup.delivery = "max_rate = 300"
    world.start({"example.net": ZONE})
    for i in range(6):
        submit(world.relay.port, message(),
               recipients=["bob@d%d.example.net" % i])
    world.relay.wait("delivered", count=6, seconds=30)
    times = times_of(world.relay.named("delivered"))
    # The log may be a little late, and so make the time between two shorter.
    assert max(times) - min(times) >= 0.9
    # Who looks why one does not arrive is told.
    world.setup.delivery = "max_rate = 1"
    world.setup.write()
    world.relay.hang_up()
    world.relay.wait("reload")
    for _ in range(2):
        submit(world.relay.port, message(),
               recipients=["bob@d0.example.net"])
    world.relay.wait("delivered", count=7)
    wait_for(lambda: "max_rate" in signet.run(
        "status", "--domain", "d0.example.net", config=world.setup.path,
        check=0).stdout.decode(), 20, "that max_rate is named")


GIANT = 400


def test_a_giant_that_stands_still_delays_nobody(world):
    """Its host answers no end of data; those with hosts of their own, and
    whoever comes later, do not notice."""
    go_on = threading.Event()

    def stuck(_):
        go_on.wait(60)

    world.setup.delivery = 'retry = {"2s"}\n expire = "60s"'
    world.start({"example.net": ZONE + "\ngiant IN MX 10 mx.giant\n"
                                       "mx.giant IN A 127.0.0.3\n"})
    giant = Receiver(world.setup.mx_port, "127.0.0.3",
                     replies={"END": stuck})
    try:
        with Client(world.relay.port) as client:
            client.ehlo()
            for _ in range(GIANT):
                assert client.transaction(
                    "alice@example.com", ["bob@giant.example.net"],
                    message())[0] == 250
            wait_for(lambda: giant.sessions > 0, 20, "the giant's session")
            to_all(world)
        world.relay.wait("delivered", count=DOMAINS, seconds=30)
        assert not world.relay.named("delivered", domain="giant.example.net")
    finally:
        go_on.set()
    world.relay.wait("delivered", count=DOMAINS + GIANT, seconds=60)
    giant.stop()


def test_a_giant_at_the_same_hosts_takes_no_more_than_its_share(world):
    """Thirty domains with a message each come behind four hundred for one, at
    the same slow host: all thirty are through long before the giant is."""
    go_on = threading.Event()

    def slow(_):
        go_on.wait(60)
        time.sleep(0.02)

    world.start({"example.net": ZONE + "\ngiant IN MX 10 mx\n"},
                receiver_options={"replies": {"END": slow}})
    with Client(world.relay.port) as client:
        client.ehlo()
        for _ in range(GIANT):
            assert client.transaction(
                "alice@example.com", ["bob@giant.example.net"],
                message())[0] == 250
    to_all(world)
    go_on.set()
    world.relay.wait("delivered", count=DOMAINS + GIANT, seconds=60)
    order = [event["domain"] for event in world.relay.named("delivered")]
    last = max(i for i, domain in enumerate(order)
               if domain != "giant.example.net")
    assert last < GIANT / 2, order  # about the fiftieth, as a rule
