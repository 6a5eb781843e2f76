/*
 * lanes - many bytes looked at in one step.
 *
 * The compiler's own vectors: SSE2, NEON or plain code, as there is. A
 * comparison of lanes has all bits of a lane set where it holds.
 */
#ifndef BASE_LANES_H
#define BASE_LANES_H

#include <stdint.h>
#include <string.h>

#define LANES ((size_t)16)
typedef signed char lanes __attribute__((vector_size(16)));

static inline lanes
lanes_load(const char *bytes)
{
	lanes value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline bool
lanes_any(lanes value)
{
	uint64_t halves[2];

	memcpy(halves, &value, sizeof(halves));
	return (halves[0] | halves[1]) != 0;
}

#endif
