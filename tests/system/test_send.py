"""`signet send`: composes, signs and delivers at once, and says what became of
it. What was composed is read by Python's email package and judged by dkimpy."""

import email
import email.policy
import email.utils
import json
import os
import subprocess
import time

import dkim
import pytest

from harness import judge, signet
from harness.faulty import SILENCE, Receiver
from harness.names import NameServer
from harness.ports import free_port

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("send")

FROM = ("--from", "alice@example.com")
USUAL = FROM + ("--to", "bob@example.net", "--subject", "hello")


def recipient(argument):
    """RCPT, by the local part."""
    if "refused" in argument:
        return "550 5.1.1 no such user"
    if "later" in argument:
        return "450 4.2.0 greylisted"
    return None


class World:
    """Names, receivers of several kinds, and no relay."""

    def __init__(self, directory, keys, certificate):
        self.port = free_port()
        self.keys = keys
        self.directory = directory
        self.names = NameServer(directory, dict({
            "example.com": keys.zone("example.com"),
            "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2\n"
                           "sub IN MX 10 mx\n",
            "plain.example": "@ IN MX 10 mx\nmx IN A 127.0.0.3",
            "second.example": "@ IN MX 5 mx1\n@ IN MX 10 mx2\n"
                              "mx1 IN A 127.0.0.4\nmx2 IN A 127.0.0.3",
            "null.example": "@ IN MX 0 .",
            "none.example": "@ IN TXT nothing",
            "closed.example": "@ IN MX 10 mx\nmx IN A 127.0.0.4",
            "silent.example": "@ IN MX 10 mx\nmx IN A 127.0.0.5",
            "lost.example": "@ IN MX 10 mx\nmx IN A 127.0.0.6",
        }, **{"d%d.example" % i: "@ IN MX 10 mx.example.net."
              for i in range(30)}))
        extensions = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 100000000",
                      "ENHANCEDSTATUSCODES")
        self.good = Receiver(self.port, "127.0.0.2", tls="good",
                             certificate=certificate, extensions=extensions)
        self.plain = Receiver(self.port, "127.0.0.3",
                              replies={"RCPT": recipient})
        self.silent = Receiver(self.port, "127.0.0.5",
                               replies={"EHLO": SILENCE})
        self.lost = Receiver(self.port, "127.0.0.6",
                             replies={"END": SILENCE})
        self.path = self.configure("signet.conf")

    def configure(self, name, **parts):
        setup = signet.Setup(self.directory, self.keys, self.names.resolver,
                             mx_port=self.port)
        for part, text in parts.items():
            setattr(setup, part, text)
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(setup.text())
        return path

    def stop(self):
        for server in (self.good, self.plain, self.silent, self.lost,
                       self.names):
            server.stop()

    def run(self, *words, stdin=b"", check=0, config=None, **options):
        return signet.run("send", *words, stdin=stdin, check=check,
                          config=config or self.path, **options)

    def results(self, *words, **options):
        done = self.run(*words, "--json", **options)
        return {row["to"]: row for row in
                map(json.loads, done.stdout.splitlines())}

    def send(self, *words, stdin=b"", receiver=None, **options):
        """What arrived, parsed, and all of it."""
        receiver = receiver or self.good
        count = len(receiver.deliveries)
        self.run(*words, stdin=stdin, **options)
        assert len(receiver.deliveries) == count + 1
        data = receiver.deliveries[-1].data
        return email.message_from_bytes(
            data, policy=email.policy.default), data

    def judged(self, data):
        return [row[3] for row in
                judge.dkimpy(data, judge.lookup_txt(self.names.port))]


@pytest.fixture(scope="module")
def world(module_directory, keys, certificate):
    running = World(module_directory, keys, certificate)
    yield running
    running.stop()


@pytest.fixture
def file_of(directory):
    def make(content, name="file"):
        path = os.path.join(directory, name)
        with open(path, "wb") as file:
            file.write(content)
        return path
    return make


def text_of(part):
    return part.get_content().replace("\r\n", "\n")


def lines_of(data):
    assert b"\n" not in data.replace(b"\r\n", b"")
    return data.split(b"\r\n")


# ---- what is sent ----

