#include <stdlib.h>

#include "milter/idn.h"
#include "relay/delivery/client_private.h"
#include "relay/queue/dsn.h"

/* --- results --- */

static void
recipient_set(struct client *client, unsigned i, const struct fate *fate,
	      struct slice words)
{
	struct recipient_result result;

	client_result(client, fate, words, &result);
	attempt_set(client->attempt, i, &result);
	client->attempt->accepted[i] = false;
}

void
client_set_accepted(struct client *client, const struct fate *fate,
			 struct slice words)
{
	struct transaction *transaction = &client->transaction;

	for (unsigned i = 0; i < transaction->count; i++) {
		unsigned recipient = transaction->recipients[i];

		if (client->attempt->accepted[recipient])
			recipient_set(client, recipient, fate, words);
	}
	transaction->accepted = 0;
}

void
client_set_message(struct client *client, const struct fate *fate,
			struct slice words)
{
	struct recipient_result result;

	client_result(client, fate, words, &result);
	attempt_fill(client->attempt, &result);
	client->transaction.accepted = 0;
}

static void
message_set_reply(struct client *client, const struct fate *fate,
		  const struct reply_in *reply)
{
	CLEAN(text_done) struct text words = {0};

	outcome_write_reply(&words, reply);
	client_set_message(client, fate, text_slice(&words));
}

/* --- before: is there a point in it? --- */

static bool
path_is_clean(struct slice path)
{
	for (size_t i = 0; i < path.len; i++)
		if ((unsigned char)path.bytes[i] < 0x20 ||
		    path.bytes[i] == 0x7f)
			return false;
	return true;
}

/* The session lets none of these in; a damaged record must not either: what
 * follows a line end would be a command of its own. */
static bool
message_is_clean(const struct attempt *attempt)
{
	const struct delivery *delivery = attempt->delivery;
	const struct message *message = delivery->message;

	if (!path_is_clean(message->reverse_path) ||
	    !path_is_clean(message->envid))
		return false;
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct recipient *rcpt =
			&message->recipients[delivery->recipients[i].index];

		if (!path_is_clean(rcpt->address) ||
		    !path_is_clean(rcpt->orcpt))
			return false;
	}
	return true;
}

/* --- addresses outside ASCII: RFC 6531 --- */

/* The address as a host without SMTPUTF8 knows it: its domain in A-labels.
 * False: its local part is outside ASCII. */
static bool
address_write_ascii(struct text *out, struct slice address)
{
	CLEAN(arena_done) struct arena arena = {0};
	ptrdiff_t at = slice_find_last(address, '@');
	struct slice local, domain;

	if (slice_is_ascii(address)) {
		text_add(out, address);
		return true;
	}
	local = slice_sub(address, 0, at < 0 ? address.len : (size_t)at);
	if (at < 0 || !slice_is_ascii(local) ||
	    !idn_to_ascii(slice_from(address, (size_t)at + 1), &arena, &domain,
			  NULL))
		return false;
	text_addf(out, "%.*s@%.*s", SLICE_ARG(local), SLICE_ARG(domain));
	return true;
}

static void
address_write_path(const struct client *client, struct text *out,
		   struct slice address)
{
	bool is_written = true;

	text_add_byte(out, '<');
	if (client->transaction.is_utf8)
		text_add(out, address);
	else
		is_written = address_write_ascii(out, address);
	ASSERT(is_written);
	text_add_byte(out, '>');
}

static bool
needs_smtputf8(struct slice address)
{
	CLEAN(text_done) struct text ascii = {0};

	return !slice_is_ascii(address) &&
	       !address_write_ascii(&ascii, address);
}

/* The header was said to be UTF-8, and is: in ASCII the message would be
 * another one. What was not said is 8-bit text like any other. */
static bool
message_needs_smtputf8(const struct message *message)
{
	return needs_smtputf8(message->reverse_path) ||
	       (message->declared_smtputf8 && message->body.has_8bit_header);
}

