/*
 * output - what a command writes to standard output, and what becomes of it
 * where that is full or closed.
 *
 * Both return EX_OK, or say on stderr that it failed and return EX_TEMPFAIL:
 * what is full may have room again. A command that has done something by then
 * ends with EX_IOERR instead: who tries again would do it twice.
 */
#ifndef BASE_OUTPUT_H
#define BASE_OUTPUT_H

#include "base/slice.h"

int output_write(struct slice bytes) MUST_USE;

/* Behind what stdio was given. */
int output_end(void) MUST_USE;

#endif
