#include "relay/server/terms.h"

#include "relay/net/tls.h"
#include "relay/server/front.h"
#include "relay/server/welcome.h"

static const struct reply reply_no_listener = {
	421, "4.3.2", "This service has been given up: connect again",
	"the listener is in the configuration no more"};
static const struct reply reply_proxy = {
	421, "4.7.0",
	"Connections begin in another way here by now: connect again",
	"the listener's proxy_from is another"};
static const struct reply reply_front = {
	421, "4.7.0",
	"XCLIENT is not for the address any more that said it: connect again",
	"the listener's xclient_from does not name it"};
static const struct reply reply_clear = {
	421, "4.7.0",
	"Nothing is taken without TLS here by now: connect again",
	"the listener has tls = \"implicit\""};
static const struct reply reply_old_tls = {
	421, "4.7.0",
	"The version of TLS in use is too old here by now: connect again",
	"the listener's tls_min"};
static const struct reply reply_clear_login = {
	421, "4.7.0",
	"You have logged in without TLS, which is not allowed here any more: "
	"connect again",
	"the listener's auth_without_tls"};

static bool
is_behind_proxy(const struct session *session)
{
	return networks_contain(session->listener->proxy_from,
				session->listener->proxy_from_count,
				stream_peer(session->stream));
}

static bool
is_front_lost(const struct session *session)
{
	return session->is_fronted &&
	       !networks_contain(session->listener->xclient_from,
				 session->listener->xclient_from_count,
				 &session->front);
}

static bool
is_tls_too_old(const struct session *session)
{
	const struct tls *tls = stream_tls(session->stream);

	return tls != NULL && session->tls != NULL &&
	       !tls_satisfies(tls, session->tls);
}

static bool
has_logged_in_clear(const struct session *session)
{
	enum proof proof = session->principal.proof;

	return principal_has_logged_in(&session->principal) &&
	       (proof == PROOF_PASSWORD || proof == PROOF_DOVECOT) &&
	       !session->is_secured && !session->listener->auth_without_tls;
}

static const struct reply *
ground_lost(const struct session *session)
{
	if (is_behind_proxy(session) != session->is_proxied)
		return &reply_proxy;
	if (is_front_lost(session))
		return &reply_front;
	if (session->listener->tls == LISTENER_TLS_IMPLICIT &&
	    !session->is_secured)
		return &reply_clear;
	if (is_tls_too_old(session))
		return &reply_old_tls;
	return has_logged_in_clear(session) ? &reply_clear_login : NULL;
}

/* Whose address is named no more may still log in. */
static void
judge_address(struct session *session)
{
	bool was_allowed = session->is_allowed || session->is_expelled;

	session->is_allowed = networks_contain(
		session->listener->allow_from,
		session->listener->allow_from_count, &session->client);
	session->is_expelled = was_allowed && !session->is_allowed;
	if (session->is_expelled)
		session_be_patient(session);
	if (session->is_allowed)
		welcome_leave(session);
	else
		welcome_recount(session);
}

bool
terms_allow(const struct session *session)
{
	const struct generation *now = session_now(session);
	const struct listener_options *listener;
	size_t index;

	/* A listener that is gone says nothing of addresses: MAIL gets 421. */
	if (!session->is_allowed || now == session->generation ||
	    !options_find_listener(now->options, session->listener->name,
				   &index))
		return session->is_allowed;
	listener = &now->options->listeners[index];
	return networks_contain(listener->allow_from,
				listener->allow_from_count, &session->client);
}

void
terms_renew(struct session *session)
{
	struct generation *now = session_now(session);
	size_t listener;

	ASSERT(session->transaction == NULL);
	if (now == session->generation)
		return;
	if (!options_find_listener(now->options, session->listener->name,
				   &listener)) {
		session->refusal = &reply_no_listener;
		return;
	}
	generation_ref(now);
	generation_unref(session->generation);
	session->generation = now;
	session->listener = &now->options->listeners[listener];
	session->tls = now->listener_tls[listener];
	judge_address(session);
	if (session->noted != NULL && !front_offers(session, CLAIMS_XFORWARD))
		front_forget(session);
	session->refusal = ground_lost(session);
}
