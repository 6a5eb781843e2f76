#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "milter/input.h"

/* An unlinked file with these bytes, as a path that can be opened. */
struct file {
	int descriptor;
	char path[64];
};

static void
file_make(struct file *file, struct slice bytes)
{
	char path[] = "/tmp/unit-input-XXXXXX";

	file->descriptor = mkstemp(path);
	cr_assert_geq(file->descriptor, 0);
	unlink(path);
	if (bytes.len > 0)
		cr_assert(input_write_bytes(file->descriptor, bytes, NULL));
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d",
		 file->descriptor);
}

static bool
file_read(const char *path, enum input_use use, struct text *got,
	  struct text *written, struct fault *fault)
{
	CLEAN(input_free_clean) struct input *input = NULL;
	struct file out;
	struct slice piece;
	char buffer[4096];
	ssize_t len;

	if (!input_open(path, use, &input, fault))
		return false;
	do {
		if (!input_read(input, &piece, fault))
			return false;
		text_add(got, piece);
	} while (piece.len > 0);
	if (use == INPUT_VERIFY)
		return true;
	file_make(&out, SLICE_NONE);
	cr_assert(input_write(input, out.descriptor, NULL));
	lseek(out.descriptor, 0, SEEK_SET);
	while ((len = read(out.descriptor, buffer, sizeof(buffer))) > 0)
		text_add(written, slice_of(buffer, (size_t)len));
	close(out.descriptor);
	return true;
}

static const struct {
	const char *name;
	struct slice input;
	const char *message; /* NULL: refused for signing */
	const char *fault;
	struct slice verified; /* where that is something else */
	const char *mended;    /* likewise */
} rows[] = {
	{"LF", SLICE_LITERAL("a\n\nb\n"), "a\r\n\r\nb\r\n", NULL},
	{"CRLF", SLICE_LITERAL("a\r\n\r\nb\r\n"), "a\r\n\r\nb\r\n", NULL},
	{"both", SLICE_LITERAL("a\n\r\nb\n\n"), "a\r\n\r\nb\r\n\r\n", NULL},
	{"no last line end", SLICE_LITERAL("a\nb"), "a\r\nb", NULL},
	{"nothing", SLICE_LITERAL(""), "", NULL},
	{"8-bit", SLICE_LITERAL("\xff\xfe\n"), "\xff\xfe\r\n", NULL},
	{"a mailbox's line", SLICE_LITERAL("From a@b Sat Nov 21 20:00:00\na: b\n"),
	 "a: b\r\n", NULL},
	{"one in CRLF", SLICE_LITERAL("From a  Sat Nov 21 20:00:00\r\n\r\nFrom b\n"),
	 "\r\nFrom b\r\n", NULL},
	{"nothing behind it", SLICE_LITERAL("From a\n"), "", NULL},
	{"quoted", SLICE_LITERAL(">From a@b Sat\na: b\n"), "a: b\r\n", NULL},
	{"a longer first line", SLICE_LITERAL("Fromage : a\nFrom b\n"),
	 "Fromage : a\r\nFrom b\r\n", NULL},
	{"From with a space", SLICE_LITERAL("From : a\nb: c\n"),
	 "From : a\r\nb: c\r\n", NULL},
	{"bare CR", SLICE_LITERAL("a\nb\rc\n"), NULL, ":2: a bare CR",
	 SLICE_LITERAL("a\r\nb\rc\r\n"), "a\r\nb c\r\n"},
	{"CR CR LF", SLICE_LITERAL("a\r\r\n"), NULL, ":1: a bare CR",
	 SLICE_LITERAL("a\r\r\n"), "a \r\n"},
	{"CR at the end", SLICE_LITERAL("a\n\r"), NULL, ":2: a bare CR",
	 SLICE_LITERAL("a\r\n\r"), "a\r\n "},
	{"NUL", SLICE_LITERAL("a\n\nb\0c\n"), NULL, ":3: a NUL",
	 SLICE_LITERAL("a\r\n\r\nb\0c\r\n"), "a\r\n\r\nb c\r\n"},
};

Test(input, lines)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text read = {0}, written = {0};
		struct fault fault = {0};
		struct file file;
		bool ok;

		file_make(&file, rows[i].input);
		ok = file_read(file.path, INPUT_SIGN, &read, &written, &fault);
		cr_expect_eq(ok, rows[i].message != NULL, "%s: %s",
			     rows[i].name, fault.text);
		if (rows[i].message != NULL) {
			cr_expect_str_eq(text_string(&read), rows[i].message,
					 "%s", rows[i].name);
			cr_expect_str_eq(text_string(&written),
					 rows[i].message, "%s", rows[i].name);
		} else {
			cr_expect_not_null(strstr(fault.text, rows[i].fault),
					   "%s: %s", rows[i].name, fault.text);
			cr_expect_eq(fault.kind, FAULT_INPUT);
		}
		close(file.descriptor);
	}
}

