"""Tables as no administrator writes them: OpenDKIM itself and signet on what
was imported sign the same mail.

IMPORT_TABLES=60 tries more of them than the few that take no time."""

import os
import random

import pytest

from harness import judge
from harness.imported import (Imported, Style, mail, peer_of, same_fields,
                              signatures, there)
from harness.milter import SignetMilter

TABLES = int(os.environ.get("IMPORT_TABLES", "3"))

LOCALS = ["alice", "al", "ceo", "root", "news-1", "bob"]
DOMAINS = ["example.com", "news.example.com", "a.news.example.com",
           "example.org", "sub.example.org", "example.net", "org.example"]
SENDERS = ["%s@%s" % (local, domain) for local in LOCALS for domain in DOMAINS]

# What the keys of a KeyTable are for; "%" is the author's domain.
OWNERS = ["example.com", "example.org", "news.example.com",
          "operator.example", "%", "example.com"]


def pattern(dice):
    """Of a refile:."""
    local = dice.choice(["*", "*", "*", "al*", "*e", "alice", "ceo", "root",
                         "news-*"])
    domain = dice.choice(["example.com", "example.com", "example.org",
                          "news.example.com", "*.example.com", "*example.com",
                          "*.org", "*", "*.example.*"])
    return "%s@%s" % (local, domain)


def plain(dice):
    domain = dice.choice(["example.com", "news.example.com", "example.org",
                          "example.net"])
    return dice.choice(["%s", "%s", ".%s", "alice@%s", "root@.%s", "ceo@%s",
                        "bob@*", "*"]).replace("%s", domain)


def fields(dice):
    """What is oversigned is signed, else OpenDKIM's signatures are broken, as
    its manual says."""
    lines = []
    if dice.random() < 0.5:
        lines.append("OversignHeaders " + dice.choice(
            ["From", "From,Subject,X-None", "To"]))
    if dice.random() < 0.5:
        lines.append("SignHeaders " + dice.choice(
            ["From,To,Subject", "*,+Message-ID,-Cc", "*,+X-Mailer",
             "Subject,Date,To,MIME-Version"]))
    if dice.random() < 0.3:
        lines.append("OmitHeaders " + dice.choice(
            ["Cc,Reply-To", "*,+Date", "*,-Comments"]))
    return lines


def files(dice):
    """opendkim.conf and its tables; each key of a domain has a selector of its
    own, since two of one name cannot both be in DNS."""
    is_refile = dice.random() < 0.7
    is_multiple = dice.random() < 0.3
    keys = {"k%d" % i: owner for i, owner in enumerate(OWNERS)}
    rows, seen = [], set()
    for _ in range(dice.randint(2, 9)):
        sender = (pattern if is_refile else plain)(dice)
        if sender in seen:  # found once only
            continue
        seen.add(sender)
        key = dice.choice(sorted(keys))
        # One key that signs twice would do so with each i=.
        identity = "" if is_multiple else dice.choice(
            ["", "", "", ":me@%", ":@example.com"])
        rows.append("%s %s%s\n" % (sender, key, identity))
    canon = "%s/%s" % (dice.choice(["simple", "relaxed"]),
                       dice.choice(["simple", "relaxed"]))
    options = ["Syslog no", "UserID nobody", "RequireSafeKeys no", "Mode s",
               "Socket @SOCKET@", "Canonicalization " + canon,
               "MultipleSignatures " + ("yes" if is_multiple else "no"),
               "KeyTable file:@DIR@/KeyTable", "SigningTable %s:@DIR@/Senders"
               % ("refile" if is_refile else "file")] + fields(dice)
    return {"opendkim.conf": "\n".join(options) + "\n",
            "KeyTable": "".join(
                "%s %s:%s:@DIR@/%s.private\n" %
                (key, keys[key], key, "ab"[i % 2])
                for i, key in enumerate(sorted(keys))),
            "Senders": "".join(rows)}


@pytest.fixture(scope="module")
def private_keys(session_directory):
    made = judge.Keys(os.path.join(session_directory, "random-keys"))
    return {name: made.make("keys.example", name, "rsa", bits=1024)
            for name in "ab"}


@pytest.mark.parametrize("seed", range(TABLES))
def test_who_signs_what(directory, private_keys, seed):
    given = files(random.Random(seed))
    made = Style("made", directory, private_keys, given)
    messages = [mail(b"From: %s\r\n" % sender.encode()) for sender in SENDERS]
    said = made.import_it()
    assert "carried over" not in said.lower(), said
    peer = peer_of(made)
    theirs = there(made.socket, messages)
    peer.stop()
    same_fields(theirs[::7], messages[::7], made, 0)
    milter = SignetMilter(Imported(made))
    try:
        ours = there(made.socket, messages)
    finally:
        milter.stop()
    for sender, old, new in zip(SENDERS, theirs, ours):
        old, new = signatures(old), signatures(new)
        count = len(old)
        # OpenDKIM signs again where two lines name one key.
        old = [one for i, one in enumerate(old) if one not in old[:i]]
        if count == 2 and len(new) > len(old):
            # OpenDKIM 2.11 loses those between first and last.
            assert "MultipleSignatures yes" in given["opendkim.conf"]
            assert all(one in new for one in old), sender
        else:
            assert new == old, (sender, given["Senders"])
