#include "relay/delivery/client_private.h"

/* A yes that is cut off, or goes on as no reply does, was said all the same
 * (Postfix, too, takes the code that it can read): else each attempt would bring
 * another copy. */
static bool
final_reply_is_yes(struct client *client, struct reply_in *reply)
{
	return !client->transaction.is_foretold &&
	       reply_read_begun(&client->reader, stream_input(client->stream),
				reply) &&
	       outcome_of_reply(STAGE_END_OF_DATA, reply).outcome ==
		       OUTCOME_DELIVERED;
}

/* Once may be chance. A host that always goes here has it each time, or never
 * will: then the others, or doing without TLS, bring that to an end. Where they
 * do not, each time is one more copy: so only at the second attempt, the third,
 * the fifth, the ninth. */
bool
transaction_may_repeat(const struct client *client)
{
	const struct delivery *delivery = client->attempt->delivery;
	unsigned attempts = delivery->recipients[0].attempts;

	return attempts > 0 && (attempts & (attempts - 1)) == 0;
}

/* Behind the last octet, with no whole reply to it. */
static void
abort_behind_data(struct client *client, const struct fate *fate,
		  struct slice words)
{
	struct fate final = *fate;
	struct reply_in reply;
	CLEAN(text_done) struct text said = {0};

	if (final_reply_is_yes(client, &reply)) {
		final = outcome_of_reply(STAGE_END_OF_DATA, &reply);
		outcome_write_reply(&said, &reply);
		client_set_accepted(client, &final, text_slice(&said));
		/* Nothing against the host; but this connection is out of
		 * step. */
		client->end.is_worn = true;
		return;
	}
	if (client->end.is_tls_doubt ||
	    (transaction_may_repeat(client) && client_passes_on(client, fate)))
		return;
	/* Nobody knows whether the peer has it: not to another host at once,
	 * and "the message may be sent twice". */
	final.outcome = OUTCOME_DEFERRED;
	client_set_accepted(client, &final, words);
}

/* The path, or the peer, does not take it: nor would it at once. */
static void
abort_before_end(struct client *client, const struct fate *fate,
		 struct slice words)
{
	struct fate final = *fate;

	if (client->settings.has_other_host)
		return;
	final.outcome = OUTCOME_DEFERRED;
	client_set_accepted(client, &final, words);
}

void
transaction_abort(struct client *client, const struct fate *fate,
		  struct slice words)
{
	if (client->state == CLIENT_BODY && client->is_cut_off)
		abort_before_end(client, fate, words);
	if (client->state == CLIENT_END_OF_DATA &&
	    client->transaction.accepted > 0 && !client->end.is_chunk_trouble)
		abort_behind_data(client, fate, words);
	transaction_take_back(client);
}
