"""The three processes: their ends, their descriptors, their log."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from harness import signet
from harness.process import (children_of, freeze, is_alive, quickest,
                             wait_for)
from harness.smtp import Client, message, submit


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def anonymous_kilobytes(pid):
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith("RssAnon"):
                return int(line.split()[1])
    return 0


def can_submit(world):
    def attempt():
        try:
            submit(world.relay.port, message())
        except Exception:
            return None
        return True
    wait_for(attempt, 30, lambda: "a message\n" + world.relay.tail())


def another(world, name, before):
    """The family, once the process called so is another one."""
    def changed():
        try:
            now = world.relay.family()
        except AssertionError:
            return None
        return now if now[name] != before[name] else None
    return wait_for(changed, 30, "another " + name)


# -- what is started again ----------------------------------------------------

@pytest.mark.parametrize("first", ("relay", "signer"))
def test_both_die_at_once(world, first):
    world.start()
    before = world.relay.family()
    second = "signer" if first == "relay" else "relay"
    os.kill(before[first], signal.SIGKILL)
    os.kill(before[second], signal.SIGKILL)
    world.relay.wait("ready", count=2)
    another(world, "signer", before)
    can_submit(world)


def test_a_parent_that_ignores_its_children(world):
    """SIGCHLD is ignored at the start: the end of a child is still seen."""
    code = ("import os, signal, sys\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n")
    world.start(receiver_options=False)
    world.relay.stop()
    world.relay.launch_with([sys.executable, "-c", code])
    world.relay.wait("ready", count=2)
    before = world.relay.family()
    os.kill(before["relay"], signal.SIGKILL)
    world.relay.wait("ready", count=3)
    os.kill(before["signer"], signal.SIGKILL)
    another(world, "signer", before)


def test_a_reload_while_a_child_is_replaced_is_not_lost(world):
    world.start(receiver_options=False)
    for turn in range(4):
        # The second death in a row is mended after a second.
        os.kill(world.relay.family()["relay"], signal.SIGKILL)
        world.relay.wait("relay-died", count=turn + 1)
        world.relay.hang_up()
        world.relay.wait("ready", count=turn + 2)
        world.relay.wait("reload", count=turn + 1)
        if turn == 1:
            break


def test_a_storm_of_hang_ups(world):
    world.start(receiver_options=False)
    for turn in range(300):
        world.relay.hang_up()
    seen = len(world.relay.named("reload"))
    world.relay.hang_up()
    world.relay.wait("reload", count=seen + 1)
    can_submit(world)
    assert not world.relay.named("reload-refused")
    assert not world.relay.named("relay-died")


@pytest.mark.parametrize("name", ("relay", "signer"))
def test_a_child_that_hangs_is_replaced_by_a_reload(world, name):
    world.start(receiver_options=False)
    before = world.relay.family()
    freeze(before[name])
    world.relay.hang_up()
    world.relay.wait("reload-refused", seconds=40)
    world.relay.wait(name + "-died", seconds=10)
    another(world, name, before)
    can_submit(world)


def test_term_while_a_reload_waits_for_a_relay_that_hangs(world):
    """The supervisor listens meanwhile."""
    world.start(receiver_options=False)
    relay = world.relay.family()["relay"]
    freeze(relay)
    world.relay.hang_up()
    os.kill(world.relay.process.pid, signal.SIGTERM)
    os.kill(relay, signal.SIGCONT)
    world.relay.wait("stopping")
    world.relay.stop()


def test_a_stop_waits_for_no_idle_client(world):
    """Who keeps a connection for later is told and left; it may look at that
    after hours. Less than STREAM_FINISH_MS, for which others are waited."""
    world.start(receiver_options=False)
    clients = []

    def connect():
        if world.relay.process.poll() is not None:
            world.relay.start()
        clients[:] = [Client(world.relay.port) for _ in range(3)]
        clients[1].ehlo()
        clients[2].ehlo()
        clients[2].transaction("alice@example.com", ["bob@example.net"],
                               message())
    quickest(8, world.relay.stop, before=connect)
    for client in clients:
        code, lines = client.reply()
        assert code == 421 and lines[0].startswith("4.3.2 "), lines
        client.expect_closed()
        client.close()


def test_refused_reloads_leave_the_keys(world, directory):
    """What signs now stays, however often a reload is refused behind the
    keys: here by the relay process, for a certificate that is none."""
    world.start(receiver_options=False)
    path = os.path.join(directory, "no.pem")
    with open(path, "w") as file:
        file.write("nothing\n")
    world.setup.domains = {"example.org": ["rsa"]}
    world.setup.listener = \
        'tls = "starttls" tls_cert = "%s" tls_key = "%s"' % (path, path)
    world.setup.write()
    for turn in range(3):
        world.relay.hang_up()
        world.relay.wait("reload-refused", count=turn + 1)
    submit(world.relay.port, message())
    assert len(world.relay.wait("accepted")["signatures"]) == 2


# -- nothing left behind ------------------------------------------------------

def test_a_killed_supervisor_leaves_nothing(world):
    """At any moment of a start; and the next start works at once."""
    world.start(receiver_options=False)
    world.relay.stop()
    for turn in range(12):
        world.relay.launch()
        pid = world.relay.process.pid
        time.sleep(turn * 0.02)  # not to wait for anything: any moment
        family = children_of(pid)
        os.kill(pid, signal.SIGKILL)
        world.relay.process.wait(60)
        wait_for(lambda: not any(is_alive(child) for child in family), 10,
                 "the children to end: %s" % family)
    world.relay.strays.clear()
    world.relay.start()
    can_submit(world)


def test_reloads_cost_no_descriptor_and_no_memory(world, monkeypatch):
    # A sanitizer keeps what is freed, up to this.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") +
                       ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64")
    world.start(receiver_options=False)
    counts = {}
    for turn in range(60):
        world.relay.hang_up()
        world.relay.wait("reload", count=turn + 1)
        if turn in (19, 59):
            family = world.relay.family()
            # The last old descriptor is closed behind the event.
            counts[turn] = {name: (descriptors(pid), anonymous_kilobytes(pid))
                            for name, pid in family.items()}
    for name, pid in family.items():
        before, after = counts[19][name], counts[59][name]
        wait_for(lambda: descriptors(pid) <= before[0], 5,
                 "%s: descriptors: %s, %s" % (name, before, after))
        assert after[1] < before[1] + 4096, (name, before, after)


def test_descriptors_of_others_are_not_handed_on(world):
    world.start(receiver_options=False)
    world.relay.stop()
    world.relay.launch_with(["sh", "-c", 'exec 7<"$0" 9<"$0"; exec "$@"',
                             world.setup.path])
    world.relay.wait("ready", count=2)
    for name, pid in world.relay.family().items():
        targets = [os.readlink("/proc/%d/fd/%s" % (pid, fd))
                   for fd in os.listdir("/proc/%d/fd" % pid)]
        held = world.setup.path in targets
        assert held == (name == "supervisor"), (name, targets)


def test_hidden_commands_by_hand(directory):
    """They say what they are, and end."""
    for command in ("relay-process", "signer-process"):
        for redirection in ("3>&-", "3</dev/null", "3</"):
            done = subprocess.run(
                ["sh", "-c", 'exec "$0" "$1" ' + redirection,
                 signet.binary(), command],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, timeout=120)
            assert done.returncode == 64, done
            assert done.stderr.startswith(b"signet: "), done


# -- the log ------------------------------------------------------------------

def test_a_log_that_nobody_reads(world):
    """stderr is a full pipe: the supervisor still does its work."""
    world.start(receiver_options=False)
    world.relay.stop()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x\n")
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    process = subprocess.Popen(
        [signet.binary(), "-c", world.setup.path, "relay"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writing)
    try:
        os.close(writing)

        def serves():
            try:
                Client(world.relay.port).close()
            except OSError:
                return None
            return True
        wait_for(serves, 20, "the relay to accept")
        before = children_of(process.pid)
        assert len(before) == 2
        for child in before:
            os.kill(child, signal.SIGKILL)
        wait_for(lambda: len(set(children_of(process.pid)) - set(before)) == 2,
                 30, "both to be started again")
        wait_for(serves, 20, "the relay to accept again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def test_a_closed_log(world):
    world.start(receiver_options=False)
    world.relay.stop()
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", signet.binary(), "-c",
         world.setup.path, "relay"], stdin=subprocess.DEVNULL)
    try:
        def taken():
            try:
                submit(world.relay.port, message())
            except Exception:
                return None
            return True
        wait_for(taken, 20, "a message")
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait()


def threads(pid):
    names = []
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, task)) as file:
            names.append(file.read().strip())
    return names


# -- without privileges -------------------------------------------------------

@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another")
def test_an_unprivileged_start(world, own_for_nobody):
    world.setup.keys = own_for_nobody
    world.start(receiver_options=False)
    world.relay.stop()
    world.relay.launch_with(["setpriv", "--reuid=nobody", "--regid=nogroup",
                             "--clear-groups"])
    world.relay.wait("ready", count=2)
    submit(world.relay.port, message())
    assert len(world.relay.wait("accepted")["signatures"]) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can have less")
def test_root_with_few_capabilities(world):
    """As in a container."""
    world.start(receiver_options=False)
    world.relay.stop()
    world.relay.launch_with(["taskset", "-c", str(min(os.sched_getaffinity(0))),
                             "setpriv", "--bounding-set=-all,+setuid,+setgid"])
    world.relay.wait("ready", count=2)
    assert "CAP_KILL" in world.relay.named("user")[-1]["reason"]
    assert threads(world.relay.family()["relay"]).count("loop") == 1
    world.relay.stop()
    world.relay.launch_with(["setpriv", "--bounding-set=-all"])
    assert world.relay.process.wait(20) == 77
    assert "CAP_SETUID and CAP_SETGID" in world.relay.tail()


# -- two in one directory -----------------------------------------------------

def test_a_second_relay_on_one_state_dir(world, setup):
    """Says whose it is, and what to do."""
    world.start(receiver_options=False)
    second = setup()  # in the same directory, on another port
    assert second.state_dir == world.setup.state_dir
    done = signet.run("relay", config=second.write(), check=75)
    assert done.stderr.decode() == \
        "signet: state_dir '%s': another relay uses it (process %d): stop " \
        "that one, or give this one a directory of its own\n" % (
            second.state_dir, world.relay.family()["supervisor"])


# -- files that are none ------------------------------------------------------

@pytest.mark.parametrize("kind", ("fifo", "directory", "device"))
def test_a_certificate_that_is_no_file(setup, directory, kind):
    """Refused at once, and not waited for."""
    path = os.path.join(directory, "strange")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    else:
        path = "/dev/zero"
    configured = setup()
    configured.listener = \
        'tls = "starttls" tls_cert = "%s" tls_key = "%s"' % (path, path)
    done = subprocess.run(
        [signet.binary(), "-c", configured.write(), "relay"], timeout=120,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE)
    assert done.returncode == 78, done
    assert path.encode() in done.stderr, done
