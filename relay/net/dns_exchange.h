/*
 * dns_exchange - one question to one resolver and the answer back, over UDP or
 * TCP. Knows sockets and time, not packets.
 *
 * UDP     A socket of its own for each exchange, connected: the kernel picks a
 *         random port and passes on only what comes from the resolver's
 *         address, and a refusal (ICMP) is seen at once.
 * TCP     RFC 7766; one question, length first.
 *
 * The owner is told from the loop only, never from inside a call.
 */
#ifndef RELAY_NET_DNS_EXCHANGE_H
#define RELAY_NET_DNS_EXCHANGE_H

#include "relay/net/address.h"
#include "relay/net/loop.h"

struct dns_exchange;

struct dns_exchange_events {
	/* A packet. False: not the answer, go on waiting (UDP; TCP fails).
	 * True: the exchange is over and gone. */
	bool (*packet)(void *owner, struct slice packet);
	/* No answer, and the exchange is gone; reason is a constant. */
	void (*failed)(void *owner, const char *reason);
};

struct dns_exchange *dns_exchange_start(struct loop *loop,
					const struct address *resolver,
					bool is_tcp, struct slice packet,
					const struct dns_exchange_events *events,
					void *owner);
/* No event follows. */
void dns_exchange_cancel(struct dns_exchange *exchange);

#endif
