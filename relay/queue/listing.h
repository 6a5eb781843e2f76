/*
 * listing - what `signet queue` shows of a message. Pure.
 *
 * As text nothing moves the terminal's cursor, whatever a peer has said; as
 * JSON a message is one object in one line.
 */
#ifndef RELAY_QUEUE_LISTING_H
#define RELAY_QUEUE_LISTING_H

#include "relay/queue/store.h"

/* A message and all its deliveries, which are those from `first` on that
 * share its message. */
struct listing {
	const struct delivery *const *deliveries;
	size_t count; /* at least 1 */
	uint64_t now_ms; /* wall */
};

typedef void listing_fn(const struct listing *listing, struct text *out);
/* Each message of a list of deliveries by itself. */
void listing_write_each(const struct list *deliveries, uint64_t now_ms,
			listing_fn *write, struct text *out);

/* Two lines and more: the message, then a line per recipient. */
void listing_write_text(const struct listing *listing, struct text *out);
void listing_write_json(const struct listing *listing, struct text *out);
/* All that is known, but the header. */
void listing_write_all(const struct listing *listing, struct text *out);
/* Its prefix and its header as it was received, behind an empty line. */
void listing_write_header(const struct message *message, struct slice header,
			  struct text *out);
/* Its name; of the place of a report that is still to be made, the domain that
 * it is about, and that it is one. */
void listing_write_destination(struct slice name, struct text *out);
/* Bytes of strangers for a terminal: controls become "?", CRLF a newline. */
void listing_write_visible(struct slice bytes, bool keeps_lines,
			   struct text *out);

#endif
