"""Standard input and output that are closed or full: every command says so,
and no message is taken for an empty one or lost."""

import os
import subprocess

import pytest

from harness import signet
from harness.judge import Keys

MESSAGE = b"From: alice@example.com\nSubject: x\n\nHello.\n"
OPENDKIM = "Domain example.com\nSelector s\nKeyFile /k.pem\nMode s\n"

WRITES = (
    "--help", "--version", "queue --help", "sign", "verify", "explain",
    "key list", "key list --json", "key dns example.com",
    "key check example.com", "options",
    "doctor example.com", "import opendkim opendkim.conf",
)


def run(setup, words, redirection, **options):
    config = setup(**options).write()
    stdin = MESSAGE
    if words == "verify":
        stdin = signet.run("sign", stdin=MESSAGE, config=config, check=0).stdout
    directory = os.path.dirname(config)
    with open(os.path.join(directory, "opendkim.conf"), "w") as file:
        file.write(OPENDKIM)
    return subprocess.run(
        ["sh", "-c", 'exec "$@" ' + redirection, "sh", signet.binary(), "-c",
         config] + words.split(), input=stdin, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=120, cwd=directory)


@pytest.mark.parametrize("words, redirection", [
    (words, ">/dev/full") for words in WRITES] +
    [("sign", ">&-"), ("options", ">&-")])
def test_output(setup, words, redirection):
    done = run(setup, words, redirection)
    assert done.returncode == 75, done.stderr
    assert b"cannot write to standard output" in done.stderr or \
        words == "sign" and b"writing the message: " in done.stderr


def test_output_of_what_was_done(setup, directory):
    """Another code: who tries again would do the next thing."""
    own_keys = Keys(os.path.join(directory, "keys"))
    own_keys.make("example.com", "rsa", "rsa")
    own_keys.make("example.com", "ed", "ed25519")
    for words in ("key rotate example.com", "key generate example.com another"):
        done = run(setup, words, ">/dev/full", keys=own_keys)
        assert done.returncode == 74, done.stderr
        assert b"cannot write to standard output" in done.stderr


@pytest.mark.parametrize("words", ("sign", "verify", "explain"))
def test_no_input(setup, words):
    done = run(setup, words, "<&-")
    assert (done.returncode, done.stdout) == (75, b""), done.stderr
    assert b"Bad file descriptor" in done.stderr
