"""Servers in a mount namespace of their own.

A server that is only unpacked (etc/packages) may want a user, or places, that
the machine does not have. It sees them, and nobody else does: files are bound
over those of /etc, and places begin empty. Its host has a name that it can look
up. All of it ends with the server.
"""

import os
import pwd

# Where a server keeps things is empty; then files are as given.
SCRIPT = """set -e
hostname mx.example.net
directory=$1
places=$2
shift 2
for place in $places; do
	mount -t tmpfs -o mode=755 alone "$place"
done
for file in "$directory"/*; do
	mount --bind "$file" "/etc/${file##*/}"
done
exec "$@"
"""
HOSTS = "127.0.0.1 localhost mx.example.net\n"
# "lookup" is for OpenSMTPD, which would ask a name server before the file.
RESOLVER = """nameserver 127.0.0.1
options timeout:1 attempts:1
lookup file
"""


def with_users(users):
    """/etc/passwd and /etc/group with these users, too: {name: uid}."""
    with open("/etc/passwd") as file:
        passwd = file.read()
    with open("/etc/group") as file:
        group = file.read()
    for name, uid in users.items():
        if not has_user(name):
            passwd += "%s:x:%d:%d::/nonexistent:/bin/false\n" % (name, uid,
                                                                uid)
            group += "%s:x:%d:\n" % (name, uid)
    return {"passwd": passwd, "group": group}


def has_user(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def alone(directory, command, users=None, places=()):
    """The command that runs `command` so."""
    files = os.path.join(directory, "alone")
    os.makedirs(files, exist_ok=True)
    for name, text in dict(with_users(users or {}), hosts=HOSTS,
                           **{"resolv.conf": RESOLVER}).items():
        with open(os.path.join(files, name), "w") as file:
            file.write(text)
    return ["unshare", "-m", "-u", "--propagation", "private", "sh", "-c", SCRIPT,
            "sh", files, " ".join(places)] + list(command)


def find_apart(package, path):
    """A file of a package that is unpacked by itself, or the machine's."""
    unpacked = os.path.join(os.environ.get("SERVERS_APART", ""), package,
                            path.lstrip("/"))
    return unpacked if os.path.exists(unpacked) else path
