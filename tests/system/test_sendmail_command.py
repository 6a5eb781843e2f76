"""`signet sendmail`: what programs know as sendmail(8)."""

import email
import email.header
import email.utils
import os
import pwd
import re
import socket
import subprocess

import pytest

from harness import judge, signet
from harness.faulty import Receiver
from harness.names import NameServer
from harness.ports import free_port

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("sendmail_command")

ALICE = ("-f", "alice@example.com")
OWN = pwd.getpwuid(os.getuid()).pw_name


class Program:
    """A relay that takes what `signet sendmail` hands it, its next hop, and
    the names."""

    def __init__(self, directory, keys, certificate):
        self.names = NameServer(directory, {
            "example.com": keys.zone("example.com"),
            "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"})
        self.setup = signet.Setup(directory, keys, self.names.resolver,
                                  mx_port=free_port())
        self.setup.extra = 'route "relay.example.com" { via = ' \
            '"127.0.0.2:%d" }' % self.setup.mx_port
        self.receiver = Receiver(self.setup.mx_port, "127.0.0.2",
                                 certificate=certificate)
        self.relay = signet.Relay(self.setup)

    def stop(self):
        self.relay.stop()
        self.relay.discard()
        self.receiver.stop()
        self.names.stop()

    def accepted(self):
        return len(self.relay.named("accepted"))

    def run(self, *words, stdin=b"", check=0, **options):
        return signet.run("sendmail", *words, stdin=stdin, check=check,
                          config=self.setup.path, **options)

    def send(self, *words, stdin=b""):
        """The accepted event, and what arrived."""
        count = self.accepted()
        done = self.run(*words, stdin=stdin)
        assert done.stdout == b""
        accepted = self.relay.wait("accepted", count=count + 1)
        self.relay.wait("delivered", id=accepted["id"],
                        count=len(accepted["recipients"]))
        arrived = [delivery for delivery in self.receiver.deliveries
                   if accepted["id"].encode() in delivery.data]
        return accepted, arrived[0]


@pytest.fixture(scope="module")
def program(module_directory, keys, certificate):
    running = Program(module_directory, keys, certificate)
    yield running
    running.stop()


def test_a_message_that_verifies(program):
    accepted, arrived = program.send(
        "-i", *ALICE, "bob@example.net",
        stdin=b"From: alice@example.com\nTo: bob@example.net\n"
        b"Subject: hello\n\nGr\xc3\xbc\xc3\x9fe\n.\nand on\n")
    assert accepted["from"] == "alice@example.com"
    assert accepted["recipients"] == ["bob@example.net"]
    assert arrived.data.endswith(
        b"\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n.\r\nand on\r\n")
    results = judge.dkimpy(arrived.data, judge.lookup_txt(program.names.port))
    assert sorted(row[3] for row in results) == [True, True]
    received = email.message_from_bytes(arrived.data).get_all("Received")
    assert "from userid %d" % os.getuid() in received[-1]


def test_recipients_of_the_fields(program):
    """-t: To, Cc and Bcc, of which the last does not go out."""
    accepted, arrived = program.send(
        "-t", "-i", *ALICE, "dave@example.net",
        stdin=b"From: alice@example.com\n"
        b"To: Bob <bob@example.net>, team: carol@example.net,\n"
        b" \"E. F.\" <e.f@example.net>;\nCC: bob@example.net\n"
        b"Bcc: secret@example.net,\n hidden@example.net\nSubject: x\n\nx\n")
    assert sorted(accepted["recipients"]) == [
        "bob@example.net", "carol@example.net", "dave@example.net",
        "e.f@example.net", "hidden@example.net", "secret@example.net"]
    header = arrived.data.lower().partition(b"\r\n\r\n")[0]
    assert b"secret" not in header and b"hidden" not in header
    assert b"\r\nto: bob <bob@example.net>, team:" in header


