"""Starting, stopping, reloading, and what it says about bad configuration."""

import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time

import pytest

from harness import judge, signet
from harness.judge import Keys
from harness.ports import free_port
from harness.process import wait_for
from harness.smtp import Client, message, submit


@pytest.fixture
def own_keys(directory):
    made = Keys(os.path.join(directory, "keys"))
    made.make("example.com", "rsa", "rsa")
    made.make("example.com", "ed", "ed25519")
    return made


def refused_to_start(configured, code, *words, config=None):
    """The relay ends at once with this code and says all these words."""
    done = subprocess.run(
        [signet.binary(), "relay", "-c", config or configured.write()],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120)
    said = done.stderr.decode(errors="replace")
    assert done.returncode == code, said
    for word in words:
        assert word in said, "%r is not in: %s" % (word, said)
    return said


# -- stopping ---------------------------------------------------------------

def test_term_is_graceful(world):
    """What is in flight is finished; the next client is not served."""
    world.start()
    with Client(world.relay.port) as client, Client(world.relay.port) as idle:
        client.ehlo()
        idle.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        client.expect("DATA", 354)
        client.send(message("in flight"))
        os.kill(world.relay.process.pid, signal.SIGTERM)
        world.relay.wait("stopping")
        code, _ = idle.reply()  # told, without having asked
        assert code == 421
        client.send(b".\r\n")
        assert client.reply()[0] == 250
    world.relay.stop()
    with pytest.raises(OSError):
        Client(world.relay.port)
    # Delivered before the end, or kept for the next start.
    if not world.receiver.deliveries:
        world.relay.start()
        world.receiver.wait_deliveries(1)


def test_no_delivery_begins_while_a_client_is_waited_for(world):
    """What is under way ends; the rest waits for the next start, and nothing
    arrives twice."""
    goes_on = threading.Event()
    world.setup.delivery = "max_connections = 2"
    world.start(receiver_options={
        "replies": {"END": lambda argument: goes_on.wait(60) and None}})
    for i in range(12):
        submit(world.relay.port, message("load-%d" % i))
    world.receiver.wait_deliveries(2)
    with Client(world.relay.port) as client, Client(world.relay.port) as idle:
        client.ehlo()
        client.expect("MAIL FROM:<alice@example.com>", 250)
        client.expect("RCPT TO:<bob@example.net>", 250)
        client.expect("DATA", 354)
        client.send(message("load-12"))
        idle.ehlo()
        idle.expect("MAIL FROM:<alice@example.com>", 250)
        os.kill(world.relay.process.pid, signal.SIGTERM)
        assert idle.reply()[0] == 421
        goes_on.set()
        wait_for(world.receiver.is_alone, 20, "the end of both connections")
        assert len(world.receiver.deliveries) == 2
        client.send(b".\r\n")
        assert client.reply()[0] == 250
        assert client.reply()[0] == 421
    world.relay.stop()
    assert not world.relay.named("stop-expired")
    world.relay.start()
    arrived = [re.search(rb"load-\d+", one.data).group()
               for one in world.receiver.wait_deliveries(13)]
    assert sorted(set(arrived)) == sorted(arrived)


def test_term_without_work_is_quick(world):
    world.start()
    begun = time.monotonic()
    world.relay.stop()
    assert time.monotonic() - begun < 30, "it waited for the grace"
    assert world.relay.named("stopping")


def test_interrupt_is_a_stop(world):
    world.start()
    os.kill(world.relay.process.pid, signal.SIGINT)
    assert world.relay.process.wait(35) == 0


def test_restart_takes_the_port_again(world):
    """Although it has closed a connection that the client has not."""
    world.start()
    with Client(world.relay.port) as client:
        client.ehlo()
        world.relay.stop()
        world.relay.start()


# -- reloading --------------------------------------------------------------

