/*
 * input - one message read from a file or standard input, as CRLF lines.
 *
 * The message is read once. Where a line ends in LF alone it is given CRLF. The
 * line that stands above a message in a mailbox (milter/separator.h) is none of its
 * own, and passed over; but not where the relay is asked about.
 *
 * INPUT_SIGN    A bare CR or a NUL is refused with its line, because no MTA
 *               passes either on unchanged. What was read is kept for writing
 *               it out again: up to INPUT_MEMORY_MAX in memory, beyond that in
 *               an unlinked temporary file (in TMPDIR, or /tmp), so memory does
 *               not grow with the message and what is written is what was read.
 * INPUT_SUBMIT  A bare CR and a NUL are each made a space, as Postfix does with
 *               the CR: programs write them, and no MTA passes them on. Kept
 *               likewise.
 * INPUT_VERIFY  Every byte is taken as it is; nothing is kept.
 * INPUT_EXPLAIN Every byte is taken as it is, that line's too, and kept likewise:
 *               it is for what the relay does with them.
 */
#ifndef MILTER_INPUT_H
#define MILTER_INPUT_H

#include "base/fault.h"
#include "base/slice.h"

#define INPUT_MEMORY_MAX ((size_t)1 << 20)

enum input_use { INPUT_SIGN, INPUT_SUBMIT, INPUT_VERIFY, INPUT_EXPLAIN };

struct input;

/* path NULL or "-": standard input. */
bool input_open(const char *path, enum input_use use, struct input **input_out,
		struct fault *fault) MUST_USE;
void input_free(struct input *input);
CLEAN_POINTER(struct input, input_free)

/* The next piece of the message; empty at its end. It lives until the next
 * call. */
bool input_read(struct input *input, struct slice *piece_out,
		struct fault *fault) MUST_USE;
/* Hands out all that was read once more, from its first byte, in pieces; not
 * with INPUT_VERIFY; as often as wanted. */
typedef bool input_sink_fn(void *owner, struct slice bytes,
			   struct fault *fault);
bool input_replay(struct input *input, input_sink_fn *take, void *owner,
		  struct fault *fault) MUST_USE;
/* So far some lines ended in CRLF and some in LF alone. */
bool input_mixes_line_ends(const struct input *input);
/* What was read ends in a line end, or nothing was. */
bool input_ends_in_line_end(const struct input *input);
/* As input_replay(), into a descriptor. */
bool input_write(struct input *input, int descriptor,
		 struct fault *fault) MUST_USE;

/* All of the bytes, whatever write() takes at once. */
bool input_write_bytes(int descriptor, struct slice bytes,
		       struct fault *fault) MUST_USE;

#endif
