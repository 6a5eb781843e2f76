"""What must not grow with the queue, or with how many domains a message is for.

Counts and bytes, no times: tests/bench/deep and tests/bench/fanout measure, with
a million messages and twenty thousand domains.
"""

import json
import os
import re
import subprocess
import threading

import pytest

from harness import signet
from harness.faulty import Receiver
from harness.names import Counter
from harness.process import wait_for
from harness.smtp import Client, message, submit

DESTINATIONS = 500
LATER = 86400  # seconds until what is deferred is due
DOMAINS = 150
DEAD = 15
AT_ONCE = 25
CROWD = 30  # more than is prompt: relay/limits.h


def memory_bytes(pid):
    with open("/proc/%d/status" % pid) as file:
        return int(re.search(r"RssAnon:\s+(\d+)",
                             file.read()).group(1)) * 1024


def faults(pid):
    """Pages that were touched for the first time, of the store's file too."""
    with open("/proc/%d/stat" % pid) as file:
        return int(file.read().rpartition(")")[2].split()[7])


@pytest.fixture
def filler(monkeypatch):
    """What fills a queue; and the program as it is installed is what is looked
    at: sanitizers keep what is freed."""
    program = os.path.join(os.path.dirname(signet.binary()),
                           "tests/bench/bench-queue")
    if not os.path.exists(program):
        pytest.skip("bench-queue is not built")
    path = os.environ.get("PLAIN") or signet.binary()
    symbols = subprocess.run(["readelf", "-W", "--dyn-syms", path], check=True,
                             stdout=subprocess.PIPE).stdout
    if b"__asan_init" in symbols:
        pytest.skip("PLAIN names no build without sanitizers")
    monkeypatch.setenv("SIGNET", path)
    return program


def filled(program, made, count):
    """The same, with so many deferred messages in its queue."""
    subprocess.run([program, "fill", made.state_dir, str(count),
                    str(DESTINATIONS), "1000", str(LATER)],
                   stdout=subprocess.DEVNULL, check=True)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "--reference", made.state_dir,
                        os.path.join(made.state_dir, "queue")], check=True)
    made.delivery = 'retry = {"1s", "7d"}\n    expire = "30d"'
    return made


def test_a_deep_queue(filler, keys, directory, relay, name_server, receiver):
    """Twenty times the messages cost no more at the start, and no memory; a
    domain's own are found without the others; a healthy domain notices
    nothing."""
    names = name_server({"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
    cost = {}
    for count in (DESTINATIONS * 2, DESTINATIONS * 40):
        made = filled(filler, signet.Setup(
            os.path.join(directory, str(count)), keys, names.resolver), count)
        one = relay(made)
        # What it does at its start is done once it has answered.
        status = signet.run("status", "--json", config=made.path, check=0)
        assert json.loads(status.stdout)["queued"] == count
        pid = one.family()["relay"]
        cost[count] = memory_bytes(pid), faults(pid)
        listed = signet.run("queue", "list", "--json", "--domain",
                            "d7.example", config=made.path, check=0)
        assert len(listed.stdout.splitlines()) == count // DESTINATIONS
        good = receiver(made.mx_port, "127.0.0.2")
        submit(one.port, message())
        good.wait_deliveries(1)
        one.stop()
    few, many = cost.values()
    assert many[0] < few[0] + (512 << 10), cost
    # Where each destination's first one lies; to look at all took 350.
    assert many[1] < few[1] + 250, cost


class Open:
    """How many connections there were at once."""

    def __init__(self):
        self.most = 0
        self.receiver = None

    def __call__(self, _):
        with self.receiver._lock:
            self.most = max(self.most, len(self.receiver._open))


def test_a_wide_fan_out(setup, relay, name_server):
    """Each name is asked for once, connections are bounded in spite of the many
    hosts, and those that are dead keep nobody waiting."""
    lines = []
    for number in range(DOMAINS):
        lines.append("d%d 3600 IN MX 10 mx.d%d\nmx.d%d 3600 IN A %s" % (
            number, number, number, "127.255.255.255" if number < DEAD else
            "127.2.%d.%d" % (number // 250, 1 + number % 250)))
    names = name_server({"example": "\n".join(lines)})
    counter = Counter(names.port)
    made = setup("127.0.0.1:%d" % counter.port)
    made.delivery = ('max_outgoing = %d\n    retry = {"1s", "1h"}\n'
                      '    expire = "1d"' % AT_ONCE)
    opened = Open()
    good = Receiver(made.mx_port, "0.0.0.0", replies={"MAIL": opened})
    opened.receiver = good
    recipients = ["bob@d%d.example" % i for i in range(DOMAINS)]
    try:
        one = relay(made)
        with Client(one.port) as client:
            client.ehlo()
            for _ in range(2):
                code, lines = client.transaction("alice@example.com",
                                                 recipients, message())
                assert code == 250, lines
        one.wait("delivered", count=2 * (DOMAINS - DEAD), seconds=60)
        assert {event["domain"] for event in one.named("deferred")} == \
            {"d%d.example" % i for i in range(DEAD)}
    finally:
        good.stop()
    # What the relay has closed may be open here for a moment.
    assert 1 < opened.most < 2 * AT_ONCE
    assert len(counter.asked) <= 3 * DOMAINS
    # A question is asked again where the answer was late.
    assert sum(counter.asked.values()) < 1.3 * len(counter.asked), \
        counter.asked.most_common(3)


class Held:
    """The first MAIL is answered once it is let go."""

    def __init__(self):
        self.begun, self.may_go = threading.Event(), threading.Event()

    def __call__(self, _):
        self.begun.set()
        self.may_go.wait(60)


def test_a_single_message_beside_a_mailing(setup, relay):
    """All domains wait for the one connection that the smarthost is given: a
    message for one of them more is next, though it came last."""
    made = setup("127.0.0.1:9")
    held = Held()
    hub = Receiver(made.mx_port, "127.0.0.2", replies={"MAIL": held})
    made.delivery = ('smarthost = "127.0.0.2:%d"\n'
                     "    max_host_connections = 1" % made.mx_port)
    try:
        one = relay(made)
        with Client(one.port) as client:
            client.ehlo()
            code, lines = client.transaction(
                "alice@example.com",
                ["bob@d%d.example" % i for i in range(CROWD)], message())
            assert code == 250, lines
        assert held.begun.wait(60)
        submit(one.port, message(), recipients=["bob@single.example"])
        # It is known, and so waits.
        wait_for(lambda: json.loads(signet.run(
            "status", "--json", "--domain", "single.example",
            config=made.path).stdout)["destinations"], 60, "the single one")
        held.may_go.set()
        hub.wait_deliveries(CROWD + 1, 60)
    finally:
        held.may_go.set()
        hub.stop()
    order = [delivery.recipients[0] for delivery in hub.deliveries]
    assert "bob@single.example" in order[:4], order
