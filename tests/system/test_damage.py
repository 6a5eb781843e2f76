"""Damage in the queue's files: named and set aside, the rest is delivered."""

import json
import os
import shutil
import struct

from harness import signet
from harness.account import token_of
from harness.faulty import Receiver
from harness.smtp import message, submit

PAGE = 4096
LEAF = 2
DEFERRED = 'retry = {"1s"}\n expire = "300s"'


def damage_leaf(path, is_in_use):
    """Zeros in the leaf in use that names the destination most often; what was
    given up stands in the file still. Of more than one leaf, what a message and
    its delivery say may be gone together."""
    with open(path, "rb") as file:
        pages = file.read()
    leaves = []
    for number in range(2, len(pages) // PAGE):
        page = pages[number * PAGE:(number + 1) * PAGE]
        said, _, flags = struct.unpack("=QHH", page[:12])
        if said == number and flags == LEAF:
            leaves.append((page.count(b"example.net"), number))
    for _, number in sorted(leaves, reverse=True):
        with open(path, "r+b") as file:
            file.seek(number * PAGE)
            file.write(b"\0" * PAGE)
        if is_in_use():
            return
    raise AssertionError("no leaf is in use")


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def test_broken_pages_and_bodies(world):
    world.setup.delivery = DEFERRED
    world.start(receiver_options=False)
    ids = {}
    for number in range(40):
        submit(world.relay.port, message(
            "load-%d" % number, "0123456789abc\r\n" * (number % 4 * 500)),
            recipients=["bob@example.net", "carol@example.net"])
    submit(world.relay.port, message("load-file", "0123456789abc\r\n" * 40000))
    for number, event in enumerate(
            world.relay.wait("accepted", count=41) and
            world.relay.named("accepted")):
        ids["load-%d" % number if number < 40 else "load-file"] = event["id"]
    world.relay.stop()
    state = world.setup.state_dir

    def is_damaged():
        listed = signet.run("queue", "list", config=world.setup.path)
        is_said = b"salvages it at its start" in listed.stderr
        assert (listed.returncode == 65) == is_said, listed
        return is_said

    damage_leaf(os.path.join(state, "queue", "data.mdb"), is_damaged)
    flip(os.path.join(state, "spool", ids["load-file"]), 300000)

    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        world.relay.start()
        salvaged = world.relay.wait("store-damaged")
        named = {event["id"] for event in world.relay.named("damaged")}
        whole = {token for token, one in ids.items() if one not in named}
        whole -= {"load-file"}
        assert len(whole) > 10
        late.wait_deliveries(len(whole), 60)
        assert {token_of(one.data) for one in late.deliveries} == whole
        for one in late.deliveries:
            assert sorted(one.recipients) == ["bob@example.net",
                                              "carol@example.net"]
        assert os.path.exists(os.path.join(state, salvaged["set_aside"],
                                           "data.mdb"))
        # Nobody gets half of a message; the log says which one it is.
        if ids["load-file"] not in named:
            world.relay.wait("damaged", id=ids["load-file"])
            world.relay.wait("bounced", id=ids["load-file"],
                             status="5.3.0")
        # And it goes on as ever.
        submit(world.relay.port, message("load-new"))
        late.wait_deliveries(len(whole) + 1, 60)
        world.relay.stop()
        world.relay.start()
        assert len(world.relay.named("store-damaged")) == 1
    finally:
        late.stop()


def chunk_offset(path, token):
    """Where a body stands in the store's file, behind some of its lines."""
    with open(path, "rb") as file:
        pages = file.read()
    return pages.rindex(b"Subject: %s\r\n" % token.encode()) + 400


def listed(world, identity):
    done = signet.run("queue", "list", "--json", config=world.setup.path)
    for line in done.stdout.splitlines():
        one = json.loads(line)
        if one["id"] == identity:
            return one["recipients"]
    return []


def test_a_damaged_body_is_reported_and_kept(world):
    """The sender hears of it at once, with what is left; the administrator
    finds it held, and may delete it. What cannot be read now is tried again."""
    world.setup.delivery = DEFERRED
    names = {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2",
             "example.com": "@ IN MX 10 mx.example.net."}
    world.start(names, receiver_options=False)
    sizes = {"load-chunk": 300, "load-file": 40000, "load-closed": 40000}
    ids = {}
    for number, (token, lines) in enumerate(sizes.items()):
        submit(world.relay.port, message(token, "0123456789abc\r\n" * lines))
        ids[token] = world.relay.wait("accepted", count=number + 1)["id"]
        world.relay.wait("deferred", id=ids[token])
    world.relay.stop()
    state = world.setup.state_dir
    store = os.path.join(state, "queue", "data.mdb")
    closed = os.path.join(state, "spool", ids["load-closed"])
    flip(store, chunk_offset(store, "load-chunk"))
    flip(os.path.join(state, "spool", ids["load-file"]), 300000)
    shutil.move(closed, closed + ".not")
    os.mkdir(closed)  # whoever reads that is told of an error

    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        world.relay.start()
        for token in ("load-chunk", "load-file"):
            event = world.relay.wait("bounced", id=ids[token])
            assert event["status"] == "5.3.0"
            assert "damaged" in event["reply"]
            assert world.relay.named("damaged", id=ids[token])
        reports = late.wait_deliveries(2, 60)
        assert {one.sender for one in reports} == {""}
        for token in ("load-chunk", "load-file"):
            assert [one for one in reports
                    if b"Status: 5.3.0" in one.data and
                    b"Subject: %s\r\n" % token.encode() in one.data] or \
                token == "load-chunk"  # its header is in the damaged chunk
            one, = listed(world, ids[token])
            assert one["state"] == "held" and "damaged" in one["reply"]
            signet.run("queue", "delete", ids[token],
                       config=world.setup.path, check=0)
            assert not listed(world, ids[token])
        assert not os.path.exists(
            os.path.join(state, "spool", ids["load-file"]))
        # The disk may say something else the next time.
        world.relay.wait("deferred", id=ids["load-closed"], status="4.3.0")
        os.rmdir(closed)
        shutil.move(closed + ".not", closed)
        world.relay.wait("delivered", id=ids["load-closed"])
        assert [token_of(one.data) for one in late.deliveries
                if one.sender] == ["load-closed"]
    finally:
        late.stop()


def stopped_with_mail(world):
    """A queue with a message whose body is a file of its own."""
    world.setup.delivery = DEFERRED
    world.start(receiver_options=False)
    submit(world.relay.port, message("load-file", "0123456789abc\r\n" * 40000))
    world.relay.wait("deferred")
    world.relay.stop()
    return world.setup.state_dir


def test_a_mark_without_damage(world):
    """A crash of our own is no reason to make a new store."""
    state = stopped_with_mail(world)
    with open(os.path.join(state, "queue.suspect"), "w") as mark:
        mark.write("the engine crashed (SIGSEGV)")
    late = Receiver(world.setup.mx_port, "127.0.0.2")
    try:
        world.relay.start()
        late.wait_deliveries(1)
        assert not world.relay.named("store-damaged")
        assert not os.path.exists(os.path.join(state, "queue.suspect"))
    finally:
        late.stop()


def test_a_mark_without_a_store(world):
    state = stopped_with_mail(world)
    with open(os.path.join(state, "queue.suspect"), "w") as mark:
        mark.write("the engine's page not found")
    os.rename(os.path.join(state, "queue"), os.path.join(state, "moved"))
    world.relay.start()
    submit(world.relay.port, message())
    assert not world.relay.named("store-damaged")


def test_bodies_without_a_store(world):
    """All that is left of their mail: they are kept."""
    state = stopped_with_mail(world)
    body, = os.listdir(os.path.join(state, "spool"))
    with open(os.path.join(state, "queue", "data.mdb"), "w"):
        pass
    world.relay.start()
    aside, = [name for name in os.listdir(state)
              if name.startswith("spool.orphaned-")]
    assert os.listdir(os.path.join(state, aside)) == [body]
    assert aside in world.relay.tail()
