/*
 * rewriting - who gets another identity at which listener, and which: the
 * options `rewrite_from` and `rewrite_sender` (milter/rewrite.h). Pure.
 */
#ifndef RELAY_SERVER_REWRITING_H
#define RELAY_SERVER_REWRITING_H

#include "relay/options.h"
#include "relay/server/path.h"

/* account: NULL where nobody has logged in, or he has none. An account's own
 * rules go before the listener's, each by itself; in either case the account
 * says who needs none. What is pointed to must outlive the result. */
struct rewrite rewriting_of(const struct listener_options *listener,
			    const struct account_options *account,
			    const struct policy *policy);
/* As rewrite_sender(), which see. */
bool rewriting_sender(const struct rewrite *rewrite, const struct path *path,
		      struct text *out);

#endif
