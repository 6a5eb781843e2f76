/*
 * report_private - what the files of a report share.
 */
#ifndef RELAY_QUEUE_REPORT_PRIVATE_H
#define RELAY_QUEUE_REPORT_PRIVATE_H

#include "relay/queue/report.h"

/* RFC 5322 2.1.1, without CRLF. */
#define REPORT_LINE_MAX 998

/* Whom it is for, and how it gets there. */
struct report_form {
	const struct report_setup *setup;
	const struct message *message; /* the original */
	struct slice to;
	bool is_utf8;   /* UTF-8 as it is: it needs SMTPUTF8 anyway */
	bool is_whole;  /* the original is returned as a whole */
	bool has_failed, has_delayed, has_relayed;
};

bool report_has_8bit(struct slice bytes);
const struct recipient *report_recipient(const struct report_form *form,
					 size_t i);
/* Appends at most `max` octets, all printable ASCII: anything else is '?', line
 * ends and tabs are spaces. */
void report_add_ascii(struct text *out, struct slice bytes, size_t max);
/* The same, but for UTF-8. */
void report_add_utf8(struct text *out, struct slice bytes, size_t max);

/* --- report_words.c --- */

/* One part: its header and content. */
void report_add_words(struct text *out, const struct report_form *form);

/* --- report_status.c --- */

void report_add_status(struct text *out, const struct report_form *form);

/* --- report_original.c --- */

/* Whether it can be returned as a whole: it is all there, and its lines are
 * such as may be sent. */
bool report_may_be_whole(const struct report_setup *setup);
void report_add_original(struct text *out, const struct report_form *form);

#endif
