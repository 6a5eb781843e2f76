#include "relay/server/recheck.h"

#include "relay/limits.h"

static void
recheck_on_read(struct store_read_body *read, const struct fault *fault)
{
	struct recheck *recheck = CONTAINER(read, struct recheck, read);
	size_t len = read->bytes.len;
	struct fault own = {0};
	bool is_good = fault == NULL;

	if (is_good && read->offset < read->message->body.size) {
		if (len > 0) {
			proof_feed(recheck->proof, text_slice(&read->bytes));
			read->offset += len;
			text_clear(&read->bytes);
			store_read_body(recheck->store, read);
			return;
		}
		is_good = fault_set(&own, FAULT_SYSTEM,
				    "the body's file is too short");
		fault = &own;
	}
	if (is_good && !proof_finish(recheck->proof, &own))
		fault = &own;
	text_done(&read->bytes);
	proof_free(TAKE(recheck->proof));
	recheck->done(recheck, fault);
}

enum recheck_status
recheck_start(struct recheck *recheck, struct store *store, struct loop *loop,
	      struct message *message, const struct pipeline *pipeline,
	      struct fault *fault)
{
	const struct body *body = &message->body;
	bool is_good;

	recheck->store = store;
	recheck->proof = proof_new(pipeline);
	proof_feed(recheck->proof, message->prefix);
	if (body->is_file) {
		recheck->read = (struct store_read_body){
			.message = message,
			.max = BODY_CHUNK,
			.loop = loop,
			.done = recheck_on_read,
		};
		store_read_body(store, &recheck->read);
		return RECHECK_LATER;
	}
	for (size_t i = 0; i < body->chunks_count; i++)
		proof_feed(recheck->proof, body->chunks[i]);
	is_good = proof_finish(recheck->proof, fault);
	proof_free(TAKE(recheck->proof));
	return is_good ? RECHECK_GOOD : RECHECK_BAD;
}
