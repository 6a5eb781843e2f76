"""The signer is alone with the keys; /proc says so."""

import os
import re
import subprocess

import pytest

from harness.process import parent_of, wait_for
from harness.signet import socket_inodes
from harness.smtp import message, submit

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="only root looks into other processes")

# A sanitizer reserves terabytes of shadow; nobody keeps a key there.
MAPPING_MAX = 1 << 31
PIECE = 1 << 20
ZEROS = bytes(PIECE)


def status(pid):
    with open("/proc/%d/status" % pid) as file:
        return dict(line.rstrip("\n").split(":\t", 1)
                    for line in file if ":\t" in line)


@pytest.fixture
def family(world):
    world.start()
    submit(world.relay.port, message())
    world.relay.wait("accepted")
    return world.relay.family()


def test_process_tree(family):
    assert parent_of(family["signer"]) == family["supervisor"]
    assert parent_of(family["relay"]) == family["supervisor"]


def test_signer_has_no_network_sockets(family):
    mine = socket_inodes(family["signer"])
    assert mine, "it must have its socketpairs"
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet",
                  "netlink"):
        path = "/proc/%d/net/%s" % (family["signer"], table)
        if not os.path.exists(path):
            continue
        with open(path) as file:
            words = set(re.findall(r"\d+", file.read()))
        assert not mine & words, "%s holds a %s socket" % (
            family["signer"], table)


def test_signer_is_sealed(family):
    fields = status(family["signer"])
    assert fields["Seccomp"] == "2"
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == 0
    # Not dumpable: /proc/PID belongs to root although the process does not.
    assert int(fields["Uid"].split()[1]) != 0
    assert os.stat("/proc/%d/mem" % family["signer"]).st_uid == 0


def test_relay_has_no_privileges(family):
    fields = status(family["relay"])
    assert int(fields["Uid"].split()[1]) != 0
    assert int(fields["Gid"].split()[1]) != 0
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


def test_relay_user_cannot_read_the_signer(family):
    """Nor trace it, nor open its descriptors."""
    code = ("import os, sys\n"
            "for name in ('mem', 'environ', 'maps'):\n"
            "    try:\n"
            "        open('/proc/%s/%s' % (sys.argv[1], name), 'rb').read(1)\n"
            "    except OSError:\n"
            "        continue\n"
            "    sys.exit('%s can be read' % name)\n"
            "try:\n"
            "    os.listdir('/proc/%s/fd' % sys.argv[1])\n"
            "except OSError:\n"
            "    sys.exit(0)\n"
            "sys.exit('fd can be read')\n")
    relay_uid = int(status(family["relay"])["Uid"].split()[1])
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code, str(family["signer"])],
        user=relay_uid, group=relay_uid, extra_groups=[],
        stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()


# -- where the keys are -------------------------------------------------------

def openssl_text(path):
    return subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"],
                          check=True, stdout=subprocess.PIPE).stdout.decode()


def hex_after(label, text):
    found = re.search(r"^%s:\s*\n((?:\s+[0-9a-f:]+\n)+)" % label, text, re.M)
    return bytes.fromhex(re.sub(r"[\s:]", "", found.group(1)))


def secrets(keys):
    """{what: bytes}: 32 bytes out of each secret number are enough, in either
    order of bytes: big-endian as in DER, little-endian as in BIGNUM limbs."""
    text = openssl_text(keys.path("example.com", "rsa"))
    found = {}
    for label in ("prime1", "prime2", "privateExponent", "exponent1",
                  "exponent2", "coefficient"):
        number = hex_after(label, text).lstrip(b"\0")
        for order, data in (("big", number), ("little", number[::-1])):
            for place, piece in (("start", data[:32]), ("end", data[-32:])):
                found["%s, %s-endian, %s" % (label, order, place)] = piece
    seed = hex_after("priv", openssl_text(keys.path("example.com", "ed")))
    assert len(seed) == 32
    found["Ed25519 seed"] = seed
    found["Ed25519 seed, reversed"] = seed[::-1]
    for selector in ("rsa", "ed"):
        with open(keys.path("example.com", selector), "rb") as file:
            lines = file.read().splitlines()
        for number in range(1, len(lines) - 1):
            # The algorithm's identifier opens the first; all keys share it.
            found["PEM of %s, line %d" % (selector, number)] = \
                lines[number][-40:]
    return found


