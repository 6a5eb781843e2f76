#include "tests/unit/milter/stage.h"

#include "milter/header.h"
#include "milter/pipeline.h"
#include "milter/verify.h"

#define HEADER                                                                 \
	"Received: from a.example\r\n\tby b.example\r\n"                       \
	"From: Joe <joe@example.com>\r\n"                                      \
	"To: a@example.org\r\n"                                                \
	"SUBJECT :  folded\r\n\tsubject \r\n"                                  \
	"X-Other: not signed\r\n"                                              \
	"Message-ID: <1@example.com>\r\n"                                      \
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
#define BODY "Hello  \r\n\r\n \tworld\r\n\r\n\r\n"

static void
header_feed(const char *header, void *owner,
	    void (*take)(void *owner, struct slice field))
{
	struct header_reader reader;
	struct slice input = SLICE(header), field;

	header_reader_init(&reader, HEADER_SIZE_DEFAULT);
	while (header_read(&reader, &input, &field) == HEADER_FIELD)
		take(owner, field);
	while (header_read_last(&reader, &field) == HEADER_FIELD)
		take(owner, field);
	header_reader_done(&reader);
}

static void
pipeline_take(void *owner, struct slice field)
{
	pipeline_header(owner, field);
}

static void
verifier_take(void *owner, struct slice field)
{
	verifier_header(owner, field);
}

static void
signatures_make(struct signature *signatures, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		CLEAN(key_free_clean) struct key *key =
			stage_key(key_public_algorithm(
				signatures[i].selector->key));

		cr_assert(key_sign(key, signatures[i].digest,
				   signatures[i].signature,
				   &signatures[i].signature_len, NULL));
	}
}

/* Signs with the body in pieces of `step`; writes the fields. */
static enum verdict
message_sign(const struct signing_options *options, const char *header,
	     const char *body, size_t step, struct text *out)
{
	CLEAN(policy_unref_clean) struct policy *policy =
		stage_policy(options);
	CLEAN(pipeline_free_clean) struct pipeline *pipeline =
		pipeline_new(policy, 1763760000);
	const struct decision *decision;
	struct signature *signatures;
	struct slice rest = SLICE(body);
	size_t count;

	header_feed(header, pipeline, pipeline_take);
	decision = pipeline_end_of_header(pipeline);
	for (; rest.len > 0; rest = slice_from(rest, step))
		pipeline_body(pipeline, slice_sub(rest, 0, step));
	signatures = pipeline_end(pipeline, &count);
	cr_expect_eq(count > 0, decision->verdict == VERDICT_SIGN);
	signatures_make(signatures, count);
	pipeline_write(pipeline, out);
	return decision->verdict;
}

static void
expect_verified(const char *fields, const char *header, const char *body,
		size_t signatures)
{
	CLEAN(verifier_free_clean) struct verifier *verifier =
		verifier_new(1763760000);
	const struct verification *results;
	struct slice records[] = {SLICE(RFC8463_RECORD_RSA),
				  SLICE(RFC8463_RECORD_ED25519)};
	size_t count;

	header_feed(fields, verifier, verifier_take);
	header_feed(header, verifier, verifier_take);
	verifier_end_of_header(verifier);
	verifier_body(verifier, SLICE(body));
	results = verifier_end(verifier, &count);
	cr_assert_eq(count, signatures);
	for (size_t i = 0; i < count; i++) {
		if (results[i].status == VERIFY_PENDING)
			verifier_answer(verifier, i, LOOKUP_FOUND,
					records, COUNT(records));
		cr_expect_eq(results[i].status, VERIFY_PASS, "%zu: %.*s", i,
			     SLICE_ARG(results[i].reason));
	}
}

Test(pipeline, what_it_signs_verifies)
{
	static const enum canonicalization canons[] = {CANON_SIMPLE,
						       CANON_RELAXED};
	static const char *const bodies[] = {"", "\r\n", BODY, "no line end",
					     "bare\nLF and\rCR\r\n"};

	for (size_t h = 0; h < COUNT(canons); h++)
		for (size_t b = 0; b < COUNT(canons); b++)
			for (size_t k = 0; k < COUNT(bodies); k++) {
				CLEAN(text_done) struct text out = {0};
				struct signing_options options = {canons[h],
								  canons[b], 0};

				cr_expect_eq(message_sign(&options, HEADER,
							  bodies[k], 7, &out),
					     VERDICT_SIGN);
				expect_verified(text_string(&out), HEADER,
						bodies[k], 2);
			}
}

