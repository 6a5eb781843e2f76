#include "relay/delivery/client_private.h"

#define PORT_SUBMISSIONS 465

enum client_state
greeting_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_reply(STAGE_GREETING, reply);

	if (fate.outcome != OUTCOME_NONE)
		return client_end_reply(client, &fate, reply);
	client->is_greeted = true;
	return CLIENT_EHLO;
}

/* postscreen(8) begins with "220-" before it knows whom it talks to, and refuses
 * with another code behind that. */
enum client_state
greeting_broken(struct client *client)
{
	struct reply_in reply;

	if (reply_read_begun(&client->reader, stream_input(client->stream),
			     &reply) &&
	    reply.code >= 400)
		return greeting_replied(client, &reply);
	return client_end_trouble(client, TROUBLE_BROKEN_REPLY, SLICE_NONE);
}

/* RFC 8314 3.3: there the server waits for us to begin. */
struct slice
greeting_hint(const struct client *client)
{
	if (client->settings.implicit_tls ||
	    address_port(&client->settings.host->address) != PORT_SUBMISSIONS)
		return SLICE_NONE;
	return SLICE("port 465 begins with TLS: set implicit_tls = true");
}

void
ehlo_send(struct client *client)
{
	/* What was said before TLS counts for nothing: RFC 3207 4.2. */
	client->has_pipelining = client->has_8bitmime = false;
	client->has_starttls = client->has_size = false;
	client->has_smtputf8 = client->has_dsn = client->has_chunking = false;
	client->mechanisms = 0;
	client->size_max = client->mail_max = 0;
	client->rcpt_max = TRANSACTION_RECIPIENTS_MAX;
	client_command(client, "EHLO", client->settings.source.helo);
}

/* RFC 9422 3: "RCPTMAX=100 MAILMAX=10". What is not understood limits
 * nothing. */
static void
limits_take(struct client *client, struct slice limits)
{
	struct slice limit, name;
	uint64_t number;

	while (slice_split(&limits, ' ', &limit)) {
		struct slice value = limit;

		if (!slice_split(&value, '=', &name) ||
		    !slice_number(value, &number) || number == 0)
			continue;
		if (slice_eq_nocase(name, SLICE("MAILMAX")))
			client->mail_max = number;
		else if (slice_eq_nocase(name, SLICE("RCPTMAX")) &&
			 number < client->rcpt_max)
			client->rcpt_max = number;
	}
}

static void
mechanisms_take(struct client *client, struct slice words)
{
	struct slice word;

	while (slice_split(&words, ' ', &word))
		client->mechanisms |= sasl_mechanism(word);
}

static void
keyword_take(struct client *client, struct slice line)
{
	struct slice all = line, keyword;

	if (!slice_split(&line, ' ', &keyword))
		return;
	if (slice_eq_nocase(keyword, SLICE("PIPELINING")))
		client->has_pipelining = true;
	else if (slice_eq_nocase(keyword, SLICE("8BITMIME")))
		client->has_8bitmime = true;
	else if (slice_eq_nocase(keyword, SLICE("STARTTLS")))
		client->has_starttls = true;
	else if (slice_eq_nocase(keyword, SLICE("SMTPUTF8")))
		client->has_smtputf8 = true;
	else if (slice_eq_nocase(keyword, SLICE("DSN")))
		client->has_dsn = !client->settings.without_dsn;
	else if (slice_eq_nocase(keyword, SLICE("CHUNKING")))
		client->has_chunking = !client->settings.without_bdat;
	else if (slice_eq_nocase(keyword, SLICE("LIMITS")))
		limits_take(client, line);
	else if (slice_eq_nocase(keyword, SLICE("SIZE"))) {
		client->has_size = true;
		if (!slice_number(slice_trim(line), &client->size_max))
			client->size_max = 0;
	} else if (slice_eq_nocase(keyword, SLICE("AUTH"))) {
		mechanisms_take(client, line);
	} else if (slice_starts_nocase(keyword, SLICE("AUTH="))) {
		/* As drafts of RFC 2554 had it, and old servers say. */
		mechanisms_take(client, slice_from(all, sizeof("AUTH=") - 1));
	}
}

enum client_state
client_safe_enough(struct client *client)
{
	return client->settings.login != NULL ? auth_begin(client)
					      : CLIENT_IDLE;
}

/* After EHLO or HELO: which way, as to TLS. */
static enum client_state
greeted(struct client *client)
{
	const struct client_settings *settings = &client->settings;
	bool is_needed = settings->tls == TLS_REQUIRED ||
			 settings->tls == TLS_VERIFY;

	if (stream_tls(client->stream) != NULL || settings->tls == TLS_NONE)
		return client_safe_enough(client);
	if (client->has_starttls && !settings->in_clear)
		return CLIENT_STARTTLS;
	client->leaves_tls_out = client->has_starttls;
	if (is_needed)
		return client_end_trouble(client, TROUBLE_NO_TLS, SLICE_NONE);
	return client_safe_enough(client);
}

enum client_state
ehlo_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_reply(STAGE_EHLO, reply);
	struct slice rest = reply->text, line;

	/* RFC 5321 3.2: who does not know EHLO is asked with HELO. */
	if (reply->code / 100 == 5)
		return CLIENT_HELO;
	if (fate.outcome != OUTCOME_NONE)
		return client_end_reply(client, &fate, reply);
	(void)slice_split(&rest, '\n', &line); /* its name */
	while (slice_split(&rest, '\n', &line))
		keyword_take(client, slice_trim(line));
	return greeted(client);
}

void
helo_send(struct client *client)
{
	client_command(client, "HELO", client->settings.source.helo);
}

enum client_state
helo_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_reply(STAGE_EHLO, reply);

	if (fate.outcome != OUTCOME_NONE)
		return client_end_reply(client, &fate, reply);
	return greeted(client);
}
