/*
 * queue - a deep queue without a network: what its store and its schedule cost.
 *
 * usage: queue fill DIRECTORY [MESSAGES [DESTINATIONS [SIZE [DUE [PART]]]]]
 *        queue age DIRECTORY [GROUPS [DESTINATIONS [SIZE]]]
 *        queue thin DIRECTORY MESSAGES DESTINATIONS
 *        queue start DIRECTORY
 *
 * `fill` stores messages that have been deferred once, for d0.example,
 * d1.example and so on, and are due in the hour that begins DUE seconds from
 * now (default: -3600, so all are); one in PART (default: 1) is of SIZE, the
 * others are of 4 KiB. `age` works on that as the store thread
 * does: in each group some messages come, as many are delivered, and as many of
 * the deferred ones are deferred again; a twentieth of those that come is of
 * SIZE, the others are of 4 KiB. It says what a group costs as time goes on.
 * `thin` delivers every other one of the deferred ones, of all ages. `start`
 * opens the store, lets
 * every destination hold what it was given first, as if none of them answered,
 * and then delivers all. Two processes, because the memory of the first must
 * not be counted with the second's.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue/record.h"
#include "relay/queue/schedule.h"
#include "relay/queue/store_engine.h"

#define LOOPS 2
/* As a busy relay's are. A transaction of thousands leaves as many single pages
 * free, all over the file: no relay makes one, and the engine looks through
 * them for each large value, and writes their list anew with each commit. */
#define GROUP 128

static struct loop loops[LOOPS];
static struct store *store;
static struct schedule *schedule;

#define USUAL (4 * KIB)

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

static size_t wanted, destinations, size, part;
static long due_s;
static struct body model, usual_model;

/* What a first attempt left behind: one recipient, deferred. */
static struct delivery *
delivery_make(struct message *message, uint64_t due_ms)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));

	delivery->message = message;
	delivery->destination = message->recipients[0].destination;
	delivery->recipients =
		arena_array(&delivery->arena, 1, sizeof(*delivery->recipients));
	delivery->recipients_count = 1;
	delivery->recipients[0].attempts = 1;
	delivery->recipients[0].reply =
		SLICE("450 4.2.0 mailbox busy, come back later");
	delivery->recipients[0].status = SLICE("4.2.0");
	delivery->recipients[0].mx = delivery->destination;
	delivery->due_ms = due_ms;
	delivery->last_attempt_ms = message->received_ms;
	return delivery;
}

static struct message *
message_make(size_t number)
{
	struct message *message = message_new(SLICE("sender@example.com"));
	struct slice destination = arena_printf(&message->arena, "d%zu.example",
						number % destinations);

	message_add_recipient(message,
			      arena_printf(&message->arena, "rcpt@%.*s",
					   SLICE_ARG(destination)),
			      destination);
	message->prefix = SLICE("Received: from client.example.com\r\n"
				"\tby relay.example.com with ESMTP\r\n");
	message->body = number % part == 0 ? model : usual_model;
	return message;
}

static struct body
body_make(size_t bytes)
{
	char *text = memory_new(BODY_CHUNK);
	struct body body = {.size = bytes, .header_len = 14};

	memset(text, 'x', BODY_CHUNK);
	memcpy(text, "Subject: x\r\n\r\n", 14);
	body.chunks = memory_array(record_chunks(bytes), sizeof(*body.chunks));
	for (; bytes > 0; bytes -= body.chunks[body.chunks_count++].len)
		body.chunks[body.chunks_count] =
			slice_sub(slice_of(text, BODY_CHUNK), 0, bytes);
	return body;
}

/* Due one after the other, all within an hour. */
static void
fill_one(struct engine *engine, size_t number, uint64_t now_ms)
{
	struct message *message = message_make(number);
	uint64_t due_ms = now_ms + (uint64_t)(due_s * (long)SECOND) +
			  number * HOUR / wanted;
	struct list deliveries;

	list_init(&deliveries);
	list_add_last(&deliveries, &delivery_make(message, due_ms)->link);
	ASSERT(engine_put(engine, message, &deliveries, NULL));
	delivery_free(
		CONTAINER(list_take_first(&deliveries), struct delivery, link));
}

