#include "keys/signer_worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keys/signer_keys.h"
#include "keys/signer_wire.h"

/* Requests taken at once: more save little beside the signatures, and would
 * keep the other threads from helping. */
#define BATCH_MAX 4
#define STACK_SIZE ((size_t)1 << 20)

/* One client. epoll's EPOLLONESHOT gives it to one thread at a time; a thread
 * that still has answers to send holds a reference beside that. */
struct peer {
	atomic_uint references;
	int descriptor;
};

struct batch {
	struct signer_request requests[BATCH_MAX];
	struct signer_answer answers[BATCH_MAX];
	bool is_whole[BATCH_MAX];
	unsigned count;
};

/* What a thread does, and what was seen of it; a cache line for each. */
struct progress {
	_Alignas(64) atomic_uint_fast64_t count; /* odd: it is at requests */
	uint64_t seen;
	unsigned looks_stuck;
};

static struct {
	int poll;
	size_t threads;
	atomic_size_t peers;
	pthread_barrier_t started;
	struct progress progress[SIGNER_THREADS_MAX];
} workers = {.poll = -1};

static void
peer_unref(struct peer *peer, unsigned references)
{
	if (atomic_fetch_sub(&peer->references, references) > references)
		return;
	close(peer->descriptor);
	free(peer);
	atomic_fetch_sub(&workers.peers, 1);
}

static void
peer_drop(struct peer *peer, unsigned references)
{
	epoll_ctl(workers.poll, EPOLL_CTL_DEL, peer->descriptor, NULL);
	peer_unref(peer, references);
}

static bool
peer_arm(struct peer *peer, int operation)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
				    .data.ptr = peer};

	return epoll_ctl(workers.poll, operation, peer->descriptor, &event) ==
	       0;
}

/* Takes what is there, up to BATCH_MAX. False at the client's end. */
static bool
batch_receive(struct peer *peer, struct batch *batch)
{
	struct mmsghdr headers[BATCH_MAX] = {0};
	struct iovec bytes[BATCH_MAX];
	int count;

	for (size_t i = 0; i < BATCH_MAX; i++) {
		bytes[i] = (struct iovec){&batch->requests[i],
					  sizeof(batch->requests[i])};
		headers[i].msg_hdr.msg_iov = &bytes[i];
		headers[i].msg_hdr.msg_iovlen = 1;
	}
	batch->count = 0;
	count = recvmmsg(peer->descriptor, headers, BATCH_MAX, MSG_DONTWAIT,
			 NULL);
	if (count < 0)
		return errno == EAGAIN || errno == EINTR;
	for (int i = 0; i < count; i++) {
		if (headers[i].msg_len == 0)
			return i > 0; /* the end; seen again next time */
		batch->is_whole[i] =
			headers[i].msg_len == sizeof(struct signer_request) &&
			(headers[i].msg_hdr.msg_flags & MSG_TRUNC) == 0;
		batch->count++;
	}
	return true;
}

static void
request_answer(const struct signer_request *request, bool is_whole,
	       struct keysets *keys, size_t thread,
	       struct signer_answer *answer)
{
	struct key *key;
	size_t len = 0;

	*answer = (struct signer_answer){.magic = ANSWER_MAGIC};
	if (!is_whole || request->magic != REQUEST_MAGIC ||
	    request->zero != 0 || request->tag == 0) {
		answer->status = ANSWER_MALFORMED;
		return;
	}
	answer->tag = request->tag;
	key = keyset_key(keys->current, thread, &request->key);
	if (key == NULL)
		key = keyset_key(keys->previous, thread, &request->key);
	if (key == NULL)
		answer->status = ANSWER_UNKNOWN_KEY;
	else if (key_sign(key, request->digest, answer->signature, &len, NULL))
		answer->status = ANSWER_SIGNED;
	else
		answer->status = ANSWER_FAILED;
	answer->len = (uint32_t)len;
}

/* A client's socket holds the answers to all the calls that it may have open
 * (signer_attach sees to that). One that is full belongs to a client that
 * does not read, and nobody waits for it. */