static const struct recipient *
recipient_of(const struct client *client, size_t i)
{
	const struct delivery *delivery = client->attempt->delivery;
	unsigned index = delivery->recipients[i].index;

	ASSERT(index < delivery->message->recipients_count);
	return &delivery->message->recipients[index];
}

/* What it comes to that this host lacks something, and in which words. */
static struct fate
lack_say(const struct client *client, enum outcome_trouble trouble,
	 struct text *words)
{
	struct fate fate = outcome_of_lack(trouble, client->has_better_host);

	text_add_string(words, fate.words);
	if (fate.outcome != outcome_of_trouble(trouble).outcome)
		text_add_string(words, "; a host that is preferred to it may "
				       "take it later");
	return fate;
}

/* Those whom a host without SMTPUTF8 cannot know. */
static void
recipients_without_smtputf8(struct client *client)
{
	CLEAN(text_done) struct text words = {0};
	struct fate fate = lack_say(client, TROUBLE_NO_SMTPUTF8, &words);

	for (size_t i = 0; i < client->attempt->delivery->recipients_count;
	     i++)
		if (client->attempt->results[i].outcome == OUTCOME_NONE &&
		    needs_smtputf8(recipient_of(client, i)->address))
			recipient_set(client, (unsigned)i, &fate,
				      text_slice(&words));
}

static bool
any_needs_smtputf8(const struct client *client)
{
	for (size_t i = 0; i < client->attempt->delivery->recipients_count; i++)
		if (client->attempt->results[i].outcome == OUTCOME_NONE &&
		    needs_smtputf8(recipient_of(client, i)->address))
			return true;
	return false;
}

/* Whether any of the transaction is outside ASCII. */
static bool
transaction_is_utf8(const struct client *client)
{
	const struct transaction *transaction = &client->transaction;
	const struct message *message = client->attempt->delivery->message;

	if (!slice_is_ascii(message->reverse_path) ||
	    message_needs_smtputf8(message))
		return true;
	for (unsigned i = 0; i < transaction->count; i++)
		if (!slice_is_ascii(
			    recipient_of(client, transaction->recipients[i])
				    ->address))
			return true;
	return false;
}

struct message *
client_message(const struct client *client)
{
	return client->version != NULL ? client->version
				       : client->attempt->delivery->message;
}

static bool
is_too_big(const struct client *client)
{
	return client->has_size && client->size_max > 0 &&
	       message_size(client_message(client)) > client->size_max;
}

static enum client_state
begin_not(struct client *client, enum outcome_trouble trouble,
	  struct slice detail)
{
	CLEAN(text_done) struct text words = {0};
	struct fate fate = lack_say(client, trouble, &words);

	if (fate.may_try_next_host && client->settings.has_other_host) {
		client->end.is_passing = client->end.is_lacking = true;
		return client_end_trouble(client, trouble, detail);
	}
	if (detail.len > 0)
		text_addf(&words, "; %.*s", SLICE_ARG(detail));
	client_set_message(client, &fate, text_slice(&words));
	return CLIENT_IDLE;
}

enum client_state
transaction_begin(struct client *client)
{
	const struct message *message = client->attempt->delivery->message;

	if (!message_is_clean(client->attempt))
		return begin_not(client, TROUBLE_DAMAGED, SLICE_NONE);
	if (!client->has_smtputf8 && message_needs_smtputf8(message))
		return begin_not(client, TROUBLE_NO_SMTPUTF8, SLICE_NONE);
	if (!client->has_smtputf8 && client->settings.has_other_host &&
	    any_needs_smtputf8(client))
		return begin_not(client, TROUBLE_NO_SMTPUTF8, SLICE_NONE);
	if (!client->has_smtputf8)
		recipients_without_smtputf8(client);
	if (attempt_is_complete(client->attempt))
		return CLIENT_IDLE;
	if (is_too_big(client)) /* RFC 1870 6.1; converted it only grows */
		return begin_not(client, TROUBLE_TOO_BIG, SLICE_NONE);
	if (message->body.has_8bit && !client->has_8bitmime) {
		switch (client->settings.without_8bitmime) {
		case WITHOUT_8BITMIME_CONVERT:
			return CLIENT_CONVERTING;
		case WITHOUT_8BITMIME_BOUNCE: /* RFC 6152 3 */
			return begin_not(client, TROUBLE_NO_8BITMIME,
					 SLICE_NONE);
		case WITHOUT_8BITMIME_SEND:
			break;
		}
	}
	return CLIENT_MAIL;
}

