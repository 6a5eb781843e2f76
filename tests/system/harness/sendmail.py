"""A private Sendmail that hands everything to one smarthost.

Debian's Sendmail cannot be installed beside Postfix, so it runs from where
etc/packages unpacked it, with a configuration, queue and pid file of its own,
in namespaces of its own: it asks the resolver for its host's name, and waits
for minutes where that does not answer.
"""

import os
import shutil
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
define(`confREFUSE_LA', `10000')
define(`confQUEUE_LA', `10000')
define(`confDELAY_LA', `10000')
define(`confCONNECTION_RATE_THROTTLE', `0')
define(`confBAD_RCPT_THROTTLE', `0')
define(`confLOG_LEVEL', `9')
define(`confMAX_HOP', `100')
define(`SMART_HOST', `{mailer}:[127.0.0.1]')
define(`RELAY_MAILER_ARGS', `TCP $h {relay_port}')
define(`ESMTP_MAILER_ARGS', `TCP $h {relay_port}')
FEATURE(`accept_unresolvable_domains')
FEATURE(`no_default_msa')
DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr={address}, Port={port}')
{site}
MAILER(`smtp')
"""

# The program that users call: it hands mail to the daemon by SMTP.
SUBMIT = """divert(-1)
include(`{macros}m4/cf.m4')
VERSIONID(`signet tests')
define(`confCF_VERSION', `Submit')
define(`__OSTYPE__', `')
define(`confTIME_ZONE', `USE_TZ')
define(`confDONT_INIT_GROUPS', `True')
define(`confRUN_AS_USER', `nobody:nogroup')
define(`confDELIVERY_MODE', `interactive')
define(`confSERVICE_SWITCH_FILE', `{directory}/service.switch')
define(`confDOMAIN_NAME', `{hostname}')
define(`confTO_IDENT', `0')
define(`confREFUSE_LA', `10000')
define(`confQUEUE_LA', `10000')
define(`confDELAY_LA', `10000')
define(`MSP_QUEUE_DIR', `{directory}/client')
define(`STATUS_FILE', `{directory}/statistics')
define(`RELAY_MAILER_ARGS', `TCP $h {port}')
FEATURE(`msp', `[127.0.0.1]')
"""

HOSTS = "127.0.0.1 localhost {hostname} {short}\n"
RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

# Mounts and the host's name are this shell's, and end with the server. It reads
# no key below a directory that everybody may write to, such as /tmp.
TLS = "/mnt"
ALONE = """set -e
hostname "$1"
mount --bind "$2/hosts" /etc/hosts
mount --bind "$2/resolv.conf" /etc/resolv.conf
mount --bind "$2/tls" /mnt
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
    relay_port: where the smarthost on 127.0.0.1 listens; mailer: what it is
    reached by, "relay" as a smarthost is by default, or "esmtp" as the MX of a
    domain is; tls_files: what it finds below TLS."""

    def __init__(self, directory, relay_port, site="",
                 hostname="mx.example.com", mailer="relay", start=True,
                 address="127.0.0.1", port=None, tls_files=()):
        self.directory = os.path.join(directory, "sendmail")
        self.hostname = hostname
        self.address, self.port = address, port or free_port()
        self.relay_port = relay_port
        self.mailer = mailer
        self.config = os.path.join(self.directory, "sendmail.cf")
        self.submit_config = os.path.join(self.directory, "submit.cf")
        self.server = None
        for queue in ("queue", "client", "tls"):
            os.makedirs(os.path.join(self.directory, queue), mode=0o700)
        os.chmod(self.directory, 0o755)
        for path in tls_files:
            shutil.copy(path, os.path.join(self.directory, "tls"))
        # The program that users call may not be root, whoever calls it.
        shutil.chown(os.path.join(self.directory, "client"), "nobody",
                     "nogroup")
        os.chmod(os.path.join(self.directory, "client"), 0o770)
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
        """Makes both configurations, as Debian's makefile does."""
        self._make(CONFIG, self.config, site)
        self._make(SUBMIT, self.submit_config)

    def _make(self, template, path, site=""):
        macros = find(MACROS)
        source = path.replace(".cf", ".mc")
        with open(source, "w") as file:
            file.write(template.format(
                macros=macros, directory=self.directory, site=site,
                hostname=self.hostname, port=self.port, mailer=self.mailer,
                address=self.address, relay_port=self.relay_port))
        done = subprocess.run(["m4", "-D_CF_DIR_=" + macros, source],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        with open(path, "wb") as file:
            file.write(done.stdout)

    def _command(self, config, *arguments):
        return ["unshare", "-m", "-u", "--propagation", "private", "sh", "-c",
                ALONE, "sh", self.hostname, self.directory, find(PROGRAM),
                "-C", config] + list(arguments)

    def submit(self, message, *arguments):
        """sendmail(8) as programs call it, with a message in LF."""
        done = subprocess.run(
            self._command(self.submit_config, *arguments), input=message,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        assert done.returncode == 0, done.stdout.decode()

    def start(self):
        self.server = Server(
            self._command(self.config, "-bD", "-q2s", "-O", "DeliveryMode=i"),
            self.directory, "sendmail")
        self.server.wait_until(lambda: accepts(self.address, self.port), 20,
                               "its port")

    def stop(self):
        self.server.stop()

    def log(self):
        return self.server.log()

    def queued(self):
        """How many messages are in the daemon's queue."""
        return sum(name.startswith("qf") for name in os.listdir(
            os.path.join(self.directory, "queue")))
