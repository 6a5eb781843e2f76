"""The bench behind tests/bench/signing; usage is written there."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import dkim

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))

from harness.judge import Keys  # noqa: E402

KIB = 1 << 10
SIZES = (KIB, 10 * KIB, 100 * KIB, KIB * KIB, 10 * KIB * KIB)
# Bytes that a run signs, and messages, at most; dkimpy's run is shorter.
RUN_BYTES, RUN_MESSAGES, DKIMPY_SHARE = 80 << 20, 500, 20
NAMES = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version",
         "Content-Type")
SIGNERS = ("stage", "signer", "opendkim", "dkimpy")
PARTS = ("rsa", "sha256")
LABELS = {"stage": "signet", "signer": "signet, signer process",
          "opendkim": "OpenDKIM's library", "dkimpy": "dkimpy",
          "rsa": "RSA-2048 alone", "sha256": "SHA-256 alone"}
HEADER = (b"From: Alice <alice@example.com>\r\nTo: Bob <bob@example.net>\r\n"
          b"Subject: what a signature costs\r\n"
          b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
          b"Message-ID: <bench@example.com>\r\nMIME-Version: 1.0\r\n"
          b"Content-Type: text/plain; charset=us-ascii\r\n\r\n")


def text(size):
    """Lines of words; now and then two spaces, or one at the end of a line."""
    line = (b"the quick brown fox jumps over the lazy dog and the other "
            b"one\r\n")
    odd = (b"two  spaces stand here, and one is at the end of the line "
           b"here \r\n")
    block = line * 15 + odd
    return (block * (size // len(block) + 1))[:size - 2] + b"\r\n"


class Bench:
    def __init__(self, directory, options):
        self.build = os.environ["BUILD"]
        self.options = options
        self.key = Keys(directory + "/keys").make("example.com", "rsa", "rsa")
        with open(self.key, "rb") as file:
            self.pem = file.read()
        self.path = directory + "/message"

    def program(self, *arguments):
        done = subprocess.run(
            [os.path.join(self.build, "tests/bench", arguments[0])] +
            [str(one) for one in arguments[1:]],
            stdout=subprocess.PIPE, check=True)
        return [float(one) for one in done.stdout.split()]

    def dkimpy(self, message, count):
        names = [name.lower().encode() for name in NAMES]
        cpu, clock = time.process_time(), time.monotonic()
        for _ in range(count):
            dkim.sign(message, b"rsa", b"example.com", self.pem,
                      canonicalize=(b"relaxed", b"relaxed"),
                      include_headers=names)
        return time.process_time() - cpu, time.monotonic() - clock

    def run(self, name, message, count):
        """(CPU, clock) in µs for one message."""
        if name == "dkimpy":
            count = max(1, count // DKIMPY_SHARE)
            cpu, clock = self.dkimpy(message, count)
        elif name == "opendkim":
            cpu, clock = self.program("bench-signing-opendkim", self.key,
                                      self.path, count)
        else:
            cpu, clock = self.program("bench-signing", name, self.key,
                                      self.path, count)
        return cpu / count * 1e6, clock / count * 1e6

    def measure(self, size):
        message = HEADER + text(size)
        with open(self.path, "wb") as file:
            file.write(message)
        count = max(2, min(RUN_MESSAGES, RUN_BYTES // size))
        names = [name for name in SIGNERS + PARTS
                 if name not in self.options.without]
        runs = {name: [] for name in names}
        for number in range(self.options.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                runs[name].append(self.run(name, message, count))
        # What disturbs a run makes it longer, never shorter.
        cpu = {name: min(one for one, _ in rows)
               for name, rows in runs.items()}
        clock = {name: min(one for _, one in rows)
                 for name, rows in runs.items()}
        return {"size": size, "messages": count, "runs": runs, "cpu_us": cpu,
                "rate": {name: 1e6 / one for name, one in clock.items()},
                "share": shares(cpu)}


def shares(cpu):
    """Of signet's CPU, the key in the same process."""
    parts = {name: cpu[name] / cpu["stage"] for name in PARTS}
    parts["own"] = 1 - sum(parts.values())
    return parts


def show(results):
    for row in results:
        print("\nbody of %d bytes, %d messages, the fastest of %d runs each" % (
            row["size"], row["messages"], len(row["runs"]["stage"])))
        print("  %-24s %14s %16s %8s" % ("", "signatures/s",
                                         "CPU µs/message", "CPU"))
        for name in row["rate"]:
            if name not in PARTS:
                print("  %-24s %14.1f %16.1f %8.2f" % (
                    LABELS[name], row["rate"][name], row["cpu_us"][name],
                    row["cpu_us"][name] / row["cpu_us"]["stage"]))
        for name in PARTS:
            print("  %-24s %14s %16.1f %8s" % (LABELS[name], "",
                                               row["cpu_us"][name], ""))
        print("  signet's CPU: RSA %.0f %%, SHA-256 %.0f %%, its own code "
              "%.0f %%; it all is %.2f x SHA-256 without RSA" % (
                  row["share"]["rsa"] * 100, row["share"]["sha256"] * 100,
                  row["share"]["own"] * 100,
                  (row["cpu_us"]["stage"] - row["cpu_us"]["rsa"]) /
                  row["cpu_us"]["sha256"]))


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/signing")
    parser.add_argument("--size", action="append", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", action="append", default=[],
                        choices=SIGNERS[1:])
    parser.add_argument("--json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="signet-bench.") as directory:
        bench = Bench(directory, options)
        results = [bench.measure(size) for size in options.size or SIZES]
    show(results)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"cores": os.cpu_count(), "results": results}, file,
                      indent=1)


if __name__ == "__main__":
    main()
