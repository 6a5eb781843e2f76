"""Some hundreds of messages, made by rule: {name: bytes}, all in CRLF.

Families of what goes wrong when one program signs and another verifies: white
space and folding in every place of a header field, fields that are missing,
empty or repeated, text in every encoding, bodies whose last lines are blank,
and edges of buffers. Each message has an author in example.com, or in the
domains of DOMAINS, and is one that an MTA passes on unchanged: no bare CR or
LF, no NUL.

The same names and bytes come out every time.
"""

import random

IDN = "xn--bcher-kva.example"
DOMAINS = ("example.com", IDN)

USUAL = (("From", b" Alice <alice@example.com>"),
         ("To", b" Bob <bob@example.net>"),
         ("Subject", b" a message of the corpus"),
         ("Date", b" Sat, 21 Nov 2026 20:00:00 +0000"),
         ("Message-ID", b" <corpus@example.com>"))

TEXT = b"Hello Bob,\r\n\r\nthis is text.\r\n-- \r\nAlice\r\n"


def fields(*more, without=(), first=()):
    """The usual header, other fields in front and behind; (name, value as it
    stands behind the colon) or the bytes of whole lines."""
    rows = list(first) + [row for row in USUAL if row[0] not in without] + \
        list(more)
    return b"".join(
        row if isinstance(row, bytes) else
        row[0].encode() + b":" + row[1] + b"\r\n" for row in rows)


def message(header, body=TEXT):
    return header + b"\r\n" + body


def replaced(name, line, body=TEXT):
    """The usual header with one of its lines written otherwise."""
    return message(b"".join(
        line + b"\r\n" if row[0] == name else
        row[0].encode() + b":" + row[1] + b"\r\n" for row in USUAL), body)


# How the two words of a field may stand: {name} and what is behind it.
LAYOUTS = {
    "one space": b"%s: one two",
    "no space": b"%s:one two",
    "two spaces": b"%s:  one two",
    "a tab": b"%s:\tone two",
    "space and tab": b"%s: \tone two",
    "a run inside": b"%s: one \t  two",
    "space at the end": b"%s: one two ",
    "tab at the end": b"%s: one two\t",
    "run at the end": b"%s: one two \t \t",
    "folded with a space": b"%s: one\r\n two",
    "folded with a tab": b"%s: one\r\n\ttwo",
    "folded with a run": b"%s: one\r\n \t   two",
    "space before the fold": b"%s: one \r\n two",
    "run before the fold": b"%s: one \t \r\n\t two",
    "folded behind the colon": b"%s:\r\n one two",
    "folded behind a space": b"%s: \r\n\tone two",
    "twice folded": b"%s: one\r\n two\r\n\tthree",
    "blank continuation inside": b"%s: one\r\n \r\n two",
    "blank continuation at the end": b"%s: one two\r\n ",
    "tab continuation at the end": b"%s: one two\r\n\t\t",
    "two blank continuations": b"%s: one\r\n \r\n\t\r\n two",
    "space before the colon": b"%s : one two",
    "tab before the colon": b"%s\t: one two",
    "run before the colon": b"%s \t : one two",
    "colons in the value": b"%s: one: two: :three:",
    "nothing": b"%s:",
    "only a space": b"%s: ",
    "only a tab": b"%s:\t",
    "only a fold": b"%s:\r\n ",
    "only blank continuations": b"%s: \r\n\t\r\n  ",
}


def layouts():
    for layout, line in LAYOUTS.items():
        yield "Subject: " + layout, replaced("Subject", line % b"Subject")
        yield "Keywords: " + layout, message(
            fields(line % b"Keywords" + b"\r\n"))
        if b"one" in line:
            value = line.replace(b"one", b"Alice").replace(
                b"two", b"<alice@example.com>")
            if b"three" not in value and b": :" not in value:
                yield "From: " + layout, replaced("From", value % b"From")
    for name in ("FROM", "from", "fROM"):
        yield "the name " + name, replaced(
            "From", name.encode() + b": Alice <alice@example.com>")


