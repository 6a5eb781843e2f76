#include "relay/queue/store_verify.h"

#include <sys/stat.h>

#include "relay/queue/pages.h"
#include "relay/queue/store_engine_private.h"

enum table {
#define TABLE_NAME(name) TABLE_##name,
	TABLES(TABLE_NAME)
#undef TABLE_NAME
		TABLES_COUNT,
};

/*
 * Tables are compared by sums of hashes: of what a delivery's record says where
 * it is due, and of what is due; of the ids of deliveries, and of messages. A
 * record that is damaged, or was set aside, takes part in no sum: then nothing
 * is said about that pair of tables.
 */
struct verify {
	struct pages *pages;
	struct pages_tree trees[TABLES_COUNT];
	bool is_there[TABLES_COUNT];
	const char *damage;
	uint64_t due[2], of_deliveries[2]; /* not held, held */
	uint64_t messages, messages_of_deliveries;
	bool is_place_unknown, is_message_unknown;
	struct message_id id; /* of the last node */
	bool has_id;
	uint32_t next, chunks; /* of the message */
	bool is_length_known;
	uint64_t abouts;       /* things that it says about itself */
	bool has_layout;       /* one is that it has ours */
	bool has_ours;         /* holds what this version wrote */
};

/* All was read that it says of itself, and not that its layout is ours. */
static bool
is_foreign(const struct verify *verify)
{
	return verify->abouts > 0 && !verify->has_layout &&
	       verify->abouts == verify->trees[TABLE_about].entries;
}

typedef bool node_fn(void *owner, struct slice key,
		     const struct pages_value *value);

static bool
is_strange(struct verify *verify, const char *what)
{
	verify->damage = what;
	return false;
}

static uint64_t
id_hash(const struct message_id *id)
{
	return record_key_hash(slice_of(id->bytes, sizeof(id->bytes)));
}

/* Whether another message begins. */
static bool
id_is_new(struct verify *verify, const struct message_id *id)
{
	if (verify->has_id && message_id_eq(&verify->id, id))
		return false;
	verify->id = *id;
	verify->has_id = true;
	return true;
}

