#include <errno.h>
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

/* --- the end --- */

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

static void
client_free(struct client *client)
{
	if (client->stream != NULL && body_is_on_its_way(client))
		stream_reset(&client->stream);
	else if (client->stream != NULL)
		stream_close(&client->stream);
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
	if (client->stream != NULL && client->is_cut_off)
		stream_reset(&client->stream);
	else if (client->stream != NULL)
		stream_finish(&client->stream);
	client_free(client);
}

const struct client_end *
client_end(const struct client *client)
{
	return &client->end;
}

static bool
in_transaction(const struct client *client)
{
	return client->attempt != NULL;
}

bool
client_is_between(const struct client *client)
{
	if (client->state == CLIENT_RSET)
		return in_transaction(client) &&
		       !attempt_is_complete(client->attempt);
	return client->state == CLIENT_MAIL && client->transactions > 0;
}

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
	if (in_transaction(client))
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
			  client_steps[client->state].doing);
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

/* Never 0: what is late expires from the loop, like all else. */
static uint64_t
within_deadline(const struct client *client, uint64_t timeout_ms)
{
	uint64_t deadline_ms = client->settings.deadline_ms;
	uint64_t now_ms = clock_now_ms();

	if (deadline_ms == 0 || now_ms + timeout_ms <= deadline_ms)
		return timeout_ms;
	return deadline_ms > now_ms ? deadline_ms - now_ms : 1;
}

static bool
is_late(const struct client *client)
{
	return client->settings.deadline_ms != 0 &&
	       clock_now_ms() >= client->settings.deadline_ms;
}

static uint64_t
time_of(const struct client *client)
{
	return within_deadline(client, client_steps[client->state].timeout_ms);
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
	if (body_is_under_way(client))
		body_allow(client, time_of(client));
	else
		stream_deadline(client->stream, time_of(client));
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
		client->has_answered |= in_transaction(client);
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

static void
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

/* Nobody is told any more; and what its owner has lent it, the configuration
 * among that, may go. */
static void
client_quit_alone(struct client *client, client_fn *event)
{
	sessions_keep(client);
	client->settings.tls_context = NULL;
	client->settings.event = NULL;
	if (event != NULL)
		event(client->settings.owner, CLIENT_ENDED);
	client_enter(client, CLIENT_QUIT);
}

/* What the peer waits for with us: the message as it needs it, or its octets. */
static bool
waits_for_ourselves(const struct client *client)
{
	return client->state == CLIENT_CONVERTING ||
	       (client->state == CLIENT_BODY &&
		client->transaction.reading != NULL);
}

/* Every other host would have to wait as long: so the message is to be tried
 * later, and this one can have the next. */
static void
client_expired_by_us(struct client *client)
{
	struct fate fate = outcome_of_trouble(TROUBLE_LOCAL);
	enum client_state next;

	client->is_of_message = true;
	next = client_end_trouble(client, TROUBLE_LOCAL, SLICE_NONE);
	client_set_message(client, &fate, text_slice(&client->end_words));
	client_enter(client, next);
}

/* What is on its way then must not get there any more: the message goes again,
 * and this connection has no say in what has become of it. */
static void
client_expired_by_peer(struct client *client)
{
	CLEAN(text_done) struct text hint = {0};

	if (client->state == CLIENT_GREETING)
		text_add(&hint, greeting_hint(client));
	body_hint(client, &hint);
	client->end.is_unreached = client->state == CLIENT_CONNECTING;
	client->end.is_silent = !client->was_ready;
	client->is_cut_off = body_is_on_its_way(client);
	client_enter(client, client_end_trouble(client, TROUBLE_TIMED_OUT,
						text_slice(&hint)));
}

static void
client_expired(struct client *client)
{
	if (client->state == CLIENT_IDLE) {
		/* To the owner this is the end; QUIT is our own affair. */
		(void)client_end_trouble(client, TROUBLE_TIMED_OUT, SLICE_NONE);
		client_quit_alone(client, client->settings.event);
		return;
	}
	/* Nobody's mail waits for the answer, but a stop of the relay does. */
	if (client->state == CLIENT_QUIT)
		stream_close(&client->stream);
	if (body_is_under_way(client) && !is_late(client) &&
	    body_goes_on(client, time_of(client)))
		return;
	if (waits_for_ourselves(client)) {
		client_expired_by_us(client);
		return;
	}
	client_expired_by_peer(client);
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
	stream_deadline(client->stream,
			within_deadline(
				client,
				settings->is_hurried
					? CONNECT_HURRY_MS
					: client_steps[CLIENT_CONNECTING]
						  .timeout_ms));
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
	client_free(client);
}