def test_recipients_of_a_message_sent_again(program):
    """By what resends it, whatever it was before."""
    for to in (b"bob@example.net", b"undisclosed recipients",
               b"\"a\n b\"@example.net"):
        for fields in ((b"To: " + to, b"Resent-To: carol@example.net"),
                       (b"Resent-To: carol@example.net", b"Cc: " + to)):
            accepted, _ = program.send(
                "-t", *ALICE, stdin=b"From: alice@example.com\n" +
                b"\n".join(fields) +
                b"\nResent-From: alice@example.com\n\nx\n")
            assert accepted["recipients"] == ["carol@example.net"]
    program.run("-t", *ALICE, stdin=b"To: bob@example.net\n"
                b"Resent-To: a b@example.net\n\nx\n", check=65)


@pytest.mark.parametrize("stdin, body, name", [
    (b"only text\nmore\n", b"only text\r\nmore\r\n", None),
    (b"\nbody\n", b"body\r\n", None),
    (b"Subject: s\nno field\nX: y\n", b"no field\r\nX: y\r\n", "s"),
    (b"From root Sun Nov 22 07:00:00 2026\nSubject: s\n\nx\n", b"x\r\n", "s"),
    (b"Subject: s\n\nno line end", b"no line end\r\n", "s"),
    (b"Subject: s\r\n\r\nCRLF\r\n", b"CRLF\r\n", "s"),
    (b"Subject: only", b"", "only"),
    (b"", b"", None),
    (b"Subject: s\n\nx\n.\nnever\n", b"x\r\n", "s"),
    (b"Subject: s\n\nx\n..\n .\n", b"x\r\n..\r\n .\r\n", "s"),
    (b"Subject: s\n.\nnever\n", b"", "s"),
    (b"Subject: a\rb\n\nbare\rCR\nnul\0x\n\r.\nlast\r",
     b"bare CR\r\nnul x\r\n .\r\nlast \r\n", "a b"),
    (b"Subject: s\r\n\r\nbare\rCR\r\n" + b"x\r\n" * 30000 + b"\0\r\n",
     b"bare CR\r\n" + b"x\r\n" * 30000 + b" \r\n", "s"),
    (b"Subject: s\n\n" + b"x" * 70 + b"\n.x\n.", b"x" * 70 + b"\r\n.x\r\n",
     "s"),
], ids=["text only", "empty header", "no empty line", "mbox", "no line end",
        "CRLF", "only a field", "nothing", "dot", "dots", "dot in the header",
        "CR and NUL", "CR and NUL far in", "dot at the end"])
def test_what_programs_write(program, stdin, body, name):
    _, arrived = program.send(*ALICE, "bob@example.net", stdin=stdin)
    header, _, rest = arrived.data.partition(b"\r\n\r\n")
    parsed = email.message_from_bytes(header)
    assert rest == body
    assert parsed["Subject"] == name
    assert parsed["From"] == "alice@example.com"
    assert parsed["Date"] and parsed["Message-ID"]


@pytest.mark.parametrize("words, sender, name, address", [
    ((), OWN + "@relay.example.com", None, OWN + "@relay.example.com"),
    (("-F", "Print, Server"), OWN + "@relay.example.com", "Print, Server",
     OWN + "@relay.example.com"),
    (("-F", "Büro im zweiten Stock, das für alle Gäste offen ist"),
     OWN + "@relay.example.com",
     "Büro im zweiten Stock, das für alle Gäste offen ist",
     OWN + "@relay.example.com"),
    (("-r", "printer"), "printer@relay.example.com", "",
     "printer@relay.example.com"),
    (("-f", "<>"), "", "", "MAILER-DAEMON@relay.example.com"),
    (("-f", ""), "", "", "MAILER-DAEMON@relay.example.com"),
])
def test_who_sends(program, words, sender, name, address):
    accepted, arrived = program.send(*words, "bob@example.net",
                                     stdin=b"Subject: s\n\nx\n")
    assert accepted["from"] == sender
    field = email.message_from_bytes(arrived.data)["From"]
    shown, found = email.utils.parseaddr(field)
    assert found == address
    assert name is None or name == str(
        email.header.make_header(email.header.decode_header(shown)))


