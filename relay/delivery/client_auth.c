#include <stdlib.h>

#include "base/log.h"
#include "relay/delivery/client_private.h"

/* RFC 5321 4.5.3.1.4, with CRLF. RFC 4954 4: a first response that would make
 * AUTH longer has to wait for a challenge. */
#define COMMAND_MAX 512

/* Nobody tries a password again so soon: many refusals in a row lock accounts.
 * A reload reads it anew, and forgets. */
#define LOGIN_REFUSED_MS (1 * MINUTE)

static enum client_state
no_auth(struct client *client, const char *detail)
{
	return client_end_trouble(client, TROUBLE_NO_AUTH, SLICE(detail));
}

static size_t
command_len(const struct client *client)
{
	return strlen("AUTH ") + strlen(sasl_name(client->sasl)) + 1 +
	       client->response.len + strlen("\r\n");
}

enum client_state
auth_begin(struct client *client)
{
	const struct login *login = client->settings.login;
	struct fault fault;

	/* route_find() sees to it; a password in clear is worse than a crash. */
	ASSERT(stream_tls(client->stream) != NULL || login->may_be_clear);
	if (host_is_before(&login->refused_until_ms)) {
		client->end.is_of_login = true;
		return no_auth(client, "the password was refused a moment ago, "
				       "as the log says; correct it and reload");
	}
	if (!sasl_open(client->mechanisms, login->user, login->password,
		       &client->sasl, &fault) ||
	    (sasl_begins(client->sasl) &&
	     !sasl_respond(client->sasl, SLICE_NONE, &client->response,
			   &fault)))
		return no_auth(client, fault.text);
	return CLIENT_AUTH;
}

void
auth_send(struct client *client)
{
	CLEAN(secret_cleanse) struct text line = {0};

	text_room(&line, COMMAND_MAX + client->response.len);
	if (client->has_said_auth) {
		text_add(&line, text_slice(&client->response));
		secret_cleanse(&client->response);
	} else {
		client->has_said_auth = true;
		text_addf(&line, "AUTH %s", sasl_name(client->sasl));
		if (client->response.len > 0 &&
		    command_len(client) <= COMMAND_MAX) {
			text_add_byte(&line, ' ');
			text_add(&line, text_slice(&client->response));
			secret_cleanse(&client->response);
		}
	}
	text_add_string(&line, "\r\n");
	stream_write(client->stream, text_slice(&line));
}

static enum client_state
challenged(struct client *client, const struct reply_in *reply)
{
	struct fault fault;

	/* What was too long to stand behind AUTH waits for an empty one. */
	if (client->response.len > 0)
		return slice_trim(reply->text).len == 0
			       ? CLIENT_AUTH
			       : no_auth(client, "a challenge where the peer "
						 "has to listen first");
	if (sasl_takes_long(client->sasl)) {
		text_clear(&client->challenge);
		text_add(&client->challenge, reply->text);
		return CLIENT_PROVING;
	}
	if (!sasl_respond(client->sasl, reply->text, &client->response, &fault))
		return no_auth(client, fault.text);
	return CLIENT_AUTH;
}

/*
 * A response that is made elsewhere. Nobody else uses libuv's threads, and no
 * connection has more than one proof under way. It outlives the client where
 * that goes first.
 */
struct auth_proof {
	uv_work_t work;
	struct client *client; /* NULL: nobody waits for it any more */
	struct sasl *sasl;
	struct text challenge, response;
	struct fault fault;
	bool is_made;
};

static void
proof_free(struct auth_proof *proof)
{
	sasl_close(&proof->sasl);
	text_done(&proof->challenge);
	secret_cleanse(&proof->response);
	free(proof);
}

static void
proof_make(uv_work_t *work)
{
	struct auth_proof *proof = CONTAINER(work, struct auth_proof, work);

	proof->is_made = sasl_respond(proof->sasl,
				      text_slice(&proof->challenge),
				      &proof->response, &proof->fault);
}

