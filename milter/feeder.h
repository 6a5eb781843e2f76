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

/* A message in pieces, cut anywhere. header_max: bytes; 0:
 * HEADER_SIZE_DEFAULT. Behind feeder_finish() nothing follows. */
void feeder_init(struct feeder *feeder, size_t header_max);
void feeder_done(struct feeder *feeder);
bool feeder_feed(struct feeder *feeder, struct slice piece,
		 struct fault *fault) MUST_USE;
void feeder_finish(struct feeder *feeder);
/* The whole message, with all of the above. */
bool feeder_run(struct feeder *feeder, struct input *input, size_t header_max,
		struct fault *fault) MUST_USE;

#endif
