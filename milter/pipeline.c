#include "milter/pipeline.h"

#include <stdlib.h>

#include "base/tags.h"
#include "milter/bodyhash.h"
#include "milter/claim.h"
#include "milter/fields.h"
#include "milter/header.h"
#include "milter/idn.h"
#include "milter/sign.h"

static_assert(KEY_DIGEST_SIZE == DIGEST_SIZE, "what is signed is a SHA-256");

/* Each name that a section signs may come once more. What we sign, our own
 * verifier takes. */
static_assert(PIPELINE_FIELDS_MAX + 1 + 2 * POLICY_NAMES_MAX <=
		      CLAIM_NAMES_MAX,
	      "h= stays short");

enum stage { STAGE_HEADER, STAGE_BODY, STAGE_END };

/* The header as signatures of the same rules see it. */
struct view {
	const struct policy_rules *rules;
	struct slice *names; /* h= */
	size_t names_count;
	struct digest *digest; /* of the fields that h= selects */
};

struct pipeline {
	enum stage stage;
	struct policy *policy;
	uint64_t time_s;
	struct arena arena;
	struct fields fields; /* those that some section signs */
	struct header_facts facts;
	struct slice signed_domains[POLICY_SIGNED_MAX];
	struct decision decision;
	/* Only where somebody signs: */
	struct view *views;
	size_t views_count;
	struct bodyhash *bodies[2]; /* by enum canonicalization; or NULL */
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
	pipeline->facts.signed_domains = pipeline->signed_domains;
	return pipeline;
}

void
pipeline_free(struct pipeline *pipeline)
{
	if (pipeline == NULL)
		return;
	fields_done(&pipeline->fields);
	for (size_t i = 0; i < pipeline->views_count; i++)
		digest_free(pipeline->views[i].digest);
	for (size_t i = 0; i < COUNT(pipeline->bodies); i++)
		bodyhash_free(pipeline->bodies[i]);
	arena_done(&pipeline->arena);
	policy_unref(pipeline->policy);
	free(pipeline);
}

uint64_t
pipeline_time(const struct pipeline *pipeline)
{
	return pipeline->time_s;
}

struct policy *
pipeline_policy(const struct pipeline *pipeline)
{
	return pipeline->policy;
}

/* ---- the header ---- */

/* d= of a DKIM-Signature field; false where it cannot be read. */
static bool
signed_domain(struct slice value, struct arena *arena, struct slice *domain_out)
{
	struct tags tags;
	const struct tag *tag;

	if (!tags_parse(value, &tags, NULL))
		return false;
	tag = tags_find(&tags, "d");
	return tag != NULL &&
	       idn_to_ascii(tag->value, arena, domain_out, NULL);
}

static void
take_signature(struct pipeline *pipeline, struct slice value)
{
	struct header_facts *facts = &pipeline->facts;
	struct slice domain;

	if (facts->signed_count < POLICY_SIGNED_MAX &&
	    signed_domain(value, &pipeline->arena, &domain))
		pipeline->signed_domains[facts->signed_count++] = domain;
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
	if (slice_eq_nocase(name, SLICE("DKIM-Signature")))
		take_signature(pipeline, value);
	if (!policy_signs_field(pipeline->policy, name))
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

/* h=: each listed field as often as it occurs, from the top down, and behind
 * them the oversigned ones once more. */
static void
names_select(struct pipeline *pipeline, struct view *view)
{
	const struct policy_rules *rules = view->rules;
	size_t fields = pipeline->fields.count, count = 0;
	size_t max = fields + rules->fields_count;
	struct slice *names =
		arena_array(&pipeline->arena, max, sizeof(*names));

	ASSERT(max <= CLAIM_NAMES_MAX);
	for (size_t i = 0; i < rules->fields_count; i++)
		fields_place(&pipeline->fields, rules->fields[i].name, names);
	for (size_t i = 0; i < fields; i++)
		if (names[i].len > 0)
			names[count++] = names[i];
	for (size_t i = 0; i < rules->fields_count; i++)
		if (rules->fields[i].is_oversigned)
			names[count++] = rules->fields[i].name;
	view->names = names;
	view->names_count = count;
}

static const struct view *
view_find(const struct pipeline *pipeline, const struct policy_rules *rules)
{
	for (size_t i = 0; i < pipeline->views_count; i++)
		if (pipeline->views[i].rules == rules)
			return &pipeline->views[i];
	return NULL;
}

static const struct view *
view_of(const struct pipeline *pipeline, const struct policy_rules *rules)
{
	const struct view *view = view_find(pipeline, rules);

	ASSERT(view != NULL);
	return view;
}

static void
view_make(struct pipeline *pipeline, const struct policy_rules *rules)
{
	struct view *view = &pipeline->views[pipeline->views_count];

	view->rules = rules;
	names_select(pipeline, view);
	ASSERT(view->names_count > 0); /* From is there, and signed */
	view->digest = fields_digest(&pipeline->fields, view->names,
				     view->names_count, rules->header_canon);
	pipeline->views_count++;
	if (pipeline->bodies[rules->body_canon] == NULL)
		pipeline->bodies[rules->body_canon] =
			bodyhash_new(rules->body_canon);
}

static void
signatures_prepare(struct pipeline *pipeline)
{
	const struct decision *decision = &pipeline->decision;
	struct arena *arena = &pipeline->arena;
	size_t count = decision->signers_count;

	pipeline->signatures =
		arena_array(arena, count, sizeof(*pipeline->signatures));
	pipeline->unfinished =
		arena_array(arena, count, sizeof(*pipeline->unfinished));
	pipeline->views = arena_array(arena, count, sizeof(*pipeline->views));
	for (size_t i = 0; i < count; i++) {
		const struct policy_signer *signer = &decision->signers[i];
		struct signature *signature = &pipeline->signatures[i];

		signature->domain = signer->domain;
		signature->selector = signer->selector;
		signature->rules = signer->rules;
		signature->identity = signer->identity;
		if (view_find(pipeline, signer->rules) == NULL)
			view_make(pipeline, signer->rules);
	}
	pipeline->count = count;
}

const struct decision *
pipeline_end_of_header(struct pipeline *pipeline)
{
	ASSERT(pipeline->stage == STAGE_HEADER);
	pipeline->stage = STAGE_BODY;
	policy_decide(pipeline->policy, &pipeline->facts, &pipeline->arena,
		      &pipeline->decision);
	if (pipeline->decision.verdict == VERDICT_SIGN)
		signatures_prepare(pipeline);
	return &pipeline->decision;
}

const struct decision *
pipeline_decision(const struct pipeline *pipeline)
{
	return pipeline->stage == STAGE_HEADER ? NULL : &pipeline->decision;
}

bool
pipeline_is_signature_of(struct slice field, const struct slice *domains,
			 size_t count)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct slice name, value, domain;

	if (header_field_parse(field, &name, &value) != NULL ||
	    !slice_eq_nocase(name, SLICE("DKIM-Signature")) ||
	    !signed_domain(value, &arena, &domain))
		return false;
	for (size_t i = 0; i < count; i++)
		if (slice_eq_nocase(domains[i], domain))
			return true;
	return false;
}

