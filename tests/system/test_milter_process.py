"""The processes of `signet milter`: reload, deaths, stop, its socket."""

import grp
import os
import signal
import socket
import stat
import struct
import subprocess
import threading

import pytest

from harness import signet
from harness.judge import Keys
from harness.milter_client import Closed, Milter
from harness.milter_world import PLAIN, World
from harness.ports import free_port
from harness.process import freeze, wait_for


def begun(client):
    """A message up to the end of its header."""
    client.begin()
    assert client.mail() is None
    client.data(macros={"i": "4XyZ0123456"})
    for name, value in ((b"From", b" alice@example.com"),
                        (b"Subject", b" a")):
        assert client.header(name, value) is None
    assert client.eoh().verdict == "continue"


def ended(client, then=None):
    client.body(b"Hello.\r\n")
    reply, changes, _ = client.eob(then=then)
    fields = [(b"From", b" alice@example.com"), (b"Subject", b" a")]
    return reply, client.changed(fields, b"Hello.\r\n", changes)


class Load(threading.Thread):
    """Messages without end, on one connection after another."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.results, self.closed = world, [], 0
        self.is_ending = False
        self.start()

    def run(self):
        while not self.is_ending:
            try:
                with self.world.client() as client:
                    for number in range(5):
                        self.results.append(
                            client.message(PLAIN, begin=number == 0))
            except (Closed, OSError):
                self.closed += 1

    def end(self):
        self.is_ending = True
        self.join(60)
        return self.results


# -- reload -------------------------------------------------------------------

@pytest.fixture
def two_keys(directory):
    keys = Keys(os.path.join(directory, "keys"))
    keys.make("example.com", "one", "rsa")
    keys.make("example.com", "two", "rsa")
    return keys


def test_a_reload_under_load_mixes_no_two_generations(milter_world, two_keys):
    world = milter_world(keys=two_keys, domains={"example.com": ["one"]})
    loads = [Load(world) for _ in range(3)]
    with world.client() as slow:
        begun(slow)
        for number, selectors in enumerate((["two"], ["one"], ["two"])):
            world.setup.domains = {"example.com": selectors}
            world.setup.write()
            world.milter.hang_up()
            world.milter.wait("reload", count=number + 1)
            seen = len(loads[0].results)
            wait_for(lambda: len(loads[0].results) > seen + 3, 20, "messages")
            if number == 0:
                reply, data = ended(slow)
                assert world.passes(slow_result(reply, data), ["one"])
    results = [result for load in loads for result in load.end()]
    assert not any(load.closed for load in loads)
    used = set()
    for result in results:
        selector = "one" if b"s=one" in result.data else "two"
        used.add(selector)
        assert result.verdict == "continue", result
    # Whichever name it bears, the key is that name's.
    for selector in used:
        some = [each for each in results if b"s=%s;" % selector.encode()
                in each.data]
        assert all(world.passes(each, [selector]) for each in some[:20])
    assert used == {"one", "two"}


def slow_result(reply, data):
    class Result:
        verdict = reply.verdict
    Result.data = data
    return Result


def test_a_refused_reload_changes_nothing(milter_world):
    world = milter_world()
    world.setup.domains = {"example.com": ["missing"]}
    world.setup.write()
    world.milter.hang_up()
    world.milter.wait("reload-refused")
    assert world.passes(world.message())


def test_another_port_by_reload(milter_world):
    world = milter_world()
    before = world.setup.milter_port
    with world.client() as old:
        assert world.passes(old.message(PLAIN))
        world.listen_on("inet:%d@127.0.0.1" % free_port())
        world.milter.hang_up()
        world.milter.wait("reload")
        assert world.passes(world.message())
        assert world.passes(old.message(PLAIN, begin=False))
    with pytest.raises(ConnectionRefusedError):
        Milter("inet:%d@127.0.0.1" % before)


# -- deaths -------------------------------------------------------------------

def test_a_signer_that_dies_is_replaced_and_no_message_notices(milter_world):
    world = milter_world()
    loads = [Load(world) for _ in range(2)]
    for number in range(3):
        os.kill(world.milter.family()["signer"], signal.SIGKILL)
        world.milter.wait("signer-died", count=number + 1)
        seen = len(loads[0].results)
        wait_for(lambda: len(loads[0].results) > seen + 2, 20, "messages")
    results = [result for load in loads for result in load.end()]
    assert not any(load.closed for load in loads)
    assert {result.verdict for result in results} == {"continue"}
    assert all(world.passes(result) for result in results[:5] + results[-5:])


def test_a_signer_that_hangs_means_later(milter_world):
    """Where the supervisor does not get to replace it either."""
    world = milter_world()
    family = world.milter.family()
    signer, supervisor = family["signer"], family["supervisor"]
    freeze(supervisor)
    freeze(signer)
    result = world.message()
    assert result.text == \
        "451 4.7.5 The message could not be signed, try again later", result
    event = world.milter.wait("rejected")
    assert event["level"] == "warning" and "in time" in event["reason"]
    os.kill(signer, signal.SIGCONT)
    os.kill(supervisor, signal.SIGCONT)
    assert world.passes(world.message())


def test_an_mta_that_has_said_all_still_listens(milter_world):
    say_all_and_listen(milter_world())


def say_all_and_listen(world):
    with world.client() as client:
        begun(client)
        reply, data = ended(
            client, then=lambda: client.socket.shutdown(socket.SHUT_WR))
        assert world.passes(slow_result(reply, data))
        client.expect_closed()
    world.milter.wait("signed")
    assert not world.milter.named("skipped")


def test_nothing_is_signed_for_an_mta_that_is_gone(milter_world):
    """Only what an MTA has been told has been done."""
    world = milter_world()
    signer = world.milter.family()["signer"]
    for number, linger in enumerate((None, struct.pack("ii", 1, 0))):
        with world.client() as client:
            begun(client)
            freeze(signer)
            client.body(b"Hello.\r\n")
            client.send(b"E")
            if linger:  # a reset
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         linger)
        os.kill(signer, signal.SIGCONT)
        event = world.milter.wait("skipped", count=number + 1)
        assert event["signatures"] == []
        assert event["reason"] == "the MTA could not be told of the changes"
    assert not world.milter.named("signed")


def test_the_socket_outlives_the_process(milter_world):
    world = milter_world()
    os.kill(world.milter.family()["relay"], signal.SIGKILL)
    assert world.passes(world.message())  # waits in the kernel
    world.milter.wait("milter-died")


@pytest.mark.parametrize("number", (signal.SIGHUP, signal.SIGTERM,
                                    signal.SIGINT, signal.SIGUSR1))
def test_signals_are_not_libmilters(milter_world, number):
    """A terminal and a service manager send them to all of the family."""
    world = milter_world()
    with world.client() as client:
        begun(client)
        pid = world.milter.family()["relay"]
        for _ in range(10):
            os.kill(pid, number)
        reply, data = ended(client)
        assert world.passes(slow_result(reply, data))
    assert world.passes(world.message())
    assert world.milter.family()["relay"] == pid
    assert not world.milter.named("milter-died")


# -- stop ---------------------------------------------------------------------

def test_a_stop_finishes_what_is_in_flight(milter_world):
    world = milter_world()
    idle, busy = world.client(), world.client()
    idle.begin()
    begun(busy)
    os.kill(world.milter.process.pid, signal.SIGTERM)
    world.milter.wait("stopping")
    wait_for(lambda: refuses(world), 10, "the socket to close")
    reply, data = ended(busy)
    assert world.passes(slow_result(reply, data))
    idle.expect_closed()
    world.milter.process.wait(60)
    assert world.milter.process.returncode == 0


def refuses(world):
    """Nobody accepts any more: a greeting is not answered."""
    try:
        with world.client(timeout=2) as client:
            client.negotiate()
    except (socket.timeout, ConnectionError, Closed):
        return True
    return False


def test_a_stop_under_load(milter_world):
    world = milter_world()
    loads = [Load(world) for _ in range(4)]
    wait_for(lambda: all(len(load.results) > 5 for load in loads), 20,
             "messages")
    world.milter.stop()
    for load in loads:
        for result in load.end():
            assert result.verdict == "continue" or \
                "4.3.2" in result.text, result


# -- the socket ---------------------------------------------------------------

class Local(World):
    def __init__(self, keys, options=""):
        super().__init__(keys, options)
        path = os.path.join(self.directory, "socket")
        self.listen_on("unix:" + path)
        self.path = path
        self.milter.family = lambda: {}  # which looks for a port


@pytest.fixture
def local(binary, keys):
    made = []

    def make(options=""):
        made.append(Local(keys, options))
        return made[-1]
    yield make
    for each in made:
        each.stop()


def test_a_unix_socket_with_mode_and_group(local):
    group = grp.getgrnam("mail") if os.getuid() == 0 else \
        grp.getgrgid(os.getgid())
    world = local('socket_mode = "0620"\n    socket_group = "%s"' %
                  group.gr_name)
    # What a crash left behind is in nobody's way.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(world.path)
    stale.close()
    world.milter.start()
    status = os.stat(world.path)
    assert stat.S_IMODE(status.st_mode) == 0o620
    assert status.st_gid == group.gr_gid
    assert world.passes(world.message())
    world.setup.domains = {"example.com": ["rsa"]}
    world.setup.write()
    world.milter.hang_up()
    world.milter.wait("reload")
    assert world.passes(world.message(), ["rsa"])


def test_an_mta_at_a_unix_socket_that_has_said_all_still_listens(local):
    world = local()
    world.milter.start()
    say_all_and_listen(world)


def test_a_unix_socket_is_no_place_for_the_silent(local):
    """The kernel keeps nobody from us there."""
    world = local("max_connections = 5")
    world.milter.start()
    held = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for number, connection in enumerate(held):
        connection.settimeout(30)
        connection.connect(world.path)
        if number % 2:
            connection.sendall(b"\0\0")
    for connection in held:
        assert connection.recv(1) == b""
        connection.close()
    assert world.passes(world.message())


def test_a_file_in_the_way_is_left_alone(local):
    world = local()
    with open(world.path, "w") as file:
        file.write("mine")
    done = subprocess.run([signet.binary(), "-c", world.setup.write(),
                           "milter"], stderr=subprocess.PIPE, timeout=120)
    assert done.returncode != 0
    assert b"milter.socket: listening on" in done.stderr
    with open(world.path) as file:
        assert file.read() == "mine"


def test_a_group_that_nobody_knows(local):
    world = local('socket_group = "nosuchgroup"')
    done = subprocess.run([signet.binary(), "-c", world.setup.write(),
                           "milter"], stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 78
    assert b"there is no group 'nosuchgroup'" in done.stderr


def test_ipv6(binary, keys):
    world = World(keys)
    world.listen_on("inet6:%d@::1" % world.setup.milter_port)
    try:
        world.milter.start()
        assert world.passes(world.message())
    finally:
        world.stop()


def test_a_relay_beside_it_from_the_same_file(milter_world):
    world = milter_world()
    relay = signet.Relay(world.setup)
    try:
        assert world.passes(world.message())
        relay.stop()
    finally:
        relay.discard()


def test_too_many_that_only_connect_to_a_unix_socket(local):
    """Nothing tells them from MTAs: accepting pauses until they are fewer."""
    world = local("max_connections = 1")
    world.milter.start()
    held = []
    for _ in range(280):
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].connect(world.path)
    assert "max_connections" in world.milter.wait("paused")["reason"]
    late = world.client()  # is not accepted yet
    for each in held:
        each.close()
    assert world.passes(late.message(PLAIN))
    late.close()
