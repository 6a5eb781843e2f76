#include "relay/control_client.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "relay/control.h"
#include "relay/queue/listing.h"

/* An answer may have to wait for the disk; the relay bounds its work. */
#define WAIT_SECONDS 60
/* Where it has too many clients. */
#define TRIES 5
#define TRY_AGAIN_US 200000

bool
control_enter(const struct options *options, struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};

	text_add(&path, options->state_dir);
	return chdir(text_string(&path)) == 0 ||
	       fault_errno(fault, "state_dir '%s'", text_string(&path));
}

/* What a dead relay has left refuses connections. */
static bool
control_connect(int *socket_out, struct fault *fault)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX,
				      .sun_path = CONTROL_SOCKET};
	struct timeval wait = {.tv_sec = WAIT_SECONDS};
	CLEAN(clean_descriptor)
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait,
		       sizeof(wait)) != 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait,
		       sizeof(wait)) != 0)
		return fault_errno(fault, "socket");
	if (connect(descriptor, (struct sockaddr *)&address,
		    sizeof(address)) != 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return fault_set(fault, FAULT_ABSENT, "no relay runs");
		return fault_errno(fault, CONTROL_SOCKET);
	}
	*socket_out = descriptor_take(&descriptor);
	return true;
}

static bool
request_send(int descriptor, struct slice line, struct fault *fault)
{
	ssize_t sent = send(descriptor, line.bytes, line.len, MSG_NOSIGNAL);

	if (sent == (ssize_t)line.len)
		return true;
	/* More clients than it serves are hung up on. */
	if (sent < 0 && errno != EPIPE && errno != ECONNRESET)
		return fault_errno(fault, "asking the relay");
	return fault_set(fault, FAULT_BUSY, "the relay is busy; try again");
}

static bool
answer_read(int descriptor, struct text *out, struct fault *fault)
{
	ssize_t len = 1;

	while (len > 0) {
		len = recv(descriptor, text_room(out, 64 * KIB), 64 * KIB, 0);
		if (len < 0 && errno == EINTR)
			len = 1;
		else if (len < 0 && errno != ECONNRESET)
			return fault_errno(fault, "the relay's answer");
		else if (len > 0)
			text_added(out, (size_t)len);
	}
	if (out->len == 0)
		return fault_set(fault, FAULT_BUSY,
				 "the relay is busy; try again");
	return true;
}

/* --- the answer --- */

void
control_answer_done(struct control_answer *answer)
{
	text_done(&answer->bytes);
}

static bool
error_tell(struct slice error, struct fault *fault)
{
	static const struct {
		const char *word;
		enum fault_kind kind;
	} kinds[] = {{"input", FAULT_INPUT},   {"denied", FAULT_DENIED},
		     {"busy", FAULT_BUSY},     {"limit", FAULT_BUSY},
		     {"system", FAULT_SYSTEM}};
	enum fault_kind kind = FAULT_SYSTEM;
	struct slice word = SLICE_NONE;

	/* We send none that ours would not know. The earliest relays said this
	 * without a word for the kind before it. */
	if (slice_ends_nocase(error, SLICE("unknown request")))
		return fault_set(fault, FAULT_SYSTEM,
				 "the relay that runs is of another version, and "
				 "does not know this: restart it, or ask it by "
				 "the program that it was started from");
	slice_split(&error, ' ', &word);
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (slice_eq(word, SLICE(kinds[i].word)))
			kind = kinds[i].kind;
	return fault_set(fault, kind, "the relay says: %.*s",
			 SLICE_ARG(error));
}

/* An answer that was cut off has no empty line. */
static bool
answer_split(struct control_answer *answer, struct fault *fault)
{
	struct slice rest = text_slice(&answer->bytes), line = SLICE_NONE;
	const char *begin;

	if (!slice_split(&rest, '\n', &line) || !slice_eq(line, SLICE("ok"))) {
		struct slice word = SLICE_NONE;

		slice_split(&line, ' ', &word);
		if (slice_eq(word, SLICE("error")))
			return error_tell(line, fault);
		return fault_set(fault, FAULT_SYSTEM,
				 "the relay's answer cannot be understood");
	}
	begin = rest.bytes;
	while (slice_split(&rest, '\n', &line)) {
		if (line.len > 0)
			continue;
		answer->head = slice_of(begin, (size_t)(line.bytes - begin));
		answer->body = rest;
		return true;
	}
	return fault_set(fault, FAULT_BUSY, "the relay has hung up");
}

bool
control_head_next(struct slice *head, struct slice *name_out,
		  struct slice *value_out)
{
	if (!slice_split(head, '\n', value_out))
		return false;
	if (!slice_split(value_out, ' ', name_out))
		*name_out = SLICE_NONE;
	return true;
}

static bool
ask_once(struct slice line, struct text *out, struct fault *fault)
{
	CLEAN(clean_descriptor) int descriptor = -1;

	return control_connect(&descriptor, fault) &&
	       request_send(descriptor, line, fault) &&
	       answer_read(descriptor, out, fault);
}

bool
control_ask(const struct control_request *request,
	    struct control_answer *answer_out, struct fault *fault)
{
	CLEAN(text_done) struct text line = {0}, said = {0};
	struct control_answer answer = {0};
	bool is_answered = false;

	if (!control_request_write(request, &line, fault))
		return false;
	for (int tries = 0; !is_answered && tries < TRIES; tries++) {
		if (tries > 0)
			usleep(TRY_AGAIN_US);
		is_answered = ask_once(text_slice(&line), &said, fault);
		if (!is_answered && fault->kind != FAULT_BUSY)
			break;
	}
	/* The relay, and whoever has taken it over, has no say in what root's
	 * terminal does. */
	listing_write_visible(text_slice(&said), true, &answer.bytes);
	if (!is_answered || !answer_split(&answer, fault)) {
		control_answer_done(&answer);
		return false;
	}
	*answer_out = answer;
	return true;
}
