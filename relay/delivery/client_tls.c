#include <stdio.h>

#include "relay/delivery/client_private.h"

/* Whatever ends it from STARTTLS to the first reply over TLS is laid at TLS's
 * door: hosts that offer it and then just hang up are not rare. */
bool
client_is_securing(const struct client *client)
{
	return client->state == CLIENT_STARTTLS ||
	       client->state == CLIENT_HANDSHAKE ||
	       (client->state == CLIENT_EHLO &&
		stream_tls(client->stream) != NULL);
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

	if (fate.outcome == OUTCOME_NONE && reply->code == 220) {
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
	return client_safe_enough(client);
}

void
handshake_start(struct client *client)
{
	const struct client_settings *settings = &client->settings;

	stream_secure_client(client->stream, settings->tls_context,
			     settings->host->is_name ||
					     settings->tls == TLS_VERIFY
				     ? settings->host->name
				     : SLICE_NONE);
}

void
handshake_done(struct client *client)
{
	const struct tls *tls = stream_tls(client->stream);

	ASSERT(client->state == CLIENT_HANDSHAKE);
	snprintf(client->tls, sizeof(client->tls), "%s %s", tls_version(tls),
		 tls_cipher(tls));
	client_enter(client,
		     client->is_greeted ? CLIENT_EHLO : CLIENT_GREETING);
}
