/*
 * store - messages a second through the store, put and later settled, at
 * several numbers in flight, and the CPU that they cost.
 *
 * usage: store [DIRECTORY [MESSAGES [SIZE]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "relay/queue/store.h"

static struct loop loop;
static struct store *store;
static size_t size, started, ended, wanted;
static struct message *model;

struct flight {
	struct store_put put;
	struct store_settle settle;
};

static double
seconds(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct message *
message_like_model(void)
{
	struct message *message = message_new(SLICE("sender@example.org"));
	struct body *body = &message->body;

	message_add_recipient(message, SLICE("somebody@x.example"),
			      SLICE("x.example"));
	message->prefix = model->prefix;
	*body = model->body;
	return message;
}

static void flight_start(struct flight *flight);

static void
settled(struct store_settle *settle, const struct fault *fault)
{
	struct flight *flight = settle->private;

	ASSERT(fault == NULL);
	delivery_free(settle->delivery);
	ended++;
	flight_start(flight);
}

static void
put_done(struct store_put *put, const struct fault *fault)
{
	struct flight *flight = put->private;
	struct delivery *delivery = CONTAINER(put->deliveries.next,
					      struct delivery, link);

	ASSERT(fault == NULL);
	list_remove(&delivery->link);
	delivery->recipients[0].outcome = OUTCOME_DELIVERED;
	flight->settle = (struct store_settle){.delivery = delivery,
					       .loop = &loop,
					       .done = settled,
					       .private = flight};
	store_settle(store, &flight->settle);
}

static void
flight_start(struct flight *flight)
{
	struct message *message;

	if (started == wanted)
		return;
	started++;
	message = message_like_model();
	flight->put = (struct store_put){.message = message, .loop = &loop,
					 .done = put_done, .private = flight};
	store_put(store, &flight->put);
	message_unref(message);
}

static void
measure(unsigned flights)
{
	struct flight *all = memory_array(flights, sizeof(*all));
	struct store_counters before, after;
	double wall = seconds(CLOCK_MONOTONIC);
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

	store_count(store, &before);
	started = ended = 0;
	for (unsigned i = 0; i < flights; i++)
		flight_start(&all[i]);
	while (ended < wanted)
		uv_run(&loop.uv, UV_RUN_ONCE);
	wall = seconds(CLOCK_MONOTONIC) - wall;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	store_count(store, &after);
	printf("%4u in flight: %8.0f messages/s, %6.1f us CPU/message (put "
	       "and settle, all threads), %5.1f operations/commit\n",
	       flights, (double)wanted / wall, cpu * 1e6 / (double)wanted,
	       (double)(2 * wanted) /
		       (double)(after.commits - before.commits));
	free(all);
}

static void
model_make(void)
{
	struct body *body;
	size_t count = (size + BODY_CHUNK - 1) / BODY_CHUNK;

	model = message_new(SLICE_NONE);
	body = &model->body;
	model->prefix = slice_of(memory_new(900), 900);
	body->size = size;
	body->chunks_count = count;
	body->chunks = memory_array(count, sizeof(*body->chunks));
	for (size_t i = 0; i < count; i++)
		body->chunks[i] =
			slice_of(memory_new(BODY_CHUNK),
				 size - i * BODY_CHUNK < BODY_CHUNK
					 ? size - i * BODY_CHUNK
					 : BODY_CHUNK);
}

int
main(int argc, char **argv)
{
	static const unsigned flights[] = {1, 16, 64, 256};
	struct fault fault;

	wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000;
	size = argc > 3 ? strtoul(argv[3], NULL, 10) : 4096;
	if (!store_open(argc > 1 ? argv[1] : "store-bench", 0, &store,
			&fault)) {
		fprintf(stderr, "store: %s\n", fault.text);
		return fault_exit_code(&fault);
	}
	ASSERT(loop_init(&loop, 0, NULL));
	model_make();
	for (size_t i = 0; i < COUNT(flights); i++)
		measure(flights[i]);
	store_close(store);
	loop_done(&loop);
	return 0;
}
