#include "relay/delivery/peers.h"

#include <stdlib.h>

#include "base/list.h"
#include "relay/net/tls.h"

#define BUCKETS 1024 /* a power of two */

struct session {
	struct text bytes;
	uint64_t until_ms;
};

/* What is remembered under one key. */
struct trace {
	struct list bucket_link, use_link;
	struct text key;
	uint64_t until_ms; /* of the newest session, where it has any */
	struct session sessions[PEER_SESSIONS_MAX]; /* oldest first */
	size_t sessions_count;
};

struct memory {
	struct list buckets[BUCKETS];
	struct list uses; /* the least recent first */
	size_t count, max;
};

struct peers {
	pthread_mutex_t lock;
	struct memory lapses, silent, sessions;
	struct ipv6 ipv6;
};

/* --- a bounded memory --- */

static void
memory_init(struct memory *memory, size_t max)
{
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&memory->buckets[i]);
	list_init(&memory->uses);
	memory->max = max;
}

static struct list *
bucket_of(struct memory *memory, struct slice key)
{
	return &memory->buckets[slice_hash(key) % BUCKETS];
}

static void
trace_forget(struct memory *memory, struct trace *trace)
{
	list_remove(&trace->bucket_link);
	list_remove(&trace->use_link);
	ASSERT(memory->count > 0);
	memory->count--;
	for (size_t i = 0; i < trace->sessions_count; i++)
		tls_session_cleanse(&trace->sessions[i].bytes);
	text_done(&trace->key);
	free(trace);
}

static void
memory_forget_oldest(struct memory *memory)
{
	trace_forget(memory,
		     CONTAINER(memory->uses.next, struct trace, use_link));
}

/* NULL: nothing, or nothing that is still believed. */
static struct trace *
memory_find(struct memory *memory, struct slice key)
{
	LIST_EACH (item, bucket_of(memory, key)) {
		struct trace *trace =
			CONTAINER(item, struct trace, bucket_link);

		if (!slice_eq(text_slice(&trace->key), key))
			continue;
		if (clock_now_ms() < trace->until_ms)
			return trace;
		trace_forget(memory, trace);
		return NULL;
	}
	return NULL;
}

static struct trace *
memory_find_or_add(struct memory *memory, struct slice key)
{
	struct trace *trace = memory_find(memory, key);

	if (trace != NULL) {
		list_remove(&trace->use_link);
	} else {
		if (memory->count == memory->max)
			memory_forget_oldest(memory);
		trace = memory_new(sizeof(*trace));
		text_add(&trace->key, key);
		list_add_first(bucket_of(memory, key), &trace->bucket_link);
		memory->count++;
	}
	list_add_last(&memory->uses, &trace->use_link);
	return trace;
}

/* --- peers --- */

struct peers *
peers_new(void)
{
	struct peers *peers = memory_new(sizeof(*peers));

	ASSERT(pthread_mutex_init(&peers->lock, NULL) == 0);
	ipv6_init(&peers->ipv6);
	memory_init(&peers->lapses, PEERS_LAPSES_MAX);
	memory_init(&peers->silent, PEERS_SILENT_MAX);
	memory_init(&peers->sessions, PEERS_SESSIONS_MAX);
	return peers;
}

void
peers_free(struct peers *peers)
{
	if (peers == NULL)
		return;
	while (peers->lapses.count > 0)
		memory_forget_oldest(&peers->lapses);
	while (peers->silent.count > 0)
		memory_forget_oldest(&peers->silent);
	while (peers->sessions.count > 0)
		memory_forget_oldest(&peers->sessions);
	ipv6_done(&peers->ipv6);
	pthread_mutex_destroy(&peers->lock);
	free(peers);
}

struct ipv6 *
peers_ipv6(struct peers *peers)
{
	return &peers->ipv6;
}

/* --- lapses --- */

static void
lapse_key(struct text *key, enum peer_lapse lapse, struct slice host,
	  const struct address *address, uint64_t terms)
{
	char text[ADDRESS_TEXT_SIZE];

	address_write(address, text);
	text_addf(key, "%u %llu %s ", (unsigned)lapse,
		  (unsigned long long)terms, text);
	for (size_t i = 0; i < host.len; i++)
		text_add_byte(key, ascii_lower(host.bytes[i]));
}

bool
peers_note_lapse(struct peers *peers, enum peer_lapse lapse, struct slice host,
		 const struct address *address, uint64_t terms)
{
	CLEAN(text_done) struct text key = {0};
	struct trace *trace;
	bool is_new;

	lapse_key(&key, lapse, host, address, terms);
	pthread_mutex_lock(&peers->lock);
	trace = memory_find_or_add(&peers->lapses, text_slice(&key));
	is_new = trace->until_ms == 0;
	trace->until_ms = clock_now_ms() + (lapse == PEER_LAPSE_TLS
						    ? PEER_CLEAR_MS
						    : PEER_LAPSE_MS);
	pthread_mutex_unlock(&peers->lock);
	return is_new;
}