/* --- a version for a peer without 8BITMIME --- */

static void
on_converted(void *owner, const struct convert_result *result)
{
	struct client *client = owner;
	enum client_state next = CLIENT_MAIL;

	client->convert = NULL;
	client->version = result->message;
	client->changes = result->changes;
	if (result->message == NULL)
		next = begin_not(client, result->trouble, result->detail);
	else if (is_too_big(client))
		next = begin_not(client, TROUBLE_TOO_BIG, SLICE_NONE);
	client_enter(client, next);
	client_settle(client);
}

void
convert_send(struct client *client)
{
	struct loop *loop = client->settings.loop;

	ASSERT(client->convert == NULL);
	ASSERT(client->version == NULL);
	convert_start(&(struct convert_setup){
			      .loop = loop,
			      .store = client->settings.store,
			      .generation = loop->generation,
			      .message = client->attempt->delivery->message,
			      .done = on_converted,
			      .owner = client},
		      &client->convert);
}

/* --- MAIL, RCPT, DATA --- */

/* Everybody who has no result yet, as far as they fit. */
static void
recipients_choose(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	const struct attempt *attempt = client->attempt;

	ASSERT(client->rcpt_max > 0);
	ASSERT(client->rcpt_max <= TRANSACTION_RECIPIENTS_MAX);
	strip_done(&transaction->strip);
	*transaction = (struct transaction){.at_line_start = true};
	for (size_t i = 0; i < attempt->delivery->recipients_count &&
			   transaction->count < client->rcpt_max;
	     i++) {
		if (attempt->results[i].outcome != OUTCOME_NONE)
			continue;
		attempt->accepted[i] = false;
		transaction->recipients[transaction->count++] = (unsigned)i;
	}
	ASSERT(transaction->count > 0);
}

static void
rcpt_write(const struct client *client, unsigned i, struct text *out)
{
	const struct recipient *rcpt =
		recipient_of(client, client->transaction.recipients[i]);

	text_add_string(out, "RCPT TO:");
	address_write_path(client, out, rcpt->address);
	if (client->has_dsn)
		dsn_write_rcpt(out, rcpt, client->transaction.is_utf8);
	text_add_string(out, "\r\n");
}

static void
mail_write(const struct client *client, struct text *out)
{
	const struct message *message = client_message(client);

	text_add_string(out, "MAIL FROM:");
	address_write_path(client, out, message->reverse_path);
	if (client->has_size)
		text_addf(out, " SIZE=%llu",
			  (unsigned long long)message_size(message));
	if (client->has_8bitmime &&
	    (message->body.has_8bit || message->declared_8bit))
		text_add_string(out, " BODY=8BITMIME");
	if (client->transaction.is_utf8)
		text_add_string(out, " SMTPUTF8");
	if (client->has_dsn)
		dsn_write_mail(out, message);
	text_add_string(out, "\r\n");
}

void
mail_send(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	CLEAN(text_done) struct text out = {0};

	recipients_choose(client);
	client->mails++;
	/* BDAT begins with the size, which what is left out changes. */
	transaction->is_chunked = client->has_chunking &&
				  client->settings.sign == ROUTE_SIGN_KEEP;
	transaction->is_utf8 = client->has_smtputf8 &&
			       transaction_is_utf8(client);
	mail_write(client, &out);
	/* RFC 2920: the whole envelope in one write. */
	transaction->is_ahead = client->has_pipelining;
	if (transaction->is_ahead) {
		for (unsigned i = 0; i < transaction->count; i++)
			rcpt_write(client, i, &out);
		if (!transaction->is_chunked)
			text_add_string(&out, "DATA\r\n");
	}
	stream_write(client->stream, text_slice(&out));
}

