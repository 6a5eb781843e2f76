"""`signet milter` with mode = verify and both: what it says of mail that comes
in, read by other people's parsers, beside OpenDKIM's word on the same mail.

One name server serves the whole module; a configuration has one milter.
"""

import concurrent.futures
import os
import time

import pytest

from harness import authres, judge, signet
from harness.faulty import Receiver
from harness.imported import Imported
from harness.judge import Keys
from harness.milter import MilterSetup, SignetMilter
from harness.milter_client import MACROS, Milter, fields_of
from harness.names import NameServer, Silent
from harness.opendkim import OpenDkim, private_copy
from harness.process import quickest, wait_for
from harness.ports import free_port
from harness.postfix import Relaying
from harness.sendmail import Sendmail
from harness.signed import MESSAGE, Messages, make_keys
from harness.smtp import submit

# One worker makes what they share, once.
pytestmark = pytest.mark.xdist_group("milter_verify")

ID = "mx.example.org"
STRANGER = {"host": "client.example.net", "address": "192.0.2.7"}
LOCAL = {"address": "127.0.0.1"}
# dns_timeout of the milter whose name server says nothing.
BOUND_S = 2

# Where OpenDKIM says otherwise.
OPENDKIM_DIFFERS = {
    # It takes keys from a file here, which refuses nothing.
    "name server refuses": ["pass"],
    # RFC 8601 2.7.1: fail is for what did not verify; without a key nothing
    # can be tried.
    "no key": ["fail"], "key revoked": ["fail"], "no key record": ["fail"],
    # RFC 6376 3.6.1: a failure in test mode counts as no signature.
    "test mode, forged": ["fail"], "test mode, changed": ["fail"],
    # RFC 8301 3.1 bars it.
    "rsa-sha1": ["pass"],
    # RFC 8601 2.7.1: syntax errors are neutral. It says nothing at all where
    # that is the only signature.
    "no tag list": [], "no selector": [],
    "one of two is broken": ["pass", "fail"],
}


class World:
    """Everything that the module shares."""

    def __init__(self, directory):
        self.directory = directory
        self.keys = make_keys(Keys(os.path.join(directory, "keys")))
        self.messages = Messages(self.keys)
        self.names = NameServer(directory, {
            domain: self.keys.zone(domain)
            for domain in ("example.com", "example.org")})
        self.silent = Silent()
        self.milters = {}

    def milter(self, name, options, resolver=None):
        """The one of that name; started at its first use."""
        if name not in self.milters:
            setup = MilterSetup(
                os.path.join(self.directory, name), self.keys,
                'authserv_id = "%s"\n%s' % (ID, options),
                resolver=resolver or self.names.resolver)
            self.milters[name] = SignetMilter(setup)
        return self.milters[name]

    def stop(self):
        try:
            for milter in self.milters.values():
                milter.stop()
        finally:
            for milter in self.milters.values():
                milter.discard()
            self.silent.stop()
            self.names.stop()


@pytest.fixture(scope="module")
def world(module_directory):
    made = World(module_directory)
    yield made
    made.stop()


@pytest.fixture
def verifying(world):
    return world.milter("verify", 'mode = "verify"')


@pytest.fixture
def doing_both(world):
    return world.milter("both", 'mode = "both"')


def show(milter, message, client=None, **options):
    with Milter(milter.socket) as conversation:
        result = conversation.message(message, client=client or STRANGER,
                                      **options)
    assert result.verdict in ("continue", "accept"), (message, result)
    return result


def values(message, name="Authentication-Results"):
    return [value.decode() for field, value in fields_of(message)[0]
            if field.decode().lower() == name.lower()]


def results_of(result, authserv_id=ID):
    """What the one inserted field says."""
    inserted = [change for change in result.changes if change[0] == "insert"]
    assert [change[2] for change in inserted] == [b"Authentication-Results"]
    found, results = authres.parse(inserted[0][3].decode().replace(
        "\n", "\r\n"))
    assert found == authserv_id
    return results


