/*
 * proxy - the header by which a proxy in front of us says who the client is:
 * the PROXY protocol of HAProxy (doc/proxy-protocol.txt, 2020/03/05), versions
 * 1 (a line of text) and 2 (binary). Pure.
 */
#ifndef RELAY_NET_PROXY_H
#define RELAY_NET_PROXY_H

#include "relay/net/address.h"

/* Of version 2, with extensions (which are passed over); version 1 has at most
 * 107 octets. */
#define PROXY_HEADER_MAX 4096

enum proxy_status {
	PROXY_MORE,      /* not whole yet */
	PROXY_CLIENT,    /* the address is the client's */
	PROXY_UNKNOWN,   /* the proxy speaks for itself, or does not know */
	PROXY_MALFORMED,
};

/* Reads it from the front; *used_out is its length once it is whole. */
enum proxy_status proxy_parse(struct slice input, struct address *client_out,
			      size_t *used_out);

#endif
