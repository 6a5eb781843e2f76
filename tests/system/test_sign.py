"""`signet sign`, judged by three verifiers that are not ours."""

import re

import pytest

from harness import judge, signet
from harness.messages import MESSAGES, USUAL
from harness.names import txt_strings

# One start signs for all of these, each in its own way.
CANONICALIZATIONS = {"example.com": "relaxed/relaxed",
                     "rs.example.com": "relaxed/simple",
                     "sr.example.com": "simple/relaxed",
                     "ss.example.com": "simple/simple"}
SELECTORS = """
    selector "rsa" { key = "example.com/rsa.pem" }
    selector "ed" { key = "example.com/ed.pem" }
"""
PASS = [("ed", "ed25519-sha256", True), ("rsa", "rsa-sha256", True)]

# OpenDKIM's test mode writes "Name: value" anew, whatever stood behind the
# colon, so it cannot judge these where the header is taken as it is.
OPENDKIM_CANNOT_SIMPLE = {
    "folded with only a blank", "no space after colon",
    "much space after colon", "empty subject", "empty field",
}


def crlf(message):
    return re.sub(rb"\r?\n", b"\r\n", message)


@pytest.fixture
def sign(setup):
    def run(message, *options, check=0, unsigned="relay"):
        configured = setup()
        configured.signing = 'unsigned = "%s"' % unsigned
        return signet.run("sign", *options, config=configured.write(),
                          stdin=message, check=check).stdout
    return run


@pytest.fixture
def sign_in_all_ways(setup):
    others = [name for name in CANONICALIZATIONS if name != "example.com"]
    configured = setup()
    configured.domains = {}
    configured.extra = "\n".join(
        'domain "%s" { canonicalization = "%s"\n%s\n%s }' % (
            domain, canonicalization, SELECTORS,
            'also_sign = {"%s"}' % '", "'.join(others)
            if domain == "example.com" else "")
        for domain, canonicalization in CANONICALIZATIONS.items())
    configured.write()
    return lambda message: signet.run("sign", config=configured.path,
                                      stdin=message, check=0).stdout


def test_awkward_messages(sign_in_all_ways, keys, name_server):
    records = {"%s._domainkey.%s" % (selector, domain):
               keys.records["%s._domainkey.example.com" % selector]
               for selector in ("rsa", "ed") for domain in CANONICALIZATIONS}
    names = name_server({domain: "\n".join(
        "%s._domainkey IN TXT %s" % (
            selector, txt_strings(records["%s._domainkey.%s" %
                                          (selector, domain)]))
        for selector in ("rsa", "ed"))
        for domain in CANONICALIZATIONS if domain != "example.com"})
    signed = {}
    for name, message in MESSAGES.items():
        output = sign_in_all_ways(message)
        signed[name] = output
        # On top, and nothing else changed.
        assert output.startswith(b"DKIM-Signature:"), name
        wanted = crlf(message)
        assert output.endswith((wanted, wanted + b"\r\n")), name
        for tags in judge.signature_tags(output)[:2 * len(CANONICALIZATIONS)]:
            assert tags.get("c", "simple/simple") == \
                CANONICALIZATIONS[tags["d"]], name
            assert "l" not in tags and "z" not in tags, name

    failed = []
    dkimpy = [judge.dkimpy(one, judge.lookup_in(records))
              for one in signed.values()]
    # The other two read lines, and a line has an end, as on the wire.
    outputs = [one if one.endswith(b"\r\n") else one + b"\r\n"
               for one in signed.values()]
    opendkim = judge.opendkim(outputs, records)
    perl = judge.mail_dkim(outputs, names.port)
    for number, name in enumerate(signed):
        rows = [("dkimpy", dkimpy[number], PASS),
                ("OpenDKIM", opendkim[number], PASS),
                ("Mail::DKIM", perl[number], PASS[1:])]
        for judged_by, verdicts, wanted in rows:
            for domain, canonicalization in CANONICALIZATIONS.items():
                if judged_by == "OpenDKIM" and name in OPENDKIM_CANNOT_SIMPLE \
                        and canonicalization.startswith("simple/"):
                    continue
                ours = sorted(v[1:] for v in verdicts if v.domain == domain)
                if ours != wanted:
                    failed.append("%s, %s: %s says %s" % (
                        name, canonicalization, judged_by, verdicts))
    assert not failed, "\n".join(failed)


def test_a_changed_message_fails(sign, keys):
    """The judges judge."""
    output = sign(MESSAGES["plain"])
    for old, new in ((b"Hello", b"Hallo"), (b"awkward\r\n", b"awkwerd\r\n")):
        changed = output.replace(old, new)
        assert changed != output
        verdicts = (judge.dkimpy(changed, judge.lookup_in(keys.records)) +
                    judge.opendkim([changed], keys.records)[0])
        assert len(verdicts) == 4
        assert not any(verdict.passed for verdict in verdicts)


def test_fields_added_later_break_the_signature(sign, keys):
    """From, Subject, Date, To, Cc and Reply-To are oversigned."""
    output = sign(MESSAGES["plain"])
    for field in (b"From: mallory@example.net", b"Subject: x", b"To: x@y.example",
                  b"Date: Sun, 22 Nov 2026 20:00:00 +0000",
                  b"Cc: c@example.net", b"Reply-To: m@example.net"):
        for changed in (field + b"\r\n" + output,
                        output.replace(b"\r\n\r\n",
                                       b"\r\n" + field + b"\r\n\r\n", 1)):
            verdicts = judge.opendkim([changed], keys.records)[0]
            assert not any(verdict.passed for verdict in verdicts), field


