/*
 * mta_field - header fields as an MTA shows them to a milter, and as it is
 * told to insert them. Pure.
 *
 * With SMFIP_HDR_LEADSPC a value is everything behind the colon. Its lines end
 * in LF, both ways; the MTA writes CRLF when it sends the message on.
 */
#ifndef MILTER_MTA_FIELD_H
#define MILTER_MTA_FIELD_H

#include "base/slice.h"

/* Appends the field as it will be sent, without its last CRLF. A CR that
 * already stands before an LF is not doubled; one alone stays, for
 * header_field_parse() to find. */
void mta_field_write(struct slice name, struct slice value, struct text *out);
/* A field that we wrote, without its last CRLF: its name, and its value for the
 * MTA. Both texts are cleared first. */
void mta_field_split(struct slice field, struct text *name_out,
		     struct text *value_out);
/* A text for smfi_setreply(3): one line of printable ASCII in which "%" is
 * doubled, as both MTAs want it, cut where a reply would become too long. */
void mta_reply_write(struct slice text, struct text *out);

#endif
