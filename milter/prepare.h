/*
 * prepare - what the relay makes of a message before it signs it: what header
 * and bytes say that bears on that, whether the message is taken at all, what
 * is repaired (milter/repair.h), and what must not be, and why. Pure; the relay
 * and `signet explain` ask here alike.
 *
 *	prepare_note for each field
 *	→ prepare_judge: is it refused?
 *	→ prepare_needs, prepare_strip: what a second pass has to do
 *	→ prepare_settle: what becomes of what that pass would do
 *	→ prepare_changed: the same in words
 */
#ifndef MILTER_PREPARE_H
#define MILTER_PREPARE_H

#include "milter/policy.h"
#include "milter/repair.h"
#include "milter/rewrite.h"
#include "milter/separator.h"

enum long_lines { LONG_LINES_ENCODE, LONG_LINES_REJECT, LONG_LINES_KEEP };
enum eight_bit { EIGHT_BIT_KEEP, EIGHT_BIT_ENCODE };

/* As configured (section prepare). */
struct prepare_options {
	enum long_lines long_lines;
	enum eight_bit eight_bit;
	bool add_date, add_message_id, add_mime_version, remove_bcc;
};

/* ---- what the message says ---- */

/* A zeroed one knows of no field. */
struct prepare_facts {
	uint64_t hops; /* Received fields */
	bool has_date, has_message_id, has_version, has_bcc;
	/* A DKIM-Signature or ARC set: what it covers must not change. */
	bool is_signed;
	bool locks_all;     /* one of them cannot be read */
	struct text locked; /* their h=, each behind ":" */
};
void prepare_facts_done(struct prepare_facts *facts);
void prepare_note(struct prepare_facts *facts, struct slice name,
		  struct slice value);
/* Whether fields of that name are covered, also those not there. */
bool prepare_is_locked(const struct prepare_facts *facts, const char *name);

/* Of all its bytes; where line ends are mended, as they then are. */
struct prepare_bytes {
	bool has_bare_line_end, has_nul, has_long_line, has_8bit;
};

/* ---- whether it is taken ---- */

/* In the order in which a client should mend them. */
enum prepare_problem {
	PREPARE_NO_PROBLEM,
	PREPARE_BARE_LINE_END,
	PREPARE_NUL,
	PREPARE_HOPS, /* over limits.max_hops */
	PREPARE_LONG_LINE,
};
enum prepare_problem prepare_judge(const struct prepare_facts *facts,
				   const struct prepare_bytes *bytes,
				   const struct prepare_options *options,
				   uint64_t max_hops);

/* ---- what is done ---- */

/* Fields of ours, on top. */
bool prepare_adds_date(const struct prepare_facts *facts,
		       const struct prepare_options *options);
bool prepare_adds_message_id(const struct prepare_facts *facts,
			     const struct prepare_options *options);

/* What a second pass has to do. What it must not, because somebody else has
 * signed it, is left out and remarked on. */
struct repair_needs prepare_needs(const struct prepare_facts *facts,
				  const struct prepare_bytes *bytes,
				  const struct prepare_options *options,
				  struct text *remarks);
/* What the stage wants removed, copied into the arena; nothing where somebody
 * has signed DKIM-Signature fields. */
void prepare_strip(const struct decision *decision,
		   const struct prepare_facts *facts, struct arena *arena,
		   struct repair_needs *needs);
/* Whether there is anything for a second pass. */
bool prepare_is_due(const struct repair_needs *needs);

/* What becomes of what the pass found; what it had to leave is remarked on. */
enum prepare_outcome {
	PREPARE_KEEP,   /* it stays as it is */
	PREPARE_WRITE,  /* the repaired one takes its place */
	PREPARE_REFUSE, /* a header line cannot be folded */
};
enum prepare_outcome prepare_settle(const struct repair_needs *needs,
				    const struct repair_report *report,
				    struct text *remarks);

/* ---- in words ---- */

struct prepare_changes {
	const struct repair_report *repaired;
	const struct rewrite_report *rewritten; /* NULL: nothing */
	struct separator_report separated;
	bool mends_newlines, adds_date, adds_message_id;
};
/* The changes made, one by one: words for the log, from *next on, which starts
 * at 0. NULL: no more. */
const char *prepare_changed(const struct prepare_changes *changes,
			    size_t *next);

#endif
