#include "milter/proof.h"

#include <stdlib.h>

#include "keys/record.h"
#include "milter/header.h"
#include "milter/verify.h"

static_assert(POLICY_SIGNERS_MAX <= VERIFY_SIGNATURES_MAX,
	      "what we sign, the verifier looks at");

struct proof {
	const struct pipeline *pipeline;
	const struct signature *signatures;
	size_t count;
	struct verifier *verifier;
	struct header_reader header;
	bool in_body;
	bool is_body_first;
	struct bodyhash *bodies[CANON_RELAXED + 1]; /* where it is */
};

struct proof *
proof_new(const struct pipeline *pipeline)
{
	struct proof *proof = memory_new(sizeof(*proof));

	proof->pipeline = pipeline;
	proof->verifier = verifier_new(pipeline_time(pipeline));
	/* The message has passed its bounds already. */
	header_reader_init(&proof->header, SIZE_MAX);
	return proof;
}

void
proof_free(struct proof *proof)
{
	if (proof == NULL)
		return;
	header_reader_done(&proof->header);
	for (size_t i = 0; i < COUNT(proof->bodies); i++)
		bodyhash_free(proof->bodies[i]);
	verifier_free(proof->verifier);
	free(proof);
}

struct proof *
proof_new_at_body(const struct pipeline *pipeline)
{
	struct proof *proof = proof_new(pipeline);
	const struct decision *decision = pipeline_decision(pipeline);

	proof->is_body_first = true;
	for (size_t i = 0; i < decision->signers_count; i++) {
		enum canonicalization canon =
			decision->signers[i].rules->body_canon;

		if (proof->bodies[canon] == NULL)
			proof->bodies[canon] = bodyhash_new(canon);
	}
	return proof;
}

/* Cut otherwise than for the pipeline, to see what must not matter. */
void
proof_body(struct proof *proof, struct slice bytes)
{
	ASSERT(proof->is_body_first);
	for (size_t i = 0; i < COUNT(proof->bodies); i++) {
		if (proof->bodies[i] == NULL)
			continue;
		bodyhash_feed(proof->bodies[i],
			      slice_sub(bytes, 0, bytes.len / 2));
		bodyhash_feed(proof->bodies[i],
			      slice_from(bytes, bytes.len / 2));
	}
}

static void
header_end(struct proof *proof)
{
	verifier_end_of_header(proof->verifier);
	proof->in_body = true;
}

static void
header_feed(struct proof *proof, struct slice *bytes)
{
	struct slice field;

	for (;;) {
		switch (header_read(&proof->header, bytes, &field)) {
		case HEADER_MORE:
			return;
		case HEADER_FIELD:
			verifier_header(proof->verifier, field);
			break;
		case HEADER_END:
			header_end(proof);
			return;
		case HEADER_TOO_LARGE:
			ASSERT(false); /* without a bound */
			return;
		}
	}
}

void
proof_feed(struct proof *proof, struct slice bytes)
{
	if (!proof->in_body)
		header_feed(proof, &bytes);
	ASSERT(!proof->in_body || bytes.len == 0 || !proof->is_body_first);
	if (proof->in_body && bytes.len > 0)
		verifier_body(proof->verifier, bytes);
}

static bool
signature_check(struct proof *proof, size_t i,
		const struct verification *result, struct fault *fault)
{
	const struct signature *signature = &proof->signatures[i];
	struct slice name = signature->selector->name;
	CLEAN(text_done) struct text record = {0};
	struct slice answer;

	if (result->status == VERIFY_PENDING) {
		record_write(signature->selector->key, &record);
		answer = text_slice(&record);
		verifier_answer(proof->verifier, i, LOOKUP_FOUND, &answer, 1);
	}
	if (slice_eq_nocase(result->domain, signature->domain) &&
	    slice_eq_nocase(result->selector, name) &&
	    result->status == VERIFY_PASS)
		return true;
	return fault_set(fault, FAULT_SYSTEM,
			 "our own signature with selector %.*s of %.*s does "
			 "not verify: %.*s",
			 SLICE_ARG(name), SLICE_ARG(signature->domain),
			 SLICE_ARG(result->reason));
}

bool
proof_finish(struct proof *proof, struct fault *fault)
{
	const struct verification *results;
	struct slice field;
	size_t count;

	proof->signatures =
		pipeline_signatures(proof->pipeline, &proof->count);
	if (!proof->in_body) {
		while (header_read_last(&proof->header, &field) == HEADER_FIELD)
			verifier_header(proof->verifier, field);
		header_end(proof);
	}
	if (proof->is_body_first)
		verifier_take_body(proof->verifier, proof->bodies);
	results = verifier_end(proof->verifier, &count);
	if (count < proof->count)
		return fault_set(fault, FAULT_SYSTEM,
				 "%zu of our own signatures are missing",
				 proof->count - count);
	for (size_t i = 0; i < proof->count; i++)
		if (!signature_check(proof, i, &results[i], fault))
			return false;
	policy_proven(pipeline_policy(proof->pipeline),
		      pipeline_decision(proof->pipeline));
	return true;
}

bool
proof_memory(const struct pipeline *pipeline, struct slice prefix,
	     const struct slice *chunks, size_t count, struct fault *fault)
{
	CLEAN(proof_free_clean) struct proof *proof = NULL;

	if (!policy_proof_is_due(pipeline_policy(pipeline),
				 pipeline_decision(pipeline)))
		return true;
	proof = proof_new(pipeline);
	proof_feed(proof, prefix);
	for (size_t i = 0; i < count; i++)
		proof_feed(proof, chunks[i]);
	return proof_finish(proof, fault);
}
