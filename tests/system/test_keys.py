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
    """With time for the search for large primes, which may be long."""
    return signet.run("key", "generate", *arguments, config=configured.path,
                      check=check, timeout=600)


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


def test_generate_makes_the_way(empty):
    """Those above keys_dir are for everybody to pass, it itself is not."""
    top = os.path.join(empty.directory, "a")
    empty.keys.directory = os.path.join(top, "b", "keys")
    empty.write()
    generate(empty, "example.com", "made", "-a", "ed25519-sha256")
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (
        top, os.path.join(top, "b"), empty.keys.directory,
        os.path.join(empty.keys.directory, "example.com"))]
    assert modes == [0o755, 0o755, 0o700, 0o700]


def test_a_large_key_is_a_warning(empty):
    """Some receivers' libraries take none of them."""
    words = "receivers need not verify more than 4096 (RFC 8301 3.2)"
    done = generate(empty, "example.com", "large", "-b", "4104")
    assert "RSA key of 4104 bits; " + words in done.stderr.decode()
    empty.domains = {"example.com": ["large"]}
    done = signet.run("check-config", config=empty.write(), check=0)
    said = done.stderr.decode()
    assert said.startswith("signet: warning: ") and "large.pem" in said
    assert words in said


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


def test_key_commands_take_an_idn_domain(empty):
    """As it is read; "straße" is a name of its own (UTS 46, nontransitional)."""
    lines = signet.run("key", "generate", "stra\u00dfe.example", "a",
                       config=empty.path, check=0).stdout
    assert b"a._domainkey.xn--strae-oqa.example" in lines
    empty.extra = 'domain "stra\u00dfe.example" { selector "a" { ' \
        'key = "xn--strae-oqa.example/a.pem" } }'
    empty.write()
    for domain in ("stra\u00dfe.example", "xn--strae-oqa.example"):
        assert signet.run("key", "dns", domain, config=empty.path,
                          check=0).stdout == lines
    done = signet.run("key", "dns", "b\u00fccher..example", config=empty.path,
                      check=65)
    assert b"b\xc3\xbccher..example: " in done.stderr


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
    for words in (("key", "list"), ("doctor",)):
        assert b"'--jsn'" in signet.run(*words, "--jsn", check=64).stderr


def records_of(text):
    return "\n".join(line for line in text.splitlines()
                     if "._domainkey." in line and " TXT " in line)


def test_rotation(setup, directory, started):
    """Each step done as it is told; what is signed verifies at each. However a
    path is written, the key is in use."""
    keys = Keys(os.path.join(directory, "rotated"))
    configured = setup(keys=keys)
    configured.domains = {}
    configured.write()
    zone = [records_of(generate(configured, "example.com", name, *more)
                       .stdout.decode())
            for name, more in (("old", ()), ("ed_1",
                                             ("-a", "ed25519-sha256")))]
    names = NameServer(directory, {"example.com": "\n".join(zone)})
    started(names)
    configured.resolver = names.resolver
    lines = {name: 'selector "%s" { key = "./example.com/%s.pem"  '
             'state = "active" }' % (name, name) for name in ("old", "ed_1")}

    def step(code=0):
        configured.extra = 'domain "example.com" {\n%s\n}' % \
            "\n".join(lines.values())
        configured.write()
        if os.path.exists(keys.path("example.com", "old")):
            signed = signet.run("sign", config=configured.path, check=0,
                                stdin=MESSAGES["plain"]).stdout
            verdicts = judge.dkimpy(signed, judge.lookup_txt(names.port))
            assert len(verdicts) == 2 and all(v.passed for v in verdicts)
        return signet.run("key", "rotate", "example.com", check=code,
                          config=configured.path).stdout.decode()

    def state(name, old, new):
        assert '"%s"' % old in lines[name]
        lines[name] = lines[name].replace('"%s"' % old, '"%s"' % new)

    def line_of(name):
        with open(configured.path) as file:
            number = [i for i, line in enumerate(file, 1)
                      if 'selector "%s"' % name in line]
        return "%s:%d: selector \"%s\"" % (configured.path, number[0], name)

    # New keys, one for each that signs.
    made = step()
    added = re.findall(r'^ +(selector "(\d{4}[ab])" .*)$', made, re.M)
    assert [name[-1] for _, name in added] == ["a", "b"], made
    # Not added yet: told again, and no third one made.
    again = step()
    assert "is named by no selector" in again
    assert sorted(os.listdir(keys.directory + "/example.com")) == sorted(
        name + ".pem" for name in ("old", "ed_1", added[0][1], added[1][1]))
    for line, name in added:
        lines[name] = line
    # Not published yet.
    assert "is not to sign yet: nothing is published" in step(75)
    checked = signet.run("key", "check", "example.com", check=0,
                         config=configured.path).stdout.decode()
    assert [line.split()[0] for line in checked.splitlines()] == [
        "ok", "ok", "warn", "warn"], checked
    zone.append(records_of(made))
    wrong = re.sub(r"p=....", "p=AAAA", records_of(made), count=1)
    names.replace({"example.com": "\n".join(zone[:2] + [wrong])})
    assert "is not to sign yet" in step(65)
    names.replace({"example.com": "\n".join(zone)})
    switched = step()
    for (_, name), old in zip(added, ("old", "ed_1")):
        assert line_of(name) + ': state = "active"' in switched
        assert line_of(old) + ': state = "retired"' in switched
        state(name, "publish", "active")
        state(old, "active", "retired")
    retired = step()
    assert "take old._domainkey.example.com out" in retired
    names.replace({"example.com": zone[2]})
    gone = step()
    for old in ("old", "ed_1"):
        assert line_of(old) in gone
        assert "delete %s/./example.com/%s.pem" % (keys.directory, old) in gone
    for old in ("old", "ed_1"):
        del lines[old]
        os.unlink(keys.path("example.com", old))
    # And from the start: names that are taken are not taken again.
    assert re.findall(r"/\d{4}([a-z])\.pem, which", step()) == ["c", "d"]


@pytest.mark.parametrize("section, said", [
    ('domain "*" { selector "rsa" { key = "example.com/rsa.pem" } }',
     "signs for this domain and for others"),
    ('domain "example.com" { }', "has no selector"),
    ('domain "example.org" { selector "rsa" { key = "example.com/rsa.pem" } }',
     "no section for the domain"),
])
def test_nothing_to_rotate(setup, section, said):
    configured = setup()
    configured.domains = {}
    configured.extra = section
    configured.write()
    done = signet.run("key", "rotate", "example.com", config=configured.path)
    assert done.returncode in (65, 78), done
    assert said in done.stderr.decode()


def test_rotation_without_an_answer(setup):
    configured = setup()
    configured.domains = {}
    configured.extra = 'domain "example.com" { selector "rsa" { key = ' \
        '"example.com/rsa.pem"  state = "publish" } }'
    configured.write()
    done = signet.run("key", "rotate", "example.com", config=configured.path,
                      check=75)
    assert b"is not to sign yet" in done.stdout
