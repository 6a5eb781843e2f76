#include "relay/server/session.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/limits.h"
#include "relay/net/wire.h"
#include "relay/server/auth.h"
#include "relay/server/authentication.h"
#include "relay/server/census.h"
#include "relay/server/commands.h"
#include "relay/server/welcome.h"

#define IN(state) (1u << SESSION_##state)

/* RFC 5321 4.5.3.2: in all states but these the time-out is the option's. */
#define SECURING_MS (1 * MINUTE)
#define COMMIT_MS (10 * MINUTE)
#define AUTHING_MS (1 * MINUTE)
#define PROXY_MS (10 * SECOND)

static const struct reply reply_closing = {
	421, "4.3.2", "Service is shutting down, try again later"};
static const struct reply reply_timeout = {421, "4.4.2",
					   "Timed out waiting for you"};
static const struct reply reply_errors = {421, "4.7.0", "Too many errors"};
static const struct reply reply_stuck = {
	421, "4.3.0", "The message could not be stored in time"};
static const struct reply reply_auth_stuck = {
	421, "4.7.0", "The password could not be checked in time"};
static const struct reply reply_too_long = {500, "5.5.2", "Line too long"};
static const struct reply reply_bare_line_end = {
	500, "5.5.2", "Bare CR or LF: lines must end in CRLF"};

static const char *const state_names[] = {
#define X(name) #name,
	SESSION_STATES(X)
#undef X
};

/* Which states lead to this one. */
static const unsigned entered_from[SESSION_STATES_COUNT] = {
	[SESSION_START] = IN(SECURING) | IN(PROXY) | IN(CHUNK),
	[SESSION_READY] = IN(START) | IN(MAIL) | IN(RCPT) | IN(DATA) |
			  IN(CHUNK) | IN(BDAT) | IN(COMMIT) | IN(AUTH) |
			  IN(AUTHING),
	[SESSION_MAIL] = IN(READY),
	[SESSION_RCPT] = IN(MAIL),
	[SESSION_DATA] = IN(RCPT),
	[SESSION_CHUNK] = IN(START) | IN(READY) | IN(MAIL) | IN(RCPT) |
			  IN(BDAT),
	[SESSION_BDAT] = IN(CHUNK),
	[SESSION_COMMIT] = IN(DATA) | IN(CHUNK),
	[SESSION_SECURING] = IN(START) | IN(READY) | IN(PROXY),
	[SESSION_AUTH] = IN(AUTHING),
	[SESSION_AUTHING] = IN(READY) | IN(AUTH),
};

const struct options *
session_options(const struct session *session)
{
	return session->generation->options;
}

static uint64_t
command_timeout(const struct session *session)
{
	return session_options(session)->limits.command_timeout_ms;
}

static void
set_deadline(struct session *session)
{
	uint64_t timeout_ms = command_timeout(session);

	if (session->state == SESSION_SECURING)
		timeout_ms = SECURING_MS;
	else if (session->state == SESSION_COMMIT)
		timeout_ms = COMMIT_MS;
	else if (session->state == SESSION_AUTHING)
		timeout_ms = AUTHING_MS;
	else if (session->state == SESSION_PROXY)
		timeout_ms = PROXY_MS;
	else if (session->state == SESSION_DATA ||
		 session->state == SESSION_CHUNK)
		session->data_until_ms = clock_now_ms() + timeout_ms;
	stream_deadline(session->stream, timeout_ms);
}

void
session_enter(struct session *session, enum session_state state)
{
	ASSERT((entered_from[state] & (1u << session->state)) != 0);
	session->state = state;
	set_deadline(session);
}

/* --- the end --- */

static void
session_end(struct session *session)
{
	struct share *share = session->share;

	ASSERT(session->stream == NULL);
	transaction_cancel(&session->transaction);
	auth_cancel(&session->auth);
	if (session->is_counted)
		census_leave(share->census, &session->client);
	list_remove(&session->link);
	generation_unref(session->generation);
	text_done(&session->helo);
	text_done(&session->user);
	free(session);
	share_session_ended(share);
}

/* With all that was replied. The session is gone: return at once. */
static void
session_close(struct session *session)
{
	stream_finish(&session->stream);
	session_end(session);
}

void
session_kill(struct session *session)
{
	stream_close(&session->stream);
	session_end(session);
}

void
session_resume(struct session *session, enum step step)
{
	if (step == STEP_CLOSE)
		session_close(session);
	else
		stream_resume(session->stream);
}

/* --- replies --- */

enum step
session_reply(struct session *session, const struct reply *reply,
	      struct slice extra)
{
	CLEAN(text_done) struct text out = {0};

	reply_write(&out, reply, extra);
	/* The bound of limits.h: replies never stop a session, but a client
	 * that reads none of them is not answered for ever. */
	if (!stream_write(session->stream, text_slice(&out)))
		return STEP_CLOSE;
	return STEP_NEXT;
}

