/*
 * composer - a message made of its parts: RFC 5322, RFC 2045 to 2047, 2183,
 * 2231. Pure: the same parts give the same octets.
 *
 * Text and HTML are one part, or two of a multipart/alternative (RFC 2046
 * 5.1.4); with attachments behind them in a multipart/mixed. Every part is 7-bit:
 * text as it is where its lines allow, else quoted-printable or base64, whichever
 * is shorter; attachments in base64. So any host takes it, signatures last, and
 * no line has more than 78 octets but where a field cannot be folded.
 */
#ifndef RELAY_SEND_COMPOSER_H
#define RELAY_SEND_COMPOSER_H

#include "base/fault.h"
#include "base/slice.h"

struct attachment {
	struct slice name; /* of the file, without folders; UTF-8 */
	struct slice bytes;
};

struct composition {
	/* Values of fields, folded: addressees.h. */
	struct slice from, to, cc; /* to, cc: "": no field */
	struct slice subject;      /* UTF-8 without controls */
	uint64_t wall_ms;          /* Date */
	/* Without <>. What stands before its "@" makes the boundaries, too: it
	 * has 1 to 60 letters and digits that nobody can foresee. */
	struct slice message_id;
	bool has_text, has_html;
	struct slice text, html;   /* UTF-8; lines end in LF or CRLF */
	const struct attachment *attachments;
	size_t attachments_count;
};

/* Appends it, with CRLF line ends; header_len_out: up to and with the empty
 * line. INPUT: text or HTML is not UTF-8. */
bool compose(const struct composition *composition, struct text *out,
	     size_t *header_len_out, struct fault *fault) MUST_USE;

#endif
