#include "relay/prepare/version.h"

#include <stdlib.h>

#include "milter/header.h"
#include "relay/net/signing.h"
#include "relay/prepare/recheck.h"
#include "relay/queue/spool.h"

/*
 * In the HEADER, then in the BODY; WHOLE when the last byte is in; FINISHING
 * while spool and signer are at work; CHECKING before it is MADE, or BROKEN.
 */
enum version_state {
	VERSION_HEADER,
	VERSION_BODY,
	VERSION_WHOLE,
	VERSION_FINISHING,
	VERSION_CHECKING,
	VERSION_MADE,
	VERSION_BROKEN,
};

struct version {
	struct version_setup setup;
	enum version_state state;
	struct text above, on_top; /* the prefix, below the signatures */
	struct header_reader header;
	struct pipeline *pipeline;
	struct signature *signatures;
	size_t signatures_count;
	struct spool *spool; /* NULL: done with */
	struct signing_order order;
	struct recheck recheck;
	uint64_t size;
	bool has_8bit, is_signing;
	bool is_detached; /* nobody waits; a recheck cannot be cancelled */
};

static void
version_free(struct version *version)
{
	header_reader_done(&version->header);
	pipeline_free(version->pipeline);
	text_done(&version->above);
	text_done(&version->on_top);
	message_unref(version->setup.message);
	policy_unref(version->setup.policy);
	free(version);
}

static void
fail(struct version *version, enum outcome_trouble trouble,
     const struct fault *fault)
{
	version->state = VERSION_BROKEN;
	version->setup.failed(version->setup.owner, trouble, fault);
}

/* --- the end --- */

static void
on_rechecked(struct recheck *recheck, const struct fault *fault)
{
	struct version *version = CONTAINER(recheck, struct version, recheck);

	ASSERT(version->state == VERSION_CHECKING);
	if (version->is_detached) {
		version_free(version);
	} else if (fault != NULL) {
		fail(version, TROUBLE_UNSIGNED, fault);
	} else {
		version->state = VERSION_MADE;
		version->setup.done(version->setup.owner);
	}
}

/* Spool and signer are through. */
static void
seal(struct version *version)
{
	struct message *message = version->setup.message;
	CLEAN(text_done) struct text prefix = {0};
	enum recheck_status status;
	struct fault fault;

	ASSERT(message->body.size == version->size);
	if (version->signatures_count > 0)
		pipeline_write(version->pipeline, &prefix);
	text_add(&prefix, text_slice(&version->above));
	text_add(&prefix, text_slice(&version->on_top));
	message->prefix = arena_copy(&message->arena, text_slice(&prefix));
	version->state = VERSION_CHECKING;
	version->recheck.done = on_rechecked;
	status = recheck_start(&version->recheck, version->setup.store,
			       version->setup.loop, message, version->pipeline,
			       &fault);
	if (status != RECHECK_LATER)
		on_rechecked(&version->recheck,
			     status == RECHECK_BAD ? &fault : NULL);
}

static void
on_signed(struct signing_order *order, const struct fault *fault)
{
	struct version *version = CONTAINER(order, struct version, order);

	version->is_signing = false;
	if (fault != NULL)
		fail(version, TROUBLE_UNSIGNED, fault);
	else if (version->spool == NULL)
		seal(version);
}

static void
on_spool(void *owner, enum spool_event event)
{
	struct version *version = owner;
	struct fault fault;

	switch (event) {
	case SPOOL_DRAINED:
		version->setup.drained(version->setup.owner);
		break;
	case SPOOL_DONE:
		version->spool = NULL;
		if (version->state == VERSION_WHOLE)
			version->setup.spooled(version->setup.owner);
		else if (!version->is_signing)
			seal(version);
		break;
	case SPOOL_FAILED:
		/* It goes with the version. */
		fault = *spool_fault(version->spool);
		fail(version, TROUBLE_LOCAL, &fault);
		break;
	}
}

static void
sign(struct version *version)
{
	version->signatures =
		pipeline_end(version->pipeline, &version->signatures_count);
	if (version->signatures_count == 0)
		return;
	version->order.done = on_signed;
	version->is_signing = true;
	signing_start(version->setup.loop->signing, &version->order,
		      version->signatures, version->signatures_count);
}

/* --- bytes --- */

static void
note_8bit(struct version *version, struct slice bytes)
{
	if (!version->has_8bit)
		version->has_8bit = !slice_is_ascii(bytes);
}

