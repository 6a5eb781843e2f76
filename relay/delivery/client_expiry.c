#include "relay/delivery/client_private.h"

/* Never 0: what is late expires from the loop, like all else. */
static uint64_t
time_left(const struct client *client)
{
	uint64_t deadline_ms = client->settings.deadline_ms;
	uint64_t timeout_ms = client_timeout_ms(client);
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

void
client_expiry_start(struct client *client)
{
	if (body_is_under_way(client))
		body_allow(client, time_left(client));
	else
		stream_deadline(client->stream, time_left(client));
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

void
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
	    body_goes_on(client, time_left(client)))
		return;
	if (waits_for_ourselves(client)) {
		client_expired_by_us(client);
		return;
	}
	client_expired_by_peer(client);
}
