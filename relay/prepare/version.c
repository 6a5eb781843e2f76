#include "relay/prepare/version.h"

#include <stdlib.h>

#include "base/clock.h"
#include "milter/header.h"
#include "milter/mime.h"
#include "relay/net/signing.h"
#include "relay/prepare/recheck.h"
#include "relay/queue/spool.h"

/*
 * WRITING in the header, then in the body; FINISHING while spool and signer are
 * at work; CHECKING before it is MADE, or BROKEN.
 */
enum version_state {
	VERSION_HEADER,
	VERSION_BODY,
	VERSION_FINISHING,
	VERSION_CHECKING,
	VERSION_MADE,
	VERSION_BROKEN,
};

struct version {
	struct version_setup setup;
	enum version_state state;
	struct text on_top;
	struct message *message;
	struct header_reader header;
	struct pipeline *pipeline;
	struct signature *signatures;
	size_t signatures_count;
	struct spool *spool;
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
	text_done(&version->on_top);
	if (version->message != NULL)
		message_unref(version->message);
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
	struct message *message = version->message;
	CLEAN(text_done) struct text prefix = {0};
	enum recheck_status status;
	struct fault fault;

	ASSERT(message->body.size == version->size);
	if (version->signatures_count > 0)
		pipeline_write(version->pipeline, &prefix);
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
		if (version->state == VERSION_FINISHING && !version->is_signing)
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
	for (size_t i = 0; i < bytes.len && !version->has_8bit; i++)
		version->has_8bit = (unsigned char)bytes.bytes[i] >= 0x80;
}

static void
take_on_top(struct version *version)
{
	struct slice rest = text_slice(&version->on_top), field;

	note_8bit(version, rest);
	while (mime_field_next(&rest, &field)) {
		ASSERT(field.len > 2);
		pipeline_header(version->pipeline,
				slice_sub(field, 0, field.len - 2));
	}
}

struct version *
version_new(const struct version_setup *setup)
{
	struct version *version = memory_new(sizeof(*version));

	version->setup = *setup;
	policy_ref(setup->policy);
	text_add(&version->on_top, setup->on_top);
	version->message = message_new_like(setup->like);
	/* The message has passed its bounds before it was stored. */
	header_reader_init(&version->header, SIZE_MAX);
	version->pipeline = pipeline_new(setup->policy, clock_wall_ms() / 1000);
	version->spool = spool_new(setup->store, setup->loop, version->message,
				   on_spool, version);
	take_on_top(version);
	return version;
}

static void
end_of_header(struct version *version)
{
	pipeline_end_of_header(version->pipeline);
	version->state = VERSION_BODY;
}

/* Up to the end of the header; what follows stays in *bytes. */
static void
take_fields(struct version *version, struct slice *bytes)
{
	uint64_t *header_len = &version->message->body.header_len;
	size_t before = bytes->len;
	enum header_status status;
	struct slice field;

	while ((status = header_read(&version->header, bytes, &field)) ==
	       HEADER_FIELD)
		pipeline_header(version->pipeline, field);
	ASSERT(status != HEADER_TOO_LARGE);
	*header_len += before - bytes->len;
	if (status == HEADER_END)
		end_of_header(version);
}

bool
version_write(struct version *version, struct slice bytes)
{
	struct slice rest = bytes;

	ASSERT(version->state <= VERSION_BODY);
	version->size += bytes.len;
	note_8bit(version, bytes);
	if (version->state == VERSION_HEADER)
		take_fields(version, &rest);
	if (version->state == VERSION_BODY && rest.len > 0)
		pipeline_body(version->pipeline, rest);
	return spool_write(version->spool, bytes);
}

bool
version_has_8bit(const struct version *version)
{
	return version->has_8bit;
}

void
version_finish(struct version *version)
{
	struct slice field;
	struct fault fault;

	if (version->state == VERSION_HEADER) {
		/* A message that is header only. */
		while (header_read_last(&version->header, &field) ==
		       HEADER_FIELD)
			pipeline_header(version->pipeline, field);
		version->message->body.header_len = version->size;
		end_of_header(version);
	}
	ASSERT(version->state == VERSION_BODY);
	version->state = VERSION_FINISHING;
	version->message->body.has_8bit = version->has_8bit;
	sign(version);
	if (version->setup.is_signed && version->signatures_count == 0) {
		struct slice reason =
			pipeline_decision(version->pipeline)->reason;

		fault_fill(&fault, FAULT_SYSTEM, "%.*s", SLICE_ARG(reason));
		fail(version, TROUBLE_UNSIGNED, &fault);
		return;
	}
	spool_finish(version->spool);
}

struct message *
version_take(struct version *version, struct changes *changes)
{
	struct message *message = TAKE(version->message);

	ASSERT(version->state == VERSION_MADE);
	changes_sign(changes, &message->arena, version->signatures,
		     version->signatures_count);
	return message;
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
