"""Devices that write From: "printer@localhost": with an identity that is ours
their mail is signed, and aligned as DMARC (RFC 7489 3.1) wants it."""

import email.message
import email.policy
import smtplib
import subprocess

import pytest

from harness import judge, signet
from harness.ports import free_port
from harness.smtp import Client, message, submit

FIXED = 'rewrite_from = "scanner@example.com"\n' \
    'rewrite_sender = "bounces@example.com"\n'
KEPT = 'rewrite_from = "*@example.com" rewrite_sender = "*@example.com"\n'
BODY = b"\r\nHello.\r\n.\r\nFrom: x\r\n"


@pytest.fixture
def devices(world):
    """Listeners that rewrite: apps to one address, "kept" the domain only,
    "always" even what needs it not."""
    world.kept, world.always = free_port(), free_port()
    world.setup.listener = FIXED
    world.setup.signing = 'unsigned = "reject"'
    world.setup.extra = (
        'listener "kept" { address = "127.0.0.1:%d"\n %s }\n'
        'listener "always" { address = "127.0.0.1:%d"\n %s\n'
        'rewrite_when = "always" }\n' % (world.kept, KEPT, world.always, FIXED))
    return world.start()


def parsed(data):
    return email.message_from_bytes(data, policy=email.policy.default)


def arrived(world, keys, count=1):
    """The last of so many: signed by both keys as its author's domain."""
    one = world.receiver.wait_deliveries(count)[count - 1]
    verdicts = judge.dkimpy(one.data, judge.lookup_in(keys.records))
    authors = parsed(one.data)["From"].addresses
    assert len(authors) == 1, one.data
    assert [(verdict.domain, verdict.passed) for verdict in verdicts] == \
        [(authors[0].domain, True)] * 2, verdicts
    if one.sender:
        assert one.sender.rpartition("@")[2] == authors[0].domain
    return one, parsed(one.data)


def event_of(world, count=1):
    return world.relay.wait("accepted", count=count)


DEVICES = (
    # port, MAIL FROM, header, and then: envelope, From, Reply-To
    ("port", "printer@localhost",
     b'From: "Office printer" <printer@localhost>\r\n',
     "bounces@example.com", "Office printer <scanner@example.com>", None),
    ("port", "scanner@192.168.1.5", b"From: scanner@192.168.1.5\r\n",
     "bounces@example.com", "scanner@example.com", None),
    ("port", "", b"From: printer@[192.168.1.5]\r\n",
     "", "scanner@example.com", None),
    ("port", "printer", b"From: printer\r\n",
     "bounces@example.com", "scanner@example.com", None),
    ("port", "Canon iR-ADV", b"Subject: scan\r\n",
     "bounces@example.com", "scanner@example.com", None),
    ("port", "a@example.com", b"From: A <a@example.com>\r\n",
     "a@example.com", "A <a@example.com>", None),
    ("port", "a@example.org",
     b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\n"
     b"Sender: s@localhost\r\n",
     "bounces@example.com", "J\u00fcrgen <scanner@example.com>",
     "j@example.org"),
    ("port", "a@example.org", b"From: a@example.org, b@localhost,\r\n"
     b" c@example.net\r\n",
     "bounces@example.com", "scanner@example.com",
     "a@example.org, c@example.net"),
    ("port", "a@example.org", b"From: a@example.org\r\nFrom: b@example.org\r\n"
     b"Reply-To: r@example.org\r\n",
     "bounces@example.com", "scanner@example.com", "r@example.org"),
    ("kept", "root@localhost", b"From: root (Cron Daemon)\r\n",
     "root@example.com", "Cron Daemon <root@example.com>", None),
    ("kept", "a:b@[x]", b"From: \"a b\"@localhost\r\n",
     "postmaster@example.com", "postmaster@example.com", None),
    ("always", "a@example.com", b"From: A <a@example.com>\r\n",
     "bounces@example.com", "A <scanner@example.com>", "a@example.com"),
)