/* What is said of a parameter and not of an address: RFC 5321 4.1.1.11. */
static bool
refuses_parameters(const struct reply_in *reply)
{
	return reply->code == 555 || reply->code == 504 ||
	       (reply->code == 501 &&
		(reply->status.len == 0 ||
		 slice_starts(reply->status, SLICE("5.5."))));
}

/* Who offers DSN and does not know its parameters: the message may do without
 * them. Replies to what is ahead may still come, so not on this connection. */
static enum client_state
end_without_dsn(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_trouble(TROUBLE_CONNECTION_LOST);

	client->end.is_dsn_trouble = true;
	return client_end_reply(client, &fate, reply);
}

/* Nobody of the transaction is the peer's any more: they are without a result. */
static void
take_back(struct client *client)
{
	for (size_t i = 0; i < client->attempt->delivery->recipients_count;
	     i++)
		client->attempt->accepted[i] = false;
	client->transaction.accepted = 0;
}

/* RFC 5321 5.1 has the sender try all hosts until one takes it; a permanent no
 * is the site's. */
bool
client_passes_on(struct client *client, const struct fate *fate)
{
	client->end.is_passing = fate->may_try_next_host &&
				 client->settings.has_other_host;
	if (client->end.is_passing)
		take_back(client);
	return client->end.is_passing;
}

/* 421 is the end of what came before. Others say "too many messages on this
 * connection" with a code for now, behind those that they have taken: 452 4.5.3
 * of OpenSMTPD. */
bool
mail_ends_connection(const struct client *client, const struct reply_in *reply)
{
	return reply->code == 421 ||
	       (reply->code / 100 == 4 && client->has_taken);
}

bool
client_is_sent_away(struct client *client, const struct reply_in *reply)
{
	client->end.is_sent_away = reply->code == 421;
	if (client->end.is_sent_away)
		take_back(client);
	return client->end.is_sent_away;
}

enum client_state
mail_replied(struct client *client, const struct reply_in *reply)
{
	const struct message *message = client_message(client);
	struct fate fate = outcome_of_reply(STAGE_MAIL, reply);
	bool is_end = mail_ends_connection(client, reply);

	if (fate.outcome == OUTCOME_NONE)
		return CLIENT_RCPT;
	if (client->has_dsn && refuses_parameters(reply) &&
	    (message->ret != RET_NOT_SAID || message->envid.len > 0))
		return end_without_dsn(client, reply);
	(void)client_is_sent_away(client, reply);
	client->end.is_worn = is_end && client_is_between(client);
	if (is_end || fate.scope == SCOPE_HOST ||
	    client_passes_on(client, &fate))
		return client_end_reply(client, &fate, reply);
	message_set_reply(client, &fate, reply);
	/* The answers to what is ahead are still to come. */
	return client->transaction.is_ahead ? CLIENT_RCPT : CLIENT_IDLE;
}

void
rcpt_send(struct client *client)
{
	CLEAN(text_done) struct text out = {0};

	if (client->transaction.is_ahead)
		return;
	rcpt_write(client, client->transaction.next, &out);
	stream_write(client->stream, text_slice(&out));
}

/* RFC 5321 4.5.3.1.10: the surplus goes in another transaction. Only where this
 * one has somebody, so that each makes progress; and a full mailbox may use the
 * same codes with a status of its own. */
static bool
rcpt_is_surplus(const struct client *client, const struct reply_in *reply)
{
	return client->transaction.accepted > 0 &&
	       (reply->code == 452 || reply->code == 552) &&
	       (reply->status.len == 0 ||
		slice_ends_nocase(reply->status, SLICE(".5.3")));
}

/* With BDAT nothing is asked before the octets go. */
static enum client_state
rcpts_replied_chunked(struct client *client)
{
	client->transaction.is_ahead = false;
	return client->transaction.accepted > 0 ? CLIENT_BODY : CLIENT_RSET;
}

/* Neither has he a result, nor some of the others. */
static bool
has_others(const struct attempt *attempt, unsigned recipient)
{
	size_t open = 0;

	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		open += attempt->results[i].outcome == OUTCOME_NONE;
	return open > 1 && attempt->results[recipient].outcome == OUTCOME_NONE;
}

