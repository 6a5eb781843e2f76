"""Users whom Dovecot knows, asked for at its own socket."""

import base64
import smtplib

import pytest

from harness.dovecot import Dovecot
from harness.process import wait_for
from harness.smtp import Client, message
from test_auth import curl, msmtp, swaks

PASSWORD = "geheim, 1"


@pytest.fixture
def dovecot(directory, started):
    server = Dovecot(directory, {"user": "{PLAIN}" + PASSWORD,
                                 "ann@example.com": "{PLAIN}" + PASSWORD,
                                 "bea@example.com": "{PLAIN}" + PASSWORD})
    started(server)
    return server


@pytest.fixture
def listening(world, dovecot):
    world.setup.listener = ('auth = "required"\n auth_dovecot = "%s"\n'
                            'auth_without_tls = true' % dovecot.socket)
    return world


def code_of(world, user="user", password=PASSWORD):
    """As smtplib logs in: by CRAM-MD5, PLAIN or LOGIN."""
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as client:
        try:
            return client.login(user, password)[0]
        except smtplib.SMTPAuthenticationError as error:
            return error.smtp_code


def mechanisms(world):
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as client:
        client.ehlo()
        return set(client.esmtp_features["auth"].split())


def until_in(world):
    wait_for(lambda: code_of(world) == 235, 30, "a login by Dovecot")


def test_clients(world, dovecot, certificate):
    """By each mechanism that both know."""
    world.setup.listener = (
        'tls = "starttls"\n tls_cert = "%s"\n tls_key = "%s"\n'
        'auth = "required"\n auth_dovecot = "%s"\n'
        'auth_without_tls = true' % (certificate + (dovecot.socket,)))
    world.setup.extra = 'account "user" { from = {"alice@example.com"} }'
    dovecot.start()
    world.start()
    rows = ((swaks, "PLAIN"), (swaks, "LOGIN"), (curl, "PLAIN"),
            (msmtp, "SCRAM-SHA-256"))
    for number, (client, mechanism) in enumerate(rows, 1):
        what = (client.__name__, mechanism)
        wrong = client(world, mechanism, "user", "wrong", certificate)
        assert wrong.returncode != 0, (what, wrong.stdout)
        done = client(world, mechanism, "user", PASSWORD, certificate)
        assert done.returncode == 0, (what, done.stdout.decode())
        event = world.relay.wait("accepted", number)
        assert (event["user"], event["auth"]) == ("user", mechanism), event
    world.receiver.wait_deliveries(len(rows))


def test_names(listening, dovecot):
    """A user is who Dovecot says he is, in its spelling."""
    world = listening
    world.setup.extra = 'account "ann@example.com" { from = {"*@example.org"} }'
    dovecot.start()
    world.start()
    until_in(world)
    wait_for(lambda: mechanisms(world) == {"PLAIN", "LOGIN", "SCRAM-SHA-256"},
             10, "what Dovecot offers")
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as client:
        client.login("ANN@Example.COM", PASSWORD)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.sendmail("alice@example.com", ["bob@example.net"],
                            message())
        assert refused.value.smtp_code == 553
    assert world.relay.wait("authenticated")["mechanism"] in ("PLAIN", "LOGIN")
    assert code_of(world, "bea!example.com") == 235
    assert world.relay.wait("authenticated", 3)["user"] == "bea@example.com"
    assert code_of(world, "nobody") == 535
    # A name that has to wait does so by whatever mechanism. Others that have
    # logged in from there are heard, also those that Dovecot spells otherwise.
    wait_for(lambda: code_of(world, "ann@example.com", "wrong") == 454, 60,
             "her name to wait")
    for name, code in (("ann@example.com", 454), ("user", 334),
                       ("bea!example.com", 334), ("bea@example.com", 334)):
        with Client(world.relay.port) as client:
            client.ehlo()
            client.expect("AUTH SCRAM-SHA-256 " + base64.b64encode(
                b"n,,n=%s,r=abcdefgh" % name.encode()).decode(), code)


def test_down(listening, dovecot):
    """While it is not there, nobody is told that his password is wrong; once it
    is back, all goes on by itself."""
    world = listening
    world.start()
    assert code_of(world) == 454
    assert mechanisms(world) == {"PLAIN", "LOGIN"}
    dovecot.start()
    until_in(world)
    for end in (dovecot.kill, dovecot.stop):
        end()
        wait_for(lambda: code_of(world) == 454, 30, "a refusal")
        dovecot.start()
        until_in(world)
    assert "answers again" in "".join(map(str, world.relay.named("dovecot")))


def test_hung(listening, dovecot):
    """It is there and says nothing: no longer than auth_timeout; a client that
    takes its time over a password is not what is meant."""
    world = listening
    world.setup.limits = 'auth_timeout = "1s"'
    dovecot.start()
    world.start()
    until_in(world)
    with smtplib.SMTP("127.0.0.1", world.relay.port, timeout=120) as slow:
        slow.ehlo()
        assert slow.docmd("AUTH", "LOGIN")[0] == 334
        dovecot.hang()
        try:
            assert code_of(world) == 454
            assert slow.docmd("dXNlcg==")[0] == 334
            assert slow.docmd("Z2VoZWltLCAx")[0] == 454
        finally:
            dovecot.wake()
    until_in(world)
