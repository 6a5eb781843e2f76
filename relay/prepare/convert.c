#include "relay/prepare/convert.h"

#include <stdlib.h>

#include "base/clock.h"
#include "milter/header.h"
#include "relay/prepare/pass.h"
#include "relay/prepare/version.h"

/*
 * The pass shows the header: who signs, and whether somebody forbids it; looks
 * at all bytes: whether it can be done; and hands them, changed, to the
 * version. The version's end is this one's.
 */
struct convert {
	struct convert_setup setup;
	struct arena arena;
	struct post post;
	bool is_posted, is_cancelled;
	struct pass *pass;
	/* the header as it is */
	struct header_reader header;
	struct pipeline *pipeline; /* only decides who signs */
	struct slice *signatures;  /* the DKIM-Signature fields */
	size_t signatures_count;
	const char *barred; /* NULL, or what forbids it */
	struct text on_top; /* of the prefix, without our signatures */
	bool was_signed;
	struct repair_report report;
	struct message *made; /* the version's */
	struct version *version;
	struct text detail;
};

/* Beyond, the message is not one that anybody means to have delivered. */
#define SIGNATURES_MAX POLICY_SIGNED_MAX

static void
convert_free(struct convert *convert)
{
	pass_cancel(&convert->pass);
	version_cancel(&convert->version);
	if (convert->made != NULL)
		message_unref(convert->made);
	header_reader_done(&convert->header);
	pipeline_free(convert->pipeline);
	text_done(&convert->on_top);
	text_done(&convert->detail);
	arena_done(&convert->arena);
	message_unref(convert->setup.message);
	generation_unref(convert->setup.generation);
	free(convert);
}

static void
convert_end(struct convert *convert, const struct convert_result *result)
{
	pass_cancel(&convert->pass);
	version_cancel(&convert->version);
	convert->setup.done(convert->setup.owner, result);
	convert_free(convert);
}

static void
convert_fail(struct convert *convert, enum outcome_trouble trouble,
	     struct slice detail)
{
	text_add(&convert->detail, detail);
	convert_end(convert, &(struct convert_result){
				     .trouble = trouble,
				     .detail = text_slice(&convert->detail)});
}

/* "it cannot be converted: it has …" */
static void
convert_refuse(struct convert *convert, const char *what)
{
	text_add_string(&convert->detail, "it cannot be converted: it has ");
	convert_fail(convert, TROUBLE_NO_8BITMIME, SLICE(what));
}

/* --- the version --- */

static void
on_drained(void *owner)
{
	struct convert *convert = owner;

	if (convert->pass != NULL)
		pass_resume(convert->pass);
}

static void
on_made(void *owner)
{
	struct convert *convert = owner;
	struct changes changes = {.repair = convert->report};
	struct message *message = TAKE(convert->made);

	version_signatures(convert->version, &message->arena, &changes);
	convert_end(convert, &(struct convert_result){
				     .message = message,
				     .changes = changes_copy(&message->arena,
							     &changes)});
}

static void
on_failed(void *owner, enum outcome_trouble trouble, const struct fault *fault)
{
	convert_fail(owner, trouble, SLICE(fault->text));
}

/* --- the pass --- */

static bool
on_bytes(void *owner, struct slice bytes)
{
	struct convert *convert = owner;

	/* The message has passed its bounds before it was stored. */
	return version_write(convert->version, bytes) == VERSION_TAKEN;
}

static void
on_passed(void *owner, const struct fault *fault)
{
	struct convert *convert = owner;
	bool is_whole = true;

	convert->pass = NULL;
	if (fault == NULL)
		is_whole = version_end(convert->version);
	ASSERT(is_whole);
	if (fault != NULL)
		convert_fail(convert,
			     fault->kind == FAULT_INPUT ||
					     fault->kind == FAULT_ABSENT
				     ? TROUBLE_DAMAGED
				     : TROUBLE_LOCAL,
			     SLICE(fault->text));
	else if (version_has_8bit(convert->version))
		convert_refuse(convert, "8-bit text that cannot be encoded");
	else
		version_finish(convert->version, SLICE_NONE);
}

static void
version_start(struct convert *convert)
{
	struct slice rest = text_slice(&convert->on_top), field;

	convert->made = message_new_like(convert->setup.message);
	convert->version = version_new(&(struct version_setup){
		.loop = convert->setup.loop,
		.store = convert->setup.store,
		.policy = convert->setup.generation->policy,
		.message = convert->made,
		.time_s = clock_wall_ms() / 1000,
		.header_max = SIZE_MAX,
		.is_signed = pipeline_decision(convert->pipeline)->verdict ==
			     VERDICT_SIGN,
		.drained = on_drained,
		.done = on_made,
		.failed = on_failed,
		.owner = convert});
	while (mime_field_next(&rest, &field))
		version_on_top(convert->version,
			       slice_sub(field, 0, field.len - 2));
}

static bool
on_decided(void *owner, const struct repair_report *report)
{
	struct convert *convert = owner;

	if (report->left_8bit != NULL) {
		convert->pass = NULL; /* it goes by itself */
		convert_refuse(convert, report->left_8bit);
		return false;
	}
	convert->report = *report;
	version_start(convert);
	return true;
}

