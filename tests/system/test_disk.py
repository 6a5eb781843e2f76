"""A full disk: 452, deliveries go on, and it recovers."""

import json
import os
import re
import shutil
import subprocess

import pytest

from harness import bad_disk, signet
from harness.account import Account, Sink
from harness.preload import DiskFaults
from harness.process import wait_for
from harness.smtp import Client, message, submit

DEEP = 1500  # messages

pytestmark = pytest.mark.skipif(os.getuid() != 0,
                                reason="only root mounts a small disk")


@pytest.fixture
def small_disk(world):
    """state_dir on 48 MiB of tmpfs, gone with the test."""
    path = world.setup.state_dir
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0700,uid=%d,gid=%d" % (
            os.stat(path).st_uid, os.stat(path).st_gid), "tmpfs", path],
        stderr=subprocess.PIPE)
    if done.returncode != 0:
        pytest.skip("cannot mount: " + done.stderr.decode())
    yield path
    if world.relay is not None:
        world.relay.discard()
    # The threads of a killed process may outlive it by a moment.
    wait_for(lambda: subprocess.run(["umount", path], stderr=subprocess.
                                    DEVNULL).returncode == 0, 20,
             "%s to be unmounted" % path)


def fill(path, leave):
    """A file that takes all but `leave` bytes."""
    name = os.path.join(path, "ballast")
    room = shutil.disk_usage(path).free - leave
    with open(name, "wb") as file:
        while room > 0:
            file.write(b"\0" * min(room, 1 << 20))
            room -= 1 << 20
    return name


