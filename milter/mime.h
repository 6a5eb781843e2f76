/*
 * mime - the structure of a message as a stream of bytes (RFC 2045, 2046).
 *
 * Hands on every byte it is fed, in order, each with what it belongs to: the
 * header of a part, its content, or what stands between parts. The CRLF before
 * a boundary belongs to the boundary (RFC 2046 5.1.1). Nested multiparts and
 * message/rfc822 are entered; a missing close delimiter ends with the boundary
 * of a part around it, or with the message.
 *
 * Safety      Where two readers might see two structures (two Content-Type
 *             fields, a boundary that cannot be read or is that of the parts
 *             around, a line that begins like a boundary and goes on)
 *             mime_trouble() says so: whoever changes messages leaves this one
 *             alone.
 * Bytes       Fed in any pieces; the events, with adjoining ones of the same
 *             kind put together, depend on the bytes alone. Lines end in CRLF;
 *             a CR or LF that stands alone is a byte like any other.
 * Memory      One header (size_max) and one line that begins like a boundary;
 *             MIME_DEPTH_MAX levels, beyond which parts are opaque.
 */
#ifndef MILTER_MIME_H
#define MILTER_MIME_H

#include "milter/encode.h"

#define MIME_DEPTH_MAX 32
#define MIME_PARTS_MAX 10000
#define MIME_BOUNDARY_MAX 70 /* RFC 2046 5.1.1 */

enum mime_kind {
	MIME_LEAF,      /* its content may be encoded */
	MIME_MULTIPART, /* what follows is parts */
	MIME_MESSAGE,   /* what follows is a header */
	MIME_OPAQUE,    /* content that must stay as it is: why */
};

struct mime_part {
	enum mime_kind kind;
	size_t index;    /* in order of the headers; 0: the message */
	size_t message;  /* whose part it is: the index of its header; its own
			    where it is a message, forwarded or not */
	const char *why; /* of MIME_OPAQUE, in a few words */
	bool is_fixed;   /* in a forwarded message that is signed: the
			    header must stay, too */
	bool is_text;
	bool is_whole; /* the header has its empty line */
	enum encode_given given;
	bool has_version, has_type, has_encoding; /* fields */
};

enum mime_event {
	MIME_HEADER,      /* a whole header with its empty line, once */
	MIME_CONTENT,     /* of a LEAF or OPAQUE part, in pieces */
	MIME_CONTENT_END, /* once behind each of those; no bytes */
	MIME_BETWEEN,     /* delimiters, preambles, epilogues, in pieces */
};

typedef void mime_sink_fn(void *owner, enum mime_event event,
			  const struct mime_part *part, struct slice bytes);

struct mime_reader;

/* header_max: bytes of one header. */
struct mime_reader *mime_reader_new(size_t header_max, mime_sink_fn *sink,
				    void *owner);
void mime_reader_free(struct mime_reader *reader);
CLEAN_POINTER(struct mime_reader, mime_reader_free)

void mime_feed(struct mime_reader *reader, struct slice bytes);
void mime_finish(struct mime_reader *reader);
/* NULL, or why the structure is not certain. */
const char *mime_trouble(const struct mime_reader *reader);

/* The next field of a header, with its CRLF, off the front of *rest; at the end
 * of a whole header the empty line. False at the end. */
bool mime_field_next(struct slice *rest, struct slice *field_out);

/* What a Content-Type says (RFC 2045 5.1), as far as it matters here. */
struct mime_type {
	struct slice type, subtype; /* in the value; empty: cannot be read */
	bool has_boundary, is_odd; /* odd: more than one, or split (RFC 2231) */
	struct text boundary;      /* the caller's to free */
};
void mime_type_parse(struct slice value, struct mime_type *type_out);
/* False: an encoding that nobody defined, or none at all. */
bool mime_encoding_parse(struct slice value,
			 enum encode_given *given_out) MUST_USE;

#endif