def test_text_alone(world, file_of):
    message, data = world.send(
        *USUAL, "--text", file_of(b"Hello Bob,\n.\nfine.\n"))
    assert message["From"] == "alice@example.com"
    assert message["To"] == "bob@example.net"
    assert message["Subject"] == "hello"
    assert message["Cc"] is None and message["Bcc"] is None
    assert abs(email.utils.parsedate_to_datetime(message["Date"]).timestamp() -
               time.time()) < 600
    assert message["Message-ID"].endswith("@relay.example.com>")
    assert message["MIME-Version"] == "1.0"
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "us-ascii"
    assert message["Content-Transfer-Encoding"] == "7bit"
    assert data.endswith(b"\r\n\r\nHello Bob,\r\n.\r\nfine.\r\n")
    assert world.judged(data) == [True, True]
    assert world.good.deliveries[-1].sender == "alice@example.com"
    assert world.good.deliveries[-1].tls.startswith("TLSv1")


def test_text_html_and_attachments(world, file_of):
    text = "Grüße,\nand a long line: " + "x " * 300 + "\n"
    html = "<p>Grüße</p>\n"
    bytes_ = bytes(range(256)) * 9
    message, data = world.send(
        *USUAL, "--text", file_of(text.encode(), "t"),
        "--html", file_of(html.encode(), "h"),
        "--attach", file_of(bytes_, "all.bin"),
        "--attach", file_of(b"a,b\n1,2\n", "Table.CSV"),
        file_of(b"%PDF-1.4\n", "r.pdf"))
    assert message.get_content_type() == "multipart/mixed"
    body, *attached = message.iter_parts()
    assert body.get_content_type() == "multipart/alternative"
    plain, rich = body.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert text_of(plain) == text
    assert rich.get_content_type() == "text/html"
    assert text_of(rich) == html
    assert [(part.get_content_type(), part.get_filename(),
             part.get_content_disposition()) for part in attached] == [
        ("application/octet-stream", "all.bin", "attachment"),
        ("text/csv", "Table.CSV", "attachment"),
        ("application/pdf", "r.pdf", "attachment")]
    assert [part.get_payload(decode=True) for part in attached] == [
        bytes_, b"a,b\n1,2\n", b"%PDF-1.4\n"]
    assert not [part.defects for part in message.walk() if part.defects]
    assert max(map(len, lines_of(data))) <= 78
    assert data.isascii()
    assert world.judged(data) == [True, True]


@pytest.mark.parametrize("content, encoding", [
    (b"", "7bit"), (b"no line end", "7bit"), (b"\n\n", "7bit"),
    (b"x" * 78 + b"\n", "7bit"), (b"x" * 79 + b"\n", "quoted-printable"),
    (b"bare\rCR\n", "quoted-printable"), (b"nul\0\n", "quoted-printable"),
    ("fünf Bücher und vieles mehr\n".encode(), "quoted-printable"),
    ("Ελληνικά\n".encode() * 9, "base64"),
    (b"CRLF\r\nlines\r\n", "7bit"), (b"-\n--=_x\n From me\n", "7bit"),
    (b"Hello,\nFrom here on it is\n", "quoted-printable"),
    ("From München\n".encode() + b"x" * 75 + b"From here\n",
     "quoted-printable"),
], ids=["empty", "no line end", "empty lines", "78", "79", "CR", "NUL",
        "German", "Greek", "CRLF", "like a boundary",
        "like a mailbox's next message", "the same, broken"])
def test_encodings_of_text(world, file_of, content, encoding):
    message, data = world.send(*USUAL, "--html", file_of(content))
    assert message["Content-Transfer-Encoding"] == encoding
    lines = content.replace(b"\r\n", b"\n")
    if lines and not lines.endswith(b"\n"):
        lines += b"\n"
    assert message.get_payload(decode=True) == lines.replace(b"\n", b"\r\n")
    assert max(map(len, lines_of(data))) <= 78
    # A mailbox would make ">From " of it, and no signature would verify there.
    assert not any(line.startswith(b"From ") for line in lines_of(data))
    assert world.judged(data) == [True, True]


def test_attachments_alone(world, file_of):
    message, data = world.send(*USUAL, "--attach", file_of(b"", "empty.txt"))
    part, = message.iter_parts()
    assert part.get_payload(decode=True) == b""
    assert part.get_content_type() == "text/plain"
    assert world.judged(data) == [True, True]


def test_nothing_but_a_subject(world):
    message, data = world.send(*USUAL)
    assert message.get_content() == "" and data.endswith(b"\r\n\r\n")


def test_standard_input(world, file_of):
    message, _ = world.send(*USUAL, "--text", "-", stdin=b"from stdin\n")
    assert text_of(message) == "from stdin\n"
    message, _ = world.send(*USUAL, "--text", file_of(b"x\n"),
                            "--attach", "-", stdin=b"\0\1")
    assert [part.get_payload(decode=True)
            for part in message.iter_attachments()] == [b"\0\1"]


