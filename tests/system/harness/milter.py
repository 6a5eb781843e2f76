"""`signet milter`: its configuration and its process."""

from .ports import free_port
from .signet import Relay, Setup


class MilterSetup(Setup):
    """options: lines of the milter section; socket: in signet's words."""

    def __init__(self, directory, keys, options="", **more):
        super().__init__(directory, keys, **more)
        self.milter_port = free_port()
        self.socket = "inet:%d@127.0.0.1" % self.milter_port
        self.options = options

    def text(self):
        return super().text() + 'milter {\n    socket = "%s"\n    %s\n}\n' % (
            self.socket, self.options)


class SignetMilter(Relay):
    """A running `signet milter`."""

    command = "milter"

    def __init__(self, setup, start=True, **options):
        super().__init__(setup, start=False, **options)
        self.port = setup.milter_port
        self.socket = setup.socket
        if start:
            self.start()

    def warned(self, *words):
        """Each of the words stands in a warning about the MTA so far; at once
        behind a message, or an hour ago."""
        told = " ".join(" ".join(event["warnings"])
                        for event in self.named("lint"))
        for word in words:
            assert word in told, (word, told)
