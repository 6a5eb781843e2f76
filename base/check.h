/*
 * check - conditions that only a bug of ours can break.
 *
 * ASSERT is always compiled in. It prints the condition with its place and
 * aborts; the queue makes that safe. What a peer, a file or an administrator
 * did is never an ASSERT: it is a reply, an event or a fault.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <assert.h>
#include <stddef.h>

#define ASSERT(condition)                                                      \
	((condition) ? (void)0                                                 \
		     : check_failed(#condition, __FILE__, __LINE__, __func__))

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define CONTAINER(pointer, type, member)                                       \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(index, first)                                             \
	__attribute__((__format__(__printf__, index, first)))

_Noreturn void check_failed(const char *condition, const char *file, int line,
			    const char *function);

/* Out of memory is not an error that a caller can mend: these say so on
 * stderr and abort. What a stranger can make us allocate is bounded where it
 * is asked for, not here. */
void *memory_new(size_t size);                   /* zeroed */
void *memory_array(size_t count, size_t size);   /* zeroed, checked product */
void *memory_grow(void *memory, size_t size);    /* realloc */

#endif
