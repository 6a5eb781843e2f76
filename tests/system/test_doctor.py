"""`signet doctor`: a domain as receivers of its mail would see it."""

import json
import os
import pwd
import socket
import subprocess

import dns.message
import dns.query
import dns.rdata
import dns.rdatatype
import pytest
import spf

from harness import signet
from harness.faulty import Receiver
from harness.names import NameServer, txt_strings
from harness.ports import free_port
from harness.receivers import authority, vouched_for

SOURCE = "198.51.100.7"
MX = "@ IN MX 10 mx\nmx IN A 127.0.0.2\n"
REVERSE = {
    "100.51.198.in-addr.arpa": "7 IN PTR relay.example.com.\n"
                               "8 IN PTR other.example.com.\n"
                               "9 IN PTR nowhere.example.com."}
HOSTS = "relay IN A %s\nother IN A 198.51.100.8\n" % SOURCE
SPF = '@ IN TXT "v=spf1 ip4:%s -all"\n' % SOURCE
DMARC = '_dmarc IN TXT "v=DMARC1; p=reject; rua=mailto:d@example.com"\n'


class Patient:
    """The domain example.com, and what the DNS says about it."""

    def __init__(self, directory, keys, zone, domain="example.com", more=None):
        self.names = NameServer(directory, dict(
            REVERSE, **{"example.com": keys.zone("example.com") + "\n" + zone},
            **(more or {})))
        self.setup = signet.Setup(directory, keys, self.names.resolver)
        self.domain = domain

    def doctor(self, *words, code=0, address=SOURCE, env=None):
        self.setup.write()
        done = signet.run("doctor", "--json", "--address", address, *words,
                          self.domain, config=self.setup.path, check=code,
                          env=env)
        document = json.loads(done.stdout)
        assert document["domain"] == self.domain
        return [(row["check"], row["result"], row["name"], row["why"],
                 row["publish"]) for row in document["findings"]]


@pytest.fixture
def patient(directory, keys, started):
    def make(zone, **options):
        made = Patient(directory, keys, zone, **options)
        started(made.names)
        return made
    return make


def of(findings, check):
    return [row for row in findings if row[0] == check]


def test_a_domain_in_good_health(patient, directory, started):
    """With an MX whose certificate is vouched for."""
    ill = patient(MX + HOSTS + SPF + DMARC)
    by = authority(directory)
    certificate = vouched_for(directory, "mx.example.com", by)
    mx = Receiver(ill.setup.mx_port, "127.0.0.2", tls="good",
                  certificate=certificate)
    started(mx)
    findings = ill.doctor(env={"SSL_CERT_FILE": by[0]})
    assert [row[:3] for row in findings] == [
        ("dkim", "ok", "rsa._domainkey.example.com"),
        ("dkim", "ok", "ed._domainkey.example.com"),
        ("dmarc", "ok", "_dmarc.example.com"),
        ("spf", "ok", "example.com"),
        ("ptr", "ok", SOURCE),
        ("mx", "ok", "mx.example.com"),
        ("tls", "ok", "mx.example.com")], findings
    assert all(row[4] == "" for row in findings)
    # The same by somebody who does not know who vouches for it.
    tls, = of(ill.doctor(), "tls")
    assert tls[1] == "warn" and "TLSv1.3" in tls[3]
    mx.stop()
    plain = Receiver(ill.setup.mx_port, "127.0.0.2")
    started(plain)
    tls, = of(ill.doctor(), "tls")
    assert tls[1] == "warn" and "does not offer STARTTLS" in tls[3]
    plain.stop()
    tls, = of(ill.doctor(), "tls")
    assert tls[1] == "warn" and "refused" in tls[3]
    for how in ("refused", "garbage", "hang up", "old"):
        odd = Receiver(ill.setup.mx_port, "127.0.0.2", tls=how,
                       certificate=certificate)
        tls, = of(ill.doctor(), "tls")
        odd.stop()
        assert tls[1] == "warn" and tls[3].startswith("127.0.0.2:"), tls
        assert "STARTTLS" not in tls[3] and "TLSv1." not in tls[3], tls


def test_everything_is_missing(patient, keys):
    ill = patient("relay IN TXT x\n")
    ill.setup.domains = {}
    findings = ill.doctor(code=65, address="198.51.100.10")
    assert {row[0]: row[1] for row in findings} == {
        "dkim": "fail", "dmarc": "warn", "spf": "warn", "ptr": "fail",
        "mx": "fail"}
    dmarc, = of(findings, "dmarc")
    assert dmarc[4].startswith('_dmarc.example.com. IN TXT "v=DMARC1; p=none')
    spf_row, = of(findings, "spf")
    assert spf_row[4] == \
        'example.com. IN TXT "v=spf1 ip4:198.51.100.10 ~all"'