def test_results(world, verifying):
    for name, (message, expected) in world.messages.table.items():
        results = results_of(show(verifying, message))
        assert [one.result for one in results] == (expected or ["none"]), \
            (name, results)
        assert {one.method for one in results} == {"dkim"}
        if {"pass", "fail"}.intersection(expected):
            for tags, one in zip(judge.signature_tags(message), results):
                said = {key: one.properties["header." + key] for key in "dsab"}
                start = said.pop("b")
                assert said == {key: tags[key] for key in "dsa"}, name
                assert "".join(tags["b"].split()).startswith(start)
                assert len(start) >= 8


def test_opendkim_agrees(world, started):
    theirs = OpenDkim(world.directory, {
        "Mode": "v", "AuthservID": ID, "AlwaysAddARHeader": "yes",
        "InternalHosts": "192.0.2.99", "On-Default": "accept"},
        records=world.keys.records)
    started(theirs)
    said = {}
    for name, (message, expected) in world.messages.table.items():
        result = show(theirs, message)
        said[name] = [
            one.result for value in values(result.data)
            for one in authres.by_python(value)[1] if one.method == "dkim"]
        if said[name] == (expected or ["none"]):
            del said[name]
    for name, results in said.items():
        assert results == OPENDKIM_DIFFERS.get(name), name
    assert said == OPENDKIM_DIFFERS


def both_ways(socket, world):
    """{name: what is said of a stranger's message}, and who signed ours."""
    said = {}
    for name, (message, _) in world.messages.table.items():
        with Milter(socket) as conversation:
            result = conversation.message(message, client=STRANGER)
        assert result.verdict in ("continue", "accept"), (name, result)
        said[name] = [
            one.result for value in values(result.data)
            for one in authres.by_python(value)[1] if one.method == "dkim"]
    with Milter(socket) as conversation:
        result = conversation.message(MESSAGE, client=LOCAL)
    return said, [(tags["d"], tags["s"], tags["h"].lower().split(":"))
                  for tags in judge.signature_tags(result.data)]


def test_what_was_imported_signs_and_verifies_as_opendkim(world):
    theirs = OpenDkim(os.path.join(world.directory, "sv"), {
        "Mode": "sv", "AuthservID": ID, "AlwaysAddARHeader": "yes",
        "On-Default": "accept", "Domain": "example.com", "Selector": "rsa",
        "Canonicalization": "relaxed/simple",
        "KeyFile": private_copy(world.keys.path("example.com", "rsa"),
                                world.directory)},
        records=world.keys.records)
    theirs.imported = theirs.config + ".signet"
    try:
        old, old_signers = both_ways(theirs.socket, world)
    finally:
        theirs.stop()
    with open(theirs.imported, "wb") as file:
        file.write(signet.run("import", "opendkim", theirs.config,
                              check=0).stdout)
        file.write(b'dns { resolvers = {"%s"} }\n'
                   % world.names.resolver.encode())
    ours = SignetMilter(Imported(theirs))
    try:
        new, new_signers = both_ways(ours.socket, world)
    finally:
        ours.stop()
    assert [each[:2] for each in new_signers] == [("example.com", "rsa")]
    assert [(d, s, sorted(h)) for d, s, h in new_signers] == \
        [(d, s, sorted(h)) for d, s, h in old_signers]
    for name, (_, expected) in world.messages.table.items():
        assert new[name] == (expected or ["none"]), name
        assert old[name] == OPENDKIM_DIFFERS.get(name, new[name]), name


def test_the_field_goes_on_top(world, verifying):
    message = world.messages.table["signed"][0]
    result = show(verifying, message)
    assert result.changes[-1][:2] == ("insert", 0)
    names = [name for name, _ in fields_of(result.data)[0]]
    assert names[0] == b"Authentication-Results"
    assert result.data.endswith(message)


FORGED = [
    b"Authentication-Results: mx.example.org; dkim=pass header.d=bank.example",
    b"authentication-results:MX.Example.ORG; dkim=pass",
    b"Authentication-Results: (a (nested) one)\r\n\tmx.example.org 1; none",
    b"Authentication-Results: \"mx.example.org\"; spf=pass",
    b"Authentication-Results: mx.example.org./4Xy; dkim=pass",
    b"Authentication-Results: =?us-ascii?q?mx.example.org?=; dkim=pass",
]
OTHERS = [
    b"Authentication-Results: mx.example.net; dkim=pass header.d=a.example",
    b"ARC-Authentication-Results: i=1; mx.example.org; dkim=pass",
    b"Authentication-Results: a.mx.example.org; spf=fail",
    b"X-Authentication-Results: mx.example.org; dkim=pass",
    b"Authentication-Results: dkim=pass (mx.example.org)",
]