def test_check_config_warns_of_modes(setup, own_keys, directory, certificate):
    """Of each file with a secret that others may read or write."""
    configured = setup()
    configured.keys = own_keys
    configured.domains = {"example.com": ["rsa"]}
    files = {"users": "user:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n",
             "password": "secret\n"}
    for name, text in files.items():
        with open(os.path.join(directory, name), "w") as file:
            file.write(text)
        files[name] = file.name
    key = os.path.join(directory, "tls.key")
    shutil.copy(certificate[1], key)
    configured.listener = (
        'tls = "starttls"\n tls_cert = "%s"\n tls_key = "%s"\n'
        'auth = "optional"\n auth_file = "%s"' % (
            certificate[0], key, files["users"]))
    configured.extra = ('route "example.org" { via = "[192.0.2.1]:25"\n'
                        'auth_user = "a"  auth_password_file = "%s" }'
                        % files["password"])
    path = configured.write()
    secrets = [*files.values(), key, own_keys.path("example.com", "rsa")]
    for mode, verb in ((0o600, None), (0o604, "read"), (0o602, "write")):
        for name in secrets:
            os.chmod(name, mode)
        done = signet.run("check-config", config=path, check=0)
        assert done.stdout == b""
        lines = done.stderr.decode().splitlines()
        assert len(lines) == (len(secrets) if verb else 0), lines
        for name in secrets if verb else ():
            said = [line for line in lines if name in line]
            assert len(said) == 1, (name, lines)
            assert said[0].startswith("signet: warning: ")
            assert "%s it; chmod 600" % verb in said[0]
    os.chmod(key, 0o640)
    for name in secrets:
        os.chmod(name, 0o640 if name == key else 0o600)
    assert signet.run("check-config", config=path, check=0).stderr == b""


def test_check_config_takes_a_machine_without_a_domain(directory):
    """Its name is not in the configuration, which is right."""
    path = os.path.join(directory, "signet.conf")
    for hostname, code in (("", 0), ('hostname = "a..b"', 78)):
        with open(path, "w") as file:
            file.write('state_dir = "%s"\n%s\n' % (directory, hostname))
        done = subprocess.run(
            ["unshare", "-u", "sh", "-c",
             'hostname dotless; exec "$@"', "sh", signet.binary(),
             "check-config", "-c", path], capture_output=True)
        assert done.returncode == code, done.stderr
        assert done.stdout == b""
        assert (done.stderr == b"") == (code == 0), done.stderr


def test_check_config_warns_of_what_nobody_means(setup, directory):
    configured = setup()
    users = os.path.join(directory, "users")
    with open(users, "w") as file:
        file.write("# nobody yet\n")
    os.chmod(users, 0o600)
    configured.extra = (
        'listener "world" {\n address = "*:%d"\n allow_from = {"0.0.0.0/0"}\n'
        ' auth = "optional"  auth_without_tls = true  auth_file = "%s"\n'
        ' rewrite_from = "scanner@example.org"\n}' % (free_port(), users))
    text = configured.text().replace("relay.example.com", "relay")
    configured.text = lambda: text
    said = signet.run("check-config", config=configured.write(),
                      check=0).stderr.decode().splitlines()
    for words in ("'hostname' \"relay\" is no full name", "OPEN RELAY",
                  "'rewrite_from' gives mail the author scanner@example.org",
                  "auth_file '%s': nobody stands in it" % users):
        lines = [line for line in said if words in line]
        assert len(lines) == 1, (words, said)
        assert lines[0].startswith("signet: warning: ")
    assert len(said) == 4, said


def test_reload_brings_a_domain(world, keys):
    world.start()
    submit(world.relay.port, message(sender="a@example.org"))
    world.receiver.wait_deliveries(1)
    world.setup.domains["example.org"] = ["rsa", "ed"]
    world.setup.limits = 'max_message_size = "1M"'
    world.setup.write()
    with Client(world.relay.port) as client:  # survives the reload
        client.ehlo()
        world.relay.hang_up()
        wait_for(lambda: client.ehlo()["SIZE"] == str(1 << 20), 20,
                 "its loop to know")
        world.relay.wait("reload")
        assert client.transaction("a@example.org", ["bob@example.net"],
                                  message(sender="a@example.org"))[0] == 250
    first, second = (event["signatures"] for event in
                     [world.relay.wait("accepted", count=n) for n in (1, 2)])
    assert first == []
    assert [one["domain"] for one in second] == ["example.org"] * 2
    world.receiver.wait_deliveries(2)
    verdicts = judge.dkimpy(world.receiver.deliveries[-1].data,
                            judge.lookup_in(keys.records))
    assert verdicts and all(verdict.passed for verdict in verdicts)


