#include "milter/idn.h"
#include "relay/delivery/client_private.h"

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

void
transaction_write_path(const struct client *client, struct text *out,
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

static bool
any_needs_smtputf8(const struct client *client)
{
	for (size_t i = 0; i < client->attempt->delivery->recipients_count; i++)
		if (client->attempt->results[i].outcome == OUTCOME_NONE &&
		    needs_smtputf8(client_recipient(client, i)->address))
			return true;
	return false;
}

bool
transaction_is_utf8(const struct client *client)
{
	const struct transaction *transaction = &client->transaction;
	const struct message *message = client->attempt->delivery->message;

	if (!slice_is_ascii(message->reverse_path) ||
	    message_needs_smtputf8(message))
		return true;
	for (unsigned i = 0; i < transaction->count; i++)
		if (!slice_is_ascii(
			    client_recipient(client, transaction->recipients[i])
				    ->address))
			return true;
	return false;
}

/* --- a peer that lacks something --- */

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

	for (size_t i = 0; i < client->attempt->delivery->recipients_count; i++)
		if (client->attempt->results[i].outcome == OUTCOME_NONE &&
		    needs_smtputf8(client_recipient(client, i)->address))
			client_set_recipient(client, (unsigned)i, &fate,
					     text_slice(&words));
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
	convert_start(
		&(struct convert_setup){
			.loop = loop,
			.store = client->settings.store,
			.generation = loop->generation,
			.message = client->attempt->delivery->message,
			.done = on_converted,
			.owner = client},
		&client->convert);
}