def mixed(message):
    """With forged fields and others, in turn, on top and at the end."""
    fields = [field for pair in zip(FORGED, OTHERS + OTHERS[:1])
              for field in pair]
    head, _, body = message.partition(b"\r\n\r\n")
    return b"\r\n".join(fields[:7] + [head] + fields[7:]) + b"\r\n\r\n" + body


def without_forged(message):
    for field in FORGED:
        message = message.replace(field + b"\r\n", b"")
    return message


def test_forged_fields_go(world, verifying):
    message = mixed(world.messages.table["signed"][0])
    result = show(verifying, message)
    assert [one.result for one in results_of(result)] == ["pass"]
    assert result.data.endswith(without_forged(message))
    assert len(values(result.data)) == \
        len(values(without_forged(message))) + 1
    # Gone before ours is there: what is removed is never what we wrote.
    kinds = [change[0] for change in result.changes]
    assert kinds == ["change"] * len(FORGED) + ["insert"]


def test_a_flood_of_forged_fields_is_refused(world, verifying):
    """Postfix would look through the message for each of them."""
    with Milter(verifying.socket) as conversation:
        result = conversation.message(b"".join(
            FORGED[0] + b"\r\n" for _ in range(101)) + MESSAGE,
            client=STRANGER)
    assert (result.verdict, result.stage) == ("reply", "N")
    assert result.text.startswith("550 5.7.1 ")
    result = show(verifying, b"".join(
        FORGED[0] + b"\r\n" for _ in range(100)) + MESSAGE)
    assert len(result.changes) == 101
    assert result.data.endswith(MESSAGE)


def test_event(world, verifying):
    message = world.messages.table["three signatures"][0]
    macros = {b"T": {"i": "4Xyz-event"}}
    show(verifying, message, sender="<carol@example.net>", macros=macros)
    event = verifying.wait("verified", id="4Xyz-event")
    assert event["from"] == "carol@example.net"
    assert event["client"] == "192.0.2.7"
    assert [(one["domain"], one["selector"], one["algorithm"], one["result"])
            for one in event["results"]] == [
        ("example.com", "rsa", "rsa-sha256", "pass"),
        ("example.org", "rsa", "rsa-sha256", "pass"),
        ("example.com", "ed", "ed25519-sha256", "pass")]
    assert all(one["reason"] for one in event["results"])


def test_many_signatures_are_bounded(world, verifying):
    one = world.messages.signature()
    result = show(verifying, one * 40 + MESSAGE)
    results = results_of(result)
    assert [each.result for each in results] == ["pass"] * 32 + ["policy"]


def test_what_is_not_ours_is_not_signed(world, verifying):
    """mode = verify signs nobody's mail, whoever sends it."""
    result = show(verifying, MESSAGE, client=LOCAL)
    assert [one.result for one in results_of(result)] == ["none"]


@pytest.fixture
def waiting(world):
    """Its name server says nothing."""
    return world.milter(
        "silent", 'mode = "verify"\ndns_timeout = "%ds"' % BOUND_S,
        world.silent.address)


def test_silent_dns_is_waited_for_once(world, waiting):
    """However many names there are, the MTA has its answer in time."""
    signatures = [world.messages.signature(selector=selector, domain=domain)
                  for selector, domain in (
                      ("rsa", "example.com"), ("ed", "example.com"),
                      ("rsa", "example.org"), ("testing", "example.com"))]
    message = world.messages.signed(*signatures)
    begin = time.monotonic()
    # One after the other they would take four times as long.
    result = quickest(3 * BOUND_S, lambda: show(waiting, mixed(message)))
    assert time.monotonic() - begin >= BOUND_S - 0.5
    assert [one.result for one in results_of(result)] == ["temperror"] * 4
    assert without_forged(mixed(message)) in result.data


