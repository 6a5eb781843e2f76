/*
 * resolver - DNS for threads that wait: an event loop on a thread of its own,
 * behind the interface of milter/records.h.
 *
 * A thread posts its questions, goes on, and waits for the answers on a
 * condition with a deadline. Whatever comes later than that finds nobody, and
 * the questions are cancelled on the loop.
 *
 * Ownership   resolver_new() hands over; every set of records must be ended
 *             before resolver_free(), which waits for the thread.
 * Thread      Everything from any thread.
 */
#ifndef RELAY_RESOLVER_H
#define RELAY_RESOLVER_H

#include "milter/records.h"
#include "relay/net/address.h"

struct resolver;

/* Addresses of DNS servers, which are copied. Starts the thread, which takes no
 * signals. */
bool resolver_new(const struct address *servers, size_t count,
		  struct resolver **resolver_out, struct fault *fault) MUST_USE;
void resolver_free(struct resolver *resolver);
CLEAN_POINTER(struct resolver, resolver_free)

/* After a reload: other servers, for what is asked from now on. */
void resolver_reconfigure(struct resolver *resolver,
			  const struct address *servers, size_t count);
/* Lives as long as the resolver. */
const struct records_source *resolver_source(struct resolver *resolver);
#endif
