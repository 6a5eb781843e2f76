"""signet import opendkim: OpenDKIM itself and signet on what was imported sign
the same mail."""

import gzip
import os
import re
import socket
import subprocess

import pytest

from harness import judge, signet
from harness.imported import (STYLES, Imported, Style, here, mail, peer_of,
                              same_fields, same_signers, signatures, there)
from harness.milter import SignetMilter
from harness.milter_client import MACROS, Milter
from harness.opendkim import check

FROM = """
alice@example.com
Alice <alice@example.com>
"Alice A." <alice@example.com>
"alice" <ALICE@EXAMPLE.COM>
Alice <Alice@Example.Com>
<alice@example.com>
alice@example.com (Alice)
(a comment) alice@example.com
"bob@example.org" <alice@example.com>
"alice@example.com" <bob@example.net>
=?utf-8?q?Alice_=C3=84?= <alice@example.com>
alice+news@example.com
bounces+1234=example.net@example.com
bounces@example.com
newsletter@example.com
NewsLetter@Example.COM
"newsletter" <newsletter@news.example.com>
newsletters@example.com
xnewsletter@example.com
ceo@example.com
CEO@example.com
sales@example.com
postmaster@example.com
root@example.com
"quoted local"@example.com
o'neill@example.com
a.b.c@example.com
alice@news.example.com
alice@a.b.news.example.com
alice@NEWS.Example.com
ceo@news.example.com
alice@example.com.example.net
alice@notexample.com
alice@xexample.com
alice@com
alice@example.org
bob@example.org
Alice@EXAMPLE.org
root@example.org
root@sub.example.org
alice@sub.example.org
alice@a.sub.example.org
postmaster@sub.example.org
postmaster@example.org
postmaster@example.net
alice@example.net
alice@operator.example
alice@one.example
alice@sub.one.example
bob@two.example
alice@two.example
alice@deep.two.example
alice@very.deep.two.example
alice@xtwo.example
alice@localhost
root@mail.example.com
MAILER-DAEMON@mail.example.com
""".strip().split("\n")

# OpenDKIM takes the first address that it can make out; signet wants one
# author whom every reader sees.
DIFFERENT = {
    "two From fields": b"From: alice@example.com\r\nFrom: bob@example.net\r\n",
    "addresses of two domains":
        b"From: alice@example.com, bob@example.net\r\n",
    "an address that goes on": b"From: alice@example.com garbage\r\n",
}
UNSIGNED = {
    "no From": b"Sender: alice@example.com\r\n",
    "no address": b"From: undisclosed:;\r\n",
    "empty": b"From:\r\n",
    "no domain": b"From: alice\r\n",
}

# More than a line of h=, and fields that occur several times.
MANY = (b"Received: from a.example by b.example\r\n"
        b"Resent-From: alice@example.com\r\nResent-To: one@example.net\r\n"
        b"Resent-From: bob@example.com\r\nResent-To: two@example.net\r\n"
        b"FROM:Alice <alice@example.com>\r\n"
        b"References: <1@example.com>\r\n\t<2@example.com>\r\n"
        b"In-Reply-To: <2@example.com>\r\n"
        b"List-Id: <list.example.com>\r\n"
        b"list-unsubscribe: <https://example.com/u>\r\n"
        b"List-Post: <mailto:list@example.com>\r\n"
        b"List-Help: h\r\nList-Owner: o\r\nList-Archive: a\r\n"
        b"List-Subscribe: s\r\nList-Unsubscribe-Post: p\r\n"
        b"Sender: alice@example.com\r\nResent-Sender: bob@example.com\r\n"
        b"Resent-Cc: three@example.net\r\nResent-Message-ID: <3@example>\r\n"
        b"Comments: none\r\nKeywords: k\r\nReturn-Path: <a@example.com>\r\n"
        b"X-Mailer: x\r\nContent-Transfer-Encoding: 7bit\r\n"
        b"Resent-Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n")


@pytest.fixture(scope="module")
def private_keys(session_directory):
    made = judge.Keys(os.path.join(session_directory, "import-keys"))
    return {name: made.make("keys.example", name.replace(".", "-"), "rsa",
                            bits=1024)
            for name in ("example", "example.org", "news", "operator")
            } | {"ed": made.make("keys.example", "ed", "ed25519")}


