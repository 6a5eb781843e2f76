#include "relay/server/server.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "relay/limits.h"
#include "relay/net/worker.h"
#include "relay/server/acceptor.h"
#include "relay/server/census.h"
#include "relay/server/dovecot.h"
#include "relay/server/offenders.h"
#include "relay/server/rates.h"
#include "relay/server/session.h"
#include "relay/server/strangers.h"

/*
 * Who is counted: each session from the moment it is dealt, and the server
 * itself until server_stop() has told all loops. Whoever brings the count to
 * zero says that the server has stopped.
 */
struct server {
	struct loop *main_loop;
	struct share *shares;
	size_t shares_count;
	size_t next_share;
	struct acceptor *acceptor; /* the first share's loop's */
	/* Its thread's: clients turned away since that was told last. */
	unsigned long long crowd;
	uint64_t crowd_told_ms; /* 0: never */
	struct worker *logins;
	struct offenders *offenders;
	struct census *census;
	struct strangers strangers;
	struct rates *rates;
	atomic_size_t count;
	struct alarm grace;
	struct post ended, stop;
	void (*stopped)(void *owner);
	void *stopped_owner;
	bool is_stopping;
};

/* Sockets on their way to the loop that accepts. */
struct listening {
	struct post post;
	struct server *server;
	struct generation *generation;
	int descriptors[];
};

/* One accepted connection on its way to its loop. */
struct arrival {
	struct post post;
	struct share *share;
	struct generation *generation;
	size_t listener;
	int descriptor;
};

bool
server_new(struct loop *main_loop, struct loop *loops, size_t loops_count,
	   struct store *store, struct schedule *schedule,
	   struct server **server_out, struct fault *fault)
{
	struct server *server;

	if (loops_count == 0)
		return fault_set(fault, FAULT_INPUT, "no loop to serve on");
	server = memory_new(sizeof(*server));
	if (!worker_new("login", LOGIN_THREADS, LOGIN_JOBS_MAX,
			&server->logins, fault)) {
		free(server);
		return false;
	}
	server->offenders = offenders_new();
	server->census = census_new();
	server->rates = rates_new();
	server->main_loop = main_loop;
	server->shares = memory_array(loops_count, sizeof(*server->shares));
	server->shares_count = loops_count;
	atomic_init(&server->count, 1);
	atomic_init(&server->strangers.count, 0);
	for (size_t i = 0; i < loops_count; i++) {
		struct share *share = &server->shares[i];

		share->server = server;
		share->loop = &loops[i];
		share->store = store;
		share->schedule = schedule;
		share->logins = server->logins;
		share->offenders = server->offenders;
		share->census = server->census;
		share->strangers = &server->strangers;
		share->rates = server->rates;
		atomic_init(&share->count, 0);
		list_init(&share->sessions);
	}
	*server_out = server;
	return true;
}

void
server_free(struct server *server)
{
	if (server == NULL)
		return;
	ASSERT(server->acceptor == NULL);
	for (size_t i = 0; i < server->shares_count; i++)
		ASSERT(list_is_empty(&server->shares[i].sessions));
	worker_free(server->logins);
	offenders_free(server->offenders);
	census_free(server->census);
	ASSERT(atomic_load(&server->strangers.count) == 0);
	rates_free(server->rates);
	free(server->shares);
	free(server);
}

/* --- dealing --- */

static void
on_grace_closed(struct alarm *alarm)
{
	struct server *server = CONTAINER(alarm, struct server, grace);

	server->stopped(server->stopped_owner);
}

static void
all_ended(struct post *post)
{
	struct server *server = CONTAINER(post, struct server, ended);

	alarm_close(&server->grace, on_grace_closed);
}

static void
count_down(struct server *server)
{
	if (atomic_fetch_sub(&server->count, 1) == 1)
		loop_post(server->main_loop, &server->ended, all_ended);
}

void
share_session_ended(struct share *share)
{
	ASSERT(atomic_fetch_sub(&share->count, 1) > 0);
	count_down(share->server);
}