Test(input, verifying_takes_every_byte)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text read = {0};
		struct slice expected = rows[i].verified;
		struct fault fault = {0};
		struct file file;

		if (rows[i].message != NULL)
			expected = SLICE(rows[i].message);
		file_make(&file, rows[i].input);
		cr_expect(file_read(file.path, INPUT_VERIFY, &read, NULL,
				    &fault));
		cr_expect(slice_eq(text_slice(&read), expected), "%s",
			  rows[i].name);
		close(file.descriptor);
	}
}

/* As the relay takes it, which is what is asked about. */
Test(input, explaining_keeps_a_mailbox_s_line)
{
	CLEAN(text_done) struct text read = {0}, written = {0};
	struct fault fault = {0};
	struct file file;

	file_make(&file, SLICE("From a@b Sat\na: b\n"));
	cr_expect(file_read(file.path, INPUT_EXPLAIN, &read, &written, &fault));
	cr_expect_str_eq(text_string(&read), "From a@b Sat\r\na: b\r\n");
	cr_expect_str_eq(text_string(&written), text_string(&read));
	close(file.descriptor);
}

Test(input, submitting_mends)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text read = {0}, written = {0};
		const char *expected = rows[i].message != NULL
					       ? rows[i].message
					       : rows[i].mended;
		struct fault fault = {0};
		struct file file;

		file_make(&file, rows[i].input);
		cr_expect(file_read(file.path, INPUT_SUBMIT, &read, &written,
				    &fault));
		cr_expect_str_eq(text_string(&read), expected, "%s",
				 rows[i].name);
		cr_expect_str_eq(text_string(&written), expected, "%s",
				 rows[i].name);
		close(file.descriptor);
	}
}

/* Whatever read() gives at a time. */
Test(input, line_ends_in_pieces)
{
	static const char *const pieces[] = {"a\r", "\n\n", "b", "\r\nc\r",
					     "\n"};
	CLEAN(input_free_clean) struct input *input = NULL;
	CLEAN(text_done) struct text got = {0};
	struct slice piece;
	char path[64];
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	cr_assert(input_open(path, INPUT_SIGN, &input, NULL));
	for (size_t i = 0; i < COUNT(pieces); i++) {
		cr_assert(input_write_bytes(ends[1], SLICE(pieces[i]), NULL));
		cr_assert(input_read(input, &piece, NULL));
		text_add(&got, piece);
	}
	cr_expect_str_eq(text_string(&got), "a\r\n\r\nb\r\nc\r\n");
	close(ends[0]);
	close(ends[1]);
}

static const struct slice mailbox = SLICE_LITERAL("From a@b Sat\n\na");

/* In a thread of its own: a user of many pipes gets new ones that hold one
 * write (pipe(7)). */
static void *
octets_write(void *descriptor)
{
	for (size_t i = 0; i < mailbox.len; i++)
		if (!input_write_bytes(*(int *)descriptor,
				       slice_sub(mailbox, i, 1), NULL))
			return descriptor;
	return NULL;
}

Test(input, a_mailbox_s_line_in_pieces)
{
	CLEAN(input_free_clean) struct input *input = NULL;
	struct slice piece;
	pthread_t writer;
	char path[64];
	void *failed;
	int ends[2];

	cr_assert_eq(pipe2(ends, O_DIRECT), 0); /* a read() for each write() */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	cr_assert(input_open(path, INPUT_SIGN, &input, NULL));
	cr_assert_eq(pthread_create(&writer, NULL, octets_write, &ends[1]), 0);
	cr_assert(input_read(input, &piece, NULL));
	cr_expect(slice_eq(piece, SLICE("\r\n")), "%.*s", SLICE_ARG(piece));
	cr_assert(input_read(input, &piece, NULL));
	cr_expect(slice_eq(piece, SLICE("a")));
	cr_assert_eq(pthread_join(writer, &failed), 0);
	cr_expect_null(failed);
	close(ends[0]);
	close(ends[1]);
}

/* Beyond what stays in memory, with CRLFs at every place of a read. */
Test(input, large_messages_come_back)
{
	CLEAN(text_done) struct text message = {0}, read = {0}, written = {0};
	struct fault fault = {0};
	struct file file;

	for (size_t i = 0; message.len < 3 * INPUT_MEMORY_MAX; i++)
		text_addf(&message, "%zu%.*s\r\n", i, (int)(i % 70),
			  "------------------------------------------------"
			  "----------------------");
	file_make(&file, text_slice(&message));
	cr_assert(file_read(file.path, INPUT_SIGN, &read, &written, &fault), "%s",
		  fault.text);
	cr_expect(slice_eq(text_slice(&read), text_slice(&message)));
	cr_expect(slice_eq(text_slice(&written), text_slice(&message)));
	text_clear(&read);
	cr_assert(file_read(file.path, INPUT_VERIFY, &read, &written, &fault));
	cr_expect(slice_eq(text_slice(&read), text_slice(&message)));
	close(file.descriptor);
}

Test(input, faults)
{
	CLEAN(text_done) struct text read = {0}, written = {0};
	struct fault fault = {0};

	cr_expect_not(file_read("/nonexistent/message", INPUT_SIGN, &read,
				&written, &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	cr_expect_not(file_read("/tmp", INPUT_SIGN, &read, &written, &fault));
	cr_expect_not_null(strstr(fault.text, "/tmp"));
}
