/*
 * dovecot_line - what Dovecot's authentication server says, line by line
 * (Dovecot Authentication Protocol, version 1). Pure.
 */
#ifndef RELAY_SERVER_DOVECOT_LINE_H
#define RELAY_SERVER_DOVECOT_LINE_H

#include "base/slice.h"

enum dovecot_word {
	DOVECOT_OTHER, /* nothing that we need to know */
	DOVECOT_VERSION,
	DOVECOT_MECH,
	DOVECOT_DONE,
	DOVECOT_CONT,
	DOVECOT_OK,
	DOVECOT_FAIL,
	DOVECOT_MALFORMED,
};

struct dovecot_line {
	enum dovecot_word word;
	uint64_t major;         /* of VERSION */
	struct slice mechanism; /* of MECH; in the line */
	uint32_t id;            /* of CONT, OK and FAIL */
	struct text data;       /* of CONT, decoded */
	struct text user;       /* of OK and FAIL; may hold any octet */
	bool is_temporary;      /* of FAIL */
	bool is_no_login;       /* of OK: the password fits, and yet he may not */
};

/* The line without its LF. What was there before is cleared. */
void dovecot_line_parse(struct slice line, struct dovecot_line *out);
void dovecot_line_done(struct dovecot_line *line);

#endif
