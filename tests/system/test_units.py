"""The units that are installed, by a systemd of their own."""

import errno
import os

import pytest

from harness import booted, signet, traced
from harness.process import wait_for

CONFIG = """
hostname = "relay.example.com"
listener "mta" { address = "*:25" }
listener "programs" {
    address = "unix:/run/signet/submit.sock"
    socket_group = "mail"
    socket_mode = "0660"
}
dns { resolvers = {"127.0.0.1:53"} }
milter {
    socket = "unix:/run/signet/milter.sock"
    socket_group = "mail"
    socket_mode = "0660"
}
domain "example.com" {
    selector "rsa" { key = "example.com/rsa.pem" }
}
"""
SUBMIT = """exec 3<>/dev/tcp/127.0.0.1/25
for line in 'EHLO client.example.com' 'MAIL FROM:<alice@example.com>' \
    'RCPT TO:<bob@example.net>' DATA 'From: alice@example.com
Subject: x

Hello.
.' QUIT; do
    while read -r reply <&3 && [ "${reply:3:1}" = - ]; do :; done
    echo "$reply"
    printf '%s\\n' "$line" | sed 's/$/\\r/' >&3
done
cat <&3"""
# A relay gives its sockets to groups that its user is in (README.md).
IN_GROUP = """[Service]
SupplementaryGroups=mail
"""
# A disk that no boot waits for (noauto, nofail).
MOUNT = """[Mount]
What=state
Where=/var/lib/signet
Type=tmpfs
Options=uid=signet,mode=700
"""
UNITS = ("signet.service", "signet-milter.service")
UNIT_OF = {"relay": UNITS[0], "milter": UNITS[1]}
# Whoever runs one of them boots a machine, or waits in vain for one.
pytestmark = pytest.mark.xdist_group("units")


@pytest.fixture(scope="module")
def machine(module_directory, keys):
    program = os.environ.get("PLAIN") or signet.binary()
    if not booted.is_possible():
        pytest.skip("no systemd, or no namespaces to boot it in")
    made = booted.Machine(module_directory, program, CONFIG, keys, UNITS,
                          {UNITS[0]: IN_GROUP})
    made.add_unit("var-lib-signet.mount", MOUNT)
    try:
        made.__enter__()
    except booted.NotBooted as fault:
        pytest.skip("systemd does not come up here: %s" % fault)
    yield made
    made.__exit__()


def processes(machine, service):
    """{name: pid in the machine}"""
    main = machine.ask("systemctl show -p MainPID --value " + UNIT_OF[service])
    found = {"supervisor": main}
    for line in machine.ask("pgrep -a -P " + main).splitlines():
        pid, _, words = line.partition(" ")
        found["signer" if "signer" in words else service] = pid
    return found


@pytest.mark.parametrize("service", UNIT_OF)
def test_it_runs(machine, service):
    """As nobody who is root; what talks to the network has no capability."""
    unit = UNIT_OF[service]
    assert machine.ask("systemctl is-active " + unit) == "active", \
        machine.ask("journalctl --no-pager -u " + unit)
    found = processes(machine, service)
    assert sorted(found) == sorted(("supervisor", "signer", service))
    for name, pid in found.items():
        status = dict(
            line.split(":\t", 1) for line in
            machine.done("cat /proc/%s/status" % pid).splitlines()
            if ":\t" in line)
        assert "0" not in status["Uid"].split(), name
        assert status["NoNewPrivs"] == "1", name
        assert (int(status["CapPrm"], 16) == 0) == (name != "supervisor"), name


def test_the_queue_is_on_its_disk(machine):
    """And not in the directory that the disk is mounted on later."""
    assert machine.ask("systemctl is-active var-lib-signet.mount") == "active"
    assert machine.ask("findmnt -no SOURCE -T /var/lib/signet/queue") == "state"


