/*
 * origin - where a message that an MTA shows us comes from, and whether mail
 * from there is signed. Pure.
 *
 * Signed is what its client may send in our name: the client's address is one
 * of milter.sign_from, or it has logged in, or the MTA's daemon that took the
 * message is one of milter.sign_daemons. What came without SMTP (sendmail(1),
 * a bounce of the MTA's own) has no client, or one that the MTA makes up for
 * it, which is the machine itself: who looks at sign_from takes it for that.
 */
#ifndef MILTER_ORIGIN_H
#define MILTER_ORIGIN_H

#include "base/slice.h"

/* As configured (section milter). */
struct origin_rules {
	bool sign_authenticated;
	const struct slice *daemons; /* case does not matter */
	size_t daemons_count;
};

struct origin {
	struct slice client;   /* its address; empty: it has none */
	bool is_listed;        /* in sign_from */
	bool is_authenticated; /* {auth_authen} or {auth_type} */
	struct slice daemon;   /* {daemon_name}; empty: unknown */
	struct slice mta;      /* {v}, its version; empty: unknown */
	struct slice host;     /* {j}, its name; empty: unknown */
};

/* Where it is not signed, *reason_out gets the sentence that says why. */
bool origin_is_signed(const struct origin_rules *rules,
		      const struct origin *origin,
		      struct text *reason_out) MUST_USE;

/* It has no client but the MTA's own machine. */
bool origin_is_local(const struct origin *origin);

#endif
