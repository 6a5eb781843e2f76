#include "relay/server/authentication.h"

#include "base/base64.h"
#include "base/log.h"
#include "relay/server/auth.h"
#include "relay/server/offenders.h"
#include "relay/server/welcome.h"

static const struct reply reply_in = {235, "2.7.0",
				      "Authentication successful"};
static const struct reply reply_not_offered = {
	502, "5.5.1",
	"AUTH is not offered to you here",
	"the listener's options auth, auth_file and auth_dovecot"};
static const struct reply reply_no_tls = {
	538, "5.7.11", "Encryption is required first: STARTTLS"};
static const struct reply reply_is_in = {503, "5.5.1",
					 "You have logged in already"};
static const struct reply reply_syntax = {
	501, "5.5.4", "Syntax: AUTH mechanism [initial response in base64]"};
static const struct reply reply_mechanism = {
	504, "5.5.4", "The mechanism is not offered here: EHLO lists those that are"};
static const struct reply reply_not_base64 = {501, "5.5.2",
					      "The response is not base64"};
static const struct reply reply_cancelled = {501, "5.7.0",
					     "Authentication cancelled"};
static const struct reply reply_malformed = {
	501, "5.5.2", "The response does not fit the mechanism"};
static const struct reply reply_wrong = {535, "5.7.8",
					 "User name or password is wrong"};
static const struct reply reply_wait = {
	454, "4.7.0",
	"Too many failed logins from your address, try again later"};
static const struct reply reply_trouble = {
	454, "4.7.0", "Temporary authentication failure, try again later"};

/* The session's listener as it is now; false: nobody may log in there. */
static bool
listener_now(const struct session *session, size_t *index_out)
{
	const struct generation *now = session_now(session);

	return options_find_listener(now->options, session->listener->name,
				     index_out) &&
	       now->options->listeners[*index_out].auth != AUTH_NONE;
}

/* Where passwords may be said. */
static bool
is_private(const struct session *session, size_t listener)
{
	return session->is_secured || session_now(session)
					      ->options->listeners[listener]
					      .auth_without_tls;
}

/* By its certificate the client is somebody, and may say so. */
static bool
is_certified(const struct session *session)
{
	const struct principal *principal = &session->principal;

	return principal_is_known(principal) &&
	       principal->proof == PROOF_CERTIFICATE &&
	       principal_holds(principal, session_now(session));
}

/* Who is asked for the listener's users; NULL: nobody. */
static struct dovecot *
dovecot_of(const struct session *session, size_t listener)
{
	struct slice path = session_now(session)
				    ->options->listeners[listener]
				    .auth_dovecot;

	return path.len > 0 ? share_dovecot(session->share, path) : NULL;
}

void
authentication_prepare(const struct session *session)
{
	size_t listener;

	if (listener_now(session, &listener))
		(void)dovecot_of(session, listener);
}

/* "EXTERNAL PLAIN LOGIN": what the client may log in by, now. */
static void
mechanisms_write(const struct session *session, size_t listener,
		 struct text *out)
{
	const struct users *users =
		session_now(session)->listener_users[listener];
	const struct dovecot *dovecot = dovecot_of(session, listener);

	if (is_certified(session))
		text_add_string(out, SASL_EXTERNAL);
	if ((users == NULL && dovecot == NULL) ||
	    !is_private(session, listener))
		return;
	if (out->len > 0)
		text_add_byte(out, ' ');
	if (dovecot != NULL)
		dovecot_mechanisms(dovecot, out);
	else
		text_add_string(out, sasl_server_mechanisms(users));
}

void
authentication_offer(const struct session *session, struct text *out)
{
	size_t listener;

	if (listener_now(session, &listener) &&
	    !principal_has_logged_in(&session->principal))
		mechanisms_write(session, listener, out);
}

static bool
has_word(struct slice words, struct slice wanted)
{
	struct slice word;

	while (slice_split(&words, ' ', &word))
		if (slice_eq_nocase(word, wanted))
			return true;
	return false;
}

/* Whether AUTH can be said at all. */
static const struct reply *
place_check(const struct session *session, struct text *mechanisms)
{
	size_t listener;

	if (!listener_now(session, &listener))
		return &reply_not_offered;
	mechanisms_write(session, listener, mechanisms);
	if (mechanisms->len == 0)
		return is_private(session, listener) ? &reply_not_offered
						     : &reply_no_tls;
	return principal_has_logged_in(&session->principal) ? &reply_is_in
							    : NULL;
}

static bool
address_waits(const struct session *session)
{
	return offenders_wait_ms(session->share->offenders, &session->client,
				 SLICE_NONE) > 0;
}

const struct reply *
authentication_check(const struct session *session, struct slice args,
		     struct slice *mechanism_out, struct slice *initial_out)
{
	CLEAN(text_done) struct text mechanisms = {0};
	const struct reply *refusal = place_check(session, &mechanisms);
	struct slice rest = args;

	if (refusal != NULL)
		return refusal;
	*initial_out = SLICE_NONE;
	if (!slice_split(&rest, ' ', mechanism_out) || mechanism_out->len == 0)
		return &reply_syntax;
	if (rest.len > 0)
		*initial_out = rest;
	if (!has_word(text_slice(&mechanisms), *mechanism_out))
		return &reply_mechanism;
	if (address_waits(session))
		return &reply_wait;
	return NULL;
}

/* --- the verdict --- */

/* Neither password nor response: only the name, and only where the mechanism
 * gave one. */
