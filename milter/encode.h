/*
 * encode - the content of a MIME part in lines that every host takes (RFC 2045
 * 6.7, 6.8).
 *
 * Two encoders for content as it is, and two that break the lines of content
 * which is encoded already. Whatever is fed, decoding the output gives the
 * same bytes as before: CRLF is a line end to quoted-printable and two octets
 * to base64; a CR or LF that stands alone is an octet to both. Pure, streaming,
 * of fixed size: what comes out depends on the bytes alone, not on the pieces.
 *
 * Lines       Encoded ones have at most 76 octets. Those of content that was
 *             quoted-printable before are only broken where they are longer
 *             than ENCODE_REFOLD_MAX, so that nothing else changes. None
 *             that is made here begins with "-", as a boundary would, or with
 *             "From ", which would be changed where mail is stored.
 */
#ifndef MILTER_ENCODE_H
#define MILTER_ENCODE_H

#include "base/slice.h"

#define ENCODE_LINE_MAX 76
#define ENCODE_REFOLD_MAX 760

enum encode_kind {
	ENCODE_NONE, /* hands on what it is fed */
	ENCODE_QUOTED_PRINTABLE,
	ENCODE_BASE64,
	ENCODE_REFOLD_QUOTED, /* is quoted-printable */
	ENCODE_REWRAP_BASE64, /* is base64 */
};

/* "quoted-printable", "base64"; NULL where the encoding stays. */
const char *encode_name(enum encode_kind kind);

/* Where a line of quoted-printable may be broken: not within "=XX", not behind
 * a "=" that might be a soft line break with white space behind it, not within
 * a run of white space, which might be the end of a line. */
struct encode_break {
	unsigned guard; /* octets to come that stay with the "=" before */
	bool behind_space;
};

struct encoder {
	enum encode_kind kind;
	size_t column;
	size_t from_len; /* how much of "From" the line begins with */
	char held_space; /* it may turn out to end a line */
	bool has_cr;
	struct encode_break rule; /* of refolding */
	size_t group_len;
	char group[ENCODE_LINE_MAX / 4 * 3]; /* of base64, one line */
};

void encode_init(struct encoder *encoder, enum encode_kind kind);
void encode_feed(struct encoder *encoder, struct slice bytes, struct text *out);
/* The end of the content. Base64 has no line end behind its last line. */
void encode_finish(struct encoder *encoder, struct text *out);

/*
 * Which encoding suits: fed with the content first. Of a part that is not
 * encoded, and of one that says it is.
 */
enum encode_given {
	ENCODE_GIVEN_NONE, /* 7bit, 8bit, binary */
	ENCODE_GIVEN_QUOTED_PRINTABLE,
	ENCODE_GIVEN_BASE64,
};

struct encode_measure {
	/* Octets, and those that quoting makes three wherever it breaks lines.
	 */
	uint64_t size, escapes;
	size_t column, run; /* of the line; of what cannot be broken */
	size_t from_len;    /* how much of "From" the line begins with */
	struct encode_break rule;
	bool has_long_line; /* over 998 octets */
	bool has_8bit;
	bool has_long_run;
	bool has_foreign; /* not of base64 */
	/* UTF-8 (RFC 3629) under way. */
	bool is_utf8;
	unsigned utf8_left;
	unsigned char utf8_min, utf8_max; /* of the next octet */
	bool has_cr;
};

void encode_measure_init(struct encode_measure *measure);
void encode_measure_feed(struct encode_measure *measure, struct slice bytes);
/* NULL and the encoding that breaks the long lines, or why there is none. */
const char *encode_choose(const struct encode_measure *measure,
			  enum encode_given given, bool is_text,
			  enum encode_kind *kind_out) MUST_USE;
/* Valid UTF-8 up to its end. */
bool encode_measure_is_utf8(const struct encode_measure *measure);

#endif