def test_it_takes_and_signs_mail(machine):
    """On a port that is not everybody's, with keys that are root's."""
    done = machine.run("bash -c '%s'" % SUBMIT.replace("'", "'\\''"))
    assert b"queued as" in done.stdout, done.stdout
    assert "bob@example.net" in machine.done("signet queue list")
    assert "signed_rsa_sha256: 1\n" in machine.done("signet status")


@pytest.mark.parametrize("name", ("milter", "submit"))
def test_sockets(machine, name):
    """Of the group that was named, in the directory that the unit makes."""
    assert machine.done("stat -c '%%U %%G %%a' /run/signet/%s.sock" % name) == \
        "signet mail 660\n"


SOCKET, BIND, STREAM = 41, 49, 1  # x86-64
PLACE = "\1\0/run/signet/test.sock"  # sockaddr_un


@pytest.mark.skipif(not traced.is_possible(), reason="x86-64 and root")
@pytest.mark.parametrize("service", UNIT_OF)
def test_the_kernel_keeps_its_files(machine, service):
    """The unit leaves them what that takes. The directory is its user's, and
    no list of calls knows where a socket is made."""
    assert "confinement" not in machine.ask(
        "journalctl --no-pager -u " + UNIT_OF[service])
    pid = machine.outside(processes(machine, service)[service])
    with traced.Traced(pid) as process:
        made = process.call(SOCKET, 1, STREAM, 0)
        assert made > 2
        assert process.call(BIND, made, PLACE, len(PLACE)) == -errno.EACCES


@pytest.mark.parametrize("service", UNIT_OF)
def test_reload_death_and_stop(machine, service):
    unit = UNIT_OF[service]
    machine.done("systemctl reload " + unit)
    assert machine.ask("systemctl is-active " + unit) == "active"
    before = processes(machine, service)
    for name in ("signer", service):
        machine.done("kill -9 " + before[name])

    def replaced():
        now = processes(machine, service)
        return len(now) == 3 and all(now[name] != before[name]
                                     for name in ("signer", service))
    wait_for(replaced, 20, "others")
    assert processes(machine, service)["supervisor"] == before["supervisor"]
    machine.done("systemctl stop " + unit)
    assert machine.ask("systemctl show -p Result --value " + unit) == "success"
    assert not machine.ask("pgrep -P " + before["supervisor"])


@pytest.mark.parametrize("service", UNIT_OF)
def test_a_bad_configuration_is_not_tried_again(machine, service):
    """It fails, and so is seen by whoever watches the units."""
    unit = UNIT_OF[service]
    machine.done("echo nonsense = 1 >/etc/signet/signet.conf")
    machine.ask("systemctl start " + unit)
    wait_for(lambda: machine.ask("systemctl show -p ActiveState --value " +
                                 unit) == "failed", 20, "the failure")
    assert machine.ask("systemctl show -p ExecMainStatus --value " +
                       unit) == "78"
    assert "nonsense" in machine.ask("journalctl --no-pager -n 20 -u " + unit)


def test_an_address_may_come_late(machine):
    """As at a boot, however often it was not there: the milter's, which starts
    again soonest."""
    unit = UNIT_OF["milter"]
    machine.done("mkdir /run/systemd/system/%s.d" % unit)
    machine.done("printf '[Service]\\nRestartSec=0\\n' "
                 ">/run/systemd/system/%s.d/soon.conf" % unit)
    machine.done("""cat >/etc/signet/signet.conf <<'END'
milter { socket = "inet:8891@192.0.2.9" }
domain "example.com" {
    selector "rsa" { key = "example.com/rsa.pem" }
}
END""")
    machine.done("systemctl daemon-reload; systemctl reset-failed " + unit)
    machine.ask("systemctl start " + unit)
    wait_for(lambda: int(machine.ask("systemctl show -p NRestarts --value " +
                                     unit)) > 5, 20,
             lambda: machine.ask("systemctl status " + unit))
    machine.done("ip address add 192.0.2.9/32 dev lo")
    wait_for(lambda: machine.ask("systemctl is-active " + unit) == "active",
             20, lambda: machine.ask("systemctl status " + unit))
