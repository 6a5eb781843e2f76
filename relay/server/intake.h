/*
 * intake - a session's mail on its way in: the transaction from MAIL to the
 * answer behind the last octet, and the octets of DATA and BDAT.
 *
 * session_begin() and session_reset() (session.h) are here, too.
 */
#ifndef RELAY_SERVER_INTAKE_H
#define RELAY_SERVER_INTAKE_H

#include "relay/server/session.h"

/* In SESSION_DATA: what there is of input. */
enum step intake_data(struct session *session);
/* A message that is as large as this has no end: nobody waits for it to say that
 * it is too large. */
bool intake_is_endless(const struct session *session, uint64_t octets);
extern const struct reply intake_reply_endless;
/* What BDAT says: "1000", "1000 LAST". */
bool intake_chunk_parse(struct slice args, struct chunk *out) MUST_USE;
/* In SESSION_CHUNK: octets of a BDAT, as many as it said (RFC 3030 2). */
enum step intake_chunk(struct session *session, bool *more_needed);

#endif