/* --- the header: who signs, and who has --- */

static void
take_field(struct convert *convert, struct slice field)
{
	struct slice name, value;

	pipeline_header(convert->pipeline, field);
	if (header_field_parse(field, &name, &value) != NULL)
		return;
	if (slice_eq_nocase(name, SLICE("ARC-Seal")) ||
	    slice_eq_nocase(name, SLICE("ARC-Message-Signature"))) {
		convert->barred = "an ARC set";
	} else if (slice_eq_nocase(name, SLICE("DKIM-Signature"))) {
		if (convert->signatures_count == SIGNATURES_MAX)
			convert->barred = "too many signatures";
		else
			convert->signatures[convert->signatures_count++] =
				arena_copy(&convert->arena, field);
	}
}

static void
on_header(void *owner, struct slice bytes)
{
	struct convert *convert = owner;
	struct slice field;

	while (header_read(&convert->header, &bytes, &field) == HEADER_FIELD)
		take_field(convert, field);
}

/* The domains whose signatures ours replace. */
static void
strip_ours(struct convert *convert, const struct decision *decision,
	   struct repair_needs *needs)
{
	struct slice *domains = arena_array(
		&convert->arena, decision->signers_count, sizeof(*domains));

	for (size_t i = 0; i < decision->signers_count; i++)
		domains[i] = decision->signers[i].domain;
	needs->strip_domains = domains;
	needs->strip_count = decision->signers_count;
}

/* A signature of somebody else would be broken. */
static bool
is_foreign(const struct convert *convert, const struct repair_needs *needs)
{
	for (size_t i = 0; i < convert->signatures_count; i++)
		if (!pipeline_is_signature_of(convert->signatures[i],
					      needs->strip_domains,
					      needs->strip_count))
			return true;
	return false;
}

static bool
on_needed(void *owner, struct repair_needs *needs_out)
{
	struct convert *convert = owner;
	const struct decision *decision;
	struct slice field;

	while (header_read_last(&convert->header, &field) == HEADER_FIELD)
		take_field(convert, field);
	decision = pipeline_end_of_header(convert->pipeline);
	*needs_out = (struct repair_needs){.eight_bit = true};
	strip_ours(convert, decision, needs_out);
	if (convert->barred == NULL && is_foreign(convert, needs_out))
		convert->barred = "a DKIM-Signature that is not ours";
	if (convert->barred == NULL &&
	    (!convert->was_signed || decision->verdict == VERDICT_SIGN))
		return true;
	convert->pass = NULL; /* it goes by itself */
	if (convert->barred != NULL)
		convert_refuse(convert, convert->barred);
	else
		convert_fail(convert, TROUBLE_UNSIGNED, decision->reason);
	return false;
}

/* --- the beginning --- */

/* Of the fields that we have put on top, all but our signatures. */
static void
take_on_top(struct convert *convert)
{
	struct slice rest = convert->setup.message->prefix, field, name, value;

	while (mime_field_next(&rest, &field)) {
		struct slice whole = slice_sub(field, 0, field.len - 2);

		ASSERT(field.len > 2);
		if (header_field_parse(whole, &name, &value) == NULL &&
		    slice_eq_nocase(name, SLICE("DKIM-Signature")))
			convert->was_signed = true;
		else
			text_add(&convert->on_top, field);
	}
}

static void
on_posted(struct post *post)
{
	struct convert *convert = CONTAINER(post, struct convert, post);
	const struct options *options = convert->setup.generation->options;
	size_t header_len = (size_t)convert->setup.message->body.header_len;
	size_t header_max = (size_t)options->limits.max_header_size;

	convert->is_posted = false;
	loop_release(convert->setup.loop);
	if (convert->is_cancelled) {
		convert_free(convert);
		return;
	}
	take_on_top(convert);
	pass_start(
		&(struct pass_setup){
			.store = convert->setup.store,
			.loop = convert->setup.loop,
			.message = convert->setup.message,
			.header = on_header,
			.needed = on_needed,
			/* It was taken under a bound of its own. */
			.header_max = header_len > header_max ? header_len
							      : header_max,
			.decided = on_decided,
			.take = on_bytes,
			.done = on_passed,
			.owner = convert},
		&convert->pass);
}

void
convert_start(const struct convert_setup *setup, struct convert **convert_out)
{
	struct convert *convert = memory_new(sizeof(*convert));

	convert->setup = *setup;
	generation_ref(setup->generation);
	message_ref(setup->message);
	header_reader_init(&convert->header, SIZE_MAX);
	convert->pipeline =
		pipeline_new(setup->generation->policy, clock_wall_ms() / 1000);
	convert->signatures = arena_array(&convert->arena, SIGNATURES_MAX,
					  sizeof(*convert->signatures));
	convert->is_posted = true;
	loop_hold(setup->loop);
	loop_post(setup->loop, &convert->post, on_posted);
	*convert_out = convert;
}

void
convert_cancel(struct convert **convert_pointer)
{
	struct convert *convert = TAKE(*convert_pointer);

	if (convert == NULL)
		return;
	if (convert->is_posted)
		convert->is_cancelled = true;
	else
		convert_free(convert);
}
