"""Private instances of Postfix: one that receives mail over STARTTLS, and one
that hands mail on, past the milters that a test names.

Configuration, queue and data directories lie below the test's directory; the
machine's own Postfix, if it has one, is neither read nor touched. Master is
started directly: postfix(1) would check and repair an installation.
"""

import email
import email.policy
import os
import pwd
import shutil
import subprocess

from .ports import free_port
from .process import Server, accepts, wait_for
from .stock import take_rsa_key

QUEUES = ("active bounce corrupt defer deferred flush hold incoming private "
          "saved trace maildrop public pid").split()

BASE = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {directory}/config
mail_owner = daemon
setgid_group = staff
default_privs = nobody
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH POSTLOG_SERVICE POSTLOG_HOSTNAME
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtputf8_enable = no
"""

MASTER = """
pickup    unix  n - n 2 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
proxymap  unix  - - n - - proxymap
virtual   unix  - n n - - virtual
smtp      unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

RECEIVING = """
virtual_mailbox_domains = static:all
virtual_mailbox_base = {mail}
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
message_size_limit = 104857600
mailbox_size_limit = 0
smtpd_tls_security_level = {tls_level}
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
in_flow_delay = 0
"""

RELAYING = """
relayhost = [127.0.0.1]:{relay_port}
disable_dns_lookups = yes
message_size_limit = 104857600
header_size_limit = 1048576
myorigin = example.com
in_flow_delay = 0
export_environment = TZ MAIL_CONFIG LANG=C LD_LIBRARY_PATH
smtp_connection_cache_on_demand = no
minimal_backoff_time = 1s
"""


def unpacked(program):
    """The root that holds a server's files, and the environment it needs."""
    root = os.environ.get("SERVERS", "")
    env = dict(os.environ)
    if root and os.path.exists(os.path.join(root, program.lstrip("/"))):
        env["LD_LIBRARY_PATH"] = os.path.join(root, "usr/lib/postfix")
        return root, env
    return "", env


def merged(text):
    """A main.cf in which every parameter stands once, the last one that was
    given. Postfix warns about each that stands twice, in every process at
    once, and the log daemon, which says it to itself, may wait for ever."""
    parameters = {}
    for line in text.splitlines():
        name = line.partition("=")[0].strip()
        if line.startswith((" ", "\t")) and parameters:
            parameters[last] += "\n" + line
        elif name and not name.startswith("#"):
            last = name
            parameters[last] = line
    return "\n".join(parameters.values()) + "\n"


