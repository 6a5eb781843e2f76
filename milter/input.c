#include "milter/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "milter/separator.h"

#define READ_SIZE ((size_t)64 << 10)
/* A longer first line is the message's own. */
#define POSTMARK_LINE_MAX 998

struct input {
	enum input_use use;
	const char *name;
	int descriptor; /* what is read */
	int spool;      /* -1 while memory is enough */
	bool owns_descriptor, held_cr, is_ended;
	bool has_crlf, has_lf; /* at the ends of lines */
	bool in_line, has_top;
	uint64_t line;
	struct text raw, piece, kept;
};

bool
input_open(const char *path, enum input_use use, struct input **input_out,
	   struct fault *fault)
{
	CLEAN(input_free_clean) struct input *input =
		memory_new(sizeof(*input));

	input->use = use;
	input->spool = -1;
	input->line = 1;
	if (path == NULL || strcmp(path, "-") == 0) {
		input->name = "standard input";
		input->descriptor = STDIN_FILENO;
	} else {
		input->name = path;
		input->owns_descriptor = true;
		input->descriptor = open(path, O_RDONLY | O_CLOEXEC);
		if (input->descriptor < 0)
			return fault_errno(fault, "%s", path);
	}
	*input_out = TAKE(input);
	return true;
}

void
input_free(struct input *input)
{
	if (input == NULL)
		return;
	if (input->owns_descriptor)
		clean_descriptor(&input->descriptor);
	clean_descriptor(&input->spool);
	text_done(&input->raw);
	text_done(&input->piece);
	text_done(&input->kept);
	free(input);
}