def wait_until_heard(clients, code):
    """The event says that all loops are told of a reload; what is said to MAIL,
    by each of them, that they know."""
    def answer(client):
        found = client.say("MAIL FROM:<alice@example.com>")[0]
        client.expect("RSET", 250)
        return found
    wait_for(lambda: [answer(client) for client in clients] ==
             [code] * len(clients), 20, "all loops to know")


def test_reload_judges_open_connections(world):
    """By what the listener is now, also in a transaction that is open."""
    world.start()
    with Client(world.relay.port) as busy, Client(world.relay.port) as idle:
        others = [Client(world.relay.port) for _ in range(6)]
        for client in busy, idle, *others:
            client.ehlo()
        busy.expect("MAIL FROM:<alice@example.com>", 250)
        busy.expect("RCPT TO:<bob@example.net>", 250)
        world.setup.listener = 'allow_from = {"192.0.2.1"}'
        world.setup.write()
        world.relay.hang_up()
        world.relay.wait("reload")
        wait_until_heard(others, 550)
        busy.expect("DATA", 550)
        busy.expect("RSET", 250)
        for client in busy, idle:
            reply = client.expect("MAIL FROM:<alice@example.com>", 550)
            assert "allow_from" in str(reply)
        world.setup.listener = ""
        world.setup.write()
        world.relay.hang_up()
        world.relay.wait("reload", count=2)
        wait_until_heard(others, 250)
        assert idle.transaction("alice@example.com", ["bob@example.net"],
                                message())[0] == 250
        for client in others:
            client.close()
    assert world.relay.wait("rejected")["reason"].startswith("Relaying")


def test_reload_brings_a_key(world, own_keys):
    """The same selectors, another RSA key behind one of them."""
    world.setup.keys = own_keys
    world.start()
    submit(world.relay.port, message())
    os.unlink(own_keys.path("example.com", "rsa"))
    own_keys.make("example.com", "rsa", "rsa")
    world.relay.hang_up()
    world.relay.wait("reload")
    submit(world.relay.port, message())
    one, two = world.receiver.wait_deliveries(2)
    lookup = judge.lookup_in(own_keys.records)
    assert [v.passed for v in judge.dkimpy(one.data, lookup)
            if v.selector == "rsa"] == [False]
    assert [v.passed for v in judge.dkimpy(two.data, lookup)] == [True, True]


@pytest.mark.parametrize("spoil", ("syntax", "key", "unknown"))
def test_a_bad_reload_changes_nothing(world, own_keys, spoil):
    world.setup.keys = own_keys
    world.start()
    if spoil == "key":
        with open(own_keys.path("example.com", "rsa"), "w") as file:
            file.write("not a key\n")
    else:
        world.setup.extra = {"syntax": "domain \"x",
                             "unknown": "nonsense = 1"}[spoil]
        world.setup.write()
    seen = len(world.relay.events)
    world.relay.hang_up()
    # Some event names the trouble; it is an error, and not "reload".
    wait_for(lambda: any(event["level"] == "error"
                         for event in world.relay.events[seen:]), 20,
             world.relay.tail)
    text = str([event for event in world.relay.events[seen:]
                if event["level"] == "error"])
    assert ("rsa.pem" if spoil == "key" else "signet.conf") in text
    assert not world.relay.named("reload")
    submit(world.relay.port, message())
    assert len(world.relay.wait("accepted")["signatures"]) == 2


def test_reloads_under_load(world, keys):
    """No message fails or mixes two generations while keys are exchanged."""
    world.start()
    stop = threading.Event()
    failures = []

    def load():
        while not stop.is_set():
            try:
                submit(world.relay.port, message())
            except Exception as error:
                failures.append(repr(error))
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        world.setup.domains["example.org"] = ["rsa"] if turn % 2 else ["ed"]
        world.setup.write()
        world.relay.hang_up()
        world.relay.wait("reload", count=turn + 1)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not failures, failures[:3]
    for event in world.relay.named("accepted"):
        assert len(event["signatures"]) == 2


# -- refusing to start -------------------------------------------------------

