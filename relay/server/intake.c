#include "relay/server/intake.h"

#include "base/clock.h"
#include "relay/limits.h"
#include "relay/net/wire.h"
#include "relay/server/front.h"
#include "relay/server/rewriting.h"

/* --- the transaction, as the session sees it --- */

void
session_reset(struct session *session)
{
	transaction_cancel(&session->transaction);
	front_forget(session);
	session->is_discarding = false;
	if (session->state == SESSION_MAIL || session->state == SESSION_RCPT ||
	    session->state == SESSION_BDAT)
		session_enter(session, SESSION_READY);
}

/* "a@example.com", or the first of several and how many. */
static void
write_recipients(const struct message *message, struct text *out)
{
	if (message->recipients_count == 0)
		return;
	text_add(out, message->recipients[0].address);
	if (message->recipients_count > 1)
		text_addf(out, " and %zu more", message->recipients_count - 1);
}

/* What was under way when the relay was told to stop is through. */
static enum step
unless_stopping(struct session *session, enum step step)
{
	if (!session->share->is_stopping || step != STEP_NEXT)
		return step;
	session_reply(session, &session_reply_closing, SLICE_NONE);
	return STEP_CLOSE;
}

/* A message that was refused as a whole has an id, too, by which its sender and
 * who reads the log can speak of it. */
static enum step
refuse_message(struct session *session, const struct reply *reply,
	       struct slice extra, struct slice reason)
{
	const struct message *message =
		transaction_message(session->transaction);
	CLEAN(text_done) struct text to = {0}, words = {0};
	char id[MESSAGE_ID_TEXT + 1];

	write_recipients(message, &to);
	message_id_write(&message->id, id);
	text_add(&words, extra);
	text_addf(&words, " [id %s]", id);
	return session_reject(session, reply, text_slice(&words),
			      text_slice(&to), reason);
}

/* Answers the end of data; the transaction is over, and with it what was said
 * of where it comes from. */
static enum step
answer(struct session *session, const struct reply *reply, struct slice extra,
       struct slice reason)
{
	enum step step;

	front_forget(session);
	if (reply->code < 300) {
		session->conduct = (struct conduct){0};
		step = session_reply(session, reply, extra);
	} else {
		step = refuse_message(session, reply, extra, reason);
	}
	return unless_stopping(session, step);
}

static void
on_finished(void *owner, const struct reply *reply, struct slice extra,
	    struct slice reason)
{
	struct session *session = owner;
	enum step step;

	ASSERT(session->state == SESSION_COMMIT);
	step = answer(session, reply, extra, reason);
	session->transaction = NULL;
	if (step != STEP_CLOSE)
		session_enter(session, SESSION_READY);
	session_resume(session, step);
}

static void
on_drained(void *owner)
{
	struct session *session = owner;

	session_resume(session, STEP_NEXT);
	/* The octets of a chunk are all in: no input has to come. */
	if (session->state == SESSION_CHUNK && session->chunk.left == 0)
		session_pump(session);
}

static void
write_tls(const struct session *session, struct text *out)
{
	const struct tls *tls = stream_tls(session->stream);

	if (tls != NULL)
		text_addf(out, "%s %s", tls_version(tls), tls_cipher(tls));
}

struct rewrite
session_rewrite(const struct session *session)
{
	const struct generation *now = session_now(session);

	return rewriting_of(session->listener,
			    principal_account(&session->principal, now),
			    now->policy);
}

void
session_begin(struct session *session, const struct envelope_mail *mail)
{
	CLEAN(text_done) struct text tls = {0};
	const struct rewrite rewrite = session_rewrite(session);
	struct transaction_setup setup = {
		.loop = session->loop,
		.store = session->share->store,
		.schedule = session->share->schedule,
		.citizen = session->citizen,
		.generation = session_now(session),
		.listener = session->listener->name,
		.user = text_slice(&session->principal.user),
		.origin = front_noted(session),
		.user_by = principal_how(&session->principal),
		.normalizes = session->listener->bare_newlines ==
			      BARE_NEWLINES_NORMALIZE,
		.rewrite = &rewrite,
		.finished = on_finished,
		.drained = on_drained,
		.owner = session,
	};

	ASSERT(session->transaction == NULL);
	session->is_discarding = false;
	write_tls(session, &tls);
	setup.trace = (struct trace){
		.helo = text_slice(&session->helo),
		.client = &session->client,
		.client_name = text_slice(&session->client_name),
		.is_esmtp = session->is_esmtp,
		.is_secured = session->is_secured,
		.is_authenticated = principal_has_logged_in(&session->principal),
		.tls = text_slice(&tls),
	};
	session->transaction = transaction_new(&setup, mail);
}

/* --- octets --- */

/* Progress buys time: BODY_RATE_MIN octets a second, or what is asked for while
 * room is short, and never more than one whole time-out ahead (RFC 5321
 * 4.5.3.2.5 is for each block). */
static void
extend_deadline(struct session *session, size_t octets)
{
	uint64_t rate = store_is_pressed(session->share->store)
				? BODY_RATE_PRESSED
				: BODY_RATE_MIN;
	uint64_t now_ms = clock_now_ms();
	uint64_t latest_ms = now_ms + session_command_timeout(session);
	uint64_t until_ms = session->data_until_ms +
			    octets * SECOND / rate;

	if (until_ms > latest_ms)
		until_ms = latest_ms;
	session_progressed(session, until_ms);
}

