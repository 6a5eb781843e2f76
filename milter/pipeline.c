#include "milter/pipeline.h"

#include <stdlib.h>

#include "milter/bodyhash.h"
#include "milter/claim.h"
#include "milter/fields.h"
#include "milter/header.h"
#include "milter/sign.h"

static_assert(KEY_DIGEST_SIZE == DIGEST_SIZE, "what is signed is a SHA-256");

/* Each name of policy_fields() may come once more. What we sign, our own
 * verifier takes. */
static_assert(PIPELINE_FIELDS_MAX + 50 <= CLAIM_NAMES_MAX, "h= stays short");

enum stage { STAGE_HEADER, STAGE_BODY, STAGE_END };

struct pipeline {
	enum stage stage;
	struct policy *policy;
	uint64_t time_s;
	struct arena arena;
	struct fields fields; /* those that policy_fields() lists */
	struct header_facts facts;
	struct decision decision;
	/* Only where somebody signs: */
	struct slice *names; /* h= */
	size_t names_count;
	struct digest *header_digest; /* of the fields that h= selects */
	struct bodyhash *body;
	struct signature *signatures;
	struct slice *unfinished; /* DKIM-Signature fields, b= empty */
	size_t count;
};

struct pipeline *
pipeline_new(struct policy *policy, uint64_t time_s)
{
	struct pipeline *pipeline = memory_new(sizeof(*pipeline));

	pipeline->policy = policy_ref(policy);
	pipeline->time_s = time_s;
	return pipeline;
}

void
pipeline_free(struct pipeline *pipeline)
{
	if (pipeline == NULL)
		return;
	fields_done(&pipeline->fields);
	digest_free(pipeline->header_digest);
	bodyhash_free(pipeline->body);
	arena_done(&pipeline->arena);
	policy_unref(pipeline->policy);
	free(pipeline);
}

static bool
name_is_signed(struct slice name)
{
	size_t count;
	const struct policy_field *rows = policy_fields(&count);

	for (size_t i = 0; i < count; i++)
		if (slice_eq_nocase(rows[i].name, name))
			return true;
	return false;
}

void
pipeline_header(struct pipeline *pipeline, struct slice field)
{
	struct header_facts *facts = &pipeline->facts;
	struct slice name, value, whole;
	const char *problem;

	ASSERT(pipeline->stage == STAGE_HEADER);
	if (facts->malformed != NULL)
		return;
	problem = header_field_parse(field, &name, &value);
	if (problem != NULL) {
		facts->malformed = problem;
		return;
	}
	if (!name_is_signed(name))
		return;
	if (pipeline->fields.count == PIPELINE_FIELDS_MAX) {
		facts->malformed = "the header has too many fields to sign";
		return;
	}
	whole = arena_copy(&pipeline->arena, field);
	fields_add(&pipeline->fields, slice_sub(whole, 0, name.len), whole);
	if (!slice_eq_nocase(name, SLICE("From")))
		return;
	if (facts->from_count++ == 0)
		facts->from =
			slice_from(whole, (size_t)(value.bytes - field.bytes));
}

/* h=: each listed field as often as it occurs, and once more where it is
 * oversigned. */
static void
names_select(struct pipeline *pipeline)
{
	size_t rows_count, max = 0, count = 0;
	const struct policy_field *rows = policy_fields(&rows_count);

	ASSERT(pipeline->fields.count + rows_count <= CLAIM_NAMES_MAX);
	max = pipeline->fields.count + rows_count;
	pipeline->names = arena_array(&pipeline->arena, max,
				      sizeof(*pipeline->names));
	for (size_t i = 0; i < rows_count; i++) {
		size_t times = fields_count(&pipeline->fields, rows[i].name) +
			       (rows[i].is_oversigned ? 1 : 0);

		for (; times > 0; times--)
			pipeline->names[count++] = rows[i].name;
	}
	ASSERT(count <= max);
	pipeline->names_count = count;
}

