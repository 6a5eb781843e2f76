"""Where signet's own CPU goes, by the clocks of its threads.

What a thread does in user mode is its work: the signer's threads sign, the
store's thread keeps the store. Only hashing has no thread of its own: it is
taken for what OpenSSL needs for so many bytes, and taken from the loops' user
time. Without TLS, as the load has none, there is none to show.
"""

import processes

HEADER = 1000  # bytes that are hashed for the header, roughly
SIGNER, STORE = "signer-process", "store"


def measure(bench, system, size, sessions, messages):
    """{"process thread": [user, system]} in µs per message."""
    before = processes.threads(system.roots)
    bench.run(system, size, sessions, messages)
    after = processes.threads(system.roots)
    return {"%s %s" % key: [(now - then) / messages * 1e6 for now, then
                            in zip(after[key], before.get(key, (0, 0)))]
            for key in after}


def parts(threads, size, facts):
    """{what: µs per message}."""
    hashing = (size + HEADER) / facts["sha256_bytes_per_s"] * 1e6
    found = {"RSA": 0, "hashing": hashing, "store": 0, "TLS": 0,
             "system calls": 0, "the rest": -hashing}
    for name, (user, system) in threads.items():
        process, _, thread = name.partition(" ")
        if thread == STORE:
            found["store"] += user + system
            continue
        found["RSA" if process == SIGNER else "the rest"] += user
        found["system calls"] += system
    return found


def show(threads, size, facts):
    found = parts(threads, size, facts)
    print("  signet's own CPU, µs per message: " + ", ".join(
        "%s %.0f" % one for one in found.items()))
    for name, (user, system) in sorted(threads.items()):
        if user + system >= 1:
            print("    %-32s %5.0f user %5.0f system" % (name, user, system))
