/*
 * rewrite - an identity that is ours for senders who have none: devices and
 * programs that write From: "printer@localhost". Pure.
 *
 *	rewrite_sender: the reverse-path that takes the place of one
 *	rewriter_init → rewriter_feed with the message's bytes, from the first
 *	              → rewriter_finish: what comes out has another From
 *
 * The header is held back until it is whole, then written anew:
 *	From        one field in the place of all, with one address; where there
 *	            is none, behind the others. The display name stays where there is one
 *	            to keep, that of "printer@localhost (Printer)" too; but where
 *	            there are allowed addresses, none that hides another
 *	            (milter/encoded_word.h).
 *	Reply-To    added where there is none: the addresses that From named,
 *	            as far as mail may reach them (as mailing lists do).
 *	Sender      removed: author and sender are one (RFC 5322 3.6.2).
 * Resent fields stay: they name nobody's author. Whatever else there is, and
 * all that follows the header, stays as it is.
 *
 * What stays  A message that carries a signature or an ARC set, which would
 *             break; and a report or an automatic reply with the null
 *             reverse-path (RFC 3461 6, RFC 3834), which nobody answers for.
 * Bytes       Fed in any pieces; what comes out depends on the bytes alone.
 * Memory      One header, of header_max bytes; beyond that all passes as it is.
 */
#ifndef MILTER_REWRITE_H
#define MILTER_REWRITE_H

#include "milter/header.h"
#include "milter/policy.h"

/* No header grows by more. */
#define REWRITE_ADDED_MAX 8192

enum rewrite_when {
	/* From is not ours: an address of it has no public domain, is not among
	 * `allowed`, or nobody would sign for it. A reverse-path: the same, but
	 * that it is ours below a domain that we sign for, too. Where there are
	 * allowed ones, From is not ours that readers may take for another's;
	 * if it is but an encoded word that says so, the address stays. */
	REWRITE_NEEDED,
	REWRITE_ALWAYS,
};

struct rewrite_rule {
	struct slice to; /* "scanner@example.com", or "*@example.com": the local
			    part stays; empty: no rule */
	enum rewrite_when when;
};

/* For whom. Slices live as long as it is used. */
struct rewrite {
	struct rewrite_rule from, sender;
	/* Sender patterns (milter/senders.h); none: anybody. */
	const struct slice *allowed;
	size_t allowed_count;
	const struct policy *policy;
};

enum rewrite_outcome {
	REWRITE_NOTHING,     /* there is nothing to do */
	REWRITE_DONE,
	REWRITE_KEPT_SIGNED, /* it should be, but stays */
	REWRITE_KEPT_REPORT,
};

struct rewrite_report {
	bool rewrites_sender; /* the reverse-path; not the rewriter's */
	bool rewrites_from, adds_from, adds_reply_to, removes_sender;
};

/* A reverse-path: without <>, as it came; empty for the null path, which always
 * stays. local and domain: empty where it has none that can be read. True where
 * *out, empty before, is to take its place. */
bool rewrite_sender(const struct rewrite *rewrite, struct slice path,
		    struct slice local, struct slice domain, struct text *out);

/* ---- the header ---- */

/* A zeroed one knows of no field. */
struct rewrite_facts {
	size_t from_count;
	struct text from; /* the first one's value */
	bool has_reply_to, has_sender;
	bool is_signed, is_report;
};
void rewrite_facts_done(struct rewrite_facts *facts);
void rewrite_note(struct rewrite_facts *facts, struct slice name,
		  struct slice value);
/* What is to become of it. is_null: the reverse-path. Where it is DONE *fields,
 * empty before, are those that take From's place, each with its CRLF, and what
 * they are is in *report_out. */
enum rewrite_outcome rewrite_decide(const struct rewrite *rewrite,
				    const struct rewrite_facts *facts,
				    bool is_null, struct text *fields,
				    struct rewrite_report *report_out);

struct rewriter {
	const struct rewrite *rewrite;
	bool is_null, is_passing;
	struct header_reader reader;
	struct text held;
	struct rewrite_facts facts;
	enum rewrite_outcome outcome;
	struct rewrite_report report;
};

/* The rewrite must outlive it. */
void rewriter_init(struct rewriter *rewriter, const struct rewrite *rewrite,
		   bool is_null, size_t header_max);
void rewriter_done(struct rewriter *rewriter);
/* Each appends. */
void rewriter_feed(struct rewriter *rewriter, struct slice bytes,
		   struct text *out);
void rewriter_finish(struct rewriter *rewriter, struct text *out);
/* Appends, once the header is through: "; From was …", for the log; nothing
 * where there is nothing to tell. */
void rewriter_remark(const struct rewriter *rewriter, struct text *remarks);

#endif
