#include <criterion/criterion.h>

#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "milter/proof.h"
#include "relay/net/signing.h"
#include "relay/queue/schedule_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/*
 * The scheduler with a real store, real loops, and a delivery that does what
 * the test says. Signing is a fake linked in place of the stage.
 */

#define LOOPS 2
#define WAIT_MS (20 * SECOND) /* far longer than anything takes */

/* --- the stage and the signer, as fakes --- */

struct pipeline {
	unsigned fields;
	size_t body_bytes;
};

static unsigned signatures_wanted, signing_failures, proof_failures;
static unsigned fields_fed;
static size_t body_fed;
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

static struct loop loops[LOOPS], main_loop;

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
	loop_post((struct loop *)signing, &answer->post, fake_answer_run);
}

/* --- delivery, as a fake --- */

struct attempt {
	struct message_id id;
	uint64_t at_ms;
	char to[64];
	bool is_report;
	char reply[64];
};

#define ATTEMPTS_MAX 4096

static struct store *store;
static struct schedule *schedule;
static struct generation generation;
static struct options options;
static uint64_t retry_ms[2];
static char path[64];
static uv_mutex_t mutex;
static uv_cond_t cond;
/* under the mutex */
static struct attempt attempts[ATTEMPTS_MAX];
static unsigned attempts_count, gone_count;
static bool has_stopped, is_holding;
static struct delivery *held;
static struct schedule_destination *held_at;
/* What becomes of the n-th attempt of a message; called on a loop. */
static struct recipient_result (*decide)(const struct delivery *delivery,
					 size_t recipient);
static uint64_t pause_ms;
static atomic_uint hurries;