static void
arrive(struct post *post)
{
	struct arrival *arrival = CONTAINER(post, struct arrival, post);

	session_start(arrival->share, arrival->descriptor, arrival->generation,
		      arrival->listener);
	generation_unref(arrival->generation);
	free(arrival);
}

/* The one with the fewest; among equals they take turns. */
static struct share *
least_loaded(struct server *server)
{
	struct share *best = NULL;
	size_t best_count = 0;

	for (size_t i = 0; i < server->shares_count; i++) {
		size_t at = (server->next_share + i) % server->shares_count;
		size_t count = atomic_load(&server->shares[at].count);

		if (best == NULL || count < best_count) {
			best = &server->shares[at];
			best_count = count;
		}
	}
	ASSERT(best != NULL);
	server->next_share = (server->next_share + 1) % server->shares_count;
	return best;
}

static size_t
fewest(const struct server *server)
{
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < server->shares_count; i++) {
		size_t count = atomic_load(&server->shares[i].count);

		if (count < found)
			found = count;
	}
	return found;
}

/* The first that is neither at work all the time nor far ahead of the others:
 * a loop with more sessions finds more to do each time that it is woken, and
 * less goes from thread to thread. */
static struct share *
share_choose(struct server *server)
{
	size_t most = fewest(server) + SESSIONS_AHEAD_MAX;

	for (size_t i = 0; i < server->shares_count; i++) {
		struct share *share = &server->shares[i];

		if (atomic_load(&share->count) < most &&
		    !loop_is_busy(share->loop))
			return share;
	}
	return least_loaded(server);
}

/* It accepts, so that what it deals to itself need not go from thread to
 * thread. */
static struct share *
accepting(const struct server *server)
{
	return &server->shares[0];
}

static size_t
everybody(const struct server *server)
{
	return atomic_load(&server->count) - 1; /* the server */
}

size_t
share_everybody(const struct share *share)
{
	return everybody(share->server);
}

/* Who is behind a proxy it says later. */
static bool
may_be_allowed(const struct listener_options *listener, int descriptor)
{
	struct address peer = {.len = sizeof(peer.local)};

	if (getpeername(descriptor, &peer.any, &peer.len) != 0)
		return false;
	address_unmap(&peer);
	return networks_contain(listener->allow_from,
				listener->allow_from_count, &peer) ||
	       networks_contain(listener->proxy_from,
				listener->proxy_from_count, &peer);
}

static bool
has_place(const struct server *server, const struct options *options,
	  size_t listener, int descriptor)
{
	uint64_t max = options->limits.max_sessions;

	/* Of two strangers at once the session has the last word: welcome.c. */
	return everybody(server) < max &&
	       (strangers_have_place(&server->strangers, max) ||
		may_be_allowed(&options->listeners[listener], descriptor));
}

/* Not of every one: who floods a listener would fill the log as well. */
static void
crowd_tell(struct server *server)
{
	uint64_t now_ms = clock_now_ms();

	server->crowd++;
	if (server->crowd_told_ms != 0 &&
	    now_ms < server->crowd_told_ms + CROWD_TELL_MS)
		return;
	log_note(LOG_LEVEL_WARNING, "refused",
		 "limits.max_sessions clients are connected, or as many as may be "
		 "that allow_from does not name and that have not logged in: "
		 "%llu turned away since this was said last",
		 server->crowd);
	server->crowd = 0;
	server->crowd_told_ms = now_ms;
}

static void
deal(void *owner, int descriptor, struct generation *generation,
     size_t listener)
{
	struct server *server = owner;
	struct share *share = share_choose(server);
	struct arrival *arrival;

	if (!has_place(server, generation->options, listener, descriptor)) {
		acceptor_refuse(descriptor, generation, listener);
		crowd_tell(server);
		return;
	}
	atomic_fetch_add(&share->count, 1);
	atomic_fetch_add(&server->count, 1);
	if (share == accepting(server)) {
		session_start(share, descriptor, generation, listener);
		return;
	}
	arrival = memory_new(sizeof(*arrival));
	arrival->share = share;
	arrival->generation = generation_ref(generation);
	arrival->listener = listener;
	arrival->descriptor = descriptor;
	loop_post(share->loop, &arrival->post, arrive);
}

