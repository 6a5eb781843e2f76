/*
 * account - what a user who has logged in may do: in whose name he sends, and
 * how much. The sections `account` of the options. Pure.
 */
#ifndef RELAY_SERVER_ACCOUNT_H
#define RELAY_SERVER_ACCOUNT_H

#include "base/arena.h"
#include "relay/options.h"

/* The user's own section, whatever the case of his name, or "*"; NULL: nothing
 * is forbidden. */
const struct account_options *account_find(const struct options *options,
					   struct slice user);

/* Whether he may use the address, as reverse-path; the null one (RFC 5321
 * 4.5.5) everybody may. */
bool account_may_use(const struct account_options *account,
		     struct slice address);
/* Whether a header line may stand there that is no field, for `problem`: not
 * where it has to be sure that nobody reads one more From in it. */
bool account_may_break(const struct account_options *account,
		       const char *problem, struct arena *arena,
		       struct slice *reason_out);
/* Whether he may be the author of a message: each address of its one From field
 * (RFC 5322 3.6.2), which no reader takes for another. If not, *reason_out, in
 * the arena, says why, fit for a reply. */
bool account_may_write(const struct account_options *account,
		       size_t from_count, struct slice from,
		       struct arena *arena, struct slice *reason_out);
/* The same of each address in another field that says who sends (RFC 5322 3.6.2,
 * 3.6.6), which readers are shown, too: Sender, Resent-From, Resent-Sender. Of
 * other fields it is true. */
bool account_may_claim(const struct account_options *account,
		       struct slice name, struct slice value,
		       struct arena *arena, struct slice *reason_out);

#endif
