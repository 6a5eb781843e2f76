"""What became of each recipient of each message."""

import collections
import email
import re

from harness.account import TOKEN, Account, token_of

FAILED = re.compile(r"^Final-Recipient: rfc822; ?(\S+)", re.M)


class Ledger(Account):
    """An Account that also knows which recipient a message arrived for, and
    which its sender was told of as failed."""

    def __init__(self):
        super().__init__()
        self.recipients = {}  # of each token
        self.fates = collections.Counter()  # of (token, recipient)

    def append(self, delivery):
        super().append(delivery)
        token = token_of(delivery.data)
        self.fates.update((token, one) for one in delivery.recipients)

    def remove(self, delivery):
        super().remove(delivery)
        token = token_of(delivery.data)
        self.fates.subtract((token, one) for one in delivery.recipients)

    def open(self):
        """Whose fate nobody has heard of, though the message was taken."""
        return [(token, one) for token in list(self.acknowledged)
                for one in self.recipients[token]
                if not self.fates[token, one]]


class Reports:
    """In place of a Receiver's list of deliveries: reports to the sender, each
    noted in the ledger that knows the message."""

    def __init__(self, *ledgers):
        self.ledgers = ledgers
        self.count = 0

    def append(self, delivery):
        self.note(delivery, 1)

    def remove(self, delivery):
        self.note(delivery, -1)

    def note(self, delivery, by):
        self.count += by
        token = TOKEN.search(delivery.data).group(1).decode()
        report = email.message_from_bytes(delivery.data)
        for part in report.walk():
            if part.get_content_type() != "message/delivery-status":
                continue
            for fields in part.get_payload():
                if fields.get("Action") != "failed":
                    continue
                one = FAILED.search(fields.as_string()).group(1)
                for ledger in self.ledgers:
                    if token in ledger.recipients:
                        ledger.fates[token, one] += by

    def __len__(self):
        return self.count
