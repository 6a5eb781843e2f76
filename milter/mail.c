#include "milter/mail.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "milter/authres.h"
#include "milter/header.h"
#include "milter/mail_signing.h"
#include "milter/mail_verifying.h"
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
	/* One of them; both while it is open which. */
	struct mail_signing *signing;
	struct mail_verifying *verifying;
	struct slice unsigned_reason; /* of what is verified instead */
	bool is_own_report;           /* of the MTA's machine, and a bounce */
	const struct decision *decision;
	const struct signature *signatures;
	size_t signatures_count;
	struct text field; /* the present one */
	size_t header_size;
	struct mail_change *changes;
	size_t changes_count;
	struct mail_reply reply;
	enum lint_mta mta;
	struct lint lint; /* where rules->lints is */
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
	lint_init(&mail->lint);
	mail->sender = arena_copy(&mail->arena, sender);
	return mail;
}

void
mail_free(struct mail *mail)
{
	if (mail == NULL)
		return;
	mail_signing_free(mail->signing);
	mail_verifying_free(mail->verifying);
	lint_done(&mail->lint);
	text_done(&mail->id);
	text_done(&mail->field);
	text_done(&mail->reply.text);
	arena_done(&mail->arena);
	free(mail);
}

/* What reads the results looks for the name of the MTA that it is behind. */
static struct slice
authserv_id(const struct mail_rules *rules, const struct origin *origin)
{
	if (rules->authserv_id.len > 0)
		return rules->authserv_id;
	return origin->host.len > 0 && authres_id_is_sound(origin->host)
		       ? origin->host
		       : rules->hostname;
}

