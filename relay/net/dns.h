/*
 * dns - asynchronous DNS on a loop: ldns builds and reads the packets, libuv
 * carries them.
 *
 * UDP with a random source port and id and EDNS(0), TCP on truncation, the
 * resolvers in turn (DNS_TRIES rounds of DNS_TIMEOUT_MS: the second without EDNS,
 * the last over TCP), a cache by TTL that
 * holds negative answers too (RFC 2308), CNAMEs followed within the answer.
 * Equal questions under way are asked once. What is more than DNS_SOCKETS_MAX
 * waits (turns.h).
 */
#ifndef RELAY_NET_DNS_H
#define RELAY_NET_DNS_H

#include "base/arena.h"
#include "relay/net/address.h"
#include "relay/net/loop.h"

enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16,
		DNS_AAAA = 28 };

enum dns_status {
	DNS_FOUND,
	DNS_NO_DATA,  /* the name exists, the type does not */
	DNS_NO_NAME,  /* NXDOMAIN */
	DNS_FAILED,   /* SERVFAIL, REFUSED, time-out, garbage: ask later */
};

struct dns_record {
	struct slice name;    /* MX exchange, PTR target: lower case, no last
				 dot ("" is the root: null MX); TXT: the
				 strings joined */
	uint16_t preference;  /* MX */
	struct address address; /* A, AAAA; port 0 */
};

struct dns_answer {
	enum dns_status status;
	struct dns_record *records;
	size_t count;
	const char *reason; /* for DNS_FAILED: "time-out", "SERVFAIL", … */
};

struct dns;
struct question;

/* One question. done comes once, from the loop, never from inside dns_start()
 * and never after dns_cancel(). The answer is valid during done only. */
struct dns_query {
	void (*done)(struct dns_query *query, const struct dns_answer *answer);
	bool is_prompt; /* turns.h, where it has to wait before it is asked */
	/* its own */
	struct list link;
	struct dns *dns;
	void *state;
	struct question *question; /* NULL: there is an answer */
	struct post post;
};

/* The addresses are copied. dns_reconfigure() asks what is under way anew. */
bool dns_new(struct loop *loop, const struct address *resolvers, size_t count,
	     struct dns **dns_out, struct fault *fault) MUST_USE;
void dns_reconfigure(struct dns *dns, const struct address *resolvers,
		     size_t count);
void dns_close(struct dns *dns); /* no query may be open */
void dns_start(struct dns *dns, struct dns_query *query, struct slice name,
	       enum dns_type type);
void dns_cancel(struct dns_query *query);
/* It is prompt from now on. */
void dns_hurry(struct dns_query *query);

#endif
