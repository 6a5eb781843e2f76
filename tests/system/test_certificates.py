"""Clients that show a certificate instead of a password, by programs that
people use."""

import os
import smtplib
import ssl
import subprocess

import pytest

from harness import signet
from harness.postfix import Relaying
from harness.smtp import message

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("certificates")


class Certificates:
    """Of clients, in a directory: name -> (certificate, key)."""

    def __init__(self, directory):
        self.directory = os.path.join(str(directory), "certificates")
        os.mkdir(self.directory)
        self.made = {}
        self.request("ca", "/CN=Example CA")
        self._sign("ca", ["-signkey", self.key("ca")], "CA:TRUE", None)

    def path(self, name, kind):
        return os.path.join(self.directory, "%s.%s" % (name, kind))

    def key(self, name):
        return self.path(name, "key")

    def cert(self, name):
        return self.path(name, "pem")

    def request(self, name, subject):
        self._run("req", "-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                  "-keyout", self.key(name), "-out", self.path(name, "csr"))

    def _run(self, *arguments, before=()):
        done = subprocess.run(list(before) + ["openssl"] + list(arguments),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    def _sign(self, name, signer, constraints, alternative, before=()):
        with open(self.path(name, "ext"), "w") as file:
            file.write("basicConstraints = %s\n" % constraints)
            if alternative:
                file.write("subjectAltName = %s\n" % alternative)
        self._run("x509", "-req", "-in", self.path(name, "csr"), "-days", "2",
                  "-extfile", self.path(name, "ext"), "-out", self.cert(name),
                  *signer, before=before)

    def own(self, name):
        """By itself."""
        self.request(name, "/CN=" + name)
        self._sign(name, ["-signkey", self.key(name)], "CA:FALSE", None)

    def signed(self, name, alternative=None, before=()):
        """By the authority."""
        self.request(name, "/CN=" + name)
        self._sign(name, ["-CA", self.cert("ca"), "-CAkey", self.key("ca"),
                          "-CAcreateserial"], "CA:FALSE", alternative, before)

    def fingerprint(self, name):
        return self._run("x509", "-noout", "-fingerprint", "-sha256", "-in",
                         self.cert(name)).strip().partition("=")[2]

    def key_fingerprint(self, name):
        """As Postfix's documentation has it."""
        return subprocess.run(
            "openssl x509 -in %s -noout -pubkey | "
            "openssl pkey -pubin -outform DER | "
            "openssl dgst -sha256 -c" % self.cert(name), shell=True,
            check=True, stdout=subprocess.PIPE).stdout.decode().split()[-1]


@pytest.fixture(scope="module")
def certificates(session_directory):
    made = Certificates(session_directory)
    made.own("printer")
    made.own("renewed")
    made.own("stranger")
    made.signed("named", "email:app@Example.com,DNS:host.example.com")
    made.signed("past", before=["faketime", "-f", "-9d"])
    return made


@pytest.fixture
def certified(world, certificate, certificates):
    """A relay that takes mail from who shows a certificate, and no other."""
    path = os.path.join(world.setup.directory, "clients")
    with open(path, "w") as file:
        file.write("# relay_clientcerts\n%s printer\n%s renewed one\n" % (
            certificates.fingerprint("printer"),
            certificates.key_fingerprint("renewed")))
    world.setup.listener = (
        'tls = "starttls"\n tls_cert = "%s"\n tls_key = "%s"\n'
        'tls_clients = "%s"\n tls_client_ca = "%s"\n'
        'auth = "required"' % (certificate + (
            path, certificates.cert("ca"))))
    world.clients_file = path
    world.certificates = certificates
    world.start()
    return world


def run(arguments, **more):
    return subprocess.run(arguments, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, **more)


def swaks(world, name):
    return run(["swaks", "--server", "127.0.0.1:%d" % world.relay.port,
                "--ehlo", "client.example.com", "--tls",
                "--tls-cert", world.certificates.cert(name),
                "--tls-key", world.certificates.key(name),
                "--from", "alice@example.com", "--to", "bob@example.net"])


def curl(world, name):
    return run(["curl", "-svk", "--ssl-reqd", "--url",
                "smtp://127.0.0.1:%d/client.example.com" % world.relay.port,
                "--cert", world.certificates.cert(name),
                "--key", world.certificates.key(name),
                "--mail-from", "alice@example.com",
                "--mail-rcpt", "bob@example.net", "--upload-file", "-"],
               input=message())


def msmtp(world, name):
    """It has to say who it is: of nobody's name it makes no response."""
    user = {"named": "app@example.com"}.get(name, name)
    return run(["msmtp", "--file=/dev/null", "--host=127.0.0.1",
                "--port=%d" % world.relay.port, "--tls=on",
                "--tls-starttls=on", "--tls-certcheck=off", "--auth=external",
                "--user=" + user,
                "--tls-cert-file=" + world.certificates.cert(name),
                "--tls-key-file=" + world.certificates.key(name),
                "--from=alice@example.com", "bob@example.net"],
               input=message())




CLIENTS = (
    # who, with which certificate, as whom, how
    (swaks, "printer", "printer", "certificate"),
    (swaks, "renewed", "renewed one", "certificate"),
    (curl, "named", "app@example.com", "certificate"),
    (msmtp, "named", "app@example.com", "EXTERNAL"),
    (msmtp, "printer", "printer", "EXTERNAL"),
)


def test_clients(certified):
    """Each with a certificate that is known sends; with others none does."""
    world = certified
    for number, (client, name, user, how) in enumerate(CLIENTS, 1):
        what = (client.__name__, name)
        done = client(world, name)
        assert done.returncode == 0, (what, done.stdout.decode())
        event = world.relay.wait("accepted", number)
        assert (event["user"], event["auth"]) == (user, how), (what, event)
        for wrong in ("stranger", "past"):
            refused = client(world, wrong)
            assert refused.returncode != 0, (what, refused.stdout.decode())
    reasons = {(event["reason"], event["fingerprint"])
               for event in world.relay.named("not-authenticated")}
    assert ("certificate has expired",
            world.certificates.fingerprint("past")) in reasons
    assert world.certificates.fingerprint("stranger") in {
        fingerprint for _, fingerprint in reasons}
    world.receiver.wait_deliveries(len(CLIENTS))
    for delivery in world.receiver.deliveries:
        by_auth = b"SMTPSA id" in delivery.data
        assert by_auth or b"SMTPS id" in delivery.data


def test_postfix(certified, directory):
    """As a relayhost, with smtp_tls_cert_file: what it sends to everybody who
    asks is enough here."""
    world = certified
    postfix = Relaying(directory, world.relay.port,
                       "smtp_tls_security_level = encrypt\n"
                       "smtp_tls_cert_file = %s\nsmtp_tls_key_file = %s\n" % (
                           world.certificates.cert("printer"),
                           world.certificates.key("printer")))
    try:
        postfix.sendmail(message().replace(b"\r\n", b"\n"),
                         "-f", "alice@example.com", "bob@example.net")
        event = world.relay.wait("accepted")
    finally:
        postfix.stop()
    assert (event["user"], event["auth"]) == ("printer", "certificate")
    world.receiver.wait_deliveries(1)


def connect(world, name):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if name is not None:
        context.load_cert_chain(world.certificates.cert(name),
                                world.certificates.key(name))
    client = smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120)
    client.starttls(context=context)
    return client


def code_of(client):
    try:
        client.sendmail("alice@example.com", ["bob@example.net"], message())
    except smtplib.SMTPSenderRefused as error:
        return error.smtp_code
    except smtplib.SMTPRecipientsRefused as error:
        # A reload that comes between MAIL and RCPT.
        return error.recipients["bob@example.net"][0]
    return 250


def test_reload(certified):
    """What a certificate is worth is what the files say now; no earlier
    connection and no session of TLS stands in for it."""
    world = certified
    with connect(world, "printer") as printer, \
            connect(world, "named") as named, connect(world, None) as nobody:
        assert code_of(printer) == code_of(named) == 250
        assert code_of(nobody) == 530
        with open(world.clients_file, "w") as file:
            file.write("%s stranger\n" %
                       world.certificates.fingerprint("stranger"))
        world.relay.hang_up()
        world.relay.wait("reload")
        assert code_of(printer) == 421
        assert code_of(named) == 250
    for name, code in (("printer", 530), ("stranger", 250), ("named", 250)):
        with connect(world, name) as client:
            assert code_of(client) == code, name
    with open(world.clients_file, "a") as file:
        file.write("AB:CD stranger\n")
    said = signet.run("check-config", config=world.setup.path, check=78)
    assert b"line 2: a line is FINGERPRINT NAME" in said.stderr
    world.relay.hang_up()
    world.relay.wait("reload-refused")
    with connect(world, "stranger") as client:
        assert code_of(client) == 250


def test_no_session_is_resumed(certified):
    """A client that would like to is shown no ticket."""
    world = certified
    saved = os.path.join(world.certificates.directory, "session")
    for version in ("-tls1_2", "-tls1_3"):
        done = run(["openssl", "s_client", "-starttls", "smtp", version,
                    "-connect", "127.0.0.1:%d" % world.relay.port,
                    "-cert", world.certificates.cert("printer"),
                    "-key", world.certificates.key("printer"),
                    "-sess_out", saved], input=b"quit\r\n")
        assert done.returncode == 0, done.stdout.decode()
        if not os.path.exists(saved):
            continue
        again = run(["openssl", "s_client", "-starttls", "smtp", version,
                     "-connect", "127.0.0.1:%d" % world.relay.port,
                     "-sess_in", saved], input=b"quit\r\n")
        assert b"Reused, " not in again.stdout, again.stdout.decode()
        os.unlink(saved)
    assert len(world.relay.named("authenticated")) == 2