static void
attempt_note(const struct delivery *delivery)
{
	struct attempt *attempt;
	const struct message *message = delivery->message;

	uv_mutex_lock(&mutex);
	if (attempts_count < ATTEMPTS_MAX) {
		attempt = &attempts[attempts_count++];
		attempt->id = message->id;
		attempt->at_ms = clock_now_ms();
		attempt->is_report = message->is_report;
		snprintf(attempt->to, sizeof(attempt->to), "%.*s",
			 SLICE_ARG(message->recipients
					   [delivery->recipients[0].index]
						   .address));
	}
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

static void
settle(struct schedule_destination *destination, struct delivery *delivery)
{
	struct recipient_result results[16];

	cr_assert_leq(delivery->recipients_count, COUNT(results));
	for (size_t i = 0; i < delivery->recipients_count; i++)
		results[i] = decide(delivery, i);
	schedule_settle(destination, delivery, results);
}

/* The most leases of a loop that were in memory at once. */
static _Atomic size_t leases_seen;

static void
on_due(struct schedule_destination *destination)
{
	size_t leases = schedule->loops[destination->loop->index].leases_count;
	struct delivery *delivery;

	/* Each loop has its own; what is lost between two is no matter. */
	if (leases > leases_seen)
		leases_seen = leases;
	while ((delivery = schedule_take(destination)) != NULL) {
		attempt_note(delivery);
		if (is_holding) {
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

static struct recipient_result
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

static struct recipient_result
always_delivered(const struct delivery *delivery, size_t recipient)
{
	(void)delivery;
	(void)recipient;
	return result(OUTCOME_DELIVERED, "250 2.0.0 ok");
}

static struct recipient_result
third_time(const struct delivery *delivery, size_t recipient)
{
	return delivery->recipients[recipient].attempts < 2
		       ? result(OUTCOME_DEFERRED, "450 4.2.0 later")
		       : result(OUTCOME_DELIVERED, "250 ok");
}

/* Reports arrive; the rest never does. */
static struct recipient_result
never(const struct delivery *delivery, size_t recipient)
{
	(void)recipient;
	return delivery->message->is_report
		       ? result(OUTCOME_DELIVERED, "250 ok")
		       : result(OUTCOME_DEFERRED, "450 4.2.0 later");
}

static struct recipient_result
refused(const struct delivery *delivery, size_t recipient)
{
	(void)recipient;
	return delivery->message->is_report
		       ? result(OUTCOME_DELIVERED, "250 ok")
		       : result(OUTCOME_FAILED, "550 5.1.1 no such user");
}

/* --- start and end --- */

static void
begin_schedule(void)
{
	struct fault fault = {0};

	cr_assert(schedule_new(store, loops, LOOPS, on_due, on_gone, on_hurry,
			       &schedule, &fault),
		  "%s", fault.text);
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

static void
loop_begin(struct loop *loop, unsigned index)
{
	cr_assert(loop_init(loop, index, NULL));
	loop->generation = &generation;
	loop->signing = (struct signing *)loop;
	keeps[index] = memory_new(sizeof(uv_async_t));
	uv_async_init(&loop->uv, keeps[index], on_keep);
}

static void
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
}

static void
run_loops(void)
{
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	cr_assert(loop_start(&main_loop, NULL));
}

static void
on_stopped(void *owner)
{
	(void)owner;
	uv_mutex_lock(&mutex);
	has_stopped = true;
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

/* Waits until is_there(), with the mutex held; false: it took too long. */
static bool
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

static bool
stopped(void)
{
	return has_stopped;
}

static void
stop_all(void)
{
	schedule_stop(schedule, &main_loop, on_stopped, NULL);
	cr_expect(wait_for(stopped), "the schedule does not stop");
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
}

static struct message_id
put(const char *from, const char *to, bool is_handed_over)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make(from, to, 500);
	struct list deliveries;

	list_init(&deliveries);
	/* In the store's own time: the main loop answers. */
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	if (is_handed_over)
		schedule_add(schedule, &deliveries);
	else
		deliveries_free_all(&deliveries);
	return message->id;
}

static unsigned wanted_attempts;

static bool
attempted(void)
{
	return attempts_count >= wanted_attempts;
}

static bool
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

static bool
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

static bool
wait_gone(unsigned count)
{
	wanted_gone = count;
	return wait_for(gone);
}

/* --- tests --- */

Test(schedule, delivers_in_order_and_forgets, .init = begin, .fini = stop_all)
{
	struct message_id ids[20];

	begin_schedule();
	run_loops();
	for (size_t i = 0; i < COUNT(ids); i++)
		ids[i] = put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(COUNT(ids)));
	for (size_t i = 0; i < COUNT(ids); i++)
		cr_expect(message_id_eq(&attempts[i].id, &ids[i]),
			  "attempt %zu is not the %zu-th message", i, i);
	cr_expect(wait_delivered(COUNT(ids)));
	cr_expect(wait_gone(1), "the destination stays");
	cr_expect_eq(fake_log_count("delivered ", "domain=x.example"),
		     COUNT(ids));
	cr_expect_eq(fake_log_count("delivered ", "mx=mx.example.net "
						  "address=192.0.2.1:25 "
						  "tls=none"),
		     COUNT(ids));
}

Test(schedule, tries_again_after_each_delay, .init = begin, .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = third_time;
	put("from@example.org", "a@x.example b@x.example", true);
	cr_expect(wait_attempts(3));
	cr_expect_geq(attempts[1].at_ms - attempts[0].at_ms, retry_ms[0] - 1);
	cr_expect_geq(attempts[2].at_ms - attempts[1].at_ms, retry_ms[1] - 1);
	cr_expect(wait_gone(1));
	cr_expect_eq(fake_log_count("deferred ", " next="), 4);
	cr_expect_eq(fake_log_count("delivered ", "to=b@x.example"), 1);
	cr_expect_eq(attempts_count, 3);
}

Test(schedule, expires_and_reports, .init = begin, .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = never;
	options.delivery.expire_ms = 300;
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("bounced ", "status=4.4.7"), 1);
	cr_expect_eq(fake_log_count("bounced ", "reply=450 4.2.0 later"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	cr_expect(attempts[attempts_count - 1].is_report);
	cr_expect_geq(attempts_count, 4);
}

Test(schedule, a_failure_is_reported_and_signed, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = refused;
	signatures_wanted = 1;
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("bounced ", "status=5.1.1"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	cr_expect_eq(fields_fed, 8, "%u fields", fields_fed);
	cr_expect_gt(body_fed, 500);
}

Test(schedule, the_settlement_waits_for_the_signer, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = refused;
	signatures_wanted = 1;
	signing_failures = 1;
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("settle ", "no signer"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
}

/* A report whose signature does not verify is signed again. */
Test(schedule, a_report_that_does_not_verify_waits, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = refused;
	signatures_wanted = 1;
	proof_failures = 1;
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("error ", "it does not verify"), 1);
	cr_expect_eq(fake_log_count("settle ", "it does not verify"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
}

Test(schedule, nobody_is_told_for_the_null_sender, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = refused;
	put("", "a@x.example", true);
	cr_expect(wait_gone(1));
	cr_expect_eq(fake_log_count("bounced ", NULL), 1);
	cr_expect_eq(attempts_count, 1);
}

/* Whoever accepted it was slow to hand it over: it was read from the store and
 * delivered before. */
Test(schedule, a_late_hand_over_is_not_a_second_delivery, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);
	struct message_id last;
	struct list deliveries;

	list_init(&deliveries);
	cr_assert(loop_start(&main_loop, NULL));
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 1);
	schedule_add(schedule, &deliveries);
	last = put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(2));
	cr_expect(message_id_eq(&attempts[1].id, &last),
		  "it was delivered again");
	cr_expect(wait_gone(2));
}

/* A clock that was wrong when they were stored, and is right now. */
Test(schedule, what_is_due_beyond_reason_is_due_now, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);
	struct list deliveries;
	struct delivery *delivery;

	list_init(&deliveries);
	cr_assert(loop_start(&main_loop, NULL));
	message->received_ms += 4000 * DAY;
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	delivery = CONTAINER(deliveries.next, struct delivery, link);
	delivery->recipients[0].outcome = OUTCOME_DEFERRED;
	delivery->recipients[0].attempts = 1;
	cr_assert(settle_wait(store, &main_loop, delivery,
			      message->received_ms, NULL, NULL));
	deliveries_free_all(&deliveries);
	put("from@example.org", "a@x.example", false);
	decide = never;
	options.delivery.expire_ms = 400;
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	/* Both expire, and so do not stay for ever. */
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("bounced ", "status=4.4.7"), 2);
}

/* Each reads at once after a start. */
Test(schedule, many_destinations_keep_to_the_bound, .init = begin,
     .fini = stop_all)
{
	cr_assert(loop_start(&main_loop, NULL));
	for (unsigned i = 0; i < 200; i++) {
		char to[32];

		snprintf(to, sizeof(to), "a@d%u.example", i);
		put("from@example.org", to, false);
	}
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		schedule->loops[i].leases_max = 8;
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	cr_expect(wait_gone(200));
	cr_expect_eq(attempts_count, 200);
	cr_expect_leq(leases_seen, 8 + LEASE_READ_BATCH_FIRST,
		      "%zu leases in memory", leases_seen);
}

/* Its place on the disk is bad: it will not be better next time. */
Test(schedule, a_header_that_cannot_be_read_delays_no_report, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 0);
	char id[MESSAGE_ID_TEXT + 1], name[160];
	struct list deliveries;

	list_init(&deliveries);
	message->body.size = message->body.header_len = 3000;
	message->body.is_file = true;
	message_id_write(&message->id, id);
	snprintf(name, sizeof(name), "%s/spool/%s", path, id);
	cr_assert_eq(mkdir(name, 0700), 0);
	begin_schedule();
	run_loops();
	decide = refused;
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	schedule_add(schedule, &deliveries);
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	cr_expect_eq(fake_log_count("settle ", "Is a directory"), 1);
}

#define MANY 700

Test(schedule, after_a_start_everything_is_leased_once, .init = begin,
     .fini = stop_all)
{
	static struct message_id ids[MANY];
	unsigned twice = 0;

	/* Stored by an earlier process. */
	cr_assert(loop_start(&main_loop, NULL));
	for (unsigned i = 0; i < MANY; i++)
		ids[i] = put("from@example.org",
			     i % 7 == 0 ? "a@y.example" : "a@x.example",
			     false);
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	cr_expect(wait_gone(2));
	cr_expect_eq(attempts_count, MANY, "%u attempts", attempts_count);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned times = 0;

		for (unsigned j = 0; j < attempts_count; j++)
			times += message_id_eq(&attempts[j].id, &ids[i]);
		twice += times != 1;
	}
	cr_expect_eq(twice, 0, "%u messages not tried exactly once", twice);
}

