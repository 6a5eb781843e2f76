"""What the benches that send messages have in common. To import it opens the
way to the tests' harness.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))

from harness.judge import Keys  # noqa: E402
from harness.names import NameServer  # noqa: E402

import load  # noqa: E402


class Bench:
    """What all systems have in common: keys, names and the sink."""

    def __init__(self, directory, ed25519=False):
        self.directory = directory
        self.keys = Keys(os.path.join(directory, "keys"))
        self.key = self.keys.make("example.com", "rsa", "rsa")
        self.selectors = ["rsa"]
        if ed25519:
            self.keys.make("example.com", "ed", "ed25519")
            self.selectors.append("ed")
        self.names = NameServer(directory, {
            "example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.1"})
        self.sink = load.Sink(directory)

    def run(self, system, size, sessions, messages, probed=False):
        return load.Run(self.sink, system, size, sessions, messages,
                        probed).finish()

    def stop(self):
        self.sink.stop()
        self.names.stop()


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def parse_size(text):
    """(bytes, sessions, messages); no messages: as many as take a while."""
    numbers = [int(part) for part in text.split(":")]
    return (numbers + [20, 0][len(numbers) - 1:])[:3]
