#include "keys/signer_pool.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

struct member {
	struct list link; /* while it is idle */
	struct signer_client *client;
	int next; /* a newer socket, for when it is given back; or -1 */
	bool is_idle;
};

struct signer_pool {
	pthread_mutex_t lock;
	pthread_cond_t freed;   /* a member has become idle */
	pthread_cond_t renewed; /* all have got a newer socket */
	struct list idle; /* the last one used first: its memory is warm */
	struct member *members;
	size_t count;
};

/* Of one thread, for its calls. */
struct signer_pool_wait {
	struct fault fault; /* the first */
};

struct signer_pool *
signer_pool_new(const int *descriptors, size_t count)
{
	struct signer_pool *pool = memory_new(sizeof(*pool));

	ASSERT(count > 0);
	ASSERT(pthread_mutex_init(&pool->lock, NULL) == 0);
	ASSERT(pthread_cond_init(&pool->freed, NULL) == 0);
	ASSERT(pthread_cond_init(&pool->renewed, NULL) == 0);
	list_init(&pool->idle);
	pool->members = memory_array(count, sizeof(*pool->members));
	pool->count = count;
	for (size_t i = 0; i < count; i++) {
		struct member *member = &pool->members[i];

		member->client = signer_client_new(descriptors[i]);
		member->next = -1;
		member->is_idle = true;
		list_add_last(&pool->idle, &member->link);
	}
	return pool;
}

void
signer_pool_free(struct signer_pool *pool)
{
	if (pool == NULL)
		return;
	for (size_t i = 0; i < pool->count; i++) {
		ASSERT(pool->members[i].is_idle);
		clean_descriptor(&pool->members[i].next);
		signer_client_free(pool->members[i].client);
	}
	free(pool->members);
	pthread_cond_destroy(&pool->freed);
	pthread_cond_destroy(&pool->renewed);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void
signer_pool_replace(struct signer_pool *pool, const int *descriptors,
		    size_t count)
{
	ASSERT(count == pool->count);
	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < count; i++) {
		struct member *member = &pool->members[i];

		clean_descriptor(&member->next);
		member->next = -1;
		if (member->is_idle)
			signer_client_replace(member->client, descriptors[i]);
		else
			member->next = descriptors[i];
	}
	pthread_cond_broadcast(&pool->renewed);
	pthread_mutex_unlock(&pool->lock);
}

/* With the lock. False once the deadline has passed. */
static bool
change_await(struct signer_pool *pool, pthread_cond_t *change,
	     uint64_t deadline_ms)
{
	uint64_t now_ms = clock_now_ms(), left_ms;
	struct timespec until;

	if (now_ms >= deadline_ms)
		return false;
	left_ms = deadline_ms - now_ms;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(left_ms / SECOND);
	until.tv_nsec += (long)(left_ms % SECOND) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_clockwait(change, &pool->lock, CLOCK_MONOTONIC, &until);
	return true;
}

static struct member *
member_take(struct signer_pool *pool, uint64_t deadline_ms)
{
	struct member *member = NULL;

	pthread_mutex_lock(&pool->lock);
	while (list_is_empty(&pool->idle) &&
	       change_await(pool, &pool->freed, deadline_ms))
		continue;
	if (!list_is_empty(&pool->idle)) {
		member = CONTAINER(pool->idle.next, struct member, link);
		list_remove(&member->link);
		member->is_idle = false;
	}
	pthread_mutex_unlock(&pool->lock);
	return member;
}

/* With the lock. */
static bool
member_renew(struct member *member)
{
	if (member->next < 0)
		return false;
	signer_client_replace(member->client, member->next);
	member->next = -1;
	return true;
}

static void
member_give(struct signer_pool *pool, struct member *member)
{
	pthread_mutex_lock(&pool->lock);
	(void)member_renew(member);
	member->is_idle = true;
	list_add_first(&pool->idle, &member->link);
	pthread_cond_signal(&pool->freed);
	pthread_mutex_unlock(&pool->lock);
}

/* Its signer is gone: the supervisor starts another, whose sockets come by
 * signer_pool_replace(). */
static bool
member_await_renewal(struct signer_pool *pool, struct member *member,
		     uint64_t deadline_ms)
{
	bool is_renewed;

	pthread_mutex_lock(&pool->lock);
	while (!(is_renewed = member_renew(member)) &&
	       change_await(pool, &pool->renewed, deadline_ms))
		continue;
	pthread_mutex_unlock(&pool->lock);
	return is_renewed;
}

static void
call_done(struct signer_call *signer_call, const struct fault *fault)
{
	struct signer_pool_call *call =
		CONTAINER(signer_call, struct signer_pool_call, call);

	if (fault == NULL)
		return;
	signer_call->signature_len = 0;
	if (call->wait->fault.kind == FAULT_NONE)
		call->wait->fault = *fault;
}

/* Until no call is open, or the deadline has passed. */
static void
member_run(struct signer_pool *pool, struct member *member,
	   uint64_t deadline_ms)
{
	struct signer_client *client = member->client;
	uint64_t now_ms;

	while (signer_client_open_calls(client) > 0 &&
	       (now_ms = clock_now_ms()) < deadline_ms) {
		struct pollfd answer = {.fd = signer_client_descriptor(client),
					.events = POLLIN};

		if (signer_client_wants_write(client))
			answer.events |= POLLOUT;
		if (poll(&answer, 1, (int)(deadline_ms - now_ms)) <= 0)
			continue;
		if ((answer.revents & POLLOUT) != 0)
			signer_client_write(client);
		if (!signer_client_read(client) &&
		    signer_client_open_calls(client) > 0 &&
		    !member_await_renewal(pool, member, deadline_ms))
			return;
	}
}

bool
signer_pool_sign(struct signer_pool *pool, struct signer_pool_call *calls,
		 size_t count, struct fault *fault)
{
	uint64_t deadline_ms = clock_now_ms() + SIGNER_CALL_TIMEOUT_MS;
	struct signer_pool_wait wait = {0};
	struct member *member;

	for (size_t i = 0; i < count; i++)
		calls[i].call.signature_len = 0;
	member = member_take(pool, deadline_ms);
	if (member == NULL)
		return fault_set(fault, FAULT_BUSY,
				 "the signer process is too busy");
	for (size_t i = 0; i < count; i++) {
		calls[i].wait = &wait;
		calls[i].call.done = call_done;
		signer_client_start(member->client, &calls[i].call);
	}
	member_run(pool, member, deadline_ms);
	for (size_t i = 0; i < count; i++) {
		if (calls[i].call.client == NULL)
			continue;
		signer_client_cancel(&calls[i].call);
		if (wait.fault.kind == FAULT_NONE)
			fault_set(&wait.fault, FAULT_BUSY,
				  "the signer process did not answer in time");
	}
	member_give(pool, member);
	if (wait.fault.kind == FAULT_NONE)
		return true;
	*fault = wait.fault;
	return false;
}
