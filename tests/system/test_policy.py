"""Who signs, with what: the options of signing and domain sections."""

import base64
import hashlib
import os
import re
import subprocess
import time

import dkim
import dkim.crypto
import pytest

from harness import judge, signet
from harness.messages import USUAL
from harness.smtp import Client, message, submit

# A stand-in for libcrypto in the signer process alone: each signature that it
# makes has a bit flipped, and the signer's own check of it always agrees.
BROKEN_SIGNER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int is_signer;

__attribute__((constructor)) static void
start(void)
{
	char line[256] = {0};
	int file = open("/proc/self/cmdline", O_RDONLY);
	ssize_t len = read(file, line, sizeof(line) - 1);

	close(file);
	is_signer = len > 0 &&
		    memmem(line, (size_t)len, "signer-process", 14) != NULL;
}

int
EVP_PKEY_sign(void *context, unsigned char *signature, size_t *len,
	      const unsigned char *digest, size_t digest_len)
{
	int (*real)(void *, unsigned char *, size_t *, const unsigned char *,
		    size_t) = dlsym(RTLD_NEXT, "EVP_PKEY_sign");
	int done = real(context, signature, len, digest, digest_len);

	if (is_signer && done == 1 && signature != NULL)
		signature[*len / 2] ^= 4;
	return done;
}

