"""Load of which every message is accounted for.

Clients note what was acknowledged; a receiver counts what arrives and keeps
nothing else of it.
"""

import collections
import random
import re
import threading
import time

from .faulty import Receiver
from .smtp import Client, Closed, message

TOKEN = re.compile(rb"^Subject: (load-\S+)\r$", re.M)
LINE = "0123456789abc\r\n"


def token_of(data):
    return TOKEN.search(data).group(1).decode()


class Account:
    """What was acknowledged and what arrived, by the token of its Subject."""

    def __init__(self):
        self.acknowledged = []
        self.refused = collections.Counter()
        self.arrived = collections.Counter()
        self.arrivals = collections.defaultdict(list)  # (when, session) of each
        self.broken = []       # arrived other than it was sent
        self.lines = {}        # of the body of each

    def append(self, delivery):
        """In place of a Receiver's list of deliveries."""
        token = token_of(delivery.data)
        body = delivery.data.partition(b"\r\n\r\n")[2]
        if body != (LINE * self.lines[token]).encode():
            self.broken.append(token)
        self.arrived[token] += 1
        self.arrivals[token].append((time.monotonic(), delivery.session))

    def remove(self, delivery):
        """It was not acknowledged."""
        token = token_of(delivery.data)
        self.arrived[token] -= 1
        self.arrivals[token].pop()

    def __len__(self):
        return sum(self.arrived.values())

    def missing(self):
        return [token for token in list(self.acknowledged)
                if not self.arrived[token]]

    def twice(self):
        return sum(count - 1 for count in list(self.arrived.values())
                   if count > 1)

    def __str__(self):
        return ("%d acknowledged, %d arrived, %d missing, %d twice, "
                "%d broken" % (len(self.acknowledged), len(self),
                               len(self.missing()), self.twice(),
                               len(self.broken)))


class Sink(Receiver):
    def __init__(self, account, *arguments, **options):
        self._account = account
        super().__init__(*arguments, **options)

    @property
    def deliveries(self):
        return self._account

    @deliveries.setter
    def deliveries(self, _):
        pass


class Load(threading.Thread):
    """Submits until told to stop, on connections that end when they end."""

    SIZES = (1, 50, 3000, 30000)

    def __init__(self, port, name, account, sizes=SIZES, pause=0,
                 recipients=("bob@example.net",)):
        super().__init__(daemon=True)
        self.port, self.label, self.account = port, name, account
        self.sizes, self.pause, self.recipients = sizes, pause, recipients
        self.stopping = threading.Event()
        self.random = random.Random(name)
        self.number = 0

    def one(self, client):
        self.number += 1
        token = "load-%s-%d" % (self.label, self.number)
        lines = self.random.choice(self.sizes)
        self.account.lines[token] = lines
        code, words = client.transaction(
            "alice@example.com", self.recipients,
            message(token, LINE * lines))
        if code == 250:
            self.account.acknowledged.append(token)
        else:
            self.account.refused["%d %s" % (code, words[-1][:60])] += 1

    def run(self):
        while not self.stopping.is_set():
            try:
                with Client(self.port, timeout=10) as client:
                    client.ehlo()
                    while not self.stopping.is_set():
                        self.one(client)
                        time.sleep(self.pause)
            except (OSError, Closed, AssertionError):
                time.sleep(0.02)


def stop(loads):
    for load in loads:
        load.stopping.set()
    for load in loads:
        load.join(20)
