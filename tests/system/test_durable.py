"""The 250 is not sent before what it promises is on the disk."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from harness import power, signet
from harness.account import Account, Load, stop
from harness.preload import ClockJumps, DiskFaults, DiskJournal
from harness.process import wait_for
from harness.smtp import Client, Closed, message, submit

CALLS = "openat,write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2," \
    "fsync,fdatasync"
LINE = re.compile(r"(\d+) +(\w+)\((\d+)<([^>]*)>(.*)")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>")


class Call:
    """From its line's number to that where it returned."""

    def __init__(self, name, descriptor, path, rest, begun):
        self.name, self.path, self.rest = name, path, rest
        self.descriptor = int(descriptor)
        self.begun = self.ended = begun


def calls_in(lines):
    calls, waiting = [], {}
    for number, line in enumerate(lines):
        resumed = RESUMED.match(line)
        if resumed:
            if resumed.group(1) in waiting:
                waiting.pop(resumed.group(1)).ended = number
            continue
        found = LINE.match(line)
        if not found:
            continue
        thread, name, descriptor, path, rest = found.groups()
        calls.append(Call(name, descriptor, path, rest, number))
        if line.endswith("<unfinished ...>"):
            calls[-1].ended = len(lines)
            waiting[thread] = calls[-1]
    return calls


def durable_descriptors(pid):
    """Those of which each write is durable when it returns."""
    found = set()
    for name in os.listdir("/proc/%d/fdinfo" % pid):
        with open("/proc/%d/fdinfo/%s" % (pid, name)) as file:
            flags = re.search(r"flags:\s*(\d+)", file.read()).group(1)
        if int(flags, 8) & os.O_DSYNC:
            found.add(int(name))
    return found


class Trace:
    """with Trace(relay) as trace: …; then trace.calls."""

    def __init__(self, relay, directory):
        self.relay, self.path = relay, os.path.join(directory, "trace")

    def __enter__(self):
        relay = self.relay.family()["relay"]
        self.durable = durable_descriptors(relay)
        self.strace = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "64", "-e", "trace=" + CALLS,
             "-o", self.path, "-p", str(relay)],
            stderr=subprocess.PIPE)
        line = self.strace.stderr.readline().decode()
        if "attached" not in line:
            self.strace.kill()
            self.strace.wait()
            pytest.skip("strace may not: " + line)
        return self

    def __exit__(self, *_):
        self.strace.send_signal(signal.SIGINT)
        self.strace.stderr.read()
        self.strace.wait(60)
        with open(self.path, errors="replace") as file:
            self.calls = calls_in(file.read().splitlines())


