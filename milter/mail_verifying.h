/*
 * mail_verifying - the verifying of one message that an MTA shows us: the stage
 * of milter/inspect.h, and what becomes of Authentication-Results fields.
 *
 *	mail_verifying_new → _header for each field → _end_of_header
 *	    → _body with the body's bytes, cut anywhere
 *	    → _end: the field to be inserted on top; waits for the DNS, see
 *	      inspect.h
 *
 * Fields that claim to be ours are to be removed whatever the results are, and
 * before ours is inserted (RFC 8601 5).
 *
 * Bytes       CRLF line ends; a field without its last one.
 * Thread      One at a time.
 */
#ifndef MILTER_MAIL_VERIFYING_H
#define MILTER_MAIL_VERIFYING_H

#include "milter/authres.h"
#include "milter/inspect.h"

/* Nobody brings so many in good faith, and an MTA looks for each of them from
 * the top of the message when it is told to remove them. */
#define MAIL_FORGED_MAX 100

struct mail_verifying;

/* id: the authserv-id, which is copied. The source must outlive it. */
struct mail_verifying *mail_verifying_new(const struct records_source *source,
					  uint64_t timeout_ms, uint64_t time_s,
					  struct slice id);
/* At any stage. */
void mail_verifying_free(struct mail_verifying *verifying);
CLEAN_POINTER(struct mail_verifying, mail_verifying_free)

void mail_verifying_header(struct mail_verifying *verifying,
			   struct slice field);
void mail_verifying_end_of_header(struct mail_verifying *verifying);
void mail_verifying_body(struct mail_verifying *verifying, struct slice bytes);

/* The Authentication-Results field, with its CRLF. Once. */
struct slice mail_verifying_end(struct mail_verifying *verifying);
/* Afterwards: what it tells of, none VERIFY_PENDING. */
const struct verification *
mail_verifying_results(const struct mail_verifying *verifying,
		       size_t *count_out);
/* After the end of the header: the forged fields, by their positions among the
 * Authentication-Results fields of the message, from 1, in rising order. An MTA
 * counts again after each removal: begin with the last one. */
const uint32_t *mail_verifying_forged(const struct mail_verifying *verifying,
				      size_t *count_out);

#endif
