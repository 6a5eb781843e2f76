#include "milter/verify.h"

#include <stdlib.h>

#include "keys/record.h"
#include "milter/claim.h"
#include "milter/fields.h"
#include "milter/header.h"
#include "milter/sign.h"

enum stage { STAGE_HEADER, STAGE_BODY, STAGE_END };

static_assert(VERIFY_SIGNATURES_MAX <= BODYHASH_LIMITS_MAX,
	      "each signature may have an l= of its own");

struct item {
	struct slice field;
	struct claim claim;
	uint64_t unsigned_len; /* of it, behind l= */
	bool is_body_changed;
	uint8_t digest[DIGEST_SIZE];
};

struct verifier {
	enum stage stage;
	uint64_t time_s;
	struct arena arena;
	struct fields fields;
	const char *malformed; /* of the header; NULL: nothing */
	size_t count, ignored;
	struct item items[VERIFY_SIGNATURES_MAX];
	struct verification results[VERIFY_SIGNATURES_MAX];
	struct bodyhash *bodies[CANON_RELAXED + 1]; /* NULL: nobody needs it */
};

struct verifier *
verifier_new(uint64_t time_s)
{
	struct verifier *verifier = memory_new(sizeof(*verifier));

	verifier->time_s = time_s;
	return verifier;
}

void
verifier_free(struct verifier *verifier)
{
	if (verifier == NULL)
		return;
	for (size_t i = 0; i < COUNT(verifier->bodies); i++)
		bodyhash_free(verifier->bodies[i]);
	fields_done(&verifier->fields);
	arena_done(&verifier->arena);
	free(verifier);
}

const char *
verify_status_name(enum verify_status status)
{
	static const char *const names[] = {
		[VERIFY_PENDING] = "pending",
		[VERIFY_PASS] = "pass",
		[VERIFY_FAIL] = "fail",
		[VERIFY_TEMPERROR] = "temperror",
		[VERIFY_PERMERROR] = "permerror",
	};

	return names[status];
}

size_t
verifier_ignored(const struct verifier *verifier)
{
	return verifier->ignored;
}

static void
result_set(struct verifier *verifier, size_t i, enum verify_status status,
	   struct slice reason)
{
	struct verification *result = &verifier->results[i];

	ASSERT(result->status == VERIFY_PENDING);
	ASSERT(reason.len > 0);
	result->status = status;
	result->reason = arena_copy(&verifier->arena, reason);
}

static void
result_refuse(struct verifier *verifier, size_t i, const struct fault *fault)
{
	struct verification *result = &verifier->results[i];

	if (fault->kind == FAULT_INPUT)
		result->cause = VERIFY_CAUSE_SYNTAX;
	if (fault->kind == FAULT_LIMIT)
		result->cause = VERIFY_CAUSE_POLICY;
	result_set(verifier, i, VERIFY_PERMERROR, SLICE(fault->text));
}

/* ---- the header ---- */

static void
query_make(struct verifier *verifier, size_t i)
{
	CLEAN(text_done) struct text query = {0};

	record_name_write(verifier->items[i].claim.selector,
			  verifier->items[i].claim.domain, &query);
	verifier->results[i].query =
		arena_copy(&verifier->arena, text_slice(&query));
}

static void
signature_add(struct verifier *verifier, struct slice field,
	      struct slice value)
{
	size_t i = verifier->count;
	struct item *item = &verifier->items[i];
	struct verification *result = &verifier->results[i];
	struct fault fault = {0};
	bool is_good;

	if (i == VERIFY_SIGNATURES_MAX) {
		verifier->ignored++;
		return;
	}
	verifier->count++;
	item->field = field;
	is_good = claim_parse(field, value, verifier->time_s, &verifier->arena,
			      &item->claim, &fault);
	result->domain = item->claim.domain_text;
	result->selector = item->claim.selector_text;
	result->algorithm = item->claim.algorithm_text;
	result->b = item->claim.b_text;
	result->domain_name = item->claim.domain;
	result->selector_name = item->claim.selector;
	if (is_good)
		query_make(verifier, i);
	else
		result_refuse(verifier, i, &fault);
}

void
verifier_header(struct verifier *verifier, struct slice field)
{
	struct slice name, value, whole;
	const char *problem = header_field_parse(field, &name, &value);

	ASSERT(verifier->stage == STAGE_HEADER);
	if (problem != NULL) {
		verifier->malformed = problem;
		return;
	}
	whole = arena_copy(&verifier->arena, field);
	fields_add(&verifier->fields, slice_sub(whole, 0, name.len), whole);
	if (slice_eq_nocase(name, SLICE("DKIM-Signature")))
		signature_add(verifier, whole,
			      slice_from(whole,
					 (size_t)(value.bytes - field.bytes)));
}

