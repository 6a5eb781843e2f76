"""A Postfix that has the relay for its next hop and keeps connections to it:
several messages on each, and where the relay ends one, none is deferred."""

import json
import re

import pytest

from harness import signet
from harness.postfix import Relaying
from harness.process import wait_for
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
    wait_for(lambda: len(world.receiver.deliveries) >= count, 30,
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
