#include "tests/unit/relay/queue/schedule_stand.h"

#include <stdlib.h>

#include "milter/proof.h"
#include "relay/net/signing.h"

#define WAIT_MS MINUTE /* far longer than anything takes */

/* --- the stage and the signer, as fakes --- */

struct pipeline {
	unsigned fields;
	size_t body_bytes;
};

unsigned signatures_wanted, signing_failures, proof_failures;
atomic_uint fields_fed;
atomic_size_t body_fed;
static struct signature one_signature;

struct pipeline *
pipeline_new(struct policy *policy, uint64_t time_s)
{
	(void)policy;
	(void)time_s;
	return memory_new(sizeof(struct pipeline));
}

void
pipeline_free(struct pipeline *pipeline)
{
	fields_fed = pipeline->fields;
	body_fed = pipeline->body_bytes;
	free(pipeline);
}

void
pipeline_header(struct pipeline *pipeline, struct slice field)
{
	cr_expect_gt(field.len, 0);
	cr_expect_not(slice_ends_nocase(field, SLICE("\r\n")));
	pipeline->fields++;
}

const struct decision *
pipeline_end_of_header(struct pipeline *pipeline)
{
	(void)pipeline;
	return NULL;
}

void
pipeline_body(struct pipeline *pipeline, struct slice bytes)
{
	pipeline->body_bytes += bytes.len;
}

struct signature *
pipeline_end(struct pipeline *pipeline, size_t *count_out)
{
	(void)pipeline;
	*count_out = signatures_wanted;
	return &one_signature;
}

void
pipeline_write(const struct pipeline *pipeline, struct text *out)
{
	(void)pipeline;
	text_add_string(out, "DKIM-Signature: fake\r\n");
}

bool
pipeline_is_signature_of(struct slice field, const struct slice *domains,
			 size_t count)
{
	(void)field;
	(void)domains;
	(void)count;
	return false;
}

bool
proof_memory(const struct pipeline *pipeline, struct slice prefix,
	     const struct slice *chunks, size_t count, struct fault *fault)
{
	(void)pipeline;
	(void)chunks;
	cr_expect_gt(prefix.len, 0);
	cr_expect_gt(count, 0);
	if (proof_failures == 0)
		return true;
	proof_failures--;
	return fault_set(fault, FAULT_SYSTEM, "it does not verify");
}

const char *
prepare_changed(const struct prepare_changes *changes, size_t *next)
{
	return changes->adds_date && (*next)++ == 0 ? "Date added" : NULL;
}

struct fake_answer {
	struct post post;
	struct loop *loop;
	struct fake_answer *next;
	struct signing_order *order;
	bool has_failed;
};

static void
fake_answer_run(struct post *post)
{
	struct fake_answer *answer = CONTAINER(post, struct fake_answer, post);
	struct signing_order *order = answer->order;
	struct fault fault = {FAULT_BUSY, 0, "no signer"};
	bool has_failed = answer->has_failed;

	free(answer);
	order->done(order, has_failed ? &fault : NULL);
}

struct loop loops[LOOPS], main_loop;
uv_mutex_t mutex;
uv_cond_t cond;
bool is_signer_deaf;
size_t unanswered_count;
static struct fake_answer *unanswered;

void
signing_start(struct signing *signing, struct signing_order *order,
	      struct signature *signatures, size_t count)
{
	struct fake_answer *answer = memory_new(sizeof(*answer));

	cr_expect_eq(signatures, &one_signature);
	cr_expect_eq(count, 1);
	answer->order = order;
	answer->has_failed = signing_failures > 0;
	if (signing_failures > 0)
		signing_failures--;
	answer->loop = (struct loop *)signing;
	uv_mutex_lock(&mutex);
	if (is_signer_deaf) {
		answer->next = unanswered;
		unanswered = answer;
		unanswered_count++;
		uv_cond_broadcast(&cond);
	} else {
		loop_post(answer->loop, &answer->post, fake_answer_run);
	}
	uv_mutex_unlock(&mutex);
}

void
signer_hears(void)
{
	uv_mutex_lock(&mutex);
	is_signer_deaf = false;
	while (unanswered != NULL) {
		struct fake_answer *answer = unanswered;

		unanswered = answer->next;
		loop_post(answer->loop, &answer->post, fake_answer_run);
	}
	uv_mutex_unlock(&mutex);
}

