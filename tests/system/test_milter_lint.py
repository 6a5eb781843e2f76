"""`signet milter` warns of what the MTA is going to do to what it has signed.

That the MTAs do so is told beside their snippets in etc/."""

import shutil
import tempfile

import pytest

from harness.milter import MilterSetup, SignetMilter
from harness.milter_client import MACROS, Milter

HEADER = ("From: Alice <alice@example.com>\r\nTo: bob@example.net\r\n"
          "Subject: x\r\nDate: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
          "Message-ID: <1@example.com>\r\n")
SENDMAIL = dict(MACROS)
SENDMAIL[b"C"] = dict(MACROS[b"C"], v="8.17.1.9/8.17.1.9/Debian")
MTAS = {"postfix": MACROS, "sendmail": SENDMAIL}


def changed(old, new):
    assert old in HEADER
    return HEADER.replace(old, new) + "\r\nHello.\r\n"


LONG = HEADER + "\r\n" + "x" * 999 + "\r\n"
EIGHT = HEADER + "MIME-Version: 1.0\r\n" \
    "Content-Type: text/plain; charset=utf-8\r\n" \
    "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
NO_DATE = changed("Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n", "")
NO_ID = changed("Message-ID: <1@example.com>\r\n", "")
LONG_FIELD = changed("Subject: x", "Subject: " + "x" * 999)
BROKEN = changed("Subject: x", 'Content-Type: text/plain; charset="us-ascii')
PHRASE = changed("Alice <", "Alice B. C <")
COMPACT = changed("bob@example.net", "bob@example.net,carol@example.net")
UNQUALIFIED = changed("bob@example.net", "bob")

# What is set in each, by the MTA that it is set in; None: it does no harm.
ROWS = {
    "long line": (LONG, "smtp_line_length_limit = 0", "`SMTP_MAILER_LL', `0'"),
    "8-bit": (EIGHT, "disable_mime_output_conversion = yes",
              "MODIFY_MAILER_FLAGS(`SMTP', `+8')"),
    "Date": (NO_DATE, "always_add_missing_headers = yes",
             "signing.oversign without Date"),
    "Message-ID": (NO_ID, None, None),
    "long field": (LONG_FIELD, "a line of a signed field has over 998",
                   "a line of a signed field has over 990"),
    "phrase": (PHRASE, None, "`confMUST_QUOTE_CHARS', `'"),
    "MIME": (BROKEN, None, "`confMAX_MIME_HEADER_LENGTH', `0/0'"),
    "list": (COMPACT, None, "separated by"),
    "unqualified": (UNQUALIFIED, None, "an address without a domain"),
    "nothing": (HEADER + "\r\nHello.\r\n", None, None),
}


@pytest.fixture
def milter(binary, keys):
    """milter(options) starts one."""
    made = []

    def make(options=""):
        directory = tempfile.mkdtemp(prefix="signet-test.")
        made.append((SignetMilter(MilterSetup(directory, keys, options)),
                     directory))
        return made[-1][0]
    yield make
    for running, directory in made:
        try:
            running.stop()
        finally:
            running.discard()
            shutil.rmtree(directory, ignore_errors=True)


def send(running, text, macros=None):
    with Milter(running.socket) as client:
        result = client.message(text.encode(), macros=macros)
    assert result.verdict == "continue", result


@pytest.mark.parametrize("mta", MTAS)
def test_each_warning_names_the_setting_once(milter, mta):
    running = milter()
    expected = 0
    for count, (name, (text, *parts)) in enumerate(ROWS.items(), 1):
        for _ in range(2):
            send(running, text, MTAS[mta])
        running.wait("signed", count=2 * count)
        part = parts[list(MTAS).index(mta)]
        expected += part is not None
        if part is not None:
            event = running.wait("lint", count=expected)
            assert event["level"] == "warning"
            assert event["id"] == "4XyZ0123456"
            assert event["client"] == "127.0.0.1"
            assert len(event["warnings"]) == 1, event
            assert part in event["warnings"][0], (name, event)
    running.stop()
    assert len(running.named("lint")) == expected


def test_several_at_once(milter):
    running = milter()
    send(running, changed("Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n", "") +
         "x" * 999 + "\r\n")
    assert len(running.wait("lint")["warnings"]) == 2


def test_not_where_nothing_is_signed_or_nobody_asked(milter):
    running = milter()
    with Milter(running.socket) as client:
        client.message(LONG.replace("example.com", "none.example").encode())
    running.wait("skipped")
    quiet = milter("lint = false")
    send(quiet, LONG)
    quiet.wait("signed")
    for each in (running, quiet):
        each.stop()
        assert each.named("lint") == []