@pytest.fixture
def style(directory, private_keys):
    return lambda name: Style(name, directory, private_keys)


@pytest.mark.parametrize("name", sorted(os.listdir(STYLES)))
def test_who_signs_what(style, started, name):
    made = style(name)
    is_good, said = check(made.config)
    assert is_good, said
    assert "NOT CARRIED" not in made.import_it()
    assert signet.run("check-config", config=made.imported,
                      check=0).stdout == b""
    peer = peer_of(made)
    heads = [b"From: %s\r\n" % text.encode() for text in FROM]
    messages = [mail(head) for head in [MANY] + heads +
                list(UNSIGNED.values())]
    theirs = there(made.socket, messages)
    by_client = there_from(made.socket, mail(heads[0]))
    peer.stop()
    same_fields(theirs, messages, made)
    # On the socket where OpenDKIM was.
    milter = SignetMilter(Imported(made))
    try:
        same_signers(theirs, there(made.socket, messages))
        assert there_from(made.socket, mail(heads[0])) == by_client
    finally:
        milter.stop()


# name: (the client's address, its family, macros of MAIL and CONNECT)
CLIENTS = {
    "loopback": ("127.0.0.1", "4", {}),
    "loopback, IPv6": ("::1", "6", {}),
    "a network": ("192.168.0.77", "4", {}),
    "beside that network": ("192.168.1.77", "4", {}),
    "another network": ("10.1.2.3", "4", {}),
    "an exception of that": ("10.1.1.1", "4", {}),
    "beside the exception": ("10.1.1.2", "4", {}),
    "a peer": ("10.2.0.9", "4", {}),
    "within the exception": ("10.3.4.5", "4", {}),
    "a stranger": ("192.0.2.7", "4", {}),
    "a stranger who has logged in": ("192.0.2.7", "4",
                                     {"{auth_type}": "PLAIN"}),
    "a stranger at MSA": ("192.0.2.7", "4", {"{daemon_name}": "MSA"}),
    "a stranger at ORIGINATING": ("192.0.2.7", "4",
                                  {"{daemon_name}": "ORIGINATING"}),
    "a stranger at submission": ("192.0.2.7", "4",
                                 {"{daemon_name}": "submission"}),
    "a stranger at another": ("192.0.2.7", "4", {"{daemon_name}": "smtpd"}),
}


def there_from(socket, message):
    """Whether it is signed, for each client."""
    found = {}
    for name, (address, family, macros) in CLIENTS.items():
        told = {stage: dict(MACROS[stage]) for stage in MACROS}
        told[b"C"].update(macros)
        told[b"M"].update(macros)
        with Milter(socket) as milter:
            result = milter.message(
                message, macros=told,
                client={"host": "client.example.net", "address": address,
                        "family": family})
        assert result.verdict in ("continue", "accept"), (name, result)
        found[name] = result.data != message
    assert any(found.values())
    assert not all(found.values())
    return found


def test_authors_that_readers_may_see_differently(style, started):
    """The manual says that OpenDKIM signs these and signet does not."""
    made = style("plain")
    made.import_it()
    started(peer_of(made))
    messages = [mail(head) for head in DIFFERENT.values()]
    for name, theirs, ours in zip(DIFFERENT, there(made.socket, messages),
                                  here(made.imported, messages)):
        assert signatures(theirs) != [], name
        assert signatures(ours) == [], name


def test_quotes_around_a_local_part(style, started):
    """"ceo"@ is ceo@ (RFC 5321 4.1.2), but not to OpenDKIM."""
    made = style("order")
    made.import_it()
    started(peer_of(made))
    message = mail(b'From: "ceo"@example.com\r\n')
    selectors = [[tags["s"] for tags in judge.signature_tags(data)]
                 for data in there(made.socket, [message]) +
                 here(made.imported, [message])]
    assert selectors == [["com"], ["ceo"]]


