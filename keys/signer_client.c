#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/signer.h"
#include "keys/signer_wire.h"

/* A request on its way. The tag's low bits are the slot, the others make it
 * different from every tag before. A call that is cancelled or times out
 * leaves its slot taken until the answer comes: what the signer owes us stays
 * below what our socket can hold. */
struct slot {
	uint64_t tag; /* 0: free */
	struct signer_call *call;
};

struct signer_client {
	int descriptor;
	bool is_gone, is_full; /* the signer; the socket */
	size_t open_calls, taken_slots;
	uint64_t last_tag;
	struct list waiting, sent; /* in the order of their start */
	struct slot slots[SIGNER_CALLS_MAX];
};

struct signer_client *
signer_client_new(int descriptor)
{
	struct signer_client *client = memory_new(sizeof(*client));

	client->descriptor = descriptor;
	list_init(&client->waiting);
	list_init(&client->sent);
	return client;
}

void
signer_client_free(struct signer_client *client)
{
	if (client == NULL)
		return;
	ASSERT(client->open_calls == 0);
	clean_descriptor(&client->descriptor);
	free(client);
}

int
signer_client_descriptor(const struct signer_client *client)
{
	return client->descriptor;
}

size_t
signer_client_open_calls(const struct signer_client *client)
{
	return client->open_calls;
}

bool
signer_client_wants_write(const struct signer_client *client)
{
	return client->is_full && !client->is_gone;
}

/* Only with a free slot. */
static struct slot *
slot_take(struct signer_client *client, struct signer_call *call)
{
	struct slot *slot = client->slots;

	ASSERT(client->taken_slots < SIGNER_CALLS_MAX);
	while (slot->tag != 0)
		slot++;
	client->last_tag += SIGNER_CALLS_MAX;
	slot->tag = client->last_tag + (uint64_t)(slot - client->slots);
	slot->call = call;
	client->taken_slots++;
	return slot;
}

static void
slot_free(struct signer_client *client, struct slot *slot)
{
	ASSERT(slot->tag != 0);
	ASSERT(client->taken_slots > 0);
	*slot = (struct slot){0};
	client->taken_slots--;
}

static bool
call_send(struct signer_client *client, struct signer_call *call)
{
	struct slot *slot = slot_take(client, call);
	struct signer_request request = {.magic = REQUEST_MAGIC,
					 .tag = slot->tag,
					 .key = call->key};
	ssize_t sent;

	memcpy(request.digest, call->digest, sizeof(request.digest));
	do {
		sent = send(client->descriptor, &request, sizeof(request),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0) {
		slot_free(client, slot);
		if (errno == EAGAIN || errno == ENOBUFS)
			client->is_full = true;
		else
			client->is_gone = true;
		return false;
	}
	call->tag = slot->tag;
	call->is_sent = true;
	return true;
}

/* Sends what can be sent now. */
static void
client_push(struct signer_client *client)
{
	while (!list_is_empty(&client->waiting) && !client->is_gone &&
	       !client->is_full && client->taken_slots < SIGNER_CALLS_MAX) {
		struct signer_call *call = CONTAINER(
			client->waiting.next, struct signer_call, link);

		if (!call_send(client, call))
			break;
		list_remove(&call->link);
		list_add_last(&client->sent, &call->link);
	}
}

void
signer_client_start(struct signer_client *client, struct signer_call *call)
{
	ASSERT(call->done != NULL);
	call->client = client;
	call->started_ms = clock_now_ms();
	call->signature_len = 0;
	call->is_sent = false;
	call->tag = 0;
	client->open_calls++;
	list_add_last(&client->waiting, &call->link);
	client_push(client);
}

/* Takes the call away from the client; its slot stays until the answer. */
static void
call_close(struct signer_call *call)
{
	struct signer_client *client = call->client;

	ASSERT(client != NULL);
	ASSERT(client->open_calls > 0);
	if (call->is_sent)
		client->slots[call->tag % SIGNER_CALLS_MAX].call = NULL;
	list_remove(&call->link);
	client->open_calls--;
	call->client = NULL;
	call->is_sent = false;
}

void
signer_client_cancel(struct signer_call *call)
{
	call_close(call);
}

static void
call_fail(struct signer_call *call, enum fault_kind kind, const char *text)
{
	struct fault fault = {0};

	fault_set(&fault, kind, "%s", text);
	call_close(call);
	call->done(call, &fault);
}

static void
call_answer(struct signer_call *call, const struct signer_answer *answer)
{
	switch ((enum answer_status)answer->status) {
	case ANSWER_SIGNED:
		memcpy(call->signature, answer->signature, answer->len);
		call->signature_len = answer->len;
		call_close(call);
		call->done(call, NULL);
		return;
	case ANSWER_UNKNOWN_KEY:
		call_fail(call, FAULT_ABSENT,
			  "the signer process does not have this key");
		return;
	case ANSWER_FAILED:
	case ANSWER_MALFORMED:
		break;
	}
	call_fail(call, FAULT_SYSTEM, "the signer process failed to sign");
}

static bool
answer_check(const struct signer_answer *answer, size_t size)
{
	return size >= ANSWER_HEAD && answer->magic == ANSWER_MAGIC &&
	       answer->len <= KEY_SIGNATURE_MAX &&
	       size == ANSWER_HEAD + answer->len &&
	       (answer->status != ANSWER_SIGNED || answer->len > 0);
}

static void
answer_take(struct signer_client *client, const struct signer_answer *answer)
{
	struct slot *slot = &client->slots[answer->tag % SIGNER_CALLS_MAX];
	struct signer_call *call = slot->call;

	if (answer->tag == 0 || slot->tag != answer->tag)
		return;
	slot_free(client, slot);
	if (call == NULL)
		return;
	call->is_sent = false; /* its slot may belong to another now */
	call_answer(call, answer);
}

bool
signer_client_read(struct signer_client *client)
{
	struct signer_answer answer;

	do {
		ssize_t size = recv(client->descriptor, &answer,
				    sizeof(answer), MSG_DONTWAIT);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && errno == EAGAIN)
			break;
		if (size <= 0 || !answer_check(&answer, (size_t)size))
			client->is_gone = true;
		else
			answer_take(client, &answer);
	} while (!client->is_gone && client->taken_slots > 0);
	client_push(client);
	return !client->is_gone;
}