def test_names_without_a_domain_are_of_this_machine(program):
    accepted, arrived = program.send(
        *ALICE, "root", "x@example.net, Bob <bob>",
        stdin=b"From: root (Cron Daemon)\n\nx\n")
    assert sorted(accepted["recipients"]) == [
        "bob@relay.example.com", "root@relay.example.com", "x@example.net"]
    assert email.message_from_bytes(arrived.data)["From"] == \
        '"Cron Daemon" <root@relay.example.com>'


@pytest.mark.parametrize("words, stdin, code, said", [
    (("-t",), b"Subject: nobody\n\nx\n", 65, "names no recipient"),
    (("-t",), b"To: \"a\n b\"@example.net\n\nx\n", 65, "To: "),
    (("-t",), b"To: a@example.net b@example.net\n\nx\n", 65, "To: "),
    (("bob@example.net\r\nRCPT TO:<x@example.net>",), b"x\n", 65,
     "recipient"),
    (("-f", "a b", "bob@example.net"), b"x\n", 65, "sender"),
    ((), b"x\n", 64, "no recipients"),
    (("-bd",), b"", 64, "signet relay"),
    (("-qRexample.net",), b"", 64, "queue retry"),
    (("-Z", "bob@example.net"), b"", 64, "-Z: an unknown flag"),
    (("-N", "sometimes", "bob@example.net"), b"", 64, "-N sometimes"),
])
def test_refused(program, words, stdin, code, said):
    count = program.accepted()
    done = program.run(*words, stdin=stdin, check=code)
    assert done.stderr.startswith(b"signet: sendmail: ")
    assert said in done.stderr.decode()
    assert program.accepted() == count


def test_one_refused_recipient_stops_all(program):
    count = program.accepted()
    done = program.run(*ALICE, "bob@example.net", "x@[1.2.3.4.5]",
                       stdin=b"x\n", check=65)
    assert b"x@[1.2.3.4.5]" in done.stderr, done.stderr
    assert program.accepted() == count


def test_flags_that_programs_give(program):
    """PHP, cron, git and others."""
    for words in (("-t", "-i"), ("-oi", "-oem", "-odb", "-t"),
                  ("-FCronDaemon", "-i", "-B8BITMIME", "-oem"),
                  ("-bm", "-O", "DeliveryMode=b", "-h", "3", "--"),
                  ("-OIgnoreDots=true", "-oiTrue")):
        accepted, _ = program.send(
            *ALICE, *words, "bob@example.net",
            stdin=b"From: alice@example.com\n\nx\n")
        assert accepted["recipients"] == ["bob@example.net"]


def test_reports_as_asked(program):
    done = program.run(*ALICE, "-N", "success,delay", "-R", "hdrs", "-V",
                       "batch-7", "-v", "bob@example.net", stdin=b"\nx\n")
    said = done.stderr.decode()
    assert "RET=hdrs ENVID=batch-7" in said
    assert "RCPT TO:<bob@example.net> NOTIFY=success,delay" in said


def test_the_dialogue(program):
    """Line by line, each reply with its code."""
    done = program.run(*ALICE, "-v", "bob@example.net", stdin=b"\nx\n")
    said = done.stderr.decode().splitlines()
    assert all(re.match(r">>> |<<< \d\d\d[ -]", line) for line in said), said
    assert said[0].startswith("<<< 220 ") and said[1].startswith(">>> EHLO ")
    hello = said[2:said.index(">>> QUIT") if ">>> QUIT" in said else None]
    offered = [line for line in hello if line.startswith("<<< 250-")]
    assert "<<< 250-PIPELINING" in offered, said
    assert any(line.startswith("<<< 354 ") for line in said), said
    assert re.match(r"<<< 250 2\.\S+ .*", said[said.index(">>> .") + 1]), said


