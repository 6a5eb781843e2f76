/*
 * peers - what the relay remembers of the hosts it has talked to, or tried to:
 * what they offer and do not do, who was silent, the TLS sessions that may be
 * resumed, and whether IPv6 leads anywhere.
 *
 * One for the whole process, so that what one destination has learnt of a host
 * every other one knows, and a new look at the DNS forgets nothing. All of it
 * is in memory only, bounded (the least recently used goes first), and believed
 * for a while.
 *
 * Ownership   peers_free() after every loop has ended.
 * Thread      Any; a lock is held for as long as it takes to find an entry, or
 *             those of one destination.
 */
#ifndef RELAY_DELIVERY_PEERS_H
#define RELAY_DELIVERY_PEERS_H

#include "base/clock.h"
#include "base/slice.h"
#include "relay/delivery/ipv6.h"

/* What a host offers in its reply to EHLO and then does not do. */
enum peer_lapse {
	PEER_LAPSE_TLS,  /* it is talked to in clear, where that is allowed */
	PEER_LAPSE_BDAT, /* the message goes with DATA */
	PEER_LAPSE_DSN,  /* the parameters of RFC 3461 are left out */
};
/* How long it goes without, before that is tried again. */
#define PEER_CLEAR_MS (10 * MINUTE)
#define PEER_LAPSE_MS (1 * HOUR) /* the others */
#define PEERS_LAPSES_MAX 4096
/* A server may give tickets a life of up to seven days (RFC 8446 4.6.1); ours
 * keeps a key that could read what was said meanwhile. */
#define PEER_SESSION_MS (1 * HOUR)
#define PEERS_SESSIONS_MAX 1024 /* servers that have any */
#define PEER_SESSIONS_MAX 4     /* of one, for connections side by side */

/* Who has not answered is asked last. */
#define PEER_SILENCE_MS (5 * MINUTE)
#define PEERS_SILENT_MAX 4096

struct peers;
struct peers *peers_new(void);
void peers_free(struct peers *peers); /* takes NULL */

/* It lives as long. */
struct ipv6 *peers_ipv6(struct peers *peers);

/* It did so; or is to be believed again. True: that is news. terms: what we asked
 * for; it did not do that, and who asks for something else finds out himself. */
bool peers_note_lapse(struct peers *peers, enum peer_lapse lapse,
		      struct slice host, const struct address *address,
		      uint64_t terms);
void peers_forget_lapse(struct peers *peers, enum peer_lapse lapse,
			struct slice host, const struct address *address,
			uint64_t terms);
bool peers_has_lapse(struct peers *peers, enum peer_lapse lapse,
		     struct slice host, const struct address *address,
		     uint64_t terms);

/* Whoever waited for an answer did so in vain; or there is one again. */
void peers_note_silence(struct peers *peers, const struct address *address);
void peers_forget_silence(struct peers *peers, const struct address *address);
struct peer_silence {
	const struct address *address; /* the caller's */
	uint64_t left_ms; /* out: for so long no answer is to be expected; 0:
			     nothing is known */
};
void peers_recall_silence(struct peers *peers, struct peer_silence *asked,
			  size_t count);

/* A session (relay/net/tls.h) is for who comes with the same key, octet for
 * octet; the caller puts into it all that must not differ. It is given out
 * once; tls_session_cleanse() it. */
void peers_keep_session(struct peers *peers, struct slice key,
			struct slice session);
bool peers_take_session(struct peers *peers, struct slice key,
			struct text *session_out);

#endif
