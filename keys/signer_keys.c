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

#define ID_SIZE 32
static_assert(sizeof(struct key_id) == ID_SIZE &&
		      sizeof(struct key_file_id) == ID_SIZE,
	      "both are a SHA-256");

struct entry {
	uint8_t id[ID_SIZE];
	struct holding *holding;
};

struct keyset {
	atomic_uint references;
	/* Open addressing, at most half full: each key's, and those of the files
	 * they came from, of which several may have the same. */
	struct entry *keys, *files;
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
	keyset->keys = memory_array(size, sizeof(*keyset->keys));
	keyset->files = memory_array(size, sizeof(*keyset->files));
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
		holding_unref(keyset->keys[i].holding);
	for (size_t i = 0; i < keyset->threads * size; i++)
		key_free(keyset->own[i]);
	free(keyset->keys);
	free(keyset->files);
	free(keyset->own);
	free(keyset);
}

/* Where the key or the file is in its table, or the free place where it would
 * be. Any bytes of a SHA-256 are as good as a hash. */
static struct entry *
entry_of(const struct keyset *keyset, struct entry *table,
	 const uint8_t id[ID_SIZE])
{
	size_t place;

	memcpy(&place, id, sizeof(place));
	for (place &= keyset->mask;
	     table[place].holding != NULL &&
	     memcmp(table[place].id, id, ID_SIZE) != 0;
	     place = (place + 1) & keyset->mask)
		;
	return &table[place];
}

static void
entry_set(struct entry *entry, const uint8_t id[ID_SIZE],
	  struct holding *holding)
{
	memcpy(entry->id, id, ID_SIZE);
	entry->holding = holding;
}

/* Takes a reference; gives back what the keyset has of this key then. */
static struct holding *
key_put(struct keyset *keyset, struct holding *holding)
{
	const struct key_id *id = key_public_id(holding->public);
	struct entry *entry = entry_of(keyset, keyset->keys, id->bytes);

	if (entry->holding != NULL) {
		holding_unref(holding);
		return entry->holding;
	}
	ASSERT(keyset->used < keyset->used_max);
	keyset->used++;
	entry_set(entry, id->bytes, holding);
	return holding;
}

static void
file_put(struct keyset *keyset, const struct key_file_id *file,
	 struct holding *holding)
{
	entry_set(entry_of(keyset, keyset->files, file->bytes), file->bytes,
		  holding);
}

const struct key_public *
keyset_add(struct keyset *keyset, const struct key_file_id *file,
	   struct key_public *public, struct key *key)
{
	struct holding *holding = memory_new(sizeof(*holding));

	atomic_init(&holding->references, 1);
	holding->key = key;
	holding->public = public;
	holding = key_put(keyset, holding);
	file_put(keyset, file, holding);
	return holding->public;
}

const struct key_public *
keyset_share(struct keyset *keyset, const struct keyset *from,
	     const struct key_file_id *file)
{
	struct holding *holding;

	if (from == NULL)
		return NULL;
	holding = entry_of(from, from->files, file->bytes)->holding;
	if (holding == NULL || from == keyset)
		return holding == NULL ? NULL : holding->public;
	atomic_fetch_add(&holding->references, 1);
	holding = key_put(keyset, holding);
	file_put(keyset, file, holding);
	return holding->public;
}

struct key *
keyset_key(struct keyset *keyset, size_t thread,
	       const struct key_id *id)
{
	const struct entry *entry;
	struct key **own;

	if (keyset == NULL)
		return NULL;
	ASSERT(thread < keyset->threads);
	entry = entry_of(keyset, keyset->keys, id->bytes);
	if (entry->holding == NULL)
		return NULL;
	own = &keyset->own[thread * (keyset->mask + 1) +
			   (size_t)(entry - keyset->keys)];
	if (*own == NULL)
		*own = key_dup(entry->holding->key);
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
