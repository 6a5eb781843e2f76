#include <stdlib.h>

#include "relay/limits.h"
#include "relay/queue/store.h"

bool
delivery_is_prompt(const struct delivery *delivery,
		   size_t recipients_of_message)
{
	return delivery->last_attempt_ms == 0 &&
	       recipients_of_message <= PROMPT_RECIPIENTS_MAX;
}

struct by_destination {
	struct slice destination;
	unsigned index;
};

static int
by_destination_compare(const void *a, const void *b)
{
	const struct by_destination *left = a, *right = b;
	int order = slice_compare(left->destination, right->destination);

	if (order != 0)
		return order;
	return left->index < right->index ? -1 : 1;
}

/* The destination of a domain, for this message. A loop has no generation
 * before the first configuration. */
static struct slice
destination_make(const struct loop *loop, const struct message *message,
		 struct slice domain, struct arena *arena)
{
	char name[DESTINATION_MAX];

	if (loop->generation == NULL)
		return domain; /* the message's */
	return arena_copy(arena,
			  routing_destination(loop->generation->options, domain,
					      message->reverse_path, name));
}

static struct delivery *
delivery_new(struct message *message, const struct loop *loop,
	     const struct by_destination *rows, size_t count)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));

	delivery->arena = ARENA_SMALL;
	delivery->message = message_ref(message);
	delivery->destination = destination_make(
		loop, message, rows[0].destination, &delivery->arena);
	delivery->due_ms = message->received_ms;
	delivery->recipients = arena_array(&delivery->arena, count,
					   sizeof(*delivery->recipients));
	delivery->recipients_count = count;
	delivery->is_prompt =
		delivery_is_prompt(delivery, message->recipients_count);
	for (size_t i = 0; i < count; i++)
		delivery->recipients[i].index =
			delivery->recipients[i].number = rows[i].index;
	return delivery;
}

void
deliveries_of(struct message *message, const struct loop *loop,
	      struct list *deliveries)
{
	size_t count = message->recipients_count, first = 0;
	struct by_destination *rows = memory_array(count, sizeof(*rows));

	for (size_t i = 0; i < count; i++)
		rows[i] = (struct by_destination){
			message->recipients[i].destination, (unsigned)i};
	if (count > 1)
		qsort(rows, count, sizeof(*rows), by_destination_compare);
	for (size_t i = 1; i <= count; i++) {
		struct delivery *delivery;

		if (i < count && slice_eq(rows[i].destination,
					  rows[first].destination))
			continue;
		delivery = delivery_new(message, loop, &rows[first], i - first);
		list_add_last(deliveries, &delivery->link);
		first = i;
	}
	free(rows);
}

void
delivery_free(struct delivery *delivery)
{
	struct message *message = delivery->message;

	arena_done(&delivery->arena);
	free(delivery);
	if (message != NULL)
		message_unref(message);
}

void
deliveries_free(struct list *deliveries)
{
	struct list *item;

	while ((item = list_take_first(deliveries)) != NULL)
		delivery_free(CONTAINER(item, struct delivery, link));
}
