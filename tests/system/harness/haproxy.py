"""A private HAProxy: ports of loopback that lead to one server, each in its own
way of saying who the client is."""

import os

from .ports import free_port
from .process import Server
from .smtp import Client

CONFIG = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""
LISTEN = """
listen {name}
    bind 127.0.0.1:{port}
    server relay 127.0.0.1:{target} {how}
"""


class HAProxy:
    def __init__(self, directory, ways):
        """ways: a name → (the server's port, how HAProxy speaks to it)."""
        self.ports = {name: free_port() for name in ways}
        path = os.path.join(directory, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(CONFIG + "".join(
                LISTEN.format(name=name, port=self.ports[name], target=port,
                              how=how)
                for name, (port, how) in ways.items()))
        self.server = Server(["haproxy", "-db", "-f", path], directory,
                             "haproxy")
        for port in self.ports.values():
            self.server.wait_until(lambda port=port: self._answers(port), 20,
                                   "no answer")

    @staticmethod
    def _answers(port):
        try:
            with Client(port, greet=False):
                return True
        except OSError:
            return False

    def stop(self):
        self.server.stop()