enum step
session_refuse(struct session *session, const struct reply *reply,
	       struct slice extra)
{
	enum step step = session_reply(session, reply, extra);

	/* Room that is missing, or one recipient more than we take at once, is
	 * no error of the client. */
	if (reply->code == 452)
		return step;
	if (++session->errors < SESSION_ERRORS_MAX)
		return step;
	session_reply(session, &reply_errors, SLICE_NONE);
	return STEP_CLOSE;
}

static void
log_peer(struct log *line, const struct session *session)
{
	char client[ADDRESS_TEXT_SIZE];

	address_write_host(&session->client, client);
	log_text(line, "listener", session->listener->name);
	log_string(line, "client", client);
}

static void
log_reply(struct log *line, const struct reply *reply, struct slice extra)
{
	CLEAN(text_done) struct text text = {0};

	text_addf(&text, "%u %s %s%.*s", reply->code,
		  reply->status != NULL ? reply->status : "", reply->text,
		  SLICE_ARG(extra));
	log_text(line, "reply", text_slice(&text));
}

static void
log_rejected(const struct session *session, const struct reply *reply,
	     struct slice extra, struct slice argument, struct slice reason)
{
	const struct message *message = NULL;
	struct log line;

	if (session->transaction != NULL)
		message = transaction_message(session->transaction);
	log_begin(&line, LOG_LEVEL_INFO, "rejected");
	log_peer(&line, session);
	log_text(&line, "from",
		 message != NULL ? message->reverse_path : argument);
	log_text(&line, "to", message != NULL ? argument : SLICE_NONE);
	log_reply(&line, reply, extra);
	log_text(&line, "reason", reason);
	log_send(&line);
}

enum step
session_reject(struct session *session, const struct reply *reply,
	       struct slice extra, struct slice argument, struct slice reason)
{
	log_rejected(session, reply, extra, argument, reason);
	atomic_fetch_add(&session->share->rejected, 1);
	return session_refuse(session, reply, extra);
}

/* --- a transaction, as the session sees it --- */

void
session_reset(struct session *session)
{
	transaction_cancel(&session->transaction);
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
	session_reply(session, &reply_closing, SLICE_NONE);
	return STEP_CLOSE;
}

/* Answers the end of data; the transaction is over. */
static enum step
answer(struct session *session, const struct reply *reply, struct slice extra,
       struct slice reason)
{
	CLEAN(text_done) struct text to = {0};
	enum step step;

