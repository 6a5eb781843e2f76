#include "relay/server/welcome.h"

#include "relay/net/proxy.h"
#include "relay/server/census.h"
#include "relay/server/strangers.h"

static const struct reply reply_too_many = {
	421, "4.7.0",
	"Too many connections from your address at once: close some, or try "
	"again later"};
static const struct reply reply_no_place = {
	421, "4.7.0", "Too many connections, try again later"};
static const struct reply reply_too_fast = {
	421, "4.7.0",
	"Too many connections from your address in a minute: keep one open, or "
	"try again later"};

void
welcome_greet(struct session *session)
{
	static const struct reply hello = {220, NULL, ""};
	CLEAN(text_done) struct text text = {0};

	text_addf(&text, "%.*s ESMTP signet",
		  SLICE_ARG(session_options(session)->hostname));
	session_reply(session, &hello, text_slice(&text));
}

/* Whom a proxy does not name are mostly its own checks of health. */
static bool
is_check_of_health(const struct session *session)
{
	return session->is_proxied && !session->is_fronted &&
	       session->client.any.sa_family == AF_UNSPEC;
}

/* Whoever has said so: the client, a proxy, or a front. */
static bool
has_place(struct session *session)
{
	ASSERT(!session->is_counted_stranger);
	session->is_counted_stranger =
		session_is_stranger(session) &&
		strangers_enter(session->share->strangers,
				session_options(session)->limits.max_sessions);
	return session->is_counted_stranger || !session_is_stranger(session);
}

/* Who the client is, and whether there is room for him. NULL: there is. */
static const struct reply *
let_in(struct session *session)
{
	const struct listener_options *listener = session->listener;
	const struct limits_options *limits = &session_options(session)->limits;

	citizen_unref(session->citizen);
	session->citizen =
		census_find(session->share->census, &session->client);
	session_be_patient(session);
	session->is_expelled = false;
	session->is_allowed = networks_contain(listener->allow_from,
					       listener->allow_from_count,
					       &session->client);
	if (session->is_allowed || is_check_of_health(session))
		return NULL;
	if (!has_place(session)) {
		session_lost(session, "limits.max_sessions");
		return &reply_no_place;
	}
	switch (citizen_enter(session->citizen,
			      (size_t)limits->max_sessions_per_address,
			      limits->max_session_rate)) {
	case CENSUS_IN:
		session->is_counted = true;
		return NULL;
	case CENSUS_FULL:
		session_lost(session, "limits.max_sessions_per_address");
		return &reply_too_many;
	case CENSUS_FAST:
		session_lost(session, "limits.max_session_rate");
		return &reply_too_fast;
	}
	return NULL;
}

static void
no_stranger(struct session *session)
{
	if (session->is_counted_stranger)
		strangers_leave(session->share->strangers);
	session->is_counted_stranger = false;
}

void
welcome_recount(struct session *session)
{
	if (!session_is_stranger(session)) {
		no_stranger(session);
	} else if (!session->is_counted_stranger &&
		   !is_check_of_health(session)) {
		strangers_join(session->share->strangers);
		session->is_counted_stranger = true;
	}
}

void
welcome_leave(struct session *session)
{
	no_stranger(session);
	if (session->is_counted)
		citizen_leave(session->citizen);
	session->is_counted = false;
}

enum step
welcome_client(struct session *session)
{
	bool is_implicit = session->listener->tls == LISTENER_TLS_IMPLICIT;
	const struct reply *refusal = let_in(session);

	if (refusal != NULL) {
		if (!is_implicit)
			session_reply(session, refusal, SLICE_NONE);
		return STEP_CLOSE;
	}
	if (is_implicit)
		return STEP_SECURE;
	if (session->state == SESSION_PROXY)
		session_enter(session, SESSION_START);
	welcome_greet(session);
	return STEP_NEXT;
}

enum step
welcome_again(struct session *session)
{
	const struct reply *refusal = let_in(session);

	if (refusal != NULL) {
		session_reply(session, refusal, SLICE_NONE);
		return STEP_CLOSE;
	}
	welcome_greet(session);
	return STEP_NEXT;
}

enum step
welcome_proxied(struct session *session, bool *more_needed)
{
	struct address client;
	size_t used = 0;

	switch (proxy_parse(stream_input(session->stream), &client, &used)) {
	case PROXY_MORE:
		*more_needed = true;
		return STEP_NEXT;
	case PROXY_CLIENT:
		session->client = client;
		session->is_proxied = true;
		break;
	case PROXY_UNKNOWN:
		/* Nobody, then: what the proxy may do is for itself. */
		session->client = (struct address){0};
		session->is_proxied = true;
		break;
	case PROXY_MALFORMED:
		session_lost(session, "not a header of the PROXY protocol");
		return STEP_CLOSE;
	}
	stream_consume(session->stream, used);
	return welcome_client(session);
}
