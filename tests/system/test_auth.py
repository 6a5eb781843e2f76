"""Users who log in at a listener, by clients that people use."""

import base64
import hashlib
import hmac
import json
import os
import smtplib
import ssl
import subprocess

import pytest

from harness import judge, signet
from harness.process import quickest
from harness.smtp import Client, message

PASSWORDS = {"user": "p\u00e4ss, w=rd", "keys": "geheim:, 1"}
OUTSIDE = "127.0.0.9"  # not in allow_from
WRONG = base64.b64encode(b"\0user\0wrong").decode()


def passwd(path, user, password, *options, check=0):
    return signet.run("passwd", *options, path, user,
                      stdin=password.encode() + b"\n", check=check)


@pytest.fixture
def users(directory):
    """An auth_file with a hash of crypt(3) and one with SCRAM's keys."""
    path = os.path.join(str(directory), "users")
    passwd(path, "user", PASSWORDS["user"])
    passwd(path, "keys", PASSWORDS["keys"], "--scram")
    return path


@pytest.fixture
def submission(world, certificate, users):
    """A relay where all have to log in, over TLS or not."""
    world.setup.listener = (
        'tls = "starttls"\n tls_cert = "%s"\n tls_key = "%s"\n'
        'auth = "required"\n auth_file = "%s"\n'
        'auth_without_tls = true' % (certificate + (users,)))
    world.start()
    return world


