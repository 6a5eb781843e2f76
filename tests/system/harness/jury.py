"""Judges of a whole corpus at once: one process for each, or none.

A judge takes messages and says of each which of its signatures verify; a
signer takes messages and gives a DKIM-Signature field for each. tests/judges
has the programs, and says what they read and write.
"""

import os
import re
import subprocess
import time

import dkim

from .judge import Verdict, lookup_in
from .signet import ROOT, binary

# t= of signatures: judges mistrust what was signed in the future.
TIME = int(time.time())
# What the signers that are not ours sign, each once more than it occurs.
NAMES = ("from", "to", "cc", "subject", "date", "message-id", "reply-to",
         "references", "content-type")


def program(name):
    return os.path.join(os.path.dirname(binary()), "tests", "judges", name)


def framed(messages):
    return b"".join(b"%d\n%s" % (len(one), one) for one in messages)


def unframed(output):
    found, at = [], 0
    while at < len(output):
        end = output.index(b"\n", at)
        length = int(output[at:end])
        found.append(output[end + 1:end + 1 + length])
        assert len(found[-1]) == length
        at = end + 1 + length
    return found


def ask(command, messages, env=None):
    done = subprocess.run(command, input=framed(messages), timeout=120,
                          env=dict(os.environ, **(env or {})),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, (command, done.returncode,
                                  done.stderr.decode(errors="replace"))
    return done.stdout


def verdicts_of(output):
    """A list of Verdicts for each line; "!" begins why there is none."""
    return [[Verdict("", "", one, False) if one.startswith("!") else
             Verdict(*one.split(" ")[:3], one.endswith(" pass"))
             for one in line.split("\t")[1:]]
            for line in output.decode(errors="replace").split("\n")[:-1]]


class Records:
    """A file of "NAME TEXT" lines from {name: text}."""

    def __init__(self, directory, records):
        self.texts = records
        self.path = os.path.join(directory, "records")
        with open(self.path, "w") as file:
            for name, text in records.items():
                file.write("%s %s\n" % (name, text))


def delivered(message):
    """As SMTP brings it: its last line has an end, and there is an empty line
    behind the header."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return message if b"\r\n\r\n" in message else message + b"\r\n"


class Ours:
    name, algorithms = "signet", ("rsa-sha256", "ed25519-sha256")

    @staticmethod
    def _verify(messages, records):
        return ask([program("judge-stage"), "verify", str(TIME),
                    records.path], messages)

    @classmethod
    def verify(cls, messages, records):
        return verdicts_of(cls._verify(messages, records))

    @classmethod
    def statuses(cls, messages, records):
        """For each message the word for each of its signatures."""
        lines = cls._verify(messages, records).split(b"\n")[:-1]
        return [[one.rpartition(b" ")[2].decode()
                 for one in line.split(b"\t")[1:]] for line in lines]

    @staticmethod
    def sign(messages, keys, canon, domains):
        return unframed(ask([program("judge-stage"), "sign", canon, str(TIME),
                             keys.directory] + list(domains), messages))

    @staticmethod
    def again(messages, key):
        """bh= and b= that our own parts make for the field on top."""
        return [tuple(line.split(" ")) for line in ask(
            [program("judge-stage"), "again", str(TIME), key],
            messages).decode().splitlines()]

    @staticmethod
    def cuts(messages, keys, domains):
        return ask([program("judge-stage"), "cuts", keys.directory] +
                   list(domains), messages).decode().splitlines()


class OpenDkim:
    name, algorithms = "OpenDKIM", ("rsa-sha256", "ed25519-sha256")
    # The library leaks its Ed25519 keys, which is not ours to report.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
           ":detect_leaks=0"}

    @classmethod
    def verify(cls, messages, records):
        return verdicts_of(ask([program("judge-opendkim"), "verify",
                                records.path], messages, cls.env))

    @classmethod
    def sign(cls, messages, key, canon, selector, domain):
        return unframed(ask(
            [program("judge-opendkim"), "sign", canon, str(TIME), key,
             selector, domain, ":".join(NAMES)], messages, cls.env))


class MailDkim:
    """Debian 12's knows RSA only."""

    name, algorithms = "Mail::DKIM", ("rsa-sha256",)
    command = ["/usr/bin/perl",
               os.path.join(ROOT, "tests/judges/mail_dkim.pl")]

    @classmethod
    def verify(cls, messages, records):
        return verdicts_of(ask(cls.command + ["verify", records.path],
                               messages))

    @classmethod
    def sign(cls, messages, key, canon, selector, domain):
        return unframed(ask(cls.command + ["sign", canon, str(TIME), key,
                                           selector, domain,
                                           ":".join(NAMES)], messages))


class Dkimpy:
    name, algorithms = "dkimpy", ("rsa-sha256", "ed25519-sha256")

    @classmethod
    def verify(cls, messages, records):
        return [cls.verify_one(one, lookup_in(records.texts))
                for one in messages]

    @staticmethod
    def verify_one(message, lookup):
        verdicts = []
        try:
            verifier = dkim.DKIM(message)
        except dkim.DKIMException as problem:
            return [Verdict("", "", str(problem), False)]
        fields = [value for name, value in verifier.headers
                  if name.lower() == b"dkim-signature"]
        for index, value in enumerate(fields):
            tags = {name: tag(b";" + value, name) for name in "dsa"}
            try:
                passed = verifier.verify(idx=index, dnsfunc=lookup)
            except Exception:  # some fields make it fall over
                passed = False
            verdicts.append(Verdict(*tags.values(), passed))
        return verdicts

    @staticmethod
    def sign(messages, key, canon, selector, domain):
        with open(key, "rb") as file:
            pem = file.read()
        algorithm = b"rsa-sha256"
        if selector == "ed":  # it wants the 32 bytes, the last of PKCS#8
            algorithm = b"ed25519-sha256"
            pem = dkim.base64.b64encode(dkim.base64.b64decode(
                b"".join(pem.splitlines()[1:-1]))[-32:])
        methods = tuple(canon.encode().split(b"/"))
        fields = []
        for one in messages:
            try:
                signer = dkim.DKIM(one, signature_algorithm=algorithm)
                fields.append(signer.sign(
                    selector.encode(), domain.encode(), pem,
                    canonicalize=methods,
                    include_headers=oversigned(signer.headers)))
            except dkim.DKIMException:
                fields.append(b"")
        return fields

    @staticmethod
    def again(message, key):
        """The b= that dkimpy's own parts make for the field on top."""
        headers, _ = dkim.rfc822_parse(message)
        field = headers[0]
        tags = dkim.util.parse_tag_value(field[1])
        canon = dkim.CanonicalizationPolicy.from_c_value(tags[b"c"])
        hasher = dkim.HASH_ALGORITHMS[tags[b"a"]]()
        dkim.hash_headers(
            hasher, canon, canon.canonicalize_headers(headers),
            [name.strip().lower() for name in tags[b"h"].split(b":")],
            field, tags)
        with open(key, "rb") as file:
            private = dkim.parse_pem_private_key(file.read())
        return dkim.base64.b64encode(
            dkim.RSASSA_PKCS1_v1_5_sign(hasher, private)).decode()


def oversigned(headers):
    """Of NAMES, each as often as it occurs and once more."""
    there = [name.decode(errors="replace").lower() for name, _ in headers]
    return [name.encode() for name in NAMES
            for _ in range(there.count(name) + 1)]


JUDGES = (Dkimpy, OpenDkim, MailDkim)


def tag(field, name):
    """The value of a tag of a DKIM-Signature field, without white space; what
    is behind the field does not matter."""
    field = re.split(rb"\r\n(?![ \t])", field, maxsplit=1)[0]
    found = re.search(rb"[;:\s]%s\s*=([^;]*)" % name.encode(), field)
    return re.sub(rb"\s", b"", found.group(1)).decode() if found else ""
