"""DKIM-Signature fields and key records as people write them, and as none should:
what our verifier says of each, and who else says so.

The signatures are made here, by the letter of RFC 6376 3.4.2 and 3.7 over one
short message, so that nothing is wrong with a row but what it is about.

Where others differ they are mostly more lenient than RFC 6376 6.1.1, which has a
verifier "meticulously validate the format and values"; Mail::DKIM hardly does,
and takes l= beyond the body and fields without h= or bh= too. OpenDKIM refuses
white space around "=", and dkimpy takes the first "b=" anywhere for the tag.
"""

import base64
import hashlib
import logging
import re

import dkim
import pytest

from harness import jury
from harness.judge import Keys

FIELDS = (("From", " Alice <alice@example.com>"), ("Subject", " first"),
          ("To", " Bob  <bob@example.net>"),
          ("subject", " second\r\n\tfolded "))
BODY = b"Hello  there\r\nmore\r\n"
RELAXED = re.sub(rb"[ \t]+", b" ", BODY)


def body_hash(length=None):
    return base64.b64encode(
        hashlib.sha256(RELAXED[:length]).digest()).decode()


HASH = body_hash()


def tags(v="v=1", a="a=rsa-sha256", c="c=relaxed/relaxed", d="d=example.com",
         s="s=rsa", more="", h="h=from:to:subject", bh="bh=" + HASH, b="b=@",
         sep="; ", lead=" "):
    """The value of a field; "@" is where the signature goes."""
    return lead + sep.join(one for one in (v, a, c, d, s, more, h, bh, b)
                           if one)


def each(change):
    """Every tag of the usual field changed."""
    return " " + "; ".join(change(one)
                           for one in tags().strip().split("; "))


def spaced(one, by):
    name, _, value = one.partition("=")
    return name + by + "=" + by + value


USUAL = ("from", "to", "subject")


class Row:
    """differ: those who say otherwise: d is dkimpy, o OpenDKIM, m Mail::DKIM;
    in capitals, where some of its versions do.
    signature: what becomes of the value of b= once it is made."""

    def __init__(self, name, status, value, differ="", names=USUAL,
                 field="DKIM-Signature", signature=None):
        self.name, self.status, self.value = name, status, value
        self.differ, self.names, self.field = differ, names, field
        self.signature = signature or (lambda text: text)


def lines_of(size, end):
    return lambda text: end.join(text[i:i + size]
                                 for i in range(0, len(text), size))


