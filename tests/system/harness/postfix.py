"""A private Postfix that receives mail over STARTTLS into maildirs.

Its configuration, queue and data directories lie below the test's directory;
the machine's own Postfix, if it has one, is neither read nor touched. Master
is started directly: postfix(1) would check and repair an installation.
"""

import email
import email.policy
import os
import pwd
import shutil
import subprocess

from .process import Server, accepts, wait_for

QUEUES = ("active bounce corrupt defer deferred flush hold incoming private "
          "saved trace maildrop public pid").split()

MAIN = """
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {config}
mail_owner = {owner}
setgid_group = {group}
default_privs = nobody
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH POSTLOG_SERVICE POSTLOG_HOSTNAME
maillog_file = {log}
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
virtual_mailbox_domains = static:all
virtual_mailbox_base = {mail}
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
message_size_limit = 104857600
mailbox_size_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = {tls_level}
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtputf8_enable = no
in_flow_delay = 0
{extra}
"""

MASTER = """
{listeners}
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


def unpacked(program):
    """The root that holds a server's files, and the environment it needs."""
    root = os.environ.get("SERVERS", "")
    env = dict(os.environ)
    if root and os.path.exists(os.path.join(root, program.lstrip("/"))):
        env["LD_LIBRARY_PATH"] = os.path.join(root, "usr/lib/postfix")
        return root, env
    return "", env


def self_signed(directory, hostname):
    """A certificate that nobody vouches for, as many receivers have."""
    cert = os.path.join(directory, "cert.pem")
    key = os.path.join(directory, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
         "-days", "30", "-subj", "/CN=" + hostname, "-keyout", key,
         "-out", cert],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


class Postfix:
    """addresses: where it listens, all on one port."""

    def __init__(self, directory, port, addresses=("127.0.0.1",),
                 hostname="mx.example.net", tls=True, extra=""):
        self.directory = os.path.join(directory, "postfix")
        self.port = port
        self.address = addresses[0]
        self.mail = os.path.join(self.directory, "mail")
        root, env = unpacked("/usr/lib/postfix/sbin/master")
        owner = pwd.getpwnam("daemon")
        receiver = pwd.getpwnam("mail")
        config = os.path.join(self.directory, "config")
        queue = os.path.join(self.directory, "queue")
        data = os.path.join(self.directory, "data")
        for path in (self.directory, config, queue, data, self.mail):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        self._open_the_way()
        for name in QUEUES:
            path = os.path.join(queue, name)
            os.makedirs(path, exist_ok=True)
            if name != "pid":
                os.chown(path, owner.pw_uid, -1)
                os.chmod(path, 0o755 if name == "public" else 0o700)
        os.chown(data, owner.pw_uid, owner.pw_gid)
        os.chown(self.mail, receiver.pw_uid, receiver.pw_gid)
        cert, key = self_signed(config, hostname) if tls else ("", "")
        self.log_path = os.path.join(self.directory, "maillog")
        with open(os.path.join(config, "main.cf"), "w") as file:
            file.write(MAIN.format(
                queue=queue, data=data, config=config, root=root,
                owner="daemon", group="staff", log=self.log_path,
                directory=self.directory, hostname=hostname, mail=self.mail,
                uid=receiver.pw_uid, gid=receiver.pw_gid, cert=cert, key=key,
                tls_level="may" if tls else "none", extra=extra))
        with open(os.path.join(config, "master.cf"), "w") as file:
            file.write(MASTER.format(listeners="\n".join(
                "%s:%d inet n - n - - smtpd" % (address, port)
                for address in addresses)))
        env["MAIL_CONFIG"] = config
        self._root, self._env, self._config = root, env, config
        self.server = None
        self.start()

    def _open_the_way(self):
        """Postfix's unprivileged parts walk down to their files."""
        path = os.path.dirname(self.directory)
        while path.startswith("/tmp/") or path.startswith("/var/tmp/"):
            mode = os.stat(path).st_mode & 0o7777
            if mode & 0o011 != 0o011:
                os.chmod(path, mode | 0o011)
            path = os.path.dirname(path)

    def start(self):
        self.server = Server(
            [self._root + "/usr/lib/postfix/sbin/master", "-d",
             "-c", self._config],
            self.directory, "master", env=self._env)
        self.server.wait_until(lambda: accepts(self.address, self.port),
                               10, "port %d\n%s" % (self.port, self.maillog()))

    def stop(self):
        self.server.stop()

    def maillog(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, errors="replace") as file:
            return file.read()

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
