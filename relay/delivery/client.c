#include <stdlib.h>

#include "relay/delivery/client_private.h"

typedef void send_fn(struct client *client);
typedef enum client_state replied_fn(struct client *client,
				     const struct reply_in *reply);

static send_fn idle_enter, rset_send, quit_send;
static replied_fn idle_replied, rset_replied, quit_replied;

#define IN(state) (1u << CLIENT_##state)

/*
 * A conversation reads from top to bottom. Entering a state calls send and sets
 * the deadline (RFC 5321 4.5.3.2); a complete reply calls replied, which
 * returns the state to enter next. Where replied is NULL an event ends the
 * state: CONNECTED, SECURED. In BODY a reply comes too early, and the last
 * octet written ends it. CONVERTING ends with the conversion, PROVING with the
 * proof. States never run backwards, except that TLS leads to a second EHLO (or,
 * without STARTTLS, comes before the greeting), AUTH and RCPT repeat, and each
 * transaction returns to IDLE (or, with recipients left over, to MAIL).
 */
static const struct client_step {
	const char *doing; /* for logs and reports */
	send_fn *send;
	replied_fn *replied;
	uint64_t timeout_ms;
	unsigned from; /* states that lead here */
} client_steps[CLIENT_STATES] = {
/* clang-format off */
[CLIENT_CONNECTING]  = { "connecting", NULL, NULL, CONNECT_TIMEOUT_MS, 0 },
[CLIENT_GREETING]    = { "waiting for the greeting", NULL, greeting_replied,
			 5 * MINUTE, IN(CONNECTING) | IN(HANDSHAKE) },
[CLIENT_EHLO]        = { "sending EHLO", ehlo_send, ehlo_replied, 5 * MINUTE,
			 IN(GREETING) | IN(HANDSHAKE) },
[CLIENT_HELO]        = { "sending HELO", helo_send, helo_replied, 5 * MINUTE,
			 IN(EHLO) },
[CLIENT_STARTTLS]    = { "sending STARTTLS", starttls_send, starttls_replied,
			 2 * MINUTE, IN(EHLO) },
[CLIENT_HANDSHAKE]   = { "negotiating TLS", handshake_start, NULL,
			 1 * MINUTE, IN(STARTTLS) | IN(CONNECTING) },
[CLIENT_AUTH]        = { "logging in", auth_send, auth_replied, 2 * MINUTE,
			 IN(EHLO) | IN(STARTTLS) | IN(AUTH) | IN(PROVING) },
[CLIENT_PROVING]     = { "making the proof of the password", prove_send,
			 idle_replied, 1 * MINUTE, IN(AUTH) },
[CLIENT_IDLE]        = { "waiting for a message", idle_enter, idle_replied,
			 CONNECTION_IDLE_MS,
			 IN(EHLO) | IN(HELO) | IN(STARTTLS) | IN(AUTH) |
			 IN(CONVERTING) | IN(MAIL) | IN(END_OF_DATA) | IN(RSET) },
[CLIENT_CONVERTING]  = { "converting the message", convert_send, idle_replied,
			 5 * MINUTE, IN(IDLE) },
[CLIENT_MAIL]        = { "sending MAIL", mail_send, mail_replied, 5 * MINUTE,
			 IN(IDLE) | IN(CONVERTING) | IN(END_OF_DATA) |
			 IN(RSET) },
[CLIENT_RCPT]        = { "sending RCPT", rcpt_send, rcpt_replied, 5 * MINUTE,
			 IN(MAIL) | IN(RCPT) },
[CLIENT_DATA]        = { "sending DATA", data_send, data_replied, 2 * MINUTE,
			 IN(RCPT) },
[CLIENT_BODY]        = { "sending the message", body_send, body_replied,
			 3 * MINUTE, IN(RCPT) | IN(DATA) | IN(BODY) },
[CLIENT_END_OF_DATA] = { "waiting for the final reply; the message may be sent"
			 " twice", end_send, end_replied, 10 * MINUTE,
			 IN(BODY) | IN(DATA) },
[CLIENT_RSET]        = { "sending RSET", rset_send, rset_replied, 1 * MINUTE,
			 IN(MAIL) | IN(RCPT) | IN(DATA) },
[CLIENT_QUIT]        = { "sending QUIT", quit_send, quit_replied, 2 * SECOND,
			 IN(IDLE) },
[CLIENT_OVER]        = { "over", NULL, NULL, 0, ~0u },
/* clang-format on */
};