def absent_and_repeated():
    for name in ("To", "Subject", "Date", "Message-ID"):
        yield "without " + name, message(fields(without=(name,)))
    yield "From alone", message(fields(
        without=("To", "Subject", "Date", "Message-ID")))
    for name in ("Subject", "To", "Date", "Message-ID"):
        value = dict(USUAL)[name]
        yield "two %s, the same" % name, message(fields((name, value)))
        yield "two %s, one empty" % name, message(fields((name, b"")))
        yield "three " + name, message(fields(
            (name, b" second"), first=((name, b" first"),)))
        yield "two %s in other case" % name, message(fields(
            (name.upper(), value + b" x"), (name.lower(), b"\ty")))
    for name in ("Cc", "Reply-To", "Sender", "References", "In-Reply-To",
                 "Resent-From", "List-Id", "Content-Type"):
        for count in (1, 2, 5):
            yield "%d of %s" % (count, name), message(fields(*(
                (name, b" <%d@example.com>" % i) for i in range(count))))
    hops = [("Received", b" from h%d.example.net (h%d [192.0.2.%d])\r\n"
             b"\tby mx.example.com with ESMTP id %d;\r\n"
             b"\tSat, 21 Nov 2026 20:00:%02d +0000" % (i, i, i, i, i))
            for i in range(30)]
    yield "thirty hops", message(fields(first=hops))
    yield "trace and resent blocks", message(fields(first=hops[:2] + [
        ("Return-Path", b" <alice@example.com>"),
        ("Delivered-To", b" bob@example.net"),
        ("Resent-From", b" Carol <carol@example.net>"),
        ("Resent-To", b" dave@example.net"),
        ("Resent-Date", b" Sat, 21 Nov 2026 21:00:00 +0000"),
        ("Resent-Message-ID", b" <r@example.net>")] + hops[2:4]))


def large_headers():
    yield "500 fields", message(fields(*(
        ("X-%d" % i, b" %d" % i) for i in range(500))))
    yield "300 of To", message(fields(*(
        ("To", b" <u%d@example.net>" % i) for i in range(300)),
        without=("To",)))
    yield "200 of Comments", message(fields(*(
        ("Comments", b" %d" % i) for i in range(200))))
    yield "a thousand recipients, folded", message(fields(
        ("Cc", b",".join(b"\r\n user%d@example.net" % i
                         for i in range(1000)))))
    yield "a line of 998", replaced("Subject", b"Subject: " + b"s" * 989)
    yield "a field of 8 KiB in one line", replaced(
        "Subject", b"Subject: " + b"word " * 1638 + b"end")
    yield "a field of 60 KiB, folded", message(fields(
        ("References", b"".join(b"\r\n <%040d@example.com>" % i
                                for i in range(1000)))))
    yield "a name of 500", message(fields(b"X-" + b"n" * 498 + b": v\r\n"))
    yield "a run of 2000 spaces", replaced(
        "Subject", b"Subject: a" + b" " * 2000 + b"b")
    yield "300 folds", replaced(
        "Subject", b"Subject: a" + b"\r\n b" * 300)


def encodings():
    words = {
        "UTF-8": "Grüße, καλημέρα, 日本語 🙂".encode(),
        "Latin-1": b"Gr\xfc\xdfe",
        "encoded word, Q": b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=",
        "encoded word, B": b"=?UTF-8?B?R3LDvMOfZQ==?=",
        "encoded words, folded": b"=?utf-8?q?one?=\r\n =?utf-8?q?_two?=",
        "no-break space": "a\u00a0b \u00a0 c\u00a0".encode(),
        "next line, C1": "a\u0085b\u0085".encode(),
        "line separator": "a\u2028b\u2029".encode(),
        "Latin-1 no-break space": b"a\xa0b\xa0",
        "vertical tab": b"a\x0bb \x0b c\x0b",
        "form feed": b"a\x0cb \x0c c\x0c",
        "separators": b"a\x1c\x1d\x1e\x1fb\x1f",
        "controls": bytes(range(1, 9)) + b"x\x7f",
        "byte order mark": b"\xef\xbb\xbfx",
        "overlong UTF-8": b"\xc0\xa0x\xc0\x8d",
        "every high byte": bytes(range(128, 256)),
    }
    for name, word in words.items():
        yield "Subject in " + name, replaced("Subject", b"Subject: " + word)
        yield "body in " + name, message(fields(), word + b"\r\n" +
                                         word.replace(b"\r\n", b"") + b" \r\n")
    yield "From in UTF-8", replaced(
        "From", "From: Älice Müller <alice@example.com>".encode())


