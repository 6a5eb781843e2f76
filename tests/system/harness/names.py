"""Real name servers: NSD with zones written from Python, Unbound before it."""

import collections
import os
import socket
import threading

import dns.message

from .ports import free_port
from .process import Server

SOA = "@ IN SOA ns hostmaster 1 3600 600 86400 5\n@ IN NS ns\nns IN A 127.0.0.1\n"


TYPES = {1: "A", 15: "MX", 28: "AAAA"}


def txt_strings(text):
    """TXT data in the strings of at most 255 bytes that a zone file wants."""
    pieces = [text[i:i + 255] for i in range(0, len(text), 255)]
    return " ".join('"%s"' % piece for piece in pieces)


def _answers(port):
    """Asks on a connected socket, which says at once that nobody is there."""
    query = dns.message.make_query("ready.example.", "SOA").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(("127.0.0.1", port))
            probe.send(query)
            probe.recv(512)
        except OSError:
            return False
    return True


class NameServer:
    """A private NSD. zones: {"example.com": "@ MX 10 mx\\nmx A 127.0.0.2"}"""

    soa = SOA

    def __init__(self, directory, zones, port=None):
        self.directory = os.path.join(directory, "nsd")
        os.makedirs(self.directory, exist_ok=True)
        self.port = port or free_port()
        self.zones = dict(zones)
        self._write()
        self.server = None
        self.start()

    @property
    def resolver(self):
        return "127.0.0.1:%d" % self.port

    def start(self):
        self.server = Server(
            ["nsd", "-d", "-c", os.path.join(self.directory, "nsd.conf")],
            self.directory, "nsd")
        self.server.wait_until(lambda: _answers(self.port), 10, "an answer")

    def stop(self):
        self.server.stop()

    def replace(self, zones):
        self.stop()
        self.zones = dict(zones)
        self._write()
        self.start()

    def _write(self):
        lines = [
            "server:",
            "  ip-address: 127.0.0.1@%d" % self.port,
            "  server-count: 1",
            '  username: ""',
            '  chroot: ""',
            '  zonesdir: "%s"' % self.directory,
            '  pidfile: "%s/nsd.pid"' % self.directory,
            '  database: ""',
            '  zonelistfile: "%s/zone.list"' % self.directory,
            '  xfrdfile: "%s/xfrd.state"' % self.directory,
            '  xfrdir: "%s"' % self.directory,
            "  rrl-ratelimit: 0",
            "  rrl-whitelist-ratelimit: 0",
            "  rrl-size: 1000",  # of a million it fills in at its start
            "remote-control:",
            "  control-enable: no",
        ]
        for name, records in self.zones.items():
            path = os.path.join(self.directory, name + ".zone")
            with open(path, "w") as file:
                file.write("$ORIGIN %s.\n$TTL 60\n%s%s\n" %
                           (name, self.soa, records))
            lines += ["zone:", "  name: %s" % name, '  zonefile: "%s"' % path]
        with open(os.path.join(self.directory, "nsd.conf"), "w") as file:
            file.write("\n".join(lines) + "\n")


class Recursor:
    """A private Unbound that asks one NameServer for everything; also for the
    lame zones, which that does not have: SERVFAIL."""

    def __init__(self, directory, upstream, lame=()):
        self.directory = os.path.join(directory, "unbound")
        os.makedirs(self.directory, exist_ok=True)
        self.port = free_port()
        path = os.path.join(self.directory, "unbound.conf")
        with open(path, "w") as file:
            file.write("""
server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: "{directory}/unbound.pid"
  module-config: "iterator"
  num-threads: 1
  local-zone: "ready.example." static
remote-control:
  control-enable: no
{zones}
""".format(port=self.port, directory=self.directory, zones="\n".join(
                "stub-zone:\n  name: %s\n  stub-addr: 127.0.0.1@%d" %
                (name, upstream.port) for name in [*upstream.zones, *lame])))
        self.server = Server(["unbound", "-d", "-c", path],
                             self.directory, "unbound")
        self.server.wait_until(lambda: _answers(self.port), 10, "an answer")

    @property
    def resolver(self):
        return "127.0.0.1:%d" % self.port

    def stop(self):
        self.server.stop()


class Counter(threading.Thread):
    """In front of a name server: how often each question is asked."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.port = free_port()
        self.server = ("127.0.0.1", server)
        self.asked = collections.Counter()
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                         for _ in range(2)]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._sockets[0].bind(("127.0.0.1", self.port))
        self._waiting = {}
        self.start()
        threading.Thread(target=self._answer, daemon=True).start()

    def run(self):
        number = 0
        while True:
            packet, client = self._sockets[0].recvfrom(4096)
            end = packet.index(b"\0", 12)
            kind = int.from_bytes(packet[end + 1:end + 3], "big")
            self.asked[packet[12:end].lower(), TYPES.get(kind, kind)] += 1
            number = (number + 1) % 65536
            self._waiting[number] = packet[:2], client
            self._sockets[1].sendto(number.to_bytes(2, "big") + packet[2:],
                                    self.server)

    def _answer(self):
        while True:
            packet = self._sockets[1].recv(65536)
            mine, client = self._waiting.pop(
                int.from_bytes(packet[:2], "big"), (None, None))
            if client:
                self._sockets[0].sendto(mine + packet[2:], client)


class Silent:
    """A name server that takes every question and answers none."""

    def __init__(self, host="127.0.0.1", port=None):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.udp.bind((host, port or free_port()))
        self.port = self.udp.getsockname()[1]
        self.tcp.bind((host, self.port))
        self.tcp.listen(16)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def wait(self, seconds=20):
        """Somebody has asked."""
        self.udp.settimeout(seconds)
        self.udp.recv(4096)

    def stop(self):
        self.udp.close()
        self.tcp.close()
