/*
 * fault - what failed on our side, in words for the log or the terminal.
 *
 * A function that can fail returns true when done and takes a struct fault *
 * as its last parameter. The fault lives on the caller's stack; nothing is
 * allocated on the failure path. fault_set() and fault_within() return false,
 * so a failure is one statement:
 *
 *	return fault_set(fault, FAULT_INPUT, "bad port '%s'", port);
 *
 * The kind says what the caller can do about it. The text reads from the
 * outside in: "key file 'a.pem': not a PEM file". Longer texts are cut, with
 * "..." at the end. `fault` may be NULL where the reason is of no use.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>

#include "base/check.h"

enum fault_kind {
	FAULT_NONE,
	FAULT_INPUT,  /* refuse what was given: malformed, not allowed */
	FAULT_ABSENT, /* it is not there */
	FAULT_DENIED, /* permissions have to be mended */
	FAULT_BUSY,   /* try again later */
	FAULT_LIMIT,  /* refused by a bound of our own */
	FAULT_UNTRUSTED, /* the other side cannot prove who it is */
	FAULT_SYSTEM, /* the rest: the system or a library failed */
};

struct fault {
	enum fault_kind kind;
	int system; /* errno, or 0 */
	char text[512];
};

void fault_fill(struct fault *fault, enum fault_kind kind, const char *format,
		...) PRINTF_LIKE(3, 4);
void fault_fill_errno(struct fault *fault, const char *format, ...)
	PRINTF_LIKE(2, 3);
void fault_put_before(struct fault *fault, const char *format, ...)
	PRINTF_LIKE(2, 3);

/* Macros, so that the compiler sees that they are false and does not think of
 * a caller that goes on without its results. */
#define fault_set(...)                                                         \
	__extension__({                                                        \
		fault_fill(__VA_ARGS__);                                       \
		false;                                                         \
	})

/* The same from errno: its text is appended, and the kind follows from it
 * (ENOENT: ABSENT, EACCES and EPERM: DENIED, EAGAIN and the like: BUSY). */
#define fault_errno(...)                                                       \
	__extension__({                                                        \
		fault_fill_errno(__VA_ARGS__);                                 \
		false;                                                         \
	})

/* Puts "PLACE: " before the text. */
#define fault_within(...)                                                      \
	__extension__({                                                        \
		fault_put_before(__VA_ARGS__);                                 \
		false;                                                         \
	})

/* The sysexits(3) code that a command ends with on this kind. */
int fault_exit_code(const struct fault *fault);

#endif
