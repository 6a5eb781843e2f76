/*
 * What repair.c (looking, deciding) and repair_write.c share. For them only.
 */
#ifndef MILTER_REPAIR_PRIVATE_H
#define MILTER_REPAIR_PRIVATE_H

#include "milter/fold.h"
#include "milter/repair.h"

/* What becomes of a part. */
struct plan {
	unsigned char encode; /* enum encode_kind */
	bool folds;
	bool relabels; /* "8bit" and "binary" become "7bit" */
	/* Of a message inside: it has no MIME-Version, and what of a MIME
	 * message it is to get. */
	bool lacks_version, adds_version, adds_type, is_utf8;
};

struct repair {
	struct repair_needs needs;
	struct repair_report report;
	size_t header_max;
	struct mime_reader *reader;
	struct plan *plans;
	size_t plans_count, plans_size;
	/* looking */
	struct encode_measure measure;
	size_t column; /* of a line between parts */
	bool has_cr;
	bool has_8bit, is_utf8; /* any part; the message's own content */
	struct mime_part top;
	bool has_bcc, has_signature;
	repair_part_fn *tell; /* NULL: nobody observes */
	void *tell_owner;
	struct text type; /* of the part, where somebody does */
	/* writing */
	struct encoder encoder;
	struct text *out;
	bool is_writing, ends_in_base64;
};

/* --- repair.c --- */

/* Of a field of the message's own header, with its CRLF. */
bool repair_field_is(struct slice field, const char *word);
bool repair_is_bcc(struct slice field);
bool repair_is_stripped(const struct repair *repair, struct slice field);
/* Of the forwarded message that the part is in; NULL: of none. */
struct plan *repair_plan_of_message(struct repair *repair,
				    const struct mime_part *part);
enum encode_kind repair_encode_of(const struct repair *repair, size_t index);

#endif
