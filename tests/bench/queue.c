/*
 * queue - a deep queue: what a start costs, what it holds in memory, and how
 * fast it is worked off.
 *
 * usage: queue fill DIRECTORY [MESSAGES [DESTINATIONS [SIZE]]]
 *        queue start DIRECTORY
 *
 * `fill` stores messages and defers each once. `start` opens the store, lets
 * every destination hold what it was given first, as if none of them answered,
 * and then delivers all. Two processes, because the memory of the first must
 * not be counted with the second's.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue/schedule.h"

#define LOOPS 2
#define FLIGHTS 256

static struct loop loops[LOOPS], main_loop;
static struct store *store;
static struct schedule *schedule;

static double
now(void)
{
	return (double)clock_now_ms() / 1e3;
}

/* Of /proc/self/status, in MiB. */
static double
memory_mib(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[160];
	double kib = 0;

	ASSERT(file != NULL);
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			kib = strtod(line + strlen(name) + 1, NULL);
	fclose(file);
	return kib / 1024;
}

static bool
bench_open(const char *directory)
{
	struct fault fault = {0};
	double start = now();

	if (!store_open(directory, 0, &store, &fault)) {
		fprintf(stderr, "store: %s\n", fault.text);
		return false;
	}
	printf("store opened and checked in %.3f s\n", now() - start);
	return true;
}

/* --- fill --- */

static size_t wanted, destinations, size, started, ended;
static struct body model;

struct flight {
	struct store_put put;
	struct store_settle settle;
};

static void flight_start(struct flight *flight);

static void
fill_settled(struct store_settle *settle, const struct fault *fault)
{
	ASSERT(fault == NULL);
	delivery_free(settle->delivery);
	ended++;
	flight_start(settle->private);
}

static void
fill_put(struct store_put *put, const struct fault *fault)
{
	struct flight *flight = put->private;
	struct delivery *delivery = CONTAINER(put->deliveries.next,
					      struct delivery, link);

	ASSERT(fault == NULL);
	list_remove(&delivery->link);
	delivery->recipients[0].outcome = OUTCOME_DEFERRED;
	delivery->recipients[0].attempts = 1;
	delivery->recipients[0].reply =
		SLICE("450 4.2.0 mailbox busy, come back later");
	flight->settle = (struct store_settle){.delivery = delivery,
					       .due_ms = clock_wall_ms(),
					       .loop = &main_loop,
					       .done = fill_settled,
					       .private = flight};
	store_settle(store, &flight->settle);
}

static void
flight_start(struct flight *flight)
{
	struct message *message;
	struct slice destination;

	if (started == wanted)
		return;
	message = message_new(SLICE("sender@example.org"));
	destination = arena_printf(&message->arena, "d%zu.example",
				   started % destinations);
	message_add_recipient(message,
			      arena_printf(&message->arena, "rcpt@%.*s",
					   SLICE_ARG(destination)),
			      destination);
	message->body = model;
	started++;
	flight->put = (struct store_put){.message = message,
					 .loop = &main_loop,
					 .done = fill_put, .private = flight};
	store_put(store, &flight->put);
	message_unref(message);
}

static void
model_make(void)
{
	model.size = size;
	model.chunks_count = 1;
	model.chunks = memory_new(sizeof(*model.chunks));
	model.chunks[0] = slice_of(memory_new(size), size);
}

static int
fill(const char *directory)
{
	struct flight *flights = memory_array(FLIGHTS, sizeof(*flights));
	double start;

	ASSERT(size > 0 && size <= BODY_CHUNK);
	if (!bench_open(directory))
		return 1;
	ASSERT(loop_init(&main_loop, 0, NULL));
	model_make();
	start = now();
	for (size_t i = 0; i < FLIGHTS; i++)
		flight_start(&flights[i]);
	while (ended < wanted)
		uv_run(&main_loop.uv, UV_RUN_ONCE);
	printf("%zu messages of %zu bytes for %zu destinations stored and "
	       "deferred: %.0f/s\n",
	       wanted, size, destinations, (double)wanted / (now() - start));
	store_close(store);
	loop_done(&main_loop);
	free(flights);
	return 0;
}

/* --- start --- */

/* A loop's destinations whose first delivery is being tried. */
struct waiting {
	struct post post;
	struct schedule_destination **destinations;
	struct delivery **deliveries;
	size_t count, room;
	bool is_delivering;
};

static struct waiting waiting[LOOPS];
static atomic_size_t told, taken, gone;

