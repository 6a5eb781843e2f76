#include "milter/mail.h"

#include <stdlib.h>

#include "base/log.h"
#include "milter/mail_signing.h"
#include "milter/mta_field.h"

/*
 * ENVELOPE → HEADER → BODY → END, and from each to DONE: what becomes of it is
 * settled.
 */
enum stage {
	STAGE_ENVELOPE,
	STAGE_HEADER,
	STAGE_BODY,
	STAGE_END,
	STAGE_DONE,
};

struct mail {
	const struct mail_rules *rules;
	enum stage stage;
	struct arena arena;
	struct text id;
	struct slice sender, client;
	struct mail_signing *signing;
	const struct decision *decision;
	const struct signature *signatures;
	size_t signatures_count;
	struct text field; /* the present one */
	size_t header_size;
	struct mail_change *changes;
	size_t changes_count;
	struct mail_reply reply;
};

static void
stage_enter(struct mail *mail, enum stage stage)
{
	ASSERT(stage > mail->stage);
	mail->stage = stage;
}

/* ---- what becomes of it ---- */

static void
event_begin(const struct mail *mail, struct log *line, enum log_level level,
            const char *event)
{
	log_begin(line, level, event);
	log_text(line, "id", text_slice(&mail->id));
	log_text(line, "client", mail->client);
	log_text(line, "from", mail->sender);
}

static void
log_signatures(const struct mail *mail, struct log *line)
{
	log_list_begin(line, "signatures");
	for (size_t i = 0; i < mail->signatures_count; i++) {
		const struct signature *signature = &mail->signatures[i];
		enum key_algorithm algorithm =
		        key_public_algorithm(signature->selector->key);

		log_object_begin(line);
		log_text(line, "domain", signature->domain);
		log_text(line, "selector", signature->selector->name);
		log_string(line, "algorithm", key_algorithm_name(algorithm));
		log_object_end(line);
	}
	log_list_end(line);
}

static enum mail_next
skip(struct mail *mail, enum log_level level, struct slice reason)
{
	struct log line;

	stage_enter(mail, STAGE_DONE);
	mail->signatures_count = 0;
	mail->changes_count = 0;
	event_begin(mail, &line, level, "skipped");
	log_signatures(mail, &line);
	log_text(&line, "reason", reason);
	log_send(&line);
	return MAIL_ACCEPT;
}

static enum mail_next
refuse(struct mail *mail, const char *code, const char *status,
       struct slice text, struct slice reason)
{
	CLEAN(text_done) struct text reply = {0};
	struct log line;

	stage_enter(mail, STAGE_DONE);
	mail->reply.code = code;
	mail->reply.status = status;
	mta_reply_write(text, &mail->reply.text);
	text_addf(&reply, "%s %s %.*s", code, status, SLICE_ARG(text));
	event_begin(mail, &line,
	            code[0] == '4' ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
	            "rejected");
	log_text(&line, "listener", mail->rules->listener);
	log_string(&line, "to", ""); /* all its recipients */
	log_text(&line, "reply", text_slice(&reply));
	log_text(&line, "reason", reason);
	log_send(&line);
	return MAIL_REFUSE;
}

/* It should be signed and cannot be. */
static enum mail_next
fail(struct mail *mail, const struct fault *fault)
{
	CLEAN(text_done) struct text reason = {0};

	text_addf(&reason, "it could not be signed: %s", fault->text);
	if (mail->rules->accepts_on_error)
		return skip(mail, LOG_LEVEL_WARNING, text_slice(&reason));
	return refuse(mail, "451", "4.7.5",
	              SLICE("The message could not be signed, try again later"),
	              text_slice(&reason));
}

/* ---- envelope and header ---- */

struct mail *
mail_new(const struct mail_rules *rules, struct slice sender)
{
	struct mail *mail = memory_new(sizeof(*mail));

	if (sender.len >= 2 && sender.bytes[0] == '<' &&
	    sender.bytes[sender.len - 1] == '>')
		sender = slice_sub(sender, 1, sender.len - 2);
	mail->rules = rules;
	mail->sender = arena_copy(&mail->arena, sender);
	return mail;
}

void
mail_free(struct mail *mail)
{
	if (mail == NULL)
		return;
	mail_signing_free(mail->signing);
	text_done(&mail->id);
	text_done(&mail->field);
	text_done(&mail->reply.text);
	arena_done(&mail->arena);
	free(mail);
}

enum mail_next
mail_begin(struct mail *mail, const struct origin *origin, struct slice id,
           uint64_t time_s)
{
	CLEAN(text_done) struct text reason = {0};

	stage_enter(mail, STAGE_HEADER);
	mail->client = arena_copy(&mail->arena, origin->client);
	mail_identify(mail, id);
	if (!origin_is_signed(&mail->rules->origin, origin, &reason))
		return skip(mail, LOG_LEVEL_INFO, text_slice(&reason));
	mail->signing = mail_signing_new(mail->rules->policy, time_s);
	return MAIL_MORE;
}

bool
mail_has_begun(const struct mail *mail)
{
	return mail->stage > STAGE_ENVELOPE;
}

void
mail_identify(struct mail *mail, struct slice id)
{
	if (id.len == 0)
		return;
	text_clear(&mail->id);
	text_add(&mail->id, id);
}

