/*
 * schedule_private - what the files of the scheduler share.
 *
 *	schedule.c              delivery's side, taking over, start and stop
 *	schedule_alter.c        what an administrator decides
 *	schedule_destination.c  a destination: by name, and what it does next
 *	schedule_lease.c        deliveries that are in memory
 *	schedule_move.c         deliveries whose route has changed
 *	schedule_read.c         reading what is due from the store
 *	schedule_trouble.c      what it means that nobody gets there
 *	settlement*.c           from a delivery's results to their being durable
 */
#ifndef RELAY_QUEUE_SCHEDULE_PRIVATE_H
#define RELAY_QUEUE_SCHEDULE_PRIVATE_H

#include <stdatomic.h>

#include "relay/net/turns.h"
#include "relay/queue/schedule.h"

/*
 * A delivery that is in memory. READY waits in its destination to be taken,
 * OUT is with delivery/, SETTLING is being stored or altered. OVER is settled or
 * given up while a read was under way that may still bring what it was: it stays
 * to be recognised until the read has ended.
 */
enum lease_state { LEASE_READY, LEASE_OUT, LEASE_SETTLING, LEASE_OVER };

struct lease {
	struct list link;  /* in the destination's leases */
	struct list ready; /* in its ready ones, while READY */
	struct message_id id;
	enum lease_state state;
	bool is_moving;            /* while SETTLING: to another destination */
	struct delivery *delivery; /* NULL once OVER, or where it is only being
				      altered */
};

/* A loop's part of the schedule. */
struct schedule_loop {
	struct schedule *schedule;
	struct loop *loop;
	void *tree;             /* destinations by name: tsearch(3) */
	struct list destinations;
	struct list recovered;  /* of the start, not looked at yet */
	struct alarm recovery;  /* exists while there are some */
	struct turns starved;   /* wait for leases_count to fall */
	struct list resting;    /* have leases that nobody has taken */
	struct list reporting;  /* settlements that make reports */
	size_t leases_count, leases_max;
	size_t leases_coming;   /* at most so many, of the reads under way */
	struct list reports_waiting; /* settlements, for a place */
	size_t reports_count, reports_max; /* being made */
	size_t altering;        /* alterations that the store has */
	uint64_t read_version;  /* the highest of destinations that are gone */
	struct post post;       /* the stop's */
	bool is_stopping, has_stopped;
};

struct schedule {
	struct store *store;
	struct schedule_loop *loops;
	size_t loops_count;
	schedule_due_fn *due;
	schedule_gone_fn *gone;
	schedule_hurry_fn *hurry;
	uint64_t report_retry_ms; /* SETTLE_REPORT_RETRY_MS, but for tests */
	/* any thread */
	atomic_uint_fast64_t delivered, deferred, bounced;
	/* a stop */
	struct loop *main_loop;
	void (*stopped)(void *owner);
	void *stopped_owner;
	size_t loops_running; /* main loop only */
};

/*
 * Why nobody gets there: what was deferred last, and the probes that have found
 * that since somebody did. A probe is a deferral after which delivery/ leaves
 * the destination alone for a while.
 */
struct destination_trouble {
	struct recipient_result result; /* NONE: nothing was deferred yet */
	struct arena arena;
	bool is_noted;      /* since the last probe */
	unsigned probes;
	uint64_t since_ms;  /* clock_now_ms(), of the first */
	uint64_t lasted_ms; /* from the first to the last */
	uint64_t at_ms;     /* wall, of the last */
};

