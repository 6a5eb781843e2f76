#include <stdlib.h>

#include "relay/control_private.h"
#include "relay/queue/listing.h"

/* Shown of a header; what an accepted one may have is an option's. */
#define HEADER_SHOWN_MAX ((size_t)4 * MIB)

/* A page of the queue that somebody asks for. */
struct look {
	struct control_task *task;
	struct store_read_page read;
	struct text body; /* made on the reader's thread */
};

static void
damages_done(struct list *damages)
{
	LIST_EACH (item, damages)
		free(CONTAINER(item, struct store_damage, link));
	list_init(damages);
}

void
control_read_done(struct store_read_page *read)
{
	deliveries_free(&read->deliveries);
	damages_done(&read->damages);
}

void
control_read_fill(const struct control_task *task,
		  struct store_read_page *read)
{
	const struct control_request *request = &task->request;

	read->selection = request->selection;
	read->is_one = request->has_id;
	read->after = request->has_id ? request->id : request->cursor.after;
	read->until = request->cursor.until;
	read->max = STORE_PAGE_MAX;
	read->loop = task->parts->main_loop;
}

/* --- the head of an answer --- */

void
control_head_damages(const struct list *damages, struct text *out)
{
	LIST_EACH (item, damages) {
		const struct store_damage *damage =
			CONTAINER(item, struct store_damage, link);
		char id[MESSAGE_ID_TEXT + 1];

		struct slice domain = routing_domain(slice_of(
			damage->destination, damage->destination_len));

		message_id_write(&damage->id, id);
		text_addf(out, "damaged %s: to %.*s: %s\n", id,
			  SLICE_ARG(domain), damage->fault.text);
	}
}

void
control_head_cursor(const struct store_read_page *read, uint64_t begun_ms,
		    struct text *out)
{
	struct control_cursor cursor = {read->after, read->until, begun_ms};

	if (!read->has_more)
		return;
	text_add_string(out, "more ");
	control_cursor_write(&cursor, out);
	text_add_byte(out, '\n');
}

/* --- list and show --- */

static void
look_done(struct store_read_page *read, const struct fault *fault)
{
	struct look *look = CONTAINER(read, struct look, read);
	struct control_task *task = look->task;

	/* That a message is not there is no failure: the body says it. */
	if (fault != NULL && fault->kind != FAULT_ABSENT) {
		control_read_done(read);
		text_done(&look->body);
		free(look);
		control_task_fail(task, fault);
		return;
	}
	text_add_string(&task->reply, "ok\n");
	control_head_cursor(read,
			    task->request.cursor.begun_ms != 0
				    ? task->request.cursor.begun_ms
				    : clock_wall_ms(),
			    &task->reply);
	control_head_damages(&read->damages, &task->reply);
	text_add_byte(&task->reply, '\n');
	text_add(&task->reply, text_slice(&look->body));
	control_read_done(read);
	text_done(&look->body);
	free(look);
	control_task_done(task);
}

static void
look_write_header(struct look *look)
{
	CLEAN(text_done) struct text header = {0};
	const struct message *message =
		CONTAINER(look->read.deliveries.next, struct delivery, link)
			->message;
	struct fault fault;

	if (!store_read_header(look->task->parts->store, message, HEADER_SHOWN_MAX,
			       &header, &fault))
		text_addf(&look->body, "header: cannot be read: %s\n",
			  fault.text);
	listing_write_header(message, text_slice(&header), &look->body);
}

/* Formatting a page is not the main loop's work. */
static void
look_prepare(struct store_read_page *read)
{
	struct look *look = CONTAINER(read, struct look, read);
	const struct control_request *request = &look->task->request;
	listing_fn *write = request->verb == CONTROL_SHOW ? listing_write_all
			    : request->as_json ? listing_write_json
					       : listing_write_text;

	listing_write_each(&read->deliveries, clock_wall_ms(), write,
			   &look->body);
	if (request->verb == CONTROL_SHOW &&
	    !list_is_empty(&read->deliveries))
		look_write_header(look);
}

void
control_list_start(struct control_task *task)
{
	struct look *look = memory_new(sizeof(*look));

	look->task = task;
	control_read_fill(task, &look->read);
	look->read.prepare = look_prepare;
	look->read.done = look_done;
	store_read_page(task->parts->store, &look->read);
}
