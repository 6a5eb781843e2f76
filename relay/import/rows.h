/*
 * rows - arrays that grow, in an arena that goes when the command ends.
 */
#ifndef RELAY_IMPORT_ROWS_H
#define RELAY_IMPORT_ROWS_H

#include "base/arena.h"

/* Room for one more behind `count`: moves the rows where that is a power of
 * two. Returns the array. */
static inline void *
rows_grow(struct arena *arena, void *rows, size_t count, size_t each)
{
	void *larger;

	if (count > 0 && (count & (count - 1)) != 0)
		return rows;
	larger = arena_array(arena, count == 0 ? 1 : count * 2, each);
	if (count > 0)
		memcpy(larger, rows, count * each);
	return larger;
}

#endif