static void
body_want(struct verifier *verifier, const struct claim *claim)
{
	struct bodyhash **hash = &verifier->bodies[claim->body_canon];

	if (*hash == NULL)
		*hash = bodyhash_new(claim->body_canon);
	bodyhash_limit(*hash, claim->body_limit);
}

/* RFC 6376 3.7: the fields of h=, then this one without its b=. The field
 * itself is not taken for a name DKIM-Signature in h=. */
static void
item_digest(struct verifier *verifier, struct item *item)
{
	const struct claim *claim = &item->claim;
	CLEAN(digest_free_clean) struct digest *digest = NULL;

	fields_withhold(&verifier->fields, item->field);
	digest = fields_digest(&verifier->fields, claim->names,
			       claim->names_count, claim->header_canon);
	sign_digest(digest, claim->header_canon, claim->unfinished,
		    item->digest);
}

void
verifier_end_of_header(struct verifier *verifier)
{
	ASSERT(verifier->stage == STAGE_HEADER);
	verifier->stage = STAGE_BODY;
	for (size_t i = 0; i < verifier->count; i++) {
		struct item *item = &verifier->items[i];

		if (verifier->results[i].status != VERIFY_PENDING)
			continue;
		if (verifier->malformed != NULL) {
			result_set(verifier, i, VERIFY_PERMERROR,
				   SLICE(verifier->malformed));
			continue;
		}
		body_want(verifier, &item->claim);
		item_digest(verifier, item);
	}
}

const struct verification *
verifier_results(const struct verifier *verifier, size_t *count_out)
{
	ASSERT(verifier->stage != STAGE_HEADER);
	*count_out = verifier->count;
	return verifier->results;
}

/* ---- the body ---- */

void
verifier_body(struct verifier *verifier, struct slice bytes)
{
	ASSERT(verifier->stage == STAGE_BODY);
	for (size_t i = 0; i < COUNT(verifier->bodies); i++)
		if (verifier->bodies[i] != NULL)
			bodyhash_feed(verifier->bodies[i], bytes);
}

void
verifier_take_body(struct verifier *verifier,
		   struct bodyhash *bodies[CANON_RELAXED + 1])
{
	ASSERT(verifier->stage == STAGE_BODY);
	for (size_t i = 0; i < COUNT(verifier->bodies); i++) {
		bodyhash_free(verifier->bodies[i]);
		verifier->bodies[i] = TAKE(bodies[i]);
	}
	for (size_t i = 0; i < verifier->count; i++) {
		const struct claim *claim = &verifier->items[i].claim;

		if (verifier->results[i].status == VERIFY_PENDING &&
		    (claim->body_limit != BODYHASH_WHOLE ||
		     verifier->bodies[claim->body_canon] == NULL))
			result_set(verifier, i, VERIFY_PERMERROR,
				   SLICE("its body has gone by"));
	}
}

static void
body_judge(struct verifier *verifier, size_t i, uint64_t len)
{
	struct item *item = &verifier->items[i];
	const struct claim *claim = &item->claim;
	const struct bodyhash *hash = verifier->bodies[claim->body_canon];

	if (claim->body_limit < len)
		item->unsigned_len = len - claim->body_limit;
	if (claim->body_limit != BODYHASH_WHOLE && claim->body_limit > len)
		result_set(verifier, i, VERIFY_PERMERROR,
			   SLICE("the body is shorter than l="));
	/* Told once the key is there: RFC 6376 6.1.2 comes before 6.1.3, and
	 * the key may be one in test mode. */
	item->is_body_changed =
		memcmp(bodyhash_result(hash, claim->body_limit),
		       claim->body_hash, DIGEST_SIZE) != 0;
}

const struct verification *
verifier_end(struct verifier *verifier, size_t *count_out)
{
	uint64_t lens[COUNT(verifier->bodies)] = {0};

	ASSERT(verifier->stage == STAGE_BODY);
	verifier->stage = STAGE_END;
	for (size_t i = 0; i < COUNT(verifier->bodies); i++)
		if (verifier->bodies[i] != NULL)
			lens[i] = bodyhash_finish(verifier->bodies[i]);
	for (size_t i = 0; i < verifier->count; i++)
		if (verifier->results[i].status == VERIFY_PENDING)
			body_judge(verifier, i,
				   lens[verifier->items[i].claim.body_canon]);
	*count_out = verifier->count;
	return verifier->results;
}

/* ---- the key ---- */

