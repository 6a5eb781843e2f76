/*
 * separator - the empty line between header and body, for messages that lack it.
 * Pure.
 *
 * Programs hand in a text without a header, or forget the line behind it. Every
 * MTA on the way puts it before the first line that is no field, and no signature
 * would verify behind that: so it is put there before anything is signed.
 *
 * A first line that stands above a message in a mailbox (separator_is_postmark) is
 * made a field instead: X-Mailbox-Line, as Postfix does; folded where it would be
 * longer than a line may be.
 *
 * What a line is shows before its colon; so much is held back, up to
 * SEPARATOR_NAME_MAX octets, and no more of a postmark.
 */
#ifndef MILTER_SEPARATOR_H
#define MILTER_SEPARATOR_H

#include "base/slice.h"

/* A line with more before its colon is no field (RFC 5322 2.1.1). */
#define SEPARATOR_NAME_MAX 998

struct separator_report {
	bool adds_line, renames_postmark;
};

struct separator {
	bool is_passing; /* the header has ended */
	bool in_field;   /* its line is known to be part of one */
	bool in_postmark;
	bool has_field, ends_in_cr;
	struct text held;
	struct separator_report report;
};

/* Whether a first line, or as much of it as shows whether a colon follows, is one
 * that a mailbox has above a message ("From alice Sat Nov 21 ...", RFC 4155), also
 * where it has been quoted on its way (">From"). "From :" begins a field (RFC 5322
 * 4.5). */
bool separator_is_postmark(struct slice line);
/* Whether what begins so may be one yet. */
bool separator_may_be_postmark(struct slice begun);

void separator_init(struct separator *separator);
void separator_done(struct separator *separator);
/* Appends the header, and leaves of the bytes what stands behind it and goes on
 * as it is. Lines end in CRLF; any other CR or LF is a byte like others. */
void separator_feed(struct separator *separator, struct slice *bytes,
		    struct text *out);
/* The end of the message: what is held back still. */
void separator_finish(struct separator *separator, struct text *out);

#endif
