#include <criterion/criterion.h>

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "relay/limits.h"
#include "relay/queue/space.h"

/* Others use the real one meanwhile. */
int
fstatvfs(int descriptor, struct statvfs *out)
{
	(void)descriptor;
	*out = (struct statvfs){
		.f_bsize = 4096, .f_frsize = 4096, .f_bavail = 1 << 20};
	return 0;
}

static int
open_tmp(void)
{
	int directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_geq(directory, 0);
	return directory;
}

/* Nobody looks again within STORE_SPACE_CHECK_MS, so what is known from the
 * start must be true. */
Test(space, is_known_before_the_first_question)
{
	struct space space;
	int directory = open_tmp();

	space_init(&space, directory, 1, 0);
	cr_expect_gt(atomic_load(&space.left_bytes), 0);
	close(directory);
}

Test(space, ends_at_the_low_water_mark)
{
	struct space space;
	int directory = open_tmp();
	uint64_t left;

	space_init(&space, directory, 0, 0);
	left = (uint64_t)atomic_load(&space.left_bytes);
	cr_assert(space_has(&space, left));
	cr_expect_not(space_has(&space, left + 1));
	atomic_store(&space.min_free_bytes, UINT64_MAX);
	cr_expect_not(space_has(&space, 1));
	close(directory);
}

Test(space, what_is_taken_is_gone_until_the_next_look)
{
	struct space space;
	int directory = open_tmp();
	int_fast64_t left;

	space_init(&space, directory, 0, 0);
	left = atomic_load(&space.left_bytes);
	space_take(&space, 1000);
	cr_expect_eq(atomic_load(&space.left_bytes), left - 1000);
	close(directory);
}

Test(space, holes_in_the_store_count_half)
{
	struct space without, with;
	int directory = open_tmp();
	int_fast64_t more;

	space_init(&without, directory, 0, 0);
	space_init(&with, directory, 0, (uint64_t)1 << 50);
	more = atomic_load(&with.left_bytes) - atomic_load(&without.left_bytes);
	cr_expect_gt(more, (int_fast64_t)1 << 48);
	cr_expect_lt(more, (int_fast64_t)1 << 50);
	close(directory);
}
