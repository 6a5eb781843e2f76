/*
 * schedule_stand - the scheduler with a real store, real loops, and a delivery
 * that does what the test says. Signing is a fake linked in place of the stage.
 */
#ifndef TESTS_UNIT_RELAY_QUEUE_SCHEDULE_STAND_H
#define TESTS_UNIT_RELAY_QUEUE_SCHEDULE_STAND_H

#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/queue/schedule_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

#define LOOPS 2
#define ATTEMPTS_MAX 4096

/* --- the stage and the signer --- */

extern unsigned signatures_wanted, signing_failures, proof_failures;
/* Set before the loops run: what is to be signed waits for signer_hears(). Under
 * the mutex: how much does or did. */
extern bool is_signer_deaf;
extern size_t unanswered_count;
void signer_hears(void);
/* To the last pipeline that has ended. */
extern atomic_uint fields_fed;
extern atomic_size_t body_fed;

/* --- delivery --- */

struct attempt {
	struct message_id id;
	uint64_t at_ms;
	char to[64];
	bool is_report;
	char reply[64];
	char destination[64];
};

extern struct loop loops[LOOPS], main_loop;
extern struct store *store;
extern struct schedule *schedule;
extern struct options options;
extern uint64_t retry_ms[2];
extern char path[64];
extern uv_mutex_t mutex;
extern uv_cond_t cond;
/* under the mutex */
extern struct attempt attempts[ATTEMPTS_MAX];
extern unsigned attempts_count, gone_count;
/* is_holding: the delivery stays in `held`. */
extern bool has_stopped, is_holding;
/* Nothing is ever taken from destinations of these names: "dead…". */
#define DEAD "dead"
/* And of these one at a time: it stays in `held`. */
#define SLOW "slow"
extern struct delivery *held;
extern struct schedule_destination *held_at;
bool is_held(void);
/* On its loop that becomes of it, and no other is held. */
typedef void held_fn(struct schedule_destination *destination,
		     struct delivery *delivery);
void held_go_on(held_fn *next);
/* It is settled. */
void held_settle(void);
/* What becomes of the n-th attempt of a message; called on a loop. */
extern struct recipient_result (*decide)(const struct delivery *delivery,
					 size_t recipient);
/* Of the destination: instead of the next attempt, and after it. */
extern atomic_uint_fast64_t pause_ms, pause_after_ms;
extern atomic_uint hurries;
/* Destinations that were told of a delivery, and had none to take. */
extern atomic_uint told_in_vain;
/* The most leases of a loop that were in memory at once. */
extern _Atomic size_t leases_seen;

void settle(struct schedule_destination *destination, struct delivery *delivery);
struct recipient_result result(enum outcome outcome, const char *reply);
/* For `decide`. */
struct recipient_result always_delivered(const struct delivery *delivery, size_t recipient);
struct recipient_result third_time(const struct delivery *delivery, size_t recipient);
struct recipient_result never(const struct delivery *delivery, size_t recipient);
struct recipient_result refused(const struct delivery *delivery, size_t recipient);
void begin_schedule(void);
void begin(void);
/* What is to be stored before there is a schedule needs the main one alone. */
void run_main(void);
void run_loops(void);
void on_stopped(void *owner);
/* Waits until is_there(), with the mutex held; false: it took too long. */
bool wait_for(bool (*is_there)(void));
bool stopped(void);
/* stop_all() does too. */
void stop_schedule(void);
void stop_all(void);
void put_message(struct message *message, bool is_handed_over);
/* Stored as one that was tried so often, the last time then; for one destination.
 * out: what is stored; may be NULL. */
void put_deferred(struct message *message, unsigned times,
		  uint64_t last_attempt_ms, uint64_t due_ms,
		  struct list *deliveries_out);
struct message_id put(const char *from, const char *to, bool is_handed_over);
bool wait_attempts(unsigned count);
bool wait_delivered(unsigned count);
bool wait_gone(unsigned count);

/* What an administrator decides of one delivery: asked for (on any thread, one
 * at a time), and what became of it. */
void alter_start(enum alteration alteration, struct message_id id,
		 const char *destination, uint64_t now_ms);
bool altered(enum altered *altered_out);
enum altered alter(enum alteration alteration, struct message_id id,
		   const char *destination, uint64_t now_ms);

#endif
