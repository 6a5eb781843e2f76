#include "base/log.h"
#include "relay/limits.h"
#include "relay/queue/store_private.h"

/* What is refused for is said once a minute, not to every client. */
static void
lack_tell(struct store *store, enum store_lack lack)
{
	static const char *const reasons[STORE_LACKS_COUNT] = {
		[STORE_LACKS_TIME] = "too much waits to be written",
		[STORE_LACKS_DISK] = "limits.min_free_space",
		[STORE_LACKS_MAP] =
			"the queue's file fills its address space",
		[STORE_LACKS_PLACE] =
			"limits.max_queue_messages or limits.max_queue_size",
		[STORE_LACKS_INTAKE] = "limits.max_incoming",
		[STORE_LACKS_INTAKE_PART] =
			"limits.max_incoming, one client's part",
		[STORE_LACKS_MEMORY] = "limits.max_memory",
		[STORE_LACKS_MEMORY_PART] =
			"limits.max_memory, one client's part",
	};
	uint_fast64_t told_ms = atomic_load(&store->lack_told_ms[lack]);
	uint64_t now_ms = clock_now_ms();
	uint64_t messages, bytes;
	struct log line;

	if ((told_ms != 0 && now_ms < told_ms + STORE_LACK_TELL_MS) ||
	    !atomic_compare_exchange_strong(&store->lack_told_ms[lack],
					    &told_ms, now_ms))
		return;
	engine_count_messages(store->engine, &messages, &bytes);
	log_begin(&line, LOG_LEVEL_WARNING, "no-room");
	log_string(&line, "reason", reasons[lack]);
	log_number(&line, "messages", messages);
	log_number(&line, "bytes", bytes);
	log_number(&line, "incoming", atomic_load(&store->quota.incoming));
	log_send(&line);
}

/* Beside those that are on their way; what is larger goes to a file of its own. */
static bool
map_has_room(const struct store *store, uint64_t size_bytes)
{
	return engine_has_room(store->engine,
			       atomic_load(&store->quota.bytes) +
				       (size_bytes < BODY_INLINE_MAX
						? size_bytes
						: BODY_INLINE_MAX));
}

static enum store_lack
lack_find(struct store *store, uint64_t size_bytes)
{
	uint64_t messages, bytes;

	if (atomic_load(&store->waiting_count) >= STORE_OPERATIONS_MAX)
		return STORE_LACKS_TIME;
	if (!space_has(&store->space, size_bytes))
		return STORE_LACKS_DISK;
	if (!map_has_room(store, size_bytes))
		return STORE_LACKS_MAP;
	engine_count_messages(store->engine, &messages, &bytes);
	if (!quota_has_place(&store->quota, messages, bytes, size_bytes))
		return STORE_LACKS_PLACE;
	return STORE_LACKS_NOTHING;
}

/* Before a refusal. */
static enum store_lack
lack_told(struct store *store, enum store_lack lack)
{
	if (lack != STORE_LACKS_NOTHING)
		lack_tell(store, lack);
	return lack;
}

enum store_lack
store_lacks(struct store *store, uint64_t size_bytes)
{
	return lack_told(store, lack_find(store, size_bytes));
}

enum store_lack
store_lacks_for_new(struct store *store, const struct quota_part *part,
		    uint64_t size_bytes)
{
	enum store_lack lack = lack_find(store, size_bytes);

	if (lack == STORE_LACKS_NOTHING &&
	    !quota_may_reserve(&store->quota, size_bytes))
		lack = STORE_LACKS_INTAKE;
	else if (lack == STORE_LACKS_NOTHING &&
		 !quota_is_fair(&store->quota, part, 0, size_bytes))
		lack = STORE_LACKS_INTAKE_PART;
	return lack_told(store, lack);
}

enum store_lack
store_reserve(struct store *store, struct quota_part *part, uint64_t own,
	      uint64_t bytes)
{
	if (!quota_is_fair(&store->quota, part, own, bytes))
		return lack_told(store, STORE_LACKS_INTAKE_PART);
	if (!quota_reserve(&store->quota, bytes))
		return lack_told(store, STORE_LACKS_INTAKE);
	atomic_fetch_add(&part->incoming, bytes);
	return STORE_LACKS_NOTHING;
}

void
store_release(struct store *store, struct quota_part *part, uint64_t bytes)
{
	ASSERT(atomic_fetch_sub(&part->incoming, bytes) >= bytes);
	quota_release(&store->quota, bytes);
}

static enum store_lack
lack_of_memory(const struct store *store, const struct quota_part *part,
	       uint64_t own, uint64_t bytes)
{
	if (!quota_may_hold(&store->quota, bytes))
		return STORE_LACKS_MEMORY;
	if (!quota_is_fair_to_hold(&store->quota, part, own, bytes))
		return STORE_LACKS_MEMORY_PART;
	return STORE_LACKS_NOTHING;
}

enum store_lack
store_lacks_memory(struct store *store, const struct quota_part *part,
		   uint64_t own, uint64_t bytes)
{
	return lack_told(store, lack_of_memory(store, part, own, bytes));
}

enum store_lack
store_hold(struct store *store, struct quota_part *part, uint64_t own,
	   uint64_t bytes)
{
	enum store_lack lack = lack_of_memory(store, part, own, bytes);

	if (lack == STORE_LACKS_NOTHING && !quota_hold(&store->quota, bytes))
		lack = STORE_LACKS_MEMORY;
	if (lack == STORE_LACKS_NOTHING)
		atomic_fetch_add(&part->held, bytes);
	return lack_told(store, lack);
}

void
store_let_go(struct store *store, struct quota_part *part, uint64_t bytes)
{
	ASSERT(atomic_fetch_sub(&part->held, bytes) >= bytes);
	quota_let_go(&store->quota, bytes);
}

bool
store_is_pressed(const struct store *store)
{
	return quota_is_pressed(&store->quota);
}

void
store_set_limits(struct store *store, const struct store_limits *limits)
{
	struct quota *quota = &store->quota;

	atomic_store(&store->space.min_free_bytes, limits->min_free_bytes);
	atomic_store(&quota->incoming_max, limits->incoming_bytes);
	atomic_store(&quota->held_max, limits->held_bytes);
	atomic_store(&quota->messages_max, limits->messages);
	atomic_store(&quota->bytes_max, limits->bytes);
	spool_room_limit(store->room, limits->memory_bytes);
}

void
store_count(const struct store *store, struct store_counters *out)
{
	*out = (struct store_counters){
		.puts = atomic_load(&store->puts),
		.settles = atomic_load(&store->settles),
		.commits = atomic_load(&store->commits),
		.refused = atomic_load(&store->refused),
		.damaged = atomic_load(&store->damaged),
		.waiting = atomic_load(&store->waiting_count),
		.bytes = engine_used_bytes(store->engine),
		.incoming = atomic_load(&store->quota.incoming),
		.memory = spool_room_memory(store->room),
		.held_memory = atomic_load(&store->quota.held),
	};
	engine_count(store->engine, &out->deliveries, &out->due, &out->held);
	engine_count_messages(store->engine, &out->messages,
			      &out->message_bytes);
}
