"""`signet verify` and what DNS may say: records that are odd, split, several,
revoked, not there, or not to be had now. One message carries a signature for
each, so that one run judges them all; dkimpy's parts make the signatures."""

import base64
import hashlib
import re
import socket

import pytest

from harness import jury, signet
from harness.judge import Keys
from harness.names import txt_strings

REST = (b"From: Alice <alice@example.com>\r\nSubject: odd records\r\n\r\n"
        b"Hello.\r\nfooter\r\n")
BODY = REST.partition(b"\r\n\r\n")[2]


def body_hash(body=BODY, algorithm=hashlib.sha256):
    return base64.b64encode(algorithm(body).digest()).decode()


def signed(key, selector, tags="", domain="example.com", hashed=None):
    """One field; more tags go before b=."""
    field = ("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; "
             "s=%s;\r\n h=from:subject; bh=%s;%s b=" % (
                 domain, selector, hashed or body_hash(), tags)).encode()
    return field + jury.Dkimpy.again(
        field + b"\r\n" + REST, key).encode() + b"\r\n"


@pytest.fixture
def key(directory):
    """A key whose record does not fit into one UDP answer's string."""
    return Keys(directory + "/verify-keys").make("example.com", "k", "rsa")


def public(key):
    keys = Keys(key.rpartition("/example.com/")[0])
    keys.publish("example.com", "k")
    return keys.records["k._domainkey.example.com"].rpartition("p=")[2]


OTHER = ("MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=")


def rows(p):
    """(selector, lines of the zone, further tags, status, part of reason)"""
    good = "v=DKIM1; k=rsa; p=" + p
    bare = "%s._domainkey IN TXT %%s\n"

    def txt(selector, *texts):
        return "".join(bare % selector % txt_strings(text) for text in texts)

    odd_strings = " ".join('"%s"' % one for one in (
        "v=DKIM1", "", "; k=r", "sa; p=" + p[:100], p[100:355], p[355:]))
    return [
        ("plain", txt("plain", good), "", "pass", "2048 bits"),
        ("strings", bare % "strings" % odd_strings, "", "pass", ""),
        ("large", txt("large", good + "; n=" + "x" * 3000), "", "pass",
         'says "xxx'),
        ("beside", txt("beside", "v=spf1 -all", good), "", "pass", ""),
        ("several", txt("several", "v=DKIM1; k=ed25519; p=" + OTHER, good,
                        "v=DKIM1; p="), "", "pass", ""),
        ("alias", "alias._domainkey IN CNAME plain._domainkey\n", "", "pass",
         ""),
        ("UPPER", txt("upper", good), "", "pass", ""),
        ("dotted.name", txt("dotted.name", good), "", "pass", ""),
        ("spaces", txt("spaces", " v = DKIM1 ; p = " + p[:50] + " " + p[50:] +
                       " ; "), "", "pass", ""),
        ("kindless", txt("kindless", "p=" + p), "", "pass", ""),
        ("old", txt("old", "v=DKIM1; g=*; k=rsa; p=" + p), "", "pass", ""),
        ("testing", txt("testing", "v=DKIM1; t=y; n=try=20=22me=22; p=" + p),
         "", "pass", 'test mode; the key\'s record says "try ?me?"'),
        ("part", txt("part", good), " l=8;", "pass",
         "l= leaves the last 8 bytes of the body unsigned"),
        ("revoked", txt("revoked", "v=DKIM1; n=key=20lost; p="), "",
         "permerror", 'revoked; the key\'s record says "key lost"'),
        ("nothing", "", "", "permerror", "no key record"),
        ("address", "address._domainkey IN A 127.0.0.1\n", "", "permerror",
         "no key record"),
        ("sha1", txt("sha1", "v=DKIM1; h=sha1; p=" + p), "", "permerror",
         "does not allow sha256"),
        ("service", txt("service", "v=DKIM1; s=tlsrpt; p=" + p), "",
         "permerror", "not for mail"),
        ("strict", txt("strict", "v=DKIM1; t=s; p=" + p),
         " i=@news.example.com;", "permerror", "no subdomain"),
        ("subdomain", txt("subdomain", good), " i=@news.example.com;",
         "pass", ""),
        ("expired", txt("expired", good), " t=1000000000; x=1000000001;",
         "permerror", "expired"),
        ("kind", txt("kind", "v=DKIM1; k=x25519; p=" + p), "", "permerror",
         "not of the kind"),
        ("version", txt("version", "v=DKIM2; p=" + p), "", "permerror",
         "v= is not DKIM1"),
        ("damaged", txt("damaged", "v=DKIM1; p=" + p[:-9]), "", "permerror",
         "key"),
        ("wrong", txt("wrong", "v=DKIM1; k=ed25519; p=" + OTHER), "",
         "permerror", "not of the kind"),
    ]


def verify(configured, message, check):
    done = signet.run("verify", config=configured.write(), stdin=message,
                      check=check, timeout=60)
    return [line.split(" ", 4) for line in done.stdout.decode().splitlines()]


def test_odd_records(key, setup, name_server):
    table = rows(public(key))
    names = name_server({"verify.example": "".join(row[1] for row in table)})
    message = b"".join(
        signed(key, selector, tags.replace("example.com", "verify.example"),
               "verify.example",
               body_hash(BODY[:8]) if "l=8" in tags else None)
        for selector, _, tags, _, _ in table) + REST
    lines = verify(setup(names.resolver), message, 65)
    assert len(lines) == len(table)
    wrong = []
    for (selector, _, _, status, reason), line in zip(table, lines):
        assert line[1:4] == ["d=verify.example", "s=" + selector,
                             "a=rsa-sha256"], line
        if line[0] != status or reason not in line[4]:
            wrong.append("%s: %s" % (selector, line))
    assert not wrong, "\n".join(wrong)


def test_sha1_is_permerror(key, setup, name_server, keys):
    """RFC 8301 3.1, whatever the record says."""
    names = name_server({"verify.example": "old._domainkey IN TXT %s\n" %
                         txt_strings("v=DKIM1; p=" + public(key))})
    field = signed(key, "old", domain="verify.example",
                   hashed=body_hash(algorithm=hashlib.sha1))
    line, = verify(setup(names.resolver),
                   field.replace(b"rsa-sha256", b"rsa-sha1") + REST, 65)
    assert line[0] == "permerror" and "RFC 8301" in line[4], line


@pytest.mark.parametrize("trouble", ("refused", "silent"))
def test_dns_trouble_is_temporary(key, setup, name_server, trouble):
    """A name server that refuses, and one that says nothing."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    resolver = "127.0.0.1:%d" % silent.getsockname()[1]
    if trouble == "refused":  # NSD does not have that zone
        resolver = name_server().resolver
    line, = verify(setup(resolver),
                   signed(key, "s", domain="nowhere.example") + REST, 75)
    silent.close()
    assert line[0] == "temperror", line
    assert re.search(r"cannot be asked for now", line[4]), line