ROWS = [
    # How a field may look. RFC 6376 3.2: white space and folds around names,
    # values and semicolons; tags in any order; one semicolon at the end.
    Row("usual", "pass", tags()),
    Row("no white space", "pass", tags(sep=";", lead="")),
    Row("tabs", "pass", tags(sep=";\t", lead="\t")),
    Row("folded at each tag", "pass", tags(sep=";\r\n\t")),
    Row("folded twice at each tag", "pass", tags(sep=";\r\n \r\n\t")),
    Row("folded before semicolons", "pass", tags(sep="\r\n ;\r\n ")),
    Row("spaces around =", "pass", each(lambda one: spaced(one, " ")), "o"),
    Row("folds around =", "pass", each(lambda one: spaced(one, "\r\n ")), "o"),
    Row("bh= folded", "pass", tags(
        bh="bh=" + HASH[:10] + "\r\n " + HASH[10:20] + " " + HASH[20:])),
    Row("b= folded", "pass", tags(), signature=lines_of(50, "\r\n ")),
    Row("b= with spaces", "pass", tags(), signature=lines_of(7, " ")),
    Row("b= first", "pass", tags(b="").replace(" v=1", " b=@; v=1")),
    Row("b= in the middle", "pass",
        tags(b="").replace("; d=", "; b=@; d=")),
    Row("spaces around b=", "pass",
        tags(b="").replace("; d=", "; b = @ ; d="), "do"),
    Row("folds around b=", "pass",
        tags(b="").replace("; d=", ";\r\n b=\r\n @\r\n ; d="), "d"),
    Row("reversed", "pass",
        " " + "; ".join(reversed(tags().strip().split("; ")))),
    Row("semicolon at the end", "pass", tags() + ";"),
    Row("semicolon and spaces at the end", "pass", tags() + " ; ", "d"),
    Row("name in lower case", "pass", tags(), field="dkim-signature"),
    Row("name in capitals", "pass", tags(), field="DKIM-SIGNATURE"),
    Row("space behind the name", "pass", tags(), "dm",
        field="DKIM-Signature "),
    Row("two semicolons at the end", "permerror", tags() + ";;", "m"),
    Row("empty tag", "permerror", tags().replace("; d=", ";; d="), "m"),
    Row("tag without value", "permerror", tags(more="foo")),
    # Tags that nobody knows are passed over, where they are tags.
    Row("unknown tag with _", "pass", tags(more="a_1=x")),
    Row("unknown tag that ends in b", "pass", tags(more="bb=x"), "o"),
    Row("b= inside a value", "pass", tags(more="n=a b=c"), "d"),
    Row("z=", "pass", tags(more="z=From:a=20b=3D|To:x")),
    Row("8-bit in an unknown tag", "pass", tags(more="foo=\xe4"), "o"),
    Row("tag with a hyphen", "permerror", tags(more="x-tag=a"), "dom"),
    Row("tag that starts with a digit", "permerror", tags(more="1a=x"), "om"),
    # RFC 6376 3.2: no tag twice.
    Row("d= twice", "permerror", tags(more="d=example.com"), "om"),
    Row("an unknown tag twice", "permerror", tags(more="foo=1; foo=2"), "om"),
    # v=, a=, c=: case counts, but for c=, where we do not mind.
    Row("no v=", "permerror", tags(v=""), "m"),
    Row("V=", "permerror", tags(v="V=1"), "m"),
    Row("v=0.5", "permerror", tags(v="v=0.5"), "m"),
    Row("v=1.0", "permerror", tags(v="v=1.0")),
    Row("no a=", "permerror", tags(a="")),
    Row("a= in capitals", "permerror", tags(a="a=RSA-SHA256"), "om"),
    Row("c= in capitals", "pass", tags(c="c=Relaxed/RELAXED"), "d"),
    Row("c= with spaces", "pass", tags(c="c= relaxed/relaxed ")),
    Row("c= without the second", "permerror", tags(c="c=relaxed/")),
    Row("c= of three", "permerror", tags(c="c=relaxed/relaxed/relaxed")),
    Row("c= empty", "permerror", tags(c="c=")),
    Row("c= unknown", "permerror", tags(c="c=nofws")),
    Row("c= with spaces inside", "permerror", tags(c="c=relaxed / relaxed"),
        "o"),
    # h=: RFC 6376 3.5, 5.4.2, 6.1.1.
    Row("h= with spaces", "pass", tags(h="h= from : to : subject ")),
    Row("h= folded", "pass", tags(h="h=from:\r\n to\r\n :\tsubject")),
    Row("h= in capitals", "pass", tags(h="h=FROM:To:SubJect")),
    Row("h= with both of two", "pass", tags(h="h=from:subject:subject"),
        names=("from", "subject", "subject")),
    Row("h= with three of two", "pass",
        tags(h="h=from:subject:subject:subject"),
        names=("from", "subject", "subject")),
    Row("h= with one that is absent", "pass", tags(h="h=x-no:from:x-no"),
        names=("from",)),
    Row("h= with From twice", "pass", tags(h="h=from:from"),
        names=("from",)),
    Row("h= with an odd name", "pass", tags(h="h=from:x@y"), names=("from",)),
    # "MUST NOT include the field that is being verified": so it names none.
    Row("h= with signatures, of which there is none", "pass",
        tags(h="h=from:dkim-signature"), "dom", names=("from",)),
    Row("h= without From", "permerror", tags(h="h=to:subject"), "dm",
        names=("to", "subject")),
    Row("h= with a colon at the end", "permerror", tags(h="h=from:to:"),
        "dom", names=("from", "to")),
    Row("h= with a colon too many", "permerror", tags(h="h=from::to"), "dom",
        names=("from", "to")),
    Row("h= empty", "permerror", tags(h="h="), "dm", names=()),
    Row("no h=", "permerror", tags(h=""), "m", names=()),
    # d=, s=, i=.
    Row("s= with a dot", "pass", tags(s="s=a.b")),
    Row("s= in capitals", "pass", tags(s="s=RSA")),
    Row("d= in capitals", "pass", tags(d="d=EXAMPLE.Com")),
    Row("d= with a dot at the end", "permerror", tags(d="d=example.com."),
        "d"),
    Row("i= of the domain", "pass", tags(more="i=joe@example.com")),
    Row("i= without local part", "pass", tags(more="i=@example.com")),
    Row("i= below", "pass", tags(more="i=joe@sub.example.com")),
    Row("i= in capitals", "pass", tags(more="i=Joe@EXAMPLE.com")),
    Row("i= encoded", "pass", tags(more="i=j=3Do=20e@example.com")),
    Row("i= folded", "pass", tags(more="i= joe@\r\n example.com"), "dm"),
    Row("i= elsewhere", "permerror", tags(more="i=joe@example.org")),
    Row("i= that ends alike", "permerror", tags(more="i=joe@badexample.com")),
    Row("i= without @", "permerror", tags(more="i=example.com")),
    Row("i= with its @ encoded", "permerror",
        tags(more="i=joe=40example.com"), "om"),
    # q=: nothing but dns/txt is defined.
    Row("q=", "pass", tags(more="q=dns/txt")),
    Row("q= with another first", "pass", tags(more="q=http/x:dns/txt"), "d"),
    Row("q=dns", "permerror", tags(more="q=dns"), "o"),
    Row("q=http", "permerror", tags(more="q=http"), "o"),
    # t=, x=: more than twelve digits may be taken for infinite; a signature
    # from the future may be ignored.
    Row("t=", "pass", tags(more="t=1000000000")),
    Row("t= in the future", "pass", tags(more="t=99999999999"), "do"),
    Row("t= of a word", "permerror", tags(more="t=soon"), "m"),
    Row("t= below zero", "permerror", tags(more="t=-5"), "m"),
    Row("t= of 13 digits", "pass", tags(more="t=0001000000000")),
    Row("x= far away", "pass", tags(more="x=99999999999")),
    Row("x= gone", "permerror", tags(more="x=1000000000")),
    Row("x= of 13 digits", "pass", tags(more="x=9999999999999")),
    Row("x= before t=", "permerror",
        tags(more="t=99999999999; x=99999999998"), "m"),
    Row("x= like t=", "permerror", tags(more="t=1700000000; x=1700000000")),
    # l=: RFC 6376 3.5; larger than the body is an error.
    Row("l= of all", "pass", tags(more="l=%d" % len(RELAXED))),
    Row("l= of a part", "pass", tags(more="l=5", bh="bh=" + body_hash(5))),
    Row("l= of nothing", "pass", tags(more="l=0", bh="bh=" + body_hash(0)),
        "m"),
    Row("l= with zeros", "pass", tags(more="l=0005", bh="bh=" + body_hash(5))),
    Row("l= with spaces", "pass", tags(more="l= 5 ", bh="bh=" + body_hash(5))),
    Row("l= too large", "permerror", tags(more="l=9999"), "dm"),
    Row("l= larger than any number", "permerror",
        tags(more="l=99999999999999999999999999"), "dm"),
    Row("l= of a letter", "permerror", tags(more="l=x")),
    # bh=, b=: base64, all of it.
    Row("no bh=", "permerror", tags(bh=""), "m"),
    Row("bh= not padded", "permerror", tags(bh="bh=" + HASH.rstrip("=")),
        "m"),
    Row("bh= of another body", "fail", tags(bh="bh=" + body_hash(3))),
    Row("no b=", "permerror", tags(b="")),
    Row("b= empty", "permerror", tags(), signature=lambda text: ""),
    Row("b= not padded", "permerror", tags(), "om",
        signature=lambda text: text.rstrip("=")),
    Row("b= with more behind", "permerror", tags(), "om",
        signature=lambda text: text + "AAAA"),
    Row("b= with a sign inside", "permerror", tags(), "om",
        signature=lambda text: text[:20] + "!" + text[20:]),
    Row("b= of another message", "fail", tags(),
        signature=lambda text: "A" + text[1:] if text[0] != "A"
        else "B" + text[1:]),
]


