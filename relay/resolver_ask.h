/*
 * resolver_ask - one question of any type to a resolver, for commands.
 */
#ifndef RELAY_RESOLVER_ASK_H
#define RELAY_RESOLVER_ASK_H

#include "relay/net/dns.h"
#include "relay/resolver.h"

/* Waits for the answer, which relay/net/dns.h bounds in time. It lives in the
 * arena. */
void resolver_ask(struct resolver *resolver, struct slice name,
		  enum dns_type type, struct arena *arena,
		  struct dns_answer *answer_out);

#endif