def test_signed_fields(sign):
    message = USUAL + (b"Cc: c@example.net\r\nReply-To: r@example.com\r\n"
                       b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
                       b"Content-Transfer-Encoding: 7bit\r\n"
                       b"List-Unsubscribe: <mailto:u@example.com>\r\n"
                       b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
                       b"X-Other: x\r\nReceived: from a by b; now\r\n"
                       b"Return-Path: <x@example.com>\r\n\r\nx\r\n")
    for tags in judge.signature_tags(sign(message)):
        fields = [name.strip().lower() for name in tags["h"].split(":")]
        for name in ("from", "subject", "date", "to", "cc", "reply-to"):
            assert fields.count(name) == 2, (name, fields)
        for name in ("message-id", "mime-version", "content-type",
                     "content-transfer-encoding", "list-unsubscribe",
                     "list-unsubscribe-post"):
            assert name in fields, (name, fields)
        for name in ("received", "return-path", "x-other", "dkim-signature"):
            assert name not in fields, (name, fields)


def test_time_makes_output_reproducible(sign):
    first = sign(MESSAGES["plain"], "--time", "1795291200")
    assert first == sign(MESSAGES["plain"], "--time", "1795291200")
    assert first != sign(MESSAGES["plain"], "--time", "1795291201")
    assert [tags["t"] for tags in judge.signature_tags(first)] == \
        ["1795291200"] * 2


def test_a_file_is_read_like_stdin(sign, directory):
    path = directory + "/message.eml"
    with open(path, "wb") as file:
        file.write(MESSAGES["plain"])
    assert sign(b"", "--time", "1795291200", path) == \
        sign(MESSAGES["plain"], "--time", "1795291200")


def test_a_large_message(sign, keys):
    body = b"0123456789abcdef  \t tail \r\n" * 100000
    output = sign(USUAL + b"\r\n" + body)
    assert output.endswith(body)
    assert all(v.passed for v in
               judge.dkimpy(output, judge.lookup_in(keys.records)))


def test_mail_of_other_domains(sign):
    foreign = USUAL.replace(b"alice@example.com", b"a@other.example") \
        + b"\r\nx\r\n"
    assert sign(foreign) == foreign
    assert sign(foreign, unsigned="reject", check=65) == b""


# None, two and none that can be read: what has no author has no domain.
NO_AUTHOR = {
    "no From": USUAL.replace(b"From: Alice", b"X-From: Alice") + b"\r\nx\r\n",
    "two From": USUAL + b"From: mallory@example.net\r\n\r\nx\r\n",
    "two From of ours": USUAL + b"From: alice@example.com\r\n\r\nx\r\n",
    "empty": b"",
    "not a header": b"hello there\r\nno colon here\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("name", NO_AUTHOR)
def test_a_message_without_one_author(sign, name):
    """Never signed in silence: refused, or written without a signature."""
    message = NO_AUTHOR[name]
    assert b"d=example.com" not in sign(message, check=None)
    assert sign(message, unsigned="reject", check=65) == b""


def test_subdomains(setup):
    message = USUAL.replace(b"alice@example.com", b"a@deep.sub.example.com") \
        + b"\r\nx\r\n"
    configured = setup()
    assert signet.run("sign", config=configured.write(), stdin=message,
                      check=0).stdout == message
    configured.subdomains = True
    output = signet.run("sign", config=configured.write(), stdin=message,
                        check=0).stdout
    assert [tags["d"] for tags in judge.signature_tags(output)] == \
        ["example.com"] * 2


def test_our_verifier_agrees(sign, setup, name_server):
    names = name_server()
    configured = setup(names.resolver)
    output = sign(MESSAGES["folded subject"])
    done = signet.run("verify", config=configured.write(), stdin=output,
                      check=0)
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["pass", "pass"]
    assert any("d=example.com" in line and "s=ed" in line and
               "a=ed25519-sha256" in line for line in lines)
    done = signet.run("verify", config=configured.path, check=65,
                      stdin=output.replace(b"\r\nx\r\n", b"\r\ny\r\n"))
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == \
        ["fail", "fail"]
    signet.run("verify", config=configured.path, check=65,
               stdin=MESSAGES["plain"])  # no signature at all


def test_verify_without_dns_is_temporary(sign, setup):
    configured = setup("127.0.0.1:1")
    output = sign(MESSAGES["plain"])
    done = signet.run("verify", config=configured.write(), stdin=output,
                      check=75, timeout=60)
    assert done.stdout.decode().startswith("temperror")


def test_verify_judges_what_others_signed(keys, setup, name_server):
    """dkimpy signs, we verify."""
    import dkim
    names = name_server()
    configured = setup(names.resolver)
    with open(keys.path("example.com", "rsa"), "rb") as file:
        pem = file.read()
    configured.write()
    ways = [tuple(one.encode().split(b"/"))
            for one in CANONICALIZATIONS.values()]
    for name, message in MESSAGES.items():
        if name in ("bare LF for newlines", "header only, no blank line",
                    "foreign signature"):
            continue
        fields = b"".join(dkim.sign(message, b"rsa", b"example.com", pem,
                                    canonicalize=way) for way in ways)
        done = signet.run("verify", config=configured.path, check=0,
                          stdin=fields + message)
        assert [line.split()[0] for line in
                done.stdout.splitlines()] == [b"pass"] * len(ways), name
