"""What the processes that talk to the network may not do, done in them.

By a build without sanitizers: those need more than signet does.
"""

import errno
import os
import signal
import subprocess
import sys

import pytest

from harness import signet, traced
from harness.milter_world import World as MilterWorld
from harness.preload import SlowSigner
from harness.process import children_of, is_still, wait_for
from harness.smtp import message, submit

pytestmark = pytest.mark.skipif(not traced.is_possible(),
                                reason="x86-64 and root")

# x86-64's numbers
OPEN, MMAP, MPROTECT, DUP, FORK, EXECVE, KILL, UNLINK = \
    2, 9, 10, 32, 57, 59, 62, 87
PTRACE, SYSLOG, SETUID, MOUNT, PRCTL, CLONE, SOCKET, BPF = \
    101, 103, 105, 165, 157, 56, 41, 321
IO_URING_SETUP = 425
IOCTL, FCNTL, LINK, CHMOD, FCHMOD, FCHMODAT = 16, 72, 86, 90, 91, 268
F_SETOWN, F_SETSIG, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP = \
    8, 10, 15, 0x8901, 0x8902
HERE = -100  # AT_FDCWD
READ, WRITE, EXEC, ANONYMOUS_PRIVATE = 1, 2, 4, 0x22
CREATE = os.O_CREAT | os.O_WRONLY
SIGSYS = signal.SIGSYS


@pytest.fixture(scope="module", autouse=True)
def plain():
    """The program as it is installed."""
    path = os.environ.get("PLAIN") or signet.binary()
    symbols = subprocess.run(["readelf", "-W", "--dyn-syms", path], check=True,
                             stdout=subprocess.PIPE).stdout
    if b"__asan_init" in symbols:
        pytest.skip("PLAIN names no build without sanitizers")
    before = os.environ.get("SIGNET")
    os.environ["SIGNET"] = path
    yield path
    if before is None:
        del os.environ["SIGNET"]
    else:
        os.environ["SIGNET"] = before


class Confined:
    """A process under test: .pid() of the present one, .works()."""

    def __init__(self, name, program, works):
        self.name, self.program, self.works = name, program, works

    def pid(self):
        return self.program.family()["relay"]  # whichever it is

    def all(self):
        return self.program.family()


@pytest.fixture
def relay_world(world):
    world.start()
    world.relay.deaths_expected = True

    def works():
        submit(world.relay.port, message())
    return Confined("relay", world.relay, works)


@pytest.fixture
def milter_world(keys):
    made = MilterWorld(keys)
    made.milter.start()
    made.milter.deaths_expected = True

    def works():
        made.passes(made.message())
    yield Confined("milter", made.milter, works)
    made.stop()


@pytest.fixture(params=("relay", "milter"))
def confined(request):
    found = request.getfixturevalue(request.param + "_world")
    found.works()
    return found


def fields(path):
    with open(path) as file:
        return dict(line.rstrip("\n").split(":\t", 1)
                    for line in file if ":\t" in line)


def test_what_was_given_up(confined):
    """By each thread; of the signer as well, and by its own list."""
    family = confined.all()
    del family["supervisor"]
    for name, pid in family.items():
        for thread in os.listdir("/proc/%d/task" % pid):
            has = fields("/proc/%d/task/%s/status" % (pid, thread))
            assert has["Seccomp"] == "2", (name, has)
            assert has["NoNewPrivs"] == "1", (name, has)
            for group in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(has[group], 16) == 0, (name, group, has)
            for kind in ("Uid", "Gid"):
                ids = set(has[kind].split())
                assert len(ids) == 1 and "0" not in ids, (name, kind, has)
            assert not has["Groups"].strip(), (name, has)
        # proc(5): root's, although the process is another's: not dumpable.
        assert os.stat("/proc/%d/mem" % pid).st_uid == 0, name
        with open("/proc/%d/limits" % pid) as file:
            limits = [line for line in file if line.startswith("Max core")]
        assert limits[0].split()[4:6] == ["0", "0"], (name, limits)
    own = fields("/proc/%d/status" % family["relay"])
    assert own["Umask"] == "0077"
    assert int(own["Seccomp_filters"]) >= 2


