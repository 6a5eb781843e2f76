/*
 * newline - CR and LF that stand alone made into CRLF, for devices that know no
 * better. Pure.
 *
 * Behind what finds the end of the data: here nothing does. Several CRs before
 * one LF are one line end ("\r\r\n" comes from text that was converted twice).
 * What goes out holds CR and LF as CRLF only.
 *
 * Dots        Whoever sends such line ends may have stuffed its dots by them:
 *             of two dots behind one that was made into CRLF, the first goes,
 *             as RFC 5321 4.5.2 has it. One dot stays.
 */
#ifndef MILTER_NEWLINE_H
#define MILTER_NEWLINE_H

#include "base/slice.h"

struct newline {
	bool keeps_dots;    /* set by the caller: no dot is stuffed */
	size_t crs;         /* held back */
	bool at_mended;     /* behind a line end that was not CRLF */
	bool holds_dot;     /* the first byte there */
	bool has_mended;    /* some were not */
	bool has_long_line; /* over 998 octets, as they go out */
	size_t column;
};

void newline_init(struct newline *newline);
/* Appends; nothing is held back behind bytes that end in CRLF. */
void newline_feed(struct newline *newline, struct slice bytes,
		  struct text *out);

#endif