def test_every_option_of_the_manual_is_known(directory):
    manual = os.path.join(os.environ.get("SERVERS", ""),
                          "usr/share/man/man5/opendkim.conf.5.gz")
    if not os.path.exists(manual):
        manual = "/usr/share/man/man5/opendkim.conf.5.gz"
    with gzip.open(manual, "rt") as file:
        names = re.findall(r"^\.TP\n\.I ([\w-]+)", file.read(), re.M)
    assert len(names) > 120
    path = os.path.join(directory, "opendkim.conf")
    with open(path, "w") as file:
        file.writelines("%s 1\n" % name for name in names)
    said = signet.run("import", "opendkim", path, check=65).stderr.decode()
    assert "unknown option" not in said


ONE = "Domain example.com\nSelector s\nKeyFile /k.pem\nMode s\n"

# name: (lines, exit status, what is said, what is written)
SAYS = {
    "nothing to say": (ONE + "Socket inet:1@127.0.0.1\n", 0, r"\A\Z",
                       r'socket = "inet:1@127\.0\.0\.1"'),
    "no file": (None, 65, r"opendkim\.conf: .*No such file", r"\A\Z"),
    "an unknown option": (ONE + "Nonsense 1\n", 65,
                          r"conf:5: unknown option 'Nonsense'", r"\A\Z"),
    "no selector": ("Domain example.com\n", 65, "belong together", r"\A\Z"),
    "no KeyTable": ("SigningTable /x\n", 65, "belong together", r"\A\Z"),
    "a missing table": ("KeyTable /nonexistent/k\nSigningTable csl:a=b\n", 65,
                        "conf:1: /nonexistent/k: ", r"\A\Z"),
    "a table in a database": (
        "KeyTable csl:a=b:c:/d\nSigningTable dsn:mysql://x\n", 65,
        "conf:2: a data set of the kind 'dsn'", r"\A\Z"),
    "a table and a single key": (
        ONE + "KeyTable csl:a=b.example:c:/d\nSigningTable csl:b.example=a\n",
        0, "conf:1: note: Domain counts for nothing", 'domain "b.example"'),
    "no bool": (ONE + "SubDomains maybe\n", 65, "conf:5: SubDomains: ",
                r"\A\Z"),
    "Socket: all interfaces": (ONE + "Socket inet:8891\n", 0, "",
                               '"inet:8891@0.0.0.0"'),
    "Socket: IPv6": (ONE + "Socket inet6:8891@[::1]\n", 0, "",
                     '"inet6:8891@::1"'),
    "Socket: unix": (
        ONE + "Socket local:/run/x\nUMask 007\nUserID nobody:nogroup\n", 0,
        "", r'\A((?!user)[^$])*"unix:/run/x"\n    socket_mode = "0660"\n'
            r'    socket_group = "nogroup"\n((?!user)[^$])*\Z'),
    "Socket: a directory that has to be made": (
        ONE + "Socket local:/run/opendkim/opendkim.sock\n", 0,
        'conf:5: note: Socket: .*"d /run/opendkim 0755 root root" into',
        '"unix:/run/opendkim/opendkim.sock"'),
    "Socket: the group of the user": (
        ONE + "Socket local:/run/x\nUMask 007\nUserID man\n", 0,
        "conf:7: note: UserID: the socket stays the group's 'man'",
        r'socket_mode = "0660"\n    socket_group = "man"'),
    "Socket: the group of a number": (
        ONE + "Socket local:/run/x\nUserID 65534\n", 0,
        "the group's 'nogroup'", r'socket_group = "nogroup"'),
    "Socket: an unknown user": (
        ONE + "Socket local:/run/x\nUMask 007\nUserID nosuchuser\n", 0,
        "conf:7: note: UserID: 'nosuchuser' is no user of this machine",
        r'socket_group = "nosuchuser"'),
    "Socket: a port has no group": (
        ONE + "Socket inet:1@127.0.0.1\nUserID man\n", 0, r"\A\Z",
        r"\A((?!socket_group)[\s\S])*\Z"),
    "Socket: a name": (ONE + "Socket inet:8891@mail.example.com\n", 65,
                       "conf:5: NOT CARRIED OVER: Socket", "mode = "),
    "hosts: names": (ONE + "InternalHosts 127.0.0.1,.example.com\n", 65,
                     r"conf:5: NOT CARRIED OVER: '\.example\.com'",
                     r'sign_from = \{"127\.0\.0\.1"\}'),
    "hosts: all but": (ONE + "InternalHosts 10.0.0.0/8,!10.1.1.1,![::1]\n",
                       0, "",
                       r'sign_from = \{"10\.0\.0\.0/8", "!10\.1\.1\.1", '
                       r'"!::1"\}'),
    "hosts: bits set": (ONE + "InternalHosts 10.1.1.1/8,localhost\n", 0,
                        "note: '10.1.1.1/8' matches no address",
                        r'sign_from = \{"127\.0\.0\.1", "::1"\}'),
    "hosts: a pattern in a list": (
        ONE + "InternalHosts 127.0.0.1,*.example.com\n", 0,
        "note: '.*' matches no host", "sign_from"),
    "PeerList": (ONE + "PeerList 10.0.0.1\n", 0,
                 "conf:5: not carried over: PeerList",
                 r'sign_from = \{"127\.0\.0\.1", "::1", "!10\.0\.0\.1"\}'),
    "PeerList: a name": (ONE + "PeerList .example.net\n", 65,
                         r"NOT CARRIED OVER: '\.example\.net' in PeerList",
                         "sign_from"),
    "no oversigning": (ONE, 0, "", r'oversign = \{"none"\}'),
    "ExternalIgnoreList": (ONE + "ExternalIgnoreList 10.0.0.1\n", 0,
                           "conf:5: note: ExternalIgnoreList", "sign_from"),
    "daemons": (ONE + "MTA MSA, x\n", 0, "",
                r'sign_daemons = \{"MSA", "x"\}'),
    "daemons by macro": (ONE + "MTA MSA\nMacroList daemon_name=O|x\n", 0,
                         "conf:5: note: MTA counts for nothing",
                         r'sign_daemons = \{"O", "x"\}'),
    "no daemons": (ONE, 0, "", r"sign_daemons = \{\}"),
    "other macros": (ONE + "MacroList client_name=x\n", 65,
                     "NOT CARRIED OVER: the macro 'client_name'", "mode"),
    "errors": (ONE + "On-InternalError accept\nOn-SignatureError a\n", 0, "",
               'on_error = "accept"'),
    "one kind of error": (ONE + "On-InternalError accept\n", 0,
                          "not carried over: accept for one kind",
                          'on_error = "tempfail"'),
    "every error": (ONE + "On-Default accept\n", 0, "", '"accept"'),
    "a bad signature": (ONE + "On-BadSignature reject\n", 0,
                        "not carried over: On-BadSignature", "mode"),
    "canonicalization of the header": (ONE + "Canonicalization relaxed\n", 0,
                                       "", '"relaxed/simple"'),
    "no canonicalization": (ONE, 0, "", '"simple/simple"'),
    "an unknown one": (ONE + "Canonicalization nofws\n", 65,
                       "conf:5: Canonicalization: 'nofws'", r"\A\Z"),
    "expiry": (ONE + "SignatureTTL 3600\n", 0, "", "expire = 3600s"),
    "old signatures": (ONE + "RemoveOldSignatures yes\n", 0,
                       "not carried over: RemoveOldSignatures",
                       'existing = "strip"'),
    "SHA-1": (ONE + "SignatureAlgorithm rsa-sha1\n", 0,
              "not carried over: SignatureAlgorithm", "mode"),
    "fields that pass": (ONE + "SignHeaders From,Received,DKIM-Signature\n",
                         65, "the field 'DKIM-Signature' changes on the way",
                         r'headers = \{"From"\}'),
    "fields by pattern": (ONE + "SignHeaders From,X-*\n", 65,
                          "'X-\\*' is a pattern", r'headers = \{"From"\}'),
    "resolvers": (ONE + "Nameservers 192.0.2.1, 192.0.2.2\nDNSTimeout 3\n", 0,
                  "", r'resolvers = \{"192\.0\.2\.1", "192\.0\.2\.2"\}'
                      r"[^$]*dns_timeout = 3s"),
    "the name in results": (ONE + "AuthservID mx.example.com\n", 0, "",
                            'authserv_id = "mx.example.com"'),
    "the host's name in results": (
        ONE + "AuthservID HOSTNAME\n", 0, "conf:5: note: AuthservID: HOSTNAME",
        'authserv_id = "%s"' % socket.gethostname()),
    "the MTA's name in results": (ONE, 0, "", r"\A((?!authserv_id)[\s\S])*\Z"),
    "another sender": (ONE + "SenderHeaders Sender,From\n", 65,
                       "NOT CARRIED OVER: SenderHeaders", "mode"),
    "a pattern as Domain": (
        "Domain *.example.com\nSelector s\nKeyFile /k\nMode s\n", 65,
        "conf:1: Domain: .* is neither a domain nor a pattern", r"\A\Z"),
    "a domain that is none": (
        "Domain exa_mple..com\nSelector s\nKeyFile /k\nMode s\n", 65,
        "what was written needs mending", "mode"),
}


