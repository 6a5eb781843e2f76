/*
 * site - the hosts that mail of many destinations goes to: one set of MX hosts,
 * or one next hop, under one policy. What concerns the hosts and not a domain
 * is kept here, once for all loops: how many connections they are given
 * (pace.h), within all that this relay may open; how many messages a minute;
 * and whether they are out of reach. So a thousand domains at one provider get
 * as many connections as one, and cost one probe while it is down.
 *
 * Ownership   Counted. site_find() gives a reference; what holds a place has
 *             to hold one, too.
 * Thread      Any. A ticket is its loop's.
 */
#ifndef RELAY_DELIVERY_SITE_H
#define RELAY_DELIVERY_SITE_H

#include "base/slice.h"
#include "relay/delivery/gate.h"
#include "relay/delivery/pace.h"
#include "relay/queue/schedule.h"

struct site;
struct sites;

/* All sites of the process; open_max: connections to all of them together. */
struct sites *sites_new(void);
void sites_free(struct sites *sites);
/* Of the configuration in force; may be called again. */
void sites_limit(struct sites *sites, unsigned open_max);

/* The one of that key; made if there is none. What is known of a site is
 * forgotten with the last reference. */
struct site *site_find(struct sites *sites, struct slice key);
struct site *site_ref(struct site *site);
void site_unref(struct site *site);

/* Of the configuration in force, which is the same for all that share it;
 * connections_max: however well it goes. */
void site_limit(struct site *site, unsigned connections_max);

/* A connection that may be open. */
struct site_place {
	struct site *site; /* a reference; NULL: none */
	enum gate_class class;
	bool is_parting;   /* site_part() */
	bool has_failed;   /* site_fail() */
	/* The owner's, before site_fail(): some host was there. */
	bool was_answered;
};

/* Whoever asks for a place. One at a time. */
struct site_ticket {
	/* the owner's, before the first use; zero elsewhere */
	struct loop *loop;
	/* Ask again: a place is kept for this ticket, or why it had to wait
	 * has changed. */
	void (*turn)(struct site_ticket *ticket);
	/* its own; but gate.is_owed, with what gate.h says, is the owner's, and
	 * gate.is_prompt is set by site_ticket_prompt() */
	struct gate_ticket gate;
	struct site_place place; /* taken at the site, not yet of all */
	enum { SITE_TICKET_IDLE, SITE_TICKET_AT_SITE, SITE_TICKET_AT_ALL,
	       SITE_TICKET_READY } state;
	struct site *site;
};
void site_ticket_init(struct site_ticket *ticket, struct loop *loop,
		      void (*turn)(struct site_ticket *ticket));
/* What it is for (turns.h), before it is used; where it waits already it may
 * become prompt. */
void site_ticket_prompt(struct site_ticket *ticket, bool is_prompt);

/* ticket NULL: only if one is free. */
enum site_answer {
	SITE_TAKEN,  /* the place is the caller's */
	SITE_WAIT,   /* for the ticket's turn; without one, none is free */
	SITE_PAUSED, /* out of reach; ask again after pause_ms */
};
enum site_answer site_take(struct site *site, struct site_ticket *ticket,
			   struct site_place *place_out,
			   uint64_t *pause_ms_out) MUST_USE;
/* Waits no more, and gives back what was kept for it. False: its turn is on its
 * way and comes all the same. */
bool site_ticket_cancel(struct site_ticket *ticket) MUST_USE;
bool site_ticket_waits(const struct site_ticket *ticket);

/* Nobody needs the conversation any more: its place is given back once it is
 * closed, but meanwhile it is no sign that the hosts are within reach. */
void site_part(struct site_place *place);
/* The connection is closed; clears the place. */
void site_give(struct site_place *place);
/* It has failed, before it is given back: no host could be talked to, and why
 * (copied). Gives how long all is paused; 0: others are still open. Those that
 * part count as others only where a host was there, for it counts them too, and
 * may have had one too many; those that have failed never do. */
uint64_t site_fail(struct site_place *place, uint64_t pause_max_ms,
		   const struct recipient_result *why);
/* Why it was last out of reach; outcome NONE: it has never been. */
void site_why(struct site *site, struct arena *arena,
	      struct recipient_result *why_out);
/* Its pause is over: one connection finds out. */
void site_hurry(struct site *site);
/* The hosts answered; has_delivered: and took a message. */
void site_answered(struct site_place *place, bool has_delivered);

/*
 * The rate. Nobody has a slot before he can use it: what is asked for ahead of
 * time is only when to come and look, each at a time of his own, so that of many
 * who wait one at a time comes, and all in turn.
 */
struct site_turn {
	uint64_t due_us; /* when to come; 0: not said yet */
};
/* Whether a message might go now, of so many a minute; else when to ask again,
 * at least 1 ms. */
bool site_rate_ask(struct site *site, unsigned per_minute,
		   struct site_turn *turn, uint64_t *wait_ms_out) MUST_USE;
/* The same with all else in hand, and it counts as gone. */
bool site_rate_take(struct site *site, unsigned per_minute,
		    struct site_turn *turn, uint64_t *wait_ms_out) MUST_USE;

/* Whether somebody waits for a place of this site, or of all, and a place that
 * is given back here is one. */
bool site_is_wanted(const struct site *site);
unsigned site_window(const struct site *site);
unsigned site_open(const struct site *site);

#endif