def relaxed(name, value):
    return name.lower().strip() + ":" + re.sub(
        r"[ \t]+", " ", value.replace("\r\n", "")).strip(" \t")


class Hashed:
    """As dkimpy's RSA wants it."""
    name = "sha256"

    def __init__(self, data):
        self.hash = hashlib.sha256(data)

    def digest(self):
        return self.hash.digest()


def message_of(row, private):
    # From the bottom up, and each field once.
    left = {}
    for name, value in FIELDS:
        left.setdefault(name.lower(), []).append((name, value))
    data = "".join(relaxed(*left[name].pop()) + "\r\n" for name in row.names)
    data += relaxed(row.field, re.sub(r"\s*@\s*(?=;|\Z)", "", row.value))
    signature = base64.b64encode(dkim.RSASSA_PKCS1_v1_5_sign(
        Hashed(data.encode()), private)).decode()
    value = re.sub(r"@(?=\s*(;|\Z))", lambda _: row.signature(signature),
                   row.value)
    return "".join("%s:%s\r\n" % one
                   for one in ((row.field, value),) + FIELDS).encode() + \
        b"\r\n" + BODY


# Key records; "@" is the key. (name, status, text, who differs)
RECORD_ROWS = (
    ("usual", "pass", "v=DKIM1; k=rsa; p=@", ""),
    ("p= alone", "pass", "p=@", ""),
    ("no spaces", "pass", "v=DKIM1;k=rsa;p=@;", ""),
    ("spaces", "pass", " v = DKIM1 ; k = rsa ; p = @ ; ", ""),
    # RFC 6376 3.6.1: v= "MUST be the first tag".
    ("v= last", "permerror", "k=rsa; p=@; v=DKIM1", "dom"),
    ("v= in lower case", "permerror", "v=dkim1; p=@", ""),
    ("v= empty", "permerror", "v=; p=@", "m"),
    ("v=DKIM2", "permerror", "v=DKIM2; p=@", ""),
    ("k= in capitals", "pass", "v=DKIM1; k=RSA; p=@", "dm"),
    ("k= empty", "permerror", "v=DKIM1; k=; p=@", "M"),
    ("k= unknown", "permerror", "v=DKIM1; k=foo; p=@", ""),
    ("P= for p=", "permerror", "v=DKIM1; P=@", ""),
    # g= went with RFC 6376; an unknown tag is passed over.
    ("g=*", "pass", "v=DKIM1; g=*; p=@", ""),
    ("g= empty", "pass", "v=DKIM1; g=; p=@", "m"),
    ("g= of somebody", "pass", "v=DKIM1; g=joe; p=@", "m"),
    ("h=sha256", "pass", "v=DKIM1; h=sha256; p=@", ""),
    ("h= of both", "pass", "v=DKIM1; h=sha1:sha256; p=@", ""),
    ("h= with spaces", "pass", "v=DKIM1; h= sha1 : sha256 ; p=@", "m"),
    ("h=sha1", "permerror", "v=DKIM1; h=sha1; p=@", "d"),
    ("h= unknown", "permerror", "v=DKIM1; h=md5; p=@", "d"),
    ("s=email", "pass", "v=DKIM1; s=email; p=@", ""),
    ("s=*", "pass", "v=DKIM1; s=*; p=@", ""),
    ("s= of two", "pass", "v=DKIM1; s=other:email; p=@", "d"),
    ("s= of another", "permerror", "v=DKIM1; s=other; p=@", ""),
    ("t=y", "pass", "v=DKIM1; t=y; p=@", ""),
    ("t=s", "pass", "v=DKIM1; t=s; p=@", ""),
    ("t= unknown", "pass", "v=DKIM1; t=q; p=@", ""),
    ("n=", "pass", "v=DKIM1; n=a=20note=3B; p=@", ""),
    ("unknown tag", "pass", "v=DKIM1; foo=bar; p=@", ""),
    ("tag with a hyphen", "permerror", "v=DKIM1; x-foo=bar; p=@", "dom"),
    ("tag without value", "permerror", "v=DKIM1; foo; p=@", ""),
    ("two semicolons", "permerror", "v=DKIM1;; p=@", "m"),
    ("p= twice", "permerror", "v=DKIM1; p=@; p=@", "om"),
    ("n= twice", "permerror", "v=DKIM1; n=a; n=b; p=@", "om"),
    ("p= empty", "permerror", "v=DKIM1; p=", ""),
    ("no p=", "permerror", "v=DKIM1; k=rsa", ""),
    ("p= with a sign", "permerror", "v=DKIM1; p=!@", "do"),
    ("a comment behind", "permerror", "v=DKIM1; p=@ # key", "o"),
    ("quotes", "permerror", "\"v=DKIM1; p=@\"", "m"),
    ("escaped", "permerror", "v=DKIM1\\; k=rsa\\; p=@", "m"),
    ("of SPF", "permerror", "v=spf1 -all", ""),
    ("PEM", "permerror", "v=DKIM1; p=-----BEGIN PUBLIC KEY-----@", ""),
)