static void
batch_send(struct peer *peer, struct batch *batch)
{
	struct mmsghdr headers[BATCH_MAX] = {0};
	struct iovec bytes[BATCH_MAX];
	unsigned sent = 0;

	for (unsigned i = 0; i < batch->count; i++) {
		bytes[i] = (struct iovec){&batch->answers[i],
					  ANSWER_HEAD + batch->answers[i].len};
		headers[i].msg_hdr.msg_iov = &bytes[i];
		headers[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < batch->count) {
		int more = sendmmsg(peer->descriptor, headers + sent,
				    batch->count - sent,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (more < 0 && errno == EINTR)
			continue;
		if (more <= 0) {
			/* Its thread then reads the end, and drops it. */
			shutdown(peer->descriptor, SHUT_RDWR);
			return;
		}
		sent += (unsigned)more;
	}
}

/* Nobody else writes it. */
static void
progress_step(struct progress *progress)
{
	uint64_t count =
		atomic_load_explicit(&progress->count, memory_order_relaxed);

	atomic_store_explicit(&progress->count, count + 1, memory_order_relaxed);
}

static void
peer_serve(struct peer *peer, size_t thread)
{
	struct keysets keys;
	struct batch batch;
	bool is_armed;

	if (!batch_receive(peer, &batch)) {
		peer_drop(peer, 1);
		return;
	}
	atomic_fetch_add(&peer->references, 1);
	is_armed = peer_arm(peer, EPOLL_CTL_MOD);
	keys = keysets_hold();
	for (unsigned i = 0; i < batch.count; i++) {
		request_answer(&batch.requests[i], batch.is_whole[i], &keys,
			       thread, &batch.answers[i]);
		/* At work as before, at another one. */
		progress_step(&workers.progress[thread]);
		progress_step(&workers.progress[thread]);
	}
	keysets_release(&keys);
	batch_send(peer, &batch);
	if (is_armed)
		peer_unref(peer, 1);
	else
		peer_drop(peer, 2);
}

unsigned
workers_stuck(void)
{
	unsigned worst = 0;

	for (size_t i = 0; i < workers.threads; i++) {
		struct progress *progress = &workers.progress[i];
		uint64_t count = atomic_load_explicit(&progress->count,
						      memory_order_relaxed);

		if (count % 2 == 1 && count == progress->seen)
			progress->looks_stuck++;
		else
			progress->looks_stuck = 0;
		progress->seen = count;
		if (progress->looks_stuck > worst)
			worst = progress->looks_stuck;
	}
	return worst;
}

static void *
worker_run(void *argument)
{
	size_t thread = (size_t)argument;

	pthread_barrier_wait(&workers.started);
	for (;;) {
		struct epoll_event event;
		int count = epoll_wait(workers.poll, &event, 1, -1);

		if (count != 1) {
			ASSERT(count == 0 || errno == EINTR);
			continue;
		}
		progress_step(&workers.progress[thread]);
		peer_serve(event.data.ptr, thread);
		progress_step(&workers.progress[thread]);
	}
	return NULL;
}

static size_t
cores_count(void)
{
	cpu_set_t cores;
	int count;

	/* Fails where there are more than 1024. */
	if (sched_getaffinity(0, sizeof(cores), &cores) < 0)
		return SIGNER_THREADS_MAX;
	count = CPU_COUNT(&cores);
	return count > SIGNER_THREADS_MAX ? SIGNER_THREADS_MAX : (size_t)count;
}

bool
workers_start(struct fault *fault)
{
	pthread_attr_t attributes;
	int result = 0;

	workers.threads = cores_count();
	workers.poll = epoll_create1(EPOLL_CLOEXEC);
	if (workers.poll < 0)
		return fault_errno(fault, "epoll");
	ASSERT(pthread_barrier_init(&workers.started, NULL,
				    (unsigned)workers.threads + 1) == 0);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	for (size_t i = 0; i < workers.threads && result == 0; i++) {
		pthread_t thread;

		result = pthread_create(&thread, &attributes, worker_run,
					(void *)i);
	}
	pthread_attr_destroy(&attributes);
	if (result != 0) {
		errno = result;
		return fault_errno(fault, "starting a thread");
	}
	pthread_barrier_wait(&workers.started);
	return true;
}

size_t
workers_count(void)
{
	return workers.threads;
}

size_t
workers_clients(void)
{
	return atomic_load(&workers.peers);
}

bool
workers_attach(int descriptor, struct fault *fault)
{
	struct peer *peer;

	if (atomic_fetch_add(&workers.peers, 1) >= SIGNER_CLIENTS_MAX) {
		atomic_fetch_sub(&workers.peers, 1);
		return fault_set(fault, FAULT_LIMIT, "more than %d clients",
				 SIGNER_CLIENTS_MAX);
	}
	peer = memory_new(sizeof(*peer));
	peer->descriptor = descriptor;
	atomic_init(&peer->references, 1);
	if (!peer_arm(peer, EPOLL_CTL_ADD)) {
		fault_errno(fault, "attaching a client");
		free(peer);
		atomic_fetch_sub(&workers.peers, 1);
		return false;
	}
	return true;
}