def test_links(program, directory):
    """As /usr/sbin/sendmail, mailq and newaliases."""
    config = program.setup.path
    path = {}
    for name in ("sendmail", "mailq", "newaliases"):
        path[name] = os.path.join(directory, name)
        os.symlink(signet.binary(), path[name])
    assert subprocess.run([path["newaliases"]]).returncode == 0
    # A link has no words of ours: its configuration is the default one.
    assert subprocess.run([path["sendmail"], "-bd"],
                          stderr=subprocess.DEVNULL).returncode == 64
    done = subprocess.run([path["mailq"], "-v"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.returncode in (0, 78), done
    listed = program.run("-bp")
    assert listed.stdout == signet.run("queue", "list", config=config).stdout


def test_session_on_standard_input(program):
    done = program.run("-bs", stdin=b"HELO x\r\nMAIL FROM:<alice@example.com>"
                       b"\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
    codes = [line[:3] for line in done.stdout.decode().splitlines()]
    assert codes[:5] == ["220", "250", "250", "250", "354"]
    done = program.run("-bs", stdin=b"HELO x\r\nQUIT\r\n")
    assert done.stdout.decode().splitlines()[-1].startswith("221")
    # A batch has nobody who would wait for replies.
    text = b"From: alice@example.com\r\n\r\nDATA\r\n..\r\n"
    done = program.run("-bs", stdin=b"".join((
        b"EHLO x\r\nNOOP\r\nMAIL FROM:<alice@example.com>\r\n"
        b"RCPT TO:<bob@example.net>\r\nDATA\r\n", text, b".\r\n"
        b"MAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@example.net>\r\n"
        b"BDAT 10\r\n", text[:10], b"BDAT %d LAST\r\n" % (len(text) - 10),
        text[10:], b"QUIT\r\n")))
    replies = [line for line in done.stdout.decode().splitlines()
               if line[3:4] == " "]
    assert [line[:3] for line in replies] == \
        "220 250 250 250 250 354 250 250 250 250 250 221".split()
    assert sum("queued as" in line for line in replies) == 2, replies


def test_more_recipients_than_the_relay_takes_at_once(world):
    world.setup.limits = "max_recipients = 3"
    world.start()
    to = ["user%d@example.net" % i for i in range(8)]
    signet.run("sendmail", *ALICE, *to, stdin=b"x\n", check=0,
               config=world.setup.path)
    world.relay.wait("delivered", count=8)
    accepted = world.relay.named("accepted")
    assert [len(event["recipients"]) for event in accepted] == [3, 3, 2]
    assert sorted(sum((event["recipients"] for event in accepted), [])) == to


def test_more_recipients_than_one_connection_takes(world):
    """Each of them once."""
    world.setup.limits = "max_recipients = 3  max_messages_per_session = 2"
    world.start()
    to = ["user%d@example.net" % i for i in range(20)]
    signet.run("sendmail", *ALICE, *to, stdin=b"x\n", check=0,
               config=world.setup.path)
    world.relay.wait("delivered", count=20)
    accepted = world.relay.named("accepted")
    assert [len(event["recipients"]) for event in accepted] == [3] * 6 + [2]
    assert sorted(sum((event["recipients"] for event in accepted),
                      [])) == sorted(to)


def test_where_no_relay_is(setup):
    configured = setup()
    configured.write()
    done = signet.run("sendmail", "bob@example.net", stdin=b"x\n", check=69,
                      config=configured.path)
    assert b"is `signet relay` running?" in done.stderr
    configured.listener = 'auth = "required" auth_file = "users" ' \
                          'auth_without_tls = true'
    with open(os.path.join(os.path.dirname(configured.path), "users"),
              "w") as file:
        file.write("")
    configured.write()
    done = signet.run("sendmail", "bob@example.net", stdin=b"x\n", check=78,
                      config=configured.path)
    assert b"no listener takes mail" in done.stderr


def test_what_does_not_speak_smtp(setup):
    """And what hangs up."""
    configured = setup()
    configured.write()
    for words, code in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", 75), (b"", 75),
                        (b"421 4.3.2 too busy\r\n", 75),
                        (b"554 5.7.1 go away\r\n", 65)):
        with socket.create_server(("127.0.0.1", configured.port)) as server:
            running = subprocess.Popen(
                [signet.binary(), "-c", configured.path, "sendmail",
                 "bob@example.net"], stdin=subprocess.PIPE,
                stderr=subprocess.PIPE)
            running.stdin.write(b"x\n")
            running.stdin.close()
            peer, _ = server.accept()
            peer.sendall(words)
            peer.close()
            assert running.wait(60) == code, running.stderr.read()
            running.stderr.close()