def trusting(certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    context.check_hostname = False
    return context


def swaks(world, mechanism, user, password, certificate):
    return subprocess.run(
        ["swaks", "--server", "127.0.0.1:%d" % world.relay.port,
         "--ehlo", "client.example.com", "--tls",
         "--auth", mechanism, "--auth-user", user,
         "--auth-password", password, "--from", "alice@example.com",
         "--to", "bob@example.net"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)


def curl(world, mechanism, user, password, certificate):
    return subprocess.run(
        ["curl", "-sv", "--url",
         "smtp://mx.example.net:%d/client.example.com" % world.relay.port,
         "--resolve", "mx.example.net:%d:127.0.0.1" % world.relay.port,
         "--ssl-reqd", "--cacert", certificate[0],
         "--login-options", "AUTH=" + mechanism,
         "--user", "%s:%s" % (user, password),
         "--mail-from", "alice@example.com", "--mail-rcpt",
         "bob@example.net", "--upload-file", "-"],
        input=message(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=60)


def msmtp(world, mechanism, user, password, certificate):
    """SCRAM in clear: over TLS that of Debian 13 can only do SCRAM-…-PLUS."""
    tls = ["--tls=off"] if mechanism.startswith("SCRAM") else [
        "--tls=on", "--tls-starttls=on", "--tls-trust-file=" + certificate[0],
        "--tls-host-override=mx.example.net"]
    return subprocess.run(
        ["msmtp", "--file=/dev/null", "--host=127.0.0.1",
         "--port=%d" % world.relay.port, *tls,
         "--auth=" + mechanism.lower(), "--user=" + user,
         "--passwordeval=printf %%s '%s'" % password,
         "--from=alice@example.com", "bob@example.net"],
        input=message(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=60)


CLIENTS = (
    # who, by which mechanism, with whose password
    (swaks, "PLAIN", "user"),
    (swaks, "LOGIN", "user"),
    (swaks, "PLAIN", "keys"),
    (curl, "PLAIN", "user"),
    (curl, "LOGIN", "keys"),
    (msmtp, "PLAIN", "user"),
    (msmtp, "LOGIN", "user"),
    (msmtp, "SCRAM-SHA-256", "keys"),
)


def test_clients(submission, users, certificate):
    """Each client with the right password sends, with a wrong one does not."""
    world = submission
    for number, (client, mechanism, user) in enumerate(CLIENTS, 1):
        if mechanism == "SCRAM-SHA-256":  # offered where all have keys
            signet.run("passwd", "--delete", users, "user", check=0)
            world.relay.hang_up()
            world.relay.wait("reload")
        what = (client.__name__, mechanism, user)
        wrong = client(world, mechanism, user, "wrong", certificate)
        assert wrong.returncode != 0, (what, wrong.stdout)
        done = client(world, mechanism, user, PASSWORDS[user], certificate)
        assert done.returncode == 0, (what, done.stdout.decode())
        event = world.relay.wait("accepted", number)
        assert event["user"] == user, (what, event)
        assert len(world.relay.named("not-authenticated")) == number, what
        login = world.relay.named("authenticated")[-1]
        assert login["mechanism"] == mechanism and login["user"] == user
        assert login["client"] == "127.0.0.1" and login["listener"] == "apps"
    world.receiver.wait_deliveries(len(CLIENTS))
    secured = 0
    for delivery in world.receiver.deliveries:
        secured += b"SMTPSA id" in delivery.data
        for password in PASSWORDS.values():
            assert password.encode() not in delivery.data
    assert secured == len(CLIENTS) - 1


def test_smtplib(submission, certificate):
    """It logs in by itself, and goes on over the same connection."""
    world = submission
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as client:
        client.starttls(context=trusting(certificate))
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtplib_send(client)
        client.login("keys", PASSWORDS["keys"])
        for _ in range(3):
            smtplib_send(client)
    world.receiver.wait_deliveries(3)


def smtplib_send(client):
    try:
        client.sendmail("alice@example.com", ["bob@example.net"], message())
    except smtplib.SMTPSenderRefused as error:
        assert error.smtp_code == 530, error
        raise smtplib.SMTPRecipientsRefused({}) from error


def test_optional(world, users):
    """Neighbours as before; others by their password; in clear if told. No
    client is led to SCRAM by another user's keys."""
    world.setup.listener = ('auth = "optional"\n auth_file = "%s"\n'
                            'auth_without_tls = true\n'
                            'allow_from = {"127.0.0.1"}' % users)
    world.start()
    with Client(world.relay.port) as client:
        assert "PLAIN LOGIN" == client.ehlo()["AUTH"]
        assert client.transaction("alice@example.com", ["bob@example.net"],
                                  message())[0] == 250
    with Client(world.relay.port, source=OUTSIDE) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 530, "5.7.0")
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120,
                      source_address=(OUTSIDE, 0)) as client:
        client.login("keys", PASSWORDS["keys"])
        smtplib_send(client)
    world.receiver.wait_deliveries(2)


def test_reload(world, users):
    """A user who is added may, one who is taken out may not; a file that
    cannot be read leaves all as it was."""
    world.setup.listener = ('auth = "required"\n auth_file = "%s"\n'
                            'auth_without_tls = true' % users)
    passwd(users, "stays", "secret")
    world.start()

    def code_of(user, password):
        with smtplib.SMTP("127.0.0.1", world.relay.port,
                          timeout=120) as client:
            try:
                return client.login(user, password)[0]
            except smtplib.SMTPAuthenticationError as error:
                return error.smtp_code
    assert code_of("keys", PASSWORDS["keys"]) == 235
    assert code_of("new", "secret") == 535
    passwd(users, "new", "secret")
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as gone, \
            smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as stays:
        gone.login("keys", PASSWORDS["keys"])
        stays.login("stays", "secret")
        smtplib_send(gone)
        signet.run("passwd", "--delete", users, "keys", check=0)
        world.relay.hang_up()
        world.relay.wait("reload")
        # At the latest at RCPT: his loop may hear of the reload behind MAIL.
        with pytest.raises((smtplib.SMTPSenderRefused,
                            smtplib.SMTPRecipientsRefused)) as refused:
            gone.sendmail("alice@example.com", ["bob@example.net"], message())
        assert "421, b'4.7.0 Your user" in str(refused.value)
        smtplib_send(stays)
    assert code_of("new", "secret") == 235
    assert code_of("keys", PASSWORDS["keys"]) == 535
    with open(users, "a") as file:
        file.write("broken:{PLAIN}secret\n")
    said = signet.run("check-config", config=world.setup.path, check=78)
    assert b"line 4: user 'broken': the scheme is not known" in said.stderr
    world.relay.hang_up()
    world.relay.wait("reload-refused")
    assert code_of("new", "secret") == 235


def test_account(world, users):
    """Nobody signs as another: by real clients, and all of it explained."""
    world.setup.listener = ('auth = "required"\n auth_file = "%s"\n'
                            'auth_without_tls = true' % users)
    world.setup.extra = ('account "keys" { from = {"alice@example.com"} }\n'
                         'account "*" { messages_per_hour = 1 }')
    world.start()
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as client:
        client.login("keys", PASSWORDS["keys"])
        for _ in range(2):
            smtplib_send(client)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.sendmail("bob@example.com", ["bob@example.net"], message())
        assert refused.value.smtp_code == 553
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("alice@example.com", ["bob@example.net"],
                            message(sender="bob@example.com"))
        assert refused.value.smtp_code == 550
    assert world.relay.wait("rejected", 2)["reason"] == "account.from"
    with Client(world.relay.port) as client:
        client.ehlo()
        client.expect("AUTH PLAIN " + base64.b64encode(
            ("\0user\0" + PASSWORDS["user"]).encode()).decode(), 235)
        assert client.transaction("bob@example.com", ["bob@example.net"],
                                  message())[0] == 250
        client.expect("MAIL FROM:<bob@example.com>", 450, "4.7.1")
    world.receiver.wait_deliveries(3)


# Each has a count of his own.
GUESSERS = ["127.0.0.%d" % number for number in range(9, 17)]
WAIT_S = 2  # after the first failure that costs something


def while_he_waits(fail, answers):
    """What answers(source) gives within the time that a guesser has to wait
    for what fail(source) has done; from another address where a slow machine
    took longer than that."""
    untried, source = list(GUESSERS), []

    def before():
        source[:] = [untried.pop()]
        fail(*source)
    return quickest(WAIT_S, lambda: answers(*source), len(GUESSERS), before)


def test_guessing(world, users):
    """It costs more each time, from wherever in between."""
    world.setup.listener = ('auth = "required"\n auth_file = "%s"\n'
                            'auth_without_tls = true' % users)
    world.start()

    def guess(source, times):
        codes = []
        for _ in range(times):
            with Client(world.relay.port, source=source) as client:
                client.ehlo()
                codes.append(client.say("AUTH PLAIN " + WRONG)[0])
        return codes

    def fail(source):
        assert guess(source, 6) == [535] * 6
    assert while_he_waits(fail, lambda source: guess(source, 2)) == [454] * 2
    # Nobody else has to wait.
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as client:
        assert client.login("keys", PASSWORDS["keys"])[0] == 235


def scram(client, user, password):
    """The codes of both replies; the second is to the proof."""
    def said(line):
        return base64.b64encode(line.encode()).decode()
    bare = "n=%s,r=abcdefgh" % user
    code, lines = client.say("AUTH SCRAM-SHA-256 " + said("n,," + bare))
    if code != 334:
        return code, None
    challenge = base64.b64decode(lines[0]).decode()
    asked = dict(part.split("=", 1) for part in challenge.split(","))
    final = "c=biws,r=" + asked["r"]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(),
                                 base64.b64decode(asked["s"]),
                                 int(asked["i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(
        hashlib.sha256(key).digest(),
        ",".join((bare, challenge, final)).encode(), "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature))
    code = client.say(said("%s,p=%s" % (
        final, base64.b64encode(proof).decode())))[0]
    return 334, code


def test_guessing_by_scram(world, users):
    """The right proof is not looked at either while its name waits."""
    signet.run("passwd", "--delete", users, "user", check=0)
    world.setup.listener = ('auth = "required"\n auth_file = "%s"\n'
                            'auth_without_tls = true' % users)
    world.start()

    def login(source, password):
        with Client(world.relay.port, source=source) as client:
            client.ehlo()
            return scram(client, "keys", password)[-1]

    def fail(source):
        right = login(source, PASSWORDS["keys"])
        assert right == 334  # the server's signature
        assert [login(source, "wrong") for _ in range(6)] == [535] * 6
    assert while_he_waits(fail, lambda source: [
        login(source, password)
        for password in ("wrong", "wrong", PASSWORDS["keys"])]) == [454] * 3


def test_guessing_beside(world, users):
    """Whoever has logged in from the guesser's address before goes on; who has
    not waits with him."""
    world.setup.listener = ('auth = "required"\n auth_file = "%s"\n'
                            'auth_without_tls = true' % users)
    world.start()

    def login(source, user, password):
        with Client(world.relay.port, source=source) as client:
            client.ehlo()
            return client.say("AUTH PLAIN " + base64.b64encode(
                ("\0%s\0%s" % (user, password)).encode()).decode())[0]

    def fail(source):
        assert login(source, "keys", PASSWORDS["keys"]) == 235
        for number in range(6):
            assert login(source, "user%d" % number, "wrong") == 535
    assert while_he_waits(fail, lambda source: [
        login(source, user, password) for user, password in (
            ("user6", "wrong"), ("user7", "wrong"), ("user", PASSWORDS["user"]),
            ("keys", PASSWORDS["keys"]), ("keys", "wrong"))]) == \
        [454, 454, 454, 235, 535]


def test_guessing_at_once(world, users):
    """What waits in line is looked at again, so that few more are tried than
    one after the other would be; and it keeps nobody waiting. How many are
    under way before the first verdicts are noted is the machine's to say."""
    world.setup.listener = ('auth = "required"\n auth_file = "%s"\n'
                            'auth_without_tls = true' % users)
    world.start()
    clients = [Client(world.relay.port, source=OUTSIDE) for _ in range(40)]
    for number, client in enumerate(clients):
        client.ehlo()
        client.send(b"AUTH PLAIN %s\r\n" % base64.b64encode(
            b"\0user%d\0wrong" % number))
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=30) as client:
        assert client.login("keys", PASSWORDS["keys"])[0] == 235
    codes = [client.reply()[0] for client in clients]
    assert set(codes) == {454, 535}
    assert 6 <= codes.count(535) <= len(codes) // 2, codes
    for client in clients:
        client.close()


def test_hashing_holds_up_nobody(world, users):
    """Logins that take seconds, and a client without one is served between."""
    with open(users, "a") as file:
        file.write("slow:$6$rounds=600000$saltsalt$%s\n" % ("." * 86))
    wrong = base64.b64encode(b"\0slow\0wrong")
    world.setup.listener = ('auth = "optional"\n auth_file = "%s"\n'
                            'auth_without_tls = true' % users)
    world.start()
    clients = [Client(world.relay.port) for _ in range(20)]
    with Client(world.relay.port) as client:
        for each in clients + [client]:
            each.ehlo()
        for each in clients:
            each.send(b"AUTH PLAIN %s\r\n" % wrong)
        assert client.transaction("alice@example.com", ["bob@example.net"],
                                  message())[0] == 250
    for client in clients:
        assert client.reply()[0] in (535, 454)
        client.close()
    # It did not have to wait for all of them.
    assert world.relay.wait("accepted")["time"] <= \
        world.relay.named("not-authenticated")[-1]["time"]


def test_passwd(directory):
    path = os.path.join(str(directory), "users")
    passwd(path, "a", "one")
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path, "a") as file:
        file.write("# a comment\nb:$6$abc$xyz:1:2\n")
    os.chmod(path, 0o640)
    before = open(path).read()
    passwd(path, "a", "two", "--scram")
    lines = open(path).read().splitlines()
    assert lines[0] == "# a comment" and lines[1] == "b:$6$abc$xyz:1:2"
    assert lines[2].startswith("a:{SCRAM-SHA-256}65536,")
    assert len(lines) == 3 and before.splitlines()[0] not in lines
    assert os.stat(path).st_mode & 0o777 == 0o640
    signet.run("passwd", "--delete", path, "b", check=0)
    assert len(open(path).read().splitlines()) == 2
    # To log in as another, but hardly another in the mind of who types it.
    for arguments in ((path, "A"), ("--delete", path, "A")):
        done = signet.run("passwd", *arguments, stdin=b"other\n", check=0)
        assert b"has 'a', too" in done.stderr
    link = os.path.join(str(directory), "link")
    os.symlink("users", link)
    signet.run("passwd", "--scram", link, "a", stdin=b"three\r\n", check=0)
    _, salt, stored, _ = open(path).read().splitlines()[1].split(",")
    salted = hashlib.pbkdf2_hmac("sha256", b"three", base64.b64decode(salt),
                                 65536)
    key = hmac.digest(salted, b"Client Key", "sha256")
    assert base64.b64decode(stored) == hashlib.sha256(key).digest()
    assert os.path.islink(link)
    passwd_line = open(path).read().splitlines()[1]
    signet.run("passwd", "--scram", path, "a", stdin=b"three\r", check=0)
    _, salt, stored, _ = open(path).read().splitlines()[1].split(",")
    salted = hashlib.pbkdf2_hmac("sha256", b"three", base64.b64decode(salt),
                                 65536)
    key = hmac.digest(salted, b"Client Key", "sha256")
    assert open(path).read().splitlines()[1] != passwd_line and \
        base64.b64decode(stored) == hashlib.sha256(key).digest()
    stray = os.path.join(str(directory), "stray")
    os.symlink("nowhere", stray)
    for arguments, stdin, code in (
            ((stray, "a"), b"secret\n", 69),
            (("--delete", path, "nobody"), b"", 65),
            ((path, "x:y"), b"secret\n", 65),
            ((path, "x"), b"\n", 65),
            ((path, "x"), b"", 65),
            ((path, "x"), b"s" * 512 + b"\n", 65),
            ((path,), b"secret\n", 64),
            (("--delete", path + "x", "a"), b"", 69),
            ((path + "/x", "a"), b"secret\n", None)):
        done = signet.run("passwd", *arguments, stdin=stdin)
        assert done.returncode == code or code is None, done
        assert done.returncode != 0 and done.stderr, done
    assert os.path.islink(stray) and len(open(path).read().splitlines()) == 2
    assert sorted(os.listdir(str(directory))).count("users") == 1
    assert not [name for name in os.listdir(str(directory))
                if name.startswith("users.")]


def nodemailer(world, user, messages):
    """Its replies, or how it failed."""
    done = subprocess.run(
        ["node", os.path.join(os.path.dirname(__file__),
                              "harness/nodemailer.js")],
        input=json.dumps({
            "transport": {
                "host": "127.0.0.1", "port": world.relay.port,
                "pool": True, "maxConnections": 2, "requireTLS": True,
                "tls": {"rejectUnauthorized": False},
                "auth": {"user": user, "pass": PASSWORDS["user"]}},
            "messages": messages}).encode(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        env=dict(os.environ, NODE_PATH="/usr/share/nodejs"))
    return json.loads(done.stdout)


def test_nodemailer(submission):
    """A pool: many messages over two connections, with all that it makes."""
    world = submission
    sent = [{"from": '"Zoë" <alice@example.com>', "to": "bob@example.net",
             "subject": "Grüße %d" % number, "text": ".\nhällo\n.\n" * 50,
             "html": "<p>h&auml;llo</p>" + "x" * 3000,
             "attachments": [{"filename": "späť.bin", "encoding": "base64",
                              "content": base64.b64encode(
                                  os.urandom(20000)).decode()}]}
            for number in range(12)]
    replies = nodemailer(world, "user", sent)
    accepted = world.relay.wait("accepted", len(sent)) and \
        world.relay.named("accepted")
    assert sorted(reply.rpartition(" ")[2] for reply in replies) == \
        sorted(event["id"] for event in accepted)
    assert all(event["user"] == "user" for event in accepted)
    assert 1 <= len(world.relay.named("authenticated")) <= 2
    world.receiver.wait_deliveries(len(sent))
    for delivery in world.receiver.deliveries:
        verdicts = judge.dkimpy(delivery.data,
                                judge.lookup_txt(world.names.port))
        assert verdicts and all(each.passed for each in verdicts), verdicts
    replies = nodemailer(world, "user", [
        {"from": "alice@example.com", "to": "jörg@example.net",
         "subject": "x", "text": "x"}])
    assert replies[0].startswith("250 2.0.0 "), replies
    assert world.relay.wait("accepted", len(sent) + 1)["smtputf8"]
    failed = nodemailer(world, "nobody", sent[:1])
    assert failed["code"] == "EAUTH", failed
    assert failed["response"].startswith("535 5.7.8 "), failed
