"""A private OpenSMTPD that takes mail for everybody and hands it on to one
port.

Its queue, its chroot and its socket are where it was built to have them, in
places that nobody but it sees.
"""

import os

from .alone import alone, find_apart
from .process import Server, accepts

USERS = {"opensmtpd": 61102, "opensmtpq": 61103}
PLACES = ("/var/spool", "/var/lib", "/run")
CHROOT = "/var/lib/opensmtpd/empty"

CONFIG = """
smtp max-message-size 100M
smtp limit max-rcpt 1000
smtp limit max-mails 1000000
{filter}
{limits}{pki}
{listeners}
action "out" relay host "smtp://127.0.0.1:{next_port}"
match from any for rcpt-to regex "^gone@.*" reject
match from any for any action "out"
"""


class OpenSmtpd:
    """listeners: (address, port); the one at plain_port offers no TLS.
    filtered: by this program, instead of putting off mail for later@…; limits:
    of its delivery, {"conn-delay-host": 1, …}"""

    def __init__(self, directory, listeners, next_port, certificate=None,
                 plain_port=0, hostname="mx.example.net", filtered=None,
                 limits=None):
        self.directory = os.path.join(directory, "opensmtpd")
        self.listeners = list(listeners)
        os.makedirs(self.directory)
        os.chmod(self.directory, 0o755)
        self.next_port, self.hostname = next_port, hostname
        self.certificate, self.plain_port = certificate, plain_port
        self.filtered, self.limits = filtered, limits or {}
        self.server = None
        self.start()

    def start(self, puts_off=True):
        """With mail for later@… put off, or not any more."""
        self._configure(puts_off)
        self._run()

    def _configure(self, puts_off):
        hostname, certificate = self.hostname, self.certificate
        pki, rule = "", ""
        if self.filtered:
            rule = 'filter "one" proc-exec "%s"' % self.filtered
        elif puts_off:
            rule = 'filter "one" phase rcpt-to match rcpt-to regex ' \
                '{ "^<?later@.*" } reject "451 4.2.0 later"'
        if certificate:
            os.chmod(certificate[1], 0o600)
            pki = 'pki "%s" cert "%s"\npki "%s" key "%s"\n' % (
                hostname, certificate[0], hostname, certificate[1])
        self.config = os.path.join(self.directory, "smtpd.conf")
        with open(self.config, "w") as file:
            file.write(CONFIG.format(
                pki=pki, next_port=self.next_port, filter=rule,
                limits="".join("mta limit %s %d\n" % one
                               for one in self.limits.items()),
                listeners="\n".join(
                    'listen on %s port %d %s hostname "%s" %s' % (
                        address, port, 'tls pki "%s"' % hostname
                        if certificate and port != self.plain_port else "",
                        hostname, 'filter "one"' if rule else "")
                    for address, port in self.listeners)))
        os.chmod(self.config, 0o600)

    def _run(self):
        program = find_apart("opensmtpd", "/usr/sbin/smtpd")
        self.server = Server(alone(
            self.directory,
            ["sh", "-c", "mkdir -p -m 711 %s && exec \"$@\"" % CHROOT, "sh",
             program, "-d", "-f", self.config],
            USERS, PLACES), self.directory, "opensmtpd")
        self.server.wait_until(
            lambda: all(accepts(*one) for one in self.listeners), 20,
            lambda: "its ports\n" + self.log())

    def stop_putting_off(self):
        self.stop()
        self.start(puts_off=False)

    def log(self):
        return self.server.log()

    def stop(self):
        self.server.stop()
