#include <stdlib.h>
#include <uv.h>

#include "relay/queue/store_engine_private.h"

/* Messages for very many whose deliveries are read at the same time. */
#define INDEXES_MAX 32

/* The one that was used last is the first. */
struct engine_indexes {
	uv_mutex_t mutex;
	struct record_index *items[INDEXES_MAX];
};

struct engine_indexes *
engine_indexes_new(void)
{
	struct engine_indexes *indexes = memory_new(sizeof(*indexes));

	ASSERT(uv_mutex_init(&indexes->mutex) == 0);
	return indexes;
}

void
engine_indexes_free(struct engine_indexes *indexes)
{
	if (indexes == NULL)
		return;
	for (size_t i = 0; i < INDEXES_MAX; i++)
		if (indexes->items[i] != NULL)
			record_index_unref(indexes->items[i]);
	uv_mutex_destroy(&indexes->mutex);
	free(indexes);
}

/* Under the mutex: the place of that message's, or the last one. */
static size_t
indexes_find(const struct engine_indexes *indexes, const struct message_id *id)
{
	size_t i = 0;

	while (i + 1 < INDEXES_MAX && indexes->items[i] != NULL &&
	       !message_id_eq(record_index_id(indexes->items[i]), id))
		i++;
	return i;
}

/* Under the mutex. */
static void
indexes_put_first(struct engine_indexes *indexes, size_t from,
		  struct record_index *index)
{
	for (size_t i = from; i > 0; i--)
		indexes->items[i] = indexes->items[i - 1];
	indexes->items[0] = index;
}

static struct record_index *
indexes_take(struct engine_indexes *indexes, const struct message_id *id)
{
	struct record_index *index;
	size_t i;

	uv_mutex_lock(&indexes->mutex);
	i = indexes_find(indexes, id);
	index = indexes->items[i];
	if (index != NULL && message_id_eq(record_index_id(index), id)) {
		indexes_put_first(indexes, i, index);
		record_index_ref(index);
	} else {
		index = NULL;
	}
	uv_mutex_unlock(&indexes->mutex);
	return index;
}

/* Another thread may have made the same meanwhile. */
static void
indexes_add(struct engine_indexes *indexes, struct record_index *index)
{
	struct record_index *last;
	size_t i;

	uv_mutex_lock(&indexes->mutex);
	i = indexes_find(indexes, record_index_id(index));
	last = indexes->items[i];
	indexes_put_first(indexes, i, record_index_ref(index));
	uv_mutex_unlock(&indexes->mutex);
	if (last != NULL)
		record_index_unref(last);
}

struct record_index *
engine_index(struct engine *engine, const struct message_id *id,
	     struct slice of_message)
{
	struct record_index *index;

	if (engine->indexes == NULL || !record_index_is_worth(of_message))
		return NULL;
	index = indexes_take(engine->indexes, id);
	if (index != NULL)
		return index;
	/* Not under the mutex: it takes as long as reading all of them. */
	index = record_index_new(id, of_message);
	if (index != NULL)
		indexes_add(engine->indexes, index);
	return index;
}
