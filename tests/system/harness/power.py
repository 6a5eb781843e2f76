"""The power fails: what a disk holds at a moment of a journal of writes.

What was synced is there. What was not is there or is not, sector by sector, as
chance has it; so is the name of a new file whose directory was not synced.
"""

import os
import random
import re
import struct

SECTOR = 512
RECORD = struct.Struct("=IIQQ")
IDENTITY = re.compile(rb"250 2\.[0-9.]+ .*?([0-9A-HJKMNP-TV-Z]{26})")


def records_of(path):
    """(kind, path, offset, bytes), in their order."""
    with open(path, "rb") as file:
        while True:
            head = file.read(RECORD.size)
            if len(head) < RECORD.size:
                return
            kind, path_len, offset, size = RECORD.unpack(head)
            name = file.read(path_len).decode()
            yield chr(kind), name, offset, file.read(size)


class Disk:
    def __init__(self, state):
        self.state = state
        self.files, self.pending = {}, {}
        self.named = set()
        self.promised = []

    def apply(self, kind, path, offset, data):
        """Whether a promise was made."""
        if kind == "A":
            found = IDENTITY.match(data)
            if found:
                self.promised.append(found.group(1).decode())
            return bool(found)
        if kind == "W":
            self.files.setdefault(path, bytearray())
            self.pending.setdefault(path, []).append((offset, data))
        elif kind == "D":
            put(self.files.setdefault(path, bytearray()), offset, data)
        elif path in self.files:
            for one in self.pending.pop(path, ()):
                put(self.files[path], *one)
        else:
            self.named |= {name for name in self.files
                           if os.path.dirname(name) == path.rstrip("/.")}
        return False

    def write(self, directory, chance):
        """All of it as it might be found."""
        for path, durable in self.files.items():
            if path not in self.named and chance.random() < 0.5:
                continue
            held = bytearray(durable)
            for offset, data in self.pending.get(path, ()):
                for at in range(0, len(data), SECTOR):
                    if chance.random() < 0.5:
                        put(held, offset + at, data[at:at + SECTOR])
            name = os.path.join(directory, os.path.relpath(path, self.state))
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as file:
                file.write(held)


def put(held, offset, data):
    if len(held) < offset:
        held.extend(bytes(offset - len(held)))
    held[offset:offset + len(data)] = data


def failures(journal, state, every, seed):
    """(promised, write) at each of every so many promises: write(directory)
    makes what the disk holds."""
    disk, chance = Disk(state), random.Random(seed)
    for record in records_of(journal):
        if disk.apply(*record) and len(disk.promised) % every == 0:
            yield set(disk.promised), \
                lambda directory: disk.write(directory, chance)
