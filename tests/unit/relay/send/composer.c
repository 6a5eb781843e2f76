#include "relay/send/composer.h"

#include <criterion/criterion.h>

#define HEADER                                                                 \
	"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"                            \
	"From: alice@example.com\r\n"                                          \
	"To: bob@example.net\r\n"                                              \
	"Subject: hello\r\n"                                                   \
	"Message-ID: <ID0@relay.example.com>\r\n"                              \
	"MIME-Version: 1.0\r\n"
#define PLAIN                                                                  \
	"Content-Type: text/plain; charset=us-ascii\r\n"                       \
	"Content-Transfer-Encoding: 7bit\r\n\r\n"
#define RICH                                                                   \
	"Content-Type: text/html; charset=utf-8\r\n"                           \
	"Content-Transfer-Encoding: quoted-printable\r\n\r\n"

static struct composition
usual(void)
{
	setenv("TZ", "UTC", 1);
	return (struct composition){
		.from = SLICE("alice@example.com"),
		.to = SLICE("bob@example.net"),
		.subject = SLICE("hello"),
		.wall_ms = 1795348800000,
		.message_id = SLICE("ID0@relay.example.com"),
	};
}

static void
expect(const struct composition *composition, const char *whole,
       const char *what)
{
	CLEAN(text_done) struct text out = {0};
	struct fault fault = {0};
	size_t header_len = 0;

	cr_assert(compose(composition, &out, &header_len, &fault), "%s: %s",
		  what, fault.text);
	cr_expect_str_eq(text_string(&out), whole, "%s", what);
	cr_expect_eq(header_len,
		     (size_t)(strstr(whole, "\r\n\r\n") + 4 - whole), "%s",
		     what);
}

Test(composer, nothing_to_read)
{
	struct composition composition = usual();

	expect(&composition, HEADER PLAIN, "no text");
}

Test(composer, text)
{
	struct composition composition = usual();

	composition.has_text = true;
	composition.text = SLICE("one\ntwo\r\nthree");
	expect(&composition, HEADER PLAIN "one\r\ntwo\r\nthree\r\n", "text");
}

Test(composer, all_of_it)
{
	static const struct attachment attachments[] = {
		{SLICE_LITERAL("a.pdf"), SLICE_LITERAL("%PDF")},
		{SLICE_LITERAL("b.txt"), SLICE_LITERAL("\xff")},
		{SLICE_LITERAL("\xc3\xbc"), SLICE_LITERAL("")},
	};
	struct composition composition = usual();

	composition.cc = SLICE("carol@example.net");
	composition.has_text = composition.has_html = true;
	composition.text = SLICE("x\n");
	composition.html = SLICE("<p>a very long word: \xc3\xbc</p>\n");
	composition.attachments = attachments;
	composition.attachments_count = COUNT(attachments);
	expect(&composition,
	       "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
	       "From: alice@example.com\r\n"
	       "To: bob@example.net\r\n"
	       "Cc: carol@example.net\r\n"
	       "Subject: hello\r\n"
	       "Message-ID: <ID0@relay.example.com>\r\n"
	       "MIME-Version: 1.0\r\n"
	       "Content-Type: multipart/mixed;\r\n"
	       " boundary=\"=_ID0_m\"\r\n\r\n"
	       "\r\n--=_ID0_m\r\n"
	       "Content-Type: multipart/alternative;\r\n"
	       " boundary=\"=_ID0_a\"\r\n\r\n"
	       "\r\n--=_ID0_a\r\n" PLAIN "x\r\n"
	       "\r\n--=_ID0_a\r\n" RICH
	       "<p>a very long word: =C3=BC</p>\r\n"
	       "\r\n--=_ID0_a--\r\n"
	       "\r\n--=_ID0_m\r\n"
	       "Content-Type: application/pdf\r\n"
	       "Content-Disposition: attachment;\r\n filename=\"a.pdf\"\r\n"
	       "Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n"
	       "\r\n--=_ID0_m\r\n"
	       "Content-Type: application/octet-stream\r\n"
	       "Content-Disposition: attachment;\r\n filename=\"b.txt\"\r\n"
	       "Content-Transfer-Encoding: base64\r\n\r\n/w==\r\n"
	       "\r\n--=_ID0_m\r\n"
	       "Content-Type: application/octet-stream\r\n"
	       "Content-Disposition: attachment;\r\n"
	       " filename*0*=utf-8''%C3%BC\r\n"
	       "Content-Transfer-Encoding: base64\r\n\r\n"
	       "\r\n--=_ID0_m--\r\n",
	       "all");
}

Test(composer, text_that_is_not_utf8)
{
	struct composition composition = usual();
	CLEAN(text_done) struct text out = {0};
	struct fault fault = {0};
	size_t header_len;

	composition.has_html = true;
	composition.html = SLICE("caf\xe9");
	cr_expect_not(compose(&composition, &out, &header_len, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT);
	cr_expect_not_null(strstr(fault.text, "HTML: "), "%s", fault.text);
}