@pytest.mark.skipif(os.getuid() != 0, reason="only root may trace the relay")
def test_order_on_the_disk(world, directory):
    world.start(receiver_options=False)
    sizes = (10, 3000, 100000, 400000, 2000000)
    with Trace(world.relay, directory) as trace:
        for size in sizes:
            submit(world.relay.port, message(
                "durable", "0123456789abc\r\n" * (size // 15)))
    check(trace, world.relay.named("accepted"))


def check(trace, accepted):
    assert len(accepted) == 5
    calls = trace.calls
    answers = [call for call in calls
               if re.match(r'.*"250 2\.[06]\.0 .*[0-9A-Z]{26}',
                           call.name + call.rest)]
    assert len(answers) == len(accepted), [call.rest for call in answers]
    before = 0
    for answer, event in zip(answers, accepted):
        assert event["id"] in answer.rest
        since = [call for call in calls if before <= call.begun < answer.begun]
        counts = page_that_counts(since, trace.durable, answer)
        if event["size"] > 300000:
            check_file(since, counts, event["id"])
        before = answer.begun


def last(calls, what, names, path):
    found = [call for call in calls
             if call.name in names and re.search(path, call.path)]
    assert found, "no %s in %s" % (what, [(call.name, call.path)
                                          for call in calls])
    return found[-1]


WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")


def page_that_counts(since, durable, answer):
    """The last that was durable before the answer, behind the sync of pages:
    another commit may have begun since."""
    pages = [call for call in since if call.name in WRITES
             and call.path.endswith("/data.mdb")
             and call.descriptor not in durable]
    syncs = [call for call in since if call.name == "fdatasync"
             and call.path.endswith("/data.mdb")
             and any(page.ended < call.begun for page in pages)]
    found = [call for call in since if call.name == "pwrite64"
             and call.path.endswith("/data.mdb")
             and call.descriptor in durable and call.ended < answer.begun
             and any(sync.ended < call.begun for sync in syncs)]
    assert found, "nothing was committed and synced before the answer"
    return found[-1]


def check_file(since, counts, identity):
    """The bytes, their sync, the name's sync, then the record's page."""
    name = "/spool/%s$" % identity
    data = last(since, "body", WRITES, name)
    synced = last(since, "sync of the body", ("fdatasync", "fsync"), name)
    named = last(since, "sync of the name", ("fsync",), "/spool$")
    assert data.ended < synced.begun
    assert synced.ended < named.begun
    assert named.ended < counts.begun


def stored_in(setup):
    listed = signet.run("queue", "list", "--json", config=setup.path, check=0)
    return {json.loads(line)["id"] for line in listed.stdout.splitlines()}


def give_to_owner_of(example, directory):
    owner = os.stat(example)
    for path, _, names in os.walk(directory):
        for name in [""] + names:
            os.chown(os.path.join(path, name), owner.st_uid, owner.st_gid)


def test_the_power_fails(world, directory, keys):
    """At every fifth 250: what is on the disk then has all that was promised,
    with whatever of the rest."""
    journal = DiskJournal(directory)
    account = Account()
    relay = signet.Relay(world.setup, env=journal.environment)
    loads = [Load(relay.port, str(number), account,
                  sizes=(1, 50, 3000, 30000)) for number in range(4)]
    try:
        for load in loads:
            load.start()
        wait_for(lambda: len(account.acknowledged) >= 60, 60, "load")
        stop(loads)
    finally:
        relay.discard()
    found = signet.Setup(os.path.join(directory, "found"), keys)
    found.write()
    count = 0
    for promised, write in power.failures(journal.path, world.setup.state_dir,
                                          every=5, seed=1):
        shutil.rmtree(found.state_dir)
        os.makedirs(found.state_dir)
        write(found.state_dir)
        give_to_owner_of(world.setup.state_dir, found.state_dir)
        lost = promised - stored_in(found)
        assert not lost, "%d of %d" % (len(lost), len(promised))
        for name in promised & set(os.listdir(
                os.path.join(world.setup.state_dir, "spool"))):
            with open(os.path.join(found.state_dir, "spool", name),
                      "rb") as one, \
                    open(os.path.join(world.setup.state_dir, "spool", name),
                         "rb") as other:
                assert one.read() == other.read()
        count += 1
    assert count >= 10


def last_words(client):
    """What is said to its message; None: nothing."""
    try:
        code = client.reply()[0]
        client.expect_closed()
        return code
    except Closed:
        return None


def stop_beyond_grace(relay, clock):
    os.kill(relay.process.pid, signal.SIGTERM)
    relay.wait("stopping")
    clock.forward(28)
    # It looks at the clock once it is woken.
    with socket.socket(socket.AF_UNIX) as waker:
        waker.connect(os.path.join(relay.setup.state_dir, "control"))
        relay.wait("stop-expired")


def test_what_is_stored_as_the_grace_period_ends_is_answered(
        world, directory, relay):
    """A disk that gives no sign until then. Who heard nothing would send it
    again, and it would arrive twice."""
    faults, clock = DiskFaults(directory), ClockJumps(directory)
    both = dict(faults.environment, **clock.environment)
    both["LD_PRELOAD"] = " ".join((faults.environment["LD_PRELOAD"],
                                   clock.environment["LD_PRELOAD"]))
    world.start()
    world.relay.stop()
    slow = relay(world.setup, env=both)
    faults.set(("hang",), 1)
    clients = [Client(slow.port) for _ in range(40)]
    for client in clients:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        client.expect("DATA", 354)
        client.send(message() + b".\r\n")
    stop_beyond_grace(slow, clock)
    faults.set((), 1)
    answers = [last_words(client) for client in clients]
    slow.stop()
    stored = signet.run("queue", "list", config=world.setup.path).stdout
    assert 1 <= stored.count(b"bob@example.net") == answers.count(250), answers


def octets_on_their_way(port):
    """To it: what the kernel has of either end's."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    here = "0100007F:%04X" % port
    sent = [int(row[4].split(":")[0], 16) for row in rows if row[2] == here]
    waiting = [int(row[4].split(":")[1], 16) for row in rows
               if row[1] == here and row[3] == "01"]
    return sum(sent) + sum(waiting)


def said_until_reset(peer):
    said = b""
    with pytest.raises(ConnectionResetError):
        while True:
            piece = peer.recv(65536)
            assert piece, "it ends as if it were complete, %r" % said[-9:]
            said += piece
    return said


def test_what_is_on_its_way_as_the_grace_period_ends_does_not_arrive(
        world, directory, relay):
    """A next hop that does not read: what the kernel sends it later, once nobody
    hears its reply, would be sent again."""
    clock = ClockJumps(directory)
    sent = message(body="line\r\n" * 10000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.settimeout(20)
        port = listener.getsockname()[1]
        world.setup.delivery = \
            'smarthost = "127.0.0.1:%d"\n    tls = "none"' % port
        ours = relay(world.setup, env=clock.environment)
        submit(ours.port, sent)
        peer = listener.accept()[0]
    with peer, peer.makefile("rb") as said:
        peer.sendall(b"220 slow.example.net\r\n")
        for reply in b"250", b"250", b"250", b"354":
            said.readline()
            peer.sendall(reply + b" so be it\r\n")
        wait_for(lambda: octets_on_their_way(port) > len(sent), 20,
                 "all of it to be the kernel's")
        stop_beyond_grace(ours, clock)
        ours.stop()
        assert not said_until_reset(peer).endswith(b"\r\n.\r\n")