/* 421 may be meant for one mailbox, whose server is away: it would keep the mail
 * from all others of the message, each time. */
static enum client_state
end_at_rcpt(struct client *client, unsigned recipient, const struct fate *fate,
	    const struct reply_in *reply)
{
	CLEAN(text_done) struct text words = {0};

	if (client_is_sent_away(client, reply) &&
	    !client->settings.has_other_host &&
	    has_others(client->attempt, recipient)) {
		outcome_write_reply(&words, reply);
		recipient_set(client, recipient, fate, text_slice(&words));
		client->end.is_of_recipient = true;
	}
	return client_end_reply(client, fate, reply);
}

enum client_state
rcpt_replied(struct client *client, const struct reply_in *reply)
{
	struct transaction *transaction = &client->transaction;
	unsigned recipient = transaction->recipients[transaction->next++];
	struct attempt *attempt = client->attempt;
	struct fate fate = outcome_of_reply(STAGE_RCPT, reply);
	const struct recipient *rcpt = recipient_of(client, recipient);
	bool is_last = transaction->next == transaction->count;

	if (fate.scope == SCOPE_HOST)
		return end_at_rcpt(client, recipient, &fate, reply);
	if (client->has_dsn && refuses_parameters(reply) &&
	    attempt->results[recipient].outcome == OUTCOME_NONE &&
	    (rcpt->notify != 0 || rcpt->orcpt.len > 0))
		return end_without_dsn(client, reply);
	if (attempt->results[recipient].outcome != OUTCOME_NONE) {
		/* MAIL was refused; this only follows from it. */
	} else if (fate.outcome == OUTCOME_NONE) {
		attempt->accepted[recipient] = true;
		transaction->accepted++;
	} else if (rcpt_is_surplus(client, reply)) {
		/* The next transactions need not find out again, where it is
		 * certain. */
		if (reply->status.len > 0)
			client->rcpt_max = transaction->accepted;
	} else if (fate.may_try_next_host && client->settings.has_other_host) {
		/* For the next host; but first come those whom this one takes,
		 * or refuses for good. */
		if (is_last && transaction->accepted == 0 &&
		    client_passes_on(client, &fate))
			return client_end_reply(client, &fate, reply);
	} else {
		CLEAN(text_done) struct text words = {0};

		outcome_write_reply(&words, reply);
		recipient_set(client, recipient, &fate, text_slice(&words));
	}
	if (!is_last)
		return CLIENT_RCPT;
	if (transaction->is_chunked)
		return rcpts_replied_chunked(client);
	if (transaction->is_ahead || transaction->accepted > 0)
		return CLIENT_DATA;
	return CLIENT_RSET;
}

void
data_send(struct client *client)
{
	if (!client->transaction.is_ahead)
		stream_write(client->stream, SLICE("DATA\r\n"));
}

enum client_state
data_replied(struct client *client, const struct reply_in *reply)
{
	struct transaction *transaction = &client->transaction;
	struct fate fate = outcome_of_reply(STAGE_DATA, reply);
	CLEAN(text_done) struct text words = {0};

	transaction->is_ahead = false;
	if (fate.outcome == OUTCOME_NONE) {
		/* RFC 2920 3.1: a 354 to nobody is answered with an empty
		 * message. */
		transaction->is_empty = transaction->accepted == 0;
		return transaction->is_empty ? CLIENT_END_OF_DATA
					     : CLIENT_BODY;
	}
	if (transaction->accepted > 0 &&
	    (client_is_sent_away(client, reply) || fate.scope == SCOPE_HOST ||
	     client_passes_on(client, &fate)))
		return client_end_reply(client, &fate, reply);
	outcome_write_reply(&words, reply);
	client_set_accepted(client, &fate, text_slice(&words));
	return CLIENT_RSET;
}

/* --- the end --- */

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
	take_back(client);
}

void
transaction_done(struct client *client)
{
	body_done(client);
	convert_cancel(&client->convert);
	if (client->version != NULL)
		message_unref(TAKE(client->version));
	client->changes = NULL;
}
