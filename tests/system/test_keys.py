"""`signet key`: making keys and the records to publish."""

import base64
import json
import os
import re
import stat
import subprocess

import pytest

from harness import judge, signet
from harness.judge import Keys
from harness.messages import MESSAGES
from harness.names import NameServer


@pytest.fixture
def empty(setup, directory):
    configured = setup(keys=Keys(os.path.join(directory, "own-keys")))
    configured.domains = {}
    configured.write()
    return configured


def generate(configured, *arguments, check=0):
    return signet.run("key", "generate", *arguments, config=configured.path,
                      check=check)


def strings(text):
    """The record's text, out of its quoted strings."""
    pieces = re.findall(r'"([^"]*)"', text)
    assert pieces and all(len(piece) <= 255 for piece in pieces), text
    return "".join(pieces)


@pytest.mark.parametrize("arguments, algorithm, bits", (
    ((), "rsa", 2048),
    (("-a", "rsa-sha256", "-b", "3072"), "rsa", 3072),
    (("-a", "rsa-sha256", "-b", "4096"), "rsa", 4096),
    (("-a", "ed25519-sha256"), "ed25519", None)), ids=str)
def test_generate(empty, arguments, algorithm, bits):
    done = generate(empty, "example.com", "made", *arguments)
    path = empty.keys.path("example.com", "made")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) & 0o022 == 0

    # OpenSSL reads it, and agrees about its public half.
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"],
                          check=True, stdout=subprocess.PIPE).stdout.decode()
    if bits:
        assert "Private-Key: (%d bit" % bits in text
    empty.keys.publish("example.com", "made")
    record = done.stdout.decode()
    assert "made._domainkey.example.com" in record
    tags = dict(part.strip().split("=", 1)
                for part in strings(record).split(";") if part.strip())
    assert tags["v"] == "DKIM1"
    assert tags.get("k", "rsa") == algorithm
    wanted = re.search("p=(.*)", empty.keys.records[
        "made._domainkey.example.com"]).group(1)
    assert tags["p"] == wanted
    if algorithm == "ed25519":
        assert len(base64.b64decode(tags["p"])) == 32


def test_generate_never_overwrites(empty):
    generate(empty, "example.com", "made")
    path = empty.keys.path("example.com", "made")
    with open(path, "rb") as file:
        before = file.read()
    done = generate(empty, "example.com", "made", check=None)
    assert done.returncode in (73, 65, 64, 78)
    assert "made.pem" in done.stderr.decode()
    with open(path, "rb") as file:
        assert file.read() == before
    assert os.listdir(os.path.dirname(path)) == ["made.pem"]


@pytest.mark.parametrize("arguments", (
    ("../escape", "sel"), ("example.com", "../../sel"), ("example.com", ""),
    ("", "sel"), ("example.com", "a/b"), ("exa mple.com", "sel"),
    ("example.com", "sel", "-b", "512"), ("example.com", "sel", "-b", "x"),
    ("example.com", "sel", "-a", "rsa-sha1"), ("example.com",)), ids=str)
def test_generate_refuses(empty, arguments):
    done = generate(empty, *arguments, check=None)
    assert done.returncode in (64, 65), done
    for folder, _, names in os.walk(empty.directory):
        assert not [name for name in names if name.endswith(".pem")], folder
    assert done.stderr


def test_what_it_makes_signs(empty, name_server):
    """generate, publish its own output, sign, and others verify."""
    lines = [generate(empty, "example.com", "a").stdout.decode(),
             generate(empty, "example.com", "b", "-a",
                      "ed25519-sha256").stdout.decode()]
    empty.domains = {"example.com": ["a", "b"]}
    empty.write()
    output = signet.run("sign", config=empty.path, check=0,
                        stdin=MESSAGES["plain"]).stdout
    # The lines go into a zone file as they are.
    from harness.names import NameServer
    server = NameServer(empty.directory, {"example.com": "\n".join(lines)})
    try:
        verdicts = judge.dkimpy(output, judge.lookup_txt(server.port))
    finally:
        server.stop()
    assert [(v.selector, v.passed) for v in verdicts] == \
        [("a", True), ("b", True)]


def test_list_and_dns(setup, keys):
    configured = setup()
    configured.write()
    rows = signet.run("key", "list", "--json", config=configured.path,
                      check=0).stdout.decode()
    text = json.loads(rows) if rows.lstrip().startswith("[") else \
        [json.loads(line) for line in rows.splitlines()]
    flat = json.dumps(text)
    for word in ("example.com", "rsa", "ed"):
        assert '"%s"' % word in flat, flat
    plain = signet.run("key", "list", config=configured.path,
                       check=0).stdout.decode()
    assert "example.com" in plain
    records = signet.run("key", "dns", "example.com", config=configured.path,
                         check=0).stdout.decode()
    for selector in ("rsa", "ed"):
        public = keys.records[selector + "._domainkey.example.com"] \
            .partition("p=")[2]
        found = [line for line in records.splitlines()
                 if line.startswith(selector + "._domainkey.example.com")]
        assert len(found) == 1, records
        assert public in strings(found[0])
    assert signet.run("key", "dns", "example.edu",
                      config=configured.path).returncode != 0


def test_check(setup, keys, name_server, directory, started):
    """What the DNS publishes, beside what signs."""
    configured = setup()
    configured.domains = {"example.com": ["rsa", "ed"]}
    names = name_server({"example.net": "@ IN A 127.0.0.2"})
    configured.resolver = names.resolver
    configured.write()

    def check(domain="example.com", code=0):
        done = signet.run("key", "check", domain, config=configured.path,
                          check=code)
        return done.stdout.decode().splitlines()
    good = check()
    assert [line.split()[:2] for line in good] == [
        ["ok", "rsa._domainkey.example.com"],
        ["ok", "ed._domainkey.example.com"]], good
    # The other key's record in its place, and none in the other's.
    zone = 'rsa._domainkey IN TXT "%s"' % \
        keys.records["ed._domainkey.example.com"]
    os.makedirs(os.path.join(directory, "other"))
    other = NameServer(os.path.join(directory, "other"),
                       {"example.com": zone})
    started(other)
    configured.resolver = other.resolver
    configured.write()
    bad = check(code=65)
    assert bad[0].startswith("fail rsa._domainkey.example.com active: the "
                             "record is for another algorithm"), bad
    assert bad[1].startswith("fail ed._domainkey.example.com active: nothing "
                             "is published"), bad
    configured.resolver = "127.0.0.1:1"
    configured.write()
    assert check(code=75)[0].startswith("unknown rsa._domainkey"), bad
    check("example.org", 65)
    signet.run("key", "check", config=configured.path, check=64)