static void
on_due(struct schedule_destination *destination)
{
	struct waiting *mine = &waiting[destination->loop->index];
	struct recipient_result result = {.outcome = OUTCOME_DELIVERED,
					  .reply = SLICE("250 ok")};
	struct delivery *delivery;

	if (mine->is_delivering) {
		while ((delivery = schedule_take(destination)) != NULL) {
			atomic_fetch_add(&taken, 1);
			schedule_settle(destination, delivery, &result);
		}
		return;
	}
	delivery = schedule_take(destination);
	if (delivery == NULL)
		return;
	if (mine->count == mine->room) {
		mine->room = mine->room == 0 ? 64 : mine->room * 2;
		mine->destinations =
			memory_grow(mine->destinations,
				    mine->room * sizeof(*mine->destinations));
		mine->deliveries =
			memory_grow(mine->deliveries,
				    mine->room * sizeof(*mine->deliveries));
	}
	mine->destinations[mine->count] = destination;
	mine->deliveries[mine->count++] = delivery;
	atomic_fetch_add(&told, 1);
}

static void
on_answer(struct post *post)
{
	struct waiting *mine = CONTAINER(post, struct waiting, post);

	mine->is_delivering = true;
	for (size_t i = 0; i < mine->count; i++) {
		schedule_give_back(mine->destinations[i], mine->deliveries[i]);
		on_due(mine->destinations[i]);
	}
}

static bool
on_gone(struct schedule_destination *destination)
{
	(void)destination;
	atomic_fetch_add(&gone, 1);
	return true;
}

static void
on_hurry(struct schedule_destination *destination)
{
	(void)destination;
}

static void
count_destination(void *owner, struct slice name, uint64_t due_ms)
{
	(void)owner;
	(void)name;
	(void)due_ms;
	destinations++;
}

/* Until `counter` has stood still for a while or is at what is wanted. */
static double
wait_until(atomic_size_t *counter, size_t enough)
{
	double start = now(), changed = start;
	size_t last = 0;

	while (last < enough && now() < changed + 3) {
		size_t seen = atomic_load(counter);

		if (seen != last)
			changed = now();
		last = seen;
		uv_sleep(1);
	}
	return changed - start;
}

static void
loop_begin(struct loop *loop, unsigned index, struct generation *generation)
{
	ASSERT(loop_init(loop, index, NULL));
	loop->generation = generation;
}

static int
start_all(const char *directory)
{
	static struct options options;
	static struct generation generation = {.options = &options};
	static uint64_t retry_ms[] = {5 * MINUTE};
	struct fault fault = {0};
	double start, took;

	options.delivery.retry_ms = retry_ms;
	options.delivery.retry_count = 1;
	options.delivery.expire_ms = 5 * DAY;
	options.hostname = SLICE("relay.example.com");
	start = now();
	if (!bench_open(directory))
		return 1;
	destinations = 0;
	ASSERT(store_each_destination(store, count_destination, NULL, &fault));
	for (unsigned i = 0; i < LOOPS; i++)
		loop_begin(&loops[i], i, &generation);
	ASSERT(schedule_new(store, loops, LOOPS, on_due, on_gone, on_hurry,
			    &schedule, &fault));
	for (unsigned i = 0; i < LOOPS; i++)
		ASSERT(loop_start(&loops[i], NULL));
	printf("%zu destinations; running after %.3f s\n", destinations,
	       now() - start);
	took = wait_until(&told, destinations);
	printf("%zu destinations were given their first in %.3f s: RssAnon "
	       "%.1f MiB, RssFile %.1f MiB\n",
	       atomic_load(&told), took, memory_mib("RssAnon"),
	       memory_mib("RssFile"));
	for (unsigned i = 0; i < LOOPS; i++)
		loop_post(&loops[i], &waiting[i].post, on_answer);
	took = wait_until(&gone, destinations);
	printf("%zu delivered in %.3f s: %.0f/s, RssAnon %.1f MiB\n",
	       atomic_load(&taken), took, (double)atomic_load(&taken) / took,
	       memory_mib("RssAnon"));
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc < 3 ||
	    (strcmp(argv[1], "fill") != 0 && strcmp(argv[1], "start") != 0)) {
		fprintf(stderr, "usage: queue fill|start DIRECTORY [MESSAGES "
				"[DESTINATIONS [SIZE]]]\n");
		return 64;
	}
	wanted = argc > 3 ? strtoul(argv[3], NULL, 10) : 100000;
	destinations = argc > 4 ? strtoul(argv[4], NULL, 10) : 1000;
	size = argc > 5 ? strtoul(argv[5], NULL, 10) : 1000;
	return strcmp(argv[1], "fill") == 0 ? fill(argv[2])
					    : start_all(argv[2]);
}