def offer(world, text="x", size=20000):
    with Client(world.relay.port) as client:
        client.ehlo()
        code, lines = client.say("MAIL FROM:<alice@example.com>")
        if code != 250:
            return code, lines
        client.expect("RCPT TO:<bob@example.net>", 250)
        code, lines = client.say("DATA")
        if code != 354:
            return code, lines
        client.send(message(text, "0123456789abc\r\n" * (size // 15)) +
                    b".\r\n")
        return client.reply()


def test_full_disk(world, small_disk):
    world.setup.delivery = 'retry = {"1s"}\n expire = "300s"'
    world.setup.limits = 'max_message_size = "8M"'
    world.start(receiver_options=False)
    assert offer(world)[0] == 250
    accepted = 1
    ballast = fill(small_disk, 512 * 1024)

    # How full it is is looked at now and then; until then what comes goes into
    # what the store has kept for itself.
    refused = 0
    while refused < 10:
        code, lines = offer(world, "fill-%d" % accepted, 100000)
        if code == 250:
            accepted += 1
            assert accepted < 500 and refused == 0
        else:
            assert code == 452, lines
            assert lines[-1].startswith("4.3.1"), lines
            refused += 1
    world.relay.wait("rejected")

    # Deliveries go on, their outcomes can be written.
    from harness.faulty import Receiver
    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        late.wait_deliveries(accepted, seconds=40)
        for event in world.relay.named("accepted"):
            world.relay.wait("delivered", id=event["id"], seconds=30)
        # Room again: it takes mail again, by itself.
        os.unlink(ballast)
        wait_for(lambda: offer(world)[0] == 250, 30, "a 250")
        late.wait_deliveries(accepted + 1)
        # And nothing comes twice after a restart.
        world.relay.stop()
        world.relay.start()
        submit(world.relay.port, message("the last"))
        late.wait_deliveries(accepted + 2)
        subjects = [re.search(rb"Subject: (.*)\r", one.data).group(1)
                    for one in late.deliveries]
        assert len(late.deliveries) == accepted + 2, subjects
    finally:
        late.stop()


def queued(world):
    status = signet.run("status", "--json", config=world.setup.path, check=0)
    return json.loads(status.stdout)["queued"]


def test_a_deep_queue_on_a_full_disk(world, small_disk):
    """Not a byte is left, and all that is stored becomes due: it is written
    that it is, each is delivered and goes; and mail is taken again once there
    is room."""
    program = os.path.join(os.path.dirname(signet.binary()),
                           "tests/bench/bench-queue")
    if not os.path.exists(program):
        pytest.skip("bench-queue is not built")
    subprocess.run([program, "fill", small_disk, str(DEEP), "50", "4000",
                    "86400"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["chown", "-R", "--reference", small_disk,
                    os.path.join(small_disk, "queue")], check=True)
    world.setup.delivery = 'retry = {"1s", "7d"}\n expire = "30d"'
    world.start(zones={"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
                       "example": "* IN A 127.0.0.2"})
    ballast = fill(small_disk, 0)
    # How full it is is looked at now and then.
    taken = 0
    while offer(world)[0] == 250:
        taken += 1
        assert taken < 1000
    code, lines = offer(world)
    assert code == 452 and lines[-1].startswith("4.3.1"), lines
    signet.run("queue", "retry", "--all", config=world.setup.path, check=0)
    world.receiver.wait_deliveries(DEEP + taken, seconds=180)
    wait_for(lambda: queued(world) == 0, 30, "an empty queue")
    assert shutil.disk_usage(small_disk).free == 0
    os.unlink(ballast)
    wait_for(lambda: offer(world)[0] == 250, 30, "a 250")
    world.receiver.wait_deliveries(DEEP + taken + 1)
    assert len(world.receiver.deliveries) == DEEP + taken + 1


def test_killed_while_the_disk_is_full(world, small_disk):
    world.setup.delivery = 'retry = {"1s"}\n expire = "300s"'
    world.setup.limits = 'max_message_size = "8M"'
    world.start(receiver_options=False)
    accepted = sum(offer(world)[0] == 250 for _ in range(10))
    ballast = fill(small_disk, 300 * 1024)
    accepted += sum(offer(world, size=150000)[0] == 250 for _ in range(10))
    world.relay.kill(whole_family=True)
    os.unlink(ballast)
    from harness.faulty import Receiver
    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        world.relay.start()
        late.wait_deliveries(accepted, seconds=30)
    finally:
        late.stop()


def test_a_large_body_on_a_full_disk(world, small_disk):
    """One message too big for what is left fails alone."""
    world.setup.limits = 'max_message_size = "40M"'
    world.start()
    ballast = fill(small_disk, 12 << 20)
    code, lines = offer(world, size=30 << 20)
    assert code == 452, lines
    assert offer(world, size=1000)[0] in (250, 452)
    os.unlink(ballast)
    wait_for(lambda: offer(world, size=1000)[0] == 250, 30, "a 250")


def test_writes_and_syncs_that_fail(world, directory):
    """4yz or no answer, and what was acknowledged arrives. tests/soak/disk
    does this for longer."""
    world.setup.delivery = 'retry = {"1s"}\n expire = "300s"'
    faults = DiskFaults(directory)
    world.start(receiver_options=False)
    world.relay.stop()
    relay = signet.Relay(world.setup, env=faults.environment)
    account = Account()
    sink = Sink(account, world.setup.mx_port, "127.0.0.2")

    def is_enough():
        return faults.count() > 2 and len(account.acknowledged) > 20
    try:
        problems = bad_disk.run(relay, account, faults, seconds=6,
                                phases=[bad_disk.MIXED], say=lambda _: None,
                                is_enough=is_enough)
    finally:
        sink.stop()
        relay.discard()
    assert not problems, "%s\n%s" % (problems, relay.tail())


def test_a_disk_that_is_full_before_the_first_start(world, directory):
    """No fault of the configuration: 75, by which it is tried again."""
    path = os.path.join(directory, "full")
    os.mkdir(path)
    # One name is all that it has room for, its own.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs",
                    path], check=True)
    try:
        world.setup.state_dir = os.path.join(path, "state")
        done = signet.run("relay", config=world.setup.write(), check=75)
        assert b"No space left on device" in done.stderr, done.stderr
    finally:
        subprocess.run(["umount", path], check=True)