def test_unreadable_key(setup, own_keys):
    """Named, exit 78 (missing) or 77 or 78 (no key inside)."""
    configured = setup(keys=own_keys)
    os.unlink(own_keys.path("example.com", "rsa"))
    refused_to_start(configured, 78, "example.com/rsa.pem")
    for content in ("", "not a key\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n"
                    "-----END PRIVATE KEY-----\n"):
        with open(own_keys.path("example.com", "rsa"), "w") as file:
            file.write(content)
        os.chmod(own_keys.path("example.com", "rsa"), 0o600)
        said = refused_to_start(configured, 78, "example.com/rsa.pem")
        assert "BEGIN" not in said


def test_a_key_too_small(setup, own_keys):
    configured = setup(keys=own_keys)
    os.unlink(own_keys.path("example.com", "rsa"))
    own_keys.make("example.com", "rsa", "rsa", bits=768)
    refused_to_start(configured, 78, "example.com/rsa.pem", "768")


def test_a_small_key_is_a_warning(world, own_keys):
    os.unlink(own_keys.path("example.com", "rsa"))
    own_keys.make("example.com", "rsa", "rsa", bits=1024)
    world.setup.keys = own_keys
    world.start()
    warnings = [event for event in world.relay.events
                if event["level"] == "warning"]
    assert any("rsa.pem" in str(event) and "1024" in str(event)
               for event in warnings), world.relay.tail()


def test_a_key_that_others_read_is_a_warning(world, own_keys):
    path = own_keys.path("example.com", "rsa")
    os.chmod(path, 0o644)
    world.setup.keys = own_keys
    world.start()
    warnings = [str(event) for event in world.relay.events
                if event["level"] == "warning"]
    assert any(path in text and "644" in text for text in warnings), \
        world.relay.tail()
    submit(world.relay.port, message())
    assert len(world.relay.wait("accepted")["signatures"]) == 2


def test_pkcs1(world, own_keys):
    path = own_keys.path("example.com", "rsa")
    subprocess.run(["openssl", "rsa", "-in", path, "-traditional", "-out",
                    path + ".new"], check=True, stderr=subprocess.DEVNULL)
    os.replace(path + ".new", path)
    os.chmod(path, 0o600)
    with open(path) as file:
        assert "BEGIN RSA PRIVATE KEY" in file.read()
    world.setup.keys = own_keys
    world.start()
    submit(world.relay.port, message())
    data = world.receiver.wait_deliveries(1)[0].data
    verdicts = judge.dkimpy(data, judge.lookup_in(own_keys.records))
    assert [verdict.passed for verdict in verdicts] == [True, True]


def test_second_relay_on_the_same_state(world, setup):
    world.start()
    with open(world.setup.path) as file:
        text = file.read()
    from harness.ports import free_port
    path = world.setup.path + ".second"
    with open(path, "w") as file:
        file.write(text.replace(":%d" % world.setup.port,
                                ":%d" % free_port()))
    refused_to_start(None, 75, "state", config=path)
    submit(world.relay.port, message())  # the first does not mind
    world.receiver.wait_deliveries(1)


