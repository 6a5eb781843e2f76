#include <criterion/criterion.h>

#include "relay/net/reply.h"

static const struct {
	const char *name;
	struct reply reply;
	const char *extra, *written;
} write_rows[] = {
	{"plain", {250, "2.0.0", "Ok"}, "", "250 2.0.0 Ok\r\n"},
	{"without a status", {354, NULL, "Go"}, "", "354 Go\r\n"},
	{"with more behind", {250, "2.0.0", "Ok: queued as "}, "X1",
	 "250 2.0.0 Ok: queued as X1\r\n"},
	{"two lines", {550, "5.7.1", "No.\nNever."}, "",
	 "550-5.7.1 No.\r\n550 5.7.1 Never.\r\n"},
	{"all from behind", {250, NULL, ""}, "host\nSIZE 1\nPIPELINING",
	 "250-host\r\n250-SIZE 1\r\n250 PIPELINING\r\n"},
	{"no text at all", {250, NULL, ""}, "", "250 \r\n"},
	{"control characters cannot make a line", {550, "5.1.1", "<"},
	 "a\r250 b\tc\x7f-\xc3>", "550 5.1.1 <a?250 b?c?-?>\r\n"},
};

Test(reply, write)
{
	for (size_t i = 0; i < COUNT(write_rows); i++) {
		CLEAN(text_done) struct text out = {0};

		reply_write(&out, &write_rows[i].reply,
			    SLICE(write_rows[i].extra));
		cr_expect_str_eq(text_string(&out), write_rows[i].written,
				 "%s", write_rows[i].name);
	}
}

Test(reply, no_line_is_longer_than_512)
{
	CLEAN(text_done) struct text out = {0};
	struct reply reply = {550, "5.1.1", "x"};
	struct slice rest, line;
	char extra[1200];
	size_t lines = 0, octets = 0;

	memset(extra, 'y', sizeof(extra));
	reply_write(&out, &reply, slice_of(extra, sizeof(extra)));
	rest = text_slice(&out);
	while (slice_split(&rest, '\n', &line)) {
		lines++;
		cr_expect_leq(line.len + 1, 512);
		cr_expect_eq(line.bytes[3], lines == 3 ? ' ' : '-');
		octets += line.len - sizeof("550 5.1.1 ") + 1 - 1;
	}
	cr_expect_eq(lines, 3);
	cr_expect_eq(octets, 1201);
}

static const struct {
	const char *name, *input;
	enum reply_status status;
	unsigned code;
	const char *text, *reply_status, *rest;
} read_rows[] = {
	{"one line", "250 2.0.0 Ok\r\n", REPLY_COMPLETE, 250, "2.0.0 Ok",
	 "2.0.0", ""},
	{"code alone", "250\r\n", REPLY_COMPLETE, 250, "", "", ""},
	{"bare LF is taken", "220 hi\n", REPLY_COMPLETE, 220, "hi", "", ""},
	{"first of two", "250 a\r\n354 b\r\n", REPLY_COMPLETE, 250, "a", "",
	 "354 b\r\n"},
	{"lines", "250-a\r\n250-b\r\n250 c\r\n", REPLY_COMPLETE, 250,
	 "a\nb\nc", "", ""},
	{"a last line without text", "250-a\r\n250\r\n", REPLY_COMPLETE, 250,
	 "a\n", "", ""},
	{"not yet", "250-a\r\n250", REPLY_MORE, 0, "", "", "250"},
	{"nothing", "", REPLY_MORE, 0, "", "", ""},
	{"status of another class", "550 4.1.1 x\r\n", REPLY_COMPLETE, 550,
	 "4.1.1 x", "", ""},
	{"three digits", "550 5.123.456 x\r\n", REPLY_COMPLETE, 550,
	 "5.123.456 x", "5.123.456", ""},
	{"four digits", "550 5.1234.1 x\r\n", REPLY_COMPLETE, 550,
	 "5.1234.1 x", "", ""},
	{"an address is no status", "550 5.1.1.1 x\r\n", REPLY_COMPLETE, 550,
	 "5.1.1.1 x", "", ""},
	{"status alone", "550 5.1.1\r\n", REPLY_COMPLETE, 550, "5.1.1",
	 "5.1.1", ""},
	{"made printable", "550 a\tb\x1b[1m\xc3\r\n", REPLY_COMPLETE, 550,
	 "a?b?[1m?", "", ""},
	{"codes differ", "250-a\r\n251 b\r\n", REPLY_BROKEN, 0, "", "", ""},
	{"class 1", "100 a\r\n", REPLY_BROKEN, 0, "", "", ""},
	{"class 6", "600 a\r\n", REPLY_BROKEN, 0, "", "", ""},
	{"no code", "hello\r\n", REPLY_BROKEN, 0, "", "", ""},
	{"two digits", "25 a\r\n", REPLY_BROKEN, 0, "", "", ""},
	{"wrong sign", "250+a\r\n", REPLY_BROKEN, 0, "", "", ""},
	{"empty line", "\r\n", REPLY_BROKEN, 0, "", "", ""},
};