/* By what the store thread does for a group of messages. */
static int
fill(const char *directory)
{
	CLEAN(text_done) struct text queue = {0};
	struct engine *engine = NULL;
	struct fault fault = {0};
	uint64_t now_ms = clock_wall_ms();
	double start = now();

	ASSERT(size >= 64 && size <= BODY_INLINE_MAX);
	text_addf(&queue, "%s/queue", directory);
	(void)mkdir(directory, 0700);
	if (!engine_open(text_string(&queue), &engine, &fault)) {
		fprintf(stderr, "store: %s\n", fault.text);
		return 1;
	}
	model = body_make(size);
	usual_model = body_make(USUAL);
	for (size_t i = 0; i < wanted;) {
		size_t end = i + GROUP < wanted ? i + GROUP : wanted;

		ASSERT(engine_begin(engine, &fault));
		for (; i < end; i++)
			fill_one(engine, i, now_ms);
		if (!engine_commit(engine, &fault)) {
			fprintf(stderr, "store: %s\n", fault.text);
			return 1;
		}
	}
	printf("%zu messages of %zu bytes for %zu destinations stored: %.0f/s, "
	       "%.0f bytes each\n",
	       wanted, size, destinations, (double)wanted / (now() - start),
	       (double)engine_used_bytes(engine) / (double)wanted);
	engine_close(engine);
	return 0;
}

/* --- age --- */

#define AGE_EACH 8   /* of a kind, in a group */
#define AGE_STAY 512 /* come and not delivered yet */
#define AGE_REPORTS 10

static struct delivery *staying[AGE_STAY];
static size_t came;

static double
cpu_us(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

static void
age_come(struct engine *engine, const struct body *large,
	 const struct body *usual)
{
	struct message *message = message_new(SLICE("sender@example.com"));
	struct delivery **place = &staying[came % AGE_STAY];
	struct list deliveries;
	bool is_gone;

	message_add_recipient(message, SLICE("rcpt@example.net"),
			      SLICE("example.net"));
	message->body = came % 20 == 0 ? *large : *usual;
	if (*place != NULL) {
		(*place)->recipients[0].outcome = OUTCOME_DELIVERED;
		ASSERT(engine_settle(engine, *place, 0, &is_gone, NULL));
		delivery_free(*place);
	}
	list_init(&deliveries);
	*place = delivery_make(message, message->received_ms);
	list_add_last(&deliveries, &(*place)->link);
	ASSERT(engine_put(engine, message, &deliveries, NULL));
	list_remove(&(*place)->link);
	came++;
}

static void
age_damaged(void *owner, struct slice destination, uint64_t due_ms,
	    const struct message_id *id, const struct fault *fault)
{
	(void)owner;
	(void)destination;
	(void)due_ms;
	(void)id;
	(void)fault;
	ASSERT(false);
}

/* The first of some destination. */
static struct delivery *
age_due(struct engine *engine)
{
	char name[32];
	struct engine_due due = {
		.destination = slice_of(
			name,
			(size_t)snprintf(name, sizeof(name), "d%zu.example",
					 (size_t)random() % destinations)),
		.until_ms = UINT64_MAX,
		.max = 1};
	struct list *item;

	list_init(&due.deliveries);
	ASSERT(engine_read_due(engine, &due, age_damaged, NULL, NULL));
	item = list_take_first(&due.deliveries);
	ASSERT(item != NULL);
	return CONTAINER(item, struct delivery, link);
}

static void
age_group(struct engine *engine, const struct body *large,
	  const struct body *usual)
{
	struct delivery *due[AGE_EACH];
	bool is_gone;

	for (size_t i = 0; i < AGE_EACH; i++)
		due[i] = age_due(engine);
	ASSERT(engine_begin(engine, NULL));
	for (size_t i = 0; i < AGE_EACH; i++) {
		age_come(engine, large, usual);
		due[i]->recipients[0].outcome = OUTCOME_DEFERRED;
		due[i]->recipients[0].attempts++;
		ASSERT(engine_settle(engine, due[i], due[i]->due_ms + HOUR,
				     &is_gone, NULL));
		delivery_free(due[i]);
	}
	ASSERT(engine_commit(engine, NULL));
}

static int
age(const char *directory)
{
	CLEAN(text_done) struct text queue = {0};
	struct engine *engine = NULL;
	struct fault fault = {0};
	struct body usual, large;
	double cpu = 0, start = now();

	text_addf(&queue, "%s/queue", directory);
	if (!engine_open(text_string(&queue), &engine, &fault)) {
		fprintf(stderr, "store: %s\n", fault.text);
		return 1;
	}
	large = body_make(size);
	usual = body_make(USUAL);
	for (size_t i = 0; i < wanted; i++) {
		double before = cpu_us();

		age_group(engine, &large, &usual);
		cpu += cpu_us() - before;
		if ((i + 1) % (wanted / AGE_REPORTS) != 0)
			continue;
		printf("%8zu groups: %7.1f us of CPU each, %6.1f s, "
		       "%6.1f MiB used, %6.1f MiB to be used again\n",
		       i + 1, cpu / (double)(wanted / AGE_REPORTS),
		       now() - start,
		       (double)engine_used_bytes(engine) / (double)MIB,
		       (double)engine_reusable_bytes(engine) / (double)MIB);
		cpu = 0;
		start = now();
	}
	engine_close(engine);
	return 0;
}

/* --- thin --- */

#define THIN_GROUP 64

/* Settles it as delivered, with others in one transaction. */
static void
thin_one(struct engine *engine, struct delivery *delivery)
{
	bool is_gone;

	if (came % THIN_GROUP == 0)
		ASSERT(engine_begin(engine, NULL));
	delivery->recipients[0].outcome = OUTCOME_DELIVERED;
	ASSERT(engine_settle(engine, delivery, 0, &is_gone, NULL));
	if (++came % THIN_GROUP == 0)
		ASSERT(engine_commit(engine, NULL));
}

static void
thin_destination(struct engine *engine, size_t number)
{
	char name[32];
	struct engine_due due = {
		.destination = slice_of(
			name, (size_t)snprintf(name, sizeof(name),
					       "d%zu.example", number)),
		.until_ms = UINT64_MAX,
		.max = SIZE_MAX};
	struct list *item;

	list_init(&due.deliveries);
	ASSERT(engine_read_due(engine, &due, age_damaged, NULL, NULL));
	while ((item = list_take_first(&due.deliveries)) != NULL) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		if (random() % 2 == 0)
			thin_one(engine, delivery);
		delivery_free(delivery);
	}
}