def test_what_it_tells_to_publish_helps(patient, keys):
    """The records that it names, put into the zone, mend what they are for."""
    ill = patient(MX + HOSTS + '@ IN TXT "v=spf1 ip4:203.0.113.1 -all"\n')
    ill.setup.domains = {}
    ill.setup.extra = """domain "example.com" {
    selector "rsa" { key = "example.com/rsa.pem" }
    selector "ed" { key = "example.com/ed.pem"  state = "publish" }
}"""
    zone = ill.names.zones["example.com"]
    ill.names.replace(dict(ill.names.zones, **{"example.com": "\n".join(
        line for line in zone.splitlines() if "_domainkey" not in line)}))
    findings = ill.doctor(code=65)
    assert [row[1] for row in of(findings, "dkim")] == ["fail", "warn"]
    spf_row, = of(findings, "spf")
    assert spf_row[1] == "fail" and "-all" in spf_row[3]
    told = [row[4] for row in findings if row[4]]
    assert len(told) == 4
    ill.names.replace(dict(ill.names.zones, **{
        "example.com": "\n".join([MX, HOSTS] + told)}))
    for check in ("dkim", "dmarc", "spf"):
        for row in of(ill.doctor(), check):
            assert row[1] == "ok" and row[4] == "", row


def test_a_long_record(patient):
    """In strings, without which it is no line of a zone."""
    terms = " ".join("ip4:203.0.113.%d" % i for i in range(40))
    ill = patient(MX + HOSTS + DMARC + "@ IN TXT %s\n" %
                  txt_strings("v=spf1 " + terms + " -all"))
    spf_row, = of(ill.doctor(code=65), "spf")
    assert spf_row[1] == "fail", spf_row
    assert len(spf_row[4]) > 600
    zone = "\n".join([MX, HOSTS, DMARC, spf_row[4],
                      ill.setup.keys.zone("example.com")])
    ill.names.replace(dict(ill.names.zones, **{"example.com": zone}))
    spf_row, = of(ill.doctor(), "spf")
    assert spf_row[1] == "ok", spf_row


@pytest.mark.parametrize("address, result, said", [
    ("198.51.100.8", "warn", "the name in EHLO"),
    ("198.51.100.9", "fail", "does not lead back"),
    ("198.51.100.10", "fail", "has no name"),
    ("2001:db8::1", "warn", "does not answer"),
])
def test_names_of_the_source(patient, address, result, said):
    ill = patient(MX + HOSTS)
    rows = of(ill.doctor(code=65 if result == "fail" else 75,
                         address=address)
              if address.startswith("2001") or result == "fail"
              else ill.doctor(address=address), "ptr")
    assert rows[0][1] == result and said in rows[0][3], rows


@pytest.mark.parametrize("zone, check, result, said", [
    ("@ IN MX 0 .\n", "mx", "fail", "null MX"),
    ("@ IN MX 10 gone\n", "mx", "fail", "has no address"),
    ("@ IN A 127.0.0.2\n", "mx", "warn", "no MX record"),
    (MX + DMARC + '_dmarc IN TXT "v=DMARC1; p=none"\n', "dmarc", "fail",
     "2 records"),
    (MX + '_dmarc IN TXT "v=DMARC1; p=maybe"\n', "dmarc", "fail", "p= is"),
    (MX + '_dmarc IN TXT "v=DMARC1; p=none"\n', "dmarc", "warn",
     "without rua="),
    (MX + '_dmarc IN TXT "hello"\n', "dmarc", "warn", "no policy"),
    (MX + SPF + '@ IN TXT "v=spf1 -all"\n', "spf", "fail",
     "more than one record"),
])
def test_what_is_wrong(patient, zone, check, result, said):
    ill = patient(zone)
    done = signet.run("doctor", "--json", "--address", SOURCE, ill.domain,
                      config=ill.setup.write())
    rows = [(row["check"], row["result"], row["why"])
            for row in json.loads(done.stdout)["findings"]]
    assert [row for row in rows
            if row[:2] == (check, result) and said in row[2]], rows


