#include "relay/prepare/recheck.h"

#include "base/log.h"
#include "relay/limits.h"

static void
log_bad(const struct message *message, const struct fault *fault)
{
	char id[MESSAGE_ID_TEXT + 1];
	struct log line;

	message_id_write(&message->id, id);
	log_begin(&line, LOG_LEVEL_ERROR, "error");
	log_string(&line, "id", id);
	log_string(&line, "what", "a message is not what was signed");
	log_fault(&line, fault);
	log_send(&line);
}

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
	if (fault != NULL)
		log_bad(read->message, fault);
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
	const struct decision *decision = pipeline_decision(pipeline);

	if (decision->signers_count == 0)
		return RECHECK_GOOD;
	if (!body->is_file) {
		if (proof_memory(pipeline, message->prefix, body->chunks,
				 body->chunks_count, fault))
			return RECHECK_GOOD;
		log_bad(message, fault);
		return RECHECK_BAD;
	}
	if (!policy_proof_is_due(pipeline_policy(pipeline), decision))
		return RECHECK_GOOD;
	recheck->store = store;
	recheck->proof = proof_new(pipeline);
	proof_feed(recheck->proof, message->prefix);
	recheck->read = (struct store_read_body){
		.message = message,
		.max = BODY_READ_MAX,
		.loop = loop,
		.done = recheck_on_read,
	};
	store_read_body(store, &recheck->read);
	return RECHECK_LATER;
}
