#include "relay/prepare/pass.h"

#include <stdlib.h>

/* A read outlives a pass that is cancelled. */
struct pass_read {
	struct store_read_body read;
	struct pass *pass; /* NULL: nobody waits any more */
};

/*
 * HEADER where somebody wants to see it before he says what is needed; LOOKING
 * over all bytes; then WRITING: each from the first one on. A pass that
 * is_blocked waits for pass_resume(), else for its read.
 */
enum pass_phase { PASS_HEADER, PASS_LOOKING, PASS_WRITING };

struct pass {
	struct pass_setup setup;
	enum pass_phase phase;
	struct repair *repair; /* NULL in PASS_HEADER */
	bool is_blocked;
	uint64_t offset;
	size_t chunk; /* of those in memory */
	struct pass_read *reading;
	struct text out;
};

static void
pass_free(struct pass *pass)
{
	ASSERT(pass->reading == NULL);
	repair_free(pass->repair);
	message_unref(pass->setup.message);
	text_done(&pass->out);
	free(pass);
}

static void
pass_end(struct pass *pass, const struct fault *fault)
{
	struct pass_setup setup = pass->setup;

	pass_free(pass);
	setup.done(setup.owner, fault);
}

static void
pass_give(struct pass *pass)
{
	if (pass->out.len > 0)
		pass->is_blocked = !pass->setup.take(pass->setup.owner,
						     text_slice(&pass->out));
	text_clear(&pass->out);
}

/* Where this phase ends. */
static uint64_t
pass_end_offset(const struct pass *pass)
{
	const struct body *body = &pass->setup.message->body;

	return pass->phase == PASS_HEADER ? body->header_len : body->size;
}

static void
pass_feed(struct pass *pass, struct slice bytes)
{
	uint64_t left = pass_end_offset(pass) - pass->offset;

	if (bytes.len > left)
		bytes.len = (size_t)left;
	pass->offset += bytes.len;
	switch (pass->phase) {
	case PASS_HEADER:
		pass->setup.header(pass->setup.owner, bytes);
		break;
	case PASS_LOOKING:
		repair_look(pass->repair, bytes);
		break;
	case PASS_WRITING:
		repair_write(pass->repair, bytes, &pass->out);
		pass_give(pass);
		break;
	}
}

static void pass_run(struct pass *pass);

static void
read_done(struct store_read_body *read, const struct fault *fault)
{
	struct pass_read *reading = CONTAINER(read, struct pass_read, read);
	struct pass *pass = reading->pass;

	if (pass != NULL) {
		pass->reading = NULL;
		if (fault != NULL) {
			pass_end(pass, fault);
		} else {
			pass_feed(pass, text_slice(&read->bytes));
			pass_run(pass);
		}
	}
	message_unref(read->message);
	text_done(&read->bytes);
	free(reading);
}

static void
read_begin(struct pass *pass)
{
	struct pass_read *reading = memory_new(sizeof(*reading));

	pass->reading = reading;
	reading->pass = pass;
	reading->read = (struct store_read_body){
		.message = message_ref(pass->setup.message),
		.offset = pass->offset,
		.max = BODY_READ_MAX,
		.loop = pass->setup.loop,
		.done = read_done,
	};
	store_read_body(pass->setup.store, &reading->read);
}

static void
pass_enter(struct pass *pass, enum pass_phase phase)
{
	pass->phase = phase;
	pass->offset = 0;
	pass->chunk = 0;
}

/* What the owner wants next; he may be gone when he says no. */
static bool
pass_ask(struct pass *pass)
{
	struct pass_setup *setup = &pass->setup;

	if (pass->phase == PASS_LOOKING)
		return setup->decided(setup->owner,
				      repair_decide(pass->repair));
	if (!setup->needed(setup->owner, &setup->needs))
		return false;
	pass->repair = repair_new(&setup->needs, setup->header_max);
	return true;
}

/* False: the pass is over. */
static bool
pass_turn(struct pass *pass)
{
	if (pass->phase == PASS_WRITING) {
		repair_finish(pass->repair, &pass->out);
		/* Whether there is room for more does not matter now. */
		pass_give(pass);
		pass_end(pass, NULL);
		return false;
	}
	if (!pass_ask(pass)) {
		pass_free(pass);
		return false;
	}
	pass_enter(pass, pass->phase + 1);
	return true;
}

static void
pass_run(struct pass *pass)
{
	const struct body *body = &pass->setup.message->body;

	while (!pass->is_blocked) {
		if (pass->offset == pass_end_offset(pass)) {
			if (!pass_turn(pass))
				return;
		} else if (body->chunks == NULL) {
			read_begin(pass);
			return;
		} else {
			ASSERT(pass->chunk < body->chunks_count);
			pass_feed(pass, body->chunks[pass->chunk++]);
		}
	}
}

void
pass_start(const struct pass_setup *setup, struct pass **pass_out)
{
	struct pass *pass = memory_new(sizeof(*pass));

	pass->setup = *setup;
	message_ref(setup->message);
	if (setup->header != NULL) {
		pass->phase = PASS_HEADER;
	} else {
		pass->phase = PASS_LOOKING;
		pass->repair = repair_new(&setup->needs, setup->header_max);
	}
	*pass_out = pass;
	pass_run(pass);
}

void
pass_resume(struct pass *pass)
{
	ASSERT(pass->is_blocked);
	pass->is_blocked = false;
	if (pass->reading == NULL)
		pass_run(pass);
}

void
pass_cancel(struct pass **pass_pointer)
{
	struct pass *pass = TAKE(*pass_pointer);

	if (pass == NULL)
		return;
	if (pass->reading != NULL)
		pass->reading->pass = NULL;
	pass->reading = NULL;
	pass_free(pass);
}