FROMS = {
    "bare": b"alice@example.com",
    "angle alone": b"<alice@example.com>",
    "quoted name": b'"Alice, B. (x) <y@z.example>" <alice@example.com>',
    "quotes escaped": b'"A \\"B\\" \\\\ C" <alice@example.com>',
    "comment behind": b"alice@example.com (Alice)",
    "comments everywhere": b"(a) Alice (b) <(c) alice@example.com (d)> (e)",
    "comment nested": b"alice@example.com (a (b (c)) d)",
    "comment with an address": b"alice@example.com (<mallory@example.org>)",
    "name like an address": b'"mallory@example.org" <alice@example.com>',
    "group": b"Team: alice@example.com, carol@example.com;",
    "two authors": b"alice@example.com, Carol <carol@example.com>",
    "two authors, folded": b"alice@example.com,\r\n\tcarol@example.com",
    "local part quoted": b'"odd local"@example.com',
    "local part with an at": b'"a@b"@example.com',
    "local part empty string": b'""@example.com',
    "local part with signs": b"a!#$%&'*+-/=?^_`{|}~@example.com",
    "local part in UTF-8": "jürgen@example.com".encode(),
    "domain in capitals": b"alice@EXAMPLE.Com",
    "spaces in the address": b"alice @ example . com",
    "route": b"<@hop.example.net:alice@example.com>",
    "folded inside": b"Alice\r\n <\r\n\talice@example.com\r\n >",
    "encoded name": b"=?utf-8?q?=C3=84lice?= <alice@example.com>",
    "name of dots": b"A. B. Alice <alice@example.com>",
    "IDN as A-label": b"alice@xn--bcher-kva.example",
    "IDN as U-label": "alice@b\u00fccher.example".encode(),
    "IDN in capitals": b"alice@XN--BCHER-KVA.Example",
    "trailing comma": b"alice@example.com,",
}


def authors():
    for name, value in FROMS.items():
        yield "author: " + name, replaced("From", b"From: " + value)


BODIES = {
    "nothing": b"",
    "one CRLF": b"\r\n",
    "two CRLF": b"\r\n\r\n",
    "nine CRLF": b"\r\n" * 9,
    "a space": b" ",
    "a tab": b"\t",
    "space CRLF": b" \r\n",
    "CRLF space": b"\r\n ",
    "blank lines of spaces": b" \r\n\t\r\n  \t \r\n",
    "one byte": b"x",
    "one byte CRLF": b"x\r\n",
    "a dot": b".",
    "a dot CRLF": b".\r\n",
    "dots": b".\r\n..\r\n...\r\n. x\r\n.x\r\n",
    "dot between blank lines": b"\r\n.\r\n\r\n.\r\n\r\n",
    "dot at the end": b"x\r\n.\r\n",
    "no last CRLF": b"one\r\ntwo",
    "space for the last line": b"one\r\n ",
    "space before no CRLF": b"one\r\ntwo ",
    "blank lines at the end": b"one\r\n\r\n\r\n",
    "spaces, then blank lines": b"one \t\r\n\r\n\r\n",
    "blank lines with spaces": b"one\r\n \r\n\t\r\n",
    "blank lines, space last": b"one\r\n\r\n\r\n ",
    "blank, space, text": b"one\r\n\r\n \r\n\r\n two\r\n",
    "blank lines in front": b"\r\n\r\n\r\none\r\n",
    "space lines in front": b" \r\n\t\r\none\r\n",
    "From at the start": b"From here\r\n>From there\r\nFrom \r\n",
    "a header": b"From: mallory@example.org\r\nSubject: x\r\n\r\nx\r\n",
    "a signature": b"DKIM-Signature: v=1; d=example.com; b=\r\n\r\nx\r\n",
    "signature separator": b"text\r\n-- \r\nAlice\r\n",
    "flowed": b"one \r\ntwo \r\n three\r\n> quoted \r\n>> deeper \r\n",
    "uuencoded": b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n",
    "PGP armour": b"-----BEGIN PGP MESSAGE-----\r\n\r\nabcd \r\n=wxyz\r\n"
                  b"-----END PGP MESSAGE-----\r\n",
    "line of 998": b"x" * 998 + b"\r\n",
    "line of 998 in words": b"word " * 199 + b"end\r\n",
    "line of 998 of tabs": b"x" + b"\t" * 996 + b"y\r\n",
    "line of 998 blanks": b" " * 998 + b"\r\nx\r\n",
    "every byte": bytes(b for b in range(1, 256) if b not in (10, 13)) +
                  b"\r\n",
    "high bytes": bytes(range(128, 256)) * 5 + b"\r\n",
    "quoted-printable": b"=C3=BC=20=\r\n soft =\r\nend=09\r\n=2E\r\n",
    "base64": b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n" * 30,
}


