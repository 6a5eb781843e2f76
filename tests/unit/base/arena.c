#include <criterion/criterion.h>
#include <stdalign.h>

#include "base/arena.h"

Test(arena, memory_is_zeroed_aligned_and_apart)
{
	struct arena arena = {0};
	char *last = NULL;

	for (size_t size = 1; size < 5000; size += 37) {
		char *memory = arena_new(&arena, size);

		cr_assert_eq((uintptr_t)memory % alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			cr_assert_eq(memory[i], 0);
		memset(memory, 0xff, size);
		cr_assert(memory != last);
		last = memory;
	}
	arena_done(&arena);
	cr_expect_null(arena.blocks);
}

static int order[3], order_count;

static void
note(void *argument)
{
	order[order_count++] = *(int *)argument;
}

Test(arena, cleanups_run_backwards)
{
	struct arena arena = {0};
	int one = 1, two = 2, three = 3;

	arena_at_end(&arena, note, &one);
	arena_at_end(&arena, note, &two);
	arena_at_end(&arena, note, &three);
	arena_done(&arena);
	cr_expect_eq(order_count, 3);
	cr_expect_eq(order[0], 3);
	cr_expect_eq(order[2], 1);
}

Test(arena, copies_end_in_nul)
{
	struct arena arena = {0};
	struct slice copy = arena_copy(&arena, slice_of("abcdef", 3));

	cr_expect_str_eq(copy.bytes, "abc");
	cr_expect_eq(copy.len, 3);
	copy = arena_printf(&arena, "%d-%s", 7, "x");
	cr_expect_str_eq(copy.bytes, "7-x");
	arena_done(&arena);
}

static const struct small_row {
	const char *name;
	size_t block_size, pieces, size, most_bytes;
} small_rows[] = {
	{"one piece, as usual", 0, 1, 10, 2048},
	{"one piece, small", 256, 1, 10, 256},
	{"two blocks, small", 256, 30, 10, 256 + 512},
	{"as many as usual in the end, small", 256, 10000, 16,
	 10000 * 16 * 9 / 8},
	{"larger than any block, small", 256, 1, 5000, 5000 + 64},
	{"larger than any block, as usual", 0, 1, 5000, 5000 + 64},
};

Test(arena, holds_what_it_needs)
{
	for (size_t i = 0; i < sizeof(small_rows) / sizeof(*small_rows); i++) {
		const struct small_row *row = &small_rows[i];
		struct arena arena = {.block_size = row->block_size};

		/* The second time as the first. */
		for (int round = 0; round < 2; round++) {
			for (size_t j = 0; j < row->pieces; j++)
				arena_new(&arena, row->size);
			cr_expect(arena.held_bytes <= row->most_bytes,
				  "%s: %zu bytes", row->name,
				  arena.held_bytes);
			cr_expect(arena.held_bytes >= row->pieces * row->size,
				  "%s: %zu bytes", row->name,
				  arena.held_bytes);
			arena_done(&arena);
		}
	}
}
