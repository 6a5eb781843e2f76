"""Signed messages, good and bad: each with what a verifier has to say.

dkimpy signs; what is wrong with a message is done to it afterwards, or is in
the record of its key.
"""

import re

import dkim

MESSAGE = (b"From: Alice <alice@example.com>\r\n"
           b"To: Bob <bob@example.net>\r\n"
           b"Subject: to be verified\r\n"
           b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
           b"Message-ID: <verified@example.com>\r\n"
           b"\r\nHello.\r\n")

# (domain, selector, algorithm, bits)
KEYS = (("example.com", "rsa", "rsa", 2048),
        ("example.com", "ed", "ed25519", 0),
        ("example.com", "testing", "rsa", 1024),
        ("example.com", "short", "rsa", 512),
        ("example.com", "revoked", "rsa", 1024),
        ("example.com", "unpublished", "rsa", 1024),
        ("example.com", "notkey", "rsa", 1024),
        ("example.org", "rsa", "rsa", 1024),
        ("unserved.example", "rsa", "rsa", 1024))


def make_keys(keys):
    """Those of KEYS, in a harness.judge.Keys, and their records."""
    for domain, selector, algorithm, bits in KEYS:
        keys.make(domain, selector, algorithm, bits)
    records = keys.records
    name = "testing._domainkey.example.com"
    records[name] = records[name].replace("v=DKIM1;", "v=DKIM1; t=y;")
    records["revoked._domainkey.example.com"] = "v=DKIM1; p="
    records["notkey._domainkey.example.com"] = "v=spf1 -all"
    del records["unpublished._domainkey.example.com"]
    return keys


class Messages:
    """The messages, once signed: {name: (message, [result, …])}; a result is
    one of RFC 8601 2.7.1, in the order of the signatures."""

    def __init__(self, keys):
        self._keys = keys
        self.table = {}
        self._make()

    def signature(self, message=MESSAGE, selector="rsa", domain="example.com",
                  **options):
        with open(self._keys.path(domain, selector), "rb") as file:
            pem = file.read()
        if selector == "ed":
            options["signature_algorithm"] = b"ed25519-sha256"
            pem = self._seed(pem)
        options.setdefault("canonicalize", (b"relaxed", b"relaxed"))
        return dkim.sign(message, selector.encode(), domain.encode(), pem,
                         **options)

    @staticmethod
    def _seed(pem):
        """dkimpy wants the 32 bytes of an Ed25519 key, in base64."""
        der = dkim.base64.b64decode(b"".join(pem.split(b"\n")[1:-2]))
        return dkim.base64.b64encode(der[-32:])

    def signed(self, *signatures, message=MESSAGE):
        return b"".join(signatures) + message

    def _add(self, name, message, *results):
        self.table[name] = (message, list(results))

    def _make(self):
        one = self.signature()
        add, signed, signature = self._add, self.signed, self.signature
        add("unsigned", MESSAGE)
        add("signed", signed(one), "pass")
        add("simple", signed(signature(
            canonicalize=(b"simple", b"simple"))), "pass")
        add("Ed25519", signed(signature(selector="ed")), "pass")
        add("three signatures", signed(
            one, signature(domain="example.org"),
            signature(selector="ed")), "pass", "pass", "pass")
        add("one of two is broken", signed(
            one, signature(domain="example.org").replace(b"bh=", b"bh=A")),
            "pass", "neutral")
        add("body changed", signed(one).replace(b"Hello", b"Hallo"), "fail")
        add("subject changed", signed(one).replace(
            b"to be verified", b"changed"), "fail")
        add("grown behind l=", signed(signature(length=True)) + b"more\r\n",
            "pass")
        add("no key", signed(signature(selector="unpublished")), "permerror")
        add("key revoked", signed(signature(selector="revoked")), "permerror")
        add("no key record", signed(signature(selector="notkey")),
            "permerror")
        add("name server refuses", signed(signature(
            domain="unserved.example")), "temperror")
        add("test mode", signed(signature(selector="testing")), "pass")
        add("test mode, changed", signed(signature(
            selector="testing")).replace(b"Hello", b"Hallo"), "neutral")
        add("test mode, forged", signed(signature(
            selector="testing")).replace(b"to be verified", b"changed"),
            "neutral")
        add("short key", signed(signature(selector="short")), "policy")
        add("rsa-sha1", signed(signature(
            signature_algorithm=b"rsa-sha1")), "policy")
        add("expired", signed(re.sub(
            rb"t=\d+;", b"t=1; x=2;", one)), "permerror")
        add("no tag list", signed(b"DKIM-Signature: hello\r\n"), "neutral")
        add("no selector", signed(one.replace(b" s=rsa;", b"")), "neutral")
        add("another identity", signed(one.replace(
            b"i=@example.com;", b"i=@example.net;")), "permerror")
        add("From not signed", signed(re.sub(
            rb"h=[^;]*;", b"h=subject;", one)), "permerror")