const struct reply intake_reply_endless = {
	552, "5.3.4",
	"Message is twice as large as the limit that EHLO gives as SIZE "
	"(limits.max_message_size); closing the connection"};

bool
intake_is_endless(const struct session *session, uint64_t octets)
{
	return octets / 2 > session_options(session)->limits.max_message_size;
}

static enum step
refused_data(struct session *session)
{
	const struct reply *reply;
	struct slice extra, reason;
	enum step step;

	transaction_refusal(session->transaction, &reply, &extra, &reason);
	step = answer(session, reply, extra, reason);
	transaction_cancel(&session->transaction);
	session_enter(session, SESSION_READY);
	return step;
}

/* Lines that end in LF become what they should be on the way. */
static enum transaction_status
read_lf(struct session *session, size_t *used_out)
{
	CLEAN(text_done) struct text bytes = {0};
	struct slice input = stream_input(session->stream);
	enum transaction_status status;
	size_t used;

	wire_lf_write(&session->lf, input, &bytes);
	status = transaction_read(session->transaction, text_slice(&bytes),
				  &used);
	*used_out = wire_lf_used(&session->lf, input, used);
	return status;
}

enum step
intake_data(struct session *session)
{
	enum transaction_status status;
	size_t used;

	if (session->line_ends == LINE_ENDS_LF)
		status = read_lf(session, &used);
	else
		status = transaction_read(session->transaction,
					  stream_input(session->stream), &used);
	stream_consume(session->stream, used);
	session->data_octets += used;
	switch (status) {
	case TRANSACTION_MORE:
		extend_deadline(session, used);
		if (!intake_is_endless(session, session->data_octets))
			return STEP_NEXT;
		answer(session, &intake_reply_endless, SLICE_NONE,
		       SLICE("limits.max_message_size"));
		return STEP_CLOSE;
	case TRANSACTION_BLOCKED:
		extend_deadline(session, used);
		return STEP_WAIT;
	case TRANSACTION_ENDED:
		session_enter(session, SESSION_COMMIT);
		return STEP_WAIT;
	case TRANSACTION_REFUSED:
		return refused_data(session);
	}
	return STEP_CLOSE;
}

bool
intake_chunk_parse(struct slice args, struct chunk *out)
{
	struct slice rest = args, size;

	if (!slice_split(&rest, ' ', &size) || size.len > CHUNK_DIGITS_MAX ||
	    !slice_number(size, &out->size))
		return false;
	rest = slice_trim(rest);
	out->is_last = slice_eq_nocase(rest, SLICE("LAST"));
	out->left = out->size;
	return out->is_last || rest.len == 0;
}

/* A chunk that came before its time, or for which there is no room. */
static enum step
refused_chunk(struct session *session)
{
	const struct reply *refusal = session->chunk.refusal;
	CLEAN(text_done) struct text to = {0};
	enum step step;

	if (session->transaction != NULL)
		write_recipients(transaction_message(session->transaction),
				 &to);
	if (session->is_discarding)
		step = session_refuse_behind(session, refusal);
	else
		step = session_reject(session, refusal, SLICE_NONE,
				      text_slice(&to), SLICE(refusal->text));
	if (session->transaction != NULL)
		session->is_discarding = true;
	transaction_cancel(&session->transaction);
	session_enter(session, session->helo.len > 0 ? SESSION_READY
						     : SESSION_START);
	return unless_stopping(session, refusal->code == 421 ? STEP_CLOSE : step);
}

static enum step
end_of_chunk(struct session *session)
{
	static const struct reply taken = {250, "2.0.0", "Octets taken: "};
	CLEAN(text_done) struct text count = {0};
	enum step step;

	if (session->chunk.refusal != NULL)
		return refused_chunk(session);
	switch (transaction_chunk_end(session->transaction,
				      session->chunk.is_last)) {
	case TRANSACTION_MORE:
	case TRANSACTION_BLOCKED:
		break;
	case TRANSACTION_ENDED:
		session_enter(session, SESSION_COMMIT);
		return STEP_WAIT;
	case TRANSACTION_REFUSED:
		step = refused_data(session);
		session->is_discarding = true;
		return step;
	}
	session_enter(session, SESSION_BDAT);
	text_addf(&count, "%llu", (unsigned long long)session->chunk.size);
	return session_reply(session, &taken, text_slice(&count));
}

/* Octets of a BDAT, as many as it said: RFC 3030 2. */
enum step
intake_chunk(struct session *session, bool *more_needed)
{
	struct chunk *chunk = &session->chunk;
	struct slice input = stream_input(session->stream);
	enum transaction_status status = TRANSACTION_MORE;

	if (input.len > chunk->left)
		input.len = (size_t)chunk->left;
	if (chunk->left > 0 && input.len == 0) {
		*more_needed = true;
		return STEP_NEXT;
	}
	if (chunk->refusal == NULL && input.len > 0)
		status = transaction_chunk(session->transaction, input);
	chunk->left -= input.len;
	stream_consume(session->stream, input.len);
	extend_deadline(session, input.len);
	if (status == TRANSACTION_BLOCKED)
		return STEP_WAIT;
	return chunk->left > 0 ? STEP_NEXT : end_of_chunk(session);
}
