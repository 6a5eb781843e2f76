#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/control_private.h"
#include "relay/queue/retry.h"

/*
 * What an administrator decides about a page of the queue: it is read, altered
 * in pieces of STORE_ALTER_MAX deliveries, logged and counted. What is not where
 * it was read may have another route by now: its message is read once more, and
 * it is altered where it is.
 */
#define FOLLOWS_MAX 3

struct change {
	struct control_task *task;
	uint64_t begun_ms; /* of the whole command */
	struct store_read_page read;
	struct change_row *rows;
	size_t count, next;
	struct schedule_alter alter;
	struct schedule_alter_row pieces[STORE_ALTER_MAX];
	/* of one that has gone */
	struct change_row *followed;
	struct store_read_page again;
	struct list found; /* deliveries that rows have */
};

struct change_row {
	struct message_id id;
	struct slice destination;
	const struct delivery *delivery; /* NULL: damaged */
	enum altered altered;
	unsigned follows;
};

static const struct verb {
	enum control_verb verb;
	enum alteration alteration;
	const char *event;
} verbs[] = {
	{CONTROL_RETRY, ALTER_RETRY, "retried"},
	{CONTROL_HOLD, ALTER_HOLD, "held"},
	{CONTROL_RELEASE, ALTER_RELEASE, "released"},
	{CONTROL_DELETE, ALTER_DELETE, "deleted"},
};

static const struct verb *
verb_of(const struct change *change)
{
	for (size_t i = 0; i < COUNT(verbs); i++)
		if (verbs[i].verb == change->task->request.verb)
			return &verbs[i];
	ASSERT(false);
	return NULL;
}

static void
change_free(struct change *change)
{
	control_read_done(&change->read);
	deliveries_free(&change->found);
	free(change->rows);
	free(change);
}

/* --- the log --- */

static void
row_log(const struct change *change, const struct change_row *row)
{
	char id[MESSAGE_ID_TEXT + 1];
	struct log line;

	message_id_write(&row->id, id);
	log_begin(&line, LOG_LEVEL_INFO, verb_of(change)->event);
	log_string(&line, "id", id);
	if (row->delivery != NULL) {
		const struct message *message = row->delivery->message;

		log_text(&line, "from", message->reverse_path);
		log_list_begin(&line, "to");
		for (size_t i = 0; i < row->delivery->recipients_count; i++)
			log_item(&line,
				 message->recipients
					 [row->delivery->recipients[i].index]
						 .address);
		log_list_end(&line);
	}
	log_text(&line, "domain", routing_domain(row->destination));
	log_number(&line, "uid", change->task->uid);
	log_send(&line);
}

/* --- the answer --- */

struct counts {
	unsigned altered, busy, unfit, failed, damaged;
};

/* A message counts once: by what became of it, or by what hinders. */
static void
message_count(const struct change_row *rows, size_t count,
	      struct counts *counts)
{
	unsigned seen = 0;

	for (size_t i = 0; i < count; i++)
		seen |= 1u << rows[i].altered;
	if ((seen & (1u << ALTERED_FAILED)) != 0)
		counts->failed++;
	else if ((seen & (1u << ALTERED_BUSY)) != 0)
		counts->busy++;
	else if ((seen & (1u << ALTERED | 1u << ALTERED_ALREADY)) != 0)
		counts->altered++;
	else if ((seen & (1u << ALTERED_UNFIT)) != 0)
		counts->unfit++;
	else if ((seen & (1u << ALTERED_DAMAGED)) != 0)
		counts->damaged++;
}

static void
change_count(const struct change *change, struct counts *counts)
{
	size_t first = 0;

	for (size_t i = 1; i <= change->count; i++) {
		if (i < change->count && message_id_eq(&change->rows[i].id,
						       &change->rows[first].id))
			continue;
		message_count(&change->rows[first], i - first, counts);
		first = i;
	}
}

static void
change_answer(struct change *change)
{
	struct control_task *task = change->task;
	struct text *out = &task->reply;
	struct counts counts = {0};

	change_count(change, &counts);
	text_add_string(out, "ok\n");
	control_head_cursor(&change->read, change->begun_ms, out);
	text_addf(out,
		  "altered %u\nbusy %u\nunfit %u\nfailed %u\nlost %u\n",
		  counts.altered, counts.busy, counts.unfit, counts.failed,
		  counts.damaged);
	if (task->request.verb != CONTROL_DELETE)
		control_head_damages(&change->read.damages, out);
	text_add_byte(out, '\n');
	change_free(change);
	control_task_done(task);
}

/* --- altering, a piece at a time --- */

static void change_go_on(struct change *change);

static void
change_altered(struct schedule_alter *alter)
{
	struct change *change = alter->private;
	size_t first = change->next - alter->count;

	for (size_t i = 0; i < alter->count; i++) {
		struct change_row *row = &change->rows[first + i];

		row->altered = alter->rows[i].altered;
		if (row->altered == ALTERED)
			row_log(change, row);
	}
	change_go_on(change);
}

static void
change_alter(struct change *change, const struct change_row *rows,
	     size_t count, void (*done)(struct schedule_alter *alter))
{
	struct schedule_alter *alter = &change->alter;

	*alter = (struct schedule_alter){
		.alteration = verb_of(change)->alteration,
		.now_ms = change->begun_ms,
		.rows = change->pieces,
		.count = count,
		.loop = change->task->parts->main_loop,
		.done = done,
		.private = change,
	};
	for (size_t i = 0; i < count; i++)
		change->pieces[i] = (struct schedule_alter_row){
			.id = rows[i].id,
			.destination = rows[i].destination,
			.may_have_file =
				rows[i].delivery == NULL ||
				rows[i].delivery->message->body.is_file};
	schedule_alter(change->task->parts->schedule, alter);
}

