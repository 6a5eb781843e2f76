"""A corpus of some hundreds of messages before three judges that are not ours.

What we sign is judged by dkimpy, OpenDKIM's library and Perl's Mail::DKIM; what
they sign is judged by us; and of messages that were changed on the way all say
the same. Where a judge differs because it is wrong, DIFFERS names it, with the
reason, and holds it to it.
"""

import glob
import os
import re
import shutil

import dkim
import pytest

from harness import corpus, jury, signet
from harness.judge import Keys
from harness.smtp import Client

CANONICALIZATIONS = ("relaxed/relaxed", "relaxed/simple", "simple/relaxed",
                     "simple/simple")
HALVES = dict(zip(CANONICALIZATIONS, (0, 1, 1, 0)))
# One worker for each: no other has to sign the corpus in that way.
each_canonicalization = pytest.mark.parametrize("canon", [
    pytest.param(one, marks=pytest.mark.xdist_group("judges " + one))
    for one in CANONICALIZATIONS])
# Cut at every byte: up to this size.
CUT_MAX = 450


def header_has(pattern):
    compiled = re.compile(pattern, re.M)
    return lambda message, canon: bool(
        compiled.search(message.partition(b"\r\n\r\n")[0]))


def odd_space(message, canon):
    # Its verdict depends on fields that are signed only.
    return canon.startswith("relaxed/") and bool(re.search(
        rb"^(Subject|From):[^\r]*[\x0b\x0c]",
        message.partition(b"\r\n\r\n")[0], re.M | re.I))


# (judge, why it is wrong, what it is wrong about)
DIFFERS = (
    (jury.Dkimpy,
     "refuses white space before the colon, or takes a line that starts with "
     "\"From \" for an mbox separator; RFC 5322 4.5.8 has it in what must be "
     "accepted, RFC 6376 3.4.2 says what relaxing makes of it",
     header_has(rb"^[!-9;-~]+[ \t]+:")),
    (jury.OpenDkim,
     "refuses a tab before the colon, though it takes a space",
     header_has(rb"^[!-9;-~]+ *\t[ \t]*:")),
    (jury.OpenDkim,
     "refuses the whole message for one DKIM-Signature it cannot read; RFC "
     "6376 6.1 has each treated on its own",
     header_has(rb"^DKIM-Signature: what is this")),
    (jury.Dkimpy,
     "takes vertical tab and form feed for white space when it relaxes a "
     "header; RFC 6376 2.8: space and tab only",
     odd_space),
    (jury.OpenDkim,
     "likewise", odd_space),
)


def differs(judge, message, canon):
    return any(one is judge and wrong(message, canon)
               for one, _, wrong in DIFFERS)


MESSAGES = corpus.build()
NAMES = list(MESSAGES)


class Case:
    """Keys, what DNS says about them, and the corpus as SMTP brings it."""

    def __init__(self, directory):
        self.directory = directory
        self.keys = Keys(directory + "/keys")
        for domain in corpus.DOMAINS:
            self.keys.make(domain, "rsa", "rsa")
            self.keys.make(domain, "ed", "ed25519")
        self.records = jury.Records(directory, self.keys.records)
        self.messages = list(MESSAGES.values())
        self.delivered = [jury.delivered(one) for one in self.messages]
        self.cache = {}

    def signed(self, canon):
        """By us, with both keys, as delivered."""
        if canon not in self.cache:
            fields = jury.Ours.sign(self.messages, self.keys, canon,
                                    corpus.DOMAINS)
            self.cache[canon] = [jury.delivered(field + message)
                                 for field, message
                                 in zip(fields, self.messages)]
        return self.cache[canon]

    def signed_by(self, signer, canon, selector):
        """(name, message with the field on top) of each that it takes: of half
        of them, so that each meets both forms of header and body."""
        chosen = slice(HALVES[canon], None, 2)
        messages = self.delivered[chosen]
        fields = signer.sign(messages, self.keys.path("example.com", selector),
                             canon, selector, "example.com")
        return [(name, field + message) for name, field, message
                in zip(NAMES[chosen], fields, messages) if field]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(str(tmp_path_factory.mktemp("judges")))


def of_ours(verdicts, judge):
    """{algorithm: passed} of the signatures that we made."""
    return {one.algorithm: one.passed for one in verdicts
            if one.domain in corpus.DOMAINS
            and one.algorithm in judge.algorithms}


def test_the_corpus_is_large_and_as_mta_pass_it():
    assert len(MESSAGES) > 400
    for name, message in MESSAGES.items():
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", message), name


