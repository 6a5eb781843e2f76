/*
 * control_client - a command's end of the control socket.
 */
#ifndef RELAY_CONTROL_CLIENT_H
#define RELAY_CONTROL_CLIENT_H

#include "relay/control_request.h"
#include "relay/options.h"

struct control_answer {
	struct text bytes;      /* the caller's to free */
	struct slice head, body; /* in them; see control.h */
};
void control_answer_done(struct control_answer *answer);

/* Into the state directory, where the socket is: a socket's path is short. */
bool control_enter(const struct options *options, struct fault *fault) MUST_USE;
/* ABSENT: no relay runs. DENIED: not for this user. BUSY: it has too many
 * clients, and still had after some tries. INPUT: it does not understand. */
bool control_ask(const struct control_request *request,
		 struct control_answer *answer_out,
		 struct fault *fault) MUST_USE;

/* The next line of the head; false at its end. */
bool control_head_next(struct slice *head, struct slice *name_out,
		       struct slice *value_out);

#endif
