/*
 * control_request - what a command asks of a running relay, as one line. Pure.
 *
 * Fields are separated by a tab each; the first is the verb, the others are in
 * any order, each at most once:
 *
 *	status [json] [all] [domain=D]
 *	list [json] [domain=D] [sender=A] [from=CURSOR]
 *	show id=ID
 *	retry | hold | release | delete
 *		id=ID | all | domain=D and sender=A, or one of them, [from=CURSOR]
 *
 * The queue is walked by whoever asks: each answer says where to go on, so the
 * relay's work for one request is bounded, and so is what it keeps of a client.
 * A cursor is the last message looked at, the last one of the walk, and when
 * it began: "ID-ID-MILLISECONDS".
 */
#ifndef RELAY_CONTROL_REQUEST_H
#define RELAY_CONTROL_REQUEST_H

#include "relay/queue/message.h"
#include "relay/queue/selection.h"

enum control_verb {
	CONTROL_STATUS,
	CONTROL_LIST,
	CONTROL_SHOW,
	CONTROL_RETRY,
	CONTROL_HOLD,
	CONTROL_RELEASE,
	CONTROL_DELETE,
};

struct control_cursor {
	struct message_id after, until; /* zero: from the first; to the last */
	uint64_t begun_ms;              /* wall; 0: now */
};

struct control_request {
	enum control_verb verb;
	bool as_json, is_all, has_id;
	struct message_id id;
	struct selection selection;
	struct control_cursor cursor;
};

/* Without the line's end; slices lie in the line. INPUT: what is wrong. */
bool control_request_parse(struct slice line,
			   struct control_request *request_out,
			   struct fault *fault) MUST_USE;
/* With the line's end. INPUT: a domain or an address that no line can have. */
bool control_request_write(const struct control_request *request,
			   struct text *out, struct fault *fault) MUST_USE;

bool control_cursor_parse(struct slice text,
			  struct control_cursor *cursor_out) MUST_USE;
void control_cursor_write(const struct control_cursor *cursor,
			  struct text *out);

#endif
