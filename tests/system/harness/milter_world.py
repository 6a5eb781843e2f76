"""A `signet milter` of a test's own, and messages to it."""

import shutil
import tempfile

from . import judge
from .milter import MilterSetup, SignetMilter
from .milter_client import Milter

PLAIN = (b"From: Alice <alice@example.com>\r\nTo: bob@example.net\r\n"
         b"Subject: a\r\n folded\r\n\tone\r\n"
         b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
         b"Message-ID: <1@example.com>\r\n\r\nHello.\r\n")


class World:
    """options: lines of the milter section; more: other parts of Setup."""

    def __init__(self, keys, options="", **more):
        self.directory = tempfile.mkdtemp(prefix="signet-test.")
        self.setup = MilterSetup(self.directory, keys, options)
        for name, value in more.items():
            setattr(self.setup, name, value)
        self.milter = SignetMilter(self.setup, start=False)
        self.lookup = judge.lookup_in(keys.records)

    def listen_on(self, socket):
        """Instead of the port on 127.0.0.1."""
        self.setup.socket = socket
        self.setup.write()

    def client(self, timeout=60):
        return Milter(self.setup.socket, timeout)

    def message(self, data=PLAIN, **options):
        with self.client() as client:
            return client.message(data, **options)

    def passes(self, result, selectors=("rsa", "ed")):
        """Every signature verifies, in this order."""
        assert result.verdict in ("continue", "accept"), result
        verdicts = judge.dkimpy(result.data, self.lookup)
        assert [verdict.selector for verdict in verdicts] == list(selectors)
        assert all(verdict.passed for verdict in verdicts), result.data
        return True

    def stop(self):
        try:
            if self.milter.process is not None and \
                    self.milter.process.poll() is None:
                self.milter.stop()
        finally:
            self.milter.discard()
            shutil.rmtree(self.directory, ignore_errors=True)