struct destination {
	struct schedule_destination public;
	struct schedule_loop *home;
	struct list link, recovered, starved, resting;
	struct list leases, ready;
	size_t leases_count, ready_count;
	size_t prompt_count;    /* of the READY ones */
	size_t batch;           /* to read at once */
	uint64_t next_due_ms;   /* wall; of what is only stored; 0: nothing */
	uint64_t paused_until_ms; /* clock_now_ms(); 0: not */
	uint64_t hurried_ms;    /* the last retry that has ended a pause */
	/* Where the next read begins: all that is due before is in memory. */
	uint64_t after_ms;
	struct message_id after_id;
	struct store_read_due *read; /* NULL: none under way */
	uint64_t read_version;  /* the store's, of the last read that ended */
	uint64_t rewind_ms;     /* while reading: go back to there; 0: no */
	/* When the first of those was due that could not be moved: reading has
	 * passed them, and goes back there at stuck_until_ms. Wall; 0: none. */
	uint64_t stuck_ms, stuck_until_ms;
	struct destination_trouble trouble;
	/* A probe has just failed: of what is due, those for whom this is the
	 * end are looked for while the pause lasts. */
	bool sweeps;
	uint64_t skipped_ms;    /* wall; the first that it is not for; 0: none */
	bool is_fed;            /* its turn for room came; until it reads */
	bool is_told;           /* due() was called, take() has not said NULL */
	bool is_to_be_hurried;  /* due() is to be called once more */
	bool has_prompt_stored; /* some of what is only stored, as far as it is
				   known */
	bool has_taken;         /* since somebody needed its room */
	bool is_posted;
	struct post post;
	struct alarm alarm;
	char name[];
};

/* --- settlement.c --- */

/* From results to durable; takes the lease's delivery. results may be NULL where
 * settlement_needs_no_attempt(). Ends in destination_settled(), or where noted
 * is not NULL in destination_noted(), never from inside the call. */
void settlement_start(struct destination *destination, struct lease *lease,
		      const struct recipient_result *results,
		      schedule_noted_fn *noted);
/* Whether there is something to say of it without trying it now. Its time is
 * over, and it has been tried since; or nothing gets to the destination, which
 * only a few are sent to find out: then what they find counts for those that
 * wait behind them, too, once their time is over or their senders are to be
 * warned. But only right after a probe: one that is under way is waited for. */
bool settlement_needs_no_attempt(const struct destination *destination,
				 const struct delivery *delivery);
/* The loop stops: reports that wait for something are made after the next
 * start; what they are about is stored now. */
void settlements_stop(struct schedule_loop *home);
/* Nothing is deferred for longer than this: what is due later than that was
 * stored by a clock that was wrong, or under other options, and is due now. */
uint64_t settlement_wait_max_ms(const struct destination *destination);

/* --- schedule.c --- */

/* Every lease is settled or given back: once delivery/ has let go of every
 * destination too, the loop has nothing of ours any more, and says so. */
void home_check_stopped(struct schedule_loop *home);

/* The part of it that owns the destinations of this name. */
struct schedule_loop *home_of(struct schedule *schedule, struct slice name);

/* --- schedule_destination.c --- */

struct destination *destination_find(struct schedule_loop *home,
				     struct slice name);
/* There must be none of that name. */
struct destination *destination_new(struct schedule_loop *home,
				    struct slice name);
/* Nothing of it is in memory or under way; frees it. */
void destination_close(struct destination *destination);

/* Reading goes on from there at the latest. */
void destination_rewind(struct destination *destination, uint64_t due_ms);
/* Something is stored and due then that is not in memory. */
void destination_note_due(struct destination *destination, uint64_t due_ms);
/* What is due then stays stored here, and is tried again after a while, not
 * with the next read: as long as others are due, that would come at once. Gives
 * when that is. */
uint64_t destination_note_stuck(struct destination *destination,
				uint64_t due_ms);
/* Before a read. Gives until when what is stuck stays so, 0: nothing does. */
uint64_t destination_free_stuck(struct destination *destination,
				uint64_t wall_ms);
void destination_sleep(struct destination *destination, uint64_t delay_ms);

/* Calls destination_update() from the loop, and delivery/ where there is
 * something to take: it is never called from inside its own calls. */
void destination_post(struct destination *destination);
/* Whether to read on: before the last lease is taken, so that connections do
 * not wait. */