@pytest.mark.parametrize("subject", [
    "", "x", "Grüße aus Köln", "€" * 200, "word " * 60 + "end", "a" * 300,
    " spaces  kept ", "=?utf-8?Q?not_a_word?=", "x=?y", "tail?=",
    "\U0001f600 " * 30, "1: 2; \"3\" <4> (5)",
], ids=lambda subject: subject[:12] or "empty")
def test_subjects(world, subject):
    message, data = world.send(*FROM, "--to", "bob@example.net",
                               "--subject", subject)
    assert message["Subject"] == subject
    header = data.partition(b"\r\n\r\n")[0]
    assert header.isascii()
    assert max(map(len, lines_of(header))) <= 78
    assert world.judged(data) == [True, True]


@pytest.mark.parametrize("name", [
    "a b.txt", "Übersicht 2026.pdf", 'quote"back\\slash.txt', "x" * 200,
    "ü" * 100 + ".bin", "semi;colon='%20", "*"])
def test_names_of_attachments(world, file_of, name):
    message, data = world.send(*USUAL, "--attach", file_of(b"x", name))
    part, = message.iter_parts()
    assert part.get_filename() == name
    assert max(map(len, lines_of(data))) <= 78


def test_names_of_people(world):
    message, data = world.send(
        "--from", "Älice Smith <alice@example.com>",
        "--to", '"Smith, Bob" <bob@example.net>, carol@example.net',
        "--to=dave@example.net", "E. F. <ef@example.net>",
        "--cc", "Zoë <zoe@example.net>,  \"ü, v\" <uv@example.net>",
        "team: g@example.net, h@example.net;",
        "--bcc", "secret@example.net", "--bcc", "bob@EXAMPLE.net",
        "--subject", "x")
    assert [(one.display_name, one.addr_spec)
            for one in message["From"].addresses] == [
        ("Älice Smith", "alice@example.com")]
    assert [(one.display_name, one.addr_spec)
            for one in message["To"].addresses] == [
        ("Smith, Bob", "bob@example.net"), ("", "carol@example.net"),
        ("", "dave@example.net"), ("E. F.", "ef@example.net")]
    assert [(one.display_name, one.addr_spec)
            for one in message["Cc"].addresses] == [
        ("Zoë", "zoe@example.net"), ("ü, v", "uv@example.net"),
        ("", "g@example.net"), ("", "h@example.net")]
    delivery = world.good.deliveries[-1]
    assert sorted(delivery.recipients) == sorted(
        one + "@example.net" for one in (
            "bob", "carol", "dave", "ef", "zoe", "uv", "g", "h", "secret"))
    assert b"secret" not in data and b"Bcc" not in data
    assert max(map(len, lines_of(data))) <= 78
    assert world.judged(data) == [True, True]


def test_many_names(world):
    """Folded between them."""
    words = ["Person Number%d <p%d@example.net>" % (i, i) for i in range(60)]
    message, data = world.send(*FROM, "--to", ",".join(words), "--subject", "x")
    assert [str(one) for one in message["To"].addresses] == words
    assert max(map(len, lines_of(data))) <= 78
    assert len(world.good.deliveries[-1].recipients) == 60


def test_addresses_outside_ascii(world):
    """A domain becomes A-labels; a local part needs SMTPUTF8."""
    results = world.results(
        "--from", "Älice <älice@example.com>", "--to", "jürgen@example.net",
        "jürgen@plain.example", "--subject", "x", check=65)
    assert results["jürgen@example.net"]["delivered"] is True
    delivery = world.good.deliveries[-1]
    assert "SMTPUTF8" in delivery.parameters
    message = email.message_from_bytes(
        delivery.data, policy=email.policy.SMTPUTF8)
    assert message["To"].startswith("jürgen@example.net")
    assert world.judged(delivery.data) == [True, True]
    refused = results["jürgen@plain.example"]
    assert refused["delivered"] is False and refused["status"] == "5.6.7"
    done = world.run(*FROM, "--to", "bob@bücher.example", "--subject", "x",
                     "--json", "--timeout", "10s", check=None)
    assert json.loads(done.stdout)["to"] == "bob@xn--bcher-kva.example"


# ---- what is said ----

