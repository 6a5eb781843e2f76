"""Listening sockets: those of systemd, which outlive us, and local ones."""

import grp
import os
import signal
import socket
import stat

import pytest

from harness import signet
from harness.milter_client import Milter
from harness.milter_world import PLAIN, World
from harness.ports import free_port
from harness.process import accepts, accepts_at, wait_for
from harness.smtp import Client, message

LISTENER = 'listener "%s" { address = "%s" %s }\n'


class Activated(signet.Relay):
    """Started by systemd-socket-activate, at the first connection, with
    sockets: {a name: where}."""

    def activate(self, sockets):
        prefix = ["systemd-socket-activate",
                  "--fdname=" + ":".join(sockets)]
        for place in sockets.values():
            prefix.append("--listen=" + place)
        prefix += ["--setenv=" + name for name in os.environ
                   if name.startswith(("ASAN_", "UBSAN_", "LSAN_"))]
        self.launch_with(prefix)

    def check_log(self):
        self.strays = [line for line in self.strays if not line.startswith(
            ("Listening on ", "Communication attempt on ", "Execing "))]
        super().check_log()


@pytest.fixture
def activated(setup):
    made = []

    def make(*arguments, **options):
        made.append(Activated(*arguments, start=False, **options))
        return made[-1]
    yield make
    for each in made:
        each.discard()


def sends(*arguments, **options):
    with Client(*arguments, **options) as client:
        client.ehlo()
        code, lines = client.transaction("alice@example.com",
                                         ["bob@example.net"], message())
        assert code == 250, lines


def test_sockets_of_systemd(setup, activated, directory):
    configured = setup()
    port, later = free_port(), free_port()
    path = os.path.join(directory, "submit")
    configured.extra = LISTENER % ("smtp", "systemd:smtp", "") + \
        LISTENER % ("local", "systemd:local", "")
    relay = activated(configured)
    relay.activate({"smtp": "127.0.0.1:%d" % port, "local": path,
                    "later": "127.0.0.1:%d" % later})
    wait_for(lambda: accepts("127.0.0.1", port), 10, "the socket")
    assert relay.wait("ready")["listeners"][1:] == ["systemd:smtp",
                                                    "systemd:local"]
    sends(port)
    sends(None, path=path)
    # A reload keeps them, and finds one that was passed at the start.
    configured.extra += LISTENER % ("later", "systemd:later", "")
    configured.write()
    relay.hang_up()
    relay.wait("reload")
    for one in port, later:
        sends(one)
    relay.wait("accepted", 4)  # before who would say so is killed
    # So does whoever takes a dead process's place.
    pid = relay.family()["relay"]
    os.kill(pid, signal.SIGKILL)
    relay.wait("relay-died")
    relay.wait("ready", 2)
    sends(port)
    sends(None, path=path)
    before = configured.extra
    configured.extra = before + LISTENER % ("none", "systemd:none", "")
    configured.write()
    relay.hang_up()
    assert "no socket that is called 'none'" in \
        relay.wait("reload-refused")["reason"]
    sends(later)
    named = [event["listener"] for event in relay.named("accepted")]
    assert named == ["smtp", "local", "smtp", "later", "smtp", "local",
                     "later"]
    relay.stop()


def test_without_systemd(setup):
    configured = setup()
    configured.extra = LISTENER % ("smtp", "systemd:smtp", "")
    done = signet.run("relay", config=configured.write(), check=78)
    assert b'listener "smtp": systemd passed no socket' in done.stderr


def test_a_milter_of_systemd(keys, binary):
    class Passed(World):
        def __init__(self):
            super().__init__(keys)
            self.path = os.path.join(self.directory, "socket")
            self.setup.socket = "systemd:milter"

        def start(self):
            self.milter = Activated(self.setup, start=False)
            self.milter.command = "milter"
            self.milter.family = lambda: {}
            self.milter.activate({"milter": self.path})
            wait_for(lambda: accepts_at(self.path), 10, self.path)
    world = Passed()
    try:
        world.start()
        for _ in range(2):
            with Milter("unix:" + world.path) as client:
                assert client.message(PLAIN).verdict in ("accept", "continue")
        world.milter.wait("signed", 2)
        world.milter.stop()
    finally:
        world.milter.discard()


def test_a_unix_socket(world, relay):
    """Its mode and group, whom it counts as, and what a crash leaves."""
    path = os.path.join(world.setup.directory, "submit")
    group = grp.getgrall()[-1] if os.getuid() == 0 else \
        grp.getgrgid(os.getgid())
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    strict = path + "-strict"
    world.setup.extra = LISTENER % (
        "local", "unix:" + path, 'socket_mode = "0620"  socket_group = "%s"' %
        group.gr_name) + LISTENER % (
            "strict", "unix:" + strict, 'allow_from = {"192.0.2.0/24"}')
    world.start()
    status = os.stat(path)
    assert stat.S_IMODE(status.st_mode) == 0o620
    assert status.st_gid == group.gr_gid
    assert stat.S_IMODE(os.stat(strict).st_mode) == 0o666
    sends(None, path=path)
    accepted = world.relay.wait("accepted")
    assert accepted["client"] == "unix:"
    world.receiver.wait_deliveries(1)
    assert b"(local)" in world.receiver.deliveries[0].data
    with Client(None, path=strict) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 550, "5.7.1")
    # A reload keeps the socket, and who is connected.
    with Client(None, path=path) as client:
        client.ehlo()
        world.relay.hang_up()
        world.relay.wait("reload")
        assert os.stat(path).st_ino == status.st_ino
        assert client.transaction("alice@example.com", ["bob@example.net"],
                                  message())[0] == 250
    sends(None, path=path)
    world.relay.kill(whole_family=True)
    again = relay(world.setup)
    sends(None, path=path)
    again.stop()