Test(schedule, more_than_fits_is_read_back, .init = begin, .fini = stop_all)
{
	unsigned twice = 0;

	begin_schedule();
	run_loops();
	/* Reads and hand-overs of the same messages race. */
	for (unsigned i = 0; i < MANY; i++)
		put("from@example.org", "a@x.example", i % 3 != 0);
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(MANY * 2 / 3));
	for (unsigned i = 0; i < attempts_count; i++)
		for (unsigned j = 0; j < i; j++)
			twice += message_id_eq(&attempts[i].id,
					       &attempts[j].id);
	cr_expect_eq(twice, 0);
}

Test(schedule, a_pause_holds_everything_back, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	pause_ms = 300;
	put("from@example.org", "a@x.example", true);
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(3));
	cr_expect_geq(attempts[1].at_ms - attempts[0].at_ms, 295);
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 3);
}

static bool
is_held(void)
{
	return held != NULL;
}

struct late {
	struct post post;
};

static void
settle_late(struct post *post)
{
	(void)post;
	cr_expect_not(has_stopped, "stopped with a lease out");
	settle(held_at, held);
}

Test(schedule, a_stop_waits_for_leases, .init = begin, .fini = stop_all)
{
	static struct late late;

	begin_schedule();
	run_loops();
	is_holding = true;
	put("from@example.org", "a@x.example", true);
	cr_assert(wait_for(is_held));
	/* Behind the stop, which fini begins, in the loop's own order. */
	schedule_stop(schedule, &main_loop, on_stopped, NULL);
	loop_post(held_at->loop, &late.post, settle_late);
	cr_expect(wait_for(stopped));
	cr_expect_eq(fake_log_count("delivered ", NULL), 1);
	has_stopped = false;
	schedule_free(schedule);
	begin_schedule();
}