# What is refused with an error, and the process lives on.
REFUSED = (
    ("a call that is not listed", errno.ENOSYS, SYSLOG, 10),
    ("rings of calls", errno.ENOSYS, IO_URING_SETUP, 8, 0),
    ("an end to others", errno.ENOSYS, KILL, os.getpid(), 0),
    ("a socket of packets", errno.ENOSYS, SOCKET, 17, 3, 0),
    ("a socket of netlink", errno.ENOSYS, SOCKET, 16, 3, 0),
    ("being dumped", errno.ENOSYS, PRCTL, 4, 1),
    ("executable memory", errno.EACCES, MMAP, 0, 4096, READ | EXEC,
     ANONYMOUS_PRIVATE, -1, 0),
    ("code on the stack", errno.EACCES, MPROTECT, 0, 4096,
     READ | WRITE | EXEC),
    ("a signal by what is written", errno.ENOSYS, FCNTL, 2, F_SETOWN,
     os.getpid()),
    ("the same", errno.ENOSYS, FCNTL, 2, F_SETOWN_EX, 0),
    ("the same, by bits that the kernel passes over", errno.ENOSYS, FCNTL, 2,
     1 << 32 | F_SETOWN, os.getpid()),
    ("another signal for it", errno.ENOSYS, FCNTL, 2, F_SETSIG,
     signal.SIGKILL),
    ("the same by ioctl()", errno.ENOSYS, IOCTL, 2, FIOSETOWN, 0),
    ("the same for sockets", errno.ENOSYS, IOCTL, 2, SIOCSPGRP, 0),
    ("another mode", errno.ENOSYS, CHMOD, "/", 0o777),
    ("another mode of what is open", errno.ENOSYS, FCHMOD, 2, 0o777),
    ("another mode, the third way", errno.ENOSYS, FCHMODAT, HERE, "/", 0o777),
    ("a second name", errno.ENOSYS, LINK, "/none", "other"),
    ("a file elsewhere", errno.EACCES, OPEN, "/dev/shm/signet-test", CREATE,
     0o600),
    ("another's file", errno.EACCES, OPEN, "/dev/null", os.O_WRONLY),
)


def test_what_is_refused(confined):
    with traced.Traced(confined.pid()) as process:
        assert process.call(DUP, 2) > 2, "an allowed call is made"
        bad = ["%s: %d" % (name, done) for name, error, *call in REFUSED
               for done in [process.call(*call)] if done != -error]
        assert not bad, bad
    assert not os.path.exists("/dev/shm/signet-test")
    confined.works()
    assert not confined.program.named(confined.name + "-died")


def test_files_of_the_relay_and_of_the_milter(relay_world, milter_world):
    """One keeps them in its directory, the other keeps none."""
    with traced.Traced(relay_world.pid()) as process:
        assert process.call(OPEN, "test-file", CREATE, 0o600) > 2
        assert process.call(UNLINK, "test-file") == 0
    with traced.Traced(milter_world.pid()) as process:
        assert process.call(OPEN, "/tmp/signet-test", CREATE,
                            0o600) == -errno.EACCES
        assert process.call(UNLINK, "/tmp/signet-test") == -errno.EACCES
        assert process.call(OPEN, "/etc/resolv.conf", os.O_RDONLY) > 2


# What ends the process.
DEADLY = (
    ("another program", EXECVE, "/bin/true", 0, 0),
    ("another process", FORK),
    ("another process, by clone()", CLONE, signal.SIGCHLD, 0, 0, 0, 0),
    ("tracing", PTRACE, 0, 0, 0, 0),
    ("another user", SETUID, 0),
    ("mounting", MOUNT, "none", "/mnt", "tmpfs", 0, 0),
    ("a program for the kernel", BPF, 0, 0, 0),
)


@pytest.mark.parametrize("row", DEADLY, ids=lambda row: row[0])
def test_what_is_deadly(milter_world, row):
    """The milter is started again at once; of the relay one is tried below."""
    assert killed_by(milter_world, row[1:]) == SIGSYS


# What Debian 12's systemd does to whom it gives @system-service only: EPERM for
# the calls of Landlock (444 to 446). Instructions of bpf(2): load the number of
# the call; below and above go on; refuse; allow.
WITHOUT_LANDLOCK = """import ctypes, os, struct, sys
filter = b"".join(struct.pack("<HBBI", *row) for row in (
    (0x20, 0, 0, 0), (0x35, 0, 2, 444), (0x25, 1, 0, 446),
    (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000)))
place = ctypes.create_string_buffer(filter)
program = struct.pack("<HxxxxxxQ", len(filter) // 8, ctypes.addressof(place))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execvp(sys.argv[1], sys.argv[1:])"""