@pytest.mark.parametrize("name", sorted(SAYS))
def test_what_is_said(directory, name):
    lines, code, said, written = SAYS[name]
    path = os.path.join(directory, "opendkim.conf")
    if lines is not None:
        with open(path, "w") as file:
            file.write(lines)
    done = signet.run("import", "opendkim", path, check=code)
    errors = done.stderr.decode().replace(
        "signet: %s: note: Socket is not set: milter.socket stays "
        "inet:8891@127.0.0.1\n" % path, "")
    assert re.search(said, errors), errors
    assert re.search(written, done.stdout.decode()), done.stdout.decode()
    if said == "":
        assert errors == ""


def test_domains_by_pattern(directory):
    """A refile: as Domain: signed in the name of each author's domain."""
    path = os.path.join(directory, "opendkim.conf")
    with open(os.path.join(directory, "domains"), "w") as file:
        file.write("*.example.com\nexample.org\n")
    with open(path, "w") as file:
        file.write("Domain refile:%s/domains\nSelector s\nKeyFile /k\n"
                   "Mode s\nSocket inet:1@127.0.0.1\n" % directory)
    done = signet.run("import", "opendkim", path, check=0)
    assert re.search(r'domain "\*" {\n    selector "s" {\n        key = "/k"\n'
                     r'        from = {"\*@\*\.example\.com"}',
                     done.stdout.decode())
    assert b'domain "example.org" {\n    selector "s"' in done.stdout


