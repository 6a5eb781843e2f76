"""Postfix, Exim and Sendmail that have the relay for their next hop and keep
connections to it: many messages on each, and where the relay ends one, they go
on over another, and none is deferred, lost or sent twice."""

import json
import re
import socket
import threading

import pytest

from harness import signet
from harness.exim import Exim
from harness.ports import free_port
from harness.postfix import Relaying
from harness.process import wait_for
from harness.sendmail import Sendmail
from harness.smtp import Client, message

COUNT = 20
MOST = 3

# A message that is deferred stays so for longer than any test waits.
KEEPING = """
smtp_connection_cache_destinations = 127.0.0.1
smtp_connection_cache_time_limit = 60s
smtp_connection_reuse_time_limit = 300s
minimal_backoff_time = 1000s
maximal_backoff_time = 1000s
queue_run_delay = 1000s
default_process_limit = 4
"""


class Counter:
    """A port of its own that leads to the relay's, and how often somebody has
    connected. `lets`: whether anybody may."""

    def __init__(self, to):
        self.to, self.port = to, free_port()
        self.connections = 0
        self.lets = False
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.lets:
                client.close()
                continue
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self.to))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, sink),
                                 daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        self._listener.close()


@pytest.fixture
def limited(world):
    world.setup.limits = ('max_messages_per_session = %d\n'
                          'command_timeout = "1s"' % MOST)
    return world.start()


def hand_in(port, count=COUNT):
    with Client(port) as client:
        client.ehlo()
        for number in range(count):
            code, lines = client.transaction(
                "alice@example.com", ["bob@example.net"],
                message("number %d" % number))
            assert code == 250, lines


def arrived(world, count, say):
    """Each once."""
    wait_for(lambda: len(world.receiver.deliveries) >= count, 60,
             lambda: "%d of %d\n%s\n%s" % (
                 len(world.receiver.deliveries), count, say()[-6000:],
                 world.relay.tail()))
    assert len(world.receiver.deliveries) == count
    assert len(world.relay.named("accepted")) == count


def sessions(world):
    return json.loads(signet.run("status", "--json", config=world.setup.path,
                                 check=0).stdout)["sessions"]


def test_postfix(limited, directory, started):
    world = limited
    postfix = Relaying(directory, world.relay.port, KEEPING)
    started(postfix)
    hand_in(postfix.port)
    arrived(world, COUNT, postfix.maillog)
    uses = [int(use) for use in re.findall(r"conn_use=(\d+)",
                                           postfix.maillog())]
    assert max(uses) == MOST, postfix.maillog()[-4000:]
    # Those that it has kept are ended for their silence; it finds out when it
    # wants to use one.
    world.relay.wait("lost", reason="timed out", state="READY")
    wait_for(lambda: sessions(world) == 0, 10, "all of them to be ended")
    hand_in(postfix.port, 4)
    arrived(world, COUNT + 4, postfix.maillog)
    assert "status=deferred" not in postfix.maillog(), postfix.maillog()
    assert not world.relay.named("rejected")


def queueing_exim(directory, counter):
    """It remembers what waits for a host, and hands connections on."""
    port = free_port()
    return Exim(directory, [("127.0.0.1", port)], counter.port), port


def queueing_sendmail(directory, counter):
    """It has two connections in its cache."""
    server = Sendmail(directory, counter.port)
    return server, server.port


@pytest.mark.parametrize("most", (0, MOST))
@pytest.mark.parametrize("make", (queueing_exim, queueing_sendmail),
                         ids=("exim", "sendmail"))
def test_queue_run(world, directory, started, make, most):
    """What it could not hand on for a while goes out over few connections; with
    `most` messages on one each."""
    world.setup.limits = "max_messages_per_session = %d" % most
    world.start()
    counter = Counter(world.relay.port)
    started(counter)
    server, port = make(directory, counter)
    started(server)
    hand_in(port)
    counter.lets = True
    arrived(world, COUNT, server.log)
    needed = -(-COUNT // most) if most else 1
    assert needed <= counter.connections <= COUNT * 2 // 3, server.log()
    subjects = [re.search(rb"Subject: (number \d+)", one.data).group(1)
                for one in world.receiver.deliveries]
    assert len(set(subjects)) == COUNT
    assert not world.relay.named("bounced")
