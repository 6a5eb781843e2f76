"""Awkward messages: {name: bytes}, CRLF unless the name says otherwise.

Each is legal enough to be signed, or common enough to have to be.
"""

USUAL = (b"From: Alice <alice@example.com>\r\n"
         b"To: Bob <bob@example.net>\r\n"
         b"Subject: awkward\r\n"
         b"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\n"
         b"Message-ID: <awkward@example.com>\r\n")


def body(data):
    return USUAL + b"\r\n" + data


def header(data, rest=b"\r\nbody\r\n"):
    return USUAL + data + rest


MESSAGES = {
    "plain": body(b"Hello.\r\n"),
    "empty body": body(b""),
    "header only, no blank line": USUAL,
    "body of one CRLF": body(b"\r\n"),
    "body of blank lines": body(b"\r\n" * 9),
    "body of spaces": body(b"   \r\n"),
    "body of blank-looking lines": body(b" \r\n\t\r\n \t \r\n"),
    "no final newline": body(b"no newline at the end"),
    "trailing blank lines": body(b"text\r\n\r\n\r\n\r\n"),
    "trailing spaces on lines": body(b"text   \r\nmore\t\r\n\t \r\n"),
    "runs of spaces and tabs": body(b"a  b\t\tc \t d\r\n  lead\r\n\tlead\r\n"),
    "trailing space before the end": body(b"text\r\n \r\n"),
    "leading blank lines": body(b"\r\n\r\ntext\r\n"),
    "lines of dots": body(b".\r\n..\r\n...\r\n.text\r\n"),
    "last line is a dot": body(b"text\r\n.\r\n"),
    "looks like a header": body(b"From: mallory@example.net\r\n\r\nx\r\n"),
    "From at line start": body(b"From here on\r\nFrom there\r\n"),
    "8-bit body": body("Grüße, καλημέρα, 日本語\r\n".encode()),
    "latin-1 body": body(b"Gr\xfc\xdfe\r\n"),
    "every byte but NUL CR LF": body(
        bytes(b for b in range(1, 256) if b not in (10, 13)) + b"\r\n"),
    "body over 64 KiB": body(b"0123456789abcde\r\n" * 5000),
    "line of 998": body(b"x" * 998 + b"\r\n"),
    "line of 998 with spaces": body(b"x " * 499 + b"\r\n"),
    "many empty lines inside": body(b"a\r\n" + b"\r\n" * 500 + b"b\r\n"),
    "spaces then text after blanks": body(b"a\r\n\r\n \r\n\r\n b\r\n"),
    "folded subject": USUAL.replace(
        b"Subject: awkward", b"Subject: one\r\n two\r\n\tthree") + b"\r\nx\r\n",
    "folded with only a blank": USUAL.replace(
        b"Subject: awkward", b"Subject:\r\n awkward") + b"\r\nx\r\n",
    "folded From": USUAL.replace(
        b"From: Alice <alice@example.com>",
        b"From: Alice\r\n <alice@example.com>") + b"\r\nx\r\n",
    "no space after colon": USUAL.replace(b": ", b":") + b"\r\nx\r\n",
    "much space after colon": USUAL.replace(b": ", b": \t  ") + b"\r\nx\r\n",
    "space at end of fields": USUAL.replace(b"\r\n", b" \t\r\n") + b"\r\nx\r\n",
    "field names in capitals": USUAL.replace(
        b"From:", b"FROM:").replace(b"Subject:", b"sUBJECT:") + b"\r\nx\r\n",
    "empty field": header(b"Reply-To:\r\n"),
    "empty subject": USUAL.replace(b"Subject: awkward", b"Subject:")
    + b"\r\nx\r\n",
    "8-bit subject": USUAL.replace(
        b"awkward", "Grüße".encode()) + b"\r\nx\r\n",
    "latin-1 subject": USUAL.replace(b"awkward", b"Gr\xfc\xdfe") + b"\r\nx\r\n",
    "encoded word": USUAL.replace(
        b"awkward", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=") + b"\r\nx\r\n",
    "colons in values": header(b"Cc: a:b;, \"x:y\" <x@example.net>\r\n"),
    "two Subject": header(b"Subject: second\r\n"),
    "two To": header(b"To: carol@example.net\r\n"),
    "several Received": b"".join(
        b"Received: from host%d by mx.example.com; "
        b"Sat, 21 Nov 2026 20:00:00 +0000\r\n" % i for i in range(30))
    + body(b"x\r\n"),
    "long To, folded": header(b"Cc: " + b",\r\n ".join(
        b"user%d@example.net" % i for i in range(200)) + b"\r\n"),
    "header line of 900": header(b"X-Long: " + b"y" * 890 + b"\r\n"),
    "500 fields": header(b"".join(
        b"X-Field-%d: value %d\r\n" % (i, i) for i in range(500))),
    "mailing list": header(
        b"List-Id: <list.example.com>\r\n"
        b"List-Unsubscribe: <https://example.com/u>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        b"Reply-To: list@example.com\r\nSender: list@example.com\r\n"),
    "mime": USUAL + (
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: multipart/alternative;\r\n\tboundary=\"b\"\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
        b"--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--b--\r\n"),
    "foreign signature": (
        b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;"
        b" d=example.edu;\r\n s=none; h=from:to; bh=AAAA; b=BBBB\r\n"
    ) + body(b"x\r\n"),
    "quoted local part": USUAL.replace(
        b"Alice <alice@example.com>",
        b'"a, b @ c" <"odd local"@example.com>') + b"\r\nx\r\n",
    "comment in From": USUAL.replace(
        b"Alice <alice@example.com>",
        b"alice@example.com (Alice <x@example.org>)") + b"\r\nx\r\n",
    "domain in capitals": USUAL.replace(
        b"alice@example.com", b"alice@EXAMPLE.COM") + b"\r\nx\r\n",
    "bare LF for newlines": body(b"one\r\ntwo\r\n").replace(b"\r\n", b"\n"),
}
