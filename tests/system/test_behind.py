"""Behind an MTA: Postfix hands its mail on and gets it back signed, and what it
says of the clients behind it is heard where a listener believes it."""

import concurrent.futures
import re
import subprocess

import pytest

from harness import judge
from harness.ports import free_port
from harness.postfix import Relaying
from harness.smtp import Client, message

CLIENT = "127.0.0.7"

FILTER = """
relayhost = [127.0.0.2]:{mx}
smtp_send_xforward_command = yes
smtp_connection_cache_destinations = 127.0.0.1
smtp_connection_cache_time_limit = 10s
"""
# What comes back is not to be filtered again, nor changed.
BACK = ("receive_override_options=no_header_body_checks",
        "smtpd_client_restrictions=permit_mynetworks,reject",
        "smtpd_authorized_xforward_hosts=127.0.0.0/8")


@pytest.fixture
def filtering(world, directory, started):
    """Postfix → signet → the same Postfix on another port → a Receiver."""
    back, world.submission = free_port(), free_port()
    world.proxied = free_port()
    world.setup.listener = 'xforward_from = {"127.0.0.1"}'
    world.setup.delivery = 'smarthost = "127.0.0.1:%d"' % back
    world.start()
    world.postfix = Relaying(
        directory, world.setup.port,
        FILTER.format(mx=world.setup.mx_port), services={
            back: BACK, world.submission: (
                "content_filter=smtp:[127.0.0.1]:%d" % world.setup.port,),
            world.proxied: (
                "smtpd_proxy_filter=127.0.0.1:%d" % world.setup.port,)})
    started(world.postfix)
    return world


def hand_in(port, text):
    with Client(port, source=CLIENT) as client:
        client.ehlo("laptop")
        code, lines = client.transaction(
            "alice@example.com", ["bob@example.net"], message(text))
        assert code == 250, lines


def test_what_others_send_is_not_filtered(filtering):
    """It comes by another service, and would be signed as well."""
    world = filtering
    hand_in(world.postfix.port, "from outside")
    world.receiver.wait_deliveries(1, seconds=40)
    assert b"DKIM-Signature" not in world.receiver.deliveries[0].data
    assert world.relay.named("accepted") == []


def test_after_queue_content_filter(filtering):
    world = filtering
    count = 6
    for number in range(count):
        hand_in(world.submission, "number %d" % number)
    world.receiver.wait_deliveries(count, seconds=40)
    accepted = world.relay.named("accepted")
    assert len(accepted) == count
    names = re.findall(r": (\w+): client=\S*\[127\.0\.0\.7\]",
                       world.postfix.maillog())
    for event in accepted:
        assert event["client"] == "127.0.0.1"
        assert event["origin"] == CLIENT
        assert event["origin_helo"] == "laptop"
    assert {event["origin_id"] for event in accepted} == set(names)
    for delivery in world.receiver.deliveries:
        verdicts = judge.dkimpy(delivery.data,
                                judge.lookup_txt(world.names.port))
        assert verdicts and all(each.passed for each in verdicts), verdicts
        # Its own Received field, ours, and the one of what came back.
        assert delivery.data.count(b"\r\nReceived: ") + \
            delivery.data.startswith(b"Received: ") == 3
    # Further messages came over a connection that was there already.
    uses = [int(use) for use in re.findall(
        r"relay=127\.0\.0\.1\S*, conn_use=(\d+)",
        world.postfix.maillog())]
    assert uses and max(uses) >= 2, world.postfix.maillog()[-3000:]


def hand_in_many(port, name, count):
    with Client(port, source=CLIENT) as client:
        client.ehlo("laptop")
        for number in range(count):
            code, lines = client.transaction(
                "alice@example.com", ["bob@example.net"],
                message("%s-%d" % (name, number)))
            assert code == 250, lines


def test_around_under_load(filtering, keys):
    """Before the queue and behind it at once, over several connections each:
    everything arrives once, and signed."""
    world = filtering
    connections, count = 6, 20
    with concurrent.futures.ThreadPoolExecutor(2 * connections) as pool:
        done = [pool.submit(hand_in_many, port, "%s-%d" % (name, one), count)
                for one in range(connections)
                for name, port in (("before", world.proxied),
                                   ("behind", world.submission))]
        for each in done:
            each.result()
    total = 2 * connections * count
    world.receiver.wait_deliveries(total, seconds=60)
    names = [re.search(rb"\r\nSubject: (\S+)", one.data).group(1).decode()
             for one in world.receiver.deliveries]
    assert sorted(names) == sorted(
        "%s-%d-%d" % (name, one, number) for name in ("before", "behind")
        for one in range(connections) for number in range(count))
    for one in world.receiver.deliveries:
        verdicts = judge.dkimpy(one.data, judge.lookup_in(keys.records))
        assert [verdict.passed for verdict in verdicts] == [True, True]
    accepted = world.relay.named("accepted")
    assert len(accepted) == total
    assert {event["origin"] for event in accepted} == {CLIENT}
    assert world.relay.named("rejected") == []


@pytest.fixture
def believing(world):
    world.setup.listener = ('xclient_from = {"127.0.0.1"}\n'
                            'allow_from = {"127.0.0.1", "%s"}' % CLIENT)
    return world.start()


def swaks(port, *arguments):
    return subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--port", str(port), "--from",
         "alice@example.com", "--to", "bob@example.net", "--ehlo", "front",
         "--body", "x"] + list(arguments),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        universal_newlines=True)


def test_swaks_for_another_client(believing):
    world = believing
    done = swaks(world.setup.port, "--xclient-addr", CLIENT, "--xclient-name",
                 "laptop.example.com", "--xclient-login", "alice")
    assert done.returncode == 0, done.stdout
    accepted = world.relay.wait("accepted")
    assert (accepted["client"], accepted["user"]) == (CLIENT, "alice")
    assert world.relay.wait("xclient")["by"] == "127.0.0.1"
    world.receiver.wait_deliveries(1)
    received = world.receiver.deliveries[0].data
    assert b"from front (laptop.example.com [%s])" % CLIENT.encode() in received
    assert b"with ESMTPA" in received
    # Who may not relay does not by the front's address either.
    done = swaks(world.setup.port, "--xclient-addr", "192.0.2.1")
    assert done.returncode != 0 and "550 5.7.1" in done.stdout, done.stdout
    assert world.relay.wait("rejected")["client"] == "192.0.2.1"


def test_not_from_everybody(believing):
    with Client(believing.setup.port, source=CLIENT) as client:
        assert "XCLIENT" not in client.ehlo()
        client.expect("XCLIENT ADDR=127.0.0.1", 550, "5.7.0")
        client.expect("XFORWARD ADDR=127.0.0.1", 550, "5.7.0")
        assert client.transaction("alice@example.com", ["bob@example.net"],
                                  message())[0] == 250
    assert believing.relay.wait("accepted")["client"] == CLIENT