int
EVP_PKEY_verify(void *context, const unsigned char *signature, size_t len,
		const unsigned char *digest, size_t digest_len)
{
	int (*real)(void *, const unsigned char *, size_t,
		    const unsigned char *, size_t) =
		dlsym(RTLD_NEXT, "EVP_PKEY_verify");

	return is_signer ? 1 : real(context, signature, len, digest,
				    digest_len);
}
"""

# What expires a day later is judged by the clock.
TIME = str(int(time.time()))


@pytest.fixture(scope="module")
def own_keys(tmp_path_factory):
    keys = judge.Keys(str(tmp_path_factory.mktemp("policy-keys")))
    os.chmod(keys.directory, 0o711)
    for domain, selector, kind in (
            ("example.com", "rsa", "rsa"), ("example.com", "ed", "ed25519"),
            ("example.com", "news", "rsa"), ("esp.example", "esp", "rsa"),
            ("shop.example.net", "any", "rsa")):
        keys.make(domain, selector, kind)
    return keys


@pytest.fixture
def sign(directory, own_keys):
    """sign(sections, message): the output of `signet sign`."""
    def run(sections, data, check=0, command="sign", signing=""):
        setup = signet.Setup(directory, own_keys)
        setup.domains = {}
        setup.signing = signing
        setup.extra = sections
        config = setup.write()
        if command == "check-config":
            return signet.run(command, config=config, check=check)
        arguments = ("--time", TIME) if command == "sign" else ()
        return signet.run(command, *arguments, config=config, stdin=data,
                          check=check).stdout
    return run


def crlf(data):
    return re.sub(rb"\r?\n", b"\r\n", data)


def passing(output, keys):
    verdicts = judge.dkimpy(output, judge.lookup_in(keys.records))
    assert verdicts, output
    assert all(verdict.passed for verdict in verdicts), verdicts
    return [(verdict.domain, verdict.selector) for verdict in verdicts]


RSA = 'selector "rsa" { key = "example.com/rsa.pem" }'
NEWS = 'selector "news" { key = "example.com/news.pem" ' \
       'from = {"*@news.example.com", "news-*@example.com"} }'
ESP = 'domain "esp.example" { canonicalization = "simple/simple" ' \
      'selector "esp" { key = "esp.example/esp.pem" } }'


def author(address, rest=b""):
    return USUAL.replace(b"Alice <alice@example.com>", address) + rest + \
        b"\r\nHello.\r\n"


def test_header_lists(sign, own_keys):
    output = sign('domain "example.com" { headers = {"From", "Subject", "To"} '
                  'oversign = {"From", "X-Own"} %s }' % RSA,
                  author(b"alice@example.com", b"X-Own: 1\r\n"))
    assert passing(output, own_keys) == [("example.com", "rsa")]
    tags = judge.signature_tags(output)[0]
    assert [name.strip() for name in tags["h"].split(":")] == \
        ["From", "To", "Subject", "X-Own", "From", "X-Own"]
    forged = b"X-Own: 2\r\n" + output
    assert not judge.dkimpy(forged, judge.lookup_in(own_keys.records))[0].passed


def test_expire_and_identity(sign, own_keys):
    output = sign('domain "example.com" { subdomains = true expire = "1d" '
                  'identity = "bulk=x@news.example.com" %s }' % RSA,
                  author(b"alice@news.example.com"))
    tags = judge.signature_tags(output)[0]
    assert tags["t"] == TIME
    assert tags["x"] == str(int(TIME) + 24 * 3600)
    assert tags["i"] == "bulk=3Dx@news.example.com"
    assert judge.opendkim([output], own_keys.records)[0][0].domain == \
        "example.com"
    assert passing(output, own_keys) == [("example.com", "rsa")]


@pytest.mark.parametrize("address, selectors", (
    (b"alice@example.com", ["rsa"]),
    (b"alice@news.example.com", ["news"]),
    (b"News-7@example.com", ["news"]),
    (b'"news-a b"@example.com', ["news"]),
    (b"news-1@example.com, alice@example.com", ["rsa"]),
))
def test_sender_patterns(sign, own_keys, address, selectors):
    output = sign('domain "example.com" { subdomains = true %s %s }' %
                  (RSA, NEWS), author(address))
    assert passing(output, own_keys) == \
        [("example.com", name) for name in selectors]


def test_a_second_signature_by_an_operator(sign, own_keys):
    output = sign('domain "example.com" { also_sign = "esp.example" %s }\n%s' %
                  (RSA, ESP), author(b"alice@example.com"))
    assert passing(output, own_keys) == [("example.com", "rsa"),
                                         ("esp.example", "esp")]
    assert [tags["c"] for tags in judge.signature_tags(output)] == \
        ["relaxed/relaxed", "simple/simple"]
    perfect = judge.opendkim([output], own_keys.records)[0]
    assert all(verdict.passed for verdict in perfect) and len(perfect) == 2


def test_the_default_section(sign, own_keys):
    sections = 'domain "*" { selector "any" { ' \
               'key = "shop.example.net/any.pem" } }'
    output = sign(sections, author(b"a@shop.example.net"))
    assert passing(output, own_keys) == [("shop.example.net", "any")]
    literal = author(b"a@[192.0.2.1]")
    assert sign(sections, literal) == crlf(literal)


# Addresses that are hard to read, and whose they are. None: nobody's.
AUTHORS = (
    (b"From: alice@example.com\r\n", True),
    (b"From: \"Smith, Alice\" <alice@example.com>\r\n", True),
    (b"From: \"a@example.net\" <alice@example.com>\r\n", True),
    (b"From: a@example.net <alice@example.com>\r\n", True),
    (b"From: alice (a@example.net) @example.com\r\n", True),
    (b"From: Team: alice@example.com, bob@example.com;\r\n", True),
    (b"From: \xc3\x84 <\xc3\xa4@example.com>\r\n", True),
    (b"From: =?utf-8?q?a=40example=2Enet?= <alice@example.com>\r\n", True),
    (b"From: alice@EXAMPLE.com\r\n", True),
    (b"From:\r\n alice@example.com\r\n", True),
    (b"From: <@relay.example.net:alice@example.com>\r\n", True),
    (b"", False),
    (b"From: alice@example.com\r\nFrom: alice@example.com\r\n", False),
    (b"From: alice@example.com, a@example.net\r\n", False),
    (b"From: undisclosed:;\r\n", False),
    (b"From: alice\r\n", False),
    (b"From: <>\r\n", False),
    (b"From: alice@example.com <a@example.net>\r\n", False),
    (b"From: alice@example.com@example.net\r\n", False),
    (b"From: <alice@example.com\r\n", False),
)


@pytest.mark.parametrize("fields, is_signed", AUTHORS)
def test_authors(sign, own_keys, fields, is_signed):
    data = fields + b"Subject: x\r\n\r\nHello.\r\n"
    output = sign('domain "example.com" { %s }' % RSA, data)
    assert output.startswith(b"DKIM-Signature:") == is_signed
    assert output.endswith(data)
    told = sign('domain "example.com" { %s }' % RSA, data,
                command="explain").decode()
    assert ("Signed: " in told) == is_signed, told
    refused = sign('domain "example.com" { %s }' % RSA, data,
                   signing='unsigned = "reject"', check=0 if is_signed else 65)
    assert bool(refused) == is_signed


def test_an_idn_domain(sign, own_keys, directory):
    """d= has A-labels, however section and author are written."""
    own_keys.make("xn--bcher-kva.example", "rsa", "rsa")
    section = 'domain "bücher.example" { selector "rsa" { ' \
              'key = "xn--bcher-kva.example/rsa.pem" } }'
    for written in ("a@bücher.example", "ä@Bücher.example",
                    "a@xn--bcher-kva.example"):
        output = sign(section, author(written.encode()))
        assert passing(output, own_keys) == [("xn--bcher-kva.example", "rsa")]


@pytest.mark.parametrize("existing", ("keep", "strip", "skip"))
def test_a_signature_that_is_there_already(sign, own_keys, existing):
    section = 'domain "example.com" { %s }\n' % RSA + ESP
    foreign = sign('%s\ndomain "lent.example" { also_sign = "esp.example" }' %
                   ESP, author(b"a@lent.example"))
    foreign = foreign.replace(b"a@lent.example", b"alice@example.com")
    first = sign(section, foreign)
    assert [tags["d"] for tags in judge.signature_tags(first)] == \
        ["example.com", "esp.example"]
    again = sign(section, first, signing='existing = "%s"' % existing)
    if existing == "skip":
        assert again == first
    elif existing == "strip":  # same key, time and bytes: the same signature
        assert again == first
        assert len(judge.signature_tags(again)) == 2
    else:
        assert again.endswith(first) and again != first
        assert len(judge.signature_tags(again)) == 3
    ours = [verdict for verdict in
            judge.dkimpy(again, judge.lookup_in(own_keys.records))
            if verdict.domain == "example.com"]
    assert ours and all(verdict.passed for verdict in ours)


MISTAKES = (
    ('domain "example.com" { identity = "@example.net" %s }' % RSA,
     "is not within the domain"),
    ('domain "example.com" { identity = "@badexample.com" %s }' % RSA,
     "is not within the domain"),
    ('domain "example.com" { also_sign = "example.net" %s }' % RSA,
     'there is no domain "example.net"'),
    ('domain "example.com" { also_sign = "example.com" %s }' % RSA,
     "signs already"),
    ('domain "example.com" { headers = {"Received"} %s }' % RSA,
     "changes on the way"),
    ('domain "example.com" { headers = {"A B"} %s }' % RSA,
     "is not the name of a field"),
    ('domain "example.com" { expire = "soon" %s }' % RSA, "'expire'"),
    ('domain "example.com" { canonicalization = "loose" %s }' % RSA,
     "is none of"),
    ('domain "example.com" { %s }' % NEWS, "subdomains = true is missing"),
    ('domain "*" { identity = "@example.com" %s }' % RSA, "has no meaning"),
    ('domain "example.com" { }', "has no selector"),
    ('domain "example.com" { selector "rsa" { key = "example.com/rsa.pem" '
     'from = {"example.com"} } }', "is not a sender pattern"),
)


@pytest.mark.parametrize("sections, says", MISTAKES)
def test_mistakes(sign, sections, says):
    done = sign(sections, b"", check=78, command="check-config")
    assert says in done.stderr.decode()


def test_a_sender_with_a_selector_that_rests(sign):
    """As after a rotation that forgot it: it is told, and no mistake."""
    resting = 'selector "old" { key = "example.com/news.pem" ' \
        'state = "retired" }'
    done = sign('domain "example.com" { %s %s }\n'
                'sender "ceo@example.com" { sign = {'
                '"old._domainkey.example.com", "rsa._domainkey.example.com"} }'
                % (RSA, resting), b"", command="check-config")
    said = done.stderr.decode().splitlines()
    assert len(said) == 1
    assert re.search(r'warning: .*:\d+: \'sign\' names the selector "old" of '
                     '"example.com", which is not active', said[0])


# -- the same signature as others make -----------------------------------------

@pytest.mark.parametrize("canonicalization", (
    "relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"))
def test_signatures_are_those_of_others(sign, own_keys, canonicalization):
    """RSA is deterministic. dkimpy hashes body and header and signs with the
    same key; b= and bh= have to be equal to the byte."""
    data = author(b"alice@example.com",
                  b"X-Fold:  a\r\n\tb \r\nSUBJECT:  second \r\n")
    data = data.replace(b"Hello.", b" a \t b  \r\n\r\nHello. \r\n\r\n")
    output = sign('domain "example.com" { canonicalization = "%s" %s }' %
                  (canonicalization, RSA), data)
    headers, body = dkim.rfc822_parse(output)
    tags = judge.signature_tags(output)[0]
    policy = dkim.CanonicalizationPolicy.from_c_value(
        canonicalization.encode())
    assert tags["bh"] == base64.b64encode(hashlib.sha256(
        policy.canonicalize_body(body)).digest()).decode()

    with open(own_keys.path("example.com", "rsa"), "rb") as file:
        key = dkim.crypto.parse_pem_private_key(subprocess.run(
            ["openssl", "pkey", "-traditional"], stdin=file, check=True,
            stdout=subprocess.PIPE).stdout)
    names = [name.strip().lower().encode() for name in tags["h"].split(":")]
    value = headers[0][1]
    unsigned = re.sub(rb"(b=)[A-Za-z0-9+/=\s]+$", rb"\1", value)
    hasher = dkim.hashlib.sha256()
    dkim.hash_headers(hasher, policy,
                      policy.canonicalize_headers(headers[1:]), names,
                      (headers[0][0], unsigned), {b"b": b""})
    made = dkim.crypto.RSASSA_PKCS1_v1_5_sign(hasher, key)
    assert re.sub(r"\s", "", tags["b"]) == base64.b64encode(made).decode()


# -- never a signature that does not verify ------------------------------------

@pytest.fixture(scope="module")
def broken_signer(session_directory):
    """The environment in which the signer breaks what it signs."""
    source = session_directory + "/broken.c"
    library = session_directory + "/broken.so"
    with open(source, "w") as file:
        file.write(BROKEN_SIGNER)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source,
                    "-ldl"], check=True)
    os.chmod(library, 0o755)
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": ":".join(
        filter(None, (os.environ.get("ASAN_OPTIONS"),
                      "verify_asan_link_order=0")))}


def test_a_broken_signer_signs_nothing(directory, own_keys, broken_signer):
    setup = signet.Setup(directory, own_keys)
    setup.domains = {"example.com": ["rsa"]}
    done = signet.run("sign", config=setup.write(), check=75,
                      stdin=author(b"alice@example.com"), env=broken_signer)
    assert done.stdout == b""
    assert b"does not verify" in done.stderr


@pytest.mark.parametrize("size", (10, 3000000))
def test_nothing_that_a_broken_signer_made_leaves(
        setup, name_server, receiver, relay, broken_signer, size):
    configured = setup()
    configured.domains = {"example.com": ["rsa"]}
    configured.resolver = name_server(
        {"example.net": "@ IN MX 10 mx\nmx IN A 127.0.0.2"}).resolver
    sink = receiver(configured.mx_port, "127.0.0.2")
    running = relay(configured, env=broken_signer)
    data = message(body="0123456789abcdef\r\n" * (size // 18 + 1))
    for count in (1, 2):
        with Client(running.port) as client:
            client.ehlo()
            client.expect("MAIL FROM:<alice@example.com>", 250)
            client.expect("RCPT TO:<bob@example.net>", 250)
            assert client.data(data)[0] == 451
        event = running.wait("error", count=count)
        assert event["level"] == "error"
        assert "does not verify" in str(event)
    assert not running.named("accepted")
    # What nobody signs goes through: the way out works.
    submit(running.port, message(sender="a@other.example"),
           sender="a@other.example")
    sink.wait_deliveries(1)
    assert len(sink.deliveries) == 1


def test_large_and_small_messages_are_looked_at_and_pass(world, keys):
    """Every one, from memory and from a file."""
    world.setup.signing = "verify_every = 1"
    world.start()
    for number, size in enumerate((10, 3000000, 200000), 1):
        submit(world.relay.port, message(body="abc\r\n" * (size // 5 + 1)))
        data = world.receiver.wait_deliveries(number)[number - 1].data
        verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
        assert [verdict.passed for verdict in verdicts] == [True, True]
    assert not world.relay.named("error")


def test_the_relay_takes_an_old_signature_away(world, keys):
    world.setup.signing = 'existing = "strip"\n verify_every = 1'
    world.start()
    sent = message(body="abc\r\n" * 9)
    for number, size in enumerate((1, 900000), 1):
        sent = message(body="abc\r\n" * size)
        old = signet.run("sign", config=world.setup.path, stdin=sent,
                         check=0).stdout
        foreign = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; " \
                  b"h=From; bh=AAAA; b=AAAA\r\n"
        submit(world.relay.port, foreign + old)
        data = world.receiver.wait_deliveries(number)[number - 1].data
        assert [tags["d"] for tags in judge.signature_tags(data)] == \
            ["example.com", "example.com", "example.net"]
        assert data.endswith(foreign + sent)
        verdicts = judge.dkimpy(data, judge.lookup_in(keys.records))
        assert [verdict.passed for verdict in verdicts[:2]] == [True, True]
        changed = world.relay.wait("accepted", count=number)["changed"]
        assert changed == ["DKIM-Signature removed"]