def test_a_policy_that_is_none(patient):
    """Its own is mended by a record; that of a domain above is named."""
    own = patient(MX + '_dmarc IN TXT "v=DMARC1; p=maybe; rua=mailto:d@x"\n')
    dmarc, = of(own.doctor(code=65), "dmarc")
    assert dmarc[1] == "warn" and dmarc[4] == \
        '_dmarc.example.com. IN TXT "v=DMARC1; p=none; rua=mailto:d@x"'
    much = ",".join("mailto:d%02d@example.com" % i for i in range(11))
    long = patient(MX + '_dmarc IN TXT "v=DMARC1; p=maybe; rua=mailto:\\"d\\"@x,"'
                   ' "%s"\n' % much)
    dmarc, = of(long.doctor(code=65), "dmarc")
    name, _, strings = dmarc[4].partition(" IN TXT ")
    assert name == "_dmarc.example.com."
    strings = dns.rdata.from_text("IN", "TXT", strings).strings
    assert b"".join(strings).decode() == \
        'v=DMARC1; p=none; rua=mailto:"d"@x,' + much
    above = patient('_dmarc IN TXT "v=DMARC1; p=none; sp=maybe"\n',
                    domain="news.example.com")
    above.setup.subdomains = True
    dmarc, = of(above.doctor(code=65), "dmarc")
    assert dmarc[1] == "fail" and dmarc[3].startswith("sp= is") and \
        not dmarc[4]


def test_domains_below(patient):
    """Whose policy and whose keys hold."""
    ill = patient("news IN MX 10 mx\nmx IN A 127.0.0.2\n" + HOSTS +
                  '_dmarc IN TXT "v=DMARC1; p=reject; sp=none; adkim=s; '
                  'rua=mailto:d@example.com"\n', domain="news.example.com")
    ill.setup.subdomains = True
    findings = ill.doctor(code=65)
    assert of(findings, "dkim")[0][2] == "rsa._domainkey.example.com"
    dmarc, = of(findings, "dmarc")
    assert dmarc[1] == "fail" and "adkim=s wants d=news.example.com" in dmarc[3]


def test_no_answer(setup):
    configured = setup()
    configured.write()
    done = signet.run("doctor", "--address", SOURCE, "example.com",
                      config=configured.path, check=75)
    assert b"no policy is published" not in done.stdout
    assert done.stdout.count(b"not answer") >= 3, done.stdout


def owners_of(port):
    """The users whose sockets are connected to that port of UDP."""
    with open("/proc/net/udp") as file:
        rows = [line.split() for line in file][1:]
    return {int(row[7]) for row in rows
            if row[2].endswith(":%04X" % port)}


@pytest.mark.parametrize("words", [
    ("doctor", "example.com"), ("key", "check", "example.com"),
    ("key", "rotate", "example.com"),
    ("send", "--from", "alice@example.com", "--to", "bob@example.net",
     "--subject", "x")], ids=lambda words: words[1])
