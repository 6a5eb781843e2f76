#include <stdio.h>

#include "relay/delivery/client_private.h"

/* Whatever ends it from STARTTLS to the first reply over TLS is laid at TLS's
 * door: hosts that offer it and then just hang up are not rare. Not that reply
 * itself, but where it leads to HELO: some know of one EHLO in a connection. */
bool
client_is_securing(const struct client *client)
{
	return client->state == CLIENT_STARTTLS ||
	       client->state == CLIENT_HANDSHAKE ||
	       (client->state == CLIENT_HELO &&
		stream_tls(client->stream) != NULL) ||
	       (client->state == CLIENT_EHLO && !client->has_read_tls &&
		stream_tls(client->stream) != NULL);
}

/* Behind the first reply a loss has other reasons, more often than not. Where
 * the message has been tried before, and no other host is left to be asked over
 * TLS, that may be it: Postfix, too, gives it up then. But not because the peer
 * has closed what was kept for the message, nor at the price of a password in
 * clear, whether or not that is allowed. */
bool
client_doubts_tls(const struct client *client)
{
	return client->settings.tls == TLS_OPPORTUNISTIC &&
	       client->settings.login == NULL &&
	       stream_tls(client->stream) != NULL && client->attempt != NULL &&
	       client->attempt->delivery->last_attempt_ms > 0 &&
	       (client->state != CLIENT_END_OF_DATA ||
		transaction_may_repeat(client)) &&
	       !client->settings.has_other_host &&
	       (client->has_answered || client->carried == 0) &&
	       !client_is_between(client);
}

void
starttls_send(struct client *client)
{
	client_command(client, "STARTTLS", SLICE_NONE);
}

enum client_state
starttls_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_reply(STAGE_STARTTLS, reply);

	/* RFC 3207 4: 220 is the only yes. */
	if (fate.outcome == OUTCOME_NONE && reply->code != 220)
		return client_end_trouble(client, TROUBLE_BROKEN_REPLY,
					  SLICE_NONE);
	if (fate.outcome == OUTCOME_NONE) {
		/* Bytes behind the reply were not said by whom we are about to
		 * talk to securely. */
		if (stream_input(client->stream).len == 0)
			return CLIENT_HANDSHAKE;
		return client_end_trouble(client, TROUBLE_TLS_FAILED,
					  SLICE("bytes behind the reply to "
						"STARTTLS"));
	}
	if (reply->code == 421 || client->settings.tls != TLS_OPPORTUNISTIC)
		return client_end_reply(client, &fate, reply);
	/* Refused: in clear, on this connection. */
	client->leaves_tls_out = true;
	return client_safe_enough(client);
}

/* RFC 3207 4: 530 "Must issue a STARTTLS command first". */
bool
client_misses_tls(const struct client *client, const struct reply_in *reply)
{
	return client->leaves_tls_out && reply->code == 530 &&
	       (reply->status.len == 0 ||
		slice_starts(reply->status, SLICE("5.7.")));
}

/* Who offers TLS that does not work, and takes no mail without it, will mend
 * it: no reason to send the message back. */
enum client_state
client_end_for_tls(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_trouble(TROUBLE_TLS_FAILED);

	client->end.wants_tls = true;
	return client_end_reply(client, &fate, reply);
}

/* --- the handshake --- */

/* What RFC 7435 asks for: where the alternative is clear text, weak encryption
 * is better than none. Where it is not, TLS 1.0 and 1.1 (RFC 8996) are not
 * worth waiting for; but any certificate includes one of 1024 bits, and that is
 * level 1. To verify is as strict as the system is. */
static enum tls_protocol
least_protocol(enum tls_policy policy, const struct tls_terms *terms)
{
	switch (terms->min) {
	case TLS_MIN_AUTO:
		break;
	case TLS_MIN_1_0:
		return TLS_1_0;
	case TLS_MIN_1_1:
		return TLS_1_1;
	case TLS_MIN_1_2:
		return TLS_1_2;
	case TLS_MIN_1_3:
		return TLS_1_3;
	}
	return policy == TLS_OPPORTUNISTIC ? TLS_1_0 : TLS_1_2;
}

static int
security_level(const struct client_settings *settings)
{
	if (settings->tls == TLS_OPPORTUNISTIC ||
	    least_protocol(settings->tls, &settings->terms) < TLS_1_2)
		return 0;
	return settings->tls == TLS_VERIFY ? -1 : 1;
}

/* The level of security follows from these. */
uint64_t
client_tls_terms(enum tls_policy policy, const struct tls_terms *terms)
{
	return (uint64_t)policy << 4 | (uint64_t)least_protocol(policy, terms);
}

/* All that must not differ between the connection that a session comes from and
 * the one that resumes it. A reload has a context of its own, and with it,
 * maybe, other certificates that are trusted. */
static void
session_key(const struct client *client, struct text *key)
{
	const struct client_settings *settings = &client->settings;
	const struct tls_terms *terms = &settings->terms;

	text_addf(key, "%llu %u %u %s ",
		  (unsigned long long)tls_context_number(settings->tls_context),
		  settings->tls, least_protocol(settings->tls, terms),
		  client->address);
	text_add(key, text_slice(&client->host_name));
	for (size_t i = 0; i < terms->names_count; i++) {
		text_add_byte(key, ' ');
		text_add(key, terms->names[i]);
	}
}

void
handshake_start(struct client *client)
{
	const struct client_settings *settings = &client->settings;
	CLEAN(tls_session_cleanse) struct text session = {0};
	CLEAN(text_done) struct text key = {0};

	session_key(client, &key);
	(void)peers_take_session(settings->peers, text_slice(&key), &session);
	stream_secure_client(
		client->stream,
		&(struct tls_client){
			.context = settings->tls_context,
			.server_name = text_slice(&client->host_name),
			.names = settings->terms.names,
			.names_count = settings->terms.names_count,
			.min = least_protocol(settings->tls, &settings->terms),
			.security_level = security_level(settings),
			.has_to_verify = settings->tls == TLS_VERIFY,
			.takes_old = settings->tls == TLS_OPPORTUNISTIC,
			.session = text_slice(&session)});
}

void
handshake_done(struct client *client)
{
	const struct tls *tls = stream_tls(client->stream);

	ASSERT(client->state == CLIENT_HANDSHAKE);
	snprintf(client->tls, sizeof(client->tls), "%s %s", tls_version(tls),
		 tls_cipher(tls));
	client->certificate = tls_certificate(tls);
	client->is_resumed = tls_is_resumed(tls);
	client_enter(client,
		     client->is_greeted ? CLIENT_EHLO : CLIENT_GREETING);
}

void
sessions_keep(struct client *client)
{
	CLEAN(text_done) struct text key = {0};
	struct text session = {0};

	if (client->stream == NULL || stream_tls(client->stream) == NULL ||
	    client->settings.tls_context == NULL)
		return;
	session_key(client, &key);
	while (stream_take_session(client->stream, &session)) {
		peers_keep_session(client->settings.peers, text_slice(&key),
				   text_slice(&session));
		tls_session_cleanse(&session);
	}
}
