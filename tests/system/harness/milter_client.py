"""The MTA's half of the milter protocol (version 6), said byte for byte.

    with Milter("inet:8891@127.0.0.1") as milter:
        result = milter.message(data)       # data in CRLF
        assert result.verdict == "continue"
        judge.dkimpy(result.data, lookup)

Words follow libmilter (mfdef.h). Commands that the filter asked not to get
are not sent, and none that it does not answer is waited for, as in an MTA.
For everything else (garbage, absurd lengths, a wrong order) there are
send_raw(), send() and read().
"""

import collections
import socket
import struct

# What a filter may do: SMFIF_*.
ADDHDRS, CHGBODY, ADDRCPT, DELRCPT, CHGHDRS = 1, 2, 4, 8, 16
QUARANTINE, CHGFROM, ADDRCPT_PAR, SETSYMLIST = 32, 64, 128, 256
ACTIONS_ALL = 0x1ff

# How the protocol goes: SMFIP_*.
NOCONNECT, NOHELO, NOMAIL, NORCPT, NOBODY, NOHDRS, NOEOH = (
    1 << bit for bit in range(7))
NR_HDR, NOUNKNOWN, NODATA, SKIP, RCPT_REJ = (
    1 << bit for bit in range(7, 12))
(NR_CONN, NR_HELO, NR_MAIL, NR_RCPT, NR_DATA, NR_UNKN, NR_EOH, NR_BODY,
 LEADSPC) = (1 << bit for bit in range(12, 21))
PROTOCOL_ALL = 0x1fffff

CHUNK = 65535

# command: (the flag that says not to send it, the one not to wait for it)
SILENT = {
    b"C": (NOCONNECT, NR_CONN), b"H": (NOHELO, NR_HELO),
    b"M": (NOMAIL, NR_MAIL), b"R": (NORCPT, NR_RCPT),
    b"T": (NODATA, NR_DATA), b"U": (NOUNKNOWN, NR_UNKN),
    b"L": (NOHDRS, NR_HDR), b"N": (NOEOH, NR_EOH), b"B": (NOBODY, NR_BODY),
    b"E": (0, 0)}

VERDICTS = {
    b"c": "continue", b"a": "accept", b"r": "reject", b"t": "tempfail",
    b"d": "discard", b"y": "reply", b"s": "skip", b"f": "connection failure",
    b"4": "shutdown"}

# What Postfix tells of a client that nobody has authenticated, by command.
MACROS = {
    b"C": {"j": "mx.example.com", "{daemon_name}": "mx.example.com",
           "v": "Postfix 3.7.11"},
    b"M": {"{mail_addr}": "alice@example.com", "{mail_mailer}": "smtp",
           "{mail_host}": "example.com"},
    b"R": {"i": "4XyZ0123456", "{rcpt_addr}": "bob@example.net"},
    b"T": {"i": "4XyZ0123456"},
    b"L": {"i": "4XyZ0123456"},
    b"N": {"i": "4XyZ0123456"},
    b"B": {"i": "4XyZ0123456"},
    b"E": {"i": "4XyZ0123456"}}

Options = collections.namedtuple("Options",
                                 "version actions protocol symlists")
# verdict: a word of VERDICTS; text: of a reply ("451 4.7.1 later")
Reply = collections.namedtuple("Reply", "verdict text")
# changes: what was asked for at the end, in order:
#   ("insert", index, name, value), ("add", name, value),
#   ("change", index, name, value), ("body", bytes), ("quarantine", reason) …
# stage: the command ("E": end of body) that ended it
# data: the message as an MTA would send it on; progress: how many
Result = collections.namedtuple("Result",
                                "verdict text stage changes data progress")


class Closed(Exception):
    """The filter closed the connection."""


def address_of(text):
    """(family, address) of "inet:8891@127.0.0.1", "inet6:8891@::1" or
    "unix:/path"."""
    kind, _, rest = text.partition(":")
    if kind in ("unix", "local"):
        return socket.AF_UNIX, rest
    port, _, host = rest.partition("@")
    return (socket.AF_INET6 if kind == "inet6" else socket.AF_INET,
            (host, int(port)))


def fields_of(data):
    """([(name, everything behind the colon)], body) of a message in CRLF."""
    head, blank, body = (b"\r\n" + data).partition(b"\r\n\r\n")
    fields = []
    for line in (head + b"\r\n").split(b"\r\n")[1:-1]:
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b"\r\n" + line)
        else:
            name, _, value = line.partition(b":")
            fields.append((name, value))
    return fields, body if blank else b""


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode()