/* Two sections that differ in all that a signature depends on. */
Test(pipeline, each_section_signs_by_its_own_rules)
{
	CLEAN(text_done) struct text out = {0};
	struct slice net = SLICE("example.net"), headers[] = {SLICE("From")};
	const struct domain_signing_options domains[COUNT(stage_domains)] = {
		{.also_sign = &net, .also_sign_count = 1},
		{.has_canonicalization = true,
		 .header_canon = CANON_RELAXED,
		 .body_canon = CANON_RELAXED,
		 .headers = headers,
		 .headers_count = COUNT(headers),
		 .identity = SLICE_LITERAL("joe@example.net")}};
	struct signing_options options = {.domains = domains};

	cr_expect_eq(message_sign(&options, HEADER, BODY, 3, &out),
		     VERDICT_SIGN);
	expect_verified(text_string(&out), HEADER, BODY, 3);
	cr_expect_not_null(strstr(text_string(&out),
				  "c=simple/simple; d=example.com;"));
	cr_expect_not_null(strstr(text_string(&out),
				  "c=relaxed/relaxed; d=example.net;"));
	cr_expect_not_null(strstr(text_string(&out), "i=joe@example.net;"));
}

static const struct strip_row {
	const char *name;
	enum existing_action action;
	const char *field;
	bool is_stripped;
} strip_rows[] = {
	{"ours", EXISTING_STRIP, "dkim-signature: v=1; d=EXAMPLE.com", true},
	{"ours, where it may stay", EXISTING_KEEP,
	 "DKIM-Signature: v=1; d=example.com", false},
	{"another's", EXISTING_STRIP, "DKIM-Signature: v=1; d=example.org",
	 false},
	{"of no domain", EXISTING_STRIP, "DKIM-Signature: v=1; s=d", false},
	{"another field", EXISTING_STRIP, "X-Signature: v=1; d=example.com",
	 false},
	{"no field", EXISTING_STRIP, "v=1; d=example.com", false},
};

Test(pipeline, only_what_is_signed_anew_is_stripped)
{
	for (size_t i = 0; i < COUNT(strip_rows); i++) {
		const struct strip_row *row = &strip_rows[i];
		struct signing_options options = {.existing_action =
							  row->action};
		CLEAN(policy_unref_clean) struct policy *policy =
			stage_policy(&options);
		CLEAN(pipeline_free_clean) struct pipeline *pipeline =
			pipeline_new(policy, 1763760000);

		pipeline_header(pipeline, SLICE("From: a@example.com"));
		pipeline_header(pipeline,
				SLICE("DKIM-Signature: v=1; d=example.com"));
		pipeline_end_of_header(pipeline);
		cr_expect_eq(pipeline_strips(pipeline, SLICE(row->field)),
			     row->is_stripped, "%s", row->name);
	}
}

/* Those beyond the bound are not looked at: one of ours among them is none. */
Test(pipeline, signatures_that_are_looked_at_are_bounded)
{
	for (size_t others = POLICY_SIGNED_MAX - 1;
	     others <= POLICY_SIGNED_MAX + 1; others++) {
		CLEAN(text_done) struct text header = {0}, out = {0};
		struct signing_options options = {.existing_action =
							  EXISTING_SKIP};

		text_add_string(&header, "From: a@example.com\r\n");
		for (size_t i = 0; i < others; i++)
			text_addf(&header,
				  "DKIM-Signature: d=%zu.example.org\r\n", i);
		text_add_string(&header, "DKIM-Signature: d=example.com\r\n");
		cr_expect_eq(message_sign(&options, text_string(&header), BODY,
					  9, &out),
			     others < POLICY_SIGNED_MAX ? VERDICT_RELAY
							: VERDICT_SIGN,
			     "%zu", others);
	}
}

/* The first selector on top; a retired one does not sign. */
Test(pipeline, fields_as_they_are_written)
{
	CLEAN(text_done) struct text out = {0};
	struct signing_options options = {CANON_RELAXED, CANON_SIMPLE, 0};
	struct slice rest, line;
	static const char *const lines[] = {
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; "
		"d=example.com; s=rsa;\r",
		"\tt=1763760000; "
		"bh=I1lrzALQoPWH2ximY2rCv1pzjYAIiWX0OmgORqkrv0s=;\r",
		"\th=From:To:SUBJECT:Message-ID:List-Unsubscribe-Post:"
		"From:Reply-To:\r",
		"\t Subject:Date:To:Cc;\r",
	};

	message_sign(&options, HEADER, BODY, 100, &out);
	rest = text_slice(&out);
	for (size_t i = 0; i < COUNT(lines); i++) {
		cr_assert(slice_split(&rest, '\n', &line));
		cr_expect(slice_eq(line, SLICE(lines[i])), "%zu: '%.*s'", i,
			  SLICE_ARG(line));
	}
	cr_expect_not_null(strstr(rest.bytes, "\r\nDKIM-Signature: v=1; "
					      "a=ed25519-sha256; "
					      "c=relaxed/simple; "
					      "d=example.com;\r\n\ts=ed;"));
	cr_expect_null(strstr(rest.bytes, "s=old"));
}

