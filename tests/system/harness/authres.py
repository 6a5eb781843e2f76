"""Other people's readers of Authentication-Results (RFC 8601): Python's
authres and Perl's Mail::AuthenticationResults.

Both give [Result, …] of one field's value, and must agree.
"""

import collections
import json
import subprocess

import authres

# properties: {"header.d": "example.com", …}
Result = collections.namedtuple("Result", "method result reason properties")

PERL = r"""
use strict;
use warnings;
use Mail::AuthenticationResults::Parser;
binmode STDIN;
local $/;
print Mail::AuthenticationResults::Parser->new(<STDIN>)->parsed()->as_json();
"""


def by_python(value):
    parsed = authres.AuthenticationResultsHeader.parse_value(value)
    return parsed.authserv_id, [
        Result(one.method, one.result, one.reason,
               {"%s.%s" % (each.type, each.name): each.value
                for each in one.properties})
        for one in parsed.results]


def by_perl(value):
    done = subprocess.run(["/usr/bin/perl", "-e", PERL], input=value.encode(),
                          stdout=subprocess.PIPE, check=True, timeout=120)
    parsed = json.loads(done.stdout)
    results = []
    for entry in parsed["children"]:
        found = {each["key"]: each["value"] for each in entry["children"]
                 if each["type"] == "subentry"}
        results.append(Result(entry["key"], entry["value"],
                              found.pop("reason", None), found))
    return parsed["authserv_id"]["value"], results


def parse(value):
    """(authserv-id, results) of the text behind the colon."""
    read = by_python(value)
    assert by_perl(value) == read, value
    return read