	if (reply->code < 300) {
		session->errors = 0;
		step = session_reply(session, reply, extra);
	} else {
		write_recipients(transaction_message(session->transaction),
				 &to);
		step = session_reject(session, reply, extra, text_slice(&to),
				      reason);
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

static void session_pump(struct session *session);

static void
on_drained(void *owner)
{
	struct session *session = owner;

	stream_resume(session->stream);
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

void
session_begin(struct session *session, const struct envelope_mail *mail)
{
	CLEAN(text_done) struct text tls = {0};
	struct transaction_setup setup = {
		.loop = session->loop,
		.store = session->share->store,
		.schedule = session->share->schedule,
		.generation = session->loop->generation,
		.listener = session->listener->name,
		.user = text_slice(&session->user),
		.normalizes = session->listener->bare_newlines ==
			      BARE_NEWLINES_NORMALIZE,
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
		.is_esmtp = session->is_esmtp,
		.is_secured = session->is_secured,
		.is_authenticated = session->is_authenticated,
		.tls = text_slice(&tls),
	};
	session->transaction = transaction_new(&setup, mail);
}

/* --- input --- */

/* Progress buys time: BODY_RATE_MIN octets a second, and never more than one
 * whole time-out ahead (RFC 5321 4.5.3.2.5 is for each block). */
static void
extend_deadline(struct session *session, size_t octets)
{
	uint64_t now_ms = clock_now_ms();
	uint64_t latest_ms = now_ms + command_timeout(session);
	uint64_t until_ms = session->data_until_ms +
			    octets * SECOND / BODY_RATE_MIN;

	if (until_ms > latest_ms)
		until_ms = latest_ms;
	session->data_until_ms = until_ms;
	stream_deadline(session->stream,
			until_ms > now_ms ? until_ms - now_ms : 1);
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

static enum step
read_data(struct session *session)
{
	enum transaction_status status;
	size_t used;

	if (session->line_ends == LINE_ENDS_LF)
		status = read_lf(session, &used);
	else
		status = transaction_read(session->transaction,
					  stream_input(session->stream), &used);
	stream_consume(session->stream, used);
	switch (status) {
	case TRANSACTION_MORE:
		extend_deadline(session, used);
		return STEP_NEXT;
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
		step = session_reply(session, refusal, SLICE_NONE);
	else
		step = session_reject(session, refusal, SLICE_NONE,
				      text_slice(&to), SLICE(refusal->text));
	transaction_cancel(&session->transaction);
	session_enter(session, session->helo.len > 0 ? SESSION_READY
						     : SESSION_START);
	return unless_stopping(session, step);
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
static enum step
read_chunk(struct session *session, bool *more_needed)
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

/* Up to the CRLF of a line that was too long. False: more has to come. */
static bool
skip_line(struct session *session, struct slice input)
{
	ptrdiff_t lf = slice_find(input, '\n');
	size_t used = input.len;

	if (lf >= 0)
		used = (size_t)lf + 1;
	else if (input.bytes[input.len - 1] == '\r')
		used--; /* may be half of the CRLF */
	session->is_skipping_line =
		lf < 0 || (session->line_ends != LINE_ENDS_LF &&
			   (lf == 0 || input.bytes[lf - 1] != '\r'));
	stream_consume(session->stream, used);
	return lf >= 0;
}

/* The next line; one that ends in LF alone where the client may end them so. */
static enum wire_status
find_line(struct session *session, size_t max, struct slice *line,
	  struct slice *rest)
{
	struct slice input = stream_input(session->stream);
	enum wire_status status = wire_line(input, max, line, rest);

	if (status == WIRE_LINE && session->line_ends == LINE_ENDS_UNKNOWN)
		session->line_ends = LINE_ENDS_CRLF;
	if (status != WIRE_BARE_LF || !session->listener->lenient ||
	    session->line_ends == LINE_ENDS_CRLF)
		return status;
	session->line_ends = LINE_ENDS_LF;
	session_legacy(session, LEGACY_LF);
	*rest = input;
	return slice_split(rest, '\n', line) ? WIRE_LINE : WIRE_MORE;
}

static enum step
read_line(struct session *session, bool *more_needed)
{
	struct slice input = stream_input(session->stream), line, rest;
	bool responds = session->state == SESSION_AUTH;
	enum step step;

	switch (find_line(session,
			  responds ? AUTH_LINE_MAX : COMMAND_LINE_MAX, &line,
			  &rest)) {
	case WIRE_LINE:
		session->has_more = rest.len > 0;
		step = responds ? authentication_respond(session, line)
				: command_run(session, line);
		stream_consume(session->stream, input.len - rest.len);
		if (step == STEP_NEXT)
			set_deadline(session);
		return step;
	case WIRE_MORE:
		*more_needed = true;
		return STEP_NEXT;
	case WIRE_TOO_LONG:
		if (responds)
			return STEP_CLOSE; /* no client comes to that */
		session->is_skipping_line = true;
		return session_refuse(session, &reply_too_long, SLICE_NONE);
	case WIRE_BARE_LF:
	case WIRE_BARE_CR:
		/* Two readers of these bytes may see different commands. */
		session_refuse(session, &reply_bare_line_end, SLICE_NONE);
		return STEP_CLOSE;
	}
	return STEP_CLOSE;
}

void
session_legacy(struct session *session, enum legacy what)
{
	static const char *const words[] = {
		[LEGACY_LF] = "lines that end in LF",
		[LEGACY_NO_BRACKETS] = "addresses without <>",
		[LEGACY_TLS] = "a version of TLS below 1.2",
	};
	struct log line;

	if ((session->legacy & what) != 0)
		return;
	session->legacy |= what;
	log_begin(&line, LOG_LEVEL_INFO, "legacy");
	log_peer(&line, session);
	log_string(&line, "what", words[what]);
	log_send(&line);
}

void
session_lost(const struct session *session, const char *reason)
{
	struct log line;

	log_begin(&line,
		  session->transaction != NULL ? LOG_LEVEL_INFO
					       : LOG_LEVEL_DEBUG,
		  "lost");
	log_peer(&line, session);
	log_string(&line, "state", state_names[session->state]);
	log_string(&line, "reason", reason);
	log_send(&line);
}

static enum step
read_input(struct session *session)
{
	enum step step = STEP_NEXT;
	bool more_needed = false;

	while (step == STEP_NEXT && !more_needed) {
		struct slice input = stream_input(session->stream);

		if (session->state == SESSION_CHUNK) {
			/* One of no octets needs none. */
			step = read_chunk(session, &more_needed);
			continue;
		}
		if (input.len == 0)
			break;
		if (session->state == SESSION_DATA)
			step = read_data(session);
		else if (session->state == SESSION_PROXY)
			step = welcome_proxied(session, &more_needed);
		else if (session->is_skipping_line)
			more_needed = !skip_line(session, input);
		else
			step = read_line(session, &more_needed);
	}
	return step;
}

/* RFC 3207 4.2: whatever the client said before is forgotten. */
static void
secure(struct session *session)
{
	/* Behind a proxy's words the handshake may have begun; behind STARTTLS
	 * nothing may (RFC 3207 4.2). */
	bool may_have_begun = session->state == SESSION_PROXY;

	session_reset(session);
	text_done(&session->helo);
	session->is_esmtp = false;
	session->is_authenticated = false;
	text_done(&session->user);
	session->account = NULL;
	session_enter(session, SESSION_SECURING);
	if (may_have_begun)
		stream_secure_server_begun(session->stream, session->tls);
	else
		stream_secure_server(session->stream, session->tls);
}

/* The one loop that consumes input and the one place that closes on it. */
static void
session_pump(struct session *session)
{
	switch (read_input(session)) {
	case STEP_NEXT:
		return;
	case STEP_WAIT:
		stream_pause(session->stream);
		return;
	case STEP_SECURE:
		secure(session);
		return;
	case STEP_CLOSE:
		session_close(session); /* it is gone: return at once */
		return;
	}
}

/* --- events --- */

static void
on_secured(struct session *session)
{
	bool greets = session->listener->tls == LISTENER_TLS_IMPLICIT;

	session->is_secured = true;
	if (tls_is_legacy(stream_tls(session->stream)))
		session_legacy(session, LEGACY_TLS);
	session_enter(session, SESSION_START);
	if (greets)
		welcome_greet(session);
}

static const struct reply *
timeout_reply(const struct session *session)
{
	if (session->state == SESSION_COMMIT)
		return &reply_stuck;
	if (session->state == SESSION_AUTHING)
		return &reply_auth_stuck;
	return &reply_timeout;
}

static void
on_expired(struct session *session)
{
	if (session->state == SESSION_SECURING ||
	    session->state == SESSION_PROXY) {
		session_lost(session, "timed out");
		session_kill(session);
		return;
	}
	session_lost(session, "timed out");
	session_reply(session, timeout_reply(session), SLICE_NONE);
	session_close(session);
}

static void
on_event(void *owner, enum stream_event event)
{
	struct session *session = owner;

	switch (event) {
	case STREAM_CONNECTED:
	case STREAM_DRAINED:
		break;
	case STREAM_DATA:
		session_pump(session);
		break;
	case STREAM_SECURED:
		on_secured(session);
		break;
	case STREAM_ENDED:
		if (session->transaction != NULL)
			session_lost(session, "the client closed the connection");
		session_close(session);
		break;
	case STREAM_EXPIRED:
		on_expired(session);
		break;
	case STREAM_FAILED:
		session_lost(session, stream_fault(session->stream)->text);
		session_kill(session);
		break;
	}
}

/* False: it is gone. */
static bool
begin(struct session *session)
{
	enum step step = welcome_client(session);

	if (step == STEP_SECURE)
		secure(session);
	else if (step == STEP_CLOSE)
		session_close(session);
	return step != STEP_CLOSE;
}

void
session_start(struct share *share, int descriptor,
	      struct generation *generation, size_t listener)
{
	struct session *session = memory_new(sizeof(*session));
	struct options *options = generation->options;
	struct fault fault = {0};

	list_init(&session->link);
	session->share = share;
	session->loop = share->loop;
	session->generation = generation_ref(generation);
	session->listener = &options->listeners[listener];
	session->tls = generation->listener_tls[listener];
	session->users = generation->listener_users[listener];
	if (!stream_accept(share->loop, descriptor, on_event, session,
			   &session->stream, &fault)) {
		log_note(LOG_LEVEL_WARNING, "lost", "%s", fault.text);
		session_end(session);
		return;
	}
	list_add_last(&share->sessions, &session->link);
	session->client = *stream_peer(session->stream);
	if (networks_contain(session->listener->proxy_from,
			     session->listener->proxy_from_count,
			     &session->client)) {
		session->state = SESSION_PROXY;
		set_deadline(session);
	} else {
		set_deadline(session);
		if (!begin(session))
			return;
	}
	if (share->is_stopping)
		session_stop(session);
}

void
session_stop(struct session *session)
{
	switch (session->state) {
	case SESSION_START:
	case SESSION_READY:
	case SESSION_AUTH:
	case SESSION_AUTHING:
		session_reply(session, &reply_closing, SLICE_NONE);
		session_close(session);
		break;
	case SESSION_SECURING:
	case SESSION_PROXY:
		session_kill(session);
		break;
	case SESSION_MAIL:
	case SESSION_RCPT:
	case SESSION_DATA:
	case SESSION_CHUNK:
	case SESSION_BDAT:
	case SESSION_COMMIT:
		break; /* answer() says it behind the message */
	case SESSION_STATES_COUNT:
		ASSERT(false); /* no state */
		break;
	}
}
