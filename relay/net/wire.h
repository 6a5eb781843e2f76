/*
 * wire - SMTP lines and the end of data. Pure.
 *
 * Only CRLF ends a line and only CRLF.CRLF ends data: RFC 5321 2.3.8, 4.1.1.4;
 * whatever else lets somebody smuggle a second message past the next server.
 */
#ifndef RELAY_NET_WIRE_H
#define RELAY_NET_WIRE_H

#include "base/slice.h"

enum wire_status {
	WIRE_LINE,
	WIRE_MORE,
	WIRE_BARE_LF,
	WIRE_BARE_CR,
	WIRE_TOO_LONG,
};

/* The first line of input without its CRLF, and what follows. On anything but
 * WIRE_LINE line is empty and rest is the input. max counts without CRLF. */
enum wire_status wire_line(struct slice input, size_t max, struct slice *line,
			   struct slice *rest);

/*
 * Lines that end in LF, with or without a CR before it, as wire_data_read()
 * wants them: for clients that end each of their lines so. Not for any other:
 * two readers would see different ends of data.
 */
struct wire_lf {
	bool is_behind_cr;
};
/* Appends the bytes with a CR before each LF that has none. */
void wire_lf_write(const struct wire_lf *lf, struct slice input,
		   struct text *out);
/* Of what was written `used` bytes have been taken: how many of the input that
 * was, and where the next call goes on. */
size_t wire_lf_used(struct wire_lf *lf, struct slice input, size_t used);

/* The data phase: removes dot-stuffing and finds the end, in one pass. */
enum wire_data_status {
	WIRE_DATA_MORE,
	WIRE_DATA_END,      /* CRLF.CRLF came; used_out is just behind it */
};
struct wire_data {
	unsigned state;
	bool has_bare_cr, has_bare_lf, has_nul; /* seen anywhere: refuse at the
						   end, with the input still in
						   step */
	bool has_long_line;
	size_t line_len;
};
void wire_data_init(struct wire_data *data);
/* Calls take() with runs of message bytes (CRLF line ends, as received but for
 * the stuffing), as long as it returns true. Once it returned false the reading
 * stops behind that run, with used_out there: call again with the rest when
 * more can be taken. After END the data must be initialised again. */
enum wire_data_status wire_data_read(struct wire_data *data,
				     struct slice input, size_t *used_out,
				     bool (*take)(void *owner,
						  struct slice bytes),
				     void *owner);

/* The same of bytes whose end is known otherwise (BDAT), which have no stuffing:
 * only notes what is in them. */
void wire_chunk(struct wire_data *data, struct slice bytes);
bool wire_is_line_start(const struct wire_data *data);

/* The other way, for the client: takes the next run off the front of *rest, as
 * it lies there; put together the runs are the bytes, dot-stuffed. False once
 * nothing is left. *at_line_start carries between calls (true at first). */
bool wire_stuff_run(struct slice *rest, bool *at_line_start,
		    struct slice *run_out);
/* Appends them all. */
void wire_stuff(struct text *out, struct slice bytes, bool *at_line_start);

#endif
