#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/store_stand.h"

/*
 * The room that the store keeps on the disk for itself. Taking it, and how much
 * there is, are this file's in place of the C library's; so is the clock.
 */

static unsigned asked;
static bool is_refused;
static fsblkcnt_t free_blocks = 1 << 20;
static uint64_t later_ms;

int
fallocate(int file, int mode, off_t offset, off_t len)
{
	(void)file;
	(void)offset;
	cr_expect_eq(mode, FALLOC_FL_KEEP_SIZE);
	cr_expect_eq((uint64_t)len, STORE_RESERVE_BYTES);
	asked++;
	if (!is_refused)
		return 0;
	errno = ENOSPC;
	return -1;
}

int
fstatvfs(int file, struct statvfs *out)
{
	(void)file;
	*out = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096,
				.f_bavail = free_blocks};
	return 0;
}

uint64_t __real_clock_now_ms(void);
uint64_t __wrap_clock_now_ms(void);

uint64_t
__wrap_clock_now_ms(void)
{
	return __real_clock_now_ms() + later_ms;
}

/* A commit each. */
static void
put_some(void)
{
	for (unsigned i = 0; i < 5; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("from@example.org", "a@x.example", 100);

		cr_assert(put_wait(store, &loop, message, NULL, NULL));
	}
}

Test(reserve, is_taken_once, .init = begin, .fini = finish)
{
	put_some();
	cr_expect_eq(asked, 1, "%u", asked);
}

/* Each commit would ask in vain; so there is a while between two. */
static void
backs_off(void)
{
	unsigned before = asked;

	put_some();
	cr_expect_eq(asked, before, "%u", asked);
	later_ms += STORE_RESERVE_AGAIN_MS / 2;
	put_some();
	cr_expect_eq(asked, before, "%u", asked);
}

static void
start_refused(void)
{
	is_refused = true;
	begin();
}

Test(reserve, is_asked_for_again_after_a_while, .init = start_refused,
     .fini = finish)
{
	cr_expect_eq(asked, 1);
	backs_off();
	later_ms += STORE_RESERVE_AGAIN_MS / 2;
	put_some();
	cr_expect_eq(asked, 2, "%u", asked);
	backs_off();
	is_refused = false;
	later_ms += STORE_RESERVE_AGAIN_MS / 2;
	put_some();
	cr_expect_eq(asked, 3, "%u", asked);
	later_ms += 2 * STORE_RESERVE_AGAIN_MS;
	put_some();
	cr_expect_eq(asked, 3, "there is one");
}

static void
start_short(void)
{
	free_blocks = 2 * STORE_RESERVE_BYTES / 4096;
	begin();
}

/* The last of a disk is for others. */
Test(reserve, is_not_the_last_of_a_disk, .init = start_short, .fini = finish)
{
	put_some();
	cr_expect_eq(asked, 0);
	free_blocks++;
	later_ms += STORE_RESERVE_AGAIN_MS;
	put_some();
	cr_expect_eq(asked, 1, "%u", asked);
}
