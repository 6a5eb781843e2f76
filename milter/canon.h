/*
 * canon - the canonical forms of header fields and bodies (RFC 6376 3.4).
 *
 * Bytes       Lines end in CRLF. A CR or LF that stands alone is a byte like
 *             any other, so that every input has exactly one canonical form.
 * Streaming   A body may be fed in any pieces: what reaches the sink, put
 *             together, depends on the bytes alone. The state is of fixed
 *             size; blank lines that may turn out to be the last ones are
 *             counted, not kept.
 */
#ifndef MILTER_CANON_H
#define MILTER_CANON_H

#include "base/slice.h"

enum canonicalization { CANON_SIMPLE, CANON_RELAXED };

/* "simple", "relaxed". */
const char *canon_name(enum canonicalization canon);
bool canon_find(struct slice name, enum canonicalization *canon_out) MUST_USE;

/* Appends the canonical form of a field (from its name to before its last
 * CRLF), without a CRLF at its end. */
void canon_header(enum canonicalization canon, struct slice field,
		  struct text *out);

/* Takes canonical bytes; never an empty piece. */
typedef void canon_sink_fn(void *owner, struct slice bytes);

#define CANON_BUFFER_SIZE 4096

struct canon_body {
	enum canonicalization canon;
	canon_sink_fn *sink;
	void *owner;
	/* Held back until it is known whether more follows, in this order. */
	uint64_t held_lines; /* CRLFs */
	bool held_space;     /* spaces and tabs; relaxed only */
	bool held_cr;
	bool has_content;
	size_t used;
	char buffer[CANON_BUFFER_SIZE];
};

void canon_body_init(struct canon_body *body, enum canonicalization canon,
		     canon_sink_fn *sink, void *owner);
void canon_body_feed(struct canon_body *body, struct slice bytes);
/* The end of the body; nothing may be fed afterwards. */
void canon_body_finish(struct canon_body *body);

#endif
