/*
 * bounce - the report to a sender that mail could not be delivered: RFC 3464 in
 * RFC 6522's multipart/report. Pure: what it says is handed in.
 */
#ifndef RELAY_QUEUE_BOUNCE_H
#define RELAY_QUEUE_BOUNCE_H

#include "relay/queue/store.h"

/* Of the original header; what is beyond is left out. */
#define BOUNCE_HEADER_MAX (32 * KIB)

struct bounce_options {
	struct slice hostname;
	struct slice from;     /* "" : MAILER-DAEMON@hostname */
	uint64_t now_ms;       /* wall */
};

/* Whether somebody is to be told: nobody for the null reverse-path (RFC 5321
 * 4.5.5), and there is never a report about a report. */
bool bounce_has_reader(const struct message *message);

/* The report about all recipients of the delivery that are OUTCOME_FAILED, to
 * the message's reverse-path, with the null one of its own. `header` is the
 * original's, from its first byte, as much as is known. The body is in memory,
 * prefix is empty. One reference. */
struct message *bounce_make(const struct delivery *delivery,
			    struct slice header,
			    const struct bounce_options *options);

#endif