def test_json(world):
    before = len(world.good.deliveries)
    results = world.results(
        *FROM, "--to", "bob@example.net", "refused@plain.example",
        "later@plain.example", "fine@plain.example", "x@null.example",
        "x@none.example", "x@nope.example.net", "x@closed.example",
        "--subject", "x", "--timeout", "20s", check=65)
    delivery = world.good.deliveries[before]
    row = results.pop("bob@example.net")
    message = email.message_from_bytes(delivery.data)
    assert row == {
        "to": "bob@example.net", "domain": "example.net", "delivered": True,
        "outcome": "delivered", "mx": "mx.example.net",
        "address": "127.0.0.2:%d" % world.port, "tls": row["tls"],
        "certificate": row["certificate"], "status": row["status"],
        "reply": row["reply"], "from": "alice@example.com", "id": row["id"],
        "message_id": message["Message-ID"].strip("<>"),
        "size": len(delivery.data), "signatures": [
            {"domain": "example.com", "selector": "rsa",
             "algorithm": "rsa-sha256"},
            {"domain": "example.com", "selector": "ed",
             "algorithm": "ed25519-sha256"}]}
    assert row["tls"].startswith("TLSv1.3 TLS_")
    assert row["certificate"] not in ("", "verified")
    assert row["reply"].startswith("250 ")
    assert message["Message-ID"].startswith("<" + row["id"] + "@")
    told = {to: (one["delivered"], one["outcome"], one["status"])
            for to, one in results.items()}
    assert told == {
        "refused@plain.example": (False, "bounced", "5.1.1"),
        "later@plain.example": (False, "deferred", "4.2.0"),
        "fine@plain.example": (True, "delivered",
                               results["fine@plain.example"]["status"]),
        "x@null.example": (False, "bounced", "5.1.10"),
        "x@none.example": (False, "bounced", "5.4.4"),
        "x@nope.example.net": (False, "bounced", "5.1.2"),
        "x@closed.example": (False, "deferred", "4.4.1")}
    assert results["refused@plain.example"]["reply"] == \
        "550 5.1.1 no such user"
    assert results["refused@plain.example"]["tls"] == "none"
    assert results["x@null.example"]["mx"] == ""
    assert results["x@closed.example"]["address"] == \
        "127.0.0.4:%d" % world.port
    # One transaction for one destination.
    plain = world.plain.deliveries[-1]
    assert plain.recipients == ["fine@plain.example"]


def test_words(world):
    done = world.run(*FROM, "--to", "bob@example.net", "refused@plain.example",
                     "--subject", "x", check=65)
    lines = sorted(done.stdout.decode().splitlines())
    assert lines[0].startswith(
        "bob@example.net: delivered: mx.example.net (127.0.0.2:%d, TLSv1.3 "
        "TLS_" % world.port)
    assert "): 250 " in lines[0]
    assert lines[1] == (
        "refused@plain.example: not delivered, refused: mx.plain.example "
        "(127.0.0.3:%d, no TLS): 550 5.1.1 no such user" % world.port)
    assert done.stderr == b""


@pytest.mark.parametrize("words, code", [
    (("bob@example.net",), 0),
    (("bob@example.net", "refused@plain.example"), 65),
    (("later@plain.example", "refused@plain.example"), 65),
    (("bob@example.net", "later@plain.example"), 75),
    (("x@closed.example", "later@plain.example"), 75),
    (("bob@example.net", "x@closed.example"), 69),
    (("x@null.example",), 65),
], ids=["all", "one refused", "refused and later", "later",
        "later and out of reach", "out of reach", "null MX"])
def test_exit_codes(world, words, code):
    world.run(*FROM, "--to", *words, "--subject", "x", check=code)


def test_the_next_host_is_asked(world):
    results = world.results(*FROM, "--to", "bob@second.example",
                            "--subject", "x")
    assert results["bob@second.example"]["mx"] == "mx2.second.example"


def test_the_time_given(world):
    """A host that says nothing costs no more than that; others are not held
    up, and what may have been taken is not said to be refused."""
    began = time.monotonic()
    results = world.results(
        *FROM, "--to", "x@silent.example", "x@lost.example",
        "bob@example.net", "--subject", "x", "--timeout", "2s", check=69)
    assert time.monotonic() - began < 60, "for minutes, without"
    assert results["bob@example.net"]["delivered"] is True
    assert results["x@silent.example"]["status"] == "4.4.2"
    assert "took too long" in results["x@silent.example"]["reply"]
    assert "may be sent twice" in results["x@lost.example"]["reply"]