def test_the_bound_runs_while_the_body_comes(world, waiting):
    """A slow body is time in which an answer could have come."""
    message = world.messages.table["signed"][0]
    fields, body = fields_of(message)
    with Milter(waiting.socket) as conversation:
        conversation.begin(STRANGER)

        def late_body():
            conversation.mail()
            conversation.rcpt()
            conversation.data()
            for name, value in fields:
                conversation.header(name, value)
            conversation.eoh()
            time.sleep(BOUND_S + 0.2)
            conversation.body(body)
            return conversation.eob()
        # A bound that begins with the body's end would double this.
        reply, changes, _ = quickest(2 * BOUND_S, late_body)
    assert reply.verdict in ("continue", "accept")
    assert b"dkim=temperror" in changes[-1][3]


def test_aborted_while_dns_is_asked(world, waiting):
    """What nobody waits for any more is forgotten."""
    fields, _ = fields_of(world.messages.table["signed"][0])
    with Milter(waiting.socket) as conversation:
        conversation.begin(STRANGER)
        for _ in range(20):
            conversation.mail()
            conversation.rcpt()
            conversation.data()
            for name, value in fields:
                conversation.header(name, value)
            conversation.eoh()
            conversation.abort()
    result = show(waiting, MESSAGE)
    assert [one.result for one in results_of(result)] == ["none"]


def test_both_signs_what_is_ours(world, doing_both):
    result = show(doing_both, MESSAGE, client=LOCAL)
    assert not values(result.data)
    assert [tags["s"] for tags in judge.signature_tags(result.data)] == \
        ["rsa", "ed"]
    verdicts = judge.dkimpy(result.data, judge.lookup_in(world.keys.records))
    assert [one.passed for one in verdicts] == [True, True]


def test_both_leaves_the_results_in_mail_of_ours(world, doing_both):
    """A list's host sends on what came in by us, with what we said then."""
    ours = b"Authentication-Results: mx.example.org; dkim=pass\r\n"
    result = show(doing_both, ours + MESSAGE, client=LOCAL)
    assert ours in result.data
    assert len(judge.signature_tags(result.data)) == 2


def test_both_verifies_what_is_not(world, doing_both):
    message = mixed(world.messages.table["signed"][0])
    result = show(doing_both, message)
    assert [one.result for one in results_of(result)] == ["pass"]
    assert len(judge.signature_tags(result.data)) == 1
    assert result.data.endswith(without_forged(message))


def test_both_verifies_what_is_ours_and_nobody_signs(world, doing_both):
    """A host of ours that sends on what has come from outside."""
    message = world.messages.table["signed"][0].replace(
        b"From: ", b"From: a@none.example, ", 1)
    result = show(doing_both, mixed(message), client=LOCAL)
    assert [one.result for one in results_of(result)] == ["fail"]
    assert result.data.endswith(without_forged(mixed(message)))
    assert len(judge.signature_tags(result.data)) == 1
    wait_for(lambda: any("From" in event.get("reason", "")
                         for event in doing_both.named("verified")), 10,
             "an event that says why it was not signed")


def test_the_name_is_the_mtas_own(world, started):
    """As long as none is configured, and as long as it is one."""
    milter = SignetMilter(MilterSetup(
        os.path.join(world.directory, "unnamed"), world.keys,
        'mode = "verify"', resolver=world.names.resolver))
    try:
        for name, expected in (("mx.example.net", "mx.example.net"),
                               ("[192.0.2.1]", "relay.example.com")):
            macros = dict(MACROS)
            macros[b"C"] = dict(MACROS[b"C"], j=name)
            forged = b"Authentication-Results: %s; dkim=pass\r\n" % \
                expected.encode()
            result = show(milter, forged + MESSAGE, macros=macros)
            assert [one.result for one in results_of(result, expected)] == \
                ["none"]
            assert forged not in result.data
        milter.stop()
    finally:
        milter.discard()


def test_one_connection_carries_both(world, doing_both):
    signed = world.messages.table["signed"][0]
    with Milter(doing_both.socket) as conversation:
        conversation.begin(STRANGER)
        for message, expected in ((signed, "pass"), (MESSAGE, "none"),
                                  (signed.replace(b"Hello", b"Hallo"),
                                   "fail")):
            result = conversation.message(message, begin=False)
            assert [one.result for one in results_of(result)] == [expected]