enum mail_next
mail_begin(struct mail *mail, const struct origin *origin, struct slice id,
	   uint64_t time_s)
{
	const struct mail_rules *rules = mail->rules;
	CLEAN(text_done) struct text reason = {0};

	stage_enter(mail, STAGE_HEADER);
	mail->client = arena_copy(&mail->arena, origin->client);
	mail->mta = lint_mta_of(origin->mta);
	mail->is_own_report = mail->sender.len == 0 && origin_is_local(origin);
	mail_identify(mail, id);
	if (rules->mode != MAIL_VERIFIES &&
	    origin_is_signed(&rules->origin, origin, &reason))
		mail->signing = mail_signing_new(rules->policy, time_s);
	else if (rules->mode == MAIL_SIGNS)
		return skip(mail, LOG_LEVEL_INFO, text_slice(&reason));
	if (rules->mode != MAIL_SIGNS)
		mail->verifying = mail_verifying_new(
			rules->records, rules->dns_timeout_ms, time_s,
			authserv_id(rules, origin));
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

static void
signing_feed(struct mail *mail, struct slice field)
{
	struct slice name, value;

	mail_signing_header(mail->signing, field);
	if (mail->rules->lints != NULL &&
	    header_field_parse(field, &name, &value) == NULL)
		lint_header(&mail->lint, name, value);
}

static void
field_feed(struct mail *mail, struct slice field)
{
	if (mail->verifying != NULL)
		mail_verifying_header(mail->verifying, field);
	if (mail->signing != NULL)
		signing_feed(mail, field);
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
		field_feed(mail, text_slice(&mail->field));
}

static enum mail_next
verifying_end_of_header(struct mail *mail)
{
	size_t count;

	(void)mail_verifying_forged(mail->verifying, &count);
	if (count > MAIL_FORGED_MAX)
		return refuse(mail, "550", "5.7.1",
			      SLICE("Too many Authentication-Results that "
				    "claim to be ours"),
			      SLICE("too many forged "
				    "Authentication-Results"));
	mail_verifying_end_of_header(mail->verifying);
	return MAIL_MORE;
}

static enum mail_next
unsigned_relay(struct mail *mail)
{
	const struct decision *decision = mail->decision;

	/* Mail of ours that no reader can be sure of is a mistake. */
	if (mail->verifying == NULL)
		return skip(mail,
			    decision->author_domain.len > 0
				    ? LOG_LEVEL_INFO
				    : LOG_LEVEL_WARNING,
			    decision->reason);
	mail->unsigned_reason = arena_copy(&mail->arena, decision->reason);
	mail->decision = NULL;
	mail_signing_free(TAKE(mail->signing));
	return verifying_end_of_header(mail);
}

enum mail_next
mail_end_of_header(struct mail *mail)
{
	stage_enter(mail, STAGE_BODY);
	if (mail->header_size >= mail->rules->header_max)
		return refuse(mail, "552", "5.3.4",
			      SLICE("Header size exceeds the limit"),
			      SLICE("limits.max_header_size"));
	if (mail->signing == NULL)
		return verifying_end_of_header(mail);
	mail->decision = mail_signing_end_of_header(mail->signing);
	switch (mail->decision->verdict) {
	case VERDICT_SIGN:
		mail_verifying_free(TAKE(mail->verifying));
		return MAIL_MORE;
	case VERDICT_RELAY:
		return unsigned_relay(mail);
	case VERDICT_REJECT:
		break;
	}
	/* A refused report would be mail lost: nobody reports on it. */
	if (mail->is_own_report)
		return unsigned_relay(mail);
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
	if (mail->verifying != NULL) {
		mail_verifying_body(mail->verifying, bytes);
		return;
	}
	mail_signing_body(mail->signing, bytes);
	if (mail->rules->lints != NULL)
		lint_body(&mail->lint, bytes);
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

/* Removes some fields of one name, then inserts `fields`, of which there are
 * `inserts`. */
static void
changes_make(struct mail *mail, char *name, const uint32_t *removed,
	     size_t removed_count, struct slice fields, size_t inserts)
{
	mail->changes = arena_array(&mail->arena, removed_count + inserts,
				    sizeof(*mail->changes));
	/* From below, so that the others keep their numbers. */
	for (size_t i = removed_count; i > 0; i--)
		mail->changes[mail->changes_count++] = (struct mail_change){
			.kind = MAIL_REMOVE,
			.index = removed[i - 1],
			.name = name,
		};
	inserts_make(mail, fields);
	ASSERT(mail->changes_count == removed_count + inserts);
}

static enum mail_next
verifying_end(struct mail *mail)
{
	static char name[] = "Authentication-Results";
	size_t count;
	const uint32_t *forged = mail_verifying_forged(mail->verifying, &count);

	stage_enter(mail, STAGE_END);
	changes_make(mail, name, forged, count,
		     mail_verifying_end(mail->verifying), 1);
	return MAIL_ACCEPT;
}

enum mail_next
mail_end(struct mail *mail, mail_sign_fn *sign, void *owner)
{
	static char name[] = "DKIM-Signature";
	struct signature *signatures;
	struct fault fault = {0};
	struct slice fields;
	size_t strips_count;
	const uint32_t *strips;

	ASSERT(mail->stage == STAGE_BODY);
	if (mail->verifying != NULL)
		return verifying_end(mail);
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
	strips = mail_signing_strips(mail->signing, &strips_count);
	changes_make(mail, name, strips, strips_count, fields,
		     mail->signatures_count);
	return MAIL_ACCEPT;
}

const struct mail_change *
mail_changes(const struct mail *mail, size_t *count_out)
{
	*count_out = mail->changes_count;
	return mail->changes;
}

static void
log_results(const struct mail *mail, struct log *line)
{
	size_t count;
	const struct verification *results =
		mail_verifying_results(mail->verifying, &count);

	log_list_begin(line, "results");
	for (size_t i = 0; i < count; i++) {
		log_object_begin(line);
		log_text(line, "domain", results[i].domain);
		log_text(line, "selector", results[i].selector);
		log_text(line, "algorithm", results[i].algorithm);
		log_string(line, "result", authres_result(&results[i]));
		log_text(line, "reason", results[i].reason);
		log_object_end(line);
	}
	log_list_end(line);
}

/* What the MTA is going to do to what has been signed. */
static void
lint_tell(const struct mail *mail)
{
	unsigned warnings = 0;
	struct log line;

	for (size_t i = 0; i < mail->signatures_count; i++) {
		const struct policy_rules *rules = mail->signatures[i].rules;
		struct lint_signature signature = {.header_canon =
							   rules->header_canon};

		signature.names = mail_signing_names(mail->signing, rules,
						     &signature.names_count);
		warnings |= lint_judge(&mail->lint, mail->mta, &signature);
	}
	warnings = lint_due(mail->rules->lints, mail->client, warnings,
			    clock_now_ms());
	if (warnings == 0)
		return;
	event_begin(mail, &line, LOG_LEVEL_WARNING, "lint");
	log_list_begin(&line, "warnings");
	for (unsigned i = 0; i < LINT_WARNINGS; i++)
		if ((warnings & (1u << i)) != 0)
			log_item(&line, SLICE(lint_sentence(mail->mta, i)));
	log_list_end(&line);
	log_send(&line);
}

void
mail_settle(struct mail *mail, bool is_changed)
{
	struct log line;

	if (mail->stage == STAGE_DONE) /* skipped: nothing was to be changed */
		return;
	if (!is_changed) {
		skip(mail, LOG_LEVEL_WARNING,
		     SLICE("the MTA could not be told of the changes"));
		return;
	}
	stage_enter(mail, STAGE_DONE);
	if (mail->verifying != NULL) {
		event_begin(mail, &line, LOG_LEVEL_INFO, "verified");
		log_results(mail, &line);
		if (mail->unsigned_reason.len > 0)
			log_text(&line, "reason", mail->unsigned_reason);
	} else {
		event_begin(mail, &line, LOG_LEVEL_INFO, "signed");
		log_signatures(mail, &line);
		log_text(&line, "reason", mail->decision->reason);
	}
	log_send(&line);
	if (mail->signing != NULL && mail->rules->lints != NULL)
		lint_tell(mail);
}

struct mail_reply *
mail_reply(struct mail *mail)
{
	return &mail->reply;
}
