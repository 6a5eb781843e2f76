/*
 * reply - SMTP replies: those we give, and those we get (RFC 5321 4.2, RFC
 * 3463). Pure.
 */
#ifndef RELAY_NET_REPLY_H
#define RELAY_NET_REPLY_H

#include "base/slice.h"
#include "relay/limits.h"

/* One that we give; text may hold several lines, separated by LF. */
struct reply {
	unsigned code;
	const char *status; /* "5.5.1"; NULL: none (220, 250 of EHLO, 354) */
	const char *text;
	const char *hint; /* which option of ours it depends on: not for
			     everybody. NULL: none */
};

/* Without its hint. Appends "CODE-…CRLF" and "CODE …CRLF". extra is put right
 * behind the text; it may hold LF too. Octets that are not printable ASCII
 * become '?'; a line of more than 512 octets (RFC 5321 4.5.3.1.5) becomes
 * several. */
void reply_write(struct text *out, const struct reply *reply,
		 struct slice extra);

/* One that we got: read line by line. */
struct reply_in {
	unsigned code;
	struct slice text;   /* all lines without "CODE-" and "CODE ", LF
				between, printable ASCII, cut at
				REPLY_TEXT_MAX */
	struct slice status; /* enhanced code where the text begins with one,
				else ""; it stays in the text */
};

enum reply_status { REPLY_MORE, REPLY_COMPLETE, REPLY_BROKEN };

struct reply_reader {
	struct text text;
	unsigned code, lines;
	bool is_complete; /* and nothing of the next one has come */
};
/* A zeroed one is ready. */
void reply_reader_done(struct reply_reader *reader);
/* Reads from `input`; *used_out bytes are consumed. COMPLETE: `reply` is valid
 * until the next call. BROKEN: not SMTP, or over a bound. */
enum reply_status reply_read(struct reply_reader *reader, struct slice input,
			     size_t *used_out, struct reply_in *reply);

/* Of a reply that is BROKEN, or of which no more will come, what could be read:
 * of several codes the highest, so that a yes is one in every line. `rest`: what
 * was not consumed. False: there is none. */
bool reply_read_begun(struct reply_reader *reader, struct slice rest,
		      struct reply_in *reply);

#endif
