#include "relay/queue/browse.h"

#include <fcntl.h>
#include <stdlib.h>

#include "relay/queue/spool_private.h"
#include "relay/queue/store_engine.h"

/* Deliveries of one transaction; a message is never cut. */
#define PAGE_MAX 256

struct browse {
	struct engine *engine;
	browse_damaged_fn *damaged;
	struct engine_page page;
	bool is_over;
};

bool
browse_open(browse_damaged_fn *damaged, struct browse **browse_out,
	    struct fault *fault)
{
	struct engine *engine;
	struct browse *browse;

	if (!engine_open_reading("queue", &engine, fault))
		return false;
	browse = memory_new(sizeof(*browse));
	browse->engine = engine;
	browse->damaged = damaged;
	browse->page.max = PAGE_MAX;
	*browse_out = browse;
	return true;
}

void
browse_close(struct browse *browse)
{
	engine_close(browse->engine);
	free(browse);
}

static void
browse_on_damaged(void *owner, struct slice destination, uint64_t due_ms,
		  const struct message_id *id, const struct fault *fault)
{
	struct browse *browse = owner;

	(void)due_ms;
	browse->damaged(id, destination, fault);
}

bool
browse_next(struct browse *browse, struct list *deliveries,
	    struct fault *fault)
{
	struct list *item;

	list_init(deliveries);
	/* A page may be all damage. */
	while (!browse->is_over && list_is_empty(deliveries)) {
		if (!engine_read_page(browse->engine, &browse->page,
				      browse_on_damaged, browse, fault))
			return false;
		browse->is_over = !browse->page.has_more;
		while ((item = list_take_first(&browse->page.deliveries)) !=
		       NULL)
			list_add_last(deliveries, item);
	}
	return true;
}

bool
browse_find(struct browse *browse, const struct message_id *id,
	    struct list *deliveries, struct fault *fault)
{
	return engine_read_message(browse->engine, id, deliveries,
				   browse_on_damaged, browse, fault);
}

static bool
browse_read(struct browse *browse, struct spool_room *room,
	    const struct message *message, uint64_t offset, size_t max,
	    struct text *out, struct fault *fault)
{
	if (message->body.is_file)
		return spool_read(room, message, offset, max, out, fault);
	return engine_read_chunk(browse->engine, &message->id,
				 (uint32_t)(offset / BODY_CHUNK) + 1,
				 offset % BODY_CHUNK, max, out, fault);
}

bool
browse_header(struct browse *browse, const struct message *message, size_t max,
	      struct text *out, struct fault *fault)
{
	CLEAN(clean_descriptor)
	int directory = open("spool", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct spool_room room = {.directory = directory};
	uint64_t len = message->body.header_len;
	uint64_t done = 0;

	if (directory < 0)
		return fault_errno(fault, "spool");
	if (len > max)
		len = max;
	while (done < len) {
		size_t before = out->len;

		if (!browse_read(browse, &room, message, done, len - done, out,
				 fault))
			return false;
		if (out->len == before)
			return fault_set(fault, FAULT_INPUT,
					 "the body is shorter than its record "
					 "says");
		done += out->len - before;
	}
	return true;
}