/* The loops may have ended. */
static bool
change_ends(struct change *change)
{
	struct control_task *task = change->task;

	if (!control_is_closing(task->control))
		return false;
	change_free(change);
	control_task_stopping(task);
	return true;
}

/* --- what has gone from where it was read --- */

static void
change_followed(struct schedule_alter *alter)
{
	struct change *change = alter->private;
	struct change_row *row = change->followed;

	row->altered = alter->rows[0].altered;
	if (row->altered == ALTERED)
		row_log(change, row);
	change_go_on(change);
}

/* For the same domain, and no other row's. */
static bool
row_is_here(const struct change *change, const struct delivery *delivery)
{
	const struct change_row *followed = change->followed;

	if (!slice_eq(routing_domain(delivery->destination),
		      routing_domain(followed->destination)))
		return false;
	for (size_t i = 0; i < change->count; i++) {
		const struct change_row *row = &change->rows[i];

		if (row != followed && message_id_eq(&row->id, &followed->id) &&
		    slice_eq(row->destination, delivery->destination))
			return false;
	}
	return true;
}

static void
change_found(struct store_read_page *read, const struct fault *fault)
{
	struct change *change = CONTAINER(read, struct change, again);
	struct change_row *row = change->followed;
	struct delivery *found = NULL;

	LIST_EACH (item, &read->deliveries) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		if (fault != NULL || found != NULL ||
		    !row_is_here(change, delivery))
			continue;
		found = delivery;
		list_remove(item);
		list_add_last(&change->found, item);
	}
	control_read_done(read);
	if (change_ends(change))
		return;
	if (found == NULL) {
		row->follows = FOLLOWS_MAX;
		change_go_on(change);
		return;
	}
	row->delivery = found;
	row->destination = found->destination;
	change_alter(change, row, 1, change_followed);
}

/* False: there is none to be followed. */
static bool
change_follow(struct change *change)
{
	for (size_t i = 0; i < change->count; i++) {
		struct change_row *row = &change->rows[i];

		if (row->altered != ALTERED_GONE || row->delivery == NULL ||
		    row->follows >= FOLLOWS_MAX)
			continue;
		row->follows++;
		change->followed = row;
		change->again = (struct store_read_page){
			.is_one = true,
			.after = row->id,
			.loop = change->task->parts->main_loop,
			.done = change_found,
		};
		store_read_page(change->task->parts->store, &change->again);
		return true;
	}
	return false;
}

static void
change_go_on(struct change *change)
{
	size_t left = change->count - change->next;
	const struct change_row *rows = &change->rows[change->next];

	if (left == 0) {
		if (control_is_closing(change->task->control) ||
		    !change_follow(change))
			change_answer(change);
		return;
	}
	if (change_ends(change))
		return;
	if (left > STORE_ALTER_MAX)
		left = STORE_ALTER_MAX;
	change->next += left;
	change_alter(change, rows, left, change_altered);
}

/* --- what is meant --- */

static size_t
list_count(const struct list *list)
{
	size_t count = 0;

	for (const struct list *item = list->next; item != list;
	     item = item->next)
		count++;
	return count;
}

static bool
delivery_is_meant(const struct change *change, const struct delivery *delivery)
{
	return change->task->request.verb != CONTROL_RETRY ||
	       retry_is_meant(delivery, change->begun_ms, clock_wall_ms());
}

/* What is damaged can still be deleted. */
static void
change_gather(struct change *change)
{
	struct store_read_page *read = &change->read;

	change->rows = memory_array(list_count(&read->deliveries) +
					    list_count(&read->damages) + 1,
				    sizeof(*change->rows));
	LIST_EACH (item, &read->deliveries) {
		const struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		if (delivery_is_meant(change, delivery))
			change->rows[change->count++] = (struct change_row){
				delivery->message->id, delivery->destination,
				delivery, ALTERED_GONE, 0};
	}
	if (change->task->request.verb != CONTROL_DELETE)
		return;
	LIST_EACH (item, &read->damages) {
		const struct store_damage *damage =
			CONTAINER(item, struct store_damage, link);

		change->rows[change->count++] = (struct change_row){
			damage->id,
			slice_of(damage->destination, damage->destination_len),
			NULL, ALTERED_GONE, 0};
	}
}

static void
change_read(struct store_read_page *read, const struct fault *fault)
{
	struct change *change = CONTAINER(read, struct change, read);
	struct control_task *task = change->task;

	if (fault != NULL && fault->kind != FAULT_ABSENT) {
		change_free(change);
		control_task_fail(task, fault);
		return;
	}
	if (control_is_closing(task->control)) {
		change_free(change);
		control_task_stopping(task);
		return;
	}
	change_gather(change);
	change_go_on(change);
}

void
control_alter_start(struct control_task *task)
{
	struct change *change = memory_new(sizeof(*change));

	change->task = task;
	change->begun_ms = task->request.cursor.begun_ms != 0
				   ? task->request.cursor.begun_ms
				   : clock_wall_ms();
	control_read_fill(task, &change->read);
	change->read.done = change_read;
	list_init(&change->found);
	store_read_page(task->parts->store, &change->read);
}
