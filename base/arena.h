/*
 * arena - memory that goes together.
 *
 * One arena per session, per message, per delivery: nothing in it is freed
 * singly. arena_done() runs the registered cleanups in reverse order, then
 * frees all blocks. A zeroed struct arena is an empty one, and so is ARENA_SMALL:
 * for what is kept by the ten thousand and is a few hundred bytes. What is put
 * in is bounded by the caller. Not thread-safe.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

struct arena_block;
struct arena_cleanup;

struct arena {
	struct arena_block *blocks;
	struct arena_cleanup *cleanups;
	size_t held_bytes; /* of its blocks */
	size_t block_size; /* of the first one; 0: as large as any */
};
#define ARENA_SMALL ((struct arena){.block_size = 256})

void arena_done(struct arena *arena);
/* Zeroed and aligned for any type; never NULL. */
void *arena_new(struct arena *arena, size_t size);
void *arena_array(struct arena *arena, size_t count, size_t size);
/* A copy, with a NUL behind it that len does not count. */
struct slice arena_copy(struct arena *arena, struct slice bytes);
struct slice arena_printf(struct arena *arena, const char *format, ...)
	PRINTF_LIKE(2, 3);
void arena_at_end(struct arena *arena, void (*run)(void *), void *argument);

#endif