/* --- altering --- */

static struct schedule_alter alteration;
static struct schedule_alter_row altered_rows[2];
static bool is_altered;

static void
on_altered(struct schedule_alter *alter)
{
	(void)alter;
	uv_mutex_lock(&mutex);
	is_altered = true;
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

static bool
altered(void)
{
	return is_altered;
}

static enum altered
alter(enum alteration what, struct message_id id, const char *destination,
      uint64_t now_ms)
{
	is_altered = false;
	altered_rows[0] = (struct schedule_alter_row){
		.id = id, .destination = SLICE(destination)};
	alteration = (struct schedule_alter){.alteration = what,
					     .now_ms = now_ms,
					     .rows = altered_rows,
					     .count = 1,
					     .loop = &main_loop,
					     .done = on_altered};
	schedule_alter(schedule, &alteration);
	cr_assert(wait_for(altered));
	return altered_rows[0].altered;
}

static bool
is_held_by_us(void)
{
	return held != NULL;
}

static struct post held_post;

static void
held_settle(struct post *post)
{
	struct delivery *delivery = held;

	(void)post;
	held = NULL;
	is_holding = false;
	settle(held_at, delivery);
}

static struct recipient_result
deferred_always(const struct delivery *delivery, size_t recipient)
{
	(void)delivery;
	(void)recipient;
	return result(OUTCOME_DEFERRED, "450 4.2.0 later");
}

static bool
deferred_once(void)
{
	return fake_log_count("deferred ", NULL) >= 1;
}

static const struct busy_row {
	const char *name;
	enum alteration alteration;
	enum altered altered;
} busy_rows[] = {
	{"hold", ALTER_HOLD, ALTERED_BUSY},
	{"release", ALTER_RELEASE, ALTERED_BUSY},
	{"delete", ALTER_DELETE, ALTERED_BUSY},
	{"retry: it is being tried", ALTER_RETRY, ALTERED_ALREADY},
};

Test(schedule, what_is_under_way_is_left_alone)
{
	struct message_id id;

	begin();
	begin_schedule();
	run_loops();
	is_holding = true;
	id = put("a@example.org", "b@x.example", true);
	cr_assert(wait_for(is_held_by_us));
	for (size_t i = 0; i < COUNT(busy_rows); i++)
		cr_expect_eq(alter(busy_rows[i].alteration, id, "x.example",
				   clock_wall_ms()),
			     busy_rows[i].altered, "%s", busy_rows[i].name);
	loop_post(held_at->loop, &held_post, held_settle);
	cr_expect(wait_delivered(1));
	cr_expect_eq(alter(ALTER_DELETE, id, "x.example", clock_wall_ms()),
		     ALTERED_GONE);
	stop_all();
}

Test(schedule, a_retry_ends_the_pause_once)
{
	struct message_id id;

	begin();
	begin_schedule();
	run_loops();
	pause_ms = HOUR;
	id = put("a@example.org", "b@x.example", true);
	cr_assert(wait_attempts(1));
	/* Another destination is no reason. */
	cr_expect_eq(alter(ALTER_HOLD, id, "y.example", clock_wall_ms()),
		     ALTERED_GONE);
	cr_expect_eq(atomic_load(&hurries), 0);
	cr_expect_eq(alter(ALTER_RETRY, id, "x.example", clock_wall_ms()),
		     ALTERED_ALREADY);
	cr_expect(wait_delivered(1));
	cr_expect_eq(atomic_load(&hurries), 1);
	stop_all();
}

Test(schedule, held_until_released)
{
	struct message_id id;

	begin();
	decide = deferred_always;
	retry_ms[0] = retry_ms[1] = HOUR;
	begin_schedule();
	run_loops();
	id = put("a@example.org", "b@x.example", true);
	cr_assert(wait_for(deferred_once));
	cr_expect_eq(alter(ALTER_HOLD, id, "x.example", clock_wall_ms()),
		     ALTERED);
	cr_expect_eq(alter(ALTER_RETRY, id, "x.example", clock_wall_ms()),
		     ALTERED_UNFIT);
	/* Past its time, and yet one attempt is made. */
	options.delivery.expire_ms = 1;
	decide = always_delivered;
	cr_expect_eq(attempts_count, 1);
	cr_expect_eq(alter(ALTER_RELEASE, id, "x.example", clock_wall_ms()),
		     ALTERED);
	cr_expect(wait_delivered(1));
	cr_expect_eq(fake_log_count("bounced ", NULL), 0);
	stop_all();
}

Test(schedule, deleted_before_it_is_handed_over)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example", 500);
	struct list deliveries;

	begin();
	begin_schedule();
	run_loops();
	list_init(&deliveries);
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	/* So that the destination is there, and knows what it is told. */
	is_holding = true;
	put("a@example.org", "c@x.example", true);
	cr_assert(wait_for(is_held_by_us));
	cr_expect_eq(alter(ALTER_DELETE, message->id, "x.example",
			   clock_wall_ms()),
		     ALTERED);
	schedule_add(schedule, &deliveries);
	loop_post(held_at->loop, &held_post, held_settle);
	cr_expect(wait_delivered(1));
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 1, "what was deleted is not tried");
	stop_all();
}
