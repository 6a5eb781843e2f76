#include "keys/signer_keys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct entry {
	struct key_id id;
	struct key *key; /* never signs; the threads' own are made from it */
};

struct generation {
	atomic_uint references;
	struct entry *table; /* open addressing, at most half full */
	size_t mask, used, used_max, threads;
	struct key **own; /* [thread * (mask + 1) + place], made when needed */
};

static struct {
	pthread_mutex_t lock;
	struct generations both;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct generation *
generation_new(size_t keys, size_t threads)
{
	struct generation *generation = memory_new(sizeof(*generation));
	size_t size = 2;

	ASSERT(keys <= SIGNER_KEYS_MAX);
	ASSERT(threads <= SIGNER_THREADS_MAX);
	while (size < 2 * keys)
		size *= 2;
	atomic_init(&generation->references, 1);
	generation->mask = size - 1;
	generation->used_max = keys;
	generation->threads = threads;
	generation->table = memory_array(size, sizeof(*generation->table));
	generation->own = memory_array(threads * size, sizeof(struct key *));
	return generation;
}

void
generation_unref(struct generation *generation)
{
	size_t size;

	if (generation == NULL ||
	    atomic_fetch_sub(&generation->references, 1) > 1)
		return;
	size = generation->mask + 1;
	for (size_t i = 0; i < size; i++)
		key_free(generation->table[i].key);
	for (size_t i = 0; i < generation->threads * size; i++)
		key_free(generation->own[i]);
	free(generation->table);
	free(generation->own);
	free(generation);
}

/* Where the key is, or the free place where it would be. An id is a SHA-256:
 * any of its bytes are as good as a hash. */
static size_t
place_of(const struct generation *generation, const struct key_id *id)
{
	size_t place;

	memcpy(&place, id->bytes, sizeof(place));
	for (place &= generation->mask;
	     generation->table[place].key != NULL &&
	     !key_id_eq(&generation->table[place].id, id);
	     place = (place + 1) & generation->mask)
		;
	return place;
}

void
generation_add(struct generation *generation, const struct key_id *id,
	       struct key *key)
{
	struct entry *entry = &generation->table[place_of(generation, id)];

	if (entry->key != NULL) {
		key_free(key);
		return;
	}
	ASSERT(generation->used < generation->used_max);
	generation->used++;
	*entry = (struct entry){*id, key};
}

struct key *
generation_key(struct generation *generation, size_t thread,
	       const struct key_id *id)
{
	struct key **own;
	size_t place;

	if (generation == NULL)
		return NULL;
	ASSERT(thread < generation->threads);
	place = place_of(generation, id);
	if (generation->table[place].key == NULL)
		return NULL;
	own = &generation->own[thread * (generation->mask + 1) + place];
	if (*own == NULL)
		*own = key_dup(generation->table[place].key);
	return *own;
}

void
generations_advance(struct generation *generation)
{
	struct generation *oldest;

	pthread_mutex_lock(&shared.lock);
	oldest = shared.both.previous;
	shared.both.previous = shared.both.current;
	shared.both.current = generation;
	pthread_mutex_unlock(&shared.lock);
	generation_unref(oldest);
}

struct generations
generations_hold(void)
{
	struct generations held;

	pthread_mutex_lock(&shared.lock);
	held = shared.both;
	if (held.current != NULL)
		atomic_fetch_add(&held.current->references, 1);
	if (held.previous != NULL)
		atomic_fetch_add(&held.previous->references, 1);
	pthread_mutex_unlock(&shared.lock);
	return held;
}

void
generations_release(struct generations *held)
{
	generation_unref(held->current);
	generation_unref(held->previous);
	*held = (struct generations){0};
}
