/*
 * control_private - what the files behind the control socket share.
 *
 *	control.c         the socket and its clients
 *	control_alter.c   retry, hold, release, delete
 *	control_queue.c   list and show
 *	control_status.c  status
 */
#ifndef RELAY_CONTROL_PRIVATE_H
#define RELAY_CONTROL_PRIVATE_H

#include "relay/control.h"
#include "relay/control_request.h"

struct control_client;

/* One request under way. Ends in control_task_done(), on the main loop. */
struct control_task {
	struct control *control;
	struct control_client *client;  /* NULL: it has gone meanwhile */
	struct store *store;
	struct schedule *schedule;
	struct loop *loop;              /* the main one */
	struct control_request request; /* its slices lie in `line` */
	uint64_t uid;                   /* who asks */
	uint64_t started_ms;            /* the relay; clock_now_ms() */
	struct text reply;
	char line[CONTROL_LINE_MAX];
};

/* Sends the reply and frees the task. */
void control_task_done(struct control_task *task);
/* The reply is this and nothing else; then as control_task_done(). */
void control_task_fail(struct control_task *task, const struct fault *fault);

/* Whether anything that other loops do can be waited for no more. */
bool control_is_closing(const struct control *control);

/* --- reading a page of the queue --- */

/* What the request says; the rest is the caller's. */
void control_read_fill(const struct control_task *task,
		       struct store_read_page *read);
void control_read_done(struct store_read_page *read);
/* Lines of an answer's head. */
void control_head_damages(const struct list *damages, struct text *out);
void control_head_cursor(const struct store_read_page *read, uint64_t begun_ms,
			 struct text *out);

/* Each takes the task. */
void control_list_start(struct control_task *task);
void control_alter_start(struct control_task *task);
void control_status_start(struct control_task *task);

#endif