bool destination_wants_more(const struct destination *destination);
/* The destination may be gone afterwards: never from inside a call of
 * delivery/. */
void destination_update(struct destination *destination);
/* No pause, no back-off, and nobody is given up for what others have met with
 * before; the retry that began at since_ms asks only once. */
void destination_wake(struct destination *destination, uint64_t since_ms);
/* The lease is over. due_ms: when what is left of it is due again, 0: nothing
 * is left. */
void destination_settled(struct destination *destination, struct lease *lease,
			 uint64_t due_ms);
/* The lease goes on, with those who have no outcome yet. */
void destination_noted(struct destination *destination, struct lease *lease,
		       schedule_noted_fn *noted);

/* --- schedule_lease.c --- */

struct lease *lease_find(struct destination *destination,
			 const struct message_id *id);
/* A READY one. Takes the delivery. */
struct lease *lease_new(struct destination *destination,
			struct delivery *delivery);
/* A SETTLING one without a delivery, or what is READY or OVER made so. NULL: it
 * is under way. */
struct lease *lease_seize(struct destination *destination,
			  const struct message_id *id);
/* Stays READY: the caller changes that. */
void lease_leave_ready(struct destination *destination, struct lease *lease);
/* A read under way may have seen it as it was: then its id stays. */
void lease_end(struct destination *destination, struct lease *lease);
/* Back to being stored only. */
void lease_drop(struct destination *destination, struct lease *lease);
void leases_forget_over(struct destination *destination);
void destination_drop_ready(struct destination *destination);

/* First or last of the READY ones. */
void lease_enter_ready(struct destination *destination, struct lease *lease,
		       bool is_first);
/* After its leases, or what is stored, have changed: whether some are READY, and
 * whether it is prompt. */
void destination_note_rest(struct destination *destination);

bool home_has_room(const struct schedule_loop *home);
/* Takes the memory of READY leases that nobody takes: they wait for a host that
 * is slow, with one OUT, or dead, and must not keep others from theirs. The last
 * to come is the first to lose, and whoever is prompt the last, so that the one
 * whose turn is next keeps its own. */
void home_make_room(struct schedule_loop *home,
		    const struct destination *wanting);
/* Whoever waits for room is next. */
void home_feed_starved(struct schedule_loop *home);

/* --- schedule_move.c --- */

/* Whether its route leads here still: relay/routing.h. */
bool lease_fits(const struct destination *destination,
		const struct lease *lease);
/* Before the next READY one is taken: each before it that another route has by
 * now is stored under the destination of that, which takes it over. */
void destination_move_strangers(struct destination *destination);

/* --- schedule_trouble.c --- */

/* A deferral: why nobody gets there, should delivery/ now leave it alone for a
 * while. Anything else ends the trouble. */
void trouble_note(struct destination_trouble *trouble,
		  const struct recipient_result *result);
void trouble_end(struct destination_trouble *trouble);
/* Delivery/ leaves it alone. False: for a reason that has been counted, or for
 * none that lies with the destination. */
bool trouble_count(struct destination_trouble *trouble);
/* Whether a delivery that waits behind it is given up: retry.h. */
bool trouble_is_final(const struct destination_trouble *trouble,
		      const struct delivery *delivery,
		      const struct delivery_options *options);
/* Whether it is, or its sender is to be warned. */
bool trouble_settles(const struct destination_trouble *trouble,
		     const struct delivery *delivery,
		     const struct delivery_options *options);

/* --- schedule_read.c --- */

/* Whether the earliest of what is only stored is due. */
bool destination_is_due(const struct destination *destination,
			uint64_t wall_ms);
/* Reads a batch, or waits for room. Nothing is being read. */
void destination_read(struct destination *destination, uint64_t wall_ms);
/* During a pause: goes on with looking for those for whom this is the end. */
void destination_sweep(struct destination *destination, uint64_t wall_ms);
void destination_end_sweep(struct destination *destination);

#endif