static enum verify_status
refuse(struct fault *fault, const char *why)
{
	fault_set(fault, FAULT_INPUT, "%s", why);
	return VERIFY_PERMERROR;
}

static enum verify_status
key_judge(const struct item *item, const struct record *record,
	  struct fault *fault)
{
	const struct claim *claim = &item->claim;
	CLEAN(key_public_free_clean) struct key_public *key = NULL;
	const char *mode = record->is_testing
				   ? ", and the key is in test mode"
				   : "";

	/* Refuses RSA keys below KEY_RSA_BITS_MIN (RFC 8301 3.2), too. */
	if (!key_public_read(record->algorithm, text_slice(&record->key), &key,
			     fault)) {
		fault_within(fault, "the key");
		return VERIFY_PERMERROR;
	}
	if (item->is_body_changed) {
		fault_set(fault, FAULT_INPUT, "the body is not what was signed%s",
			  mode);
		return VERIFY_FAIL;
	}
	if (!key_public_verify(key, item->digest, claim->signature)) {
		fault_set(fault, FAULT_INPUT,
			  "the header is not what was signed, or another key "
			  "signed it%s",
			  mode);
		return VERIFY_FAIL;
	}
	fault_set(fault, FAULT_NONE, "verified with a key of %u bits%s",
		  key_public_bits(key), mode);
	/* RFC 6376 8.2: whatever else there is may have been added later. */
	if (item->unsigned_len > 0)
		fault_set(fault, FAULT_NONE,
			  "verified with a key of %u bits, but l= leaves the "
			  "last %llu bytes of the body unsigned%s",
			  key_public_bits(key),
			  (unsigned long long)item->unsigned_len, mode);
	return VERIFY_PASS;
}

/* What a record says about itself, whatever becomes of the signature. */
struct remarks {
	bool is_testing;
	struct slice notes;
};

/* RFC 6376 6.1.2. fault gets the reason, whatever the status. */
static enum verify_status
record_judge(const struct item *item, struct slice text,
	     struct remarks *remarks, struct fault *fault)
{
	const struct claim *claim = &item->claim;
	CLEAN(record_done) struct record record = {0};

	if (!record_parse(text, &record, fault))
		return VERIFY_PERMERROR;
	*remarks = (struct remarks){record.is_testing, record.notes};
	if (!record.is_known || record.algorithm != claim->algorithm)
		return refuse(fault, "the key is not of the kind that a= says");
	if (!record.takes_sha256)
		return refuse(fault, "the key record does not allow sha256");
	if (!record.for_email)
		return refuse(fault, "the key record is not for mail");
	if (record.is_revoked)
		return refuse(fault, "the key was revoked");
	if (record.is_strict &&
	    !slice_eq(claim->identity_domain, claim->domain))
		return refuse(fault, "the key record allows no subdomain in "
				     "i=");
	return key_judge(item, &record, fault);
}

static void
records_judge(struct verifier *verifier, size_t i, const struct slice *records,
	      size_t count)
{
	struct verification *result = &verifier->results[i];
	enum verify_status best = VERIFY_PENDING;
	struct fault reason = {0};

	for (size_t k = 0; k < count && k < VERIFY_RECORDS_MAX; k++) {
		struct fault fault = {0};
		struct remarks remarks = {0};
		enum verify_status status = record_judge(
			&verifier->items[i], records[k], &remarks, &fault);

		if (best == VERIFY_PENDING || status == VERIFY_PASS ||
		    (best == VERIFY_PERMERROR && status == VERIFY_FAIL)) {
			best = status;
			reason = fault;
			result->is_testing = remarks.is_testing;
			result->notes =
				arena_copy(&verifier->arena, remarks.notes);
		}
		if (status == VERIFY_PASS)
			break;
	}
	/* What is wrong with a record is nothing that the field says. */
	if (best == VERIFY_PERMERROR && reason.kind == FAULT_LIMIT)
		result->cause = VERIFY_CAUSE_POLICY;
	result_set(verifier, i, best, SLICE(reason.text));
}

void
verifier_answer(struct verifier *verifier, size_t i, enum lookup_status answer,
		const struct slice *records, size_t count)
{
	ASSERT(verifier->stage == STAGE_END);
	ASSERT(i < verifier->count);
	switch (answer) {
	case LOOKUP_FOUND:
		ASSERT(count > 0);
		records_judge(verifier, i, records, count);
		return;
	case LOOKUP_ABSENT:
		result_set(verifier, i, VERIFY_PERMERROR,
			   SLICE("there is no key record"));
		return;
	case LOOKUP_FAILED:
		result_set(verifier, i, VERIFY_TEMPERROR,
			   SLICE("the key cannot be asked for now"));
		return;
	}
}