bool
pipeline_strips(const struct pipeline *pipeline, struct slice field)
{
	const struct decision *decision = &pipeline->decision;

	ASSERT(pipeline->stage != STAGE_HEADER);
	if (!decision->strips)
		return false;
	for (size_t i = 0; i < decision->signers_count; i++)
		if (pipeline_is_signature_of(
			    field, &decision->signers[i].domain, 1))
			return true;
	return false;
}

const struct slice *
pipeline_names(const struct pipeline *pipeline,
	       const struct policy_rules *rules, size_t *count_out)
{
	const struct view *view = view_of(pipeline, rules);

	*count_out = view->names_count;
	return view->names;
}

/* ---- the body, and the end ---- */

void
pipeline_body(struct pipeline *pipeline, struct slice bytes)
{
	ASSERT(pipeline->stage == STAGE_BODY);
	for (size_t i = 0; i < COUNT(pipeline->bodies); i++)
		if (pipeline->bodies[i] != NULL)
			bodyhash_feed(pipeline->bodies[i], bytes);
}

/* x= has at most as many digits as t=. */
static uint64_t
expire_within(uint64_t time_s, uint64_t expire_s)
{
	uint64_t room = POLICY_TIME_MAX_S - time_s;

	return expire_s < room ? expire_s : room;
}

static void
signature_begin(struct pipeline *pipeline, size_t i,
		const uint8_t body_hash[DIGEST_SIZE])
{
	struct signature *signature = &pipeline->signatures[i];
	const struct policy_rules *rules = signature->rules;
	const struct view *view = view_of(pipeline, rules);
	CLEAN(text_done) struct text text = {0};
	struct sign_field field = {
		.algorithm = key_public_algorithm(signature->selector->key),
		.header_canon = rules->header_canon,
		.body_canon = rules->body_canon,
		.domain = signature->domain,
		.selector = signature->selector->name,
		.identity = signature->identity,
		.time_s = pipeline->time_s,
		.expire_s = expire_within(pipeline->time_s, rules->expire_s),
		.names = view->names,
		.names_count = view->names_count,
	};

	memcpy(field.body_hash, body_hash, DIGEST_SIZE);
	sign_field_write(&field, &text);
	sign_digest(view->digest, rules->header_canon, text_slice(&text),
		    signature->digest);
	pipeline->unfinished[i] =
		arena_copy(&pipeline->arena, text_slice(&text));
}

struct signature *
pipeline_end(struct pipeline *pipeline, size_t *count_out)
{
	ASSERT(pipeline->stage == STAGE_BODY);
	pipeline->stage = STAGE_END;
	for (size_t i = 0; i < COUNT(pipeline->bodies); i++)
		if (pipeline->bodies[i] != NULL)
			bodyhash_finish(pipeline->bodies[i]);
	for (size_t i = 0; i < pipeline->count; i++) {
		const struct bodyhash *hash =
			pipeline->bodies[pipeline->signatures[i]
						 .rules->body_canon];

		signature_begin(pipeline, i,
				bodyhash_result(hash, BODYHASH_WHOLE));
	}
	*count_out = pipeline->count;
	return pipeline->signatures;
}

const struct signature *
pipeline_signatures(const struct pipeline *pipeline, size_t *count_out)
{
	ASSERT(pipeline->stage == STAGE_END);
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
