"""A receiving SMTP server that misbehaves on demand.

Real servers do what real servers do, and Postfix does that here (postfix.py).
This one is for what they will not do when asked: refuse the third recipient,
hang up behind the final dot, spoil the TLS handshake.
"""

import collections
import socket
import ssl
import threading
import time
import warnings

from .process import wait_for

Delivery = collections.namedtuple(
    "Delivery", "sender recipients data tls session parameters")

HANG_UP = "hang up"
SILENCE = "silence"


class Receiver:
    """replies: {"RCPT": answer, …}; an answer is a reply such as "450 4.2.0
    later", HANG_UP, SILENCE (no answer, until the client leaves), or a
    function of the argument that returns one or None for the usual reply.
    Keys: CONNECT EHLO HELO STARTTLS AUTH MAIL RCPT DATA END RSET NOOP QUIT.

    tls: None (not offered), "good", "old" (TLS 1.0 and no later), "refused"
    (454), "garbage" (no handshake behind the 220), "hang up" (behind the 220),
    "injected" (a reply behind the 220, in one segment with it).

    later_extensions: what it offers over TLS, where that differs. dribbles: each
    octet of a reply goes out by itself."""

    def __init__(self, port, address="127.0.0.1", replies=None, tls=None,
                 certificate=None, extensions=("PIPELINING", "8BITMIME",
                                               "SIZE 100000000",
                                               "ENHANCEDSTATUSCODES"),
                 later_extensions=None, dribbles=False):
        self.port, self.address = port, address
        self.replies = dict(replies or {})
        self.tls = tls
        self.extensions = list(extensions)
        self.later_extensions = later_extensions
        self.dribbles = dribbles
        self.deliveries = []
        self.commands = []  # (session, "VERB argument")
        self.sessions = 0
        self.peers = []     # the address of each session's client
        self.errors = []
        self.server_names = []  # that clients gave (SNI); None: none
        self._context = None
        if tls in ("good", "old"):
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
            self._context.sni_callback = self._on_name
        if tls == "old":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self._context.minimum_version = ssl.TLSVersion.TLSv1
                self._context.maximum_version = ssl.TLSVersion.TLSv1
            self._context.set_ciphers("ALL:@SECLEVEL=0")
        self._lock = threading.Lock()
        self._open = set()
        self._listener = None
        self.start()

    def start(self):
        self._listener = socket.socket(
            socket.AF_INET6 if ":" in self.address else socket.AF_INET,
            socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.address, self.port))
        self._listener.listen(256)
        threading.Thread(target=self._accept, args=(self._listener,),
                         daemon=True).start()

    def stop(self):
        # close() alone leaves a thread in accept() holding the port.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._lock:
            for peer in self._open:
                try:
                    peer.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _on_name(self, connection, name, context):
        self.server_names.append(name)

    def is_alone(self):
        """Whether nobody is connected."""
        with self._lock:
            return not self._open

    def wait_deliveries(self, count, seconds=20):
        wait_for(lambda: len(self.deliveries) >= count, seconds,
                 lambda: "%d deliveries; there are %d; commands: %s" %
                 (count, len(self.deliveries), self.commands[-20:]))
        return self.deliveries

    def verbs(self, session=None):
        return [command.partition(" ")[0].upper()
                for number, command in self.commands
                if session is None or number == session]

    def _accept(self, listener):
        while True:
            try:
                peer, name = listener.accept()
            except OSError:
                return
            with self._lock:
                self.sessions += 1
                self.peers.append(name[0])
                number = self.sessions
                self._open.add(peer)
            threading.Thread(target=self._serve, args=(peer, number),
                             daemon=True).start()

    def _serve(self, peer, number):
        try:
            _Session(self, peer, number).run()
        except (OSError, EOFError):
            pass
        except Exception as error:  # shown by the test that looks
            self.errors.append(repr(error))
        finally:
            with self._lock:
                self._open.discard(peer)
            peer.close()


