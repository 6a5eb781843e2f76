#include "relay/queue/browse.h"

#include <fcntl.h>
#include <stdlib.h>

#include "relay/queue/spool_private.h"
#include "relay/queue/store_private.h"
#include "relay/queue/store_verify.h"

struct browse {
	struct engine *engine;
	browse_damaged_fn *damaged;
	struct engine_page page;
	bool is_over;
};

bool
browse_open(const struct selection *selection, browse_damaged_fn *damaged,
	    struct browse **browse_out, struct fault *fault)
{
	struct engine *engine;
	struct browse *browse;

	/* A damaged page can crash who follows it. */
	if (!store_verify("queue/data.mdb", clock_now_ms() + STORE_VERIFY_MS,
			  fault)) {
		if (engine_is_foreign(fault))
			fault_within(fault, "the queue is from another "
					    "machine; a relay takes it over at "
					    "its start");
		return engine_is_damaged(fault) &&
		       fault_within(fault, "the queue is damaged; a relay "
					   "salvages it at its start");
	}
	if (!engine_open_reading("queue", &engine, fault))
		return false;
	browse = memory_new(sizeof(*browse));
	browse->engine = engine;
	browse->damaged = damaged;
	browse->page.selection = *selection;
	browse->page.max = STORE_PAGE_MAX;
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

bool
browse_header(struct browse *browse, const struct message *message, size_t max,
	      struct text *out, struct fault *fault)
{
	CLEAN(clean_descriptor)
	int directory = open("spool", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct spool_room room = {.directory = directory};

	if (directory < 0)
		return fault_errno(fault, "spool");
	return store_header_read(browse->engine, &room, message, max, out,
				 fault);
}