static void
log_auth(const struct session *session, const struct reply *reply)
{
	char client[ADDRESS_TEXT_SIZE];
	struct log line;

	address_write_host(&session->client, client);
	log_begin(&line, LOG_LEVEL_INFO,
		  reply->code == 235 ? "authenticated" : "not-authenticated");
	log_text(&line, "listener", session->listener->name);
	log_string(&line, "client", client);
	log_text(&line, "user", auth_user(session->auth));
	log_text(&line, "mechanism", auth_mechanism(session->auth));
	log_string(&line, "tls", session->is_secured ? "yes" : "no");
	log_string(&line, "reason", reply->text);
	log_send(&line);
}

static enum step
verdict_say(struct session *session, const struct reply *reply)
{
	log_auth(session, reply);
	auth_cancel(&session->auth);
	session_enter(session, SESSION_READY);
	return reply->code == 235 ? session_reply(session, reply, SLICE_NONE)
				  : session_refuse(session, reply, SLICE_NONE);
}

/* With this name, or from here, too much was tried: nothing is said of one more
 * password, not even of the right one. */
static bool
login_waits(const struct session *session)
{
	return offenders_wait_ms(session->share->offenders, &session->client,
				 auth_user(session->auth)) > 0;
}

static enum step
refused(struct session *session)
{
	struct offenders *offenders = session->share->offenders;
	struct slice name = auth_user(session->auth);
	bool waits = login_waits(session);

	/* What waits is told nothing, and costs nothing. */
	if (!waits)
		offenders_failed(offenders, &session->client, name);
	return verdict_say(session, waits ? &reply_wait : &reply_wrong);
}

static enum step
let_in(struct session *session)
{
	struct offenders *offenders = session->share->offenders;
	struct slice user = auth_user(session->auth);
	struct slice given = auth_user_given(session->auth);

	if (login_waits(session))
		return verdict_say(session, &reply_wait);
	offenders_succeeded(offenders, &session->client, user);
	if (!slice_eq(given, user))
		offenders_note_regular(offenders, &session->client, given);
	auth_set_principal(session->auth, &session->principal);
	welcome_recount(session);
	return verdict_say(session, &reply_in);
}

static enum step
challenge_say(struct session *session, struct slice challenge)
{
	static const struct reply asks = {334, NULL, ""};

	session_enter(session, SESSION_AUTH);
	return session_reply(session, &asks, challenge);
}

static void
on_answered(void *owner, enum sasl_verdict verdict, struct slice challenge)
{
	struct session *session = owner;
	enum step step = STEP_CLOSE;

	switch (verdict) {
	case SASL_CHALLENGE:
		step = challenge_say(session, challenge);
		break;
	case SASL_IN:
		step = let_in(session);
		break;
	case SASL_REFUSED:
		step = refused(session);
		break;
	case SASL_MALFORMED:
		step = verdict_say(session, &reply_malformed);
		break;
	case SASL_TROUBLE:
		step = verdict_say(session, login_waits(session)
						    ? &reply_wait
						    : &reply_trouble);
		break;
	}
	session_resume(session, step);
}

/* --- the client's side --- */

/* Either the answer is awaited, or the client's next word. */
static enum step
go_on(struct session *session)
{
	struct slice prompt;

	if (auth_prompts(session->auth, &prompt))
		return challenge_say(session, prompt);
	session_enter(session, SESSION_AUTHING);
	return STEP_WAIT;
}

/* "=" stands for an empty initial response (RFC 4954 4). */
static bool
initial_read(struct slice initial, struct text *out)
{
	return slice_eq(initial, SLICE("=")) || base64_read(out, initial);
}

static const struct reply *
failure_reply(const struct fault *fault)
{
	if (fault->kind == FAULT_DENIED)
		return &reply_wait;
	log_note(LOG_LEVEL_WARNING, "not-authenticated", "%s", fault->text);
	return &reply_trouble;
}

enum step
authentication_begin(struct session *session, struct slice mechanism,
		     struct slice initial)
{
	CLEAN(secret_cleanse) struct text response = {0};
	struct auth_setup setup = {
		.loop = session->loop,
		.worker = session->share->logins,
		.offenders = session->share->offenders,
		.address = &session->client,
		.generation = session_now(session),
		.mechanism = mechanism,
		.certified = &session->principal,
		.is_secured = session->is_secured,
		.answered = on_answered,
		.owner = session,
	};
	struct fault fault;

	ASSERT(listener_now(session, &setup.listener));
	setup.dovecot = dovecot_of(session, setup.listener);
	if (session->client.any.sa_family == AF_INET ||
	    session->client.any.sa_family == AF_INET6)
		setup.client = &session->client;
	if (!initial_read(initial, &response))
		return session_refuse(session, &reply_not_base64, SLICE_NONE);
	if (!auth_start(&setup, initial.len > 0, text_slice(&response),
			&session->auth, &fault))
		return session_refuse(session, failure_reply(&fault),
				      SLICE_NONE);
	return go_on(session);
}

enum step
authentication_respond(struct session *session, struct slice line)
{
	CLEAN(secret_cleanse) struct text response = {0};
	struct fault fault;

	if (slice_eq(line, SLICE("*")))
		return verdict_say(session, &reply_cancelled);
	if (!base64_read(&response, line))
		return verdict_say(session, &reply_not_base64);
	if (!auth_respond(session->auth, text_slice(&response), &fault))
		return verdict_say(session, failure_reply(&fault));
	return go_on(session);
}