def memory_of(pid):
    """Every readable mapping of a process, piece by piece with an overlap, but
    for pieces that are all zero: most of what a sanitizer has."""
    with open("/proc/%d/maps" % pid) as file:
        lines = file.readlines()
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for line in lines:
            fields = line.split()
            if not fields[1].startswith("r") or "[v" in line:
                continue
            start, end = (int(part, 16) for part in fields[0].split("-"))
            if end - start > MAPPING_MAX:
                continue
            tail = b""
            while start < end:
                size = min(end - start, PIECE)
                try:
                    memory.seek(start)
                    piece = memory.read(size)
                except OSError:
                    break
                if not piece:
                    break
                if piece != ZEROS[:len(piece)]:
                    yield tail + piece
                tail = piece[-64:]
                start += len(piece)


def found_in(pid, wanted):
    found, total = set(), 0
    for piece in memory_of(pid):
        total += len(piece)
        for name, data in wanted.items():
            if name not in found and data in piece:
                found.add(name)
    return found, total


def test_keys_are_only_in_the_signer(world, keys):
    world.start()
    for _ in range(20):
        submit(world.relay.port, message())
    world.relay.wait("accepted", count=20)
    # A reload reads every key again: where do the bytes pass?
    world.relay.hang_up()
    world.relay.wait("reload")
    submit(world.relay.port, message())
    family = world.relay.family()
    wanted = secrets(keys)

    # What must be there is found, by the same search: it can find.
    found, total = found_in(family["relay"],
                            {"its own name": b"relay.example.com"})
    assert found, "searched %d bytes" % total
    found, total = found_in(family["signer"], wanted)
    assert any("prime" in name for name in found), (found, total)
    assert any("seed" in name for name in found), (found, total)

    for name in ("relay", "supervisor"):
        found, total = found_in(family[name], wanted)
        assert total > 100000
        assert not found, "the %s holds: %s" % (name, sorted(found))


def test_keys_are_not_in_the_store(world, keys):
    world.start()
    submit(world.relay.port, message())
    world.relay.wait("accepted")
    world.relay.stop()
    wanted = secrets(keys)
    for folder, _, names in os.walk(world.setup.state_dir):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or os.path.getsize(path) > 1 << 30:
                continue
            with open(path, "rb") as file:
                data = file.read()
            for what, piece in wanted.items():
                assert piece not in data, "%s in %s" % (what, path)


def test_garbage_on_the_signers_sockets(world):
    """A relay process that went mad gets no signature and does no harm. The
    supervisor, on whose socket it speaks too, may well replace it."""
    world.start()
    world.relay.deaths_expected = True
    before = world.relay.family()
    # Only its owner has the sockets: take them over with pidfd_getfd.
    code = r"""
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
pidfd = libc.syscall(434, int(sys.argv[1]), 0)
assert pidfd >= 0
sent = 0
for name in os.listdir("/proc/%s/fd" % sys.argv[1]):
    fd = libc.syscall(438, pidfd, int(name), 0)
    if fd < 0:
        continue
    try:
        taken = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        continue
    if taken.family != socket.AF_UNIX:
        continue
    taken.setblocking(False)
    for data in (b"\0" * 64, b"\xff" * 300, os.urandom(200), b"x"):
        try:
            taken.send(data)
            sent += 1
        except OSError:
            pass
print(sent)
"""
    done = subprocess.run(["/usr/bin/python3", "-c", code,
                           str(before["relay"])], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)
    if done.returncode != 0 or int(done.stdout or 0) == 0:
        pytest.skip("cannot take descriptors over: %s" %
                    done.stderr.decode()[-200:])

    def signed():
        try:
            submit(world.relay.port, message())
        except Exception:
            return None
        return True
    wait_for(signed, 30, lambda: "a signed message\n" + world.relay.tail())
    assert world.relay.family()["signer"] == before["signer"]
    assert not world.relay.named("signer-died")
    for event in world.relay.named("accepted"):
        assert len(event["signatures"]) == 2
