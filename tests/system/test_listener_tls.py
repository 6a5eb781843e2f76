"""The files of a listener's TLS: what is wrong with them is said by option, path
and in words, by check-config, at the start and at a reload alike."""

import os
import shutil
import subprocess

import pytest

from harness import signet
from harness.preload import ClockJumps
from harness.stock import take_rsa_key

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("listener_tls")


def openssl(*arguments, before=()):
    done = subprocess.run([*before, "openssl", *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()


class Files:
    """name -> path, made once for all tests here."""

    def __init__(self, directory, certificate):
        self.directory = os.path.join(directory, "listener-tls")
        os.mkdir(self.directory)
        self.own("other")
        self.own("short", bits=1024)
        self.own("expired", before=("faketime", "-f", "-40d"))
        self.own("soon", before=("faketime", "-f", "-25d"))
        self.own("early", before=("faketime", "-f", "+2d"))
        for name, path in zip(("own.pem", "own.key"), certificate):
            shutil.copy(path, self.path(name))
        self.write("empty", b"")
        self.write("garbage", b"nothing of the kind\n")
        self.write("other-first.pem",
                   self.read("other.pem") + self.read("own.pem"))
        openssl("pkey", "-in", self.path("own.key"), "-aes128", "-passout",
                "pass:secret", "-out", self.path("encrypted.key"))

    def own(self, name, bits=2048, before=()):
        key = self.path(name + ".key")
        take_rsa_key(key, bits)
        openssl("req", "-x509", "-new", "-key", key, "-days", "30",
                "-subj", "/CN=" + name, "-out", self.path(name + ".pem"),
                before=before)

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)


@pytest.fixture(scope="module")
def files(session_directory, certificate):
    return Files(str(session_directory), certificate)


def listener(files, cert="own.pem", key="own.key", authority=None):
    return ('tls = "starttls"\n    tls_cert = "%s"\n    tls_key = "%s"\n    %s'
            % (files.path(cert), files.path(key), "" if authority is None else
               'tls_client_ca = "%s"' % files.path(authority)))


# name: (files, the option at fault, what is said of its file)
BAD = {
    "no certificate": ({"cert": "empty"}, "cert", "the file is empty"),
    "no PEM": ({"cert": "garbage"}, "cert", "there is no certificate in it"),
    "a key as certificate": ({"cert": "own.key"}, "cert",
                             "that is for tls_key"),
    "a short key": ({"cert": "short.pem", "key": "short.key"}, "cert",
                    "has to have 2048 bits"),
    "no key": ({"key": "empty"}, "key", "the file is empty"),
    "garbage as key": ({"key": "garbage"}, "key",
                       "there is no private key in it"),
    "a certificate as key": ({"key": "own.pem"}, "key", "that is for tls_cert"),
    "an encrypted key": ({"key": "encrypted.key"}, "key",
                         "`openssl pkey -in OLD -out NEW`"),
    "another key": ({"key": "other.key"}, "key",
                    "not the key of the first certificate in tls_cert"),
    "the wrong order": ({"cert": "other-first.pem"}, "key",
                        "not the key of the first certificate in tls_cert"),
    "an empty authority": ({"authority": "empty"}, "client_ca",
                           "there is no certificate in it"),
    "no authority": ({"authority": "garbage"}, "client_ca",
                     "there is no certificate in it"),
}
NAMES = {"cert": "cert", "key": "key", "client_ca": "authority"}


def test_what_is_wrong(world, files):
    """And a relay that runs goes on as it was."""
    world.setup.listener = listener(files)
    world.start()
    for count, name in enumerate(BAD, 1):
        changed, option, words = BAD[name]
        path = files.path(changed.get(NAMES[option],
                                      {"key": "own.key"}.get(option)))
        said = "tls_%s '%s': " % (option, path)
        world.setup.listener = listener(files, **changed)
        done = signet.run("check-config", config=world.setup.write(),
                          check=78).stderr.decode()
        assert said in done and words in done, (name, done)
        place = [number for number, line in
                 enumerate(world.setup.text().splitlines(), 1)
                 if "tls_%s =" % option in line]
        assert "signet.conf:%d: " % place[0] in done, (name, done)
        world.relay.hang_up()
        refused = world.relay.wait("reload-refused", count)["reason"]
        assert 'listener "apps": ' + said in refused, (name, refused)
        assert words in refused, (name, refused)
    world.relay.stop()
    for name in ("an encrypted key", "an empty authority"):
        changed, _, words = BAD[name]
        world.setup.listener = listener(files, **changed)
        done = signet.run("relay", config=world.setup.write(), check=78)
        assert words in done.stderr.decode()


# certificate: what is said of its days
DAYS = {"own": None, "expired": "the certificate expired on 20",
        "soon": ", in 4 days", "early": "the certificate is not valid before"}


def test_days(world, files):
    """A warning, no more: what it is about may be wanted."""
    logged = 0
    for name, words in DAYS.items():
        world.setup.listener = listener(files, name + ".pem", name + ".key")
        done = signet.run("check-config", config=world.setup.write(), check=0)
        said = done.stderr.decode()
        if words is None:
            assert said == ""
            world.start()
            assert not world.relay.named("certificate")
            continue
        assert said.startswith("signet: warning: tls_cert '%s': " %
                               files.path(name + ".pem")), said
        assert words in said
        world.relay.hang_up()
        logged += 1
        event = world.relay.wait("certificate", logged)
        assert event["level"] == "warning"
        assert 'listener "apps": tls_cert ' in event["reason"]
        assert words in event["reason"]


def test_days_go_by(world, files, directory, relay):
    """Nobody reloads for weeks: it is looked each day, and said then, too."""
    clock = ClockJumps(directory)
    world.setup.listener = listener(files)
    world.start()
    world.relay.stop()
    long_running = relay(world.setup, env=clock.environment)
    assert not long_running.named("certificate")
    for day, passed in enumerate((10, 25), 1):
        assert not long_running.named("certificate")
        clock.set(passed * 86400)
        clock.forward(day * 86401)
        # It looks at the clock once it is woken.
        for _ in range(2):
            signet.run("status", config=world.setup.path, check=0)
    assert ", in 4 days" in long_running.wait("certificate")["reason"]


def revocations(files, name, before=()):
    """An authority with a list for seven days."""
    files.own(name)
    open(files.path("index"), "w").close()
    with open(files.path("ca.cnf"), "w") as file:
        file.write("[ca]\ndefault_ca = x\n[x]\ndatabase = %s\n"
                   "default_md = sha256\n" % files.path("index"))
    openssl("ca", "-gencrl", "-config", files.path("ca.cnf"), "-crldays", "7",
            "-cert", files.path(name + ".pem"), "-keyfile",
            files.path(name + ".key"), "-out", files.path("list"),
            before=before)
    files.write(name, files.read(name + ".pem") + files.read("list"))


def test_days_of_revocation_lists(setup, files):
    configured = setup()
    for name, before, words in (
            ("fresh", (), None),
            ("near", ("faketime", "-f", "-5d"), "runs out on 20"),
            ("over", ("faketime", "-f", "-8d"), "ran out on 20")):
        revocations(files, name, before)
        configured.listener = listener(files, authority=name)
        said = signet.run("check-config", config=configured.write(),
                          check=0).stderr.decode()
        if words is None:
            assert said == ""
            continue
        assert said.startswith("signet: warning: tls_client_ca '%s': "
                               "a revocation list %s" %
                               (files.path(name), words)), said


def test_nobody_is_known(setup, files):
    """A list of clients without one is no error, but hardly meant."""
    configured = setup()
    files.write("nobody", b"# to be filled\n")
    configured.listener = listener(files) + '\n    tls_clients = "%s"' % \
        files.path("nobody")
    said = signet.run("check-config", config=configured.write(),
                      check=0).stderr.decode()
    assert said.startswith("signet: warning: tls_clients '%s': nobody stands "
                           "in it" % files.path("nobody")), said