static void
on_proof(uv_work_t *work, int status)
{
	struct auth_proof *proof = CONTAINER(work, struct auth_proof, work);
	struct client *client = proof->client;
	enum client_state state = CLIENT_AUTH;

	ASSERT(status == 0); /* nobody cancels it */
	if (client != NULL) {
		client->proof = NULL;
		client->sasl = TAKE(proof->sasl);
		client->response = proof->response;
		proof->response = (struct text){0};
		if (!proof->is_made)
			state = no_auth(client, proof->fault.text);
		client_enter(client, state);
		client_settle(client);
	}
	proof_free(proof);
}

void
prove_send(struct client *client)
{
	struct auth_proof *proof = memory_new(sizeof(*proof));

	ASSERT(client->proof == NULL);
	proof->client = client;
	proof->sasl = TAKE(client->sasl);
	proof->challenge = client->challenge;
	client->challenge = (struct text){0};
	client->proof = proof;
	ASSERT(uv_queue_work(&client->settings.loop->uv, &proof->work,
			     proof_make, on_proof) == 0);
}

/* The administrator has to know, and nobody else can help: no other host of the
 * route will like the password better. */
static void
refusal_note(struct client *client, const struct reply_in *reply)
{
	struct login *login = client->settings.login;
	CLEAN(text_done) struct text words = {0};

	outcome_write_reply(&words, reply);
	host_note(&login->refused_until_ms, LOGIN_REFUSED_MS);
	client->end.is_of_login = true;
	log_note(LOG_LEVEL_WARNING, "login",
		 "%s (%s) refuses the user '%.*s' (%s): %.*s; correct auth_user "
		 "or its password file, and reload",
		 text_string(&client->host_name), client->address,
		 SLICE_ARG(login->user), sasl_name(client->sasl),
		 SLICE_ARG(text_slice(&words)));
}

/* RFC 4954 4, 6: the mechanism is refused, which says nothing of the password:
 * 504 and 5.5.4 (not recognised), 534 and 5.7.9 (too weak). Behind 535 the
 * password was wrong, whatever else the peer says, and is not shown again. */
static bool
is_of_mechanism(const struct reply_in *reply)
{
	struct slice status = outcome_find_status(reply->text);

	if (reply->code / 100 != 5 || reply->code == 535)
		return false;
	return reply->code == 504 || reply->code == 534 ||
	       slice_eq(status, SLICE("5.5.4")) ||
	       slice_eq(status, SLICE("5.7.9"));
}

/* Without the one that was refused; false: there is no other. */
static bool
mechanism_drop(struct client *client)
{
	client->mechanisms &= ~sasl_mechanism(SLICE(sasl_name(client->sasl)));
	if (client->mechanisms == 0)
		return false;
	auth_done(client);
	client->has_said_auth = false;
	return true;
}

enum client_state
auth_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_reply(STAGE_AUTH, reply);

	if (reply->code == 334)
		return challenged(client, reply);
	if (reply->code / 100 == 2 && sasl_is_complete(client->sasl)) {
		auth_done(client);
		return CLIENT_IDLE;
	}
	if (reply->code / 100 == 2)
		return no_auth(client, "the peer lets us in without having "
				       "proven that it knows the password");
	if (fate.outcome == OUTCOME_NONE)
		return client_end_trouble(client, TROUBLE_BROKEN_REPLY,
					  SLICE_NONE);
	if (is_of_mechanism(reply) && mechanism_drop(client))
		return auth_begin(client);
	if (reply->code / 100 == 5)
		refusal_note(client, reply);
	return client_end_reply(client, &fate, reply);
}

void
auth_done(struct client *client)
{
	if (client->proof != NULL)
		client->proof->client = NULL;
	client->proof = NULL;
	text_done(&client->challenge);
	sasl_close(&client->sasl);
	secret_cleanse(&client->response);
}