/* --- letting go --- */

typedef void stream_end_fn(struct stream **stream);

static void
client_free(struct client *client, stream_end_fn *stream_end)
{
	if (client->stream != NULL && client->is_cut_off)
		stream_reset(&client->stream);
	else if (client->stream != NULL)
		stream_end(&client->stream);
	transaction_done(client);
	auth_done(client);
	reply_reader_done(&client->reader);
	text_done(&client->end_words);
	text_done(&client->host_name);
	free(client);
}

/* The only place that lets a client go; it may be gone afterwards. */
void
client_settle(struct client *client)
{
	client_fn *event = client->settings.event;

	if (client->state != CLIENT_OVER || client->in_event)
		return;
	/* Before the connection is, so that its end can be waited for. */
	if (event != NULL)
		event(client->settings.owner, CLIENT_ENDED);
	client_free(client, stream_finish);
}

const struct client_end *
client_end(const struct client *client)
{
	return &client->end;
}

/* --- what it carries --- */

bool
client_is_between(const struct client *client)
{
	if (client->state == CLIENT_RSET)
		return client_is_carrying(client) &&
		       !attempt_is_complete(client->attempt);
	return client->state == CLIENT_MAIL && client->transactions > 0;
}

enum client_state
client_transaction_over(struct client *client)
{
	const struct client_settings *settings = &client->settings;

	client->transactions++;
	client->carried++;
	if (attempt_is_complete(client->attempt) ||
	    (settings->goes_on != NULL &&
	     !settings->goes_on(settings->owner, client->transactions)))
		return CLIENT_IDLE;
	return client_is_worn(client) ? client_end_worn(client) : CLIENT_MAIL;
}

/* What the route had left out of this message; "": nothing. */
static struct slice
left_out(const struct client *client, const struct fate *fate)
{
	if (fate->outcome != OUTCOME_DELIVERED ||
	    !client->transaction.strip.has_left)
		return SLICE_NONE;
	return client->settings.sign == ROUTE_SIGN_STRIP
		       ? SLICE("every DKIM-Signature: the route has sign = "
			       "\"strip\"")
		       : SLICE("our DKIM-Signature: the route has sign = "
			       "\"none\"");
}

void
client_result(const struct client *client, const struct fate *fate,
	      struct slice words, struct recipient_result *result_out)
{
	*result_out = (struct recipient_result){
		.outcome = fate->outcome,
		.reply = words,
		.status = SLICE(fate->status),
		.mx = text_slice(&client->host_name),
		.address = SLICE(client->address),
		.tls = SLICE(client->tls),
		.certificate = SLICE(client->certificate),
		.is_resumed = client->is_resumed,
		.dsn_passed_on = client->has_dsn,
		.left_out = left_out(client, fate),
		.is_damage = fate->is_damage,
		.changes = fate->outcome == OUTCOME_DELIVERED ? client->changes
							      : NULL,
	};
}

/* --- states --- */

void
client_command(struct client *client, const char *verb, struct slice argument)
{
	CLEAN(text_done) struct text line = {0};

	text_add_string(&line, verb);
	if (argument.len > 0) {
		text_add_byte(&line, ' ');
		text_add(&line, argument);
	}
	text_add_string(&line, "\r\n");
	stream_write(client->stream, text_slice(&line));
}

const char *
client_doing(const struct client *client)
{
	return client_steps[client->state].doing;
}

uint64_t
client_timeout_ms(const struct client *client)
{
	if (client->state == CLIENT_CONNECTING && client->settings.is_hurried)
		return CONNECT_HURRY_MS;
	return client_steps[client->state].timeout_ms;
}

void
client_enter(struct client *client, enum client_state state)
{
	const struct client_step *step = &client_steps[state];

	ASSERT(client->state != CLIENT_OVER);
	ASSERT((step->from & (1u << client->state)) != 0);
	client->state = state;
	if (state == CLIENT_OVER) {
		if (client->stream != NULL)
			sessions_keep(client);
		return;
	}
	client_expiry_start(client);
	if (step->send != NULL)
		step->send(client);
}

/* --- between transactions --- */

