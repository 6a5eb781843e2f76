/*
 * mail - one message as an MTA shows it to a milter: what becomes of it, and
 * what the MTA is to change in it. Knows nothing of libmilter.
 *
 *	mail_new, at MAIL → mail_begin, once its client and id are known
 *	    → mail_header for each field → mail_end_of_header
 *	    → mail_body with the body's bytes, cut anywhere → mail_end
 *	    → the MTA is told of mail_changes() → mail_settle
 *
 * Each step but the feeding ones says how to go on; after MAIL_ACCEPT and
 * MAIL_REFUSE nothing more is fed. A step that an MTA leaves out is made up
 * for: steps may only not go backwards.
 *
 * A message is signed, or it is verified, or neither. That is settled at its
 * beginning, or, where both are done, at the end of its header: what should be
 * signed and is nobody's is verified. Everything that becomes of it is one log
 * event: signed, verified, skipped or rejected. What the MTA will do to a signed
 * one that breaks the signature is another (milter/lint.h), a warning.
 *
 * Ownership   The rules and what they point to must outlive the mail.
 * Thread      One at a time.
 */
#ifndef MILTER_MAIL_H
#define MILTER_MAIL_H

#include "milter/lint.h"
#include "milter/origin.h"
#include "milter/pipeline.h"
#include "milter/records.h"

enum mail_mode {
	MAIL_SIGNS,     /* what `origin` says; the rest is left alone */
	MAIL_VERIFIES,  /* all of it */
	MAIL_DOES_BOTH, /* signs what `origin` says, verifies what is not signed */
};

/* What holds for a message from its beginning to its end. */
struct mail_rules {
	enum mail_mode mode;
	struct policy *policy;
	struct origin_rules origin;
	bool accepts_on_error; /* else the MTA is told to try again later */
	size_t header_max;     /* bytes */
	struct lint_history *lints; /* NULL: nobody wants to know */
	struct slice listener; /* where the MTA finds us, for the log */
	/* Of what is verified. */
	const struct records_source *records;
	uint64_t dns_timeout_ms; /* for a message */
	struct slice authserv_id; /* empty: the MTA's own name, or else: */
	struct slice hostname;
};

/* Has all of them made, and waits. */
typedef bool mail_sign_fn(void *owner, struct signature *signatures,
			  size_t count, struct fault *fault);

enum mail_next {
	MAIL_MORE,   /* show us more */
	MAIL_ACCEPT, /* nothing more is wanted of it */
	MAIL_REFUSE, /* with mail_reply() */
};

struct mail_reply {
	const char *code, *status; /* "451", "4.7.5" */
	struct text text;          /* as mta_reply_write() makes it */
};

/* In the order in which they have to be made. */
struct mail_change {
	/* Remove: the index-th field of that name, from 1. Insert: at the top,
	 * above what stands there by then. */
	enum { MAIL_REMOVE, MAIL_INSERT } kind;
	uint32_t index;
	char *name, *value; /* as mta_field_split() makes them */
};

struct mail;

/* sender: of MAIL, with or without its brackets. */
struct mail *mail_new(const struct mail_rules *rules, struct slice sender);
void mail_free(struct mail *mail);
CLEAN_POINTER(struct mail, mail_free)

/* id: the MTA's; may be empty, or come later by mail_identify(). */
enum mail_next mail_begin(struct mail *mail, const struct origin *origin,
			  struct slice id, uint64_t time_s);
bool mail_has_begun(const struct mail *mail);
void mail_identify(struct mail *mail, struct slice id);
/* The value as the MTA has it (milter/mta_field.h). */
void mail_header(struct mail *mail, struct slice name, struct slice value);
enum mail_next mail_end_of_header(struct mail *mail);
bool mail_in_body(const struct mail *mail);
void mail_body(struct mail *mail, struct slice bytes);
enum mail_next mail_end(struct mail *mail, mail_sign_fn *sign, void *owner);
/* After mail_end() said MAIL_ACCEPT. */
const struct mail_change *mail_changes(const struct mail *mail,
				       size_t *count_out);
/* The MTA has taken the changes, or could not be told of them. */
void mail_settle(struct mail *mail, bool is_changed);
/* Where a step said MAIL_REFUSE. */
struct mail_reply *mail_reply(struct mail *mail);

#endif
