#include "relay/server/session_private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/limits.h"
#include "relay/server/auth.h"
#include "relay/server/authentication.h"
#include "relay/server/census.h"
#include "relay/server/certificate.h"
#include "relay/server/front.h"
#include "relay/server/intake.h"
#include "relay/server/strangers.h"
#include "relay/server/welcome.h"

#define IN(state) (1u << SESSION_##state)

/* RFC 5321 4.5.3.2: in all states but these the time-out is the option's. */
#define SECURING_MS (1 * MINUTE)
#define COMMIT_MS (10 * MINUTE)
#define AUTHING_MS (1 * MINUTE)
#define PROXY_MS (10 * SECOND)

const struct reply session_reply_closing = {
	421, "4.3.2", "Service is shutting down, try again later"};
static const struct reply reply_timeout = {
	421, "4.4.2", "Timed out waiting for you", "limits.command_timeout"};
static const struct reply reply_stuck = {
	421, "4.3.0", "The message could not be stored in time"};
static const struct reply reply_auth_stuck = {
	421, "4.7.0", "The password could not be checked in time"};

/* Which states lead to this one. */
static const unsigned entered_from[SESSION_STATES_COUNT] = {
	[SESSION_START] = IN(SECURING) | IN(PROXY) | IN(CHUNK) | IN(READY),
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
	[SESSION_AUTH] = IN(READY) | IN(AUTH) | IN(AUTHING),
	[SESSION_AUTHING] = IN(READY) | IN(AUTH),
};

const struct options *
session_options(const struct session *session)
{
	return session->generation->options;
}

struct generation *
session_now(const struct session *session)
{
	return session->loop->generation;
}

uint64_t
session_command_timeout(const struct session *session)
{
	return session_options(session)->limits.command_timeout_ms;
}

/* How long it may take in this state. What is ours to do does not depend on
 * what a client may take. */
static uint64_t
state_timeout(const struct session *session)
{
	uint64_t timeout_ms = session_command_timeout(session);

	switch (session->state) {
	case SESSION_COMMIT:
		return COMMIT_MS;
	case SESSION_AUTHING:
		return AUTHING_MS;
	case SESSION_SECURING:
		return timeout_ms < SECURING_MS ? timeout_ms : SECURING_MS;
	case SESSION_PROXY:
		return timeout_ms < PROXY_MS ? timeout_ms : PROXY_MS;
	case SESSION_START:
	case SESSION_READY:
	case SESSION_MAIL:
	case SESSION_RCPT:
	case SESSION_DATA:
	case SESSION_CHUNK:
	case SESSION_BDAT:
	case SESSION_AUTH:
	case SESSION_STATES_COUNT:
		break;
	}
	return timeout_ms;
}

bool
session_is_stranger(const struct session *session)
{
	return !session->is_allowed && !principal_is_known(&session->principal);
}

/* He can do nothing but log in, and holds a place. What is ours to do for him
 * does not depend on that. */
static uint64_t
stranger_until(const struct session *session, uint64_t now_ms,
	       uint64_t until_ms)
{
	bool is_crowded = strangers_are_many(
		session->share->strangers, share_everybody(session->share),
		session_options(session)->limits.max_sessions);
	uint64_t idle_until_ms =
		now_ms + (is_crowded ? STRANGER_HURRY_MS : STRANGER_MS);

	if (session->state == SESSION_COMMIT ||
	    session->state == SESSION_AUTHING)
		return until_ms;
	if (until_ms > session->stranger_until_ms)
		until_ms = session->stranger_until_ms;
	return until_ms < idle_until_ms ? until_ms : idle_until_ms;
}

static void
deadline_at(struct session *session, uint64_t until_ms)
{
	uint64_t now_ms = clock_now_ms();

	if (session_is_stranger(session))
		until_ms = stranger_until(session, now_ms, until_ms);
	stream_deadline(session->stream,
			until_ms > now_ms ? until_ms - now_ms : 1);
}

/* In these a transaction is open. Its deadline is moved by recipients and octets
 * alone (intake.c): NOOP now and then, or a chunk of one octet, holds no place
 * and no memory for ever. */
#define OPEN (IN(MAIL) | IN(RCPT) | IN(CHUNK) | IN(BDAT))

void
session_set_deadline(struct session *session)
{
	if ((OPEN & (1u << session->state)) != 0)
		deadline_at(session, session->data_until_ms);
	else
		deadline_at(session, clock_now_ms() + state_timeout(session));
}

void
session_be_patient(struct session *session)
{
	session->stranger_until_ms =
		clock_now_ms() + session_command_timeout(session);
}

void
session_enter(struct session *session, enum session_state state)
{
	bool goes_on = session->state == SESSION_CHUNK ||
		       session->state == SESSION_BDAT;

	ASSERT((entered_from[state] & (1u << session->state)) != 0);
	session->state = state;
	if (!goes_on &&
	    (state == SESSION_DATA || ((OPEN & (1u << state)) != 0)))
		session->data_until_ms =
			clock_now_ms() + session_command_timeout(session);
	session_set_deadline(session);
}

void
session_progressed(struct session *session, uint64_t until_ms)
{
	session->data_until_ms = until_ms;
	deadline_at(session, until_ms);
}