void
mail_header(struct mail *mail, struct slice name, struct slice value)
{
	size_t room = mail->rules->header_max - mail->header_size;

	ASSERT(mail->stage == STAGE_HEADER);
	if (name.len + value.len > room) {
		mail->header_size = mail->rules->header_max;
		return;
	}
	text_clear(&mail->field);
	mta_field_write(name, value, &mail->field);
	/* Colon and line ends count: what is full stays full. */
	mail->header_size +=
	        mail->field.len + 2 <= room ? mail->field.len + 2 : room;
	if (mail->header_size < mail->rules->header_max)
		mail_signing_header(mail->signing, text_slice(&mail->field));
}

enum mail_next
mail_end_of_header(struct mail *mail)
{
	stage_enter(mail, STAGE_BODY);
	if (mail->header_size >= mail->rules->header_max)
		return refuse(mail, "552", "5.3.4",
		              SLICE("Header size exceeds the limit"),
		              SLICE("limits.max_header_size"));
	mail->decision = mail_signing_end_of_header(mail->signing);
	switch (mail->decision->verdict) {
	case VERDICT_SIGN:
		return MAIL_MORE;
	case VERDICT_RELAY:
		return skip(mail, LOG_LEVEL_INFO, mail->decision->reason);
	case VERDICT_REJECT:
		break;
	}
	text_clear(&mail->field);
	text_addf(&mail->field, "Nobody here signs this message: %.*s",
	          SLICE_ARG(mail->decision->reason));
	return refuse(mail, "550", "5.7.1", text_slice(&mail->field),
	              mail->decision->reason);
}

bool
mail_in_body(const struct mail *mail)
{
	return mail->stage == STAGE_BODY;
}

/* ---- body and end ---- */

void
mail_body(struct mail *mail, struct slice bytes)
{
	ASSERT(mail->stage == STAGE_BODY);
	mail_signing_body(mail->signing, bytes);
}

static char *
arena_string(struct arena *arena, const struct text *text)
{
	char *copy = arena_array(arena, text->len + 1, 1);

	if (text->len > 0)
		memcpy(copy, text->bytes, text->len);
	return copy;
}

/* Each goes on top of the one before: the last one first. */
static void
inserts_make(struct mail *mail, struct slice fields)
{
	CLEAN(text_done) struct text name = {0};
	CLEAN(text_done) struct text value = {0};

	while (fields.len > 0) {
		size_t at = fields.len - 2;
		struct mail_change *change =
		        &mail->changes[mail->changes_count++];

		while (at > 0 && !(fields.bytes[at - 1] == '\n' &&
		                   !ascii_is_wsp(fields.bytes[at])))
			at--;
		mta_field_split(slice_sub(fields, at, fields.len - 2 - at),
		                &name, &value);
		*change = (struct mail_change){
		        .kind = MAIL_INSERT,
		        .name = arena_string(&mail->arena, &name),
		        .value = arena_string(&mail->arena, &value),
		};
		fields = slice_sub(fields, 0, at);
	}
}

static void
changes_make(struct mail *mail, struct slice fields)
{
	static char name[] = "DKIM-Signature";
	size_t strips_count;
	const uint32_t *strips =
	        mail_signing_strips(mail->signing, &strips_count);

	mail->changes =
	        arena_array(&mail->arena, strips_count + mail->signatures_count,
	                    sizeof(*mail->changes));
	/* From below, so that the others keep their numbers. */
	for (size_t i = strips_count; i > 0; i--)
		mail->changes[mail->changes_count++] = (struct mail_change){
		        .kind = MAIL_REMOVE,
		        .index = strips[i - 1],
		        .name = name,
		};
	inserts_make(mail, fields);
}

enum mail_next
mail_end(struct mail *mail, mail_sign_fn *sign, void *owner)
{
	struct signature *signatures;
	struct fault fault = {0};
	struct slice fields;

	ASSERT(mail->stage == STAGE_BODY);
	signatures = mail_signing_end(mail->signing, &mail->signatures_count);
	mail->signatures = signatures;
	ASSERT(mail->signatures_count > 0);
	if (!sign(owner, signatures, mail->signatures_count, &fault))
		return fail(mail, &fault);
	if (!mail_signing_write(mail->signing, &fields, &fault)) {
		log_note(LOG_LEVEL_ERROR, "error",
		         "a message is not what was signed: %s", fault.text);
		return fail(mail, &fault);
	}
	stage_enter(mail, STAGE_END);
	changes_make(mail, fields);
	return MAIL_ACCEPT;
}

const struct mail_change *
mail_changes(const struct mail *mail, size_t *count_out)
{
	*count_out = mail->changes_count;
	return mail->changes;
}

void
mail_settle(struct mail *mail, bool is_changed)
{
	struct log line;

	if (mail->stage == STAGE_DONE) /* skipped: nothing was to be changed */
		return;
	if (!is_changed) {
		skip(mail, LOG_LEVEL_WARNING,
		     SLICE("the MTA could not be told of the signatures"));
		return;
	}
	stage_enter(mail, STAGE_DONE);
	event_begin(mail, &line, LOG_LEVEL_INFO, "signed");
	log_signatures(mail, &line);
	log_text(&line, "reason", mail->decision->reason);
	log_send(&line);
}

struct mail_reply *
mail_reply(struct mail *mail)
{
	return &mail->reply;
}
