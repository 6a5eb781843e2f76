"""Delivery status notifications (RFC 3464), read by other people's parsers:
Python's email package and Mail::DeliveryStatus::BounceParser."""

import email
import email.policy
import json
import subprocess

BOUNCE_PARSER = """
use Mail::DeliveryStatus::BounceParser;
use JSON::PP;
local $/;
my $bounce = Mail::DeliveryStatus::BounceParser->new(<STDIN>);
print encode_json({
    is_bounce => $bounce->is_bounce ? 1 : 0,
    reports => [map { my $report = $_;
        +{map { my $value = $report->get($_); chomp $value; ($_ => $value) }
          $report->tags} } $bounce->reports]});
"""


def bounce_parser(data):
    """What the Perl module makes of it: {is_bounce, reports: [fields]}; it
    leaves out what is no failure."""
    done = subprocess.run(["perl", "-e", BOUNCE_PARSER],
                          input=data.replace(b"\r\n", b"\n"),
                          stdout=subprocess.PIPE, check=True, timeout=120)
    return json.loads(done.stdout)


def value_of(typed):
    """"rfc822; bob@example.net" without its type."""
    return str(typed).partition(";")[2].strip()


class Report:
    """One, in its three parts; what is wrong with its form is an error."""

    def __init__(self, data):
        self.data = data
        self.message = email.message_from_bytes(data,
                                                policy=email.policy.default)
        assert self.message.get_content_type() == "multipart/report", data
        assert not self.message.defects, self.message.defects
        words, status, original = self.message.iter_parts()
        assert words.get_content_type() == "text/plain"
        self.words = words.get_content()
        self.kind = status.get_content_type()
        assert self.kind == "message/" + self.message.get_param("report-type")
        groups = [group for group in self._groups(status) if group.keys()]
        self.fields, self.recipients = groups[0], groups[1:]
        self.original_kind = original.get_content_type()
        self.original_encoding = original["Content-Transfer-Encoding"]
        self._original = original

    def _groups(self, status):
        if self.kind == "message/delivery-status":
            return status.get_payload()
        # Python takes it for a message.
        raw = self.data.split(b"Content-Type: " + self.kind.encode())[1]
        body = raw.partition(b"\r\n\r\n")[2].partition(b"\r\n--=_")[0]
        return [email.message_from_bytes(group, policy=email.policy.default)
                for group in body.split(b"\r\n\r\n")]

    def of(self, address):
        """The fields of one recipient; it must be there once."""
        found = [group for group in self.recipients
                 if value_of(group["Final-Recipient"]) == address]
        assert len(found) == 1, (address, self.data.decode(errors="replace"))
        return found[0]

    def actions(self):
        return {value_of(group["Final-Recipient"]): group["Action"]
                for group in self.recipients}

    def inner(self):
        """The message that is returned as a whole."""
        return self._original.get_content()

    def original(self):
        """The third part's bytes, decoded."""
        if self.original_kind == "message/rfc822":
            return self._original.get_content().as_bytes()
        if self.original_kind.startswith("message/"):
            # Python takes what is encoded for a message in clear.
            raw = self.data.split(
                b"Content-Type: " + self.original_kind.encode())[1]
            body = raw.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--=_")[0]
            part = email.message_from_bytes(
                b"Content-Type: text/plain\r\nContent-Transfer-Encoding: " +
                self.original_encoding.encode() + b"\r\n\r\n" + body)
            return part.get_payload(decode=True)
        return self._original.get_payload(decode=True)
