"""`signet queue retry|hold|release|delete` on a running relay."""

import datetime
import json
import os
import re
import subprocess
import threading
import time

import pytest

from harness import signet
from harness.faulty import Receiver
from harness.process import wait_for
from harness.smtp import message, submit

# Every domain has a host, and the host may have a server.
# Hosts of their own: those of one host wait together while it is down.
ZONES = {"example.net": "* IN A 127.0.0.2"}
MESSAGES, DOMAINS = 100, 100
LATER = "450 4.2.0 later"


def queue(world, *words, check=0, **options):
    """What it says, once nothing that is meant is under way any more: an event
    comes before what it tells is stored."""
    until = time.monotonic() + 20
    while True:
        done = signet.run("queue", *words, config=world.setup.path, **options)
        said = done.stdout.decode() + done.stderr.decode()
        if check == 75 or done.returncode != 75 or time.monotonic() > until:
            break
    assert done.returncode == check, said
    return said


def listed(world, *words):
    return {row["id"]: row["recipients"] for row in
            map(json.loads, queue(world, "list", "--json",
                                  *words).splitlines())}


def states(world):
    return {one: {rcpt["domain"]: rcpt["state"] for rcpt in recipients}
            for one, recipients in listed(world).items()}


def send(world, *recipients, sender="alice@example.com", data=None):
    """The id of a message, once its event has been read."""
    count = len(world.relay.named("accepted"))
    submit(world.relay.port, data or message(), sender=sender,
           recipients=recipients)
    return world.relay.wait("accepted", count=count + 1)["id"]


def deferred(world, *recipients, sender="alice@example.com"):
    """The id of a message that waits after one attempt for each domain."""
    count = len(world.relay.named("deferred"))
    one = send(world, *recipients, sender=sender)
    world.relay.wait("deferred", count=count + len(recipients))
    return one


@pytest.fixture
def silent(world):
    """Nobody answers at the host, and attempts are an hour apart."""
    world.setup.delivery = 'retry = {"1h"}'
    return world.start(ZONES, receiver_options=False)


@pytest.fixture
def server(silent):
    """Makes the host answer."""
    made = []

    def start(**options):
        made.append(Receiver(silent.setup.mx_port, "127.0.0.2", **options))
        return made[-1]
    yield start
    for one in made:
        one.stop()


# Which of three messages each selects: by alice to two domains, by carol to
# the second, by nobody to the third.
SELECTORS = {
    "id": (lambda ids: [ids[1]], {1: "two"}),
    "ids": (lambda ids: [ids[0], ids[2]], {0: "one two", 2: "three"}),
    "domain": (lambda ids: ["--domain", "Two.example.net"],
               {0: "two", 1: "two"}),
    "sender": (lambda ids: ["--sender", "carol@EXAMPLE.com"], {1: "two"}),
    "null sender": (lambda ids: ["--sender", "<>"], {2: "three"}),
    "both": (lambda ids: ["--domain", "two.example.net",
                          "--sender", "alice@example.com"], {0: "two"}),
    "all": (lambda ids: ["--all"], {0: "one two", 1: "two", 2: "three"}),
}


def everything(ids, chosen, state, other):
    """What states() says where what is chosen has one state."""
    found = {}
    for number, domains in enumerate(("one two", "two", "three")):
        found[ids[number]] = {
            domain + ".example.net":
                state if domain in chosen.get(number, "").split() else other
            for domain in domains.split()}
    return found


