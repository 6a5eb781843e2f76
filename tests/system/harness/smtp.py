"""An SMTP client that says exactly what it is told to, byte for byte."""

import itertools
import socket
import ssl

_numbers = itertools.count(1)


class Closed(Exception):
    """The server closed the connection."""


class Client:
    def __init__(self, port, address="127.0.0.1", source=None, timeout=60,
                 greet=True, path=None):
        """path: of a Unix socket instead."""
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection(
                (address, port), timeout=timeout,
                source_address=(source, 0) if source else None)
        self._buffer = b""
        self.greeting = self.reply() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        while b"\n" not in self._buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                raise Closed()
            if not more:
                raise Closed()
            self._buffer += more
        line, self._buffer = self._buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), "reply line without CR: %r" % line
        return line[:-1].decode()

    def reply(self):
        """(250, ["text", …]); checks that the reply is well formed."""
        lines = []
        while True:
            line = self.line()
            assert line[:3].isdigit(), line
            assert len(line) <= 510, line
            assert line[3:4] in ("", " ", "-"), line
            assert not lines or line[:3] == code, line
            code = line[:3]
            lines.append(line[4:])
            if line[3:4] != "-":
                return int(code), lines

    def say(self, text):
        self.send(text.encode() + b"\r\n")
        return self.reply()

    def expect(self, text, code, enhanced=None):
        answer = self.say(text)
        self.check(answer, code, enhanced, text)
        return answer[1]

    @staticmethod
    def check(answer, code, enhanced, what):
        assert answer[0] == code, "%s: %s" % (what, answer)
        if enhanced is not None:
            assert answer[1][-1].startswith(enhanced + " "), \
                "%s: %s" % (what, answer)

    def expect_closed(self):
        """Whatever is still said, the connection ends."""
        try:
            while True:
                self.line()
        except Closed:
            pass

    def ehlo(self, name="client.example.com"):
        """{"SIZE": "52428800", …}"""
        lines = self.expect("EHLO " + name, 250)
        return {line.partition(" ")[0].upper(): line.partition(" ")[2]
                for line in lines[1:]}

    def starttls(self, cafile=None):
        self.expect("STARTTLS", 220)
        assert not self._buffer
        context = ssl.create_default_context(cafile=cafile)
        if cafile is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket,
                                          server_hostname="relay.example.com")

    def data(self, message):
        """DATA, dot-stuffed, up to the final reply."""
        self.expect("DATA", 354)
        self.send(stuffed(message))
        return self.reply()

    def transaction(self, sender, recipients, message):
        """The reply to the end of data."""
        self.expect("MAIL FROM:<%s>" % sender, 250)
        for recipient in recipients:
            self.expect("RCPT TO:<%s>" % recipient, 250)
        return self.data(message)


def stuffed(message):
    """A message in CRLF as DATA carries it, with the final dot."""
    lines = message.split(b"\r\n")
    if lines and lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n"
                    for line in lines) + b".\r\n"


def submit(port, message, sender="alice@example.com",
           recipients=("bob@example.net",), **options):
    """One message on a connection of its own; returns the id of the 250."""
    with Client(port, **options) as client:
        client.ehlo()
        code, lines = client.transaction(sender, recipients, message)
        assert code == 250, (code, lines)
        client.say("QUIT")
        return lines[-1]


def message(subject="test", body="Hello.\r\n", sender="alice@example.com",
            to="bob@example.net", extra=""):
    return ("From: Alice <%s>\r\nTo: <%s>\r\nSubject: %s\r\n"
            "Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
            "Message-ID: <%d@example.com>\r\n%s\r\n%s" %
            (sender, to, subject, next(_numbers), extra, body)).encode()