void
peers_forget_lapse(struct peers *peers, enum peer_lapse lapse,
		   struct slice host, const struct address *address,
		   uint64_t terms)
{
	CLEAN(text_done) struct text key = {0};
	struct trace *trace;

	lapse_key(&key, lapse, host, address, terms);
	pthread_mutex_lock(&peers->lock);
	trace = memory_find(&peers->lapses, text_slice(&key));
	if (trace != NULL)
		trace_forget(&peers->lapses, trace);
	pthread_mutex_unlock(&peers->lock);
}

bool
peers_has_lapse(struct peers *peers, enum peer_lapse lapse, struct slice host,
		const struct address *address, uint64_t terms)
{
	CLEAN(text_done) struct text key = {0};
	bool has_lapse;

	lapse_key(&key, lapse, host, address, terms);
	pthread_mutex_lock(&peers->lock);
	has_lapse = memory_find(&peers->lapses, text_slice(&key)) != NULL;
	pthread_mutex_unlock(&peers->lock);
	return has_lapse;
}

/* --- silence --- */

void
peers_note_silence(struct peers *peers, const struct address *address)
{
	char key[ADDRESS_TEXT_SIZE];

	address_write(address, key);
	pthread_mutex_lock(&peers->lock);
	memory_find_or_add(&peers->silent, SLICE(key))->until_ms =
		clock_now_ms() + PEER_SILENCE_MS;
	pthread_mutex_unlock(&peers->lock);
}

void
peers_forget_silence(struct peers *peers, const struct address *address)
{
	char key[ADDRESS_TEXT_SIZE];
	struct trace *trace;

	address_write(address, key);
	pthread_mutex_lock(&peers->lock);
	trace = memory_find(&peers->silent, SLICE(key));
	if (trace != NULL)
		trace_forget(&peers->silent, trace);
	pthread_mutex_unlock(&peers->lock);
}

static uint64_t
silence_ms(struct peers *peers, const struct address *address)
{
	char key[ADDRESS_TEXT_SIZE];
	uint64_t now_ms = clock_now_ms();
	const struct trace *trace;

	address_write(address, key);
	trace = memory_find(&peers->silent, SLICE(key));
	return trace != NULL && trace->until_ms > now_ms
		       ? trace->until_ms - now_ms
		       : 0;
}

void
peers_recall_silence(struct peers *peers, struct peer_silence *asked,
		     size_t count)
{
	pthread_mutex_lock(&peers->lock);
	for (size_t i = 0; i < count; i++)
		asked[i].left_ms = peers->silent.count == 0
					   ? 0
					   : silence_ms(peers,
							asked[i].address);
	pthread_mutex_unlock(&peers->lock);
}

/* --- sessions --- */

static void
session_drop_oldest(struct trace *trace)
{
	tls_session_cleanse(&trace->sessions[0].bytes);
	trace->sessions_count--;
	memmove(&trace->sessions[0], &trace->sessions[1],
		trace->sessions_count * sizeof(trace->sessions[0]));
}

void
peers_keep_session(struct peers *peers, struct slice key, struct slice session)
{
	struct session kept = {.until_ms = clock_now_ms() + PEER_SESSION_MS};
	struct trace *trace;

	ASSERT(session.len <= TLS_SESSION_BYTES_MAX);
	text_add(&kept.bytes, session);
	pthread_mutex_lock(&peers->lock);
	trace = memory_find_or_add(&peers->sessions, key);
	if (trace->sessions_count == PEER_SESSIONS_MAX)
		session_drop_oldest(trace);
	trace->sessions[trace->sessions_count++] = kept;
	trace->until_ms = kept.until_ms;
	pthread_mutex_unlock(&peers->lock);
}

/* The newest first: the server will know it longest. */
bool
peers_take_session(struct peers *peers, struct slice key,
		   struct text *session_out)
{
	struct trace *trace;

	pthread_mutex_lock(&peers->lock);
	trace = memory_find(&peers->sessions, key);
	if (trace != NULL) {
		*session_out = trace->sessions[--trace->sessions_count].bytes;
		if (trace->sessions_count == 0)
			trace_forget(&peers->sessions, trace);
		else
			trace->until_ms =
				trace->sessions[trace->sessions_count - 1]
					.until_ms;
	}
	pthread_mutex_unlock(&peers->lock);
	return trace != NULL;
}
