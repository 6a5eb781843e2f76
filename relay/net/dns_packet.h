/*
 * dns_packet - DNS packets as bytes: writes questions, reads answers. The only
 * file that knows ldns. Pure.
 *
 * Answers come from strangers: whatever is in one, the reader returns, bounded
 * by DNS_RECORDS_MAX records and DNS_ALIASES_MAX steps of CNAME.
 */
#ifndef RELAY_NET_DNS_PACKET_H
#define RELAY_NET_DNS_PACKET_H

#include "relay/net/dns.h"

/* A name on the wire: labels with their lengths, lower case, root last. */
#define DNS_NAME_SIZE 255
struct dns_name {
	uint8_t bytes[DNS_NAME_SIZE];
	size_t len;
};

/* From "host.example" or "host.example."; "" and "." are the root. False: no
 * such name can exist (empty or long labels, other than printable ASCII). */
bool dns_name_parse(struct slice text, struct dns_name *name_out) MUST_USE;
/* Without the last dot; unusual octets as \DDD, which no lookup accepts. */
struct slice dns_name_write(const struct dns_name *name, struct arena *arena);

struct dns_question {
	struct dns_name name;
	enum dns_type type;
};

/* Appends the question with RD set. EDNS(0) (RFC 6891) offers DNS_EDNS_SIZE
 * octets. False: ldns could not. */
bool dns_packet_write(const struct dns_question *question, uint16_t id,
		      bool with_edns, struct text *out) MUST_USE;

enum dns_packet_status {
	DNS_PACKET_ANSWER,    /* answer and ttl_ms are filled in */
	DNS_PACKET_ALIAS,     /* a CNAME whose target is not in it: ask for it */
	DNS_PACKET_TRUNCATED, /* ask again over TCP */
	DNS_PACKET_NO_EDNS,   /* FORMERR, NOTIMP, BADVERS: ask again without */
	DNS_PACKET_FOREIGN,   /* answers something else: as if it had not come */
	DNS_PACKET_BAD,       /* answer->reason says why: ask another server */
};

struct dns_packet_answer {
	struct dns_answer answer; /* in the arena */
	uint64_t ttl_ms;          /* 0: not to be kept */
	struct dns_name alias;    /* for DNS_PACKET_ALIAS */
};

enum dns_packet_status dns_packet_read(struct slice packet,
				       const struct dns_question *question,
				       uint16_t id, struct arena *arena,
				       struct dns_packet_answer *out);

#endif