def bodies():
    for name, body in BODIES.items():
        yield "body: " + name, message(fields(), body)
    yield "no blank line behind the header", fields()
    # Every line of white space and text, each way round.
    lines = [start + b"a" + middle + b"b" + end
             for start in (b"", b" ", b"\t", b" \t ")
             for middle in (b" ", b"\t", b"  ", b" \t", b"\t ")
             for end in (b"", b" ", b"\t", b" \t ")]
    yield "white space in every place", message(
        fields(), b"\r\n".join(lines) + b"\r\n")
    for start in (b"x", b"x ", b" ", b""):
        for number, end in enumerate((
                b"\r\n \r\n", b"\r\n \t", b" \r\n\r\n", b"\t\r\n \r\n\r\n",
                b"\r\n\r\n x", b"\r\n \r\n.\r\n")):
            yield "end %d behind %r" % (number, start.decode()), message(
                fields(), b"first\r\n" + start + end)


# What stands where a buffer ends.
EDGES = {
    "text": (b"x", b"y"),
    "CRLF": (b"\r", b"\nx"),
    "space and text": (b" ", b"x"),
    "space and CRLF": (b" ", b"\r\nx"),
    "two spaces": (b" ", b"  x"),
    "blank lines": (b"\r\n\r\n\r", b"\n\r\n\r\nx"),
    "the end": (b"x", b""),
    "the end in blank lines": (b"\r\n\r\n\r", b"\n\r\n"),
}


