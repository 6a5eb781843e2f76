"""A relay between clients and a receiver, for commands that run for long."""

import os
import shutil
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
sys.path.insert(0, os.path.join(ROOT, "tests/system"))
servers = os.path.join(ROOT, "build-tests/servers/root")
os.environ["PATH"] += "".join(
    ":" + os.path.join(servers, part) for part in ("usr/sbin", "usr/bin"))

from harness import signet  # noqa: E402
from harness.account import Account, Sink  # noqa: E402
from harness.judge import Keys  # noqa: E402
from harness.names import NameServer  # noqa: E402
from harness.ports import free_port  # noqa: E402

ZONE = "@ IN MX 10 mx\nmx IN A 127.0.0.2"


class Stand:
    """`with Stand() as stand`: nothing is started but the name server and the
    receiver."""

    def __init__(self, delivery='retry = {"1s"}\n expire = "300s"',
                 limits="", zones=None, **sink):
        self.directory = tempfile.mkdtemp(prefix="signet-soak.")
        os.chmod(self.directory, 0o711)
        keys = Keys(os.path.join(self.directory, "keys"))
        for selector, algorithm in (("rsa", "rsa"), ("ed", "ed25519")):
            keys.make("example.com", selector, algorithm)
        all_zones = {"example.com": keys.zone("example.com"),
                     "example.net": ZONE}
        for domain, records in (zones or {}).items():
            mine = all_zones.get(domain, "") if domain == "example.com" else ""
            all_zones[domain] = mine + "\n" + records
        self.names = NameServer(self.directory, all_zones)
        self.setup = signet.Setup(self.directory, keys, self.names.resolver)
        self.setup.delivery = delivery
        self.setup.limits = limits
        self.account = Account()
        self.sink = Sink(self.account, self.setup.mx_port, "127.0.0.2", **sink)
        self.relay = signet.Relay(self.setup, start=False)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.relay.discard()
        self.sink.stop()
        self.names.stop()
        if kind is None or not os.environ.get("KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)
