#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Small enough that an idle session costs little, large enough that a usual
 * envelope fits into one block; and what malloc(3) keeps for its thread, so
 * that to take one and give it back costs next to nothing. */
#define ARENA_BLOCK_SIZE 1024

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};

struct arena_cleanup {
	struct arena_cleanup *next;
	void (*run)(void *);
	void *argument;
};

void
arena_done(struct arena *arena)
{
	struct arena_block *block, *next;

	for (struct arena_cleanup *cleanup = arena->cleanups; cleanup != NULL;
	     cleanup = cleanup->next)
		cleanup->run(cleanup->argument);
	for (block = arena->blocks; block != NULL; block = next) {
		next = block->next;
		free(block);
	}
	*arena = (struct arena){.block_size = arena->block_size};
}

/* The next one is twice as large, so that a small arena has few blocks, too. */
static size_t
arena_next_size(const struct arena *arena)
{
	size_t size = ARENA_BLOCK_SIZE;

	if (arena->blocks != NULL)
		size = 2 * (sizeof(*arena->blocks) + arena->blocks->size);
	else if (arena->block_size > 0)
		size = arena->block_size;
	if (size > ARENA_BLOCK_SIZE)
		size = ARENA_BLOCK_SIZE;
	return size - sizeof(*arena->blocks);
}

static struct arena_block *
arena_block_with(struct arena *arena, size_t size)
{
	struct arena_block *block = arena->blocks;
	size_t block_size;

	if (block != NULL && block->size - block->used >= size)
		return block;
	block_size = arena_next_size(arena);
	if (block_size < size)
		block_size = size;
	/* Zeroed piece by piece: of many a block little is ever used. */
	block = memory_grow(NULL, sizeof(*block) + block_size);
	block->used = 0;
	block->size = block_size;
	block->next = arena->blocks;
	arena->blocks = block;
	arena->held_bytes += sizeof(*block) + block_size;
	return block;
}

void *
arena_new(struct arena *arena, size_t size)
{
	size_t rounded;
	struct arena_block *block;
	void *memory;

	ASSERT(size < SIZE_MAX / 2);
	rounded = (size + alignof(max_align_t) - 1) &
		  ~(alignof(max_align_t) - 1);
	block = arena_block_with(arena, rounded);
	memory = memset(block->bytes + block->used, 0, rounded);
	block->used += rounded;
	return memory;
}

void *
arena_array(struct arena *arena, size_t count, size_t size)
{
	size_t bytes;

	ASSERT(!__builtin_mul_overflow(count, size, &bytes));
	return arena_new(arena, bytes);
}

struct slice
arena_copy(struct arena *arena, struct slice bytes)
{
	char *copy = arena_new(arena, bytes.len + 1);

	if (bytes.len > 0)
		memcpy(copy, bytes.bytes, bytes.len);
	return slice_of(copy, bytes.len);
}

struct slice
arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	int length;
	char *bytes;

	ASSERT(format != NULL);
	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	ASSERT(length >= 0);
	bytes = arena_new(arena, (size_t)length + 1);
	vsnprintf(bytes, (size_t)length + 1, format, again);
	va_end(again);
	return slice_of(bytes, (size_t)length);
}

void
arena_at_end(struct arena *arena, void (*run)(void *), void *argument)
{
	struct arena_cleanup *cleanup = arena_new(arena, sizeof(*cleanup));

	*cleanup = (struct arena_cleanup){arena->cleanups, run, argument};
	arena->cleanups = cleanup;
}