def test_each_verb_with_each_selector(silent):
    world = silent
    # The second message of a destination that is not reached is not tried
    # until its pause has ended.
    for name, (words, chosen) in SELECTORS.items():
        ids = [send(world, "bob@one.example.net", "bob@two.example.net"),
               send(world, "bob@two.example.net",
                    sender="carol@example.com"),
               send(world, "bob@three.example.net", sender="")]
        words = words(ids)
        count = "%d message" % len(chosen)

        def settled():
            """None is being attempted any more."""
            done = signet.run("queue", "hold", *words,
                              config=world.setup.path)
            return done if done.returncode == 0 else None
        done = wait_for(settled, 20, "nothing to be under way")
        assert done.stdout.decode().startswith(count), (name, done)
        held = {one: {domain: state == "held"
                      for domain, state in domains.items()}
                for one, domains in states(world).items()}
        assert held == everything(ids, chosen, True, False), name
        assert "are held" in queue(world, "retry", *words, check=65) or \
            "is held" in queue(world, "flush", *words, check=65)
        assert queue(world, "release", *words).startswith(count), name
        assert all("held" not in domains.values()
                   for domains in states(world).values())
        queue(world, "release", *words, check=65)  # nothing is held

        wait_for(lambda: signet.run(
            "queue", "delete", *words, config=world.setup.path).returncode
            == 0 or not set(ids) & set(
                ids[number] for number in chosen
                if ids[number] in listed(world)), 20, "the deletion")
        left = states(world)
        for number, domains in enumerate(("one two", "two", "three")):
            rest = set(domains.split()) - set(chosen.get(number, "").split())
            assert set(left.get(ids[number], {})) == \
                {domain + ".example.net" for domain in rest}, name
        queue(world, "delete", *words, check=65)
        if left:
            wait_for(lambda: signet.run(
                "queue", "delete", "--all",
                config=world.setup.path).returncode != 75, 20, "the rest")
    uid = os.getuid()
    for event in ("held", "released", "deleted"):
        world.relay.wait(event, count=sum(
            len(domains.split()) for _, chosen in SELECTORS.values()
            for domains in chosen.values()))
        assert {line["uid"] for line in world.relay.named(event)} == {uid}
    one = [line for line in world.relay.named("deleted")
           if line["from"] == "carol@example.com"][0]
    assert one["to"] == ["bob@two.example.net"]
    assert one["domain"] == "two.example.net"


@pytest.mark.parametrize("words", (
    ["--all"], ["--domain", "one.example.net"],
    ["--sender", "alice@example.com"]))
def test_retry_does_not_wait_for_the_pause(silent, server, words):
    """A host that is back is used at once, for all that waits."""
    world = silent
    for _ in range(20):
        submit(world.relay.port, message(), recipients=["b@one.example.net"])
    world.relay.wait("deferred")
    receiver = server()
    # What is under way still meets the old host.
    begun = time.time()
    wait_for(lambda: signet.run("queue", "retry", *words,
                                config=world.setup.path) and
             len(receiver.deliveries) == 20, 20, "all to be delivered")
    world.relay.wait("delivered", count=20)
    assert time.time() - begun < 60, "the pause is a minute"
    assert len(receiver.deliveries) == 20, "none twice"
    wait_for(lambda: listed(world) == {}, 10, "all to be settled")