Test(pipeline, the_cuts_of_the_body_do_not_matter)
{
	CLEAN(text_done) struct text whole = {0};
	struct signing_options options = {CANON_RELAXED, CANON_RELAXED, 0};

	message_sign(&options, HEADER, BODY, 1000, &whole);
	for (size_t step = 1; step < strlen(BODY); step++) {
		CLEAN(text_done) struct text cut = {0};

		message_sign(&options, HEADER, BODY, step, &cut);
		cr_expect_str_eq(text_string(&cut), text_string(&whole),
				 "step %zu", step);
	}
}

static const struct {
	const char *name, *header;
	enum unsigned_action action;
	enum verdict verdict;
} unsigned_rows[] = {
	{"no From, relay", "To: a@example.org\r\n", UNSIGNED_RELAY,
	 VERDICT_RELAY},
	{"no From, reject", "To: a@example.org\r\n", UNSIGNED_REJECT,
	 VERDICT_REJECT},
	{"two From", "From: a@example.com\r\nfrom : a@example.com\r\n",
	 UNSIGNED_REJECT, VERDICT_REJECT},
	{"no header", "", UNSIGNED_RELAY, VERDICT_RELAY},
	{"line without a colon", "From: a@example.com\r\nabc\r\n",
	 UNSIGNED_REJECT, VERDICT_REJECT},
	{"white space first", " x\r\nFrom: a@example.com\r\n",
	 UNSIGNED_RELAY, VERDICT_RELAY},
	{"bare LF", "From: a@example.com\nX: y\r\n", UNSIGNED_RELAY,
	 VERDICT_RELAY},
	{"unknown domain", "From: a@example.org\r\n", UNSIGNED_REJECT,
	 VERDICT_REJECT},
};

Test(pipeline, nobody_signs)
{
	for (size_t i = 0; i < COUNT(unsigned_rows); i++) {
		CLEAN(text_done) struct text out = {0};
		struct signing_options options = {
			CANON_SIMPLE, CANON_SIMPLE, unsigned_rows[i].action};

		cr_expect_eq(message_sign(&options, unsigned_rows[i].header,
					  BODY, 5, &out),
			     unsigned_rows[i].verdict, "%s",
			     unsigned_rows[i].name);
		cr_expect_eq(out.len, 0, "%s", unsigned_rows[i].name);
	}
}

Test(pipeline, fields_are_bounded)
{
	for (size_t count = PIPELINE_FIELDS_MAX;
	     count <= PIPELINE_FIELDS_MAX + 1; count++) {
		CLEAN(text_done) struct text header = {0}, out = {0};
		struct signing_options options = {0};
		bool is_signed = count <= PIPELINE_FIELDS_MAX;

		text_add_string(&header, "From: a@example.com\r\n");
		for (size_t i = 1; i < count; i++)
			text_addf(&header, "References: <%zu>\r\nX: y\r\n", i);
		cr_expect_eq(message_sign(&options, text_string(&header), BODY,
					  9, &out),
			     is_signed ? VERDICT_SIGN : VERDICT_RELAY);
		if (is_signed)
			expect_verified(text_string(&out),
					text_string(&header), BODY, 2);
	}
}

/* Each oversigned field is named once more than it occurs, so adding one
 * breaks the signature; so does changing the second of two. */
Test(pipeline, repeated_fields_are_all_signed)
{
	static const char header[] = "Reply-To: a@example.org\r\n"
				     "From: a@example.com\r\n"
				     "Reply-To: b@example.org\r\n"
				     "References: <1>\r\n"
				     "References: <2>\r\n";
	CLEAN(text_done) struct text out = {0};
	struct signing_options options = {CANON_RELAXED, CANON_RELAXED, 0};

	message_sign(&options, header, BODY, 5, &out);
	cr_expect_not_null(strstr(text_string(&out),
				  "h=Reply-To:From:Reply-To:References:"
				  "References:From:Reply-To:\r\n\t Subject:"));
	expect_verified(text_string(&out), header, BODY, 2);
}
