#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/output.h"
#include "relay/control_client.h"
#include "relay/identity.h"
#include "relay/limits.h"
#include "relay/queue/browse.h"
#include "relay/queue/listing.h"
#include "relay/queue_private.h"
#include "relay/routing.h"

/*
 * A running relay is asked, so that whoever may use its socket may look; where
 * none runs, the store is read.
 */

/* Shown of a header; what an accepted one may have is an option's. */
#define HEADER_SHOWN_MAX ((size_t)4 * MIB)

/* --- output --- */

/* --- the store --- */

static void
damaged_tell(const struct message_id *id, struct slice destination,
	     const struct fault *fault)
{
	char text[MESSAGE_ID_TEXT + 1];

	message_id_write(id, text);
	fprintf(stderr, "signet: %s: to %.*s: %s\n", text,
		SLICE_ARG(routing_domain(destination)), fault->text);
}

/* In the state directory. */
static bool
store_enter(const struct options *options, const struct selection *selection,
	    struct browse **browse_out, struct fault *fault)
{
	if (!identity_leave_root(options, fault))
		return false;
	if (browse_open(selection, damaged_tell, browse_out, fault))
		return true;
	if (fault->kind == FAULT_DENIED)
		fault_put_before(fault, "the queue is for root and for the "
					"relay's user");
	return false;
}

static int
store_list(const struct options *options,
	   const struct control_request *request)
{
	CLEAN(browse_close_clean) struct browse *browse = NULL;
	CLEAN(text_done) struct text out = {0};
	struct fault fault = {0};
	struct list deliveries;
	int code = EX_OK;

	if (!store_enter(options, &request->selection, &browse, &fault)) {
		/* Where no relay has ever run, nothing waits. */
		code = queue_fault_tell(&fault);
		return fault.kind == FAULT_ABSENT ? EX_OK : code;
	}
	for (;;) {
		if (!browse_next(browse, &deliveries, &fault))
			return queue_fault_tell(&fault);
		if (list_is_empty(&deliveries) || code != EX_OK)
			break;
		listing_write_each(&deliveries, clock_wall_ms(),
				   request->as_json ? listing_write_json
						    : listing_write_text,
				   &out);
		code = output_write(text_slice(&out));
		text_clear(&out);
		deliveries_free(&deliveries);
	}
	deliveries_free(&deliveries);
	return code;
}

static int
store_show_one(struct browse *browse, const struct message_id *id,
	       const char *word, struct text *out)
{
	CLEAN(text_done) struct text header = {0};
	const struct message *message;
	struct fault fault = {0};
	struct list deliveries;

	if (!browse_find(browse, id, &deliveries, &fault))
		return fault.kind == FAULT_ABSENT ? queue_unknown_tell(word)
						  : queue_fault_tell(&fault);
	if (list_is_empty(&deliveries)) /* all damaged, and told */
		return EX_DATAERR;
	message = CONTAINER(deliveries.next, struct delivery, link)->message;
	listing_write_each(&deliveries, clock_wall_ms(), listing_write_all,
			   out);
	if (!browse_header(browse, message, HEADER_SHOWN_MAX, &header, &fault))
		fprintf(stderr, "signet: the header: %s\n", fault.text);
	listing_write_header(message, text_slice(&header), out);
	deliveries_free(&deliveries);
	return EX_OK;
}

static int
store_show(const struct options *options,
	   const struct queue_arguments *arguments)
{
	CLEAN(browse_close_clean) struct browse *browse = NULL;
	CLEAN(text_done) struct text out = {0};
	struct selection all = {0};
	struct fault fault = {0};
	struct message_id id;
	int code = EX_OK;

	if (!store_enter(options, &all, &browse, &fault))
		return fault.kind == FAULT_ABSENT
			       ? queue_unknown_tell(arguments->ids[0])
			       : queue_fault_tell(&fault);
	for (int i = 0; i < arguments->count && code == EX_OK; i++) {
		const char *word = arguments->ids[i];

		if (i > 0)
			text_add_byte(&out, '\n');
		code = message_id_read(SLICE(word), &id)
			       ? store_show_one(browse, &id, word, &out)
			       : queue_unknown_tell(word);
	}
	return output_write(text_slice(&out)) == EX_OK ? code : EX_TEMPFAIL;
}

/* --- a running relay --- */

/* What it says of damage; true: there is more behind the cursor. */
static bool
head_take(const struct control_answer *answer, struct control_cursor *cursor)
{
	struct slice head = answer->head, name, value;
	bool has_more = false;

	while (control_head_next(&head, &name, &value))
		if (slice_eq(name, SLICE("more")))
			has_more = control_cursor_parse(value, cursor);
		else if (slice_eq(name, SLICE("damaged")))
			fprintf(stderr, "signet: %.*s\n", SLICE_ARG(value));
	return has_more;
}

int
queue_list(const struct options *options,
	   const struct queue_arguments *arguments)
{
	struct control_request request = arguments->request;
	struct fault fault = {0};
	bool has_more = true;
	int code = EX_OK;

	if (!control_enter(options, &fault))
		return queue_fault_tell(&fault);
	while (has_more && code == EX_OK) {
		CLEAN(control_answer_done) struct control_answer answer = {0};

		if (!control_ask(&request, &answer, &fault)) {
			if (fault.kind != FAULT_ABSENT)
				return queue_fault_tell(&fault);
			if (request.cursor.begun_ms == 0)
				return store_list(options, &request);
			fault_set(&fault, FAULT_BUSY,
				  "the relay has ended meanwhile; the list is "
				  "not whole");
			return queue_fault_tell(&fault);
		}
		has_more = head_take(&answer, &request.cursor);
		code = output_write(answer.body);
	}
	return code;
}

static int
show_one(const struct control_request *request, const char *word,
	 struct fault *fault)
{
	CLEAN(control_answer_done) struct control_answer answer = {0};
	struct control_cursor none;

	if (!control_ask(request, &answer, fault))
		return fault->kind == FAULT_ABSENT ? EX_UNAVAILABLE
						   : queue_fault_tell(fault);
	head_take(&answer, &none);
	if (answer.body.len == 0)
		return answer.head.len == 0 ? queue_unknown_tell(word)
					    : EX_DATAERR;
	return output_write(answer.body);
}

int
queue_show(const struct options *options,
	   const struct queue_arguments *arguments)
{
	struct control_request request = arguments->request;
	struct fault fault = {0};
	int code = EX_OK;

	if (!control_enter(options, &fault))
		return queue_fault_tell(&fault);
	for (int i = 0; i < arguments->count && code == EX_OK; i++) {
		const char *word = arguments->ids[i];

		if (i > 0)
			putchar('\n');
		request.has_id = message_id_read(SLICE(word), &request.id);
		code = request.has_id ? show_one(&request, word, &fault)
				      : queue_unknown_tell(word);
		if (i == 0 && fault.kind == FAULT_ABSENT)
			return store_show(options, arguments);
	}
	return code;
}
