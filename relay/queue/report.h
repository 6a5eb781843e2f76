/*
 * report - what a sender, or the postmaster, is told of a message: a delivery
 * status notification (RFC 3464) in RFC 6522's multipart/report. Pure: all that
 * it says is handed in.
 *
 *	report.c           the message: header, parts, what 8-bit text means
 *	report_words.c     the part for people
 *	report_status.c    the part for programs
 *	report_original.c  what it is about: the message, or its header
 *
 * Safety      What others said (replies, addresses, names, the original) goes
 *             in bounded, on lines of its own and without control characters;
 *             none of it can begin a field or a part.
 * Seven bits  A report gets through everywhere: it is ASCII, or can be made so on
 *             the way (repair.h): where the original could not, only its
 *             header is returned, encoded. Only a sender whose address is not
 *             ASCII gets UTF-8 as it is (RFC 6533): no other can be told of
 *             anything without SMTPUTF8.
 */
#ifndef RELAY_QUEUE_REPORT_H
#define RELAY_QUEUE_REPORT_H

#include "relay/queue/notify.h"

/* Of the original's header; what is beyond is left out. */
#define REPORT_HEADER_MAX (32 * KIB)

struct report_setup {
	const struct delivery *delivery;
	/* One per recipient of the delivery; the report says nothing of NONE. */
	const enum notice *notices;
	/* Of the original, from its first byte: the header as far as it is
	 * known, or all of it. */
	struct slice original;
	bool is_whole;
	struct slice hostname;
	struct slice from;   /* "" : MAILER-DAEMON@hostname */
	/* "" : the sender's; else the postmaster's, whose copy it is */
	struct slice copy_to;
	uint64_t now_ms, expires_ms; /* wall */
	uint64_t age_ms;     /* of the message: retry_age_ms() */
	uint64_t attempt_ms; /* likewise: of those it tells of; 0: none */
};

/* To the message's reverse-path, or to copy_to, with the null one of its own. The
 * body is in memory, prefix is empty. One reference. Without a recipient where
 * the reverse-path is no address that mail can be sent to. */
struct message *report_make(const struct report_setup *setup);

#endif
