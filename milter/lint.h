/*
 * lint - what an MTA will do to a message behind its milters that breaks the
 * signature, as far as the message tells, and which setting keeps it whole.
 * Pure.
 *
 *	lint_init → lint_header for each field → lint_body with the body's
 *	bytes, cut anywhere → lint_judge for each signature: what breaks it
 *	→ lint_sentence for each of these
 *
 * Postfix has dropped, completed, masqueraded and checked the header before its
 * milters see it (cleanup(8)); behind them its smtp(8) breaks long lines and
 * converts 8-bit content for hosts without 8BITMIME (postconf(5)). Sendmail
 * shows the header as it came, and rewrites it on delivery: addresses, their
 * lists, missing fields (its Operations Guide, 5.1.2.2, 5.2 and 5.6).
 *
 * What cannot be seen in a message is in etc/postfix/README.md and
 * etc/sendmail/README.md: smtp_generic_maps, smtp_header_checks, masquerading.
 *
 * Bytes       CRLF line ends; a field without its last one.
 * Memory      A bound of LINT_NAMES_MAX names of fields with long lines.
 * Thread      lint_due(): any. The rest: one at a time.
 */
#ifndef MILTER_LINT_H
#define MILTER_LINT_H

#include <stdatomic.h>

#include "milter/canon.h"

#define LINT_NAMES_MAX 8
/* Places for clients: this many times LINT_WARNINGS lines in LINT_PAUSE_MS are
 * the most there can be. */
#define LINT_CLIENTS 256
/* The same warning about a client is due again after that. */
#define LINT_PAUSE_MS (UINT64_C(3600) * 1000)

enum lint_mta { LINT_POSTFIX, LINT_SENDMAIL, LINT_MTAS };

/* By the macro {v}: Postfix sends "Postfix 3.7.11", Sendmail "8.17.1" or, as it
 * is configured by default, none. */
enum lint_mta lint_mta_of(struct slice version);

enum lint_warning {
	LINT_LONG_BODY,
	LINT_LONG_HEADER,
	LINT_EIGHT_BIT,
	LINT_BARE_CR,
	LINT_NO_DATE,
	LINT_NO_MESSAGE_ID,
	LINT_UNQUALIFIED,
	LINT_COMPACT_LIST,
	LINT_LAYOUT,
	LINT_PHRASE,
	LINT_MIME,
	LINT_WARNINGS
};

/* Of one field with addresses, or of several together. */
struct lint_addresses {
	bool is_unqualified; /* an address has no domain */
	bool is_compact;     /* a comma without white space behind it, or with
				some before it */
	bool is_laid_out;    /* folded between addresses, or with white space at
				its ends that Sendmail writes otherwise */
	bool has_phrase;     /* a name with "." or "'" that is not quoted */
};

struct lint {
	/* Indexed by the fields in lint.c. */
	struct lint_addresses addresses[9];
	bool has_date, has_message_id;
	unsigned bad_mime_fields; /* bits; likewise */
	bool says_8bit; /* a Content-Transfer-Encoding, or perhaps a part's */
	struct {
		struct text name;
		size_t octets; /* of its longest line */
	} longs[LINT_NAMES_MAX];
	size_t longs_count;
	/* the body */
	size_t column, longest;
	bool has_8bit, has_bare_cr, ends_in_cr;
};

void lint_init(struct lint *lint);
void lint_done(struct lint *lint);
void lint_header(struct lint *lint, struct slice name, struct slice value);
void lint_body(struct lint *lint, struct slice bytes);

/* How a signature was made. */
struct lint_signature {
	enum canonicalization header_canon;
	const struct slice *names; /* h= */
	size_t names_count;
};
/* The warnings, as bits. */
unsigned lint_judge(const struct lint *lint, enum lint_mta mta,
		    const struct lint_signature *signature);
/* What happens, and what to set; never NULL for a bit that lint_judge() gave.
 */
const char *lint_sentence(enum lint_mta mta, enum lint_warning warning);

/* When each warning was given last about a client; zeroed: none was. Clients
 * whose hashes agree share a place, and the warnings of either. */
struct lint_history {
	_Atomic uint64_t given_ms[LINT_CLIENTS][LINT_WARNINGS];
};
/* Those of the warnings that are due, which now count as given. client: its
 * address, may be empty. */
unsigned lint_due(struct lint_history *history, struct slice client,
		  unsigned warnings, uint64_t now_ms);

#endif
