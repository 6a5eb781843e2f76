/*
 * notify - who is told what of a delivery's outcomes. Pure.
 *
 * Failure      The sender, unless the recipient's NOTIFY leaves FAILURE out (RFC
 *              3461 5.2.6, RFC 5321 6.1). Also where the message is automatic
 *              itself: RFC 3834 is about answers to mail, and mail must not
 *              be lost without a word.
 * Delay        Once, when what is deferred has been here for
 *              `delivery.delay_warning`: the sender, where NOTIFY has DELAY;
 *              where there is no NOTIFY, too (RFC 3461 4.1 leaves that to
 *              us), unless the message says that it comes from a program or
 *              goes to a list: there nobody waits for it. With "0" only who
 *              asks is told.
 * Success      The sender, "relayed", where NOTIFY has SUCCESS and the next hop
 *              was not told so (RFC 3461 5.2.2). Delivered and expanded are for
 *              those to say who do it.
 * Nobody       for a null reverse-path and for reports of ours.
 * A copy       of what failed, whoever is told, to `delivery.bounce_copy` (RFC
 *              3461 5.2, 5.2.6 b); but not of what was on its way there.
 */
#ifndef RELAY_QUEUE_NOTIFY_H
#define RELAY_QUEUE_NOTIFY_H

#include "relay/options.h"
#include "relay/queue/schedule.h"

/* What a report says of a recipient. */
enum notice { NOTICE_NONE, NOTICE_FAILED, NOTICE_DELAYED, NOTICE_RELAYED };

struct notices {
	/* One per recipient of the delivery each. */
	enum notice *sender, *copy;
	bool sender_is_told, copy_is_sent;
	bool has_failure, has_delay; /* for the sender */
};

/* Of outcomes as they are now; the arena is that of the notices. results may be
 * NULL. age_ms: how long the message has been here. */
void notify_decide(struct notices *notices, struct arena *arena,
		   const struct delivery *delivery,
		   const struct recipient_result *results,
		   const struct delivery_options *options, uint64_t age_ms);
/* Whether a warning of a delay is due, should it not get any further. */
bool notify_delay_is_due(const struct delivery *delivery,
			 const struct delivery_options *options,
			 uint64_t age_ms);
/* The message is automatic: takes back warnings that nobody asked for. */
void notify_withdraw(struct notices *notices, const struct delivery *delivery);

/* Whether it says that a program has sent it, or a list: Auto-Submitted (RFC
 * 3834 5), Precedence, List-Id and its like (RFC 2919, RFC 2369). */
bool notify_is_automatic(struct slice header);

#endif
