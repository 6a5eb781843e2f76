#include "milter/proof.h"

#include "tests/unit/milter/stage.h"

#define FROM "From: Joe <joe@example.com>"
#define HEADER FROM "\r\nSubject: x\r\n"
#define BODY "Hello  \r\n\r\nworld\r\n\r\n"

/* Who breaks what between the signer and the network. */
enum harm {
	NO_HARM,
	HARM_BIT,	/* the signer flips a bit of what it made */
	HARM_KEY,	/* it signs with another key */
	HARM_DIGEST,	/* it signs something else */
	HARM_BODY,	/* the body is not what was hashed */
	HARM_HEADER,	/* nor the header */
	HARM_ADDED,	/* a field comes on top that is oversigned */
	HARM_MISSING,	/* the signatures are not there */
	HARM_OTHER,	/* nor are those that are there ours */
};

static const struct {
	const char *name;
	enum harm harm;
	const char *says; /* NULL: it verifies */
} rows[] = {
	{"as it should be", NO_HARM, NULL},
	{"a bit of the signature", HARM_BIT, "does not verify"},
	{"another key", HARM_KEY, "does not verify"},
	{"another digest", HARM_DIGEST, "does not verify"},
	{"another body", HARM_BODY, "the body is not what was signed"},
	{"another header", HARM_HEADER, "does not verify"},
	{"a second From", HARM_ADDED, "does not verify"},
	{"no signatures", HARM_MISSING, "are missing"},
	{"foreign signatures on top", HARM_OTHER, "does not verify"},
};

/* The stand-in for the signer: no check of its own result, as key_sign() does
 * it, stands between the harm and the message. */
static void
signatures_make(struct signature *signatures, size_t count, enum harm harm)
{
	for (size_t i = 0; i < count; i++) {
		struct signature *signature = &signatures[i];
		enum key_algorithm algorithm =
			key_public_algorithm(signature->selector->key);
		CLEAN(key_free_clean) struct key *key = stage_key(algorithm);
		uint8_t digest[KEY_DIGEST_SIZE];

		memcpy(digest, signature->digest, sizeof(digest));
		if (harm == HARM_DIGEST)
			digest[3] ^= 0x10;
		if (harm == HARM_KEY) {
			key_free(TAKE(key));
			cr_assert(key_generate(algorithm, 1024, &key, NULL));
		}
		cr_assert(key_sign(key, digest, signature->signature,
				   &signature->signature_len, NULL));
		if (harm == HARM_BIT)
			signature->signature[signature->signature_len / 2] ^= 1;
	}
}

/* The header as it would be sent. */
static void
header_write(const struct pipeline *pipeline, enum harm harm,
	      struct text *out)
{
	if (harm == HARM_ADDED)
		text_add_string(out, "From: mallory@example.net\r\n");
	if (harm == HARM_OTHER)
		text_add_string(out, "DKIM-Signature: v=1; a=rsa-sha256; "
				     "d=example.net; s=x; h=From; bh=AA==; "
				     "l=5; b=AA==\r\n");
	if (harm != HARM_MISSING)
		pipeline_write(pipeline, out);
	text_add_string(out, "Received: from a by b; now\r\n");
	text_add_string(out, harm == HARM_HEADER ? "From: Jim "
						   "<joe@example.com>\r\n"
						   "Subject: x\r\n"
						 : HEADER);
	text_add_string(out, "\r\n");
}

static void
proof_feed_by(struct proof *proof, void feed(struct proof *, struct slice),
	      struct slice bytes, size_t step)
{
	for (; bytes.len > 0; bytes = slice_from(bytes, step))
		feed(proof, slice_sub(bytes, 0, step));
}

