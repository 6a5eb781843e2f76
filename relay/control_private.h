/*
 * control_private - what the files behind the control socket share.
 *
 *	control.c         the socket and its clients
 *	control_alter.c   retry, hold, release, delete
 *	control_queue.c   list and show
 *	control_status.c  status
 *	control_survey.c  what goes on with the destinations
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
	const struct control_parts *parts;
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

void control_task_stopping(struct control_task *task);
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

/* --- the destinations --- */

/* One of them. */
struct control_destination {
	char *name;
	size_t leases;
	uint64_t paused_ms, next_due_ms;
	size_t connections, idle, window;
	bool is_paced;
	struct slice trouble;  /* in the survey */
	size_t due, held;      /* stored; at most STATUS_DEPTH_MAX */
};

struct control_survey {
	struct control_task *task;
	size_t wanted;         /* at most so many */
	/* out: those in trouble first, then those with most in memory */
	struct control_destination *destinations;
	size_t count, total;   /* shown, and all there are */
	/* Of a domain that was asked for: there is no such destination, but
	 * something of it may be held; then that is shown. */
	bool is_stored_only;
	bool has_nothing;      /* that neither */
	uint64_t connections;  /* of all */
	void (*done)(struct control_survey *survey);
	/* its own */
	struct survey_part *parts;
	size_t parts_open;
	struct store_read_depths read;
};
/* Asks every loop, then the store; done comes once, on the main loop. */
void control_survey_start(struct control_survey *survey);
void control_survey_free(struct control_survey *survey);

/* Each takes the task. */
void control_list_start(struct control_task *task);
void control_alter_start(struct control_task *task);
void control_status_start(struct control_task *task);

#endif
