/*
 * repair - makes a message that hosts on the way would mangle into one that
 * says the same and arrives as it is (RFC 5321 4.5.3.1.6, RFC 6409 8).
 *
 *	repair_new → repair_look with the message's bytes, all of them
 *	           → repair_decide: what would be changed, and what cannot
 *	           → repair_write with the same bytes: the message repaired
 *	           → repair_finish
 *
 * What it may do
 *	lines over 998 octets in the content of a part: the part is encoded,
 *	    or its encoding's lines are broken; what it decodes to stays;
 *	8-bit content, where asked for: encoded likewise, and what says "8bit"
 *	    around it says "7bit" (RFC 2045 6.4);
 *	such lines in a header: folded at white space (RFC 5322 2.2.3);
 *	such lines between parts, in a preamble or an epilogue: broken, wherever
 *	    that is, and 8-bit octets there replaced by "?"; it is text that "may
 *	    be ignored or discarded" (RFC 2046 appendix A);
 *	Bcc and Resent-Bcc: removed (RFC 5322 3.6.3);
 *	signatures of the domains that sign it anew: removed;
 *	8-bit text without MIME-Version: the field added; where there is no
 *	    Content-Type either, that and the encoding as well: UTF-8 is said
 *	    to be that, anything else unknown-8bit (RFC 1428). Likewise in a
 *	    forwarded message of which something is encoded (RFC 2045 4).
 * What it leaves alone, and says so: signed parts, message/partial and others
 * that must not be encoded, forwarded messages that are signed, 8-bit text in
 * headers, and whatever has a structure that is not certain (mime.h). Whether
 * the message is signed itself is the caller's to look at.
 *
 * Memory      One header and a byte per part.
 */
#ifndef MILTER_REPAIR_H
#define MILTER_REPAIR_H

#include "milter/mime.h"

struct repair_needs {
	bool long_lines;
	bool eight_bit;
	bool bcc;
	bool version;
	/* DKIM-Signature fields of these domains go: ours take their place. */
	const struct slice *strip_domains;
	size_t strip_count;
};

struct repair_report {
	/* What is changed. */
	bool encodes_quoted, encodes_base64, breaks_lines, breaks_between;
	bool replaces_between, folds_header;
	bool removes_bcc, removes_signatures, adds_version, adds_type;
	/* NULL, or where long lines stay, and 8-bit content, in a few words. */
	const char *left, *left_8bit;
	/* A line of the message's own header cannot be folded. */
	bool has_long_word;
};

/* What is planned for one part. */
struct repair_part {
	size_t index;      /* of struct mime_part */
	struct slice type; /* "text/html"; empty: none that can be read */
	enum encode_kind encode;
	bool folds;       /* a line of its header */
	const char *left; /* NULL, or why something of it stays */
};
typedef void repair_part_fn(void *owner, const struct repair_part *part);

struct repair;

/* header_max: bytes of one header. */
struct repair *repair_new(const struct repair_needs *needs, size_t header_max);
void repair_free(struct repair *repair);
CLEAN_POINTER(struct repair, repair_free)

/* Before looking: each part that something is planned for, or that is left, is
 * told while looking, perhaps more than once. It does not hold where the report
 * says otherwise in the end. */
void repair_observe(struct repair *repair, repair_part_fn *tell, void *owner);
void repair_look(struct repair *repair, struct slice bytes);
/* Lives as long as the repair. */
const struct repair_report *repair_decide(struct repair *repair);
/* Whether there is anything to write that was not there before. */
bool repair_changes(const struct repair_report *report);
/* Appends. */
void repair_write(struct repair *repair, struct slice bytes, struct text *out);
void repair_finish(struct repair *repair, struct text *out);

/* No message of that many octets becomes larger than this, whatever is in it:
 * half as large again, and some fields for each part. */
uint64_t repair_size_max(uint64_t size);
/* Of both, side by side. */
uint64_t repair_room_max(uint64_t size);

#endif