class Milter:
    """One connection to a filter, which has not negotiated yet."""

    def __init__(self, address, timeout=60):
        family, where = address_of(address)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(where)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.options = Options(6, ACTIONS_ALL, 0, {})
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    # Packets.

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, command, payload=b""):
        self.send_raw(struct.pack(">I", 1 + len(payload)) + command + payload)

    def _take(self, size):
        while len(self._buffer) < size:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError:
                raise Closed()
            if not more:
                raise Closed()
            self._buffer += more
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def read(self):
        """The next packet: (command, payload)."""
        size = struct.unpack(">I", self._take(4))[0]
        assert 0 < size <= 1 << 24, "a packet of %d bytes" % size
        packet = self._take(size)
        return packet[:1], packet[1:]

    def expect_closed(self):
        """Whatever is still said, the connection ends."""
        try:
            while True:
                self._take(1)
        except Closed:
            pass

    # The conversation, step by step; each step gives a Reply, or None where
    # the filter wants no such command or does not answer it.

    def negotiate(self, version=6, actions=ACTIONS_ALL, protocol=PROTOCOL_ALL):
        """Offers all that is given; returns what the filter chose."""
        self.send(b"O", struct.pack(">III", version, actions, protocol))
        command, payload = self.read()
        assert command == b"O", (command, payload)
        chosen = struct.unpack(">III", payload[:12])
        assert chosen[1] & ~actions == 0, "actions %x" % chosen[1]
        assert chosen[2] & ~protocol == 0, "protocol %x" % chosen[2]
        symlists, rest = {}, payload[12:]
        while rest:
            stage = struct.unpack(">I", rest[:4])[0]
            names, rest = rest[4:].split(b"\0", 1)
            symlists[stage] = names.decode().split()
        self.options = Options(*chosen, symlists)
        return self.options

    def step(self, command, payload=b"", macros=None):
        """One command, with its macros before it."""
        not_sent, not_answered = SILENT[command]
        # Postfix tells them of steps that it leaves out, too.
        self.tell(command, macros)
        if self.options.protocol & not_sent:
            return None
        self.send(command, payload)
        if self.options.protocol & not_answered:
            return None
        return self.reply()

    def tell(self, command, macros):
        """The macros of a command that comes next."""
        if macros:
            self.send(b"D", command + b"".join(
                _bytes(name) + b"\0" + _bytes(value) + b"\0"
                for name, value in macros.items()))

    def reply(self):
        command, payload = self.read()
        assert command in VERDICTS, (command, payload)
        return Reply(VERDICTS[command],
                     payload.rstrip(b"\0").decode("utf-8", "replace"))

    def connect(self, host="client.example.com", address="127.0.0.1",
                port=12345, family="4", macros=None):
        """family: "4", "6", "L" (local, address is a path) or "U"."""
        payload = _bytes(host) + b"\0" + _bytes(family)
        if family != "U":
            payload += struct.pack(">H", port) + _bytes(address) + b"\0"
        return self.step(b"C", payload, macros)

    def helo(self, name="client.example.com", macros=None):
        return self.step(b"H", _bytes(name) + b"\0", macros)

    def mail(self, sender="<alice@example.com>", *arguments, macros=None):
        return self._strings(b"M", (sender,) + arguments, macros)

    def rcpt(self, recipient="<bob@example.net>", *arguments, macros=None):
        return self._strings(b"R", (recipient,) + arguments, macros)

    def data(self, macros=None):
        return self.step(b"T", b"", macros)

    def _strings(self, command, words, macros):
        return self.step(command, b"".join(_bytes(word) + b"\0"
                                           for word in words), macros)

    def header(self, name, value, macros=None):
        """value: everything behind the colon, lines in CRLF."""
        value = _bytes(value).replace(b"\r\n", b"\n")
        if not self.options.protocol & LEADSPC and value.startswith(b" "):
            value = value[1:]
        return self.step(b"L", _bytes(name) + b"\0" + value + b"\0", macros)

    def eoh(self, macros=None):
        return self.step(b"N", b"", macros)

    def body(self, chunk, macros=None):
        return self.step(b"B", chunk, macros)

    def abort(self):
        """The message ends here, not the connection; has no answer."""
        self.send(b"A")

    def quit(self):
        self.send(b"Q")

    def quit_new(self):
        """QUIT_NC: another connect follows on the same socket."""
        self.send(b"K")

    def eob(self, macros=None, rest=b"", then=None):
        """(Reply, changes, progress). rest: of the body, which most MTAs send
        before. then: is called before the answer is read."""
        self.tell(b"E", macros)
        self.send(b"E", rest)
        if then:
            then()
        changes, progress = [], 0
        while True:
            command, payload = self.read()
            if command in VERDICTS:
                text = payload.rstrip(b"\0").decode("utf-8", "replace")
                return Reply(VERDICTS[command], text), changes, progress
            if command == b"p":
                progress += 1
            else:
                changes.append(_change(command, payload))

    # A whole message.

    def begin(self, client=None, helo="client.example.com", macros=None):
        """Negotiates where that has not happened, connects, says HELO.
        client: the arguments of connect()."""
        macros = MACROS if macros is None else macros
        if not self.options.protocol:
            self.negotiate()
        reply = self.connect(**dict(client or {}, macros=macros.get(b"C")))
        if reply is None or reply.verdict == "continue":
            reply = self.helo(helo, macros.get(b"H"))
        return reply

    def message(self, data, sender="<alice@example.com>",
                recipients=("<bob@example.net>",), chunks=None, macros=None,
                client=None, begin=True):
        """One message in CRLF, to its end. chunks: sizes of the pieces of the
        body, the last one repeats. macros: {b"M": {name: value}, …} instead
        of MACROS. begin: False for a further message on a connection."""
        macros = MACROS if macros is None else macros
        if begin:
            reply = self.begin(client, macros=macros)
            if reply is not None and reply.verdict != "continue":
                return Result(*reply, "C", [], data, 0)
        fields, body = fields_of(data)
        for stage, reply in self._steps(sender, recipients, fields, body,
                                        chunks or [CHUNK], macros):
            if reply is not None and reply.verdict != "continue":
                return Result(*reply, stage, [], data, 0)
        reply, changes, progress = self.eob(macros.get(b"E"))
        return Result(*reply, "E", changes,
                      self.changed(fields, body, changes), progress)

    def _steps(self, sender, recipients, fields, body, chunks, macros):
        yield "M", self.mail(sender, macros=macros.get(b"M"))
        for recipient in recipients:
            yield "R", self.rcpt(recipient, macros=macros.get(b"R"))
        yield "T", self.data(macros.get(b"T"))
        for name, value in fields:
            yield "L", self.header(name, value, macros.get(b"L"))
        yield "N", self.eoh(macros.get(b"N"))
        sizes, start = list(chunks), 0
        while start < len(body):
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            reply = self.body(body[start:start + size], macros.get(b"B"))
            if reply is not None and reply.verdict == "skip":
                return
            yield "B", reply
            start += size

    def changed(self, fields, body, changes):
        """A message after the filter's changes, as Postfix and Sendmail make
        them: inserting counts the MTA's own Received field, which the filter
        did not see, as the topmost one; changing does not."""
        fields = [(b"Received", None)] + list(fields)
        new_body, space = None, b" "
        if self.options.protocol & LEADSPC:
            space = b""
        for change in changes:
            if change[0] == "body":
                new_body = (new_body or b"") + change[1]
            elif change[0] in ("insert", "add"):
                name, value = change[-2:]
                field = (name, space + value.replace(b"\n", b"\r\n"))
                where = change[1] if change[0] == "insert" else len(fields)
                fields.insert(where, field)
            elif change[0] == "change":
                _change_field(fields, change, space)
        head = b"".join(name + b":" + value + b"\r\n"
                        for name, value in fields if value is not None)
        return head + b"\r\n" + (body if new_body is None else new_body)


def _change(command, payload):
    """One packet of the end of the body, as a tuple."""
    words = payload.split(b"\0")
    if command in (b"i", b"m"):
        index = struct.unpack(">I", payload[:4])[0]
        name, value = payload[4:].split(b"\0")[:2]
        return ("insert" if command == b"i" else "change", index, name, value)
    if command == b"h":
        return ("add", words[0], words[1])
    if command == b"b":
        return ("body", payload)
    names = {b"+": "add recipient", b"2": "add recipient", b"q": "quarantine",
             b"-": "delete recipient", b"e": "change sender"}
    assert command in names, "packet %r: %r" % (command, payload[:80])
    return (names[command],) + tuple(words[:-1])


def _change_field(fields, change, space):
    """Instance `index` of a name, from 1; an empty value deletes it; one that
    is not there is added."""
    _, index, name, value = change
    value = value.replace(b"\n", b"\r\n")
    left = max(index, 1)
    for position, (other, old) in enumerate(fields):
        if other.lower() != name.lower() or old is None:
            continue
        left -= 1
        if left == 0:
            if value:
                fields[position] = (name, space + value)
            else:
                del fields[position]
            return
    if value:
        fields.append((name, space + value))