static void
listen_run(struct post *post)
{
	struct listening *listening = CONTAINER(post, struct listening, post);
	struct server *server = listening->server;

	if (server->acceptor != NULL)
		acceptor_close(&server->acceptor);
	server->acceptor = acceptor_open(accepting(server)->loop,
					 listening->generation,
					 listening->descriptors, deal, server);
	generation_unref(listening->generation);
	free(listening);
}

void
server_listen(struct server *server, struct generation *generation,
	      const int *descriptors)
{
	size_t size = generation->options->listeners_count *
		      sizeof(*descriptors);
	struct listening *listening = memory_new(sizeof(*listening) + size);

	ASSERT(!server->is_stopping);
	listening->server = server;
	listening->generation = generation_ref(generation);
	memcpy(listening->descriptors, descriptors, size);
	loop_post(accepting(server)->loop, &listening->post, listen_run);
}

/* --- stopping --- */

struct dovecot *
share_dovecot(struct share *share, struct slice path)
{
	struct fault fault;

	if (share->is_stopping)
		return NULL;
	for (size_t i = 0; i < SHARE_DOVECOTS_MAX; i++) {
		struct dovecot **dovecot = &share->dovecots[i];

		if (*dovecot == NULL &&
		    !dovecot_open(share->loop, path, dovecot, &fault))
			return NULL;
		if (slice_eq(dovecot_path(*dovecot), path))
			return *dovecot;
	}
	return NULL;
}

static void
share_stop(struct post *post)
{
	struct share *share = CONTAINER(post, struct share, stop);

	share->is_stopping = true;
	LIST_EACH(item, &share->sessions)
		session_stop(CONTAINER(item, struct session, link));
	/* Who was logging in has been told, and nobody begins to. */
	for (size_t i = 0; i < SHARE_DOVECOTS_MAX; i++)
		dovecot_close(&share->dovecots[i]);
	count_down(share->server);
}

static void
share_kill(struct post *post)
{
	struct share *share = CONTAINER(post, struct share, kill);

	LIST_EACH(item, &share->sessions)
		session_give_up(CONTAINER(item, struct session, link));
	count_down(share->server);
}

/* Each post is counted, so that none is under way when all has ended. */
static void
tell_shares(struct server *server, bool kills)
{
	for (size_t i = 0; i < server->shares_count; i++) {
		struct share *share = &server->shares[i];

		atomic_fetch_add(&server->count, 1);
		if (kills)
			loop_post(share->loop, &share->kill, share_kill);
		else
			loop_post(share->loop, &share->stop, share_stop);
	}
}

void
server_count(const struct server *server, struct server_counters *out)
{
	*out = (struct server_counters){0};
	for (size_t i = 0; i < server->shares_count; i++) {
		out->sessions += atomic_load(&server->shares[i].count);
		out->rejected += atomic_load(&server->shares[i].rejected);
	}
}

static void
on_grace_over(struct alarm *alarm)
{
	struct server *server = CONTAINER(alarm, struct server, grace);
	size_t count = atomic_load(&server->count);

	/* Count ourselves in, unless it is zero: all_ended() is on its way. */
	while (count > 0 && !atomic_compare_exchange_weak(&server->count,
							  &count, count + 1))
		;
	if (count == 0)
		return;
	tell_shares(server, true);
	count_down(server);
}

/* Whoever is dealt to another loop gets there before it is told. */
static void
stop_run(struct post *post)
{
	struct server *server = CONTAINER(post, struct server, stop);

	if (server->acceptor != NULL)
		acceptor_close(&server->acceptor);
	tell_shares(server, false);
	count_down(server);
}

void
server_stop(struct server *server, uint64_t grace_ms,
	    void (*stopped)(void *owner), void *owner)
{
	ASSERT(!server->is_stopping);
	server->is_stopping = true;
	server->stopped = stopped;
	server->stopped_owner = owner;
	alarm_init(&server->grace, server->main_loop, on_grace_over);
	alarm_set(&server->grace, grace_ms);
	loop_post(accepting(server)->loop, &server->stop, stop_run);
}
