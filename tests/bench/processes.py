"""Trees of processes by /proc."""

import os

TICK = os.sysconf("SC_CLK_TCK")


def tree(roots):
    """{pid: fields of its stat} of every living process at or below the
    roots."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry)] = (int(fields[1]), fields)
    found = {}
    for pid, (_, fields) in parents.items():
        walk = pid
        while walk in parents and walk not in roots:
            walk = parents[walk][0]
        if walk in roots:
            found[pid] = fields
    return found


def cpu_seconds(roots):
    """user + sys of a tree, of children that ended and were reaped too."""
    return sum(sum(int(value) for value in fields[11:15])
               for fields in tree(set(roots)).values()) / TICK


def anonymous_bytes(roots):
    """RssAnon of a tree: memory of its own, not of mapped files."""
    total = 0
    for pid in tree(set(roots)):
        try:
            with open("/proc/%d/status" % pid) as file:
                total += sum(int(line.split()[1]) for line in file
                             if line.startswith("RssAnon:"))
        except OSError:
            pass
    return total << 10


def threads(roots):
    """{(process, thread): (user, system)} of the living threads of a tree in
    seconds, by their names; those of one name are one."""
    found = {}
    for pid in tree(set(roots)):
        for stat in _stats("/proc/%d/task" % pid):
            key = _name(pid), stat[0]
            user, system = found.get(key, (0, 0))
            found[key] = user + stat[1] / TICK, system + stat[2] / TICK
    return found


def _name(pid):
    """What a process says it is, such as "relay-process"; else its program."""
    try:
        with open("/proc/%d/cmdline" % pid) as file:
            words = file.read().split("\0")
    except OSError:
        return "?"
    return next((word for word in words if word.endswith("-process")),
                os.path.basename(words[0]))


def _stats(directory):
    """(name, user, system) of each thread, in ticks."""
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        try:
            with open(os.path.join(directory, name, "stat")) as file:
                head, _, rest = file.read().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        yield head.partition("(")[2], int(fields[11]), int(fields[12])
