#include "relay/queue/store_engine_private.h"

/* What is due, held or damaged names its destination: so what goes to a domain
 * is found without looking at anything else. */

struct search {
	struct engine_find *find;
	MDB_txn *txn;
	int status;
};

static bool
is_over(const struct search *search)
{
	return search->status != 0 ||
	       search->find->looks >= ENGINE_PAGE_LOOKS;
}

/* Keeps the lowest, in order, and one more than are wanted. */
static void
search_add(struct search *search, const struct message_id *id)
{
	struct engine_find *find = search->find;
	size_t low = 0, high = find->count;

	if (memcmp(id, &find->after, sizeof(*id)) <= 0 ||
	    memcmp(id, &find->until, sizeof(*id)) > 0)
		return;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = memcmp(id, &find->ids[middle], sizeof(*id));

		if (order == 0)
			return;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	if (low > find->max)
		return;
	if (find->count <= find->max)
		find->count++;
	memmove(&find->ids[low + 1], &find->ids[low],
		(find->count - low - 1) * sizeof(*id));
	find->ids[low] = *id;
}

/* Those keys that begin with the domain and this byte: the end of its name, or
 * a route behind it (relay/routing.h). */
static void
search_range(struct search *search, MDB_cursor *cursor, char behind)
{
	struct slice domain = search->find->domain, destination;
	struct message_id id;
	struct record_key first;
	MDB_val name, value;
	uint64_t due_ms;

	memcpy(first.bytes, domain.bytes, domain.len);
	first.bytes[domain.len] = (uint8_t)behind;
	first.len = domain.len + 1;
	name = val_of_key(&first);
	search->status = mdb_cursor_get(cursor, &name, &value, MDB_SET_RANGE);
	while (!is_over(search) && name.mv_size >= first.len &&
	       memcmp(name.mv_data, first.bytes, first.len) == 0) {
		search->find->looks++;
		if (record_key_due_read(slice_of_val(&name), &destination,
					&due_ms, &id))
			search_add(search, &id);
		search->status = mdb_cursor_get(cursor, &name, &value,
						MDB_NEXT);
	}
	if (search->status == MDB_NOTFOUND)
		search->status = 0;
}

static void
search_by_destination(struct search *search, MDB_dbi table)
{
	MDB_cursor *cursor;

	if (is_over(search))
		return;
	search->status = mdb_cursor_open(search->txn, table, &cursor);
	if (search->status != 0)
		return;
	search_range(search, cursor, '\0');
	if (!is_over(search))
		search_range(search, cursor, ROUTING_SEPARATOR);
	mdb_cursor_close(cursor);
}

/* Of these there are few, in the order of their ids. */
static void
search_damaged(struct search *search, MDB_dbi table)
{
	struct slice destination;
	struct message_id id;
	MDB_cursor *cursor;
	MDB_val name, value;

	if (is_over(search))
		return;
	search->status = mdb_cursor_open(search->txn, table, &cursor);
	if (search->status != 0)
		return;
	search->status = mdb_cursor_get(cursor, &name, &value, MDB_FIRST);
	while (!is_over(search)) {
		search->find->looks++;
		if (record_key_delivery_read(slice_of_val(&name), &id,
					     &destination) &&
		    slice_eq(routing_domain(destination),
			     search->find->domain))
			search_add(search, &id);
		search->status = mdb_cursor_get(cursor, &name, &value,
						MDB_NEXT);
	}
	if (search->status == MDB_NOTFOUND)
		search->status = 0;
	mdb_cursor_close(cursor);
}

bool
engine_find_domain(struct engine *engine, MDB_txn *txn,
		   struct engine_find *find, struct fault *fault)
{
	struct search search = {.find = find, .txn = txn};

	find->count = find->looks = 0;
	if (find->domain.len > 0 && find->domain.len <= DOMAIN_MAX) {
		search_by_destination(&search, engine->due);
		search_by_destination(&search, engine->held);
		search_damaged(&search, engine->damaged);
	}
	if (search.status != 0)
		return engine_fault(fault, search.status, "read");
	find->is_too_much = find->looks >= ENGINE_PAGE_LOOKS;
	find->has_more = find->count > find->max;
	if (find->has_more)
		find->count = find->max;
	return true;
}
