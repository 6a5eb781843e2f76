"""Behind HAProxy: who the client is, and what follows from it."""

import os
import smtplib
import ssl

import pytest

from harness.haproxy import HAProxy
from harness.ports import free_port
from harness.smtp import Client, message

CLIENT = "127.0.0.7"  # in allow_from; 127.0.0.1, the proxy, is not


@pytest.fixture
def proxied(world, certificate, started):
    """Listeners for PROXY, in clear and with TLS from the start."""
    implicit = free_port()
    world.setup.listener = ('proxy_from = {"127.0.0.1"}\n'
                            'allow_from = {"%s"}' % CLIENT)
    world.setup.extra = '''
listener "implicit" {
    address = "127.0.0.1:%d"  proxy_from = {"127.0.0.1"}
    allow_from = {"%s"}
    tls = "implicit"  tls_cert = "%s"  tls_key = "%s"
}''' % ((implicit, CLIENT) + certificate)
    world.start()
    world.proxy = HAProxy(os.path.dirname(world.setup.path), {
        "one": (world.relay.port, "send-proxy"),
        "two": (world.relay.port, "send-proxy-v2"),
        "tls": (implicit, "send-proxy-v2"),
        "none": (world.relay.port, "")})
    started(world.proxy)
    return world


def test_client_is_who_the_proxy_says(proxied):
    world = proxied
    for number, name in enumerate(("one", "two"), 1):
        port = world.proxy.ports[name]
        with Client(port, source=CLIENT) as client:
            client.ehlo()
            assert client.transaction("alice@example.com",
                                      ["bob@example.net"],
                                      message())[0] == 250, name
        accepted = world.relay.wait("accepted", number)
        assert accepted["client"] == CLIENT, name
        with Client(port, source="127.0.0.8") as client:
            client.ehlo()
            client.expect("MAIL FROM:<alice@example.com>", 250)
            client.expect("RCPT TO:<bob@example.net>", 550, "5.7.1")
        rejected = world.relay.wait("rejected", number)
        assert rejected["client"] == "127.0.0.8", name
    world.receiver.wait_deliveries(2)
    for delivery in world.receiver.deliveries:
        assert b"[%s]" % CLIENT.encode() in delivery.data


def test_handshake_behind_the_header(proxied, certificate):
    world = proxied
    context = ssl.create_default_context(cafile=certificate[0])
    context.check_hostname = False
    for _ in range(10):  # in one segment with the header, or not
        with smtplib.SMTP_SSL("127.0.0.1", world.proxy.ports["tls"],
                              context=context, timeout=120,
                              source_address=(CLIENT, 0)) as client:
            client.sendmail("alice@example.com", ["bob@example.net"],
                            message())
    accepted = world.relay.wait("accepted", 10)
    assert accepted["client"] == CLIENT
    assert accepted["listener"] == "implicit"


def test_nothing_else_from_the_proxy(proxied):
    """HAProxy without send-proxy, and who speaks past it."""
    world = proxied
    with Client(world.proxy.ports["none"], source=CLIENT,
                greet=False) as client:
        client.send(b"EHLO client.example.com\r\n")
        client.expect_closed()
    # From elsewhere the header is a command like any other.
    with Client(world.relay.port, source="127.0.0.9") as client:
        client.expect("PROXY TCP4 127.0.0.7 127.0.0.1 1 25", 500)
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 550)


def test_sessions_of_one_address(world):
    """Those of allow_from have no such bound; room comes back."""
    world.setup.limits = "max_sessions_per_address = 2"
    world.setup.listener = 'allow_from = {"127.0.0.1"}'
    world.start()
    clients = [Client(world.relay.port, source="127.0.0.9")
               for _ in range(2)]
    with Client(world.relay.port, source="127.0.0.9") as third:
        assert third.greeting[0] == 421, third.greeting
        third.expect_closed()
    others = [Client(world.relay.port) for _ in range(5)]
    assert all(each.greeting[0] == 220 for each in others)
    with Client(world.relay.port, source="127.0.0.8") as neighbour:
        assert neighbour.greeting[0] == 220
    clients.pop().expect("QUIT", 221)
    for _ in range(100):
        with Client(world.relay.port, source="127.0.0.9") as again:
            if again.greeting[0] == 220:
                break
    else:
        raise AssertionError("its place was not given back")
    for each in clients + others:
        each.close()