bool
input_write_bytes(int descriptor, struct slice bytes, struct fault *fault)
{
	while (bytes.len > 0) {
		ssize_t written = write(descriptor, bytes.bytes, bytes.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return fault_errno(fault, "writing the message");
		bytes = slice_from(bytes, (size_t)written);
	}
	return true;
}

static bool
spool_open(struct input *input, struct fault *fault)
{
	const char *directory = getenv("TMPDIR");
	CLEAN(text_done) struct text path = {0};

	if (directory == NULL || directory[0] == '\0')
		directory = "/tmp";
	text_addf(&path, "%s/signet-XXXXXX", directory);
	input->spool = mkostemp(path.bytes, O_CLOEXEC);
	if (input->spool < 0)
		return fault_errno(fault, "temporary file in %s", directory);
	if (unlink(text_string(&path)) != 0)
		return fault_errno(fault, "%s", text_string(&path));
	return true;
}

static bool
piece_keep(struct input *input, struct fault *fault)
{
	text_add(&input->kept, text_slice(&input->piece));
	if (input->kept.len <= INPUT_MEMORY_MAX)
		return true;
	if (input->spool < 0 && !spool_open(input, fault))
		return false;
	if (!input_write_bytes(input->spool, text_slice(&input->kept), fault))
		return fault_within(fault, "temporary file");
	text_clear(&input->kept);
	return true;
}

static bool
refuse(const struct input *input, const char *what, struct fault *fault)
{
	return fault_set(fault, FAULT_INPUT, "%s:%llu: %s", input->name,
			 (unsigned long long)input->line, what);
}

/* What stands in a line, or in a part of one. */
static bool
bytes_check(const struct input *input, struct slice bytes, struct fault *fault)
{
	if (input->use != INPUT_SIGN)
		return true;
	if (slice_find(bytes, '\r') >= 0)
		return refuse(input, "a bare CR in the message", fault);
	if (slice_find(bytes, '\0') >= 0)
		return refuse(input, "a NUL in the message", fault);
	return true;
}

static void
bytes_add(struct input *input, struct slice bytes)
{
	size_t from = input->piece.len;

	text_add(&input->piece, bytes);
	if (input->use != INPUT_SUBMIT)
		return;
	for (size_t i = from; i < input->piece.len; i++)
		if (input->piece.bytes[i] == '\r' ||
		    input->piece.bytes[i] == '\0')
			input->piece.bytes[i] = ' ';
}

/* The CR at the end of the part before belongs to no line end. */
static bool
held_cr_add(struct input *input, struct fault *fault)
{
	if (!bytes_check(input, SLICE("\r"), fault))
		return false;
	bytes_add(input, SLICE("\r"));
	input->in_line = true;
	input->held_cr = false;
	return true;
}

/* A line up to its LF, or, without one, the part of it that was read. */
static bool
line_add(struct input *input, struct slice line, bool has_lf,
	 struct fault *fault)
{
	bool ends_in_cr = line.len > 0 && line.bytes[line.len - 1] == '\r';
	bool is_crlf = ends_in_cr || (line.len == 0 && input->held_cr);

	if (input->held_cr && line.len > 0 && !held_cr_add(input, fault))
		return false;
	input->held_cr = ends_in_cr && !has_lf;
	if (ends_in_cr)
		line.len--;
	if (!bytes_check(input, line, fault))
		return false;
	bytes_add(input, line);
	input->in_line |= line.len > 0;
	if (has_lf) {
		input->has_crlf |= is_crlf;
		input->has_lf |= !is_crlf;
		input->in_line = false;
		text_add_string(&input->piece, "\r\n");
		input->line++;
	}
	return true;
}

static bool
raw_read(struct input *input, struct fault *fault)
{
	ssize_t len;

	text_clear(&input->raw);
	do
		len = read(input->descriptor, text_room(&input->raw, READ_SIZE),
			   READ_SIZE);
	while (len < 0 && errno == EINTR);
	if (len < 0 && errno == EISDIR)
		return fault_set(fault, FAULT_INPUT, "%s: a directory",
				 input->name);
	if (len < 0)
		return fault_errno(fault, "%s", input->name);
	text_added(&input->raw, (size_t)len);
	return true;
}

/* Turns what was read into CRLF lines. */
static bool
raw_convert(struct input *input, struct fault *fault)
{
	struct slice rest = text_slice(&input->raw);

	while (rest.len > 0) {
		ptrdiff_t lf = slice_find(rest, '\n');
		size_t len = lf < 0 ? rest.len : (size_t)lf;

		if (!line_add(input, slice_sub(rest, 0, len), lf >= 0, fault))
			return false;
		rest = slice_from(rest, lf < 0 ? len : len + 1);
	}
	return true;
}

/* False: the first line may be a postmark, and is not whole. */
static bool
top_take(struct input *input)
{
	struct slice piece = text_slice(&input->piece);
	ptrdiff_t lf = slice_find(piece, '\n');

	if (input->has_top || input->use == INPUT_EXPLAIN)
		return true;
	if (lf < 0 && piece.len <= POSTMARK_LINE_MAX &&
	    separator_may_be_postmark(piece))
		return false;
	input->has_top = true;
	if (lf > 0 &&
	    separator_is_postmark(slice_sub(piece, 0, (size_t)lf - 1)))
		text_drop_front(&input->piece, (size_t)lf + 1);
	return true;
}

bool
input_read(struct input *input, struct slice *piece_out, struct fault *fault)
{
	text_clear(&input->piece);
	while (!input->is_ended) {
		if (!raw_read(input, fault) || !raw_convert(input, fault))
			return false;
		input->is_ended = input->raw.len == 0;
		if (top_take(input) && input->piece.len > 0)
			break;
	}
	if (input->is_ended && input->held_cr && !held_cr_add(input, fault))
		return false;
	if (input->use != INPUT_VERIFY && !piece_keep(input, fault))
		return false;
	*piece_out = text_slice(&input->piece);
	return true;
}

bool
input_mixes_line_ends(const struct input *input)
{
	return input->has_crlf && input->has_lf;
}

bool
input_ends_in_line_end(const struct input *input)
{
	return !input->in_line;
}

static bool
spool_replay(struct input *input, input_sink_fn *take, void *owner,
	     struct fault *fault)
{
	struct text *buffer = &input->raw;

	if (lseek(input->spool, 0, SEEK_SET) != 0)
		return fault_errno(fault, "temporary file");
	for (;;) {
		ssize_t len;

		text_clear(buffer);
		len = read(input->spool, text_room(buffer, READ_SIZE),
			   READ_SIZE);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return fault_errno(fault, "temporary file");
		if (len == 0)
			return true;
		if (!take(owner, slice_of(buffer->bytes, (size_t)len), fault))
			return false;
	}
}

bool
input_replay(struct input *input, input_sink_fn *take, void *owner,
	     struct fault *fault)
{
	ASSERT(input->use != INPUT_VERIFY);
	if (input->spool >= 0 && !spool_replay(input, take, owner, fault))
		return false;
	return take(owner, text_slice(&input->kept), fault);
}

static bool
descriptor_take(void *owner, struct slice bytes, struct fault *fault)
{
	const int *descriptor = owner;

	return input_write_bytes(*descriptor, bytes, fault);
}

bool
input_write(struct input *input, int descriptor, struct fault *fault)
{
	return input_replay(input, descriptor_take, &descriptor, fault);
}
