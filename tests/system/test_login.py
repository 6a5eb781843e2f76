"""Next hops that want a user and a password: a real Postfix that takes mail
from nobody else, and a scripted server for what Postfix does not do."""

import base64
import os
import subprocess

import pytest

from harness import signet
from harness.ports import free_port
from harness.smtp import message, submit

USER, PASSWORD = "relay", "p\u00e4ss, w=rd "
MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")
SHORT = 'retry = {"1s"}\n expire = "120s"'

SASL = """
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {directory}/postfix/config/sasl
smtpd_sasl_local_domain = mx.example.net
smtpd_sasl_authenticated_header = yes
smtpd_tls_auth_only = yes
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_client_auth_rate_limit = 0
"""

LIBRARY = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {directory}/sasldb
mech_list: {mechanisms}
"""


def password_file(directory, password=PASSWORD, name="password", mode=0o600):
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write(password + "\nnot this line\n")
    os.chmod(path, mode)
    return path


def users(directory):
    """Cyrus SASL's files for one user, where Debian's Postfix looks."""
    library = os.path.join(directory, "postfix", "config", "sasl")
    os.makedirs(library)
    database = os.path.join(directory, "sasldb")
    subprocess.run(["saslpasswd2", "-p", "-c", "-f", database, "-u",
                    "mx.example.net", USER], input=PASSWORD.encode(),
                   check=True, stdout=subprocess.DEVNULL)
    os.chmod(database, 0o644)
    with open(os.path.join(library, "smtpd.conf"), "w") as file:
        file.write(LIBRARY.format(directory=directory,
                                  mechanisms=" ".join(MECHANISMS)))


def route(domain, port, file, more="", tls="verify", user=USER):
    return ('route "%s" { via = "mx.example.net:%d"  tls = "%s"\n'
            '    auth_user = "%s"  auth_password_file = "%s"  %s }\n' %
            (domain, port, tls, user, file, more))


@pytest.fixture
def hub(world, postfix, directory, relay, name_server):
    """A Postfix that lets nobody in without AUTH: a port for each mechanism,
    and one with TLS from the start. start(extra) starts the relay."""
    users(directory)
    ports = {name: free_port() for name in MECHANISMS + ("implicit",)}
    services = {ports[name]: ["smtpd_sasl_mechanism_filter=" + name]
                for name in MECHANISMS}
    services[ports["implicit"]] = ["smtpd_tls_wrappermode=yes"]
    server = postfix(free_port(), services=services,
                     extra=SASL.format(directory=directory))
    server.ports = ports

    def start(extra):
        names = name_server({"example.net": "mx IN A 127.0.0.1"})
        world.setup.resolver = names.resolver
        world.setup.delivery = SHORT
        world.setup.extra = extra
        world.relay = relay(world.setup,
                            env={"SSL_CERT_FILE": server.certificate})
        return world.relay
    server.start_relay = start
    return server


def methods(hub):
    """The mechanism of each message that Postfix let in."""
    return [line.partition("sasl_method=")[2].partition(",")[0]
            for line in hub.maillog().splitlines() if "sasl_method=" in line]


def test_each_mechanism(hub, world, directory):
    """Over STARTTLS with each, and with TLS from the start; the certificate
    is verified."""
    file = password_file(directory)
    relay = hub.start_relay("".join(
        route(name.lower() + ".example", hub.ports[name], file,
              "implicit_tls = true" if name == "implicit" else "")
        for name in hub.ports))
    for name in hub.ports:
        submit(relay.port, message(),
               recipients=["bob@%s.example" % name.lower()])
        delivered = relay.wait("delivered",
                               to="bob@%s.example" % name.lower())
        assert delivered["tls"].startswith("TLSv1.3"), delivered
    assert methods(hub) == list(MECHANISMS) + ["SCRAM-SHA-256"]
    hub.wait_messages(4)
    assert not relay.named("deferred") and not relay.named("login")
    for one in relay.events:
        assert PASSWORD.strip() not in str(one)


def test_wrong_password_keeps_the_mail(hub, world, directory):
    """Refused with 535, deferred and not bounced; asked no second time; sent
    once the file is right and read again."""
    file = password_file(directory, "wrong", mode=0o644)
    relay = hub.start_relay(
        route("*", hub.ports["PLAIN"], file))
    assert "chmod 600" in relay.wait("configuration")["reason"]
    submit(relay.port, message(), recipients=["a@example.org"])
    deferred = relay.wait("deferred", to="a@example.org")
    assert deferred["reply"].startswith("535 5.7.8"), deferred
    refused = relay.wait("login")
    assert "refuses the user 'relay' (PLAIN): 535 5.7.8" in refused["reason"]
    submit(relay.port, message(), recipients=["b@example.com"])
    deferred = relay.wait("deferred", to="b@example.com")
    assert "refused a moment ago" in deferred["reply"], deferred
    assert deferred["status"] == "4.7.8"
    assert hub.maillog().count("SASL PLAIN authentication failed") == 1
    assert not relay.named("bounced") and hub.raw_messages() == []
    password_file(directory)
    relay.hang_up()
    relay.wait("reload")
    for address in ("a@example.org", "b@example.com"):
        relay.wait("delivered", to=address, seconds=30)
    assert set(methods(hub)) == {"PLAIN"}
    assert relay.named("bounced") == []


@pytest.mark.parametrize("tls, offered, more, why", (
    ("opportunistic", None, "", "does not offer STARTTLS"),
    ("required", None, "", "does not offer STARTTLS"),
    ("opportunistic", "refused", "", "454 4.7.0"),
    ("opportunistic", "garbage", "", "TLS handshake failed"),
    ("opportunistic", None, "auth_without_tls = true", None),
    ("none", None, "auth_without_tls = true", None),
), ids=str)
def test_no_password_in_clear(world, receiver, directory, tls, offered, more,
                              why):
    """AUTH is offered, TLS is not, or does not work: nothing is said that
    holds the password, unless the route allows it."""
    port = free_port()
    server = receiver(
        port, "127.0.0.4", tls=offered,
        extensions=("AUTH PLAIN LOGIN", "8BITMIME"))
    file = password_file(directory)
    world.setup.delivery = SHORT
    world.setup.extra = route("*", port, file, more, tls=tls).replace(
        "mx.example.net", "127.0.0.4")
    world.start()
    submit(world.relay.port, message())
    if why is None:
        world.relay.wait("delivered")
        secret = base64.b64encode(("\0%s\0%s" % (USER, PASSWORD)).encode())
        assert [command for _, command in server.commands
                if command.startswith("AUTH")] == \
            ["AUTH PLAIN " + secret.decode()]
        return
    deferred = world.relay.wait("deferred")
    assert why in deferred["reply"], deferred
    assert set(server.verbs()) <= {"EHLO", "STARTTLS", "QUIT"}
    assert server.deliveries == []


def test_no_auth_offered(world, receiver, directory):
    """It waits: mail that is to go with AUTH does not go without."""
    port = free_port()
    server = receiver(port, "127.0.0.4", tls="good")
    world.setup.delivery = (
        SHORT + '\n smarthost = "127.0.0.4:%d"  auth_user = "relay"\n'
        ' auth_password_file = "%s"' % (port, password_file(directory)))
    world.start()
    submit(world.relay.port, message())
    deferred = world.relay.wait("deferred")
    assert "offers none of SCRAM-SHA-256, PLAIN and LOGIN" in \
        deferred["reply"]
    assert "MAIL" not in server.verbs() and "AUTH" not in server.verbs()


def test_a_password_is_for_its_route_only(world, receiver, directory):
    """One server, three ways to it: two users, and none. Connections are kept
    open between messages, and none carries another's mail."""
    port = free_port()
    server = receiver(port, "127.0.0.4",
                      extensions=("AUTH PLAIN", "8BITMIME"))
    more = "auth_without_tls = true"
    extra = "".join(route(
        name + ".example", port,
        password_file(directory, name, "password-" + name), more,
        tls="none", user=name) for name in ("one", "two"))
    extra += ('route "*" { via = "mx.example.net:%d"  tls = "none" }' % port)
    world.setup.extra = extra.replace("mx.example.net", "127.0.0.4")
    world.start()
    for _ in range(2):
        for name in ("one", "two", "three"):
            submit(world.relay.port, message(),
                   recipients=["x@%s.example" % name])
    deliveries = server.wait_deliveries(6)
    for delivery in deliveries:
        name = delivery.recipients[0][2:].partition(".")[0]
        said = [command for session, command in server.commands
                if session == delivery.session and
                command.startswith("AUTH")]
        secret = base64.b64encode(("\0%s\0%s" % (name, name)).encode())
        assert said == ([] if name == "three" else
                        ["AUTH PLAIN " + secret.decode()])


def test_a_password_file_that_will_not_do(world, directory):
    """check-config says where and why, and no word of what it holds."""
    for text, mode, says in (
            ("", 0o600, "its first line is empty"),
            ("se\tcret", 0o600, "control character"),
            ("secret" * 50, 0o600, "more than 255 octets"),
            ("secret", 0o640, "mode 0640")):
        file = password_file(directory, text, mode=mode)
        world.setup.extra = route("*", 25, file)
        world.setup.signing = "strict_key_modes = true"
        world.setup.write()
        done = signet.run("check-config", config=world.setup.path)
        error = done.stderr.decode()
        assert done.returncode in (77, 78)
        assert says in error and "signet.conf:" in error
        assert "secret" not in error.replace(file, "")