Test(reply, read)
{
	for (size_t i = 0; i < COUNT(read_rows); i++) {
		CLEAN(reply_reader_done) struct reply_reader reader = {0};
		struct slice input = SLICE(read_rows[i].input);
		struct reply_in reply = {0};
		size_t used;
		enum reply_status status;

		status = reply_read(&reader, input, &used, &reply);
		cr_expect_eq(status, read_rows[i].status, "%s: status",
			     read_rows[i].name);
		if (status != REPLY_BROKEN)
			cr_expect(slice_eq(slice_from(input, used),
					   SLICE(read_rows[i].rest)),
				  "%s: rest", read_rows[i].name);
		if (status != REPLY_COMPLETE)
			continue;
		cr_expect_eq(reply.code, read_rows[i].code);
		cr_expect(slice_eq(reply.text, SLICE(read_rows[i].text)),
			  "%s: text '%.*s'", read_rows[i].name,
			  SLICE_ARG(reply.text));
		cr_expect(slice_eq(reply.status,
				   SLICE(read_rows[i].reply_status)),
			  "%s: code '%.*s'", read_rows[i].name,
			  SLICE_ARG(reply.status));
	}
}

static const struct {
	const char *name, *input;
	unsigned code; /* 0: there is none */
	const char *text;
} begun_rows[] = {
	{"nothing", "", 0, ""},
	{"perhaps a code", "250", 0, ""},
	{"a code that is whole", "250 ", 250, ""},
	{"nothing but blanks", " \r\n", 0, ""},
	{"a line without its end", "250 2.0.0 Ok: que", 250, "2.0.0 Ok: que"},
	{"no line of a reply", "hello", 0, ""},
	{"nor what follows it", "hello\r\n250 ok", 0, ""},
	{"a line that is none, with a code", "250ok\r\n250 b\r\n", 250, "ok"},
	{"and behind a space", " 250:ok\r\n", 250, ":ok"},
	{"and behind an empty line", "\r\n550 no\r\n", 550, "no"},
	{"but not with digits behind it", "2500 ok\r\n", 0, ""},
	{"the last line is missing", "250-a\r\n", 250, "a"},
	{"or is cut", "250-a\r\n250 b", 250, "a"},
	{"or is none", "250-a\r\nb\r\n", 250, "a"},
	{"or has another code", "250-a\r\n550 b\r\n", 550, "a\nb"},
	{"or has a lower one", "550-a\r\n250 b\r\n", 550, "a\nb"},
	{"all is well", "250 a\r\n", 0, ""},
	{"and nothing has come of the next", "250-a\r\n250 b\r\n", 0, ""},
};

Test(reply, begun)
{
	for (size_t i = 0; i < COUNT(begun_rows); i++) {
		CLEAN(reply_reader_done) struct reply_reader reader = {0};
		struct slice input = SLICE(begun_rows[i].input);
		struct reply_in reply = {0};
		size_t used = 0;

		if (reply_read(&reader, input, &used, &reply) == REPLY_BROKEN)
			used = 0;
		cr_expect_eq(reply_read_begun(&reader, slice_from(input, used),
					      &reply),
			     begun_rows[i].code != 0, "%s", begun_rows[i].name);
		if (begun_rows[i].code == 0)
			continue;
		cr_expect_eq(reply.code, begun_rows[i].code, "%s: %u",
			     begun_rows[i].name, reply.code);
		cr_expect(slice_eq(reply.text, SLICE(begun_rows[i].text)),
			  "%s: text '%.*s'", begun_rows[i].name,
			  SLICE_ARG(reply.text));
	}
}

Test(reply, cut_anywhere)
{
	const char *whole = "250-one\r\n250-two\r\n250 three\r\n";

	for (size_t cut = 0; cut < strlen(whole); cut++) {
		CLEAN(reply_reader_done) struct reply_reader reader = {0};
		struct reply_in reply = {0};
		size_t used;

		cr_expect_eq(reply_read(&reader, slice_of(whole, cut), &used,
					&reply), REPLY_MORE);
		cr_expect_eq(reply_read(&reader, SLICE(whole + used), &used,
					&reply), REPLY_COMPLETE);
		cr_expect(slice_eq(reply.text, SLICE("one\ntwo\nthree")));
		/* The next one starts anew. */
		cr_expect_eq(reply_read(&reader, SLICE("354 go\r\n"), &used,
					&reply), REPLY_COMPLETE);
		cr_expect_eq(reply.code, 354);
		cr_expect(slice_eq(reply.text, SLICE("go")));
	}
}

Test(reply, bounds)
{
	CLEAN(text_done) struct text input = {0};
	CLEAN(reply_reader_done) struct reply_reader reader = {0};
	struct reply_in reply = {0};
	size_t used;

	text_add_string(&input, "250 ");
	while (input.len < REPLY_LINE_MAX)
		text_add_byte(&input, 'x');
	cr_expect_eq(reply_read(&reader, text_slice(&input), &used, &reply),
		     REPLY_BROKEN);

	text_clear(&input);
	for (size_t i = 0; i < REPLY_LINES_MAX + 1; i++)
		text_add_string(&input, "250-x\r\n");
	reply_reader_done(&reader);
	cr_expect_eq(reply_read(&reader, text_slice(&input), &used, &reply),
		     REPLY_BROKEN);

	text_clear(&input);
	for (size_t i = 0; i < 100; i++)
		text_addf(&input, "250%c%0200d\r\n", i < 99 ? '-' : ' ', 0);
	reply_reader_done(&reader);
	cr_expect_eq(reply_read(&reader, text_slice(&input), &used, &reply),
		     REPLY_COMPLETE);
	cr_expect_eq(reply.text.len, REPLY_TEXT_MAX);
}