def test_while_mail_goes_through(world):
    """Held, released and retried again and again, each message arrives, and
    arrives once."""
    world.setup.delivery = 'retry = {"1s"}\n expire = "300s"'
    answers = iter(range(10 ** 6))
    # Every third recipient is put off.
    world.start(ZONES, {"replies": {
        "RCPT": lambda _: LATER if next(answers) % 3 == 0 else None}})
    done = threading.Event()
    failures = []

    def alter():
        while not done.is_set():
            for verb in ("hold", "retry", "release"):
                code = signet.run("queue", verb, "--all",
                                  config=world.setup.path).returncode
                if code not in (0, 65, 75):
                    failures.append((verb, code))

    def load(name):
        for number in range(MESSAGES):
            submit(world.relay.port, message("%s-%d" % (name, number)),
                   recipients=["b@d%d.example.net" % (number % 7)])
    threads = [threading.Thread(target=alter)] + [
        threading.Thread(target=load, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join(60)
    done.set()
    threads[0].join(60)
    wait_for(lambda: signet.run(
        "queue", "release", "--all",
        config=world.setup.path).returncode in (0, 65), 20, "the release")
    world.relay.wait("delivered", count=3 * MESSAGES, seconds=60)
    assert not failures
    subjects = [re.search(rb"^Subject: (.*)\r$", one.data, re.M).group(1)
                for one in world.receiver.deliveries]
    assert len(subjects) == len(set(subjects)) == 3 * MESSAGES
    # An outcome is logged, then stored.
    wait_for(lambda: listed(world) == {}, 20, "an empty queue")
    for event in ("held", "retried", "released"):
        assert world.relay.named(event), event


def test_what_is_being_delivered(silent, server):
    """Is left alone, and the command says so."""
    world = silent
    gate, waits = threading.Event(), threading.Event()

    def end(_):
        waits.set()
        gate.wait(30)
        return None
    receiver = server(replies={"END": end})
    one = send(world, "b@one.example.net")
    assert waits.wait(60)
    for verb in ("hold", "release", "delete"):
        for words in ([one], ["--all"], ["--domain", "one.example.net"]):
            said = queue(world, verb, *words, check=75)
            assert "1 message is being delivered" in said, said
    queue(world, "retry", one)
    assert states(world) == {one: {"one.example.net": "queued"}}
    gate.set()
    world.relay.wait("delivered", id=one)
    wait_for(lambda: signet.run("queue", "delete", one,
                                config=world.setup.path).returncode == 65,
             20, "the outcome, which is logged, to be stored")
    assert one in queue(world, "delete", one, check=65)
    assert len(receiver.deliveries) == 1
    assert not world.relay.named("deleted")


def test_held_beyond_its_time(silent, server):
    """What is held does not expire: over a restart, over a reload; released,
    it is tried once."""
    world = silent
    world.setup.delivery = 'retry = {"1h"}\n expire = "2s"'
    world.setup.write()
    # `expire` comes with the next start: until then five days.
    fails = deferred(world, "bob@one.example.net")
    works = deferred(world, "bob@two.example.net")
    queue(world, "hold", "--all")
    world.relay.hang_up()
    world.relay.wait("reload")
    world.relay.stop()
    before = listed(world)  # of the store alone
    for recipients in before.values():
        assert [(rcpt["state"], rcpt["next"], rcpt["attempts"])
                for rcpt in recipients] == [("held", None, 1)]
    assert queue(world, "list").count("held, 1 attempt:") == 2
    queue(world, "retry", fails, check=69)
    world.relay.start()
    received = datetime.datetime.now(datetime.timezone.utc).timestamp()
    wait_for(lambda: time.time() > received + 2, 10, "the time to pass")
    assert listed(world) == before
    server(replies={"RCPT": lambda address:
                    LATER if "one" in address else None})
    queue(world, "release", "--all")
    assert world.relay.wait("delivered", id=works)
    bounced = world.relay.wait("bounced", id=fails)
    assert bounced["reply"] == LATER, "of the attempt that it was owed"
    wait_for(lambda: not set(listed(world)) & {fails, works}, 20,
             "both to be gone")


def test_delete_leaves_no_file_and_no_report(silent):
    world = silent
    large = ("x" * 76 + "\r\n") * 8000
    one = send(world, "bob@one.example.net", data=message("large", large))
    world.relay.wait("deferred")
    spool = os.path.join(world.setup.state_dir, "spool")
    assert os.listdir(spool) == [one]
    queue(world, "hold", one)
    # It is done, though nobody is told: another code than where it is not.
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", signet.binary(), "-c",
         world.setup.path, "queue", "delete", one], timeout=120)
    assert done.returncode == 74
    assert os.listdir(spool) == [] and listed(world) == {}
    assert not world.relay.named("bounced")
    assert len(world.relay.named("accepted")) == 1