static void
idle_enter(struct client *client)
{
	struct attempt *attempt = client->attempt;
	client_fn *event = client->settings.event;

	if (!client->was_ready) {
		client->was_ready = true;
		/* They come behind the handshake, before the first reply. */
		sessions_keep(client);
		event(client->settings.owner, CLIENT_READY);
		return;
	}
	ASSERT(attempt != NULL);
	client->attempt = NULL;
	if (client->transactions == 0)
		client->carried++;
	transaction_done(client);
	event(client->settings.owner, CLIENT_CARRIED);
}

/* Nobody asked: 421 before a time-out of the peer's, most likely. */
static enum client_state
idle_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_trouble(TROUBLE_CONNECTION_LOST);

	return client_end_reply(client, &fate, reply);
}

static void
rset_send(struct client *client)
{
	client_command(client, "RSET", SLICE_NONE);
}

static enum client_state
rset_replied(struct client *client, const struct reply_in *reply)
{
	if (reply->code / 100 != 2) {
		struct fate fate = outcome_of_trouble(TROUBLE_BROKEN_REPLY);

		client->end.is_worn = reply->code == 421 &&
				      client_is_between(client);
		return client_end_reply(client, &fate, reply);
	}
	return client_transaction_over(client);
}

static void
quit_send(struct client *client)
{
	client_command(client, "QUIT", SLICE_NONE);
}

static enum client_state
quit_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_trouble(TROUBLE_CONNECTION_LOST);

	return client_end_reply(client, &fate, reply);
}

/* --- events --- */

/* A command is only sent once everything said before is answered; whatever has
 * come beyond that answers nothing, and the two of us are out of step. */
static bool
is_out_of_step(const struct client *client, enum client_state next)
{
	bool is_ahead = client->transaction.is_ahead &&
			(next == CLIENT_RCPT || next == CLIENT_DATA);

	return stream_input(client->stream).len > 0 && !is_ahead &&
	       next != CLIENT_IDLE && next != CLIENT_OVER;
}

static void
client_replied(struct client *client, const struct reply_in *reply)
{
	enum client_state next;

	client->has_read_tls |= stream_tls(client->stream) != NULL;
	if (client->state > CLIENT_MAIL ||
	    (client->state == CLIENT_MAIL &&
	     !mail_ends_connection(client, reply)))
		client->has_answered |= client_is_carrying(client);
	next = client_misses_tls(client, reply)
		       ? client_end_for_tls(client, reply)
		       : client_steps[client->state].replied(client, reply);
	if (is_out_of_step(client, next))
		next = client_end_trouble(client, TROUBLE_BROKEN_REPLY,
					  SLICE("more replies than commands"));
	client_enter(client, next);
}

static enum client_state
reply_broken(struct client *client)
{
	if (client->state == CLIENT_GREETING)
		return greeting_broken(client);
	return client_end_trouble(client, TROUBLE_BROKEN_REPLY, SLICE_NONE);
}

static void
client_read(struct client *client)
{
	while (client->state != CLIENT_OVER &&
	       client_steps[client->state].replied != NULL) {
		struct slice input = stream_input(client->stream);
		struct reply_in reply;
		size_t used = 0;

		if (input.len == 0)
			return;
		switch (reply_read(&client->reader, input, &used, &reply)) {
		case REPLY_MORE:
			stream_consume(client->stream, used);
			return;
		case REPLY_COMPLETE:
			stream_consume(client->stream, used);
			client_replied(client, &reply);
			break;
		case REPLY_BROKEN:
			client_enter(client, reply_broken(client));
			return;
		}
	}
}

void
client_quit_alone(struct client *client, client_fn *event)
{
	sessions_keep(client);
	client->settings.tls_context = NULL;
	client->settings.event = NULL;
	if (event != NULL)
		event(client->settings.owner, CLIENT_ENDED);
	client_enter(client, CLIENT_QUIT);
}