struct version *
version_new(const struct version_setup *setup)
{
	struct version *version = memory_new(sizeof(*version));

	version->setup = *setup;
	policy_ref(setup->policy);
	message_ref(setup->message);
	header_reader_init(&version->header, setup->header_max);
	version->pipeline = pipeline_new(setup->policy, setup->time_s);
	version->spool = spool_new(setup->store, setup->loop, setup->message,
				   on_spool, version);
	return version;
}

void
version_on_top(struct version *version, struct slice field)
{
	ASSERT(version->state == VERSION_HEADER);
	note_8bit(version, field);
	pipeline_header(version->pipeline, field);
	text_add(&version->on_top, field);
	text_add_string(&version->on_top, "\r\n");
}

static void
take_field(struct version *version, struct slice field)
{
	pipeline_header(version->pipeline, field);
	if (version->setup.field != NULL)
		version->setup.field(version->setup.owner, field);
}

static void
end_of_header(struct version *version)
{
	if (version->setup.header_ended != NULL)
		version->setup.header_ended(version->setup.owner);
	pipeline_end_of_header(version->pipeline);
	header_reader_done(&version->header);
	version->state = VERSION_BODY;
}

/* Up to the end of the header; what follows stays in *bytes. */
static enum header_status
take_fields(struct version *version, struct slice *bytes)
{
	uint64_t *header_len = &version->setup.message->body.header_len;
	size_t before = bytes->len;
	struct slice whole = *bytes;
	enum header_status status;
	struct slice field;

	while ((status = header_read(&version->header, bytes, &field)) ==
	       HEADER_FIELD)
		take_field(version, field);
	*header_len += before - bytes->len;
	if (!slice_is_ascii(slice_sub(whole, 0, before - bytes->len)))
		version->setup.message->body.has_8bit_header = true;
	if (status == HEADER_END)
		end_of_header(version);
	return status;
}

enum version_status
version_write(struct version *version, struct slice bytes)
{
	struct slice rest = bytes;

	ASSERT(version->state <= VERSION_BODY);
	version->size += bytes.len;
	note_8bit(version, bytes);
	if (version->state == VERSION_HEADER &&
	    take_fields(version, &rest) == HEADER_TOO_LARGE)
		return VERSION_HEADER_TOO_LARGE;
	if (version->state == VERSION_BODY && rest.len > 0)
		pipeline_body(version->pipeline, rest);
	return spool_write(version->spool, bytes) ? VERSION_TAKEN
						  : VERSION_WAIT;
}

bool
version_end(struct version *version)
{
	enum header_status status;
	struct slice field;

	if (version->state == VERSION_HEADER) {
		/* A message that is header only. */
		while ((status = header_read_last(&version->header, &field)) ==
		       HEADER_FIELD)
			take_field(version, field);
		if (status == HEADER_TOO_LARGE)
			return false;
		version->setup.message->body.header_len = version->size;
		end_of_header(version);
	}
	ASSERT(version->state == VERSION_BODY);
	version->state = VERSION_WHOLE;
	version->setup.message->body.has_8bit = version->has_8bit;
	return true;
}

bool
version_has_8bit(const struct version *version)
{
	return version->has_8bit;
}

const struct decision *
version_decision(const struct version *version)
{
	return pipeline_decision(version->pipeline);
}

void
version_spool(struct version *version)
{
	ASSERT(version->state == VERSION_WHOLE);
	ASSERT(version->setup.spooled != NULL);
	spool_finish(version->spool);
}

void
version_finish(struct version *version, struct slice above)
{
	struct fault fault;

	ASSERT(version->state == VERSION_WHOLE);
	version->state = VERSION_FINISHING;
	text_add(&version->above, above);
	sign(version);
	if (version->setup.is_signed && version->signatures_count == 0) {
		struct slice reason = version_decision(version)->reason;

		fault_fill(&fault, FAULT_SYSTEM, "%.*s", SLICE_ARG(reason));
		fail(version, TROUBLE_UNSIGNED, &fault);
	} else if (version->spool != NULL) {
		spool_finish(version->spool);
	} else if (!version->is_signing) {
		seal(version);
	}
}

void
version_signatures(const struct version *version, struct arena *arena,
		   struct changes *changes)
{
	ASSERT(version->state == VERSION_MADE);
	changes_sign(changes, arena, version->signatures,
		     version->signatures_count);
}

void
version_cancel(struct version **version_pointer)
{
	struct version *version = TAKE(*version_pointer);

	if (version == NULL)
		return;
	if (version->is_signing)
		signing_cancel(&version->order);
	if (version->spool != NULL)
		spool_cancel(&version->spool);
	version->is_signing = false;
	if (version->state == VERSION_CHECKING)
		version->is_detached = true;
	else
		version_free(version);
}
