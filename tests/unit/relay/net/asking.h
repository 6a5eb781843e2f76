/*
 * A resolver's client on a loop of its own, and what it is answered.
 */
#ifndef TESTS_UNIT_RELAY_NET_ASKING_H
#define TESTS_UNIT_RELAY_NET_ASKING_H

#include "relay/net/dns.h"

struct address loopback(uint16_t port);
/* A port that is free for UDP and TCP; both sockets are given back bound. */
uint16_t port_take(int *udp_out, int *tcp_out);
/* The same, where whoever asks is refused. */
uint16_t port_refuse(int *udp_out, int *tcp_out);
/* One that was free a moment ago. */
uint16_t port_free(void);

struct asked {
	struct dns_query query;
	bool is_done;
	enum dns_status status;
	size_t count;
	char first[4096], reason[64];
	uint16_t preference;
	bool is_inside; /* inside dns_start() */
	uv_loop_t *uv;
};

struct resolver {
	struct loop loop;
	struct dns *dns;
};

void resolver_open(struct resolver *resolver, const struct address *addresses,
		   size_t count);
void resolver_close(struct resolver *resolver);
void ask_start(struct resolver *resolver, struct asked *asked, const char *name,
	       enum dns_type type);
void ask_start_prompt(struct resolver *resolver, struct asked *asked,
		      const char *name, enum dns_type type);
void ask_wait(struct resolver *resolver, const struct asked *asked);
void ask(struct resolver *resolver, struct asked *asked, const char *name,
	 enum dns_type type);

#endif
