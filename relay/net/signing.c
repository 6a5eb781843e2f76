#include "relay/net/signing.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <unistd.h>

#include "base/clock.h"

#define SIGNING_TICK_MS 1000

struct signing_call {
	struct signer_call call;
	struct signing_order *order;
	struct signature *signature;
	bool is_open;
};

struct signing {
	struct loop *loop;
	struct signer_client *client;
	uv_poll_t poll;
	uv_timer_t tick;
	unsigned open_handles;
	bool is_closing, is_polling, is_lost;
	int events;
	int next_descriptor; /* of a new signer, until the old poll is closed */
	atomic_uint_fast64_t made[KEY_ALGORITHMS];
};

static void signing_poll(struct signing *signing);

static void
signing_lost(struct signing *signing)
{
	/* The supervisor starts another signer and sends its descriptor; until
	 * then the calls wait, each within its own time-out. */
	signing->is_lost = true;
	uv_poll_stop(&signing->poll);
	signing->events = 0;
}

static void
signing_on_poll(uv_poll_t *poll, int status, int events)
{
	struct signing *signing = poll->data;

	if (status < 0) {
		signing_lost(signing);
		return;
	}
	if ((events & UV_WRITABLE) != 0)
		signer_client_write(signing->client);
	if ((events & (UV_READABLE | UV_DISCONNECT)) != 0 &&
	    !signer_client_read(signing->client)) {
		signing_lost(signing);
		return;
	}
	signing_poll(signing);
}

/* Brings what is polled for, and the tick, into line with the client. */
static void
signing_poll(struct signing *signing)
{
	int events = UV_READABLE | UV_DISCONNECT;

	if (signing->is_closing)
		return;
	if (signing->is_lost || !signing->is_polling)
		return;
	if (signer_client_wants_write(signing->client))
		events |= UV_WRITABLE;
	if (events != signing->events) {
		ASSERT(uv_poll_start(&signing->poll, events,
				     signing_on_poll) == 0);
		signing->events = events;
	}
}

static void
signing_on_tick(uv_timer_t *timer)
{
	struct signing *signing = timer->data;

	signer_client_tick(signing->client, clock_now_ms());
	/* Calls come and go in a moment; the tick stays until it sees none. */
	if (signer_client_open_calls(signing->client) == 0)
		uv_timer_stop(&signing->tick);
	signing_poll(signing);
}

static bool
signing_watch(struct signing *signing, struct fault *fault)
{
	int status = uv_poll_init(&signing->loop->uv, &signing->poll,
				  signer_client_descriptor(signing->client));

	if (status != 0)
		return fault_set(fault, FAULT_SYSTEM, "signer's socket: %s",
				 uv_strerror(status));
	signing->poll.data = signing;
	signing->open_handles++;
	signing->is_polling = true;
	signing->is_lost = false;
	signing->events = 0;
	return true;
}

bool
signing_new(struct loop *loop, int descriptor, struct signing **signing_out,
	    struct fault *fault)
{
	struct signing *signing = memory_new(sizeof(*signing));

	signing->loop = loop;
	signing->next_descriptor = -1;
	signing->client = signer_client_new(descriptor);
	if (!signing_watch(signing, fault)) {
		signer_client_free(signing->client);
		free(signing);
		return false;
	}
	ASSERT(uv_timer_init(&loop->uv, &signing->tick) == 0);
	signing->tick.data = signing;
	signing->open_handles++;
	signing_poll(signing);
	*signing_out = signing;
	return true;
}

static void
signing_on_close(uv_handle_t *handle)
{
	struct signing *signing = handle->data;

	ASSERT(signing->open_handles > 0);
	if (--signing->open_handles > 0)
		return;
	signer_client_free(signing->client);
	free(signing);
}

void
signing_close(struct signing *signing)
{
	ASSERT(signer_client_open_calls(signing->client) == 0);
	signing->is_closing = true;
	if (signing->next_descriptor >= 0)
		close(signing->next_descriptor);
	/* Where it is not polling, a close of the poll is under way already. */
	if (signing->is_polling)
		uv_close((uv_handle_t *)&signing->poll, signing_on_close);
	uv_close((uv_handle_t *)&signing->tick, signing_on_close);
}

/* The old poll handle is closed: the client may now close its descriptor. */
static void
signing_on_poll_closed(uv_handle_t *handle)
{
	struct signing *signing = handle->data;
	struct fault fault;

	if (signing->is_closing) {
		signing_on_close(handle);
		return;
	}
	ASSERT(signing->open_handles > 0);
	signing->open_handles--;
	signer_client_replace(signing->client, signing->next_descriptor);
	signing->next_descriptor = -1;
	ASSERT(signing_watch(signing, &fault));
	signing_poll(signing);
}

void
signing_replace(struct signing *signing, int descriptor)
{
	if (signing->next_descriptor >= 0) /* replaced twice at once */
		close(signing->next_descriptor);
	signing->next_descriptor = descriptor;
	if (!signing->is_polling)
		return;
	signing->is_polling = false;
	uv_close((uv_handle_t *)&signing->poll, signing_on_poll_closed);
}

static void
signing_on_call(struct signer_call *signer_call, const struct fault *fault)
{
	struct signing_call *call =
		CONTAINER(signer_call, struct signing_call, call);
	struct signing_order *order = call->order;
	struct fault first = {0};

	call->is_open = false;
	if (fault == NULL) {
		memcpy(call->signature->signature, signer_call->signature,
		       signer_call->signature_len);
		call->signature->signature_len = signer_call->signature_len;
		atomic_fetch_add(
			&order->signing->made[key_public_algorithm(
				call->signature->selector->key)],
			1);
	} else if (order->fault.kind == FAULT_NONE) {
		order->fault = *fault;
		fault_within(&order->fault, "selector %.*s of %.*s",
			     SLICE_ARG(call->signature->selector->name),
			     SLICE_ARG(call->signature->domain));
	}
	ASSERT(order->waiting > 0);
	if (--order->waiting > 0)
		return;
	free(order->calls);
	order->calls = NULL;
	first = order->fault;
	order->done(order, first.kind == FAULT_NONE ? NULL : &first);
}

void
signing_start(struct signing *signing, struct signing_order *order,
	      struct signature *signatures, size_t count)
{
	ASSERT(count > 0);
	order->signing = signing;
	order->calls = memory_array(count, sizeof(*order->calls));
	order->count = order->waiting = count;
	order->fault = (struct fault){0};
	if (!uv_is_active((uv_handle_t *)&signing->tick))
		uv_timer_start(&signing->tick, signing_on_tick,
			       SIGNING_TICK_MS, SIGNING_TICK_MS);
	for (size_t i = 0; i < count; i++) {
		struct signing_call *call = &order->calls[i];

		call->order = order;
		call->signature = &signatures[i];
		call->is_open = true;
		call->call.key =
			*key_public_id(signatures[i].selector->key);
		memcpy(call->call.digest, signatures[i].digest,
		       KEY_DIGEST_SIZE);
		call->call.done = signing_on_call;
		signer_client_start(signing->client, &call->call);
	}
	signing_poll(signing);
}

void
signing_cancel(struct signing_order *order)
{
	for (size_t i = 0; i < order->count; i++)
		if (order->calls[i].is_open)
			signer_client_cancel(&order->calls[i].call);
	free(order->calls);
	order->calls = NULL;
	order->waiting = 0;
	signing_poll(order->signing);
}

uint64_t
signing_count(const struct signing *signing, enum key_algorithm algorithm)
{
	return atomic_load(&signing->made[algorithm]);
}
