"""Other people's verifiers: dkimpy, OpenDKIM and Mail::DKIM.

Each takes whole messages in CRLF and answers with Verdicts, one for each
signature in the order of the message. The two that are programs take a list,
because starting them is most of the work.
"""

import collections
import os
import re
import subprocess
import tempfile

import dkim
import dns.message
import dns.query
import dns.rdatatype

from .names import txt_strings
from .stock import take_rsa_key

Verdict = collections.namedtuple("Verdict", "domain selector algorithm passed")


def lookup_txt(port):
    """A dnsfunc for dkimpy that asks the name server on this port."""
    def lookup(name, timeout=120):
        query = dns.message.make_query(name.decode(), "TXT")
        reply = dns.query.udp_with_fallback(
            query, "127.0.0.1", timeout=timeout, port=port)[0]
        for answer in reply.answer:
            for record in answer:
                if record.rdtype == dns.rdatatype.TXT:
                    return b"".join(record.strings)
        return None
    return lookup


def lookup_in(records):
    """A dnsfunc for dkimpy that knows {"sel._domainkey.domain": text}."""
    def lookup(name, timeout=120):
        text = records.get(name.decode().rstrip(".").lower())
        return text.encode() if text is not None else None
    return lookup


def signature_tags(message):
    return [{key.decode(): value.decode() for key, value in
             dkim.util.parse_tag_value(value).items()}
            for name, value in dkim.rfc822_parse(message)[0]
            if name.lower() == b"dkim-signature"]


def dkimpy(message, dnsfunc):
    verdicts = []
    for index, tags in enumerate(signature_tags(message)):
        try:
            passed = dkim.DKIM(message).verify(idx=index, dnsfunc=dnsfunc)
        except dkim.DKIMException:
            passed = False
        verdicts.append(Verdict(tags["d"], tags["s"], tags["a"], passed))
    return verdicts


AR_LINE = re.compile(
    r"dkim=(\w+)[^;]*?header\.d=(\S+) header\.i=\S+ "
    r"header\.a=(\S+) header\.s=(\S+)", re.S)


def opendkim(messages, records):
    """OpenDKIM's own test mode, with keys from a file of records."""
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="signet-judge") as directory:
        with open(directory + "/keys", "w") as file:
            for name, text in records.items():
                file.write("%s %s\n" % (name, text))
        with open(directory + "/conf", "w") as file:
            file.write("TestPublicKeys %s/keys\nMode v\n"
                       "MaximumSignaturesToVerify 16\n" % directory)
        for number, message in enumerate(messages):
            path = "%s/%d.eml" % (directory, number)
            with open(path, "wb") as file:
                file.write(message)
            done = subprocess.run(
                ["opendkim", "-x", directory + "/conf", "-vv", "-t", path],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
            text = done.stdout.decode(errors="replace")
            verdicts.append([
                Verdict(domain, selector, algorithm, result == "pass")
                for result, domain, algorithm, selector
                in AR_LINE.findall(text)])
    return verdicts


PERL = r"""
use strict;
use warnings;
use Mail::DKIM::Verifier;
use Mail::DKIM::DNS;
use Net::DNS::Resolver;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(
	nameservers => ['127.0.0.1'], port => shift @ARGV));
for my $path (@ARGV) {
	my $verifier = Mail::DKIM::Verifier->new();
	open(my $file, '<:raw', $path) or die "$path: $!";
	local $/;
	$verifier->PRINT(<$file>);
	$verifier->CLOSE;
	print join("\t", "signature", $path, $_->domain, $_->selector,
		$_->algorithm, $_->result), "\n" for $verifier->signatures;
}
"""


def mail_dkim(messages, port):
    """Perl's Mail::DKIM, asking the name server on this port. Debian 12's
    knows RSA only: other signatures have no verdict."""
    with tempfile.TemporaryDirectory(prefix="signet-judge") as directory:
        paths = []
        for number, message in enumerate(messages):
            paths.append("%s/%d.eml" % (directory, number))
            with open(paths[-1], "wb") as file:
                file.write(message)
        done = subprocess.run(
            ["/usr/bin/perl", "-e", PERL, str(port)] + paths, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    verdicts = {path: [] for path in paths}
    for line in done.stdout.decode().splitlines():
        fields = line.split("\t")
        if fields[0] == "signature" and fields[4].startswith("rsa-"):
            verdicts[fields[1]].append(
                Verdict(*fields[2:5], fields[5] == "pass"))
    return [verdicts[path] for path in paths]


class Keys:
    """Private keys in a keys_dir, and what DNS has to say about them."""

    def __init__(self, directory):
        self.directory = directory
        self.records = {}
        os.makedirs(directory, exist_ok=True)

    def path(self, domain, selector):
        return os.path.join(self.directory, domain, selector + ".pem")

    def make(self, domain, selector, algorithm, bits=2048):
        """Made by OpenSSL, so that signet's own maker is not its judge."""
        path = self.path(domain, selector)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.chmod(os.path.dirname(path), 0o700)
        if algorithm == "rsa":
            take_rsa_key(path, bits)
        else:
            self._make_ed25519(path)
        self.publish(domain, selector)
        return path

    @staticmethod
    def _make_ed25519(path):
        mask = os.umask(0o077)
        try:
            subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm",
                            "ed25519", "-out", path], check=True,
                           stderr=subprocess.DEVNULL)
        finally:
            os.umask(mask)

    def publish(self, domain, selector):
        der = subprocess.run(
            ["openssl", "pkey", "-in", self.path(domain, selector), "-pubout",
             "-outform", "DER"], check=True, stdout=subprocess.PIPE).stdout
        kind = "rsa"
        if len(der) == 44:  # RFC 8410: twelve bytes before the key itself
            kind, der = "ed25519", der[12:]
        public = dkim.base64.b64encode(der).decode()
        name = "%s._domainkey.%s" % (selector, domain)
        self.records[name] = "v=DKIM1; k=%s; p=%s" % (kind, public)

    def zone(self, domain):
        """The records of one domain, as lines of its zone file."""
        suffix = "._domainkey." + domain
        return "\n".join(
            "%s._domainkey IN TXT %s" % (name[:-len(suffix)],
                                         txt_strings(text))
            for name, text in self.records.items() if name.endswith(suffix))
