/*
 * inspect - the verifying stage: all signatures of one message, with the keys
 * that the DNS has for them.
 *
 *	inspect_new → inspect_header for each field, in order
 *	            → inspect_end_of_header: asks for all keys at once
 *	            → inspect_body with the body's bytes, cut anywhere
 *	            → inspect_end: waits for the keys that are not there yet
 *
 * The answers come while the body does. From the end of the header on no
 * message waits longer for the DNS than `timeout_ms`, however many signatures
 * it has; a key that is not there by then is a temperror. Memory is that of
 * the header, never of the body.
 *
 * Fields, bytes, bounds and results as in verify.h.
 */
#ifndef MILTER_INSPECT_H
#define MILTER_INSPECT_H

#include "milter/records.h"

struct inspect;

/* time_s: now, for x=. The source must outlive it. */
struct inspect *inspect_new(const struct records_source *source,
			    uint64_t timeout_ms, uint64_t time_s);
/* At any stage. */
void inspect_free(struct inspect *inspect);
CLEAN_POINTER(struct inspect, inspect_free)

void inspect_header(struct inspect *inspect, struct slice field);
void inspect_end_of_header(struct inspect *inspect);
void inspect_body(struct inspect *inspect, struct slice bytes);
/* None is VERIFY_PENDING. They live until inspect_free(). */
const struct verification *inspect_end(struct inspect *inspect,
				       size_t *count_out);
/* Signatures beyond the bound. */
size_t inspect_ignored(const struct inspect *inspect);

#endif