def test_results_are_told_as_they_are_known(world):
    """What is delivered is told while another host keeps silent."""
    process = subprocess.Popen(
        [signet.binary(), "-c", world.path, "send", *FROM,
         "--to", "x@silent.example", "bob@example.net", "--subject", "x"],
        stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline().startswith(
            b"bob@example.net: delivered")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_many_destinations(world):
    """More than there may be connections to the same hosts at once."""
    path = world.configure("few.conf", delivery="max_host_connections = 2")
    before = len(world.good.deliveries)
    results = world.results(
        *FROM, "--to", *["x@d%d.example" % i for i in range(30)],
        "--subject", "x", config=path)
    assert len(results) == 30
    assert all(row["delivered"] for row in results.values())
    assert len(world.good.deliveries) == before + 30


def test_a_large_attachment(world, file_of):
    content = os.urandom(1 << 20) * 20
    message, data = world.send(*USUAL, "--attach", file_of(content, "20.bin"),
                               timeout=90)
    part, = message.iter_parts()
    assert part.get_payload(decode=True) == content
    assert dkim.DKIM(data).verify(
        idx=0, dnsfunc=judge.lookup_txt(world.names.port))


# ---- as the relay would ----

def test_policies_of_the_configuration(world):
    """TLS, routes and limits are the relay's."""
    verify = world.configure("verify.conf", delivery='tls = "verify"')
    row = world.results(*USUAL, config=verify, check=75)["bob@example.net"]
    assert row["outcome"] == "deferred" and row["status"] == "4.7.5"
    required = world.configure("required.conf", delivery='tls = "required"')
    row = world.results(*FROM, "--to", "x@plain.example", "--subject", "x",
                        config=required, check=75)["x@plain.example"]
    assert row["status"] == "4.7.4"
    route = world.configure(
        "route.conf",
        extra='route "example.net" { via = "127.0.0.3:%d" }' % world.port)
    row = world.results(*USUAL, config=route)["bob@example.net"]
    assert row["address"] == "127.0.0.3:%d" % world.port
    by_sender = world.configure(
        "sender.conf", extra='route "*" { from = {"alice@example.com"} via = '
        '"127.0.0.3:%d" }' % world.port)
    row = world.results(*USUAL, config=by_sender)["bob@example.net"]
    assert row["address"] == "127.0.0.3:%d" % world.port
    few = world.configure("limits.conf", limits="max_recipients = 1")
    done = world.run(*FROM, "--to", "a@example.net", "b@example.net",
                     "--subject", "x", config=few, check=65)
    assert b"limits.max_recipients" in done.stderr


def test_a_password(world, directory):
    """SASL at a smarthost."""
    secret = os.path.join(directory, "secret")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("wonderland\n")
    said = []
    port = free_port()

    def auth(argument):
        said.append(argument)
        return "235 2.7.0 welcome"

    host = Receiver(port, "127.0.0.7", replies={"AUTH": auth},
                    extensions=("AUTH PLAIN",))
    path = world.configure("login.conf", delivery=(
        'smarthost = "127.0.0.7:%d"\nauth_user = "alice"\n'
        'auth_password_file = "%s"\nauth_without_tls = true' %
        (port, secret)))
    try:
        world.run(*USUAL, config=path)
        assert said == ["PLAIN AGFsaWNlAHdvbmRlcmxhbmQ="]
        assert len(host.deliveries) == 1
    finally:
        host.stop()


def test_mail_that_nobody_signs(world):
    words = ("--from", "alice@elsewhere.example", "--to", "bob@example.net",
             "--subject", "x")
    done = world.run(*words)
    assert b"not signed" in done.stderr
    assert b"DKIM-Signature" not in world.good.deliveries[-1].data
    count = len(world.good.deliveries)
    path = world.configure("reject.conf", signing='unsigned = "reject"')
    done = world.run(*words, config=path, check=65)
    assert b"nobody signs it" in done.stderr and done.stdout == b""
    assert len(world.good.deliveries) == count


@pytest.mark.parametrize("redirection", (">/dev/full", ">&-"))
def test_results_that_nobody_takes(world, redirection):
    """It is not to be sent again for that."""
    count = len(world.good.deliveries)
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" ' + redirection, "sh", signet.binary(), "-c",
         world.path, "send", *USUAL], stderr=subprocess.PIPE, timeout=60)
    assert len(world.good.deliveries) == count + 1
    assert done.returncode == 74, done.stderr
    assert b"cannot write to standard output" in done.stderr