JUDGES = ((jury.Dkimpy, "d"), (jury.OpenDkim, "o"), (jury.MailDkim, "m"))


class Case:
    """Both tables in one go: (name, status, who differs) and a message of
    each row."""

    def __init__(self, directory):
        keys = Keys(directory + "/keys")
        with open(keys.make("example.com", "rsa", "rsa"), "rb") as file:
            private = dkim.parse_pem_private_key(file.read())
        usual = keys.records["rsa._domainkey.example.com"]
        texts = {"rsa._domainkey.example.com": usual,
                 "a.b._domainkey.example.com": usual}
        self.rows = [(row.name, row.status, row.differ) for row in ROWS]
        self.messages = [message_of(row, private) for row in ROWS]
        for number, (name, status, text, differ) in enumerate(RECORD_ROWS):
            selector = "record%d" % number
            self.rows.append(("record, " + name, status, differ))
            self.messages.append(message_of(
                Row(name, status, tags(s="s=" + selector)), private))
            texts[selector + "._domainkey.example.com"] = text.replace(
                "@", usual.rpartition("p=")[2])
        self.records = jury.Records(directory, texts)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(str(tmp_path_factory.mktemp("fields")))


def test_ours(case):
    said = jury.Ours.statuses(case.messages, case.records)
    assert len(said) == len(case.rows)
    assert [(name, statuses)
            for (name, status, _), statuses in zip(case.rows, said)
            if statuses != [status]] == []


@pytest.mark.parametrize("judge,letter", JUDGES,
                         ids=lambda one: getattr(one, "name", ""))
def test_others(case, judge, letter):
    logging.disable(logging.CRITICAL)  # dkimpy tells of each failure
    try:
        said = judge.verify(case.messages, case.records)
    finally:
        logging.disable(logging.NOTSET)
    wrong = []
    for (name, status, differ), verdicts in zip(case.rows, said):
        passed = bool(verdicts) and verdicts[-1].passed
        agrees = passed == (status == "pass")
        if agrees == (letter in differ) and letter.upper() not in differ:
            wrong.append("%s: %s says %s" % (name, judge.name,
                                             "pass" if passed else "no"))
    assert not wrong, "\n".join(wrong)