@each_canonicalization
@pytest.mark.parametrize("judge", jury.JUDGES, ids=lambda one: one.name)
def test_what_we_sign(case, judge, canon):
    signed = case.signed(canon)
    wanted = {algorithm: True for algorithm in judge.algorithms}
    wrong, excused = [], 0
    for name, message, verdicts in zip(NAMES, signed,
                                       judge.verify(signed, case.records)):
        if differs(judge, message, canon):
            excused += 1
            if of_ours(verdicts, judge) == wanted:
                wrong.append("%s: no longer differs" % name)
        elif of_ours(verdicts, judge) != wanted:
            wrong.append("%s: %s" % (name, verdicts))
    assert not wrong, "\n".join(wrong)
    assert excused < 15


@pytest.mark.parametrize("judge", jury.JUDGES, ids=lambda one: one.name)
def test_every_difference_is_one(judge):
    """No line of DIFFERS stands there for nothing."""
    for one, why, wrong in DIFFERS:
        if one is judge:
            assert any(wrong(message, "relaxed/relaxed")
                       for message in MESSAGES.values()), why


@each_canonicalization
def test_we_agree_with_ourselves(case, canon):
    for name, verdicts in zip(NAMES, jury.Ours.verify(case.signed(canon),
                                                      case.records)):
        assert of_ours(verdicts, jury.Ours) == {
            "rsa-sha256": True, "ed25519-sha256": True}, name


SIGNERS = [(judge, selector) for judge in jury.JUDGES
           for selector in ("rsa", "ed")
           if selector == "rsa" or "ed25519-sha256" in judge.algorithms]


@each_canonicalization
@pytest.mark.parametrize("signer,selector", SIGNERS,
                         ids=lambda one: getattr(one, "name", one))
def test_what_others_sign(case, signer, selector, canon):
    """Our verifier takes it, and our parts make the same bh= and b=.

    b= is compared byte for byte: with the signer's own field, which names its
    time and its header list, with b= empty, our canonicalization, hashes and
    key give what the signer wrote there. RSA and Ed25519 are deterministic.
    """
    signed = case.signed_by(signer, canon, selector)
    assert len(signed) > 190
    messages = [message for _, message in signed]
    verdicts = jury.Ours.verify(messages, case.records)
    again = jury.Ours.again(messages, case.keys.path("example.com", selector))
    wrong = []
    for (name, message), verdict, (body_hash, signature) in zip(
            signed, verdicts, again):
        same = (verdict[0].passed, jury.tag(message, "bh") == body_hash,
                jury.tag(message, "b") == signature)
        if differs(signer, message, canon):
            assert same == (False, True, False), name
        elif same != (True, True, True):
            wrong.append("%s: verifies, same bh=, same b=: %s" % (name, same))
    assert not wrong, "\n".join(wrong)


@each_canonicalization
def test_dkimpy_makes_our_bytes(case, canon):
    """The other way round: with our field, b= empty, dkimpy's own parts make
    the b= that we wrote; of every third message, its RSA is slow."""
    step = CANONICALIZATIONS.index(canon) % 3
    for name, message in list(zip(NAMES, case.signed(canon)))[step::3]:
        if differs(jury.Dkimpy, message, canon):
            continue
        assert jury.tag(message, "a") == "rsa-sha256"
        domain = jury.tag(message, "d")
        assert jury.tag(message, "b") == jury.Dkimpy.again(
            message, case.keys.path(domain, "rsa")), name


def test_every_cut(case):
    """However the stage is fed, it makes the same signatures."""
    short = [(name, message) for name, message in MESSAGES.items()
             if len(message) <= CUT_MAX]
    assert len(short) > 300
    said = jury.Ours.cuts([message for _, message in short], case.keys,
                          corpus.DOMAINS)
    assert len(said) == len(short)
    assert [(name, what) for (name, _), what in zip(short, said)
            if what != "same"] == []


def body_of(message):
    header, _, body = message.partition(b"\r\n\r\n")
    return header + b"\r\n\r\n", body


def in_body(old, new):
    def change(message):
        header, body = body_of(message)
        return header + body.replace(old, new, 1)
    return change


def in_field(name, old, new):
    """In the last field of that name."""
    def change(message):
        header, body = body_of(message)
        at = header.lower().rfind(b"\r\n" + name.lower() + b":") + 2
        if at == 1:
            return message
        at += len(name) + 1
        return header[:at] + re.sub(old, new, header[at:], count=1) + body
    return change


def on_top(line):
    return lambda message: line + b"\r\n" + message


def below(line):
    def change(message):
        header, body = body_of(message)
        return header[:-2] + line + b"\r\n\r\n" + body
    return change