# ---- what is refused ----

@pytest.mark.parametrize("words", [
    (), FROM, FROM + ("--subject", "x"), ("--to", "b@example.net"),
    USUAL + ("stray",), USUAL + ("--subject", "again"),
    USUAL + ("--subject",), USUAL + ("--nope",), USUAL + ("--json=1",),
    USUAL + ("--text", "-", "--html", "-"), USUAL + ("--timeout", "soon"),
    USUAL + ("--timeout", "0s"), USUAL + ("--timeout", "5"),
    FROM + ("--to", "no address", "--subject", "x"),
    FROM + ("--to", "local", "--subject", "x"),
    FROM + ("--to", "", "--subject", "x"),
    FROM + ("--to", "a@example.net;b@example.net", "--subject", "x"),
    ("--from", "", "--to", "b@example.net", "--subject", "x"),
    ("--from", "a@example.com, b@example.com", "--to", "b@example.net",
     "--subject", "x"),
    FROM + ("--to", "b@example.net", "--subject", "x\r\nBcc: c@example.net"),
    FROM + ("--to", "b@example.net", "--subject", "x\ny"),
    FROM + ("--to", "b@example.net\nX: y", "--subject", "x"),
    FROM + ("--to", "Bob\r\n <b@example.net>", "--subject", "x"),
    ("--from", "A\n <a@example.com>", "--to", "b@example.net",
     "--subject", "x"),
    FROM + ("--to", "b@example.net", "--subject", "tab\there"),
    FROM + ("--to", "b@example.net", "--subject", b"\xff"),
    USUAL + ("--attach", "/tmp/a\nX: y"),
])
def test_arguments(world, words):
    """Refused before the configuration is looked for."""
    done = world.run(*words, config="/nonexistent", check=64)
    assert b"usage: signet" in done.stderr
    assert done.stderr.startswith(b"signet: send: ")
    assert done.stdout == b""


def test_files(world, directory, file_of):
    count = len(world.good.deliveries)
    done = world.run(*USUAL, "--text", directory + "/nothing", check=65)
    assert b"No such file" in done.stderr
    done = world.run(*USUAL, "--attach", directory, check=65)
    assert b"a directory" in done.stderr
    done = world.run(*USUAL, "--text", file_of(b"caf\xe9\n"), check=65)
    assert b"not UTF-8" in done.stderr
    path = world.configure("small.conf",
                           limits='max_message_size = "100K"')
    done = world.run(*USUAL, "--attach", "/dev/zero", config=path, check=65)
    assert b"limits.max_message_size" in done.stderr
    done = world.run(*USUAL, "--attach", file_of(b"x" * 90000), config=path,
                     check=65)
    assert b"limits.max_message_size" in done.stderr
    assert len(world.good.deliveries) == count


def test_files_of_others(world, directory, file_of):
    if os.getuid() != 0:
        pytest.skip("not root")
    secret = file_of(b"secret\n")
    os.chmod(secret, 0o600)
    path = world.configure("plain.conf", domains={})
    for words in (("--text", secret), ("--attach", secret)):
        done = signet.run_as("nobody", directory, "-c", path, "send", *USUAL,
                             *words)
        assert done.returncode == 77 and b"ermission" in done.stderr, done
    # The keys are somebody else's.
    done = signet.run_as("nobody", directory, "-c", world.path, "send", *USUAL)
    assert done.returncode == 77, done


def test_a_configuration_without_keys(world):
    path = world.configure("nokey.conf", domains={"example.com": ["gone"]})
    done = world.run(*USUAL, config=path, check=78)
    assert b"gone" in done.stderr
    done = world.run(*USUAL, config="/nonexistent", check=78)
    assert done.stdout == b""


def test_root_becomes_the_relays_user(world, file_of):
    """Before anything is heard from a foreign host."""
    if os.getuid() != 0:
        pytest.skip("not root")
    path = file_of(b"for root only\n")
    os.chmod(path, 0o600)
    process = subprocess.Popen(
        [signet.binary(), "-c", world.path, "send", *FROM,
         "--to", "x@silent.example", "bob@example.net", "--subject", "x",
         "--text", path], stdout=subprocess.PIPE)
    try:
        assert b"bob@example.net: delivered" in process.stdout.readline()
        with open("/proc/%d/status" % process.pid) as file:
            status = dict(line.split(":", 1) for line in file)
        assert "0" not in status["Uid"].split()
        assert status["CapEff"].strip() == "0000000000000000"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