void
signing_cancel(struct signing_order *order)
{
	struct fake_answer **at = &unanswered;

	uv_mutex_lock(&mutex);
	while (*at != NULL && (*at)->order != order)
		at = &(*at)->next;
	cr_expect_neq(*at, NULL);
	if (*at != NULL) {
		struct fake_answer *answer = *at;

		*at = answer->next;
		free(answer);
	}
	uv_mutex_unlock(&mutex);
}

/* --- delivery, as a fake --- */

struct store *store;
struct schedule *schedule;
static struct generation generation;
struct options options;
uint64_t retry_ms[2];
char path[64];
/* under the mutex */
struct attempt attempts[ATTEMPTS_MAX];
unsigned attempts_count, gone_count;
bool has_stopped, is_holding;
struct delivery *held;
struct schedule_destination *held_at;
/* What becomes of the n-th attempt of a message; called on a loop. */
struct recipient_result (*decide)(const struct delivery *delivery,
					 size_t recipient);
atomic_uint_fast64_t pause_ms, pause_after_ms;
atomic_uint hurries, told_in_vain;

static void
attempt_note(const struct schedule_destination *destination,
	     const struct delivery *delivery)
{
	struct attempt *attempt;
	const struct message *message = delivery->message;

	uv_mutex_lock(&mutex);
	if (attempts_count < ATTEMPTS_MAX) {
		attempt = &attempts[attempts_count++];
		attempt->id = message->id;
		attempt->at_ms = clock_now_ms();
		attempt->is_report = message->is_report;
		snprintf(attempt->destination, sizeof(attempt->destination),
			 "%.*s", SLICE_ARG(destination->name));
		snprintf(attempt->to, sizeof(attempt->to), "%.*s",
			 SLICE_ARG(message->recipients
					   [delivery->recipients[0].index]
						   .address));
	}
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

void
settle(struct schedule_destination *destination, struct delivery *delivery)
{
	struct recipient_result results[16];

	cr_assert_leq(delivery->recipients_count, COUNT(results));
	for (size_t i = 0; i < delivery->recipients_count; i++)
		results[i] = decide(delivery, i);
	schedule_settle(destination, delivery, results);
}

_Atomic size_t leases_seen;

static void
on_due(struct schedule_destination *destination)
{
	size_t leases = schedule->loops[destination->loop->index].leases_count;
	struct delivery *delivery;
	bool has_taken = false;

	/* Each loop has its own; what is lost between two is no matter. */
	if (leases > leases_seen)
		leases_seen = leases;
	if (slice_starts(destination->name, SLICE(DEAD)) ||
	    (held != NULL && held_at == destination))
		return;
	atomic_fetch_add(&told_in_vain, 1);
	while ((delivery = schedule_take(destination)) != NULL) {
		if (!has_taken)
			atomic_fetch_sub(&told_in_vain, 1);
		has_taken = true;
		attempt_note(destination, delivery);
		if (is_holding ||
		    slice_starts(destination->name, SLICE(SLOW))) {
			uv_mutex_lock(&mutex);
			held = delivery;
			held_at = destination;
			uv_cond_broadcast(&cond);
			uv_mutex_unlock(&mutex);
			return;
		}
		if (pause_ms > 0) {
			schedule_give_back(destination, delivery);
			schedule_pause(destination, pause_ms);
			pause_ms = 0;
			continue;
		}
		settle(destination, delivery);
		if (pause_after_ms > 0) {
			/* With its site, and at its connection's end. */
			schedule_pause(destination, pause_after_ms);
			schedule_pause(destination, pause_after_ms);
			pause_after_ms = 0;
		}
	}
}

static bool
on_gone(struct schedule_destination *destination)
{
	(void)destination;
	uv_mutex_lock(&mutex);
	gone_count++;
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
	return true;
}

static void
on_hurry(struct schedule_destination *destination)
{
	(void)destination;
	atomic_fetch_add(&hurries, 1);
}

/* --- outcomes --- */

struct recipient_result
result(enum outcome outcome, const char *reply)
{
	return (struct recipient_result){
		.outcome = outcome,
		.reply = SLICE(reply),
		.mx = SLICE("mx.example.net"),
		.address = SLICE("192.0.2.1:25"),
		.tls = SLICE("none"),
	};
}

struct recipient_result
always_delivered(const struct delivery *delivery, size_t recipient)
{
	(void)delivery;
	(void)recipient;
	return result(OUTCOME_DELIVERED, "250 2.0.0 ok");
}

struct recipient_result
third_time(const struct delivery *delivery, size_t recipient)
{
	return delivery->recipients[recipient].attempts < 2
		       ? result(OUTCOME_DEFERRED, "450 4.2.0 later")
		       : result(OUTCOME_DELIVERED, "250 ok");
}

/* Reports arrive; the rest never does. */
struct recipient_result
never(const struct delivery *delivery, size_t recipient)
{
	(void)recipient;
	return delivery->message->is_report
		       ? result(OUTCOME_DELIVERED, "250 ok")
		       : result(OUTCOME_DEFERRED, "450 4.2.0 later");
}

struct recipient_result
refused(const struct delivery *delivery, size_t recipient)
{
	(void)recipient;
	return delivery->message->is_report
		       ? result(OUTCOME_DELIVERED, "250 ok")
		       : result(OUTCOME_FAILED, "550 5.1.1 no such user");
}

/* --- start and end --- */

void
begin_schedule(void)
{
	struct fault fault = {0};

	cr_assert(schedule_new(store, loops, LOOPS, on_due, on_gone, on_hurry,
			       &schedule, &fault),
		  "%s", fault.text);
	schedule->report_retry_ms = 200;
}

static void
keep_closed(uv_handle_t *handle)
{
	free(handle);
}

static void
on_keep(uv_async_t *handle)
{
	uv_close((uv_handle_t *)handle, keep_closed);
}

/* A loop ends once it has no handle; these keep them running. */
static uv_async_t *keeps[LOOPS + 1];
static bool main_runs;

static void
loop_begin(struct loop *loop, unsigned index)
{
	cr_assert(loop_init(loop, index, NULL));
	loop->generation = &generation;
	loop->signing = (struct signing *)loop;
	keeps[index] = memory_new(sizeof(uv_async_t));
	uv_async_init(&loop->uv, keeps[index], on_keep);
}

void
begin(void)
{
	struct fault fault = {0};

	uv_mutex_init(&mutex);
	uv_cond_init(&cond);
	directory_make(path);
	retry_ms[0] = 50;
	retry_ms[1] = 100;
	options.delivery.retry_ms = retry_ms;
	options.delivery.retry_count = 2;
	options.delivery.expire_ms = 10 * MINUTE;
	options.hostname = SLICE("relay.example.com");
	generation.options = &options;
	decide = always_delivered;
	cr_assert(store_open(path, 0, &store, &fault), "%s", fault.text);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_begin(&loops[i], i);
	loop_begin(&main_loop, LOOPS);
	main_runs = false;
}

void
run_main(void)
{
	cr_assert(loop_start(&main_loop, NULL));
	main_runs = true;
}

void
run_loops(void)
{
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	if (!main_runs)
		run_main();
}

void
on_stopped(void *owner)
{
	(void)owner;
	uv_mutex_lock(&mutex);
	has_stopped = true;
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

bool
is_held(void)
{
	return held != NULL;
}

static held_fn *held_next;

static void
on_held_post(struct post *post)
{
	struct delivery *delivery = held;

	(void)post;
	held = NULL;
	is_holding = false;
	held_next(held_at, delivery);
}

void
held_go_on(held_fn *next)
{
	static struct post post;

	held_next = next;
	loop_post(held_at->loop, &post, on_held_post);
}

void
held_settle(void)
{
	held_go_on(settle);
}

/* Waits until is_there(), with the mutex held; false: it took too long. */
bool
wait_for(bool (*is_there)(void))
{
	uint64_t until_ms = clock_now_ms() + WAIT_MS;
	bool is_done;

	uv_mutex_lock(&mutex);
	while (!(is_done = is_there()) && clock_now_ms() < until_ms)
		uv_cond_timedwait(&cond, &mutex, 100 * 1000000ull);
	uv_mutex_unlock(&mutex);
	return is_done;
}

bool
stopped(void)
{
	return has_stopped;
}

void
stop_schedule(void)
{
	if (has_stopped)
		return;
	schedule_stop(schedule, &main_loop, on_stopped, NULL);
	/* Behind a test's end Criterion counts no expectation that fails, but
	 * an abort: it stops, and no signature is waited for. */
	ASSERT(wait_for(stopped));
	ASSERT(unanswered == NULL);
}

void
stop_all(void)
{
	stop_schedule();
	for (unsigned i = 0; i <= LOOPS; i++) {
		struct loop *loop = i < LOOPS ? &loops[i] : &main_loop;

		uv_async_send(keeps[i]);
		loop_stop(loop);
		loop_join(loop);
	}
	schedule_free(schedule);
	store_close(store);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_done(&loops[i]);
	loop_done(&main_loop);
	directory_remove(path);
	fake_log_clear();
	arena_done(&options.arena);
}

void
put_message(struct message *message, bool is_handed_over)
{
	struct list deliveries;

	list_init(&deliveries);
	/* In the store's own time: the main loop answers. */
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	if (is_handed_over)
		schedule_add(schedule, &deliveries);
	else
		deliveries_free(&deliveries);
}

struct message_id
put(const char *from, const char *to, bool is_handed_over)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make(from, to, 500);

	put_message(message, is_handed_over);
	return message->id;
}

void
put_deferred(struct message *message, unsigned times,
	     uint64_t last_attempt_ms, uint64_t due_ms,
	     struct list *deliveries_out)
{
	struct delivery *delivery;
	struct list deliveries, *item;

	list_init(&deliveries);
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	item = list_take_first(&deliveries);
	delivery = CONTAINER(item, struct delivery, link);
	cr_assert(list_is_empty(&deliveries));
	delivery->last_attempt_ms = last_attempt_ms;
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		delivery->recipients[i].outcome = OUTCOME_DEFERRED;
		delivery->recipients[i].attempts = times;
	}
	cr_assert(settle_wait(store, &main_loop, delivery, due_ms, NULL, NULL));
	if (deliveries_out == NULL) {
		delivery_free(delivery);
		return;
	}
	list_init(deliveries_out);
	list_add_last(deliveries_out, item);
}

