/*
 * feeder - reads a message and hands it, field by field and then in pieces of
 * its body, to the stage or to the verifier.
 */
#ifndef MILTER_FEEDER_H
#define MILTER_FEEDER_H

#include "milter/header.h"
#include "milter/input.h"

/* The first four are the caller's to set. */
struct feeder {
	void *owner;
	void (*field)(void *owner, struct slice field);
	void (*end_of_header)(void *owner);
	void (*body)(void *owner, struct slice bytes);
	struct header_reader header;
	bool in_body;
};

/* The whole message. header_max: bytes; 0: HEADER_SIZE_DEFAULT. */
bool feeder_run(struct feeder *feeder, struct input *input, size_t header_max,
		struct fault *fault) MUST_USE;

#endif