def test_a_file_whose_name_has_lines(directory):
    """Its name stands in a comment."""
    path = os.path.join(directory, 'x\nlog { format = "json" }\n#')
    with open(path, "w") as file:
        file.write(ONE)
    said = signet.run("import", "opendkim", path, check=0).stdout
    assert b"\nlog" not in said
    assert said.startswith(b"# signet.conf, made by")


def test_files_that_include_files(directory):
    main, more = (os.path.join(directory, name) for name in ("a", "b"))
    with open(main, "w") as file:
        file.write("Mode s\nSelector one\nInclude %s\nKeyFile /k\n" % more)
    with open(more, "w") as file:
        file.write("Domain example.com\nSelector two\nSocket /run/x\n")
    done = signet.run("import", "opendkim", main, check=0)
    assert b'selector "two"' in done.stdout
    assert b"a:2: note: Selector is set again in" in done.stderr
    with open(more, "a") as file:
        file.write("Include %s\n" % main)
    said = signet.run("import", "opendkim", main, check=65).stderr
    assert b"Include: at most 5 levels" in said


def test_a_file_that_may_not_be_read(directory):
    path = os.path.join(directory, "opendkim.conf")
    with open(path, "w") as file:
        file.write(ONE)
    os.chmod(path, 0)
    command = [signet.binary(), "import", "opendkim", path]
    if os.getuid() == 0:
        command = ["setpriv", "--reuid=nobody", "--clear-groups"] + command
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 77
    assert b"Permission denied" in done.stderr
    assert done.stdout == b""


def test_usage():
    for arguments in ((), ("opendkim",), ("postfix", "x"),
                      ("opendkim", "x", "y")):
        signet.run("import", *arguments, check=64)
