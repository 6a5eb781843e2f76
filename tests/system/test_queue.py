"""`signet queue`: what waits, and why."""

import json
import os
import pwd
import re
import socket
import stat
import threading

import pytest

from harness import signet
from harness.smtp import message, submit

ZONES = {"example.net": "@ IN MX 10 mx\n* IN MX 10 mx\nmx IN A 127.0.0.2",
         "example.org": "@ IN MX 10 mx.example.net."}
LATER = "450 4.2.0 the box is full; come back later"


def defer_bob(address):
    return LATER if "bob" in address else None


def queue(world, *words, check=0, **options):
    return signet.run("queue", *words, config=world.setup.path, check=check,
                      **options).stdout.decode()


def listed(world):
    return [json.loads(line)
            for line in queue(world, "list", "--json").splitlines()]


@pytest.fixture
def deferring(world):
    """Bob's mail is deferred for an hour."""
    world.setup.delivery = 'retry = {"1h"}'
    return world.start(ZONES, {"replies": {"RCPT": defer_bob}})


def submit_deferred(world, subject="waits", body="Hello.\r\n",
                    recipients=("bob@example.net",)):
    count = len(world.relay.named("deferred"))
    submit(world.relay.port, message(subject, body), recipients=recipients)
    world.relay.wait("deferred", count=count + 1)
    return world.relay.named("accepted")[-1]["id"]


def test_list(deferring):
    world = deferring
    one = submit_deferred(
        world, recipients=("bob@example.net", "carol@example.net"))
    two = submit_deferred(
        world, recipients=("bob@example.org", "dave@example.org"))
    world.relay.wait("delivered", count=2)
    rows = listed(world)
    assert [row["id"] for row in rows] == [one, two], "oldest first"
    accepted = world.relay.named("accepted")[0]
    assert rows[0]["from"] == "alice@example.com"
    assert rows[0]["size"] >= accepted["size"]
    assert signet.TIME.fullmatch(rows[0]["received"])
    deferred = world.relay.named("deferred")[0]
    # The delivered ones are gone.
    assert rows[0]["recipients"] == [{
        "address": "bob@example.net", "domain": "example.net",
        "state": "deferred", "attempts": 1, "next": deferred["next"],
        "host": "mx.example.net", "reply": LATER}]

    text = queue(world, "list")
    assert re.search(r"^%s  \d+s  \d+  <alice@example.com>\n"
                     r"    bob@example.net  deferred, 1 attempt, "
                     r"next in \d+m: %s \(mx\.example\.net\)\n"
                     % (one, re.escape(LATER)), text, re.MULTILINE), text

    # The same of the store alone.
    world.relay.stop()
    assert listed(world) == rows
    before = files(world)
    assert queue(world, "list").count("deferred") == 2
    assert files(world) == before, "a look makes nothing"
    world.relay.start()
    assert listed(world) == rows


def files(world):
    found = {}
    for root, _, names in os.walk(world.setup.state_dir):
        for name in names:
            state = os.stat(os.path.join(root, name))
            found[os.path.join(root, name)] = (state.st_uid, state.st_mode)
    return found


def test_show(deferring):
    """All that is known, and the header; also of a body in a file."""
    world = deferring
    small = submit_deferred(world, "a\r\n b \x1b[31m")
    large = submit_deferred(world, "large",
                            body=("x" * 76 + "\r\n") * 8000)
    for one, subject in ((small, "Subject: a\n b ?[31m\n"),
                         (large, "Subject: large\n")):
        text = queue(world, "show", one)
        for line in ("id: %s" % one, "from: <alice@example.com>",
                     "recipient: bob@example.net", "  state: deferred",
                     "  attempts: 1", "  reply: %s" % LATER,
                     "  status: 4.2.0", "  host: mx.example.net"):
            assert line + "\n" in text, (line, text)
        assert "\nDKIM-Signature: " in text, "as it goes out"
        assert subject in text
        assert "Hello." not in text and "xxx" not in text, "no body"
        assert "\x1b" not in text and "\r" not in text
    assert os.listdir(os.path.join(world.setup.state_dir, "spool")) == [large]


def test_unknown_ids_and_words(deferring):
    world = deferring
    one = submit_deferred(world)
    unknown = one[:-4] + "ZZZZ"
    for word in (unknown, "no-id"):
        done = signet.run("queue", "show", word, config=world.setup.path,
                          check=65)
        assert word.encode() in done.stderr
    for words in ((), ("show",), ("list", "x"), ("lust",),
                  ("show", "--json", one), ("list", "--jsn")):
        signet.run("queue", *words, config="/nowhere", check=64)


def test_where_no_relay_has_run(setup):
    configured = setup()
    configured.write()
    done = signet.run("queue", "list", config=configured.path, check=0)
    assert done.stdout == b""
    assert os.listdir(configured.state_dir) == []
    signet.run("queue", "show", "0" * 26, config=configured.path, check=65)


@pytest.mark.parametrize("answer", [b"ok\n\nid: \x1b]2;x\x07\xc2\x9b",
                                    b"ok\ndamaged \x1b[2J\n\n",
                                    b"error system \x1b[2J\n"])
def test_a_relay_that_was_taken_over(setup, answer):
    """It says what it likes, but not to the terminal of who asks, who is
    root."""
    configured = setup()
    configured.write()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(configured.state_dir, "control"))
        listener.listen()

        def relay():
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=relay)
        thread.start()
        done = signet.run("queue", "list", config=configured.path)
        thread.join()
    said = done.stdout + done.stderr
    assert b"?" in said
    assert not re.search(b"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", said), said


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_permission(deferring, directory):
    """Nobody else sees it; what root leaves belongs to the relay's user."""
    world = deferring
    submit_deferred(world)
    world.relay.stop()
    os.unlink(os.path.join(world.setup.state_dir, "queue", "lock.mdb"))
    assert len(listed(world)) == 1
    nobody = pwd.getpwnam("nobody").pw_uid
    made = os.stat(os.path.join(world.setup.state_dir, "queue", "lock.mdb"))
    assert made.st_uid == nobody
    assert stat.S_IMODE(made.st_mode) == 0o600
    done = signet.run_as("daemon", directory, "-c", world.setup.path,
                         "queue", "list")
    assert done.returncode == 77, done.stderr
    assert done.stdout == b""


def test_a_long_list(deferring):
    """More than one page, each message once, none cut."""
    world = deferring
    recipients = ["bob%d@d%d.example.net" % (number, number)
                  for number in range(60)]
    for _ in range(8):
        submit(world.relay.port, message(), recipients=recipients)
    world.relay.wait("accepted", 8)
    ids = [event["id"] for event in world.relay.named("accepted")]
    rows = listed(world)
    assert sorted(row["id"] for row in rows) == sorted(ids)
    for row in rows:
        assert sorted(rcpt["address"] for rcpt in row["recipients"]) == \
            sorted(recipients)