static void
signatures_prepare(struct pipeline *pipeline)
{
	const struct keyring_domain *domain = pipeline->decision.domain;

	pipeline->signatures =
		arena_array(&pipeline->arena, domain->selectors_count,
			    sizeof(*pipeline->signatures));
	pipeline->unfinished =
		arena_array(&pipeline->arena, domain->selectors_count,
			    sizeof(*pipeline->unfinished));
	for (size_t i = 0; i < domain->selectors_count; i++) {
		struct signature *signature =
			&pipeline->signatures[pipeline->count];

		if (domain->selectors[i].state != SELECTOR_ACTIVE)
			continue;
		signature->domain = domain->name;
		signature->selector = &domain->selectors[i];
		pipeline->count++;
	}
	ASSERT(pipeline->count > 0);
}

const struct decision *
pipeline_end_of_header(struct pipeline *pipeline)
{
	const struct signing_options *options =
		policy_options(pipeline->policy);

	ASSERT(pipeline->stage == STAGE_HEADER);
	pipeline->stage = STAGE_BODY;
	policy_decide(pipeline->policy, &pipeline->facts, &pipeline->arena,
		      &pipeline->decision);
	if (pipeline->decision.verdict == VERDICT_SIGN) {
		names_select(pipeline);
		pipeline->header_digest =
			fields_digest(&pipeline->fields, pipeline->names,
				      pipeline->names_count,
				      options->header_canon);
		pipeline->body =
			bodyhash_new(options->body_canon, BODYHASH_WHOLE);
		signatures_prepare(pipeline);
	}
	return &pipeline->decision;
}

void
pipeline_body(struct pipeline *pipeline, struct slice bytes)
{
	ASSERT(pipeline->stage == STAGE_BODY);
	if (pipeline->body != NULL)
		bodyhash_feed(pipeline->body, bytes);
}

static void
signature_begin(struct pipeline *pipeline, size_t i,
		const uint8_t body_hash[DIGEST_SIZE])
{
	const struct signing_options *options =
		policy_options(pipeline->policy);
	struct signature *signature = &pipeline->signatures[i];
	CLEAN(text_done) struct text text = {0};
	struct sign_field field = {
		.algorithm = key_public_algorithm(signature->selector->key),
		.header_canon = options->header_canon,
		.body_canon = options->body_canon,
		.domain = signature->domain,
		.selector = signature->selector->name,
		.time_s = pipeline->time_s,
		.names = pipeline->names,
		.names_count = pipeline->names_count,
	};

	memcpy(field.body_hash, body_hash, DIGEST_SIZE);
	sign_field_write(&field, &text);
	sign_digest(pipeline->header_digest, options->header_canon,
		    text_slice(&text), signature->digest);
	pipeline->unfinished[i] =
		arena_copy(&pipeline->arena, text_slice(&text));
}

struct signature *
pipeline_end(struct pipeline *pipeline, size_t *count_out)
{
	uint8_t body_hash[DIGEST_SIZE];

	ASSERT(pipeline->stage == STAGE_BODY);
	pipeline->stage = STAGE_END;
	if (pipeline->body != NULL)
		bodyhash_finish(pipeline->body, body_hash);
	for (size_t i = 0; i < pipeline->count; i++)
		signature_begin(pipeline, i, body_hash);
	*count_out = pipeline->count;
	return pipeline->signatures;
}

void
pipeline_write(const struct pipeline *pipeline, struct text *out)
{
	ASSERT(pipeline->stage == STAGE_END);
	for (size_t i = 0; i < pipeline->count; i++) {
		const struct signature *signature = &pipeline->signatures[i];

		ASSERT(signature->signature_len > 0);
		text_add(out, pipeline->unfinished[i]);
		sign_field_complete(slice_of(signature->signature,
					     signature->signature_len),
				    out);
	}
}
