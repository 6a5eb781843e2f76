#include "relay/queue/store_private.h"

static bool
body_read(struct engine *engine, struct spool_room *room,
	  const struct message *message, uint64_t offset, size_t max,
	  struct text *out, struct fault *fault)
{
	if (message->body.is_file)
		return spool_read(room, message, offset, max, out, fault);
	return engine_read_chunk(engine, &message->id,
				 (uint32_t)(offset / BODY_CHUNK) + 1,
				 (size_t)(offset % BODY_CHUNK), max, out,
				 fault);
}

bool
store_header_read(struct engine *engine, struct spool_room *room,
		  const struct message *message, size_t max, struct text *out,
		  struct fault *fault)
{
	uint64_t len = message->body.header_len;
	uint64_t done = 0;

	if (len > max)
		len = max;
	while (done < len) {
		size_t before = out->len;

		if (!body_read(engine, room, message, done,
			       (size_t)(len - done), out, fault))
			return false;
		if (out->len == before)
			return fault_set(fault, FAULT_INPUT,
					 "the body is shorter than its record "
					 "says");
		done += out->len - before;
	}
	return true;
}

bool
store_read_header(struct store *store, const struct message *message,
		  size_t max, struct text *out, struct fault *fault)
{
	return store_header_read(store->engine, store->room, message, max, out,
				 fault);
}