static bool
on_table(void *owner, struct slice key, const struct pages_value *value)
{
	struct verify *verify = owner;
	struct pages_tree tree;

	if (!pages_tree_read(verify->pages, value, &tree) || tree.flags != 0)
		return is_strange(verify, "a table is none");
#define TABLE_TAKE(name)                                                       \
	if (slice_eq(key, SLICE(#name))) {                                     \
		verify->trees[TABLE_##name] = tree;                            \
		verify->is_there[TABLE_##name] = true;                         \
		return true;                                                   \
	}
	TABLES(TABLE_TAKE)
#undef TABLE_TAKE
	return is_strange(verify, "a table has a strange name");
}

static bool
on_about(void *owner, struct slice key, const struct pages_value *value)
{
	struct verify *verify = owner;

	verify->abouts++;
	/* Of anything else who needs it sees whether it is whole; a later
	 * version may say more. */
	if (slice_eq(key, SLICE(LAYOUT_KEY)))
		verify->has_layout = slice_eq(value->bytes, SLICE(LAYOUT));
	return true;
}

static bool
on_place(struct verify *verify, struct slice key, bool is_held)
{
	struct slice destination;
	struct message_id id;
	uint64_t due_ms;

	if (!record_key_due_read(key, &destination, &due_ms, &id))
		return is_strange(verify, "what is due has a strange name");
	verify->due[is_held] += record_key_hash(key);
	return true;
}

static bool
on_due(void *owner, struct slice key, const struct pages_value *value)
{
	(void)value;
	return on_place(owner, key, false);
}

static bool
on_held(void *owner, struct slice key, const struct pages_value *value)
{
	(void)value;
	return on_place(owner, key, true);
}

static bool
on_damaged(void *owner, struct slice key, const struct pages_value *value)
{
	struct verify *verify = owner;

	(void)key;
	(void)value;
	verify->is_place_unknown = verify->is_message_unknown = true;
	return true;
}

static bool
on_delivery(void *owner, struct slice key, const struct pages_value *value)
{
	struct verify *verify = owner;
	CLEAN(text_done) struct text record = {0};
	struct record_place place;
	struct record_key due;
	struct slice destination;
	struct message_id id;

	if (!record_key_delivery_read(key, &id, &destination))
		return is_strange(verify, "a delivery has a strange name");
	if (id_is_new(verify, &id))
		verify->messages_of_deliveries += id_hash(&id);
	if (!pages_value_read(verify->pages, value, &record))
		return is_strange(verify, "a delivery is not there");
	if (!record_delivery_place(&id, destination, text_slice(&record),
				   &place)) {
		verify->is_place_unknown = true;
		return true;
	}
	verify->has_ours = true;
	record_key_due(&due, destination, place.due_ms, &id);
	verify->of_deliveries[place.is_held] +=
		record_key_hash(slice_of(due.bytes, due.len));
	return true;
}

static bool
message_has_all(struct verify *verify)
{
	return !verify->is_length_known ||
	       verify->next == verify->chunks + 1 ||
	       is_strange(verify, "a message lacks a part of its body");
}

static bool
on_message(void *owner, struct slice key, const struct pages_value *value)
{
	struct verify *verify = owner;
	CLEAN(text_done) struct text record = {0};
	struct message_id id;
	uint32_t number;

	if (!record_key_message_read(key, &id, &number))
		return is_strange(verify, "a message has a strange name");
	if (id_is_new(verify, &id)) {
		if (!message_has_all(verify))
			return false;
		verify->messages += id_hash(&id);
		verify->next = 0;
	}
	if (number != verify->next++)
		return is_strange(verify,
				  "a message lacks a part of its body");
	if (number > 0)
		return true;
	verify->is_length_known =
		pages_value_read(verify->pages, value, &record) &&
		record_message_chunks(&id, text_slice(&record),
				      &verify->chunks);
	return true;
}

static node_fn *const on_node[TABLES_COUNT] = {
	[TABLE_messages] = on_message,
	[TABLE_deliveries] = on_delivery,
	[TABLE_about] = on_about,
	[TABLE_due] = on_due,
	[TABLE_held] = on_held,
	[TABLE_damaged] = on_damaged,
};

/* False: not all of it could be read in time, or it is damaged. */
static bool
verify_tree(struct verify *verify, const struct pages_tree *tree, node_fn *node,
	    uint64_t deadline_ms)
{
	struct pages_walk walk = {
		.owner = verify, .node = node, .deadline_ms = deadline_ms};

	if (!pages_walk(verify->pages, tree, &walk) && verify->damage == NULL)
		verify->damage = pages_damage(verify->pages);
	return verify->damage == NULL && !walk.is_ended;
}

static void
verify_run(struct verify *verify, uint64_t deadline_ms)
{
	/* What is read in time is known: the small ones first. */
	static const enum table order[] = {TABLE_about,	     TABLE_damaged,
					   TABLE_held,	     TABLE_due,
					   TABLE_deliveries, TABLE_messages};

	if (!verify_tree(verify, pages_tables(verify->pages), on_table,
			 deadline_ms))
		return;
	for (size_t i = 0; i < COUNT(order); i++) {
		verify->has_id = false;
		if (verify->is_there[order[i]] &&
		    !verify_tree(verify, &verify->trees[order[i]],
				 on_node[order[i]], deadline_ms))
			return;
		if (order[i] == TABLE_deliveries && !verify->is_place_unknown &&
		    (verify->due[0] != verify->of_deliveries[0] ||
		     verify->due[1] != verify->of_deliveries[1]))
			is_strange(verify, "what is due does not agree with "
					   "the deliveries");
	}
	if (is_foreign(verify) &&
	    (verify->has_ours || verify->trees[TABLE_deliveries].entries == 0))
		is_strange(verify, "what it says about itself is not true");
	if (!message_has_all(verify) || verify->is_message_unknown)
		return;
	if (verify->messages != verify->messages_of_deliveries)
		is_strange(verify,
			   "messages do not agree with the deliveries");
}

bool
store_verify(const char *path, uint64_t deadline_ms, struct fault *fault)
{
	CLEAN(pages_close_clean) struct pages *pages = NULL;
	struct verify verify = {0};
	struct stat status;

	if (stat(path, &status) != 0 || status.st_size == 0)
		return true;
	if (!pages_open(path, &pages, fault))
		return false;
	verify.pages = pages;
	if (pages_damage(pages)[0] != '\0')
		verify.damage = pages_damage(pages);
	else
		verify_run(&verify, deadline_ms);
	if (pages_is_unreadable(pages))
		return engine_unreadable(fault, path, pages_damage(pages));
	if (verify.damage == NULL && pages_bits(pages) == PAGES_BITS_HERE)
		return true;
	if (verify.damage == NULL && is_foreign(&verify))
		return fault_set(fault, FAULT_INPUT,
				 "%s: its layout is not one that this version "
				 "reads",
				 path);
	if (verify.damage == NULL)
		return engine_foreign(fault, path, pages_bits(pages));
	fault_set(fault, FAULT_INPUT, "%s: %s", path, verify.damage);
	engine_damaged(fault);
	return false;
}

bool
store_verify_bytes(const char *path, struct fault *fault)
{
	CLEAN(pages_close_clean) struct pages *pages = NULL;

	return pages_open(path, &pages, fault) &&
	       ((pages_read_all(pages) && !pages_is_unreadable(pages)) ||
		engine_unreadable(fault, path, pages_damage(pages)));
}
