/*
 * schedule - what is due, per destination.
 *
 * A destination (a recipient's domain, in A-labels, and behind it the route
 * where that depends on the sender: relay/routing.h) has one owning loop,
 * chosen by its name. Only destinations are in memory; deliveries are read from
 * the store when due, a batch at a time; what was just accepted is handed over
 * with its body still in memory, within LEASES_MAX_PER_DESTINATION.
 *
 * Where a reload has changed the routes of senders, a delivery is stored under
 * the destination that it has now before it is leased: none goes an old way.
 *
 * delivery/ takes leases and settles them. A lease is in memory only: after a
 * crash everything stored is simply due.
 */
#ifndef RELAY_QUEUE_SCHEDULE_H
#define RELAY_QUEUE_SCHEDULE_H

#include "relay/net/reply.h"
#include "relay/queue/changes.h"
#include "relay/queue/store.h"

struct schedule;

/* One destination; lives on its owning loop, goes when it has nothing. */
struct schedule_destination {
	struct slice name;
	struct loop *loop;      /* the owner */
	/* For its turns (relay/net/turns.h): what may be taken is prompt, or
	 * some of it, and nothing is known to keep it from being delivered. */
	bool is_prompt;
	void *delivery;         /* for delivery/'s own state; NULL at first */
};

/* On the owning loop: there is at least one lease to take. Called again only
 * after schedule_take() has given NULL once, or where none has been taken and
 * the destination has become prompt. */
typedef void schedule_due_fn(struct schedule_destination *destination);
/* On the owning loop: the destination is about to go (nothing stored, nothing
 * leased): delivery/ frees its state; false: not now, ask again after a
 * while. */
typedef bool schedule_gone_fn(struct schedule_destination *destination);
/* On the owning loop: somebody wants it tried now, so back-off and what is
 * remembered of hosts that failed are to be forgotten. It is not due yet. */
typedef void schedule_hurry_fn(struct schedule_destination *destination);

bool schedule_new(struct store *store, struct loop *loops, size_t loops_count,
		  schedule_due_fn *due, schedule_gone_fn *gone,
		  schedule_hurry_fn *hurry, struct schedule **schedule_out,
		  struct fault *fault) MUST_USE;
/* Takes over the deliveries of a finished put or settle; from any loop. */
void schedule_add(struct schedule *schedule, struct list *deliveries);

/* The next delivery that is due, leased to the caller; NULL: none now, the due
 * callback will come. On the owning loop. */
struct delivery *schedule_take(struct schedule_destination *destination);

/* What the delivery says of one recipient. */
struct recipient_result {
	enum outcome outcome;
	struct slice reply;     /* the remote's reply, or our own words */
	struct slice status;    /* enhanced code "5.1.10"; "" : from the reply */
	struct slice mx;        /* host asked; "" where none was reached */
	struct slice address;   /* "192.0.2.1:25" */
	struct slice tls;       /* "TLSv1.3 CIPHER", "none", "" */
	struct slice certificate; /* "verified", or what is wrong with it; ""
				   without TLS */
	bool is_resumed;        /* an earlier session of TLS */
	/* RFC 3461 5.2: the next hop offers DSN and was told what the sender
	 * wants to hear, so a report of success is its own to send; where a
	 * recipient that asks for one was delivered without, "relayed" is
	 * ours. */
	bool dsn_passed_on;
	struct slice left_out;  /* of the message, and why; "" : nothing */
	/* It failed because what is stored of it is damaged: it is kept, held,
	 * for somebody to look at. */
	bool is_damage;
	/* Of a version made for this host; NULL: it was sent as it is. */
	const struct changes *changes;
};

/* Ends a lease. results[i] belongs to delivery->recipients[i] (copied); those
 * with NONE, but not all, are left as they are, and are due at once. Logs
 * one event per recipient; a deferral past `expire` becomes a failure (retry.h);
 * whom notify.h names is told in reports, signed and stored in the same
 * transaction; takes the delivery. On the owning loop. */
void schedule_settle(struct schedule_destination *destination,
		     struct delivery *delivery,
		     const struct recipient_result *results);
/* The same of some, with others whose result is NONE, while the lease goes on
 * with those: it is the schedule's until noted() comes, once, from the loop, and
 * has only those recipients then, in their order. Whom a report is owed to is
 * stored, and the report comes later: the others wait for this. */
typedef void schedule_noted_fn(struct schedule_destination *destination,
			       struct delivery *delivery);
void schedule_note(struct schedule_destination *destination,
		   struct delivery *delivery,
		   const struct recipient_result *results,
		   schedule_noted_fn *noted);
/* Whether a lease has another destination by now: then it has to be given
 * back. */
bool schedule_is_stranger(const struct schedule_destination *destination,
			  const struct delivery *delivery);
/* Gives a lease back untried: due again at once (or after the hold). */
void schedule_give_back(struct schedule_destination *destination,
			struct delivery *delivery);
/* Why no host of it was reached, where that was not found with one of its own
 * deliveries (at the same hosts, or this relay has nothing to connect with): for
 * those that come to an end while schedule_pause() lasts. */
void schedule_trouble(struct schedule_destination *destination,
		      const struct recipient_result *why);
/* A host of it has said something about a message: whatever it was, it is within
 * reach. */
void schedule_reached(struct schedule_destination *destination);
/* No lease is given for this long: the destination's back-off. What was deferred
 * since the last time is the reason, and is said of those that have waited too
 * long behind it (retry.h). */
void schedule_pause(struct schedule_destination *destination,
		    uint64_t delay_ms);

/* What the schedule knows of one destination, without asking the store. */
struct schedule_state {
	const struct schedule_destination *destination;
	size_t leases;          /* deliveries in memory, under way or not */
	uint64_t paused_ms;     /* left of its pause; 0: none */
	uint64_t next_due_ms;   /* wall; of what is only stored; 0: nothing */
};
typedef void schedule_state_fn(void *owner,
			       const struct schedule_state *state);
/* On that loop: of each destination that it owns. */
void schedule_each_state(struct schedule *schedule, const struct loop *loop,
			 schedule_state_fn *each, void *owner);

/* A delivery to be altered; the schedule's while it is. */
struct schedule_alter_row {
	struct message_id id;
	struct slice destination;
	bool may_have_file;     /* as in store_alter_row */
	enum altered altered;   /* out */
	/* the schedule's own */
	struct destination *owner;
	struct lease *lease;
};

/* Alters deliveries, each on its destination's loop, so that none is altered
 * while it is being delivered: ALTERED_BUSY, or for a retry ALTERED_ALREADY.
 * A retry ends the destination's pause, once for each now_ms. */
struct schedule_alter {
	enum alteration alteration;
	uint64_t now_ms;        /* wall; when the command began */
	struct schedule_alter_row *rows; /* at most STORE_ALTER_MAX */
	size_t count;
	struct loop *loop;      /* which does not end before */
	void (*done)(struct schedule_alter *alter);
	void *private;
	size_t parts_count;     /* the schedule's */
	struct post post;
};
void schedule_alter(struct schedule *schedule, struct schedule_alter *alter);

/* Attempts since the start, by recipient and outcome; any thread. */
struct schedule_counters {
	uint64_t delivered, deferred, bounced;
};
void schedule_count(const struct schedule *schedule,
		    struct schedule_counters *out);

/* From the main thread: no lease is given any more; `stopped` is called there
 * once every lease has been settled or given back. */
void schedule_stop(struct schedule *schedule, struct loop *main_loop,
		   void (*stopped)(void *owner), void *owner);
/* After the loops have ended. */
void schedule_free(struct schedule *schedule);

#endif