# What happens to messages on their way.
CHANGES = {
    "nothing": lambda message: message,
    "a blank line more": lambda message: message + b"\r\n",
    "white space at the end": lambda message: message + b" \t\r\n\r\n",
    "a line more": lambda message: message + b"-- \r\nlist\r\n",
    "no last line": lambda message: message.rpartition(b"\r\n")[0]
    .rpartition(b"\r\n")[0] + b"\r\n",
    "space at the end of a line": in_body(b"\r\n", b" \r\n"),
    "a space doubled": in_body(b" ", b"  "),
    "a space for a tab": in_body(b"\t", b" "),
    "a tab for a space": in_body(b" ", b"\t"),
    "a space dropped": in_body(b" ", b""),
    "a letter changed": in_body(b"e", b"E"),
    "a blank line dropped": in_body(b"\r\n\r\n", b"\r\n"),
    "a blank line in front": in_body(b"", b"\r\n"),
    "From escaped": in_body(b"From", b">From"),
    "Subject folded": in_field(b"Subject", rb" ", b"\r\n\t"),
    "Subject unfolded": in_field(b"Subject", rb"\r\n([ \t])", rb"\1"),
    "To with a space more": in_field(b"To", rb"\A", b" "),
    "To without its space": in_field(b"To", rb"\A[ \t]", b""),
    "space at the end of Date": in_field(b"Date", rb"\r\n", b" \r\n"),
    "Subject in capitals": in_field(
        b"Subject", rb"[a-z]", lambda found: found.group().upper()),
    "Message-ID changed": in_field(b"Message-ID", rb"corpus", b"carpus"),
    "field names in lower case": lambda message: re.sub(
        rb"(?m)^(From|To|Subject|Date):", lambda found: found.group().lower(),
        message, count=4),
    "trace on top": on_top(b"Received: from a by b; now"),
    "a list's fields below": below(b"List-Id: <l.example.org>"),
    "a second Subject on top": on_top(b"Subject: another"),
    "a second From below": below(b"From: mallory@example.org"),
    "a Cc where there was none": on_top(b"Cc: eve@example.org"),
    "an unsigned field changed": in_field(b"Keywords", rb"\A", b" more"),
}


@each_canonicalization
def test_changed_messages(case, canon):
    """Every judge says of a changed message what we say. Each message is
    changed in one of the ways, in another with each canonicalization."""
    ways = list(CHANGES.items())
    start = CANONICALIZATIONS.index(canon) * 7
    rows = []
    for number, (name, message) in enumerate(zip(NAMES, case.signed(canon))):
        way, change = ways[(start + number) % len(ways)]
        rows.append(("%s, %s" % (name, way),
                     jury.delivered(change(message))))
    messages = [message for _, message in rows]
    ours = [of_ours(verdicts, jury.Ours)
            for verdicts in jury.Ours.verify(messages, case.records)]
    passed = sum(verdict["rsa-sha256"] for verdict in ours)
    assert len(rows) / 4 < passed < len(rows) * 3 / 4
    wrong = []
    for judge in jury.JUDGES:
        for (name, message), mine, verdicts in zip(
                rows, ours, judge.verify(messages, case.records)):
            theirs = of_ours(verdicts, judge)
            if not differs(judge, message, canon) and theirs != {
                    algorithm: mine[algorithm]
                    for algorithm in judge.algorithms}:
                wrong.append("%s: %s says %s, we %s" % (name, judge.name,
                                                        theirs, mine))
    assert not wrong, "\n".join(wrong)


def of_packages():
    """Messages that Debian packages bring for their own tests: those of
    Python's email package and of dkimpy, with line ends as on the wire."""
    python = "/usr/lib/python3.*/test/test_email/data"
    directories = (
        python,
        os.environ.get("SERVERS", "") + python,
        os.path.dirname(dkim.__file__) + "/tests/data")
    found = {}
    for directory in directories:
        for path in glob.glob(directory + "/*msg*") + \
                glob.glob(directory + "/*.message*"):
            with open(path, "rb") as file:
                found[os.path.basename(path)] = re.sub(
                    rb"\r?\n|\r", b"\r\n", file.read())
    return found


def test_messages_of_packages(case, directory):
    """Every one that has one author, whoever that is, under domain "*"."""
    found = of_packages()
    assert len(found) > 50
    everyone = os.path.join(case.keys.directory, "*")
    if not os.path.exists(everyone):
        shutil.copytree(os.path.join(case.keys.directory, "example.com"),
                        everyone)
    for canon in ("relaxed/relaxed", "simple/simple"):
        fields = jury.Ours.sign(list(found.values()), case.keys, canon, ["*"])
        signed = {name: jury.delivered(field + message)
                  for (name, message), field in zip(found.items(), fields)
                  if field}
        assert len(signed) > 40
        records = jury.Records(directory, {
            "%s._domainkey.%s" % (selector, jury.tag(field, "d")):
            case.keys.records[selector + "._domainkey.example.com"]
            for field in fields if field for selector in ("rsa", "ed")})
        for judge in (jury.Ours,) + jury.JUDGES:
            for (name, message), verdicts in zip(
                    signed.items(),
                    judge.verify(list(signed.values()), records)):
                # Ours are on top. A d= of nothing is what OpenDKIM refuses.
                top = [one.passed
                       for one in verdicts[:len(judge.algorithms)]]
                if judge is jury.OpenDkim and name.endswith(".baddomain"):
                    assert not top[0], name
                else:
                    assert top == [True] * len(judge.algorithms), (
                        judge.name, canon, name, verdicts)