static unsigned wanted_attempts;

static bool
attempted(void)
{
	return attempts_count >= wanted_attempts;
}

bool
wait_attempts(unsigned count)
{
	wanted_attempts = count;
	return wait_for(attempted);
}

static unsigned wanted_delivered;

static bool
delivered(void)
{
	return fake_log_count("delivered ", NULL) >= wanted_delivered;
}

bool
wait_delivered(unsigned count)
{
	wanted_delivered = count;
	return wait_for(delivered);
}

static unsigned wanted_gone;

static bool
gone(void)
{
	return gone_count >= wanted_gone;
}

bool
wait_gone(unsigned count)
{
	wanted_gone = count;
	return wait_for(gone);
}

static struct schedule_alter alteration_asked;
static struct schedule_alter_row row_asked;
static bool is_altered; /* under the mutex */

static void
on_altered(struct schedule_alter *asked)
{
	(void)asked;
	uv_mutex_lock(&mutex);
	is_altered = true;
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

static bool
has_altered(void)
{
	return is_altered;
}

void
alter_start(enum alteration alteration, struct message_id id,
	    const char *destination, uint64_t now_ms)
{
	row_asked = (struct schedule_alter_row){
		.id = id, .destination = SLICE(destination)};
	alteration_asked = (struct schedule_alter){.alteration = alteration,
						   .now_ms = now_ms,
						   .rows = &row_asked,
						   .count = 1,
						   .loop = &main_loop,
						   .done = on_altered};
	schedule_alter(schedule, &alteration_asked);
}

bool
altered(enum altered *altered_out)
{
	bool is_there = wait_for(has_altered);

	is_altered = false; /* for the next one */
	*altered_out = row_asked.altered;
	return is_there;
}

enum altered
alter(enum alteration alteration, struct message_id id,
      const char *destination, uint64_t now_ms)
{
	enum altered what;

	alter_start(alteration, id, destination, now_ms);
	cr_assert(altered(&what));
	return what;
}