static bool
message_prove(struct policy *policy, enum harm harm, size_t step,
	      bool is_body_first, struct fault *fault)
{
	CLEAN(pipeline_free_clean) struct pipeline *pipeline =
		pipeline_new(policy, 1763760000);
	CLEAN(proof_free_clean) struct proof *proof = NULL;
	CLEAN(text_done) struct text header = {0};
	struct slice body = SLICE(harm == HARM_BODY ? "Hallo" : BODY);
	struct signature *signatures;
	size_t count;

	pipeline_header(pipeline, SLICE(FROM));
	pipeline_header(pipeline, SLICE("Subject: x"));
	pipeline_end_of_header(pipeline);
	if (is_body_first) {
		proof = proof_new_at_body(pipeline);
		proof_feed_by(proof, proof_body, body, step);
	}
	pipeline_body(pipeline, SLICE(BODY));
	signatures = pipeline_end(pipeline, &count);
	cr_assert_eq(count, 2);
	signatures_make(signatures, count, harm);
	header_write(pipeline, harm, &header);
	if (!is_body_first) {
		proof = proof_new(pipeline);
		text_add(&header, body);
	}
	proof_feed_by(proof, proof_feed, text_slice(&header), step);
	return proof_finish(proof, fault);
}

Test(proof, a_broken_signer_is_found_out)
{
	static const size_t steps[] = {1, 7, 100000};
	struct signing_options options = {.header_canon = CANON_RELAXED,
					  .body_canon = CANON_RELAXED};

	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t k = 0; k < 2 * COUNT(steps); k++) {
			CLEAN(policy_unref_clean) struct policy *policy =
				stage_policy(&options);
			struct fault fault = {0};
			bool is_good = message_prove(
				policy, rows[i].harm, steps[k / 2],
				k % 2 == 0, &fault);

			cr_expect_eq(is_good, rows[i].says == NULL, "%s",
				     rows[i].name);
			if (rows[i].says != NULL)
				cr_expect_not_null(strstr(fault.text,
							  rows[i].says),
						   "%s: %s", rows[i].name,
						   fault.text);
		}
}

static struct decision
decide(const struct policy *policy, const char *from, struct arena *arena)
{
	struct header_facts facts = {.from_count = 1, .from = SLICE(from)};
	struct decision decision;

	policy_decide(policy, &facts, arena, &decision);
	cr_assert_eq(decision.verdict, VERDICT_SIGN);
	return decision;
}

/* The first of each selector; one that failed or could not be looked at leaves
 * the turn to the next. */
Test(proof, when_it_is_due)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct signing_options options = {.verify_every = 3};
	CLEAN(policy_unref_clean) struct policy *policy =
		stage_policy(&options);
	struct decision com = decide(policy, "a@example.com", &arena);
	struct decision net = decide(policy, "a@example.net", &arena);
	struct fault fault;

	cr_expect(policy_proof_is_due(policy, &com));
	cr_expect(policy_proof_is_due(policy, &com));
	cr_expect_not(message_prove(policy, HARM_BIT, 9, true, &fault));
	cr_expect(policy_proof_is_due(policy, &com));
	cr_expect(message_prove(policy, NO_HARM, 9, true, &fault));
	cr_expect_not(policy_proof_is_due(policy, &com)); /* 1 */
	cr_expect(policy_proof_is_due(policy, &net)); /* another selector */
	policy_proven(policy, &net);
	for (size_t round = 0; round < 3; round++) {
		cr_expect_not(policy_proof_is_due(policy, &net));
		cr_expect_not(policy_proof_is_due(policy, &com));
		cr_expect(policy_proof_is_due(policy, &com));
		cr_expect(policy_proof_is_due(policy, &net));
		policy_proven(policy, &com);
	}
}

Test(proof, verify_every_0_is_the_first_ones_only)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct signing_options options = {0};
	CLEAN(policy_unref_clean) struct policy *policy =
		stage_policy(&options);
	struct decision decision = decide(policy, "a@example.com", &arena);

	cr_expect(policy_proof_is_due(policy, &decision));
	policy_proven(policy, &decision);
	for (size_t i = 0; i < 1000; i++)
		cr_expect_not(policy_proof_is_due(policy, &decision));
}
