"""The relays that are compared. Each has one key, rsa-sha256, relaxed/relaxed
and its usual durability, and hands everything on to the sink.

    system.port    where it takes mail
    system.roots   its processes, with all below them
    system.group   what they use: see groups.py
"""

import os
import tempfile

import groups
from harness import exim, opendkim, opensmtpd, rspamd, signet
from harness.alone import find_apart
from harness.ports import free_port
from harness.postfix import Instance
from harness.process import Server


class System:
    """start() starts it and says what its roots are."""
    name = label = None
    clients_stay = False  # a connection for each message

    def __init__(self, bench):
        self.bench = bench
        # It may not be the first that is started.
        self.directory = tempfile.mkdtemp(prefix="system-%s-" % self.name,
                                          dir=bench.directory)
        os.chmod(self.directory, 0o755)
        self.group = groups.group(os.path.basename(self.directory))
        try:
            with self.group:
                self.roots = self.start()
        except BaseException:
            self.group.remove(patience=0)
            raise
        self.group.adopt(self.roots)

    def start(self):
        raise NotImplementedError

    def end(self):
        raise NotImplementedError

    def stop(self):
        try:
            self.end()
        finally:
            self.group.remove()


class Direct(System):
    """No relay at all: what the load and the sink can do."""
    name, label = "direct", "no relay (load and sink)"

    def start(self):
        self.port = self.bench.sink.port
        return []

    def end(self):
        pass


class Plain(System):
    """Postfix that relays and does not sign."""
    name, label = "plain", "Postfix, no signature"
    milters = ""

    def start(self):
        self.port = free_port()
        self.postfix = Instance(
            os.path.join(self.directory, "postfix"),
            [("127.0.0.1", self.port)], "relay.example.com",
            "relayhost = [127.0.0.1]:%d\n"
            "disable_dns_lookups = yes\n"
            "message_size_limit = 104857600\n"
            "smtpd_milters = %s\n"
            "milter_default_action = tempfail\n" % (self.bench.sink.port,
                                                    self.milters))
        self.postfix.start()
        return [self.postfix.server.process.pid]

    def end(self):
        self.postfix.stop()


class OpenDkim(Plain):
    """Postfix with OpenDKIM for its milter."""
    name, label = "opendkim", "Postfix + OpenDKIM"

    def start(self):
        port = free_port()
        key = opendkim.private_copy(self.bench.key, self.directory)
        self.milter = opendkim.OpenDkim(self.directory, {
            "Mode": "s", "Domain": "example.com", "Selector": "rsa",
            "KeyFile": key, "Canonicalization": "relaxed/relaxed",
            "SignatureAlgorithm": "rsa-sha256", "OversignHeaders": "From",
        }, "inet:%d@127.0.0.1" % port).server
        self.milters = "inet:127.0.0.1:%d" % port
        return super().start() + [self.milter.process.pid]

    def end(self):
        super().end()
        self.milter.stop()


class Rspamd(Plain):
    """Postfix with rspamd for its milter, which signs and does nothing else."""
    name, label = "rspamd", "Postfix + rspamd"

    def start(self):
        place = "127.0.0.1:%d" % free_port()
        self.milter = rspamd.Rspamd(
            self.directory, "example.com", "rsa", self.bench.key, place,
            cache="build-bench/rspamd").server
        self.milters = "inet:" + place
        return super().start() + [self.milter.process.pid]

    def end(self):
        super().end()
        self.milter.stop()


class Exim(System):
    """Exim, which signs by itself."""
    name, label = "exim", "Exim, its own DKIM"

    def start(self):
        self.port = free_port()
        self.server = exim.Exim(
            self.directory, [("127.0.0.1", self.port)], self.bench.sink.port,
            plain_port=self.port, every="30m",
            signs=("example.com", "rsa", self.bench.key))
        return [self.server.server.process.pid]

    def end(self):
        self.server.stop()


class OpenSmtpd(System):
    """OpenSMTPD with opensmtpd-filter-dkimsign, which does not sync what it
    stores before its 250. It would pause for 2 to 5 s between connections out.
    Of those in no more than 5 may wait for it, and the others try again after
    a second; so its clients stay."""
    name, label = "opensmtpd", "OpenSMTPD + dkimsign"
    clients_stay = True
    limits = dict.fromkeys(
        ("conn-delay-host", "conn-delay-source", "conn-delay-connector",
         "conn-delay-relay", "conn-delay-domain", "reconn-delay-route"), 0)

    def start(self):
        self.port = free_port()
        program = find_apart("opensmtpd-filter-dkimsign",
                             "/usr/libexec/opensmtpd/filter-dkimsign")
        key = os.path.join(self.directory, "key.pem")
        with open(self.bench.key) as old, open(key, "w") as new:
            new.write(old.read())
        os.chmod(key, 0o600)
        os.chown(key, opensmtpd.USERS["opensmtpd"], -1)
        self.server = opensmtpd.OpenSmtpd(
            self.directory, [("127.0.0.1", self.port)], self.bench.sink.port,
            limits=self.limits, filtered="%s -a rsa-sha256 -c relaxed/relaxed -d example.com"
            " -s rsa -k %s" % (program, key))
        return [self.server.server.process.pid]

    def end(self):
        self.server.stop()


class Signet(System):
    """signet relay, straight to the MX that a name server names."""
    name, label = "signet", "signet"

    def start(self):
        directory = os.path.join(self.directory, "signet")
        os.makedirs(directory)
        setup = signet.Setup(directory, self.bench.keys,
                             self.bench.names.resolver,
                             mx_port=self.bench.sink.port)
        setup.domains = {"example.com": self.bench.selectors}
        self.port = setup.port
        self.server = Server([signet.binary(), "-c", setup.write(), "relay"],
                             directory, "relay")
        self.server.wait_until(lambda: '"ready"' in self.server.log(), 20,
                               "the event ready")
        return [self.server.process.pid]

    def end(self):
        self.server.stop(40)


SYSTEMS = {one.name: one for one in (Signet, OpenDkim, Rspamd, Plain, OpenSmtpd,
                                     Exim, Direct)}
