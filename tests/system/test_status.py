"""`signet status` and the socket through which it asks the relay."""

import json
import os
import pwd
import socket
import stat
import threading

import pytest

from harness import signet
from harness.process import quickest, wait_for
from harness.smtp import Client, message, submit

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


def status(world, *words):
    return json.loads(signet.run("status", "--json", *words,
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
    assert first["pid"] == world.relay.family()["supervisor"]
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


ZONES = {"example.net": "@ IN MX 10 mx\n* IN MX 10 mx\nmx IN A 127.0.0.2\n"
         "shut IN MX 10 gone\ngone IN A 127.0.0.3"}


def test_destinations(world):
    """The state of each, those in trouble first; bounded unless asked for."""
    world.setup.delivery = 'retry = {"1h"}'
    world.start(ZONES, {"replies": {"RCPT": answer_rcpt}})
    for _ in range(3):
        submit(world.relay.port, message(),
               recipients=["bob@slow.example.net"])
    for _ in range(4):
        submit(world.relay.port, message(),
               recipients=["carol@shut.example.net"])
    world.relay.wait("deferred", count=4)

    def settled(domain="shut", *words):
        found = status(world, *words)
        rows = {row["name"]: row for row in found["destinations"]}
        row = rows.get(domain + ".example.net")
        return found if row and row["paused"] > 0 else None
    found = wait_for(settled, 20, "a pause")
    assert found["destinations_total"] == 2
    shut, slow = found["destinations"]
    assert (shut["name"], shut["queued"], shut["queued_is_more"],
            shut["held"], shut["connections"]) == \
        ("shut.example.net", 4, False, 0, 0)
    assert 0 < shut["paused"] <= 60
    assert "refused" in shut["trouble"], shut
    assert (slow["name"], slow["queued"], slow["paused"], slow["trouble"]) \
        == ("slow.example.net", 3, 0, "")
    text = signet.run("status", config=world.setup.path).stdout.decode()
    assert "\ndestinations: 2\n  shut.example.net: 4 queued, paused for " \
        in text, text
    only = status(world, "--domain", "SLOW.example.net")
    assert [row["name"] for row in only["destinations"]] == \
        ["slow.example.net"]
    assert status(world, "--domain", "other.example.net")["destinations"] \
        == []
    text = signet.run("status", "--domain", "other.example.net",
                      config=world.setup.path).stdout.decode()
    assert text.endswith("\ndestinations: 2\n"
                         "  other.example.net: nothing in the queue\n"), text

    # What is held is counted where there is something else.
    one = world.relay.wait("accepted")["id"]
    signet.run("queue", "hold", one, config=world.setup.path, check=0)
    slow = status(world, "--domain", "slow.example.net")["destinations"][0]
    assert (slow["queued"], slow["held"]) == (2, 1)
    assert status(world)["held"] == 1

    # A retry ends the pause, and a new attempt begins another one.
    signet.run("queue", "retry", "--domain", "shut.example.net",
               config=world.setup.path, check=0)
    world.relay.wait("deferred", count=5)

    submit(world.relay.port, message(), recipients=[
        "bob@d%d.example.net" % number for number in range(120)])
    world.relay.wait("deferred", count=125)
    found = wait_for(settled, 20, "the other pause")
    assert found["destinations_total"] == 122
    assert len(found["destinations"]) == 20
    assert found["destinations"][0]["name"] == "shut.example.net"
    assert "\n  and 102 more\n" in signet.run(
        "status", config=world.setup.path).stdout.decode()
    assert len(status(world, "--all")["destinations"]) == 122


def test_counters_of_work(mixed):
    world = mixed
    with Client(world.relay.port) as client:
        client.ehlo()
        client.say("MAIL FROM:<alice@example.com>")
        client.say("RCPT TO:<not an address>")
        assert status(world)["sessions"] == 1
    submit(world.relay.port, message(), recipients=["carol@example.net"])
    world.relay.wait("delivered")
    found = status(world)
    assert found["signed_rsa_sha256"] == found["signed_ed25519_sha256"] == 1
    assert found["rejected"] > 0
    world.relay.wait("rejected", count=found["rejected"])
    assert found["bytes"] > 0
    wait_for(lambda: status(world)["sessions"] == 0, 10, "no session")
    wait_for(lambda: status(world)["connections"] == 0, 10, "no connection")


def test_no_relay(setup):
    configured = setup()
    configured.write()
    done = signet.run("status", config=configured.path, check=69)
    assert b"no relay runs" in done.stderr
    for words in (("now",), ("--nothing",), ("--domain",), ("--domain", "a b"),
                  ("--all", "--domain", "example.net")):
        signet.run("status", *words, config="/nowhere", check=64)


def test_after_a_crash(mixed):
    """A dead relay's socket is no relay, and in nobody's way. What is held
    makes no destination; who asks for its domain hears of it."""
    world = mixed
    submit(world.relay.port, message(), recipients=["bob@example.net"])
    world.relay.wait("deferred")
    signet.run("queue", "hold", "--all", config=world.setup.path, check=0)
    world.relay.kill(whole_family=True)
    assert os.path.exists(os.path.join(world.setup.state_dir, "control"))
    signet.run("status", config=world.setup.path, check=69)
    world.relay.start()
    assert status(world)["pid"] == world.relay.family()["supervisor"]
    assert status(world)["destinations"] == []
    held, = status(world, "--domain", "example.net")["destinations"]
    assert (held["name"], held["queued"], held["held"]) == \
        ("example.net", 0, 1)


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_permission(mixed, directory):
    world = mixed
    made = os.stat(os.path.join(world.setup.state_dir, "control"))
    assert stat.S_IMODE(made.st_mode) & 0o077 == 0
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
    def ask_half():
        if world.relay.process.poll() is not None:
            world.relay.start()
        silent[:] = [ask(world, b"sta", wait=False)[0]]
    quickest(8, world.relay.stop, before=ask_half)


@pytest.mark.parametrize("refusal", (b"error input unknown request\n",
                                     b"error unknown request\n"))
def test_a_relay_of_another_version(refusal, setup):
    """It may not know what is asked: between an upgrade and the restart. The
    words are its own; the earliest had no word for the kind."""
    configured = setup()
    configured.write()
    path = os.path.join(configured.state_dir, "control")
    with socket.socket(socket.AF_UNIX) as older:
        older.bind(path)
        os.chmod(path, 0o666)
        older.listen()

        def answer():
            peer = older.accept()[0]
            with peer:
                peer.recv(LINE_MAX)
                peer.sendall(refusal)

        serving = threading.Thread(target=answer, daemon=True)
        serving.start()
        done = signet.run("queue", "hold", "--all", config=configured.path,
                          check=75)
        serving.join(20)
    assert b"another version" in done.stderr and b"restart" in done.stderr, \
        done.stderr
