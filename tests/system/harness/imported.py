"""An administrator's OpenDKIM, and signet on what was imported from it: the
same messages through both."""

import concurrent.futures
import glob
import os
import pwd
import re
import shutil

import dkim

from . import judge, signet
from .milter_client import Milter
from .opendkim import OpenDkim

STYLES = os.path.join(os.path.dirname(__file__), "..", "opendkim")
TIME = 1795291200
CLOCK = {"LD_PRELOAD": glob.glob("/usr/lib/*/faketime/libfaketime.so.1")[0],
         "FAKETIME": "2026-11-21 20:00:00", "TZ": "UTC",
         "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def mail(head):
    return (head + b"To: Bob <bob@example.net>\r\n"
            b"Cc: carol@example.net,\r\n\tdave@example.net\r\n"
            b"Reply-To: desk@example.com\r\n"
            b"Subject: A  folded\r\n subject \r\n"
            b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
            b"Message-ID: <1@example.com>\r\n"
            b"MIME-Version: 1.0\r\n"
            b"Content-Type: text/plain\r\n"
            b"\r\n"
            b"Some text,  with spaces. \r\n\r\n.dot\r\n\r\n\r\n")


class Style:
    """One administrator's files, in a directory of their own, with keys."""

    def __init__(self, name, directory, keys, files=None):
        """files: {name: text}; None: those of STYLES."""
        self.directory = os.path.join(directory, name)
        if files is None:
            shutil.copytree(os.path.join(STYLES, name), self.directory)
        else:
            os.makedirs(self.directory)
            for path, text in files.items():
                with open(os.path.join(self.directory, path), "w") as file:
                    file.write(text)
        os.chmod(self.directory, 0o755)
        self.socket = "inet:%d@127.0.0.1" % signet.free_port()
        for path in os.listdir(self.directory):
            self.edit(path, lambda text: text.replace(
                "@DIR@", self.directory).replace("@SOCKET@", self.socket))
        for key in keys:
            self.key(key, keys[key])
        self.config = os.path.join(self.directory, "opendkim.conf")
        self.imported = os.path.join(self.directory, "signet.conf")

    def edit(self, name, change):
        path = os.path.join(self.directory, name)
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(change(text))

    def read(self):
        with open(self.config) as file:
            return file.read()

    def key(self, name, path):
        copy = os.path.join(self.directory, name + ".private")
        shutil.copyfile(path, copy)
        os.chmod(copy, 0o600)
        if os.getuid() == 0:
            os.chown(copy, pwd.getpwnam("nobody").pw_uid, -1)

    def import_it(self, code=0):
        done = signet.run("import", "opendkim", self.config, check=code)
        with open(self.imported, "wb") as file:
            file.write(done.stdout)
        return done.stderr.decode()


def there(socket, messages):
    """As OpenDKIM sends them on."""
    out = []
    with Milter(socket) as milter:
        for number, message in enumerate(messages):
            result = milter.message(message, begin=number == 0)
            assert result.verdict in ("continue", "accept"), result
            out.append(result.data)
    return out


def here(config, messages):
    def one(message):
        return signet.run("sign", "--time", str(TIME), stdin=message, check=0,
                          config=config).stdout
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, messages))


def signatures(data):
    """What is said, but when; h= without its order, since what is there to be
    signed is the same."""
    found = []
    for tags in judge.signature_tags(data):
        tags = {name: re.sub(r"\s+", "", value)
                for name, value in tags.items()}
        if "x" in tags:
            tags["x"] = int(tags["x"]) - int(tags["t"])
        del tags["t"], tags["b"]
        tags["h"] = sorted(tags["h"].lower().split(":"))
        # i= with the domain alone says what no i= says (RFC 6376 3.5).
        if tags.get("i") == "@" + tags["d"]:
            del tags["i"]
        found.append(sorted(tags.items()))
    return sorted(found)


def signed(data):
    """{a field up to its b=, byte for byte: b=}"""
    found = {}
    for name, value in dkim.rfc822_parse(data)[0]:
        if name.lower() == b"dkim-signature":
            unsigned, b = re.fullmatch(rb"(.*;\s*b=)([^;]+)", value,
                                       re.S).groups()
            found[unsigned] = re.sub(rb"\s", b"", b)
    return found


def peer_of(made):
    # A process that comes back cannot be stopped.
    return OpenDkim(made.directory, made.read() + "AutoRestart no\n",
                    socket=made.socket, env=CLOCK)


class Imported:
    """What was imported, as the setup of a `signet milter`. The only addition
    is the log's format."""

    def __init__(self, made):
        self.path = made.imported + ".json"
        self.socket = made.socket
        self.port = self.milter_port = int(
            made.socket.partition(":")[2].partition("@")[0])
        with open(made.imported) as old, open(self.path, "w") as new:
            new.write(old.read() + '\nlog { format = "json" }\n')

    def write(self):
        return self.path


def same_signers(theirs, ours):
    total = 0
    for old, new in zip(theirs, ours):
        old, new = signatures(old), signatures(new)
        if len(new) > 2:  # OpenDKIM 2.11 loses those between first and last
            assert len(old) == 2
            assert all(one in new for one in old)
        else:
            assert new == old
        total += len(old)
    assert total > 10


def same_fields(theirs, messages, made, at_least=5):
    """The same field has the same b=: the same bytes were signed. A few will
    do; `signet sign` starts a signer for each."""
    some = slice(0, None, 5)
    same = 0
    for old, new in zip(theirs[some], here(made.imported, messages[some])):
        ours = signed(new)
        for field, b in signed(old).items():
            # But where OpenDKIM writes an i= that says no more than d=.
            assert field in ours or b"i=@" in field, field
            assert ours.get(field, b) == b
            same += field in ours
    assert same >= at_least
