#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
check_failed(const char *condition, const char *file, int line,
	     const char *function)
{
	fprintf(stderr, "signet: bug: %s:%d: %s: %s does not hold\n", file,
		line, function, condition);
	abort();
}

static void *
memory_checked(void *memory)
{
	if (memory == NULL) {
		fputs("signet: out of memory\n", stderr);
		abort();
	}
	return memory;
}

/* What is small malloc(3) keeps at hand for its thread, calloc(3) looks for
 * in the heap. */
#define SMALL_MAX 1024

void *
memory_new(size_t size)
{
	if (size > SMALL_MAX)
		return memory_checked(calloc(1, size));
	return memset(memory_checked(malloc(size > 0 ? size : 1)), 0, size);
}

void *
memory_array(size_t count, size_t size)
{
	return memory_checked(calloc(count > 0 ? count : 1, size));
}

void *
memory_grow(void *memory, size_t size)
{
	return memory_checked(realloc(memory, size > 0 ? size : 1));
}
