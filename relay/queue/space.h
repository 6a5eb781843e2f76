/*
 * space - how much may still be written under a directory.
 *
 * Looks at the disk at most every STORE_SPACE_CHECK_MS and counts in between
 * what is being written, so asking costs nothing. What lies below the low-water
 * mark is kept for outcomes of deliveries. Space that comes back, from whatever
 * side, is seen at the next look. Any thread.
 */
#ifndef RELAY_QUEUE_SPACE_H
#define RELAY_QUEUE_SPACE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/fault.h"

struct space {
	int directory;               /* a descriptor; not ours */
	atomic_uint_fast64_t min_free_bytes;
	atomic_uint_fast64_t reusable_bytes; /* inside the store's own file */
	atomic_uint_fast64_t checked_ms;
	atomic_int_fast64_t left_bytes;
};

/* reusable_bytes: free inside the store's own file. */
void space_init(struct space *space, int directory, uint64_t min_free_bytes,
		uint64_t reusable_bytes);
/* Whether this many bytes can be written above the low-water mark. */
bool space_has(struct space *space, uint64_t bytes);
/* Looks now: not even outcomes can be written any more. */
bool space_is_out(struct space *space);
/* That many are being written now. */
void space_take(struct space *space, uint64_t bytes);
/* Whether a write that ended with this errno lacks room: on the disk, in a quota,
 * or below a limit on the size of files. */
bool space_is_lack(int system);

#endif
