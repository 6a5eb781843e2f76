#include "keys/signer_keys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* What a file gave; the keysets that have it share it. */
struct holding {
	atomic_uint references;
	struct key *key; /* never signs; the threads' own are made from it */
	struct key_public *public;
};

struct entry {
	struct key_id id;
	struct holding *holding;
};

/* A file, and what it gave; several may give the same. */
struct origin {
	struct key_file_id file;
	struct holding *holding; /* an entry's */
};

struct keyset {
	atomic_uint references;
	struct entry *table; /* open addressing, at most half full */
	struct origin *origins; /* likewise, as large */
	size_t mask, used, used_max, threads;
	struct key **own; /* [thread * (mask + 1) + place], made when needed */
};

static struct {
	pthread_mutex_t lock;
	struct keysets both;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct keyset *
keyset_new(size_t keys, size_t threads)
{
	struct keyset *keyset = memory_new(sizeof(*keyset));
	size_t size = 2;

	ASSERT(keys <= SIGNER_KEYS_MAX);
	ASSERT(threads <= SIGNER_THREADS_MAX);
	while (size < 2 * keys)
		size *= 2;
	atomic_init(&keyset->references, 1);
	keyset->mask = size - 1;
	keyset->used_max = keys;
	keyset->threads = threads;
	keyset->table = memory_array(size, sizeof(*keyset->table));
	keyset->origins = memory_array(size, sizeof(*keyset->origins));
	keyset->own = memory_array(threads * size, sizeof(struct key *));
	return keyset;
}

static void
holding_unref(struct holding *holding)
{
	if (holding == NULL || atomic_fetch_sub(&holding->references, 1) > 1)
		return;
	key_free(holding->key);
	key_public_free(holding->public);
	free(holding);
}

void
keyset_unref(struct keyset *keyset)
{
	size_t size;

	if (keyset == NULL ||
	    atomic_fetch_sub(&keyset->references, 1) > 1)
		return;
	size = keyset->mask + 1;
	for (size_t i = 0; i < size; i++)
		holding_unref(keyset->table[i].holding);
	for (size_t i = 0; i < keyset->threads * size; i++)
		key_free(keyset->own[i]);
	free(keyset->table);
	free(keyset->origins);
	free(keyset->own);
	free(keyset);
}

/* Where the key is, or the free place where it would be. An id is a SHA-256:
 * any of its bytes are as good as a hash. */
static size_t
place_of(const struct keyset *keyset, const struct key_id *id)
{
	size_t place;

	memcpy(&place, id->bytes, sizeof(place));
	for (place &= keyset->mask;
	     keyset->table[place].holding != NULL &&
	     !key_id_eq(&keyset->table[place].id, id);
	     place = (place + 1) & keyset->mask)
		;
	return place;
}

/* Likewise of a file. */
static struct origin *
origin_of(const struct keyset *keyset, const struct key_file_id *file)
{
	size_t place;

	memcpy(&place, file->bytes, sizeof(place));
	for (place &= keyset->mask;
	     keyset->origins[place].holding != NULL &&
	     !key_file_id_eq(&keyset->origins[place].file, file);
	     place = (place + 1) & keyset->mask)
		;
	return &keyset->origins[place];
}

/* Takes a reference; gives back what the keyset has of this key then. */
static struct holding *
holding_put(struct keyset *keyset, struct holding *holding)
{
	const struct key_id *id = key_public_id(holding->public);
	struct entry *entry = &keyset->table[place_of(keyset, id)];

	if (entry->holding != NULL) {
		holding_unref(holding);
		return entry->holding;
	}
	ASSERT(keyset->used < keyset->used_max);
	keyset->used++;
	*entry = (struct entry){*id, holding};
	return holding;
}

const struct key_public *
keyset_add(struct keyset *keyset, const struct key_file_id *file,
	   struct key_public *public, struct key *key)
{
	struct holding *holding = memory_new(sizeof(*holding));

	atomic_init(&holding->references, 1);
	holding->key = key;
	holding->public = public;
	holding = holding_put(keyset, holding);
	*origin_of(keyset, file) = (struct origin){*file, holding};
	return holding->public;
}

const struct key_public *
keyset_share(struct keyset *keyset, const struct keyset *from,
	     const struct key_file_id *file)
{
	struct holding *holding;

	if (from == NULL)
		return NULL;
	holding = origin_of(from, file)->holding;
	if (holding == NULL || from == keyset)
		return holding == NULL ? NULL : holding->public;
	atomic_fetch_add(&holding->references, 1);
	holding = holding_put(keyset, holding);
	*origin_of(keyset, file) = (struct origin){*file, holding};
	return holding->public;
}

struct key *
keyset_key(struct keyset *keyset, size_t thread,
	       const struct key_id *id)
{
	struct key **own;
	size_t place;

	if (keyset == NULL)
		return NULL;
	ASSERT(thread < keyset->threads);
	place = place_of(keyset, id);
	if (keyset->table[place].holding == NULL)
		return NULL;
	own = &keyset->own[thread * (keyset->mask + 1) + place];
	if (*own == NULL)
		*own = key_dup(keyset->table[place].holding->key);
	return *own;
}

void
keysets_advance(struct keyset *keyset)
{
	struct keyset *oldest;

	pthread_mutex_lock(&shared.lock);
	oldest = shared.both.previous;
	shared.both.previous = shared.both.current;
	shared.both.current = keyset;
	pthread_mutex_unlock(&shared.lock);
	keyset_unref(oldest);
}

void
keysets_revert(void)
{
	struct keyset *newest;

	pthread_mutex_lock(&shared.lock);
	newest = shared.both.current;
	shared.both.current = shared.both.previous;
	shared.both.previous = NULL;
	pthread_mutex_unlock(&shared.lock);
	keyset_unref(newest);
}

struct keysets
keysets_hold(void)
{
	struct keysets held;

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
keysets_release(struct keysets *held)
{
	keyset_unref(held->current);
	keyset_unref(held->previous);
	*held = (struct keysets){0};
}
