/*
 * prepare - the fields that the relay puts on top of a message: Received (RFC
 * 5321 4.4), and Date and Message-ID where they are missing (RFC 6409 8.2,
 * 8.3); and what a header says that bears on preparing. Pure: time and names
 * are handed in.
 */
#ifndef RELAY_SERVER_PREPARE_H
#define RELAY_SERVER_PREPARE_H

#include "milter/repair.h"
#include "relay/net/address.h"
#include "relay/options.h"
#include "relay/queue/message.h"

struct trace {
	struct slice helo; /* as the client said it */
	const struct address *client;
	struct slice hostname; /* ours */
	bool is_esmtp, is_secured, is_authenticated;
	struct slice tls; /* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
};

/* Appends the field with its CRLF. The recipient is named only where there is
 * one (RFC 5321 7.2). */
void prepare_received(struct text *out, const struct trace *trace,
		      const struct message *message);
/* Without CRLF at the end, as the signing stage takes fields. */
void prepare_date(struct text *out, uint64_t wall_ms);
void prepare_message_id(struct text *out, const struct message_id *id,
			struct slice hostname);

/* A zeroed one knows of no field. */
struct prepare_facts {
	uint64_t hops; /* Received fields */
	bool has_date, has_message_id, has_version, has_bcc;
	/* A DKIM-Signature or ARC set: what it covers must not change. */
	bool is_signed;
	bool locks_all;     /* one of them cannot be read */
	struct text locked; /* their h=, each behind ":" */
};
void prepare_facts_done(struct prepare_facts *facts);
void prepare_note(struct prepare_facts *facts, struct slice name,
		  struct slice value);
/* Whether fields of that name are covered, also those not there. */
bool prepare_is_locked(const struct prepare_facts *facts, const char *name);

/* What a second pass has to do. What it must not, because somebody else has
 * signed it, is left out and remarked on. */
struct repair_needs prepare_needs(const struct prepare_facts *facts,
				  const struct prepare_options *options,
				  bool has_long_line, bool has_8bit,
				  struct text *remarks);
/* Appends "; what: why". */
void prepare_remark(struct text *remarks, const char *what, const char *why);
struct decision;
/* What the stage wants removed, copied into the arena; nothing where somebody
 * has signed DKIM-Signature fields. */
void prepare_strip(const struct decision *decision,
		   const struct prepare_facts *facts, struct arena *arena,
		   struct repair_needs *needs);

#endif
