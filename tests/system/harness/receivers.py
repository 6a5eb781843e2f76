"""Postfix, Exim, OpenSMTPD and Sendmail under one roof: each takes mail for
everybody, at an address of its own, with a certificate of one authority, and
hands it on: to a `sink` (faulty.Receiver), where a test sees what arrived, or
to a port of the test's own.

Each refuses gone@…, and puts off later@… until stop_putting_off().
"""

import os
import signal
import smtplib
import subprocess

from .exim import Exim
from .faulty import Receiver
from .opensmtpd import OpenSmtpd
from .ports import free_port
from .postfix import RELAYING, Instance
from .process import wait_for
from .sendmail import TLS, Sendmail
from .stock import take_rsa_key

POSTFIX_TLS = """
smtpd_tls_security_level = may
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 1
smtpd_recipient_restrictions = check_recipient_access inline:{{{gone}}}, permit_mynetworks, reject
smtpd_discard_ehlo_keywords =
"""

# Sendmail: TLS, lines as long as they are, and whom it refuses.
SENDMAIL_TLS = """
define(`confCACERT_PATH', `{tls}')
define(`confCACERT', `{tls}/authority.pem')
define(`confSERVER_CERT', `{tls}/{host}.pem')
define(`confSERVER_KEY', `{tls}/{host}.key')
define(`SMTP_MAILER_LL', `0')define(`RELAY_MAILER_LL', `0')
define(`confMUST_QUOTE_CHARS', `')
DAEMON_OPTIONS(`Name=PLAIN, Family=inet, Addr={address}, Port={plain_port}, Modifiers=S')
LOCAL_RULESETS
SLocal_check_rcpt
R$* gone @ $*	$#error $@ 5.1.1 $: "550 nobody of that name"
{later}
"""
SENDMAIL_LATER = 'R$* later @ $*\t$#error $@ 4.2.0 $: "451 later"'


def openssl(*arguments):
    subprocess.run(["openssl"] + list(arguments), check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def authority(directory):
    """(certificate, key) of one that only these tests trust."""
    cert, key = (os.path.join(directory, "authority." + kind)
                 for kind in ("pem", "key"))
    take_rsa_key(key)
    openssl("req", "-x509", "-new", "-key", key, "-days", "30",
            "-subj", "/CN=authority.example.org", "-out", cert)
    return cert, key


def vouched_for(directory, hostname, by):
    """A certificate for a host, and its key."""
    cert, key = (os.path.join(directory, "%s.%s" % (hostname, kind))
                 for kind in ("pem", "key"))
    take_rsa_key(key)
    openssl("req", "-x509", "-new", "-key", key, "-days", "30",
            "-subj", "/CN=" + hostname, "-addext",
            "subjectAltName=DNS:" + hostname, "-addext",
            "basicConstraints=critical,CA:FALSE", "-CA", by[0], "-CAkey",
            by[1], "-out", cert)
    return cert, key


class Rig:
    """One receiver: `address` and `port` have TLS, `plain` ("host:port") has
    none."""

    name = None
    has_tls = True
    resumes = True

    def __init__(self, directory, address, port, by, next_port=None):
        self.directory = os.path.join(directory, self.name)
        os.makedirs(self.directory)
        os.chmod(self.directory, 0o711)
        self.host = "mx-%s.example.net" % self.name
        self.address, self.port = address, port
        self.plain_port = free_port()
        self.plain = "%s:%d" % (address, self.plain_port)
        self.certificate = vouched_for(self.directory, self.host, by)
        self.authority = by[0]
        self.sink = None if next_port else Receiver(free_port())
        self.next_port = next_port or self.sink.port
        self.server = self.make()

    @property
    def listeners(self):
        return [(self.address, self.port), (self.address, self.plain_port)]

    def stop_putting_off(self):
        self.server.stop_putting_off()

    def stop(self):
        self.server.stop()
        if self.sink:
            self.sink.stop()

    def arrived(self, subject, recipients=1, seconds=60):
        """The deliveries of one message, for so many recipients."""
        def all_of_it():
            found = [one for one in list(self.sink.deliveries)
                     if b"\r\nSubject: %s\r\n" % subject.encode() in one.data]
            count = sum(len(one.recipients) for one in found)
            return found if count >= recipients else None
        return wait_for(all_of_it, seconds, lambda: "%s at %s's sink:\n%s" % (
            subject, self.name, self.server.log()[-3000:]))


def secures(address, port):
    """Whether Python comes through its STARTTLS."""
    with smtplib.SMTP(address, port, timeout=60) as client:
        try:
            return client.starttls()[0] == 220
        except OSError:
            return False


class PostfixServer(Instance):
    def log(self):
        return self.maillog()


class PostfixRig(Rig):
    name = "postfix"

    def make(self):
        self.plain = "127.0.0.1:%d" % self.plain_port
        return self._start(puts_off=True)

    def _start(self, puts_off):
        gone = " { gone@postfix.example.net = REJECT nobody of that name }"
        if puts_off:
            gone += " { later@postfix.example.net = DEFER later }"
        server = PostfixServer(
            os.path.join(self.directory, "server"),
            [(self.address, self.port)], self.host,
            RELAYING.format(relay_port=self.next_port) + POSTFIX_TLS.format(
                cert=self.certificate[0], key=self.certificate[1], gone=gone),
            {self.plain_port: ["smtpd_tls_security_level=none"]})
        server.start()
        return server

    def stop_putting_off(self):
        self.server.stop()
        self.server = self._start(puts_off=False)


class EximRig(Rig):
    name = "exim"

    def make(self):
        return Exim(self.directory, self.listeners, self.next_port,
                    self.certificate, self.plain_port, self.host)


class OpenSmtpdRig(Rig):
    name = "opensmtpd"
    resumes = False

    def make(self):
        server = OpenSmtpd(self.directory, self.listeners, self.next_port,
                           self.certificate, self.plain_port, self.host)
        # It may offer STARTTLS and then have no key: github.com/OpenSMTPD/
        # OpenSMTPD issues 1171 and 1239. Mended in 7.3; Debian 12 has 6.8.
        self.has_tls = secures(self.address, self.port)
        return server


class SendmailRig(Rig):
    name = "sendmail"
    resumes = False  # it gives tickets, and takes none

    def make(self):
        return Sendmail(self.directory, self.next_port, self._site(True),
                        hostname=self.host, mailer="esmtp",
                        address=self.address, port=self.port,
                        tls_files=self.certificate + (self.authority,))

    def _site(self, puts_off):
        return SENDMAIL_TLS.format(
            tls=TLS, host=self.host, address=self.address, plain_port=self.plain_port,
            later=SENDMAIL_LATER if puts_off else "")

    def stop_putting_off(self):
        # Each connection has a process of its own, which would go on.
        os.killpg(self.server.server.process.pid, signal.SIGTERM)
        self.server.stop()
        self.server.configure(self._site(False))
        self.server.start()


RIGS = (PostfixRig, EximRig, OpenSmtpdRig, SendmailRig)
