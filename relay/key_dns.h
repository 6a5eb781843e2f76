/*
 * key_dns - how `signet key check` and `key rotate` ask the DNS.
 *
 * Both need what root may: `rotate` makes keys once it has its answers. So each
 * question is asked by a child that is the relay's user, and only the text of
 * the records comes back. Waits; no thread may run in this process.
 */
#ifndef RELAY_KEY_DNS_H
#define RELAY_KEY_DNS_H

#include "keys/commands.h"
#include "relay/options.h"

struct key_dns {
	const struct options *options; /* the caller's */
	struct arena answer;           /* the last one's texts */
	bool is_told;                  /* that no child could be had */
};

/* A check_ask_fn; owner: struct key_dns. */
enum check_answer key_dns_ask(void *owner, struct slice name,
			      struct slice texts[CHECK_RECORDS_MAX],
			      size_t *count_out);
void key_dns_done(struct key_dns *dns);

#endif