def test_devices(devices, keys):
    ports = {"port": devices.relay.port, "kept": devices.kept,
             "always": devices.always}
    for number, row in enumerate(DEVICES, 1):
        port, sender, header, envelope, author, reply_to = row
        submit(ports[port], b"To: bob@example.net\r\n" + header + BODY, sender)
        one, mail = arrived(devices, keys, number)
        assert one.sender == envelope, row
        assert str(mail["From"]) == author, row
        assert mail["Reply-To"] == reply_to, row
        assert mail["Sender"] is None
        assert one.data.endswith(BODY)
        event = event_of(devices, number)
        changed = event["changed"]
        assert event["from"] == envelope
        assert ("envelope sender rewritten" in changed) == \
            (envelope != sender), (row, changed)
        assert ("From rewritten" in changed) == \
            (b"From:" in header and author != "A <a@example.com>")
        assert ("From added" in changed) == (b"From:" not in header)
        assert ("Reply-To added" in changed) == \
            (reply_to is not None and b"Reply-To" not in header)
        assert ("Sender removed" in changed) == (b"Sender" in header)
    assert "; the sender was printer@localhost; From was \"Office printer\" " \
        "<printer@localhost>" in event_of(devices, 1)["reason"]


def test_what_must_stay(devices, keys):
    """Reports, and what is signed already; who refuses unsigned mail then
    refuses those that are nobody's here."""
    signed = signet.run("sign", config=devices.setup.path, stdin=message(),
                        check=0).stdout
    report = (b"From: MAILER-DAEMON@host.example.com\r\n"
              b"Content-Type: multipart/report; boundary=b\r\n" + BODY)
    for sender, data in (
            ("", report),
            ("", b"From: a@localhost\r\nAuto-Submitted: auto-replied\r\n" +
             BODY),
            ("a@localhost", signed.replace(b"From: Alice", b"From: Mallory")
             .replace(b"alice@example.com", b"alice@localhost"))):
        with Client(devices.relay.port) as client:
            client.ehlo()
            code, lines = client.transaction(sender, ["bob@example.net"],
                                             data)
            assert (code, lines[-1][:5]) == (550, "5.7.1"), lines
    submit(devices.always, signed)
    one = devices.receiver.wait_deliveries(1)[0]
    assert one.sender == "bounces@example.com"
    assert all(verdict.passed for verdict in
               judge.dkimpy(one.data, judge.lookup_in(keys.records)))
    event = event_of(devices)
    assert event["changed"] == ["envelope sender rewritten"]
    assert "; From stays: the message carries a signature" in event["reason"]
    with Client(devices.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<a\x01b>", 553, "5.1.7")
        client.expect("MAIL FROM:<a b> XWHAT=1", 555, "5.5.4")
        client.expect("MAIL FROM:<a b", 553, "5.1.7")


def test_what_is_mended_besides(devices, keys):
    """The second pass takes what the first has made."""
    data = (b"Bcc: x@example.net\r\nFrom: p@localhost\r\nX-Long: " +
            b"word " * 300 + b"\r\n\r\n" + b"x" * 3000 + b"\r\n")
    with Client(devices.relay.port) as client:
        client.ehlo()
        client.expect("MAIL FROM:<p>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        for start in range(0, len(data), 7):  # cut anywhere
            piece = data[start:start + 7]
            client.send(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if
                        start + 7 >= len(data) else b"") + piece)
            assert client.reply()[0] == 250
    one, mail = arrived(devices, keys)
    assert mail["From"] == "scanner@example.com" and mail["Bcc"] is None
    assert set(event_of(devices)["changed"]) >= {
        "envelope sender rewritten", "From rewritten", "Bcc removed",
        "long header lines folded", "Date added", "Message-ID added"}
    assert max(map(len, one.data.split(b"\r\n"))) <= 998
    assert sum(one.data.count(b"\r\n" + name + b":") for name in
               (b"From", b"Date", b"Message-ID")) == 3


def run(*command, stdin):
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, done.stdout


def msmtp(port):
    run("msmtp", "--file=/dev/null", "--host=127.0.0.1", "--port=%d" % port,
        "--from=root@localhost", "bob@example.net",
        stdin=b"From: root (Cron Daemon)\nTo: root\nSubject: x\n\nHello.\n")


def swaks(port):
    run("swaks", "--server", "127.0.0.1:%d" % port, "--from",
        "root@localhost", "--to", "bob@example.net", "--h-From",
        "\"Cron Daemon\" <root@localhost>", stdin=b"")


def library(port):
    mail = email.message.EmailMessage()
    mail["From"] = "Cron Daemon <root@localhost>"
    mail["To"] = "bob@example.net"
    mail.set_content("Hello.\n")
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        client.send_message(mail)


def test_clients_that_people_use(devices, keys):
    for number, client in enumerate((msmtp, swaks, library), 1):
        client(devices.kept)
        one, mail = arrived(devices, keys, number)
        assert one.sender == "root@example.com", client
        assert str(mail["From"]) == "Cron Daemon <root@example.com>", client


def test_accounts(world, keys, directory):
    """An account's own identity goes before the listener's, and whoever may
    not have that one is refused."""
    users = directory + "/users"
    for user in ("printer", "other", "alice"):
        signet.run("passwd", users, user, stdin=b"secret\n", check=0)
    world.setup.listener = FIXED + (
        'auth = "required"\n auth_file = "%s"\n auth_without_tls = true'
        % users)
    world.setup.extra = """
account "printer" {
    from = {"printer@example.com", "p-*@example.com"}
    rewrite_from = "printer@example.com" rewrite_sender = "p-b@example.com"
}
account "other" { from = {"other@example.com"} }
"""
    world.start()

    def send(user, author, sender, name="Alice"):
        with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as client:
            client.login(user, "secret")
            client.sendmail(sender, ["bob@example.net"],
                            message(sender=author).replace(
                                b"Alice <", name.encode() + b" <"))
    found = []

    def send_and_find(*what):
        send(*what)
        one, mail = arrived(world, keys, len(found) + 1)
        found.append((one.sender, str(mail["From"]), mail["Reply-To"]))
    send_and_find("printer", "p-1@example.com", "p-1@example.com")
    send_and_find("printer", "alice@example.com", "alice@example.com")
    send_and_find("alice", "p-1@example.com", "p@localhost")
    send_and_find("printer", "p-1@example.com", "p-1@example.com",
                  "=?utf7?Q?+ADw-ceo+AEA-example.org+AD4-?=")
    send_and_find("printer", "p-1@example.com", "p-1@example.com",
                  "=?Shift_JIS?B?jlKTY4FAkb6YWQ==?=")
    assert found == [
        ("p-1@example.com", "Alice <p-1@example.com>", None),
        ("p-b@example.com", "Alice <printer@example.com>",
         "alice@example.com"),
        ("bounces@example.com", "Alice <p-1@example.com>", None),
        ("p-1@example.com", "p-1@example.com", None),
        ("p-1@example.com", "\u5c71\u7530\u3000\u592a\u90ce <p-1@example.com>",
         None)]
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        send("other", "other@example.com", "alice@example.com")
    assert refused.value.smtp_code == 553
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send("other", "alice@example.com", "other@example.com")
    assert refused.value.smtp_code == 550


def test_it_is_explained(setup):
    made = setup()
    made.listener = FIXED
    made.extra = 'account "p" { from = {"*@example.com"}\n' \
        'rewrite_from = "*@example.com" }'
    told = signet.run("explain", config=made.write(), check=0,
                      stdin=b'From: "P 1" <p@other.example>\r\n'
                      b"Sender: x\r\n\r\n").stdout.decode()
    for part in (
            "Passed on without a signature of ours: no domain section",
            'The listener "apps" would rewrite its From (rewrite_from):\n'
            '  From: "P 1" <scanner@example.com>\n'
            "  and signed: the From domain example.com is signed with 2",
            "  Sender removed\n",
            'The account "p" would rewrite its From (rewrite_from):\n'
            '  From: "P 1" <p@example.com>\n'):
        assert part in told, (part, told)
    told = signet.run("explain", config=made.path, check=0,
                      stdin=message()).stdout.decode()
    assert 'The listener "apps" would leave its From as it is.' in told


@pytest.mark.parametrize("section, said", (
    ('account "p" { from = {"a@example.com"} rewrite_from = "b@example.com" }',
     b"the account's 'from' does not allow \"b@example.com\""),
    ('account "p" { from = {"a@example.com"} rewrite_sender = "*@example.org" }',
     b"'from' does not allow \"*@example.org\""),
    ('account "p" { rewrite_from = "b" }', b"'b' is not an address"),
    ('account "p" { rewrite_from = "*@b@example.com" }', b"has '@' before its '@'"),
    ('account "p" { rewrite_from = "*@" }', b"domain"),
    ('account "p" { rewrite_when = "never" }', b"needed"),
))
def test_check_config(setup, section, said):
    made = setup()
    made.extra = section
    assert said in signet.run("check-config", config=made.write(),
                              check=78).stderr
