"""signet import opendkim: OpenDKIM itself and signet on what was imported sign
the same mail."""

import concurrent.futures
import os
import pwd
import re
import shutil

import dkim
import pytest

from harness import judge, signet
from harness.milter_client import Milter
from harness.opendkim import OpenDkim, check

STYLES = os.path.join(os.path.dirname(__file__), "opendkim")
TIME = 1795291200
CLOCK = {"LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
         "FAKETIME": "2026-11-21 20:00:00", "TZ": "UTC",
         "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

FROM = """
alice@example.com
Alice <alice@example.com>
"Alice A." <alice@example.com>
"alice" <ALICE@EXAMPLE.COM>
Alice <Alice@Example.Com>
<alice@example.com>
alice@example.com (Alice)
(a comment) alice@example.com
"bob@example.org" <alice@example.com>
"alice@example.com" <bob@example.net>
=?utf-8?q?Alice_=C3=84?= <alice@example.com>
alice+news@example.com
bounces+1234=example.net@example.com
bounces@example.com
newsletter@example.com
NewsLetter@Example.COM
"newsletter" <newsletter@news.example.com>
newsletters@example.com
xnewsletter@example.com
ceo@example.com
CEO@example.com
sales@example.com
postmaster@example.com
root@example.com
"quoted local"@example.com
"ceo"@example.com
o'neill@example.com
a.b.c@example.com
alice@news.example.com
alice@a.b.news.example.com
alice@NEWS.Example.com
ceo@news.example.com
alice@example.com.example.net
alice@notexample.com
alice@xexample.com
alice@com
alice@example.org
bob@example.org
Alice@EXAMPLE.org
root@example.org
root@sub.example.org
alice@sub.example.org
alice@a.sub.example.org
postmaster@sub.example.org
postmaster@example.org
postmaster@example.net
alice@example.net
alice@operator.example
alice@one.example
alice@sub.one.example
bob@two.example
alice@two.example
alice@deep.two.example
alice@very.deep.two.example
alice@xtwo.example
alice@localhost
root@mail.example.com
MAILER-DAEMON@mail.example.com
""".strip().split("\n")

# OpenDKIM takes the first address that it can make out; signet wants one
# author whom every reader sees.
DIFFERENT = {
    "two From fields": b"From: alice@example.com\r\nFrom: bob@example.net\r\n",
    "addresses of two domains":
        b"From: alice@example.com, bob@example.net\r\n",
    "an address that goes on": b"From: alice@example.com garbage\r\n",
}
UNSIGNED = {
    "no From": b"Sender: alice@example.com\r\n",
    "no address": b"From: undisclosed:;\r\n",
    "empty": b"From:\r\n",
    "no domain": b"From: alice\r\n",
}


def mail(head):
    return (head + b"To: Bob <bob@example.net>\r\n"
            b"Cc: carol@example.net,\r\n\tdave@example.net\r\n"
            b"Reply-To: desk@example.com\r\n"
            b"Subject: A  folded\r\n subject \r\n"
            b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
            b"Message-ID: <1@example.com>\r\n"
            b"MIME-Version: 1.0\r\n"
            b"Content-Type: text/plain\r\n"
            b"\r\n"
            b"Some text,  with spaces. \r\n\r\n.dot\r\n\r\n\r\n")


class Style:
    """One administrator's files, in a directory of their own, with keys."""

    def __init__(self, name, directory, keys):
        self.directory = os.path.join(directory, name)
        shutil.copytree(os.path.join(STYLES, name), self.directory)
        os.chmod(self.directory, 0o755)
        self.socket = "inet:%d@127.0.0.1" % signet.free_port()
        for path in os.listdir(self.directory):
            self.edit(path, lambda text: text.replace(
                "@DIR@", self.directory).replace("@SOCKET@", self.socket))
        for key in keys:
            self.key(key, keys[key])
        self.config = os.path.join(self.directory, "opendkim.conf")
        self.imported = os.path.join(self.directory, "signet.conf")

    def edit(self, name, change):
        path = os.path.join(self.directory, name)
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(change(text))

    def read(self):
        with open(self.config) as file:
            return file.read()

    def key(self, name, path):
        copy = os.path.join(self.directory, name + ".private")
        shutil.copyfile(path, copy)
        os.chmod(copy, 0o600)
        if os.getuid() == 0:
            os.chown(copy, pwd.getpwnam("nobody").pw_uid, -1)

    def import_it(self, code=0):
        done = signet.run("import", "opendkim", self.config, check=code)
        with open(self.imported, "wb") as file:
            file.write(done.stdout)
        return done.stderr.decode()


@pytest.fixture(scope="module")
def private_keys(session_directory):
    made = judge.Keys(os.path.join(session_directory, "import-keys"))
    return {name: made.make("keys.example", name.replace(".", "-"), "rsa",
                            bits=1024)
            for name in ("example", "example.org", "news", "operator")}


@pytest.fixture
def style(directory, private_keys):
    return lambda name: Style(name, directory, private_keys)


def there(socket, messages):
    """As OpenDKIM sends them on."""
    out = []
    with Milter(socket) as milter:
        for number, message in enumerate(messages):
            result = milter.message(message, begin=number == 0)
            assert result.verdict in ("continue", "accept"), result
            out.append(result.data)
    return out


def here(config, messages):
    def one(message):
        return signet.run("sign", "--time", str(TIME), stdin=message, check=0,
                          config=config).stdout
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, messages))


def signatures(data, oversigned=()):
    """What is said, in any order of tags; h= without its order, since what is
    there to be signed is the same."""
    found = []
    for tags in judge.signature_tags(data):
        tags = {name: re.sub(r"\s+", "", value)
                for name, value in tags.items()}
        tags.pop("b")
        tags["h"] = sorted(tags["h"].lower().split(":") + list(oversigned))
        # i= with the domain alone says what no i= says (RFC 6376 3.5).
        if tags.get("i") == "@" + tags["d"]:
            del tags["i"]
        found.append(sorted(tags.items()))
    return sorted(found)


@pytest.mark.parametrize("name", sorted(os.listdir(STYLES)))
def test_who_signs_what(style, started, name):
    made = style(name)
    is_good, said = check(made.config)
    assert is_good, said
    said = made.import_it()
    assert "NOT CARRIED" not in said
    assert signet.run("check-config", config=made.imported,
                      check=0).stdout == b""
    peer = OpenDkim(made.directory, made.read(), socket=made.socket,
                    env=CLOCK)
    started(peer)
    heads = [b"From: %s\r\n" % text.encode() for text in FROM]
    messages = [mail(head) for head in heads + list(UNSIGNED.values())]
    signed = 0
    # An empty list of signet's means its default, so From is always there.
    extra = [] if "OversignHeaders" in made.read() else ["from"]
    for message, theirs, ours in zip(messages, there(made.socket, messages),
                                     here(made.imported, messages)):
        expected = signatures(theirs, extra)
        if len(signatures(ours)) > 2:
            # OpenDKIM 2.11 loses those between the first and the last.
            assert len(expected) == 2
            expected = [one for one in signatures(ours) if one in expected]
            assert len(expected) == 2
            continue
        assert signatures(ours) == expected, message.split(b"\r\n")[0]
        signed += len(expected)
    assert signed > 10
