/*
 * letter - a message as programs give it to sendmail(8): read from standard
 * input, made ready for SMTP.
 *
 * What becomes of it here is what only this side can know or must: text without
 * a header gets an empty one, From is added where it is missing, and gets a domain
 * where it has none, recipients are taken from the fields that name them, and Bcc
 * goes. Date and Message-ID are the relay's to add.
 *
 * Bounds      The header is kept in memory, up to header_max; the body as
 *             milter/input.h says.
 */
#ifndef RELAY_SUBMIT_LETTER_H
#define RELAY_SUBMIT_LETTER_H

#include "base/arena.h"
#include "base/fault.h"
#include "milter/input.h"

struct letter_terms {
	bool takes_recipients; /* from To, Cc and Bcc, or those that are Resent */
	bool ends_at_dot;      /* a line with a dot alone ends it, too */
	struct slice domain;   /* of addresses without one */
	struct slice from;     /* value of From where it is missing */
	struct slice trace;    /* a field to put on top, with its CRLF; or "" */
	size_t header_max;     /* bytes */
	size_t recipients_max;
};

/* One that is zeroed is none. */
struct letter {
	struct input *input;
	struct text header;       /* as it is sent, with the empty line */
	uint64_t body_at, end_at; /* in what was read */
	bool has_8bit;
	bool lacks_end;           /* its last line has no line end */
	struct slice *recipients; /* "local@domain"; in the arena */
	size_t recipients_count;
};

/* INPUT: it is no message, with the line or the field that is wrong. */
bool letter_read(const struct letter_terms *terms, struct arena *arena,
		 struct letter *letter_out, struct fault *fault) MUST_USE;
void letter_done(struct letter *letter);
uint64_t letter_size(const struct letter *letter);
/* All of it, in pieces, with CRLF at the end of each line. */
bool letter_write(struct letter *letter, input_sink_fn *take, void *owner,
		  struct fault *fault) MUST_USE;

/* Addresses as they stand in a field or on a command line, added to the list:
 * each is one that SMTP can carry. */
struct mailing {
	struct slice *addresses;
	size_t count, max;
	struct slice domain; /* of addresses without one */
};
bool mailing_add(struct mailing *mailing, struct slice addresses,
		 struct arena *arena, struct fault *fault) MUST_USE;

#endif