static void
client_on_event(void *owner, enum stream_event event)
{
	struct client *client = owner;

	client->in_event = true;
	switch (event) {
	case STREAM_CONNECTED:
		memcpy(client->tls, "none", sizeof("none"));
		client_enter(client, client->settings.implicit_tls
					     ? CLIENT_HANDSHAKE
					     : CLIENT_GREETING);
		break;
	case STREAM_DATA:
		client_read(client);
		break;
	case STREAM_DRAINED:
		if (client->state == CLIENT_BODY)
			client_enter(client, CLIENT_BODY);
		break;
	case STREAM_SECURED:
		handshake_done(client);
		break;
	case STREAM_ENDED:
		client_enter(client, client_end_trouble(client,
							TROUBLE_CONNECTION_LOST,
							SLICE_NONE));
		break;
	case STREAM_EXPIRED:
		client_expired(client);
		break;
	case STREAM_FAILED:
		client_failed(client);
		break;
	}
	client->in_event = false;
	client_settle(client);
}

/* --- what the owner asks for --- */

/* NULL: the kernel's choice. */
static const struct address *
source_of(const struct client_settings *settings)
{
	const struct source_options *source = &settings->source;

	for (size_t i = 0; i < source->bind_count; i++)
		if (source->bind[i].any.sa_family ==
		    settings->host->address.any.sa_family)
			return &source->bind[i];
	return NULL;
}

bool
client_open(const struct client_settings *settings, struct client **client_out,
	    struct fault *fault)
{
	struct client *client = memory_new(sizeof(*client));

	ASSERT(settings->event != NULL);
	client->settings = *settings;
	client->state = CLIENT_CONNECTING;
	client->certificate = "";
	client->rcpt_max = TRANSACTION_RECIPIENTS_MAX;
	text_add(&client->host_name, settings->host->name);
	address_write(&settings->host->address, client->address);
	if (!stream_connect(settings->loop,
			    &(struct stream_way){&settings->host->address,
						 source_of(settings)},
			    client_on_event, client, &client->stream, fault)) {
		text_done(&client->host_name);
		free(client);
		return false;
	}
	client_expiry_start(client);
	*client_out = client;
	return true;
}

bool
client_is_ready(const struct client *client)
{
	return client->state == CLIENT_IDLE && client->attempt == NULL &&
	       stream_input(client->stream).len == 0;
}

enum client_carrying
client_carry(struct client *client, struct attempt *attempt,
	     bool has_better_host)
{
	enum client_state state;

	ASSERT(client_is_ready(client));
	ASSERT(!attempt_is_complete(attempt));
	client->attempt = attempt;
	client->has_better_host = has_better_host;
	client->transactions = 0;
	client->has_answered = client->is_of_message = false;
	state = transaction_begin(client);
	if (state == CLIENT_IDLE || state == CLIENT_OVER) {
		ASSERT(attempt_is_complete(attempt) == (state == CLIENT_IDLE));
		client->attempt = NULL;
		return state == CLIENT_IDLE ? CLIENT_REFUSES : CLIENT_PASSES_ON;
	}
	client_enter(client, state);
	return CLIENT_CARRIES;
}

bool
client_is_carrying(const struct client *client)
{
	return client->attempt != NULL;
}

unsigned
client_carried(const struct client *client)
{
	return client->carried;
}

bool
client_is_worn(const struct client *client)
{
	return client->mail_max > 0 && client->mails >= client->mail_max;
}

void
client_pass_on(struct client *client, client_fn *event, void *owner,
	       bool has_other_host)
{
	ASSERT(client->state == CLIENT_IDLE);
	ASSERT(client->attempt == NULL);
	client->settings.event = event;
	client->settings.owner = owner;
	client->settings.has_other_host = has_other_host;
}

void
client_quit(struct client **handed_back)
{
	struct client *client = TAKE(*handed_back);

	ASSERT(client->state == CLIENT_IDLE);
	ASSERT(client->attempt == NULL);
	client_quit_alone(client, NULL);
}

void
client_on_closed(struct client *client, void (*closed)(void *owner),
		 void *owner)
{
	ASSERT(client->stream != NULL);
	stream_on_closed(client->stream, closed, owner);
}

void
client_break_off(struct client **handed_back, struct slice why)
{
	ASSERT(client_is_carrying(*handed_back));
	(void)client_end_trouble(*handed_back, TROUBLE_CONNECTION_LOST, why);
	client_close(handed_back);
}

void
client_close(struct client **handed_back)
{
	struct client *client = TAKE(*handed_back);

	ASSERT(!client->in_event);
	client->is_cut_off = body_is_on_its_way(client);
	client_free(client, stream_close);
}
