"""A private Sendmail that hands everything to one smarthost.

Debian's Sendmail cannot be installed beside Postfix, so it runs from where
etc/packages unpacked it, with a configuration, queue and pid file of its own,
in namespaces of its own: it asks the resolver for its host's name, and waits
for minutes where that does not answer.
"""

import os
import subprocess

from .ports import free_port
from .process import Server, accepts

PROGRAM = "/usr/libexec/sendmail/sendmail"
MACROS = "/usr/share/sendmail/cf/"

# `site` is what a test wants to have said, in m4, before the mailers.
CONFIG = """divert(-1)
include(`{macros}m4/cf.m4')
VERSIONID(`signet tests')
OSTYPE(`linux')
define(`QUEUE_DIR', `{directory}/queue')
define(`ALIAS_FILE', `')
define(`STATUS_FILE', `{directory}/statistics')
define(`HELP_FILE', `{directory}/help')
define(`confPID_FILE', `{directory}/sendmail.pid')
define(`confCW_FILE', `{directory}/local-host-names')
define(`confSERVICE_SWITCH_FILE', `{directory}/service.switch')
define(`confDEF_USER_ID', `nobody:nogroup')
define(`confDONT_PROBE_INTERFACES', `True')
define(`confDONT_BLAME_SENDMAIL', `AssumeSafeChown')
define(`confDOMAIN_NAME', `{hostname}')
define(`confTO_IDENT', `0')
define(`confREFUSE_LA', `0')
define(`confQUEUE_LA', `0')
define(`confCONNECTION_RATE_THROTTLE', `0')
define(`confBAD_RCPT_THROTTLE', `0')
define(`confLOG_LEVEL', `9')
define(`SMART_HOST', `relay:[127.0.0.1]')
define(`RELAY_MAILER_ARGS', `TCP $h {relay_port}')
FEATURE(`accept_unresolvable_domains')
FEATURE(`no_default_msa')
DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr=127.0.0.1, Port={port}')
{site}
MAILER(`smtp')
"""

HOSTS = "127.0.0.1 localhost {hostname} {short}\n"
RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

# Mounts and the host's name are this shell's, and end with the server.
ALONE = """set -e
hostname "$1"
mount --bind "$2/hosts" /etc/hosts
mount --bind "$2/resolv.conf" /etc/resolv.conf
shift 2
exec "$@"
"""


def find(path):
    """A file of Sendmail's packages: unpacked below SERVERS, or the
    machine's."""
    unpacked = os.environ.get("SERVERS", "") + path
    return unpacked if os.path.exists(unpacked) else path


class Sendmail:
    """site: m4 of the test's own: INPUT_MAIL_FILTER(…), FEATURE(…), define(…);
    relay_port: where the smarthost on 127.0.0.1 listens."""

    def __init__(self, directory, relay_port, site="",
                 hostname="mx.example.com", start=True):
        self.directory = os.path.join(directory, "sendmail")
        self.hostname = hostname
        self.port = free_port()
        self.relay_port = relay_port
        self.config = os.path.join(self.directory, "sendmail.cf")
        self.server = None
        os.makedirs(os.path.join(self.directory, "queue"))
        os.chmod(self.directory, 0o755)
        os.chmod(os.path.join(self.directory, "queue"), 0o700)
        self._write("hosts", HOSTS.format(
            hostname=hostname, short=hostname.split(".")[0]))
        self._write("resolv.conf", RESOLVER)
        self._write("service.switch", "hosts files\naliases files\n")
        self._write("local-host-names", "")
        self._write("help", "")
        self.configure(site)
        if start:
            self.start()

    def _write(self, name, text):
        with open(os.path.join(self.directory, name), "w") as file:
            file.write(text)

    def configure(self, site):
        """Makes sendmail.cf, as Debian's makefile does."""
        macros = find(MACROS)
        text = CONFIG.format(macros=macros, directory=self.directory,
                             hostname=self.hostname, port=self.port,
                             relay_port=self.relay_port, site=site)
        self._write("sendmail.mc", text)
        done = subprocess.run(
            ["m4", "-D_CF_DIR_=" + macros,
             os.path.join(self.directory, "sendmail.mc")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        with open(self.config, "wb") as file:
            file.write(done.stdout)

    def _command(self, *arguments):
        return ["unshare", "-m", "-u", "--propagation", "private", "sh", "-c",
                ALONE, "sh", self.hostname, self.directory, find(PROGRAM),
                "-C", self.config] + list(arguments)

    def start(self):
        # -bD stays in the foreground; -X would be a transcript.
        self.server = Server(
            self._command("-bD", "-q2s", "-O", "SuperSafe=interactive",
                          "-O", "DeliveryMode=i"),
            self.directory, "sendmail")
        self.server.wait_until(lambda: accepts("127.0.0.1", self.port), 20,
                               "its port")

    def stop(self):
        self.server.stop()

    def log(self):
        return self.server.log()

    def queued(self):
        """Names of the control files in its queue."""
        return sorted(name for name in os.listdir(
            os.path.join(self.directory, "queue")) if name.startswith("qf"))