void
signer_client_write(struct signer_client *client)
{
	client->is_full = false;
	client_push(client);
}

void
signer_client_replace(struct signer_client *client, int descriptor)
{
	clean_descriptor(&client->descriptor);
	client->descriptor = descriptor;
	client->is_gone = client->is_full = false;
	client->taken_slots = 0;
	memset(client->slots, 0, sizeof(client->slots));
	/* What was sent was started before what waits. */
	while (!list_is_empty(&client->sent)) {
		struct signer_call *call =
			CONTAINER(client->sent.previous, struct signer_call,
				  link);

		call->is_sent = false;
		list_remove(&call->link);
		list_add_first(&client->waiting, &call->link);
	}
	client_push(client);
}

/* Callbacks may start and cancel calls: each time round starts anew. */
static void
list_expire(struct list *list, uint64_t now_ms)
{
	while (!list_is_empty(list)) {
		struct signer_call *call =
			CONTAINER(list->next, struct signer_call, link);

		if (now_ms < call->started_ms + SIGNER_CALL_TIMEOUT_MS)
			return;
		call_fail(call, FAULT_BUSY,
			  "the signer process did not answer in time");
	}
}

void
signer_client_tick(struct signer_client *client, uint64_t now_ms)
{
	list_expire(&client->sent, now_ms);
	list_expire(&client->waiting, now_ms);
}

static void
list_fail(struct list *list)
{
	while (!list_is_empty(list))
		call_fail(CONTAINER(list->next, struct signer_call, link),
			  FAULT_BUSY, "the signer process is gone");
}

void
signer_client_wait(struct signer_client *client)
{
	while (client->open_calls > 0) {
		struct pollfd poll_for = {.fd = client->descriptor,
					  .events = POLLIN};

		if (signer_client_wants_write(client))
			poll_for.events |= POLLOUT;
		if (poll(&poll_for, 1, (int)SECOND) > 0) {
			if ((poll_for.revents & POLLOUT) != 0)
				signer_client_write(client);
			if (!signer_client_read(client)) {
				list_fail(&client->sent);
				list_fail(&client->waiting);
			}
		}
		signer_client_tick(client, clock_now_ms());
	}
}
