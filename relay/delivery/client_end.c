#include <errno.h>

#include "relay/delivery/client_private.h"

static enum client_state
end_with(struct client *client, const struct fate *fate)
{
	struct client_end *end = &client->end;

	end->was_ready = client->was_ready;
	end->has_answered = client->has_answered;
	end->is_idle_end = client->state == CLIENT_IDLE ||
			   client->state == CLIENT_QUIT;
	end->is_tls_trouble = client_is_securing(client);
	/* Hosts that have had enough of bad recipients say so at RSET; and who
	 * has nothing to do while we convert may hang up. */
	end->is_of_message = client->is_of_message ||
			     client->state == CLIENT_CONVERTING ||
			     (client->state == CLIENT_RSET &&
			      attempt_is_complete(client->attempt));
	client_result(client, fate, text_slice(&client->end_words),
		      &end->result);
	memcpy(client->end_status, fate->status, sizeof(client->end_status));
	end->result.status = SLICE(client->end_status);
	/* Who was not spoken of is only deferred. */
	end->result.outcome = OUTCOME_DEFERRED;
	if (client->end_status[0] != '\0')
		client->end_status[0] = '4';
	if (client_is_carrying(client))
		transaction_abort(client, fate,
				  text_slice(&client->end_words));
	return CLIENT_OVER;
}

enum client_state
client_end_reply(struct client *client, const struct fate *fate,
		 const struct reply_in *reply)
{
	text_clear(&client->end_words);
	outcome_write_reply(&client->end_words, reply);
	if (reply->code != 421 && client->state != CLIENT_IDLE &&
	    (client->state <= CLIENT_MAIL ||
	     (client->end.is_passing && client->state != CLIENT_BODY &&
	      client->state != CLIENT_QUIT)) &&
	    !client->transaction.is_ahead)
		client_command(client, "QUIT", SLICE_NONE);
	return end_with(client, fate);
}

enum client_state
client_end_trouble(struct client *client, enum outcome_trouble trouble,
		   struct slice detail)
{
	struct fate fate = outcome_of_trouble(trouble);

	if (trouble == TROUBLE_CONNECTION_LOST) {
		client->end.is_worn = client_is_between(client);
		client->end.is_tls_doubt = client_doubts_tls(client);
	}
	text_clear(&client->end_words);
	text_add_string(&client->end_words, fate.words);
	if (client->state != CLIENT_CONNECTING &&
	    client->state != CLIENT_IDLE && trouble != TROUBLE_NO_TLS)
		text_addf(&client->end_words, " while %s",
			  client_doing(client));
	if (detail.len > 0)
		text_addf(&client->end_words, " (%.*s)", SLICE_ARG(detail));
	return end_with(client, &fate);
}

enum client_state
client_end_worn(struct client *client)
{
	struct fate fate = outcome_of_trouble(TROUBLE_CONNECTION_LOST);

	text_clear(&client->end_words);
	text_add_string(&client->end_words,
			"the peer takes no more messages on one connection");
	client->end.is_worn = true;
	client_command(client, "QUIT", SLICE_NONE);
	return end_with(client, &fate);
}

enum client_state
client_end_sent_away(struct client *client, const struct fate *fate,
		     const struct reply_in *reply)
{
	client->end.is_sent_away = true;
	transaction_take_back(client);
	return client_end_reply(client, fate, reply);
}

/* What every other host would meet with, too. */
static bool
fault_is_local(const struct fault *fault)
{
	return fault->system == EMFILE || fault->system == ENFILE ||
	       fault->system == ENOBUFS || fault->system == ENOMEM;
}

/* Nothing leads there, or nothing leads back. EADDRNOTAVAIL: there is no address
 * of ours to go there from, as where IPv6 is switched off, or no port left; to
 * another host there may be. */
static bool
fault_is_of_way(const struct fault *fault)
{
	return fault->system == EADDRNOTAVAIL ||
	       fault->system == ENETUNREACH || fault->system == EHOSTUNREACH ||
	       fault->system == ETIMEDOUT || fault->system == EACCES;
}

void
client_failed(struct client *client)
{
	const struct fault *fault = stream_fault(client->stream);
	enum outcome_trouble trouble = TROUBLE_CONNECTION_LOST;

	if (client->state == CLIENT_CONNECTING && fault_is_local(fault)) {
		trouble = TROUBLE_LOCAL;
		client->end.is_local = true;
	} else if (client->state == CLIENT_CONNECTING) {
		trouble = TROUBLE_NO_CONNECTION;
		client->end.is_unreached = fault_is_of_way(fault);
	} else if (client->state == CLIENT_HANDSHAKE) {
		trouble = fault->kind == FAULT_UNTRUSTED
				  ? TROUBLE_TLS_UNTRUSTED
				  : TROUBLE_TLS_FAILED;
	}
	client_enter(client, client_end_trouble(client, trouble,
						SLICE(fault->text)));
}
