/*
 * trace - the fields that the relay puts on top of a message: Received (RFC
 * 5321 4.4), and Date and Message-ID where they are missing (RFC 6409 8.2,
 * 8.3). Pure: time and names are handed in.
 */
#ifndef RELAY_SERVER_TRACE_H
#define RELAY_SERVER_TRACE_H

#include "relay/net/address.h"
#include "relay/queue/message.h"

struct trace {
	struct slice helo; /* as the client said it */
	const struct address *client; /* AF_UNSPEC: not known */
	struct slice client_name;     /* empty: not known */
	struct slice hostname; /* ours */
	bool is_esmtp, is_secured, is_authenticated;
	struct slice tls; /* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
};

/* Appends the field with its CRLF. The recipient is named only where there is
 * one (RFC 5321 7.2). */
void trace_received(struct text *out, const struct trace *trace,
		    const struct message *message);
/* Without CRLF at the end, as the signing stage takes fields. */
void trace_date(struct text *out, uint64_t wall_ms);
void trace_message_id(struct text *out, const struct message_id *id,
		      struct slice hostname);

#endif