@pytest.mark.parametrize("service", ("relay", "milter"))
def test_without_landlock(setup, keys, service):
    """It is said, once, and the list of calls holds what it can."""
    made = MilterWorld(keys) if service == "milter" else None
    program = made.milter if made else signet.Relay(setup(keys=keys),
                                                    start=False)
    program.deaths_expected = True
    try:
        program.launch_with([sys.executable, "-c", WITHOUT_LANDLOCK])
        program.wait("ready")
        os.kill(program.family()["relay"], signal.SIGKILL)
        program.wait("ready", count=2)
        said = program.named("confinement")
        assert [event["level"] for event in said] == ["warning"], said
        assert "Landlock: Operation not permitted" in said[0]["reason"]
        assert service + " process" in said[0]["reason"]
        if made:
            with traced.Traced(program.family()["relay"]) as process:
                assert process.call(OPEN, "/dev/shm", os.O_TRUNC) == \
                    -errno.EACCES
    finally:
        program.discard()
        if made:
            made.stop()


def test_a_relay_that_starts_a_program_is_replaced(relay_world):
    relay_world.works()
    before = relay_world.pid()
    assert killed_by(relay_world, DEADLY[0][1:]) == SIGSYS
    event = relay_world.program.wait("relay-died")
    assert "signal %d" % SIGSYS in event["reason"], event
    wait_for(lambda: relay_world.pid() != before, 20, "another relay")
    relay_world.program.wait("ready", count=2)
    relay_world.works()


CONTROL = 3  # to the supervisor
WRITE_CALL = 1


def test_who_says_what_is_no_answer_is_replaced(relay_world):
    """By the supervisor, which stays: nobody else would watch it any more."""
    before = relay_world.all()
    with pytest.raises(traced.Died) as died, \
            traced.Traced(relay_world.pid()) as process:
        process.call(WRITE_CALL, CONTROL, "x", 1)
        wait_for(process.look, 20, "its end, while it stands still")
    assert died.value.signal == signal.SIGKILL
    relay_world.program.wait("ready", count=2)
    assert relay_world.all()["supervisor"] == before["supervisor"]
    relay_world.works()


def test_processes_of_one_user(setup, own_for_nobody, directory):
    """As in the unit, where all are of one user and that is not root: the relay
    has the signer's rights, and still no way to it; nor to one that starts, and
    has not closed its memory yet."""
    configured = setup(keys=own_for_nobody)
    slow = SlowSigner(directory)
    relay = signet.Relay(configured, start=False, env=slow.environment)
    with open(configured.write(), "w") as file:
        file.write(configured.text().replace('"nobody"', '"daemon"'))
    relay.deaths_expected = True
    try:
        relay.launch_with(["setpriv", "--reuid=nobody", "--regid=nogroup",
                           "--clear-groups"])
        relay.wait("ready")
        assert '"daemon" is for a start by root' in \
            relay.wait("user")["reason"]
        family = relay.family()
        signer = family["signer"]
        with traced.Traced(family["relay"]) as process:
            for name in ("mem", "environ", "maps", "fd/3"):
                assert process.call(OPEN, "/proc/%d/%s" % (signer, name),
                                    os.O_RDONLY) == -errno.EACCES, name
            assert process.call(KILL, signer, signal.SIGKILL) == -errno.ENOSYS
        slow.set(True)
        os.kill(signer, signal.SIGKILL)
        wait_for(lambda: [pid for pid in children_of(family["supervisor"])
                          if pid not in family.values()], 20, "a signer")
        assert is_still(family["relay"])
        slow.set(False)
        wait_for(lambda: not is_still(family["relay"]), 20, "its going on")
        submit(relay.port, message())
        assert killed_by(Confined("relay", relay, None),
                         (PTRACE, 16, signer, 0, 0)) == SIGSYS
        relay.wait("ready", count=2)
    finally:
        relay.discard()


def killed_by(confined, call):
    try:
        with traced.Traced(confined.pid()) as process:
            process.call(*call)
    except traced.Died as died:
        return died.signal
    return None