def test_no_foreign_host_is_asked_by_root(setup, words):
    if os.getuid() != 0:
        pytest.skip("not root")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", free_port()))
        server.settimeout(20)
        port = server.getsockname()[1]
        configured = setup("127.0.0.1:%d" % port)
        process = subprocess.Popen(
            [signet.binary(), "-c", configured.write()] + list(words),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            server.recv(4096)
            assert owners_of(port) == {pwd.getpwnam("nobody").pw_uid}
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("words", [(), ("a", "b"), ("--address", "x", "a"),
                                   ("--what", "a")])
def test_arguments(setup, words):
    signet.run("doctor", *words, config=setup().write(), check=64)


# ---- SPF, beside another reader's verdict ----

SPF_ZONES = {
    "pass": "v=spf1 ip4:198.51.100.0/24 -all",
    "exact": "v=spf1 ip4:198.51.100.7 -all",
    "other": "v=spf1 ip4:198.51.101.0/24 -all",
    "soft": "v=spf1 ~all",
    "neutral": "v=spf1 ?all",
    "bare": "v=spf1",
    "case": "V=SPF1 IP4:198.51.100.7 -ALL",
    "v6": "v=spf1 ip6:2001:db8::/32 -all",
    "v6exact": "v=spf1 ip6:2001:db8::7 -all",
    "aaaa": "v=spf1 a:two.spf.example -all",
    "a": "v=spf1 a:relay.spf.example -all",
    "alen": "v=spf1 a:near.spf.example/24 -all",
    "amissing": "v=spf1 a:none.spf.example -all",
    "mx": "v=spf1 mx:mail.spf.example -all",
    "mxlen": "v=spf1 mx:mail.spf.example/16//48 -all",
    "include": "v=spf1 include:pass.spf.example -all",
    "includefail": "v=spf1 include:other.spf.example ?all",
    "includenone": "v=spf1 include:none.spf.example -all",
    "includebad": "v=spf1 include:typo.spf.example -all",
    "redirect": "v=spf1 redirect=pass.spf.example",
    "redirectall": "v=spf1 ~all redirect=pass.spf.example",
    "redirectnone": "v=spf1 redirect=none.spf.example",
    "loop": "v=spf1 include:loop.spf.example -all",
    "deep": "v=spf1 include:deep2.spf.example -all",
    "deep2": "v=spf1 a:a1.spf.example a:relay.spf.example -all",
    "many": "v=spf1 " + " ".join("mx:mail.spf.example" for _ in range(11)) +
            " -all",
    "exists": "v=spf1 exists:%{ir}.list.spf.example -all",
    "macro": "v=spf1 exists:%{l}.%{d2}.list.spf.example -all",
    "macrobad": "v=spf1 exists:%{x}.spf.example -all",
    "percent": "v=spf1 exists:a%%b.spf.example -all",
    "typo": "v=spf1 ipv4:198.51.100.7 -all",
    "noaddress": "v=spf1 ip4:198.51.100 -all",
    "behind": "v=spf1 ip4:198.51.100.7 ip4:198.51.100.256 -all",
    "behindmacro": "v=spf1 ip4:198.51.100.7 include:%{z} -all",
    "biglen": "v=spf1 ip4:198.51.100.7/33 -all",
    "unknown": "v=spf1 moo=x ip4:198.51.100.7 -all",
    "exp": "v=spf1 exp=why.spf.example -all",
    "version": "v=spf10 ip4:198.51.100.7 -all",
    "voids": "v=spf1 a:n1.spf.example a:n2.spf.example a:n3.spf.example "
             "ip4:198.51.100.7 -all",
    "twovoids": "v=spf1 a:n1.spf.example a:n2.spf.example "
                "ip4:198.51.100.7 -all",
    "empty": "v=spf1 include: -all",
    "allvalue": "v=spf1 all:x",
    "spaces": "v=spf1   ip4:198.51.100.7    -all  ",
}
SPF_HOSTS = """
relay IN A 198.51.100.7
near IN A 198.51.100.200
two IN A 192.0.2.1
two IN AAAA 2001:db8::7
mail IN MX 10 relay
mail IN MX 20 two
7.100.51.198.list IN A 127.0.0.2
postmaster.spf.example.list IN A 127.0.0.2
"""


@pytest.fixture(scope="module")
def spf_names(module_directory):
    server = NameServer(module_directory, {"spf.example": SPF_HOSTS + "\n".join(
        '%s IN TXT "%s"' % row for row in SPF_ZONES.items())})
    yield module_directory, server
    server.stop()


def asked_of(port):
    """pyspf's way to the DNS, led to our server."""
    def lookup(name, qtype, tcpfallback=True, timeout=120):
        query = dns.message.make_query(name, qtype)
        answer = dns.query.udp(query, "127.0.0.1", timeout=120, port=port)
        found = []
        for rrset in answer.answer:
            for item in rrset:
                kind = dns.rdatatype.to_text(item.rdtype)
                if kind == "MX":
                    value = (item.preference,
                             item.exchange.to_text(True))
                elif kind == "TXT":
                    value = item.strings
                elif kind in ("A", "AAAA"):
                    import ipaddress
                    value = ipaddress.ip_address(item.address).packed \
                        if kind == "AAAA" else item.address
                else:
                    value = item.to_text()
                found.append(((name, kind), value))
        return found
    return lookup


@pytest.mark.parametrize("client, labels", [
    (SOURCE, SPF_ZONES),
    ("2001:db8::7", ("v6", "v6exact", "aaaa", "a", "mx", "mxlen", "exists")),
    ("203.0.113.9", ("pass", "alen", "mx", "include", "redirect", "macro")),
])
def test_spf_as_another_reader_has_it(spf_names, keys, monkeypatch, client,
                                      labels):
    directory, server = spf_names
    setup = signet.Setup(directory, keys, server.resolver)
    setup.domains = {}
    setup.write()
    monkeypatch.setattr(spf, "DNSLookup", asked_of(server.port))
    for label in labels:
        domain = label + ".spf.example"
        expected = spf.query(i=client, s="postmaster@" + domain,
                             h="relay.example.com", strict=1).check()[0]
        done = signet.run("doctor", "--json", "--address", client, domain,
                          config=setup.path)
        row = [row for row in json.loads(done.stdout)["findings"]
               if row["check"] == "spf"][0]
        ours = "none" if row["why"].startswith("no record") else \
            row["why"].partition(" ")[0]
        assert ours == expected, (label, SPF_ZONES[label], row)