def test_killed_in_the_middle(silent):
    """Each delivery is there or not, and none that was said to be deleted."""
    world = silent
    world.relay.stop()
    world.setup.limits = "max_recipients = %d" % DOMAINS
    world.setup.write()
    world.relay.start()
    for _ in range(MESSAGES):
        submit(world.relay.port, message(), recipients=[
            "b@d%d.example.net" % number for number in range(DOMAINS)])
    # What is under way now is held a little later.
    wait_for(lambda: signet.run("queue", "hold", "--all",
                                config=world.setup.path,
                                timeout=60).returncode == 0, 60, "all held")
    before = states(world)
    assert sum(map(len, before.values())) == MESSAGES * DOMAINS
    deletion = subprocess.Popen(
        [signet.binary(), "-c", world.setup.path, "queue", "delete", "--all"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    world.relay.wait("deleted", count=257)
    world.relay.kill(whole_family=True)
    said = deletion.communicate(timeout=60)
    assert deletion.returncode in (69, 75), said
    world.relay.start()
    after = states(world)
    gone = {(event["id"], event["domain"])
            for event in world.relay.named("deleted")}
    there = {(one, domain) for one, domains in after.items()
             for domain, state in domains.items() if state == "held"}
    assert not gone & there
    assert 0 < len(there) < MESSAGES * DOMAINS - 256
    assert there <= {(one, domain) for one, domains in before.items()
                     for domain in domains}
    assert queue(world, "delete", "--all").startswith("%d message" %
                                                      len(after))
    assert listed(world) == {}
    assert json.loads(signet.run("status", "--json",
                                 config=world.setup.path).stdout)["held"] == 0


def test_a_selection_of_the_list(silent):
    world = silent
    ids = submit_three_apart(world)
    assert list(listed(world)) == ids
    assert list(listed(world, "--sender", "")) == [ids[2]]
    assert list(listed(world, "--sender", "Carol@example.com")) == [ids[1]]
    found = listed(world, "--domain", "b.example.net")
    assert list(found) == [ids[0], ids[1]]
    assert [rcpt["address"] for rcpt in found[ids[0]]] == \
        ["bob@b.example.net"], "only what waits for that domain"
    assert listed(world, "--domain", "example.net") == {}
    dots = send(world, "bob@a.example.net", sender="a..b@example.com")
    assert list(listed(world, "--sender", "a..b@example.com")) == [dots]
    world.relay.stop()
    assert listed(world, "--domain", "b.example.net") == found
    signet.run("queue", "show", "0" * 26, config=world.setup.path, check=65)


def submit_three_apart(world):
    return [deferred(world, "bob@a.example.net", "bob@b.example.net"),
            send(world, "bob@b.example.net", sender="carol@example.com"),
            deferred(world, "bob@c.example.net", sender="")]


def test_words_and_ids(silent):
    world = silent
    one = deferred(world, "bob@one.example.net")
    other = one[:-4] + "ZZZZ"
    for verb in ("retry", "flush", "hold", "release", "delete"):
        for words in ((), ("--all", one), ("--all", "--sender", "a"),
                      ("--domain",), ("--json", one), ("--domain", "a", one),
                      ("--domain", "a b"), ("--domain", "a", "--domain",
                                            "b"), ("--everything",)):
            signet.run("queue", verb, *words, config="/nowhere", check=64)
        for words in ((other,), ("no-id",), ("--domain", "example.net"),
                      ("--sender", "nobody@example.org"), ("--sender", "")):
            said = queue(world, verb, *words, check=65)
            assert "matches" in said or words[0] in said
        queue(world, verb, "--sender", "a\tb", check=65)
    # One that is unknown does not hinder the other.
    said = queue(world, "hold", other, one, check=65)
    assert "1 message is held" in said and other in said
    assert states(world) == {one: {"one.example.net": "held"}}


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_permission(silent, directory):
    world = silent
    one = deferred(world, "bob@one.example.net")
    os.chmod(world.setup.state_dir, 0o711)
    for words in (("retry", one), ("hold", "--all"), ("delete", "--all"),
                  ("list",), ("show", one)):
        done = signet.run_as("daemon", directory, "-c", world.setup.path,
                             "queue", *words)
        assert done.returncode == 77, (words, done)
    os.chmod(world.setup.state_dir, 0o700)
    assert states(world) == {one: {"one.example.net": "deferred"}}


def test_no_relay(silent):
    world = silent
    one = deferred(world, "bob@one.example.net")
    world.relay.stop()
    for verb in ("retry", "hold", "release", "delete"):
        said = queue(world, verb, "--all", check=69)
        assert "no relay runs" in said
    assert list(states(world)) == [one]
