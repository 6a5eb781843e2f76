#include "relay/queue/space.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "relay/limits.h"

/* The store's file never shrinks: what is free inside it counts too, or a
 * queue that once filled the disk would refuse for ever. Only half of it,
 * because not every hole fits. */
static void
space_look(struct space *space)
{
	struct statvfs disk;
	uint64_t bytes;

	if (fstatvfs(space->directory, &disk) != 0)
		return;
	if (__builtin_mul_overflow((uint64_t)disk.f_bavail,
				   (uint64_t)disk.f_frsize, &bytes) ||
	    bytes > INT64_MAX / 2)
		bytes = INT64_MAX / 2;
	bytes += atomic_load(&space->reusable_bytes) / 2;
	atomic_store(&space->left_bytes, (int_fast64_t)bytes);
}

/* Looks at once: two threads may be the first to ask, and the one that does
 * not look must not find a disk of no bytes. */
void
space_init(struct space *space, int directory, uint64_t min_free_bytes,
	   uint64_t reusable_bytes)
{
	space->directory = directory;
	atomic_init(&space->min_free_bytes, min_free_bytes);
	atomic_init(&space->reusable_bytes, reusable_bytes);
	atomic_init(&space->checked_ms, clock_now_ms());
	atomic_init(&space->left_bytes, 0);
	space_look(space);
}

static void
space_refresh(struct space *space)
{
	uint_fast64_t checked_ms = atomic_load(&space->checked_ms);
	uint64_t now_ms = clock_now_ms();

	if (now_ms - checked_ms < STORE_SPACE_CHECK_MS)
		return;
	/* One looks; the others go on with what is known. */
	if (atomic_compare_exchange_strong(&space->checked_ms, &checked_ms,
					   now_ms))
		space_look(space);
}

bool
space_has(struct space *space, uint64_t bytes)
{
	uint64_t needed;
	int_fast64_t left;

	space_refresh(space);
	if (__builtin_add_overflow(atomic_load(&space->min_free_bytes), bytes,
				   &needed))
		return false;
	left = atomic_load(&space->left_bytes);
	return left > 0 && (uint64_t)left >= needed;
}

/* Less than a commit may need. */
#define SPACE_OUT_BYTES (1 * MIB)

bool
space_is_out(struct space *space)
{
	struct statvfs disk;

	return fstatvfs(space->directory, &disk) == 0 &&
	       (uint64_t)disk.f_bavail * disk.f_frsize < SPACE_OUT_BYTES;
}

void
space_take(struct space *space, uint64_t bytes)
{
	atomic_fetch_sub(&space->left_bytes, (int_fast64_t)bytes);
}

bool
space_is_lack(int system)
{
	return system == ENOSPC || system == EDQUOT || system == EFBIG;
}