/* --- the end --- */

static void
session_end(struct session *session)
{
	struct share *share = session->share;

	ASSERT(session->stream == NULL);
	transaction_cancel(&session->transaction);
	auth_cancel(&session->auth);
	welcome_leave(session);
	citizen_unref(session->citizen);
	front_forget(session);
	list_remove(&session->link);
	generation_unref(session->generation);
	text_done(&session->helo);
	principal_forget(&session->principal);
	text_done(&session->client_name);
	free(session);
	share_session_ended(share);
}

/* With all that was replied. The session is gone: return at once. */
static void
session_close(struct session *session)
{
	if (session->has_quit)
		stream_part(&session->stream);
	else
		stream_finish(&session->stream);
	session_end(session);
}

/* At once, whatever it does. */
static void
session_kill(struct session *session)
{
	stream_close(&session->stream);
	session_end(session);
}

void
session_resume(struct session *session, enum step step)
{
	session->is_waiting = false;
	if (step == STEP_CLOSE)
		session_close(session);
	else
		stream_resume(session->stream);
}

/* --- input --- */

static enum step
read_input(struct session *session)
{
	enum step step = STEP_NEXT;
	bool more_needed = false;

	while (step == STEP_NEXT && !more_needed && !session->is_clogged) {
		struct slice input = stream_input(session->stream);

		if (session->state == SESSION_CHUNK) {
			/* One of no octets needs none. */
			step = intake_chunk(session, &more_needed);
			continue;
		}
		if (input.len == 0)
			break;
		if (session->state == SESSION_DATA)
			step = intake_data(session);
		else if (session->state == SESSION_PROXY)
			step = welcome_proxied(session, &more_needed);
		else if (session->is_skipping_line)
			more_needed = !session_skip_line(session, input);
		else
			step = session_read_line(session, &more_needed);
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
	session->line_ends = LINE_ENDS_UNKNOWN;
	principal_forget(&session->principal);
	welcome_recount(session);
	session_be_patient(session);
	session_enter(session, SESSION_SECURING);
	if (may_have_begun)
		stream_secure_server_begun(session->stream, session->tls);
	else
		stream_secure_server(session->stream, session->tls);
}

/* The one loop that consumes input and the one place that closes on it. */
void
session_pump(struct session *session)
{
	switch (read_input(session)) {
	case STEP_NEXT:
		if (session->is_clogged)
			stream_pause(session->stream);
		return;
	case STEP_WAIT:
		session->is_waiting = true;
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
	certificate_look(session);
	welcome_recount(session);
	session_set_deadline(session);
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

/* The client has read. Where something else is waited for, that goes on by
 * itself; but the octets of a chunk may be all in, and no input come. */
static void
on_drained(struct session *session)
{
	bool was_clogged = session->is_clogged;

	session->is_clogged = false;
	if (was_clogged && !session->is_waiting) {
		stream_resume(session->stream);
		session_pump(session);
	}
}

static void
on_event(void *owner, enum stream_event event)
{
	struct session *session = owner;

	switch (event) {
	case STREAM_CONNECTED:
		break;
	case STREAM_DRAINED:
		on_drained(session);
		break;
	case STREAM_DATA:
		session_pump(session);
		break;
	case STREAM_SECURED:
		on_secured(session);
		break;
	case STREAM_ENDED:
		if (session->transaction != NULL)
			session_gone(session, "the client closed the connection");
		session_close(session);
		break;
	case STREAM_EXPIRED:
		on_expired(session);
		break;
	case STREAM_FAILED:
		session_gone(session, stream_fault(session->stream)->text);
		session_kill(session);
		break;
	}
}

/* False: it is gone. */
static bool
begin(struct session *session)
{
	enum step step;

	authentication_prepare(session);
	step = welcome_client(session);

	if (step == STEP_SECURE)
		secure(session);
	else if (step == STEP_CLOSE)
		session_close(session);
	else
		session_set_deadline(session); /* it is known who he is */
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
	session_be_patient(session);
	if (!stream_accept(share->loop, descriptor, on_event, session,
			   &session->stream, &fault)) {
		log_note(LOG_LEVEL_WARNING, "lost", "%s", fault.text);
		session_end(session);
		return;
	}
	list_add_last(&share->sessions, &session->link);
	stream_bound_output(session->stream, SESSION_OUTPUT_HIGH);
	session->client = *stream_peer(session->stream);
	if (networks_contain(session->listener->proxy_from,
			     session->listener->proxy_from_count,
			     &session->client)) {
		session->state = SESSION_PROXY;
		session_set_deadline(session);
	} else if (!begin(session)) {
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
	case SESSION_MAIL:
	case SESSION_RCPT:
	case SESSION_AUTH:
	case SESSION_AUTHING:
		session_reply(session, &session_reply_closing, SLICE_NONE);
		session_close(session);
		break;
	case SESSION_SECURING:
	case SESSION_PROXY:
		session_kill(session);
		break;
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

void
session_give_up(struct session *session)
{
	if (session->state == SESSION_COMMIT)
		return;
	session_lost(session, "the relay is stopping");
	session_kill(session);
}