def padded(length):
    line = b"the quick  brown fox\tjumps over the lazy dog 0123456789\r\n"
    return (line * (length // len(line) + 1))[:length].rstrip(b"\r\n ") \
        .ljust(length, b"p")


def edges():
    for size in (1024, 4096, 8192, 16384, 65536):
        for name, (before, behind) in EDGES.items():
            body = padded(size - len(before)) + before + behind
            assert len(body) == size + len(behind)
            yield "body edge at %d: %s" % (size, name), message(
                fields(), body)
    for size in (4095, 4097, 16383, 65535, 65537, 262144):
        yield "body of %d" % size, message(
            fields(), padded(size - 2) + b"\r\n")
    # The same counted from the start of the message.
    for size in (4096, 16384, 65536):
        header = fields()
        yield "message of %d" % size, message(
            header, padded(size - len(header) - 4) + b"\r\n")
        room = size - len(header) - len(b"Keywords: \r\n\r\n")
        yield "header of %d" % size, message(
            fields(b"Keywords: " +
                   b"\r\n ".join([b"k" * 60] * 2000)[:room].rstrip(b"\r\n ")
                   .ljust(room, b"e") + b"\r\n"))
    yield "body of 1 MiB and one", message(
        fields(), padded((1 << 20) - 1) + b"\r\n")
    yield "70000 blank lines, then text", message(
        fields(), b"\r\n" * 70000 + b"x\r\n")
    yield "70000 blank lines at the end", message(
        fields(), b"x" + b"\r\n" * 70000)


def part(kind, body, *more):
    return b"Content-Type: " + kind + b"\r\n" + \
        b"".join(line + b"\r\n" for line in more) + b"\r\n" + body


def multipart(boundary, *parts, preamble=b"", epilogue=b""):
    return preamble + b"".join(
        b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts) + \
        b"--" + boundary + b"--\r\n" + epilogue


PLAIN = part(b"text/plain; charset=utf-8", "Grüße\r\n".encode())
HTML = part(b"text/html; charset=us-ascii", b"<p>x</p>" * 100 + b"\r\n")
FILE = part(b"application/octet-stream; name=\"a b.bin\"",
            b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJz\r\n"
            * 20, b"Content-Transfer-Encoding: base64",
            b"Content-Disposition: attachment; filename=\"a b.bin\"")
QUOTED = part(b"text/plain", b"=FC =\r\nx=20\r\n",
              b"Content-Transfer-Encoding: quoted-printable")
CALENDAR = part(b"text/calendar; method=REQUEST; charset=utf-8",
                b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\n"
                b"BEGIN:VEVENT\r\nUID:1@example.com\r\n"
                b"ORGANIZER:mailto:alice@example.com\r\n"
                b"DESCRIPTION:a line that is\r\n  folded with its space \r\n"
                b"END:VEVENT\r\nEND:VCALENDAR\r\n")
STATUS = part(b"message/delivery-status",
              b"Reporting-MTA: dns; mx.example.com\r\n\r\n"
              b"Final-Recipient: rfc822; bob@example.net\r\n"
              b"Action: failed\r\nStatus: 5.1.1\r\n")
INNER = part(b"message/rfc822", message(
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from;\r\n"
    b" bh=AAAA; b=BBBB\r\n" + fields()))


def mime_message(kind, body, *more):
    return message(fields(("MIME-Version", b" 1.0"),
                          ("Content-Type", b" " + kind), *more), body)


def mime():
    nested = multipart(b"i", PLAIN, HTML)
    shapes = {
        "alternative": (b"multipart/alternative;\r\n boundary=\"b\"",
                        multipart(b"b", PLAIN, HTML)),
        "mixed, nested": (
            b"multipart/mixed; boundary=o",
            multipart(b"o", part(b"multipart/alternative; boundary=i", nested),
                      FILE, QUOTED, preamble=b"For old programs. \r\n\r\n",
                      epilogue=b"\r\n\r\n")),
        "related": (b"multipart/related; boundary=\"=_r\"; type=\"text/html\"",
                    multipart(b"=_r", HTML, FILE)),
        "no last boundary": (b"multipart/mixed; boundary=b",
                             b"--b\r\n" + PLAIN),
        "boundary with spaces behind": (
            b"multipart/mixed; boundary=b", multipart(b"b \t", PLAIN, QUOTED)),
        "invitation": (b"multipart/alternative; boundary=c",
                       multipart(b"c", PLAIN, CALENDAR)),
        "bounce": (b"multipart/report; report-type=delivery-status;\r\n"
                   b"\tboundary=\"r/1\"",
                   multipart(b"r/1", PLAIN, STATUS, INNER)),
        "disposition notification": (
            b"multipart/report; report-type=disposition-notification;"
            b" boundary=n",
            multipart(b"n", PLAIN, part(
                b"message/disposition-notification",
                b"Disposition: manual-action/MDN-sent; displayed\r\n"))),
        "digest": (b"multipart/digest; boundary=d",
                   multipart(b"d", b"\r\n" + message(fields()),
                             b"\r\n" + message(fields()))),
        "forwarded": (b"multipart/mixed; boundary=f",
                      multipart(b"f", PLAIN, INNER)),
        "signed": (b"multipart/signed; micalg=pgp-sha256; boundary=s;\r\n"
                   b" protocol=\"application/pgp-signature\"",
                   multipart(b"s", QUOTED, part(
                       b"application/pgp-signature", b"xxxx\r\n"))),
        "encrypted": (b"application/pkcs7-mime; smime-type=enveloped-data",
                      b"MIAGCSqGSIb3DQEHA6CAMIACAQAxggFh\r\n" * 40),
        "partial": (b"message/partial; id=\"x@y\"; number=1; total=2", TEXT),
        "calendar alone": (b"text/calendar; method=CANCEL",
                           CALENDAR.partition(b"\r\n\r\n")[2]),
        "flowed, delsp": (b"text/plain; format=flowed; delsp=yes",
                          b"one \r\ntwo  \r\n\r\nthree\r\n"),
    }
    for name, (kind, body) in shapes.items():
        yield "MIME: " + name, mime_message(kind, body)
    for encoding in (b"7bit", b"8bit", b"base64", b"quoted-printable",
                     b"binary", b"x-odd", b"QUOTED-printable "):
        yield "MIME: encoding %s" % encoding.decode().strip(), mime_message(
            b"text/plain", TEXT,
            ("Content-Transfer-Encoding", b" " + encoding))


def lists_and_foreign():
    yield "mailing list", message(fields(
        ("Sender", b" list-bounces@example.com"),
        ("Reply-To", b" list@example.com"),
        ("Precedence", b" list"),
        ("List-Id", b" A list <list.example.com>"),
        ("List-Help", b" <mailto:list-request@example.com?subject=help>"),
        ("List-Subscribe", b" <https://example.com/s>,\r\n"
         b"\t<mailto:list-join@example.com>"),
        ("List-Unsubscribe", b" <https://example.com/u?x=1>"),
        ("List-Unsubscribe-Post", b" List-Unsubscribe=One-Click"),
        ("List-Post", b" <mailto:list@example.com>"),
        ("List-Owner", b" <mailto:owner@example.com>"),
        ("List-Archive", b" <https://example.com/a>")),
        TEXT + b"_____________\r\nlist mailing list\r\n")
    foreign = ("DKIM-Signature",
               b" v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.edu;\r\n"
               b" s=none; h=from:to; bh=AAAA; b=BBBB")
    for count in (1, 2, 9):
        yield "%d foreign signatures" % count, message(
            fields(first=[foreign] * count))
    yield "a signature at the bottom", message(fields(foreign))
    yield "a signature that cannot be read", message(
        fields(first=[("DKIM-Signature", b" what is this")]))
    yield "seals of others", message(fields(first=[
        ("ARC-Seal", b" i=1; a=rsa-sha256; t=1; cv=none; d=example.edu;\r\n"
         b" s=none; b=AAAA"),
        ("ARC-Message-Signature", b" i=1; a=rsa-sha256; d=example.edu; s=x;\r\n"
         b" h=from; bh=AAAA; b=AAAA"),
        ("ARC-Authentication-Results", b" i=1; mx.example.edu; dkim=pass"),
        ("Authentication-Results", b" mx.example.edu;\r\n\tdkim=pass"),
        ("Received-SPF", b" pass (mx.example.edu)"),
        ("DomainKey-Signature", b" a=rsa-sha1; d=example.edu; b=AAAA"),
        ("X-Google-DKIM-Signature", b" v=1; d=example.edu; b=AAAA")]))
    yield "what a bulk sender writes", message(fields(
        ("Feedback-ID", b" 1:campaign:example"),
        ("X-Mailer", b" a mailer  1.0"),
        ("X-Report-Abuse", b" see https://example.com/abuse"),
        ("Auto-Submitted", b" auto-generated"),
        ("X-MSMail-Priority", b" Normal"),
        ("Importance", b"\thigh"),
        ("Disposition-Notification-To", b" alice@example.com"),
        ("Autocrypt", b" addr=alice@example.com; keydata=\r\n " +
         b"\r\n ".join([b"A" * 70] * 20))))


def chance(count=60):
    """From a fixed seed: what nobody thought of."""
    dice = random.Random(6376)
    values = (b"one", b"two", b" ", b"\t", b"\r\n ", b"\r\n\t", b":", b";",
              b"\xfc", "ü".encode(), b"=", b"<a@example.net>", b"  ")
    pieces = (b"x", b"word", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b".",
              b"\xe9", "é".encode(), b"\x0b", b"=20", b"\r\n.\r\n", b" \r\n")
    names = ("Subject", "To", "Cc", "Reply-To", "Comments", "X-Chance",
             "References", "Keywords", "In-Reply-To")

    def some(alphabet, most):
        return b"".join(alphabet[dice.randrange(len(alphabet))]
                        for _ in range(dice.randrange(most)))

    for number in range(count):
        rows = [(names[dice.randrange(len(names))], some(values, 12))
                for _ in range(dice.randrange(9))]
        yield "chance %d" % number, message(
            fields(*rows, without=("Subject",) if number % 2 else ()),
            some(pieces, 300 if number % 5 == 0 else 40))


FAMILIES = (layouts, absent_and_repeated, large_headers, encodings, authors,
            bodies, edges, mime, lists_and_foreign, chance)


def build():
    messages = {}
    for family in FAMILIES:
        for name, content in family():
            assert name not in messages, name
            messages[name] = content
    return messages