def test_the_command_writes_the_same(case, setup):
    """What the corpus was signed with above is what `signet sign` does, with
    its signer process; some of every family, some of them with LF."""
    configured = setup(keys=case.keys)
    configured.domains = {domain: ["rsa", "ed"] for domain in corpus.DOMAINS}
    path = configured.write()
    fields = jury.Ours.sign(case.messages, case.keys, "relaxed/relaxed",
                            corpus.DOMAINS)
    for number in range(0, len(NAMES), 15):
        message, field = case.messages[number], fields[number]
        given = message if number % 2 else message.replace(b"\r\n", b"\n")
        output = signet.run("sign", "--time", str(jury.TIME), config=path,
                            stdin=given, check=0).stdout
        assert output == field + message, NAMES[number]


LONG = b"a line that goes on  and\ton = " * 60
# What the relay mends before it signs.
MENDED = {
    "no Date": corpus.message(corpus.fields(without=("Date",))),
    "neither Date nor Message-ID, white space at the end": corpus.message(
        corpus.fields(without=("Date", "Message-ID")), b"x \t\r\n\r\n \r\n"),
    "Bcc": corpus.message(corpus.fields(("Bcc", b" eve@example.net"))),
    "8-bit text that does not say so": corpus.message(
        corpus.fields(), "Grüße \t\r\n".encode()),
    "a long line": corpus.message(corpus.fields(), LONG + b" \r\n.\r\n"),
    "a long line, blank lines at the end": corpus.message(
        corpus.fields(), b"From x\r\n" + LONG + b"\r\n\r\n \r\n\r\n"),
    "a long line of Latin-1": corpus.mime_message(
        b"text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe " * 300 + b"\r\n"),
    "a long line in a part": corpus.mime_message(
        b"multipart/mixed; boundary=o", corpus.multipart(
            b"o", corpus.PLAIN, corpus.part(b"text/html", LONG + b"\r\n"),
            corpus.FILE, preamble=b"x \r\n", epilogue=b"\r\n \r\n")),
    "a long line inside a part inside": corpus.mime_message(
        b"multipart/mixed; boundary=o", corpus.multipart(
            b"o", corpus.part(b"multipart/alternative; boundary=\"i i\"",
                              corpus.multipart(b"i i", corpus.QUOTED,
                                               corpus.part(b"text/html",
                                                           LONG + b"\r\n"))))),
    "a long field": corpus.message(corpus.fields(
        ("Keywords", b" word" * 400))),
    "a long line and its Date missing": corpus.message(
        corpus.fields(without=("Date",)), LONG + b"\r\n"),
}


def test_through_the_relay(world, keys, directory):
    """Some of the corpus, and messages that are mended, as they arrive."""
    sent = dict(MENDED)
    sent.update(list(MESSAGES.items())[::6])
    sent = {name: message for name, message in sent.items()
            if b"xn--" not in message and b"b\xc3\xbccher" not in message}
    world.start()
    refused = []
    with Client(world.relay.port) as client:
        client.ehlo()
        for number, (name, message) in enumerate(sent.items()):
            code, lines = client.transaction(
                "alice@example.com", ["bob@example.net"],
                jury.delivered(b"X-Number: %d\r\n" % number + message))
            if code != 250:
                refused.append("%s: %d %s" % (name, code, lines))
    assert not refused
    arrived = {}
    for one in world.receiver.wait_deliveries(len(sent), 60):
        number = re.search(rb"^X-Number: (\d+)\r$", one.data, re.M)
        arrived[list(sent)[int(number.group(1))]] = one.data
    assert arrived.keys() == sent.keys()
    records = jury.Records(directory, keys.records)
    wrong = []
    for judge in jury.JUDGES:
        for (name, data), verdicts in zip(
                arrived.items(), judge.verify(list(arrived.values()), records)):
            if not differs(judge, data, "relaxed/relaxed") and of_ours(
                    verdicts, judge) != {
                        algorithm: True for algorithm in judge.algorithms}:
                wrong.append("%s: %s says %s" % (name, judge.name, verdicts))
    assert not wrong, "\n".join(wrong)
    changed = [event for event in world.relay.named("accepted")
               if event["changed"]]
    assert len(changed) >= len(MENDED)
