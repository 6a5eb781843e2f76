"""Fixtures: each test has its own directory, ports, servers and relay."""

import contextlib
import os
import shutil
import tempfile

import pytest

from harness import leavings, signet, stock
from harness.faulty import Receiver
from harness.judge import Keys
from harness.milter_world import World as MilterWorld
from harness.names import NameServer, Recursor
from harness.ports import free_port
from harness.postfix import Postfix, self_signed

KEYS = (("example.com", "rsa", "rsa"), ("example.com", "ed", "ed25519"),
        ("example.org", "rsa", "rsa"), ("example.org", "ed", "ed25519"))


def pytest_configure(config):
    if stock.PLACE not in os.environ:  # not a worker, who inherits it
        place = contextlib.ExitStack()
        place.enter_context(stock.opened())
        config.add_cleanup(place.close)


def pytest_collection_modifyitems(items):
    """One worker runs a whole group: not as the last one, with the others done."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture(scope="session", autouse=True)
def nothing_left():
    leavings.sweep()
    yield
    leavings.sweep()


@pytest.fixture(scope="session", autouse=True)
def without_authorities():
    """Reading the system's certificates is half of what it takes to start a
    relay with sanitizers. A test that trusts somebody names its own; one in
    test_delivery reads them."""
    os.environ["SSL_CERT_FILE"] = os.devnull


@pytest.fixture(scope="session")
def binary():
    return signet.binary()


@pytest.fixture(scope="session")
def session_directory():
    path = tempfile.mkdtemp(prefix="signet-tests.")
    os.chmod(path, 0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def module_directory(session_directory):
    """For servers that the tests of one file share."""
    path = tempfile.mkdtemp(dir=session_directory)
    os.chmod(path, 0o711)
    return path


@pytest.fixture(scope="session")
def keys(session_directory):
    """Shared; a test that changes keys makes its own Keys."""
    made = Keys(os.path.join(session_directory, "keys"))
    for domain, selector, algorithm in KEYS:
        made.make(domain, selector, algorithm)
    return made


@pytest.fixture
def own_for_nobody(directory):
    """The usual keys, but theirs who is nobody."""
    made = Keys(os.path.join(directory, "keys"))
    for selector, algorithm in (("rsa", "rsa"), ("ed", "ed25519")):
        made.make("example.com", selector, algorithm)
    for folder, _, names in os.walk(made.directory):
        for name in [""] + names:
            shutil.chown(os.path.join(folder, name), "nobody", "nogroup")
    return made


@pytest.fixture(scope="session")
def certificate(session_directory):
    return self_signed(session_directory, "mx.example.net")


@pytest.fixture
def directory():
    path = tempfile.mkdtemp(prefix="signet-test.")
    os.chmod(path, 0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def started():
    """Whatever a test starts, stopped in reverse order."""
    servers = []
    yield servers.append
    for server in reversed(servers):
        server.stop()


@pytest.fixture
def name_server(directory, keys, started):
    """name_server({"example.net": "@ MX 10 mx\\nmx A 127.0.0.2"}); the zones
    with the keys are always there."""
    def make(zones=None, port=None):
        all_zones = {domain: keys.zone(domain)
                     for domain in ("example.com", "example.org")}
        for domain, records in (zones or {}).items():
            all_zones[domain] = all_zones.get(domain, "") + "\n" + records
        server = NameServer(directory, all_zones, port)
        started(server)
        return server
    return make


@pytest.fixture
def recursor(directory, started):
    def make(upstream, **options):
        server = Recursor(directory, upstream, **options)
        started(server)
        return server
    return make


@pytest.fixture
def postfix(directory, started):
    def make(port, **options):
        server = Postfix(directory, port, **options)
        started(server)
        return server
    return make


@pytest.fixture
def receiver(started, certificate):
    def make(port, address="127.0.0.1", **options):
        server = Receiver(port, address, certificate=certificate, **options)
        started(server)
        return server
    return make


@pytest.fixture
def setup(directory, keys):
    """A configuration whose resolver nobody is: for tests without delivery."""
    def make(resolver="127.0.0.1:1", **options):
        return signet.Setup(directory, options.pop("keys", keys), resolver,
                            **options)
    return make


@pytest.fixture
def relay(binary):
    """relay(setup) starts one; what still runs is stopped, and must stop
    well, at the end."""
    running = []

    def make(configured, start=True, **options):
        made = signet.Relay(configured, start=False, **options)
        running.append(made)
        if start:
            made.start()
        return made
    yield make
    for made in running:
        try:
            if made.process is not None and made.process.poll() is None:
                made.stop()
        finally:
            made.discard()


@pytest.fixture
def world(setup, name_server, receiver, relay):
    """The usual arrangement: example.net has one MX, a Receiver."""
    class World:
        def __init__(self):
            self.setup = setup(mx_port=free_port())
            self.names = None
            self.receiver = None
            self.relay = None

        def start(self, zones=None, receiver_options=None, env=None):
            self.names = name_server(zones or {
                "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
            self.setup.resolver = self.names.resolver
            if receiver_options is not False:
                self.receiver = receiver(self.setup.mx_port, "127.0.0.2",
                                         **(receiver_options or {}))
            self.relay = relay(self.setup, env=env)
            return self
    return World()


@pytest.fixture
def milter_world(binary, keys):
    """milter_world(options) starts a milter of a test's own."""
    made = []

    def make(options="", keys=keys, **more):
        made.append(MilterWorld(keys, options, **more))
        made[-1].milter.start()
        return made[-1]
    yield make
    for each in made:
        each.stop()
