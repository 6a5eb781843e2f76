"""Private instances of OpenDKIM, as a milter: the peer that signs, and the
verifier behind an MTA.

    OpenDkim(directory, {"Mode": "s", "Domain": "example.com", …})
"""

import os
import pwd
import subprocess

from .ports import free_port
from .process import Server, accepts, accepts_at

BASE = {
    "Syslog": "no",
    "UserID": "nobody",
    "RequireSafeKeys": "no",  # the tests' keys belong to root
    "InternalHosts": "127.0.0.1",
    "AuthservID": "mx.example.com",
}


def program():
    """Its path: unpacked below SERVERS, or the machine's."""
    root = os.environ.get("SERVERS", "")
    path = os.path.join(root, "usr/sbin/opendkim")
    if not (root and os.path.exists(path)):
        path = "/usr/sbin/opendkim"
    return path


def private_copy(path, directory, user="nobody"):
    """A key file as another user may read it: OpenDKIM reads as itself."""
    name = path.strip("/").replace("/", "-")
    copy = os.path.join(directory, name)
    mask = os.umask(0o077)
    try:
        with open(path, "rb") as old, open(copy, "wb") as new:
            new.write(old.read())
    finally:
        os.umask(mask)
    if os.getuid() == 0:
        os.chown(copy, pwd.getpwnam(user).pw_uid, -1)
    return copy


class OpenDkim:
    """options: of opendkim.conf, put over BASE; or the text of a whole file.
    None for a value leaves an option of BASE out. socket: in OpenDKIM's words,
    "inet:port@host" or "local:/path"; below self.directory it may make one.
    records: {"sel._domainkey.domain": text}, taken instead of DNS."""

    def __init__(self, directory, options, socket=None, records=None,
                 start=True, env=None):
        self.directory = os.path.join(directory, "opendkim")
        os.makedirs(self.directory, exist_ok=True)
        os.chmod(self.directory, 0o755)
        if os.getuid() == 0:  # it makes a unix socket as its user
            os.chown(self.directory, pwd.getpwnam("nobody").pw_uid, -1)
        self.socket = socket or "inet:%d@127.0.0.1" % free_port()
        self.config = os.path.join(self.directory, "opendkim.conf")
        self._env = dict(os.environ, **(env or {}))
        self.server = None
        if not isinstance(options, str):
            options = self._text(options, records)
        with open(self.config, "w") as file:
            file.write(options)
        if start:
            self.start()

    def _text(self, options, records):
        merged = dict(BASE, Socket=self.socket)
        if records is not None:
            path = os.path.join(self.directory, "records")
            with open(path, "w") as file:
                for name, text in records.items():
                    file.write("%s %s\n" % (name, text))
            merged["TestPublicKeys"] = path
        merged.update(options)
        return "".join("%s %s\n" % (name, value)
                       for name, value in merged.items() if value is not None)

    def start(self):
        self.server = Server([program(), "-f", "-x", self.config],
                             self.directory, "opendkim", env=self._env)
        self.server.wait_until(self._is_ready, 15, "its socket")

    def _is_ready(self):
        kind, _, rest = self.socket.partition(":")
        if kind == "inet":
            port, _, host = rest.partition("@")
            return accepts(host or "127.0.0.1", int(port))
        return accepts_at(rest)

    def stop(self):
        # It keeps nothing, and takes five seconds to hear SIGTERM.
        self.server.process.kill()
        self.server.process.wait()

    def log(self):
        return self.server.log()


def check(config):
    """opendkim -n: (is the configuration good, what it says)."""
    done = subprocess.run([program(), "-n", "-x", config], timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout.decode(errors="replace")