class _Session:
    def __init__(self, receiver, peer, number):
        self.receiver, self.peer, self.number = receiver, peer, number
        self.buffer = b""
        self.tls = ""
        self.reset()

    def reset(self):
        self.sender, self.parameters, self.recipients = None, "", []

    def run(self):
        self.answer("CONNECT", "", "220 mx.example.net ESMTP")
        while True:
            line = self.read_line()
            self.receiver.commands.append((self.number, line))
            verb, _, argument = line.partition(" ")
            handler = getattr(self, "do_" + verb.lower(), None)
            if handler is None:
                self.send("500 5.5.1 what?")
            elif handler(argument) is False:
                return

    def answer(self, verb, argument, usual):
        """True when the answer was positive (2xx or 3xx)."""
        wanted = self.receiver.replies.get(verb)
        if callable(wanted):
            wanted = wanted(argument)
        if wanted == HANG_UP:
            raise EOFError
        if wanted == SILENCE:
            while self.peer.recv(65536):
                pass
            raise EOFError
        reply = wanted or usual
        self.send(reply)
        if reply.startswith("421"):
            raise EOFError
        return reply[0] in "23"

    def send(self, text):
        data = text.encode() + b"\r\n"
        if not self.receiver.dribbles:
            self.peer.sendall(data)
            return
        for at in range(len(data)):
            self.peer.sendall(data[at:at + 1])
            time.sleep(0.0005)  # one segment each

    def more(self):
        data = self.peer.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def read_line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "surrogateescape")

    def read_data(self):
        """Up to the final dot, which is consumed; dots still stuffed."""
        whole, start = bytearray(b"\r\n" + self.buffer), 0
        while True:
            end = whole.find(b"\r\n.\r\n", start)
            if end >= 0:
                break
            start = max(0, len(whole) - 4)
            self.buffer = b""
            self.more()
            whole += self.buffer
        self.buffer = bytes(whole[end + 5:])
        return bytes(whole[2:end + 2])

    def do_ehlo(self, argument):
        lines = ["mx.example.net"] + (
            self.receiver.later_extensions
            if self.tls and self.receiver.later_extensions is not None
            else self.receiver.extensions)
        if self.receiver.tls is not None and not self.tls:
            lines.append("STARTTLS")
        self.reset()
        self.answer("EHLO", argument, "\r\n".join(
            "250%s%s" % ("-" if i + 1 < len(lines) else " ", line)
            for i, line in enumerate(lines)))

    def do_helo(self, argument):
        self.reset()
        self.answer("HELO", argument, "250 mx.example.net")

    def do_starttls(self, argument):
        mode = self.receiver.tls
        if mode == "refused":
            return self.send("454 4.7.0 TLS not available")
        usual = "220 2.0.0 go ahead"
        if mode == "injected":
            usual += "\r\n250 2.0.0 welcome"
        if not self.answer("STARTTLS", argument, usual):
            return None
        if mode == "hang up":
            return False
        if mode in ("garbage", "injected"):
            self.peer.sendall(b"250 this is not TLS\r\n" * 4)
            while self.peer.recv(65536):
                pass
            return False
        self.peer = self.receiver._context.wrap_socket(self.peer,
                                                       server_side=True)
        self.tls = self.peer.version()
        self.reset()
        return None

    def do_auth(self, argument):
        self.answer("AUTH", argument, "235 2.7.0 welcome")

    def do_mail(self, argument):
        self.reset()
        if self.answer("MAIL", argument, "250 2.1.0 ok"):
            path, _, self.parameters = argument.partition("> ")
            self.sender = path.partition("<")[2].rstrip(">")

    def do_rcpt(self, argument):
        address = argument.partition("<")[2].partition(">")[0]
        if self.sender is None:
            self.send("503 5.5.1 MAIL first")
        elif self.answer("RCPT", address, "250 2.1.5 ok"):
            self.recipients.append(address)

    def do_data(self, argument):
        if not self.recipients:
            self.send("503 5.5.1 no recipients")
            return
        if not self.answer("DATA", argument, "354 go ahead"):
            return
        lines = self.read_data().split(b"\r\n")
        data = b"\r\n".join(line[1:] if line.startswith(b".") else line
                            for line in lines)
        delivery = Delivery(self.sender, self.recipients, data, self.tls,
                            self.number, self.parameters)
        # Kept before the answer: the client may act on it at once.
        self.receiver.deliveries.append(delivery)
        try:
            kept = self.answer("END", "", "250 2.0.0 kept")
        except EOFError:
            self.receiver.deliveries.remove(delivery)
            raise
        if not kept:
            self.receiver.deliveries.remove(delivery)
        self.reset()

    def do_rset(self, argument):
        self.reset()
        self.answer("RSET", argument, "250 2.0.0 ok")

    def do_noop(self, argument):
        self.answer("NOOP", argument, "250 2.0.0 ok")

    def do_quit(self, argument):
        self.answer("QUIT", argument, "221 2.0.0 bye")
        return False
