#include <criterion/criterion.h>
#include <fcntl.h>
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
file_read(const char *path, bool is_kept, struct text *got,
	  struct text *written, struct fault *fault)
{
	CLEAN(input_free_clean) struct input *input = NULL;
	struct file out;
	struct slice piece;
	char buffer[4096];
	ssize_t len;

	if (!input_open(path, is_kept, &input, fault))
		return false;
	do {
		if (!input_read(input, &piece, fault))
			return false;
		text_add(got, piece);
	} while (piece.len > 0);
	if (!is_kept)
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
	const char *message; /* NULL: refused */
	const char *fault;
} rows[] = {
	{"LF", SLICE_LITERAL("a\n\nb\n"), "a\r\n\r\nb\r\n", NULL},
	{"CRLF", SLICE_LITERAL("a\r\n\r\nb\r\n"), "a\r\n\r\nb\r\n", NULL},
	{"both", SLICE_LITERAL("a\n\r\nb\n\n"), "a\r\n\r\nb\r\n\r\n", NULL},
	{"no last line end", SLICE_LITERAL("a\nb"), "a\r\nb", NULL},
	{"nothing", SLICE_LITERAL(""), "", NULL},
	{"8-bit", SLICE_LITERAL("\xff\xfe\n"), "\xff\xfe\r\n", NULL},
	{"bare CR", SLICE_LITERAL("a\nb\rc\n"), NULL, ":2: a bare CR"},
	{"CR CR LF", SLICE_LITERAL("a\r\r\n"), NULL, ":1: a bare CR"},
	{"CR at the end", SLICE_LITERAL("a\n\r"), NULL, ":2: a bare CR"},
	{"NUL", SLICE_LITERAL("a\n\nb\0c\n"), NULL, ":3: a NUL"},
};

Test(input, lines)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text read = {0}, written = {0};
		struct fault fault = {0};
		struct file file;
		bool ok;

		file_make(&file, rows[i].input);
		ok = file_read(file.path, true, &read, &written, &fault);
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
	cr_assert(file_read(file.path, true, &read, &written, &fault), "%s",
		  fault.text);
	cr_expect(slice_eq(text_slice(&read), text_slice(&message)));
	cr_expect(slice_eq(text_slice(&written), text_slice(&message)));
	text_clear(&read);
	cr_assert(file_read(file.path, false, &read, &written, &fault));
	cr_expect(slice_eq(text_slice(&read), text_slice(&message)));
	close(file.descriptor);
}

Test(input, faults)
{
	CLEAN(text_done) struct text read = {0}, written = {0};
	struct fault fault = {0};

	cr_expect_not(file_read("/nonexistent/message", true, &read, &written,
				&fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	cr_expect_not(file_read("/tmp", true, &read, &written, &fault));
	cr_expect_not_null(strstr(fault.text, "/tmp"));
}
