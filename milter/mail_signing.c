#include "milter/mail_signing.h"

#include <stdlib.h>

#include "milter/proof.h"

struct mail_signing {
	struct pipeline *pipeline;
	const struct decision *decision;
	/* The header as it came, each line with its CRLF; kept behind its end
	 * where the message is to be looked at. */
	struct text copy;
	struct proof *proof; /* NULL: it is not */
	/* Where the signatures that it brings stand in the copy. */
	struct slice_place {
		size_t at, len;
	} brought[POLICY_SIGNED_MAX];
	size_t brought_count;
	uint32_t strips[POLICY_SIGNED_MAX];
	size_t strips_count;
	struct text fields;
};

struct mail_signing *
mail_signing_new(struct policy *policy, uint64_t time_s)
{
	struct mail_signing *signing = memory_new(sizeof(*signing));

	signing->pipeline = pipeline_new(policy, time_s);
	return signing;
}

void
mail_signing_free(struct mail_signing *signing)
{
	if (signing == NULL)
		return;
	proof_free(signing->proof);
	pipeline_free(signing->pipeline);
	text_done(&signing->copy);
	text_done(&signing->fields);
	free(signing);
}

void
mail_signing_header(struct mail_signing *signing, struct slice field)
{
	static const char name[] = "DKIM-Signature";
	size_t at = signing->copy.len;

	pipeline_header(signing->pipeline, field);
	text_add(&signing->copy, field);
	text_add_string(&signing->copy, "\r\n");
	/* "Name :" is a field, too (RFC 5322 4.5). */
	if (slice_starts_nocase(field, SLICE(name)) &&
	    field.len >= sizeof(name) &&
	    strchr(": \t", field.bytes[sizeof(name) - 1]) != NULL &&
	    signing->brought_count < POLICY_SIGNED_MAX)
		signing->brought[signing->brought_count++] =
			(struct slice_place){at, field.len};
}

static void
strips_find(struct mail_signing *signing)
{
	for (size_t i = 0; i < signing->brought_count; i++) {
		struct slice_place place = signing->brought[i];
		struct slice field =
			slice_of(signing->copy.bytes + place.at, place.len);

		if (pipeline_strips(signing->pipeline, field))
			signing->strips[signing->strips_count++] =
				(uint32_t)i + 1;
	}
}

const struct decision *
mail_signing_end_of_header(struct mail_signing *signing)
{
	const struct decision *decision =
		pipeline_end_of_header(signing->pipeline);

	signing->decision = decision;
	if (decision->strips)
		strips_find(signing);
	if (decision->verdict == VERDICT_SIGN &&
	    policy_proof_is_due(pipeline_policy(signing->pipeline), decision))
		signing->proof = proof_new_at_body(signing->pipeline);
	else
		text_done(&signing->copy);
	return decision;
}

void
mail_signing_body(struct mail_signing *signing, struct slice bytes)
{
	pipeline_body(signing->pipeline, bytes);
	if (signing->proof != NULL)
		proof_body(signing->proof, bytes);
}

struct signature *
mail_signing_end(struct mail_signing *signing, size_t *count_out)
{
	return pipeline_end(signing->pipeline, count_out);
}

static bool
prove(struct mail_signing *signing, struct fault *fault)
{
	proof_feed(signing->proof, text_slice(&signing->fields));
	proof_feed(signing->proof, text_slice(&signing->copy));
	return proof_finish(signing->proof, fault);
}

bool
mail_signing_write(struct mail_signing *signing, struct slice *fields_out,
		   struct fault *fault)
{
	pipeline_write(signing->pipeline, &signing->fields);
	if (signing->proof != NULL && !prove(signing, fault))
		return false;
	*fields_out = text_slice(&signing->fields);
	return true;
}

const uint32_t *
mail_signing_strips(const struct mail_signing *signing, size_t *count_out)
{
	*count_out = signing->strips_count;
	return signing->strips;
}

const struct slice *
mail_signing_names(const struct mail_signing *signing,
		   const struct policy_rules *rules, size_t *count_out)
{
	return pipeline_names(signing->pipeline, rules, count_out);
}
