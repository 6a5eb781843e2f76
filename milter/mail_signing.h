/*
 * mail_signing - the signing of one message that an MTA shows us: the stage of
 * milter/pipeline.h, and the look at the result that milter/proof.h takes.
 *
 *	mail_signing_new → _header for each field → _end_of_header
 *	    → _body with the body's bytes, cut anywhere → _end
 *
 * A milter sees a message once and changes it only through the MTA. Where a
 * proof is due, the header is kept as it came and the body hashed a second time
 * as it goes by; the signatures are put on top, and all of it goes through the
 * verifier's path before the MTA is told of them.
 *
 * Bytes       CRLF line ends; a field without its last one.
 * Thread      One at a time.
 */
#ifndef MILTER_MAIL_SIGNING_H
#define MILTER_MAIL_SIGNING_H

#include "milter/pipeline.h"

struct mail_signing;

struct mail_signing *mail_signing_new(struct policy *policy, uint64_t time_s);
void mail_signing_free(struct mail_signing *signing);
CLEAN_POINTER(struct mail_signing, mail_signing_free)

void mail_signing_header(struct mail_signing *signing, struct slice field);
const struct decision *mail_signing_end_of_header(struct mail_signing *signing);
void mail_signing_body(struct mail_signing *signing, struct slice bytes);
/* The signatures to be made; the caller fills them in, then calls _write. */
struct signature *mail_signing_end(struct mail_signing *signing,
				   size_t *count_out);
/* The DKIM-Signature fields, each with its CRLF, once they have been proven
 * where that is due. A fault is one of ours: they must not be used. They live
 * as long as this. */
bool mail_signing_write(struct mail_signing *signing, struct slice *fields_out,
			struct fault *fault) MUST_USE;

/* As pipeline_names(). */
const struct slice *mail_signing_names(const struct mail_signing *signing,
				       const struct policy_rules *rules,
				       size_t *count_out);

/* The DKIM-Signature fields that ours replace: their positions among the
 * fields of that name, from 1, in rising order. After the end of the header. */
const uint32_t *mail_signing_strips(const struct mail_signing *signing,
				    size_t *count_out);

#endif