def test_port_in_use(world, setup, directory):
    world.start()
    path = os.path.join(directory, "second.conf")
    other = os.path.join(directory, "other-state")
    os.mkdir(other)
    shutil.chown(other, "nobody")
    with open(path, "w") as file:
        file.write(world.setup.text().replace(world.setup.state_dir, other))
    done = subprocess.run([signet.binary(), "relay", "-c", path], timeout=120,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode in (69, 71, 75, 78)
    assert str(world.setup.port) in done.stderr.decode()


def test_a_store_that_is_none(world):
    """It is named and set aside, never lost in silence; then mail is taken."""
    world.start()
    submit(world.relay.port, message())
    world.receiver.wait_deliveries(1)
    world.relay.stop()
    path = os.path.join(world.setup.state_dir, "queue", "data.mdb")
    with open(path, "r+b") as file:
        file.write(b"this is not a database" * 2000)
    world.relay.start()
    world.relay.wait("store-damaged")
    aside = [name for name in os.listdir(world.setup.state_dir)
             if name.startswith("queue.damaged-")]
    assert len(aside) == 1, os.listdir(world.setup.state_dir)
    submit(world.relay.port, message())
    world.receiver.wait_deliveries(2)


def test_a_state_dir_that_is_none(setup):
    configured = setup()
    os.rmdir(configured.state_dir)
    open(configured.state_dir, "w").close()
    done = subprocess.run(
        [signet.binary(), "relay", "-c", configured.write()],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode in (73, 75, 77, 78), done.stderr.decode()
    assert configured.state_dir in done.stderr.decode()


def test_a_state_dir_is_made(world):
    os.rmdir(world.setup.state_dir)
    world.setup.state_dir += "/not/there"
    world.start()
    mode = os.stat(world.setup.state_dir).st_mode
    assert stat.S_IMODE(mode) == 0o700
    submit(world.relay.port, message())
    world.receiver.wait_deliveries(1)


def test_a_state_dir_of_somebody_else(setup):
    """It is not taken over when there is something in it that is not ours."""
    if os.getuid() != 0:
        pytest.skip("only root gives directories away")
    configured = setup()
    precious = os.path.join(configured.state_dir, "precious")
    open(precious, "w").close()
    os.chown(configured.state_dir, 0, 0)
    refused_to_start(configured, 78, configured.state_dir, "precious")
    assert os.stat(precious).st_uid == 0


AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def test_what_may_not_be_read(setup, own_keys, directory, certificate):
    """Exit 77, which no restart mends, and the path; by check-config, too."""
    if os.getuid() != 0:
        pytest.skip("root becomes somebody who may not")
    configured = setup(keys=own_keys)
    files = {name: os.path.join(directory, name)
             for name in ("tls.pem", "tls.key", "users", "more.conf")}
    shutil.copy(certificate[0], files["tls.pem"])
    shutil.copy(certificate[1], files["tls.key"])
    with open(files["users"], "w") as file:
        file.write("user:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n")
    open(files["more.conf"], "w").close()
    configured.listener = (
        'tls = "starttls"  tls_cert = "%(tls.pem)s"  tls_key = "%(tls.key)s"\n'
        'auth = "optional"  auth_file = "%(users)s"' % files)
    configured.extra = 'include "%(more.conf)s"' % files
    files["key"] = own_keys.path("example.com", "rsa")
    files["configuration"] = configured.write()
    for path in [*files.values(), own_keys.path("example.com", "ed")]:
        shutil.chown(path, "nobody", "nogroup")
    for name, path in files.items():
        mode = os.stat(path).st_mode
        os.chmod(path, 0)
        for command in ("check-config", "relay", "milter"):
            if command == "milter" and name in ("tls.pem", "tls.key", "users"):
                continue
            done = subprocess.run(
                [*AS_NOBODY, signet.binary(), command, "-c", configured.path],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120)
            said = done.stderr.decode()
            assert done.returncode == 77, (name, command, said)
            assert "'%s'" % path in said or path + ":" in said, (name, said)
            assert "Permission denied" in said, (name, said)
        os.chmod(path, mode)


def test_a_state_dir_that_may_not_be_used(world):
    """Root's, and then started by somebody else."""
    if os.getuid() != 0:
        pytest.skip("root becomes somebody who may not")
    world.setup.domains = {}  # whose keys might be in the way, too
    world.start()
    world.relay.stop()
    path = world.setup.state_dir
    for mode in (0o700, 0o755):
        os.chown(path, 0, 0)
        os.chmod(path, mode)
        done = subprocess.run(
            [*AS_NOBODY, signet.binary(), "relay", "-c", world.setup.path],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120)
        said = done.stderr.decode()
        assert done.returncode == 77, (mode, said)
        assert "state_dir '%s'" % path in said, (mode, said)
        assert "ermission denied" in said, (mode, said)


def test_an_unknown_user(setup):
    if os.getuid() != 0:
        pytest.skip("only root changes its user")
    configured = setup()
    text = configured.text()
    configured.text = lambda: text.replace('"nobody"', '"nobody-of-this-name"')
    refused_to_start(configured, 78, "nobody-of-this-name")


# -- the file ----------------------------------------------------------------

BAD_FILES = {
    # name: (lines put at the end, line of the error counted from there, words)
    "unknown option": ("nonsense = 1\n", 1, ["nonsense"]),
    "near miss": ('hostnam = "x"\n', 1, ["hostnam", "hostname"]),
    "unknown section": ("deliverry { port = 1 }\n", 1, ["deliverry"]),
    "unknown in section": ("milter {\n sockett = \"x\"\n}\n", 2, ["sockett"]),
    "duplicate option": ('user = "b"\n', 1, ["user"]),
    "duplicate domain": ('domain "example.com" {\n selector "x" {'
                         ' key = "example.com/rsa.pem" }\n}\n', 1,
                         ["example.com"]),
    "duplicate in section": ('milter { socket = "inet:1@127.0.0.1"\n'
                             ' socket = "inet:2@127.0.0.1" }\n', 2,
                             ["socket"]),
    "no last brace": ('milter {\n socket = "inet:1@127.0.0.1"\n', None, []),
    "no value": ("milter { socket = }\n", 1, []),
    "unterminated string": ('milter { socket = "inet\n', None, []),
    "bad time": ('route "a.example" { tls = "sometimes" }\n', 1,
                 ["sometimes"]),
    "selector without key": ('domain "example.org" {\n selector "x" { }\n}\n',
                             2, ["key"]),
    "missing include": ('include "/nonexistent/more.conf"\n', 1,
                        ["/nonexistent/more.conf"]),
    "include of a directory": ('include "/etc"\n', 1, ["/etc"]),
    "include of itself": ('include "signet.conf"\n', None, []),
    "missing key": ('domain "example.org" {\n selector "x" {'
                    ' key = "example.org/gone.pem" }\n}\n', None,
                    ["example.org/gone.pem"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_configuration(setup, name):
    """Exit 78; file and line; the relay refuses exactly as the check does."""
    added, line, words = BAD_FILES[name]
    configured = setup()
    configured.write()
    with open(configured.path) as file:
        before = file.read().count("\n")
    with open(configured.path, "a") as file:
        file.write(added)
    done = signet.run("check-config", config=configured.path, check=78)
    said = done.stderr.decode()
    assert done.stdout == b""
    if line is not None:
        place = "%s:%d:" % (configured.path, before + line)
        assert "signet: " + place in said, said
    else:
        assert re.search(r"^signet: ", said, re.M), said
    for word in words:
        assert word in said, said
    refused_to_start(None, 78, *words, config=configured.path)


def test_every_error_at_once(setup):
    configured = setup()
    configured.extra = 'one = 1\nmilter { two = 2 }\nthree { }\nlog { x = 1 }'
    done = signet.run("check-config", config=configured.write(), check=78)
    said = done.stderr.decode()
    for word in ("one", "two", "three"):
        assert re.search(r"signet\.conf:\d+: .*%s" % word, said), said


def test_a_good_configuration(setup):
    done = signet.run("check-config", config=setup().write(), check=0)
    assert done.stdout == b"" and done.stderr == b""


def test_missing_files(setup, directory):
    done = signet.run("check-config", config=directory + "/none.conf")
    assert done.returncode in (77, 78)
    assert "none.conf" in done.stderr.decode()
    configured = setup()
    configured.listener = ('tls = "starttls"\n tls_cert = "/nonexistent/c.pem"'
                           '\n tls_key = "/nonexistent/k.pem"')
    done = signet.run("check-config", config=configured.write(), check=78)
    assert "/nonexistent/c.pem" in done.stderr.decode()


@pytest.mark.parametrize("command, section, kind", (
    ("relay", 'listener "programs" {\n address = "unix:%s"\n'
     ' socket_group = "signet-none"\n}\n', "group"),
    ("milter", 'milter {\n socket = "unix:%s"\n'
     ' socket_group = "signet-none"\n}\n', "group"),
    pytest.param("relay", 'signer_user = "signet-none" # %s', "user",
                 marks=pytest.mark.skipif(os.getuid() != 0,
                                          reason="only root becomes it"))))
def test_an_unknown_group_or_user(setup, directory, command, section, kind):
    """The start says what check-config says."""
    configured = setup()
    configured.extra = section % (directory + "/socket")
    path = configured.write()
    said = [signet.run(one, config=path, check=78).stderr.decode()
            for one in ("check-config", command)]
    assert said[0] == said[1]
    assert re.search(r"\.conf:\d+: '\w+': there is no %s 'signet-none'" % kind,
                     said[0])


def test_every_address_beside_one_of_them(setup):
    """Not a start that fails again and again, as for a port in use (75)."""
    configured = setup()
    configured.extra = 'listener "all" { address = "*:%d" }\n' % \
        configured.port
    path = configured.write()
    for command in ("check-config", "relay"):
        said = signet.run(command, config=path, check=78).stderr.decode()
        assert "have the same port" in said, said
    # These are different sockets.
    configured.extra = 'listener "all" { address = "[::]:%d" }\n' % \
        configured.port
    signet.run("check-config", config=configured.write(), check=0)


def test_include(setup, directory):
    configured = setup()
    with open(os.path.join(directory, "more.conf"), "w") as file:
        file.write('domain "example.org" {\n'
                   ' selector "rsa" { key = "example.org/rsa.pem" }\n}\n')
    configured.extra = 'include "%s/more.conf"' % directory
    signet.run("check-config", config=configured.write(), check=0)
    with open(os.path.join(directory, "more.conf"), "a") as file:
        file.write("\nnonsense = 1\n")
    done = signet.run("check-config", config=configured.path, check=78)
    assert "more.conf:5:" in done.stderr.decode()


def test_usage():
    for arguments in ((), ("nonsense",), ("relay", "--nonsense"),
                      ("sign", "--time"), ("key",), ("key", "nonsense"),
                      ("key", "generate")):
        done = signet.run(*arguments)
        assert done.returncode == 64, (arguments, done)
        assert done.stderr, arguments


def test_a_value_that_is_none_is_named():
    """The usage alone does not say which one, or why."""
    for words, what in (
            ("key generate example.com x -a rsa", "-a: 'rsa' "),
            ("key generate example.com x -b 512", "-b: "),
            ("key generate example.com x -a ed25519-sha256 -b 2048", "-b "),
            ("doctor --address x example.com", "--address: 'x' "),
            ("doctor" + 9 * " --address 192.0.2.1" + " example.com",
             "--address: at most"),
            ("status --domain a..b", "'a..b': "),
            ("queue list --domain a..b", "'a..b': "),
            ("sign --time now", "--time: "), ("sign --time", "--time: ")):
        said = signet.run(*words.split(), config="/nowhere",
                          check=64).stderr.decode()
        assert said.startswith("signet: " + what), (words, said)
        assert "usage: " in said, words


def test_options_are_a_configuration(directory):
    """What `signet options` writes can be read again."""
    path = os.path.join(directory, "options.conf")
    text = signet.run("options", check=0).stdout
    with open(path, "wb") as file:
        file.write(text)
    for name in ("hostname", "state_dir", "keys_dir", "user", "resolvers",
                 "address", "allow_from", "max_message_size", "retry",
                 "expire", "bounce_from", "canonicalization", "unsigned",
                 "subdomains", "socket"):
        assert re.search(r"\b%s\s*=" % name, text.decode()), name
    done = signet.run("check-config", config=path)
    assert b":" not in done.stderr.replace(b"signet: ", b"") or \
        b"unknown" not in done.stderr, done.stderr.decode()


# -- what it leaves behind ----------------------------------------------------

def test_state_is_private(world):
    world.start()
    submit(world.relay.port, message())
    world.receiver.wait_deliveries(1)
    for folder, _, names in os.walk(world.setup.state_dir):
        for name in names + ["."]:
            mode = os.stat(os.path.join(folder, name)).st_mode
            if stat.S_ISREG(mode):
                assert mode & 0o077 == 0, os.path.join(folder, name)


def test_nothing_remains_of_delivered_mail(world):
    """Spool files and records go when the last recipient is settled."""
    world.start()
    for _ in range(3):
        submit(world.relay.port, message(body="x" * 70 + "\r\n" * 200000))
    world.receiver.wait_deliveries(3)
    world.relay.wait("delivered", count=3)
    world.relay.stop()
    left = [os.path.join(folder, name)
            for folder, _, names in os.walk(world.setup.state_dir)
            for name in names if not name.endswith(".mdb")
            and os.path.getsize(os.path.join(folder, name)) > 100000]
    assert not left, left