def self_signed(directory, hostname):
    """A certificate that nobody vouches for, as many receivers have."""
    cert = os.path.join(directory, "cert.pem")
    key = os.path.join(directory, "key.pem")
    take_rsa_key(key)
    subprocess.run(
        ["openssl", "req", "-x509", "-new", "-key", key, "-days", "30",
         "-subj", "/CN=" + hostname, "-out", cert],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


class Instance:
    """A Postfix of one's own: main is put behind BASE, listeners are
    (address, port) for smtpd; services: {port: ["parameter=value", ...]} of
    further ones on 127.0.0.1; one with the word "chroot" among them runs in
    the queue directory."""

    def __init__(self, directory, listeners, hostname, main, services=None):
        self.directory = directory
        self.listeners = list(listeners)
        self._root, self._env = unpacked("/usr/lib/postfix/sbin/master")
        self.config = os.path.join(directory, "config")
        self.log_path = os.path.join(directory, "maillog")
        self.server = None
        self._make_directories()
        with open(os.path.join(self.config, "main.cf"), "w") as file:
            file.write(merged(BASE.format(
                directory=directory, root=self._root, hostname=hostname) +
                main))
        with open(os.path.join(self.config, "master.cf"), "w") as file:
            file.write("".join("%s:%d inet n - n - - smtpd\n" % listener
                               for listener in self.listeners) + MASTER)
            for port, parameters in (services or {}).items():
                file.write("127.0.0.1:%d inet n - %s - - smtpd%s\n" % (
                    port, "y" if "chroot" in parameters else "n",
                    "".join(" -o " + one for one in parameters
                            if one != "chroot")))
        self.listeners += [("127.0.0.1", port) for port in services or {}]
        self._env["MAIL_CONFIG"] = self.config

    def _make_directories(self):
        owner = pwd.getpwnam("daemon").pw_uid
        queue = os.path.join(self.directory, "queue")
        data = os.path.join(self.directory, "data")
        for path in (self.directory, self.config, queue, data):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        os.chown(data, owner, -1)
        for name in QUEUES:
            path = os.path.join(queue, name)
            os.makedirs(path, exist_ok=True)
            if name != "pid":
                os.chown(path, owner, -1)
                os.chmod(path, 0o755 if name == "public" else 0o700)
        # Its unprivileged parts walk down to their files.
        path = os.path.dirname(self.directory)
        while path.startswith(("/tmp/", "/var/tmp/")):
            os.chmod(path, os.stat(path).st_mode & 0o7777 | 0o011)
            path = os.path.dirname(path)

    def start(self):
        self.server = Server(
            [self._root + "/usr/lib/postfix/sbin/master", "-d",
             "-c", self.config], self.directory, "master", env=self._env)
        self.server.wait_until(
            lambda: all(accepts(*listener) for listener in self.listeners),
            15, lambda: "its listeners\n" + self.maillog())

    def stop(self):
        self.server.stop()

    def maillog(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, errors="replace") as file:
            return file.read()


class Relaying(Instance):
    """Hands everything to one port on 127.0.0.1; main: of the test's own,
    such as smtpd_milters."""

    def __init__(self, directory, relay_port, main="",
                 hostname="mx.example.com", services=None):
        self.port = free_port()
        super().__init__(
            os.path.join(directory, "postfix"), [("127.0.0.1", self.port)],
            hostname, RELAYING.format(relay_port=relay_port) + main,
            services)
        self.start()

    def sendmail(self, message, *arguments):
        """postfix's sendmail(1), with arguments and a message in LF."""
        env = dict(self._env, MAIL_CONFIG=self.config)
        done = subprocess.run(
            [self._root + "/usr/sbin/sendmail"] + list(arguments),
            input=message, env=env, timeout=120, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode() + self.maillog()

    def queued(self):
        """How many messages it has in its queues."""
        return sum(len(names) for queue in ("incoming", "active", "deferred")
                   for _, _, names in os.walk(
                       os.path.join(self.directory, "queue", queue)))


class Postfix(Instance):
    """Receives for everybody, at addresses that share one port."""

    def __init__(self, directory, port, addresses=("127.0.0.1",),
                 hostname="mx.example.net", tls=True, extra="",
                 services=None):
        directory = os.path.join(directory, "postfix")
        receiver = pwd.getpwnam("mail")
        self.mail = os.path.join(directory, "mail")
        os.makedirs(self.mail, exist_ok=True)
        os.chown(self.mail, receiver.pw_uid, receiver.pw_gid)
        cert, key = self_signed(directory, hostname) if tls else ("", "")
        self.certificate = cert
        super().__init__(
            directory, [(address, port) for address in addresses], hostname,
            RECEIVING.format(mail=self.mail, uid=receiver.pw_uid,
                             gid=receiver.pw_gid, cert=cert, key=key,
                             tls_level="may" if tls else "none") + extra,
            services)
        self.start()

    def raw_messages(self):
        """Every delivered message, as bytes, in order of arrival."""
        new = os.path.join(self.mail, "all", "new")
        if not os.path.isdir(new):
            return []
        paths = [os.path.join(new, name) for name in os.listdir(new)]
        paths.sort(key=lambda path: os.stat(path).st_mtime_ns)
        found = []
        for path in paths:
            with open(path, "rb") as file:
                found.append(file.read())
        return found

    def wait_messages(self, count, seconds=20):
        wait_for(lambda: len(self.raw_messages()) >= count, seconds,
                 lambda: "%d messages; Postfix says\n%s" %
                 (count, self.maillog()[-3000:]))
        return self.raw_messages()

    def clear(self):
        shutil.rmtree(os.path.join(self.mail, "all"), ignore_errors=True)


def as_sent(raw):
    """A maildir message without what local delivery put on top, in CRLF."""
    lines = raw.split(b"\n")
    while lines[0].startswith((b"Return-Path:", b"X-Original-To:",
                               b"Delivered-To:")):
        lines.pop(0)
    return b"\r\n".join(lines)


def parse(raw):
    return email.message_from_bytes(raw, policy=email.policy.default)
