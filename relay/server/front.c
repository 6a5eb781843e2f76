#include "relay/server/front.h"

#include <stdlib.h>

#include "base/log.h"
#include "relay/server/welcome.h"

/* What the session keeps of XFORWARD. */
struct noted {
	struct arena arena;
	struct claims claims;
};

static const struct reply reply_ok = {250, "2.0.0", "Ok"};
static const struct reply reply_no_xclient = {
	550, "5.7.0",
	"XCLIENT is not for your address",
	"the listener's xclient_from has to name it"};
static const struct reply reply_no_xforward = {
	550, "5.7.0",
	"XFORWARD is not for your address",
	"the listener's xforward_from has to name it"};
static const struct reply reply_bad_proto = {
	501, "5.5.4", "PROTO is SMTP or ESMTP"};

bool
front_offers(const struct session *session, enum claims_command command)
{
	const struct listener_options *listener = session->listener;

	return command == CLAIMS_XCLIENT
		       ? networks_contain(listener->xclient_from,
					  listener->xclient_from_count,
					  &session->client)
		       : networks_contain(listener->xforward_from,
					  listener->xforward_from_count,
					  &session->client);
}

const struct claims *
front_noted(const struct session *session)
{
	return session->noted != NULL ? &session->noted->claims : NULL;
}

const struct reply *
front_check(const struct session *session, enum claims_command command,
	    struct slice args, struct arena *arena, struct claims *claims_out)
{
	const struct reply *refusal;

	if (!front_offers(session, command))
		return command == CLAIMS_XCLIENT ? &reply_no_xclient
						 : &reply_no_xforward;
	if (command == CLAIMS_XFORWARD && session->noted != NULL)
		*claims_out = session->noted->claims;
	refusal = claims_parse(command, args, arena, claims_out);
	if (refusal == NULL && command == CLAIMS_XCLIENT &&
	    claims_out->proto.len > 0 &&
	    !slice_eq_nocase(claims_out->proto, SLICE("SMTP")) &&
	    !slice_eq_nocase(claims_out->proto, SLICE("ESMTP")))
		refusal = &reply_bad_proto;
	return refusal;
}

static void
log_replaced(const struct session *session, const struct address *front)
{
	char client[ADDRESS_TEXT_SIZE], by[ADDRESS_TEXT_SIZE];
	struct log line;

	address_write_host(&session->client, client);
	address_write_host(front, by);
	log_begin(&line, LOG_LEVEL_INFO, "xclient");
	log_text(&line, "listener", session->listener->name);
	log_string(&line, "client", client);
	log_text(&line, "name", text_slice(&session->client_name));
	log_text(&line, "helo", text_slice(&session->helo));
	log_text(&line, "user", text_slice(&session->principal.user));
	log_string(&line, "by", by);
	log_send(&line);
}

static void
replace_text(struct text *text, struct slice by)
{
	text_clear(text);
	text_add(text, by);
}

/* Also where users are not asked to log in here. */
static void
believe_login(struct session *session, const struct address *front,
	      struct slice login)
{
	size_t listener = (size_t)(session->listener -
				   session_options(session)->listeners);

	principal_forget(&session->principal);
	if (login.len > 0)
		principal_set_by_front(&session->principal, session->generation,
				       listener, front, login);
}

/* As Postfix has it: address and name stay unless they are given, what the
 * client says of itself does not. */
enum step
front_replace(struct session *session, const struct claims *claims)
{
	struct address front = session->client;

	session_reset(session);
	if (!session->is_fronted)
		session->front = front;
	session->is_fronted = true;
	session->conduct = (struct conduct){0};
	welcome_leave(session);
	if ((claims->given & CLAIM_ADDR) != 0)
		session->client = claims->address;
	if ((claims->given & CLAIM_PORT) != 0)
		address_set_port(&session->client, claims->port);
	if ((claims->given & (CLAIM_ADDR | CLAIM_NAME)) != 0)
		replace_text(&session->client_name, claims->name);
	replace_text(&session->helo, claims->helo);
	session->is_esmtp = slice_eq_nocase(claims->proto, SLICE("ESMTP"));
	believe_login(session, &front, claims->login);
	log_replaced(session, &front);
	if (claims->helo.len > 0 && session->state == SESSION_START)
		session_enter(session, SESSION_READY);
	else if (claims->helo.len == 0 && session->state == SESSION_READY)
		session_enter(session, SESSION_START);
	return welcome_again(session);
}

enum step
front_note(struct session *session, const struct claims *claims)
{
	struct noted *noted = memory_new(sizeof(*noted));

	/* Some of it may lie in what was noted before. */
	claims_copy(claims, &noted->arena, &noted->claims);
	front_forget(session);
	session->noted = noted;
	return session_reply(session, &reply_ok, SLICE_NONE);
}

void
front_forget(struct session *session)
{
	struct noted *noted = TAKE(session->noted);

	if (noted == NULL)
		return;
	arena_done(&noted->arena);
	free(noted);
}