def postfix_with(directory, milter, relay_port):
    return Relaying(directory, relay_port,
                    "smtpd_milters = inet:127.0.0.1:%d\n"
                    "milter_default_action = tempfail\n" % milter.port)


def sendmail_with(directory, milter, relay_port):
    return Sendmail(directory, relay_port,
                    "INPUT_MAIL_FILTER(`signet', `S=%s, F=T')\n" %
                    milter.socket)


@pytest.mark.parametrize("start", [postfix_with, sendmail_with])
def test_an_mta_delivers_the_field(world, verifying, started, start):
    """All the way: it asks, removes and inserts, and sends on."""
    receiver = Receiver(free_port())
    started(receiver)
    mta = start(world.directory, verifying, receiver.port)
    started(mta)
    message = mixed(world.messages.table["three signatures"][0])
    submit(mta.port, message)
    data = receiver.wait_deliveries(1)[0].data
    # On top of what came in; the MTA's own Received is above or below.
    assert fields_of(data)[0][0][0] in (b"Authentication-Results",
                                        b"Received")
    ours, = [value for value in values(data) if value.split()[0] == ID + ";"]
    assert [one.result for one in authres.parse(ours)[1]] == ["pass"] * 3
    assert len(values(data)) == len(values(without_forged(message))) + 1
    for field in OTHERS:
        assert field in data
    verdicts = judge.dkimpy(data, judge.lookup_in(world.keys.records))
    assert [one.passed for one in verdicts] == [True] * 3


def test_reload_changes_what_is_asked(world, started):
    """From signing to verifying, and from one name server to another, with a
    connection that stays."""
    setup = MilterSetup(os.path.join(world.directory, "reloaded"), world.keys,
                        "", resolver=world.silent.address)
    milter = SignetMilter(setup)
    message = world.messages.table["signed"][0]
    try:
        with Milter(milter.socket) as conversation:
            conversation.begin(STRANGER)
            result = conversation.message(message, begin=False)
            assert not result.changes
            for count, (resolver, expected, timeout) in enumerate((
                    (world.silent.address, "temperror", "1s"),
                    (world.names.resolver, "pass", "30s"))):
                setup.resolver = resolver
                setup.options = ('mode = "verify"\nauthserv_id = "%s.example"'
                                 '\ndns_timeout = "%s"' %
                                 (expected, timeout))
                setup.write()
                milter.hang_up()
                milter.wait("reload", count=count + 1)
                result = conversation.message(message, begin=False)
                assert [one.result for one in
                        results_of(result, expected + ".example")] == \
                    [expected]
        milter.stop()
    finally:
        milter.discard()


def test_many_at_once_wait_together(world, waiting):
    """Those who wait for DNS hold up nobody else, nor each other."""
    message = world.messages.table["three signatures"][0]
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        slow = [pool.submit(show, waiting, message) for _ in range(40)]
        quick = show(waiting, MESSAGE)
        assert [one.result for one in results_of(quick)] == ["none"]
        for one in slow:
            assert [each.result for each in results_of(one.result())] == \
                ["temperror"] * 3
    # One after the other they would take forty times as long.
    assert time.monotonic() - begin < 30 * BOUND_S


def test_nobody_waits_for_somebody_elses_dns(world, waiting):
    """Who comes while others wait is answered at once, and who has waited for
    his own answers not for theirs too. Begun one after the other, so that each
    comes while all before it wait."""
    message = world.messages.table["signed"][0]
    fields, body = fields_of(message)
    slow = []
    for _ in range(60):
        conversation = Milter(waiting.socket)
        conversation.begin(STRANGER)
        slow.append(conversation)
    begin = time.monotonic()
    for conversation in slow:
        conversation.mail()
        for name, value in fields:
            conversation.header(name, value)
        conversation.eoh()
        conversation.body(body)
        conversation.send(b"E")
        show(waiting, MESSAGE)
    # Each behind those before it would take as many times the bound.
    assert time.monotonic() - begin < 30 * BOUND_S
    for conversation in slow:
        # The change and the verdict.
        assert conversation.read()[0] == b"i"
        conversation.close()
    assert time.monotonic() - begin < 45 * BOUND_S