static int
thin(const char *directory)
{
	CLEAN(text_done) struct text queue = {0};
	struct engine *engine = NULL;
	struct fault fault = {0};

	text_addf(&queue, "%s/queue", directory);
	if (!engine_open(text_string(&queue), &engine, &fault)) {
		fprintf(stderr, "store: %s\n", fault.text);
		return 1;
	}
	for (size_t i = 0; i < destinations; i++)
		thin_destination(engine, i);
	if (came % THIN_GROUP != 0)
		ASSERT(engine_commit(engine, NULL));
	printf("%zu delivered: %.1f MiB used, %.1f MiB to be used again\n",
	       came, (double)engine_used_bytes(engine) / (double)MIB,
	       (double)engine_reusable_bytes(engine) / (double)MIB);
	engine_close(engine);
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
	took = wait_until(&taken, SIZE_MAX);
	printf("%zu delivered in %.3f s: %.0f/s, RssAnon %.1f MiB\n",
	       atomic_load(&taken), took, (double)atomic_load(&taken) / took,
	       memory_mib("RssAnon"));
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc < 3 ||
	    (strcmp(argv[1], "fill") != 0 && strcmp(argv[1], "age") != 0 &&
	     strcmp(argv[1], "thin") != 0 && strcmp(argv[1], "start") != 0)) {
		fprintf(stderr,
			"usage: queue fill|age|thin|start DIRECTORY [MESSAGES "
			"[DESTINATIONS [SIZE [DUE]]]]\n");
		return 64;
	}
	wanted = argc > 3 ? strtoul(argv[3], NULL, 10) : 100000;
	destinations = argc > 4 ? strtoul(argv[4], NULL, 10) : 1000;
	size = argc > 5 ? strtoul(argv[5], NULL, 10) : 1000;
	due_s = argc > 6 ? strtol(argv[6], NULL, 10) : -3600;
	part = argc > 7 ? strtoul(argv[7], NULL, 10) : 1;
	if (strcmp(argv[1], "age") == 0)
		return age(argv[2]);
	if (strcmp(argv[1], "thin") == 0)
		return thin(argv[2]);
	return strcmp(argv[1], "fill") == 0 ? fill(argv[2])
					    : start_all(argv[2]);
}
