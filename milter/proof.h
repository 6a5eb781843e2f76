/*
 * proof - a signed message, looked at once more before it leaves: the bytes as
 * they will be sent go through the verifier's own path, with the public halves
 * of the keyring in the place of DNS.
 *
 *	proof_new, once all signatures are filled in
 *	     → proof_feed with the message from its first byte, cut anywhere
 *	     → proof_finish: false, and the message must not leave
 *
 * Where the body goes by before there are signatures:
 *
 *	proof_new_at_body, after the end of the header → proof_body
 *	     → proof_feed with the header, once all signatures are filled in
 *	     → proof_finish
 *
 * Whether a message is to be looked at says policy_proof_is_due(): the first
 * one of each selector after a load, then one in signing.verify_every.
 *
 * Ownership   The pipeline must outlive it.
 * Thread      One at a time.
 */
#ifndef MILTER_PROOF_H
#define MILTER_PROOF_H

#include "milter/pipeline.h"

struct proof;

struct proof *proof_new(const struct pipeline *pipeline);
void proof_free(struct proof *proof);
CLEAN_POINTER(struct proof, proof_free)

void proof_feed(struct proof *proof, struct slice bytes);

struct proof *proof_new_at_body(const struct pipeline *pipeline);
void proof_body(struct proof *proof, struct slice bytes);
/* True where each of the signatures stands on top, in order, and verifies;
 * the policy is then told. */
bool proof_finish(struct proof *proof, struct fault *fault) MUST_USE;

/* All of it, of a message in memory, where it is due; true where it is not. */
bool proof_memory(const struct pipeline *pipeline, struct slice prefix,
		  const struct slice *chunks, size_t count,
		  struct fault *fault) MUST_USE;

#endif
