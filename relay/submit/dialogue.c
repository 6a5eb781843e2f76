#include "relay/submit/dialogue.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"
#include "milter/input.h"

#define COPY_SIZE ((size_t)16 << 10)

enum phase {
	WAITING, /* for a reply */
	COMMANDS,
	LINES,   /* of a message */
	OCTETS,  /* of a chunk */
	ALL,     /* TLS: nobody here can read it */
};

struct dialogue {
	int relay;
	enum phase phase;
	struct text input; /* not sent yet */
	struct text reply; /* its last line, as far as it is there */
	bool says_starttls, has_input_ended, is_over;
	uint64_t octets;
};

static bool
bytes_read(int from, struct text *out, bool *is_ended_out, struct fault *fault)
{
	ssize_t len;

	do
		len = read(from, text_room(out, COPY_SIZE), COPY_SIZE);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return fault_errno(fault, "copying");
	text_added(out, (size_t)len);
	*is_ended_out = len == 0;
	return true;
}

/* --- the relay's side --- */

static void
replied(struct dialogue *dialogue, struct slice line)
{
	if (dialogue->phase != WAITING)
		return;
	if (line.len > 3 && line.bytes[3] == '-')
		return;
	if (slice_starts(line, SLICE("354")))
		dialogue->phase = LINES;
	else if (dialogue->says_starttls && slice_starts(line, SLICE("220")))
		dialogue->phase = ALL;
	else
		dialogue->phase = COMMANDS;
	dialogue->says_starttls = false;
}

static bool
relay_read(struct dialogue *dialogue, struct fault *fault)
{
	struct slice rest, line;
	size_t before = dialogue->reply.len;

	if (!bytes_read(dialogue->relay, &dialogue->reply, &dialogue->is_over,
			fault) ||
	    !input_write_bytes(STDOUT_FILENO,
			       slice_from(text_slice(&dialogue->reply), before),
			       fault))
		return false;
	rest = text_slice(&dialogue->reply);
	while (slice_find(rest, '\n') >= 0) {
		(void)slice_split(&rest, '\n', &line);
		replied(dialogue, line);
	}
	text_drop_front(&dialogue->reply, dialogue->reply.len - rest.len);
	return true;
}

/* --- standard input's --- */

static void
command_note(struct dialogue *dialogue, struct slice line)
{
	struct slice rest = slice_trim(line), verb, size;

	dialogue->phase = WAITING;
	(void)slice_split(&rest, ' ', &verb);
	dialogue->says_starttls = slice_eq_nocase(verb, SLICE("STARTTLS"));
	if (slice_eq_nocase(verb, SLICE("BDAT")) &&
	    slice_split(&rest, ' ', &size) &&
	    slice_number(size, &dialogue->octets) && dialogue->octets > 0)
		dialogue->phase = OCTETS;
}

/* How much of the input goes out at once; 0: nothing yet. */
static size_t
sendable(struct dialogue *dialogue)
{
	struct slice input = text_slice(&dialogue->input), line;
	ptrdiff_t end = slice_find(input, '\n');

	if (dialogue->phase == WAITING)
		return 0;
	if (dialogue->phase == ALL)
		return input.len;
	if (dialogue->phase == OCTETS) {
		if (input.len > dialogue->octets)
			input.len = (size_t)dialogue->octets;
		dialogue->octets -= input.len;
		if (dialogue->octets == 0)
			dialogue->phase = WAITING;
		return input.len;
	}
	if (end < 0) /* what is over its bound may be refused there */
		return dialogue->has_input_ended || input.len > COPY_SIZE
			       ? input.len
			       : 0;
	line = slice_sub(input, 0, (size_t)end + 1);
	if (dialogue->phase == COMMANDS)
		command_note(dialogue, line);
	else if (slice_eq(line, SLICE(".\r\n")))
		dialogue->phase = WAITING;
	return line.len;
}

static bool
input_send(struct dialogue *dialogue, struct fault *fault)
{
	size_t len;

	while ((len = sendable(dialogue)) > 0) {
		if (!input_write_bytes(dialogue->relay,
				       slice_sub(text_slice(&dialogue->input),
						 0, len),
				       fault))
			return false;
		text_drop_front(&dialogue->input, len);
	}
	if (dialogue->has_input_ended && dialogue->input.len == 0 &&
	    dialogue->phase != WAITING)
		(void)shutdown(dialogue->relay, SHUT_WR);
	return true;
}

/* --- the whole --- */

static bool
turn(struct dialogue *dialogue, struct fault *fault)
{
	bool reads = dialogue->phase != WAITING && !dialogue->has_input_ended;
	struct pollfd polled[2] = {
		{.fd = reads ? STDIN_FILENO : -1, .events = POLLIN},
		{.fd = dialogue->relay, .events = POLLIN},
	};

	if (poll(polled, COUNT(polled), -1) < 0)
		return errno == EINTR || fault_errno(fault, "poll");
	if (polled[1].revents != 0 && !relay_read(dialogue, fault))
		return false;
	if (polled[0].revents != 0 &&
	    !bytes_read(STDIN_FILENO, &dialogue->input,
			&dialogue->has_input_ended, fault))
		return false;
	return dialogue->is_over || input_send(dialogue, fault);
}

bool
dialogue_run(int relay, struct fault *fault)
{
	struct dialogue dialogue = {.relay = relay, .phase = WAITING};
	bool is_done = true;

	while (is_done && !dialogue.is_over)
		is_done = turn(&dialogue, fault);
	text_done(&dialogue.input);
	text_done(&dialogue.reply);
	return is_done;
}
