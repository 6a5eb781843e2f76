"""`signet status` and the socket through which it asks the relay."""

import json
import os
import pwd
import signal
import socket
import stat

import pytest

from harness import signet
from harness.process import wait_for
from harness.smtp import message, submit

CLIENTS_MAX = 16
LINE_MAX = 1024


def answer_rcpt(address):
    if "bob" in address:
        return "450 4.2.0 later"
    return "550 5.1.1 nobody" if "mallory" in address else None


@pytest.fixture
def mixed(world):
    world.setup.delivery = 'retry = {"1h"}'
    world.setup.subdomains = True
    return world.start(receiver_options={"replies": {"RCPT": answer_rcpt}})


def status(world):
    return json.loads(signet.run("status", "--json",
                                 config=world.setup.path, check=0).stdout)


def ask(world, request, wait=True):
    # A socket's path is short; the directory's descriptor makes it so.
    directory = os.open(world.setup.state_dir, os.O_PATH)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect("/proc/self/fd/%d/control" % directory)
    os.close(directory)
    try:
        made.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        pass  # hung up on
    return (made, drain(made)) if wait else (made, None)


def drain(made):
    data = b""
    try:
        while more := made.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def test_counters(mixed):
    world = mixed
    first = status(world)
    assert first["version"] in signet.run("--version").stdout.decode()
    assert first["pid"] == world.relay.family()["relay"]
    assert {name: first[name] for name in (
        "accepted", "delivered", "deferred", "bounced", "queued", "held",
        "damaged")} == dict.fromkeys(
            ("accepted", "delivered", "deferred", "bounced", "queued",
             "held", "damaged"), 0)
    submit(world.relay.port, message(), recipients=[
        "bob@example.net", "mallory@example.net", "carol@example.net"])
    submit(world.relay.port, message(), recipients=["bob@example.net"])
    world.relay.wait("deferred", count=2)
    world.relay.wait("bounced")

    # The report on mallory has alice's domain without a host: it bounces.
    def settled():
        found = status(world)
        return found if found["queued"] == 2 and found["bounced"] == 2 \
            else None
    found = wait_for(settled, 20, "the report to be over")
    assert (found["accepted"], found["delivered"], found["deferred"]) == \
        (2, 1, 2)
    assert found["uptime"] < 60
    text = signet.run("status", config=world.setup.path, check=0).stdout
    assert b"\naccepted: 2\ndelivered: 1\ndeferred: 2\n" in text

    # What waits is stored; what has been done is of this process.
    world.relay.stop()
    assert not os.path.exists(os.path.join(world.setup.state_dir, "control"))
    world.relay.start()
    again = status(world)
    assert (again["queued"], again["accepted"]) == (2, 0)


def test_no_relay(setup):
    configured = setup()
    configured.write()
    done = signet.run("status", config=configured.path, check=69)
    assert b"no relay runs" in done.stderr
    signet.run("status", "now", config="/nowhere", check=64)


def test_after_a_crash(mixed):
    """A dead relay's socket is no relay, and in nobody's way."""
    world = mixed
    world.relay.kill(whole_family=True)
    assert os.path.exists(os.path.join(world.setup.state_dir, "control"))
    signet.run("status", config=world.setup.path, check=69)
    world.relay.start()
    assert status(world)["pid"] == world.relay.family()["relay"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_permission(mixed, directory):
    world = mixed
    made = os.stat(os.path.join(world.setup.state_dir, "control"))
    assert stat.S_IMODE(made.st_mode) == 0o600
    assert made.st_uid == pwd.getpwnam("nobody").pw_uid
    os.chmod(world.setup.state_dir, 0o711)
    done = signet.run_as("daemon", directory, "-c", world.setup.path,
                         "status")
    os.chmod(world.setup.state_dir, 0o700)
    assert done.returncode == 77, done.stderr


def test_abuse(mixed):
    """Unknown words, half lines, long lines, too many clients."""
    world = mixed
    for request in (b"\n", b"status json\n", b"status\tjson \n", b"stop\n",
                    b"\0\n", b"status\0\n", b"delete\n", b"list\tall\n",
                    b"delete\tfrom=0-0-0\n", b"hold\tall\tsender=a\n",
                    b"status\tjson\tjson\n"):
        assert ask(world, request)[1] == b"error input unknown request\n", \
            request
    assert ask(world, b"x" * 4 * LINE_MAX)[1] == b"", "no line that long"
    assert ask(world, b"status\nstatus\n")[1].count(b"pid") == 1
    # Silent ones hold every place: more are hung up on, not served later. The
    # places of those before may come free a moment after their answers.
    silent = []

    def refused():
        while len(silent) % CLIENTS_MAX != CLIENTS_MAX - 1:
            silent.append(ask(world, b"sta", wait=False)[0])
        silent.append(ask(world, b"sta", wait=False)[0])
        done = signet.run("status", config=world.setup.path)
        return done if done.returncode != 0 else None
    done = wait_for(refused, 5, "every place to be taken")
    assert done.returncode == 75 and b"busy" in done.stderr, done
    # Mail goes on, and the silent are not waited for for ever.
    submit(world.relay.port, message(), recipients=["carol@example.net"])
    world.relay.wait("delivered")
    for made in silent:
        assert drain(made) == b"", "closed"
    assert status(world)["delivered"] == 1
    # A stop waits for nobody either.
    ask(world, b"sta", wait=False)
    os.kill(world.relay.process.pid, signal.SIGTERM)
    world.relay.stop(seconds=8)
