#include "relay/delivery/site.h"

#include <search.h>
#include <stdlib.h>

#include "base/clock.h"

struct sites {
	uv_mutex_t mutex; /* of the tree and the references */
	void *tree;       /* by key: tsearch(3) */
	struct gate all;
};

struct site {
	struct sites *sites;
	struct slice key;
	unsigned references;
	struct gate gate;
	uv_mutex_t mutex; /* of the pace, and of who parts */
	struct pace pace;
	unsigned parting, failed; /* places; one that has failed is only that */
	struct arena arena;
	struct recipient_result why; /* it was paused; in the arena */
	/* What the pace says, for those who only want to know. */
	atomic_uint max;          /* of the configuration */
	atomic_uint window;
	atomic_uint class;        /* enum gate_class */
	atomic_uint_fast64_t paused_until_ms;
	atomic_uint_fast64_t next_us;  /* when the next message may go */
	atomic_uint_fast64_t turns_us; /* when all who wait have had a turn */
	char bytes[];
};

/* --- all of them --- */

struct sites *
sites_new(void)
{
	struct sites *sites = memory_new(sizeof(*sites));

	ASSERT(uv_mutex_init(&sites->mutex) == 0);
	gate_init(&sites->all, GATE_PLACES_MAX);
	return sites;
}

void
sites_free(struct sites *sites)
{
	ASSERT(sites->tree == NULL);
	gate_done(&sites->all);
	uv_mutex_destroy(&sites->mutex);
	free(sites);
}

static unsigned
at_least_one(unsigned count)
{
	return count > 0 ? count : 1;
}

/* However many destinations are dead, a quarter of all connections is for those
 * that work, and of what has failed before never more than a quarter is tried
 * at once. */
void
sites_limit(struct sites *sites, unsigned open_max)
{
	gate_limit(&sites->all, GATE_PROVEN, open_max);
	gate_limit(&sites->all, GATE_UNKNOWN,
		   at_least_one(open_max - open_max / 4));
	gate_limit(&sites->all, GATE_FAILING, at_least_one(open_max / 4));
}

static int
site_compare(const void *a, const void *b)
{
	const struct site *left = a, *right = b;

	return slice_compare(left->key, right->key);
}

static struct site *
site_new(struct sites *sites, struct slice key)
{
	struct site *site = memory_new(sizeof(*site) + key.len);

	memcpy(site->bytes, key.bytes, key.len);
	site->key = slice_of(site->bytes, key.len);
	site->sites = sites;
	site->arena = ARENA_SMALL;
	ASSERT(uv_mutex_init(&site->mutex) == 0);
	pace_init(&site->pace);
	atomic_init(&site->max, GATE_PLACES_MAX);
	atomic_init(&site->window, site->pace.window);
	atomic_init(&site->class, GATE_UNKNOWN);
	gate_init(&site->gate, site->pace.window);
	return site;
}

struct site *
site_find(struct sites *sites, struct slice key)
{
	struct site wanted = {.key = key}, *site;
	void *found;

	uv_mutex_lock(&sites->mutex);
	found = tfind(&wanted, &sites->tree, site_compare);
	if (found != NULL) {
		site = *(struct site **)found;
	} else {
		site = site_new(sites, key);
		ASSERT(tsearch(site, &sites->tree, site_compare) != NULL);
	}
	site->references++;
	uv_mutex_unlock(&sites->mutex);
	return site;
}

struct site *
site_ref(struct site *site)
{
	uv_mutex_lock(&site->sites->mutex);
	ASSERT(site->references > 0);
	site->references++;
	uv_mutex_unlock(&site->sites->mutex);
	return site;
}

void
site_unref(struct site *site)
{
	struct sites *sites = site->sites;
	bool is_last;

	uv_mutex_lock(&sites->mutex);
	ASSERT(site->references > 0);
	is_last = --site->references == 0;
	if (is_last)
		ASSERT(tdelete(site, &sites->tree, site_compare) != NULL);
	uv_mutex_unlock(&sites->mutex);
	if (!is_last)
		return;
	gate_done(&site->gate);
	arena_done(&site->arena);
	uv_mutex_destroy(&site->mutex);
	free(site);
}

/* --- places --- */

static void ticket_on_gate(struct gate_ticket *gate);

void
site_ticket_init(struct site_ticket *ticket, struct loop *loop,
		 void (*turn)(struct site_ticket *ticket))
{
	*ticket = (struct site_ticket){.loop = loop, .turn = turn};
	ticket->gate.loop = loop;
	ticket->gate.granted = ticket_on_gate;
	list_init(&ticket->gate.link);
}

bool
site_ticket_waits(const struct site_ticket *ticket)
{
	return ticket->state == SITE_TICKET_AT_SITE ||
	       ticket->state == SITE_TICKET_AT_ALL;
}

void
site_ticket_prompt(struct site_ticket *ticket, bool is_prompt)
{
	if (ticket->gate.is_prompt == is_prompt)
		return;
	if (!site_ticket_waits(ticket))
		ticket->gate.is_prompt = is_prompt;
	else if (is_prompt)
		gate_hurry(ticket->state == SITE_TICKET_AT_SITE
				   ? &ticket->site->gate
				   : &ticket->site->sites->all,
			   &ticket->gate);
}

static enum gate_class
site_class(const struct site *site)
{
	return (enum gate_class)atomic_load(&site->class);
}

/* It has its place at the site; now of all. */
static void
ticket_go_on(struct site_ticket *ticket)
{
	struct site *site = ticket->site;

	ticket->place = (struct site_place){site, site_class(site)};
	ticket->state = gate_take(&site->sites->all, ticket->place.class,
				  &ticket->gate)
				? SITE_TICKET_READY
				: SITE_TICKET_AT_ALL;
}

static void
ticket_end(struct site_ticket *ticket)
{
	ticket->state = SITE_TICKET_IDLE;
	if (ticket->site != NULL)
		site_unref(TAKE(ticket->site));
}

static void
ticket_on_gate(struct gate_ticket *gate)
{
	struct site_ticket *ticket =
		CONTAINER(gate, struct site_ticket, gate);

	if (ticket->state == SITE_TICKET_AT_ALL) {
		ASSERT(gate->has_place);
		ticket->state = SITE_TICKET_READY;
	} else if (gate->has_place) {
		ticket_go_on(ticket);
		if (ticket->state != SITE_TICKET_READY)
			return;
	} else {
		ticket_end(ticket);
	}
	ticket->turn(ticket);
}

bool
site_ticket_cancel(struct site_ticket *ticket)
{
	struct site *site = ticket->site;

	switch (ticket->state) {
	case SITE_TICKET_IDLE:
		return true;
	case SITE_TICKET_AT_SITE:
		if (!gate_cancel(&site->gate, &ticket->gate))
			return false;
		break;
	case SITE_TICKET_AT_ALL:
		if (!gate_cancel(&site->sites->all, &ticket->gate))
			return false;
		(void)gate_give(&site->gate, GATE_PROVEN);
		break;
	case SITE_TICKET_READY:
		(void)gate_give(&site->sites->all, ticket->place.class);
		(void)gate_give(&site->gate, GATE_PROVEN);
		break;
	}
	ticket_end(ticket);
	return true;
}

/* 0: not. */
static uint64_t
paused_ms(const struct site *site)
{
	uint64_t until_ms = atomic_load(&site->paused_until_ms);
	uint64_t now_ms = clock_now_ms();

	return until_ms > now_ms ? until_ms - now_ms : 0;
}

static enum site_answer
place_hand_over(struct site_ticket *ticket, struct site_place *place_out)
{
	*place_out = ticket->place;
	/* The reference goes with it. */
	ticket->site = NULL;
	ticket_end(ticket);
	return SITE_TAKEN;
}

static enum site_answer
site_try(struct site *site, struct site_place *place_out)
{
	enum gate_class class = site_class(site);

	if (!gate_try(&site->gate, GATE_PROVEN))
		return SITE_WAIT;
	if (!gate_try(&site->sites->all, class)) {
		(void)gate_give(&site->gate, GATE_PROVEN);
		return SITE_WAIT;
	}
	*place_out = (struct site_place){site_ref(site), class};
	return SITE_TAKEN;
}

enum site_answer
site_take(struct site *site, struct site_ticket *ticket,
	  struct site_place *place_out, uint64_t *pause_ms_out)
{
	uint64_t pause_ms = paused_ms(site);

	if (ticket == NULL && pause_ms == 0)
		return site_try(site, place_out);
	if (ticket == NULL) {
		*pause_ms_out = pause_ms;
		return SITE_PAUSED;
	}
	if (ticket->state == SITE_TICKET_READY && ticket->site == site &&
	    pause_ms == 0)
		return place_hand_over(ticket, place_out);
	if (ticket->site == site && site_ticket_waits(ticket))
		return SITE_WAIT;
	/* It was for other hosts, or they are out of reach by now. */
	if (!site_ticket_cancel(ticket))
		return SITE_WAIT;
	if (pause_ms > 0) {
		*pause_ms_out = pause_ms;
		return SITE_PAUSED;
	}
	ticket->site = site_ref(site);
	ticket->state = SITE_TICKET_AT_SITE;
	if (!gate_take(&site->gate, GATE_PROVEN, &ticket->gate))
		return SITE_WAIT;
	ticket_go_on(ticket);
	if (ticket->state != SITE_TICKET_READY)
		return SITE_WAIT;
	return place_hand_over(ticket, place_out);
}

void
site_part(struct site_place *place)
{
	struct site *site = place->site;

	ASSERT(!place->is_parting);
	if (place->has_failed)
		return;
	place->is_parting = true;
	uv_mutex_lock(&site->mutex);
	site->parting++;
	uv_mutex_unlock(&site->mutex);
}

/* As one step, for whoever compares the two counts. */
static void
counted_give(struct site *site, unsigned *count)
{
	uv_mutex_lock(&site->mutex);
	ASSERT(*count > 0);
	--*count;
	(void)gate_give(&site->gate, GATE_PROVEN);
	uv_mutex_unlock(&site->mutex);
}

void
site_give(struct site_place *place)
{
	struct site *site = TAKE(place->site);

	(void)gate_give(&site->sites->all, place->class);
	if (place->is_parting)
		counted_give(site, &site->parting);
	else if (place->has_failed)
		counted_give(site, &site->failed);
	else
		(void)gate_give(&site->gate, GATE_PROVEN);
	site_unref(site);
}

/* --- the pace --- */

/* Under the mutex. */
static void
pace_apply(struct site *site)
{
	const struct pace *pace = &site->pace;

	atomic_store(&site->window, pace->window);
	atomic_store(&site->class, pace->backoff_ms > 0 ? GATE_FAILING
				   : pace->has_worked   ? GATE_PROVEN
							: GATE_UNKNOWN);
	if (pace->backoff_ms == 0)
		atomic_store(&site->paused_until_ms, 0);
	gate_limit(&site->gate, GATE_PROVEN, site_window(site));
}

void
site_limit(struct site *site, unsigned connections_max)
{
	if (atomic_load(&site->max) == connections_max)
		return;
	uv_mutex_lock(&site->mutex);
	atomic_store(&site->max, connections_max);
	pace_apply(site);
	uv_mutex_unlock(&site->mutex);
}

static void
result_copy(struct arena *arena, const struct recipient_result *from,
	    struct recipient_result *to)
{
	*to = (struct recipient_result){
		.outcome = from->outcome,
		.reply = arena_copy(arena, from->reply),
		.status = arena_copy(arena, from->status),
		.mx = arena_copy(arena, from->mx),
		.address = arena_copy(arena, from->address),
		.tls = arena_copy(arena, from->tls),
	};
}

void
site_why(struct site *site, struct arena *arena,
	 struct recipient_result *why_out)
{
	uv_mutex_lock(&site->mutex);
	result_copy(arena, &site->why, why_out);
	uv_mutex_unlock(&site->mutex);
}

/* Under the mutex: who else is a sign that the hosts are within reach. */
static unsigned
others_open(const struct site *site, const struct site_place *place)
{
	unsigned others = gate_taken(&site->gate) - 1 - site->failed;

	return others == site->parting && !place->was_answered ? 0 : others;
}

uint64_t
site_fail(struct site_place *place, uint64_t pause_max_ms,
	  const struct recipient_result *why)
{
	struct site *site = place->site;
	uint64_t pause_ms;

	ASSERT(!place->is_parting);
	ASSERT(!place->has_failed);
	place->has_failed = true;
	uv_mutex_lock(&site->mutex);
	pause_ms = pace_failed(&site->pace, others_open(site, place),
			       pause_max_ms);
	site->failed++;
	pace_apply(site);
	if (pause_ms > 0) {
		arena_done(&site->arena);
		result_copy(&site->arena, why, &site->why);
		atomic_store(&site->paused_until_ms, clock_now_ms() + pause_ms);
		gate_empty(&site->gate);
	}
	uv_mutex_unlock(&site->mutex);
	return pause_ms;
}

void
site_hurry(struct site *site)
{
	atomic_store(&site->paused_until_ms, 0);
}

void
site_answered(struct site_place *place, bool has_delivered)
{
	struct site *site = place->site;
	unsigned max = atomic_load(&site->max);

	if (place->class == GATE_PROVEN && site_class(site) == GATE_PROVEN &&
	    (!has_delivered || atomic_load(&site->window) >= max))
		return;
	uv_mutex_lock(&site->mutex);
	if (has_delivered)
		pace_delivered(&site->pace, gate_taken(&site->gate), max);
	else
		pace_answered(&site->pace);
	pace_apply(site);
	uv_mutex_unlock(&site->mutex);
	gate_move(&site->sites->all, place->class, GATE_PROVEN);
	place->class = GATE_PROVEN;
}

/* --- the rate --- */

/* What alarms and loops are late by does not lessen the rate. */
#define RATE_LATE_US (20 * 1000)
/* Whose turn it was does not come, with a connection: anybody may go. */
#define RATE_GRACE_US (50 * 1000)
/* Those before may be gone by then: the sooner it is, the more often. */
#define RATE_LOOKS 16
#define RATE_LOOK_MIN_US (250 * 1000)
#define RATE_LOOK_MAX_US (10 * 1000 * 1000)

static uint64_t
rate_later(uint64_t a_us, uint64_t b_us)
{
	return a_us > b_us ? a_us : b_us;
}

static uint64_t
rate_look_us(uint64_t wait_us)
{
	uint64_t look_us = wait_us / RATE_LOOKS;

	if (look_us < RATE_LOOK_MIN_US)
		look_us = RATE_LOOK_MIN_US;
	if (look_us > RATE_LOOK_MAX_US)
		look_us = RATE_LOOK_MAX_US;
	return look_us < wait_us ? look_us : wait_us;
}

static bool
rate_allows(const struct site *site, const struct site_turn *turn,
	    uint64_t next_us, uint64_t now_us)
{
	bool is_due = turn->due_us > 0 && turn->due_us <= now_us;

	return next_us <= now_us &&
	       (is_due || atomic_load(&site->turns_us) <= now_us ||
		next_us + RATE_GRACE_US <= now_us);
}

/* Who has come in vain goes behind those who wait: they do not all come at
 * once. */
static uint64_t
rate_wait_ms(struct site *site, unsigned per_minute, struct site_turn *turn,
	     uint64_t now_us)
{
	uint64_t turns_us = atomic_load(&site->turns_us);
	uint64_t soonest_us = rate_later(atomic_load(&site->next_us), now_us);
	uint64_t wait_us;

	if (turn->due_us <= now_us) {
		do
			turn->due_us = rate_later(turns_us, soonest_us);
		while (!atomic_compare_exchange_weak(
			&site->turns_us, &turns_us,
			turn->due_us + MINUTE * 1000 / per_minute));
	}
	wait_us = rate_look_us(turn->due_us - now_us);
	return wait_us > 0 ? (wait_us + 999) / 1000 : 1;
}

bool
site_rate_ask(struct site *site, unsigned per_minute, struct site_turn *turn,
	      uint64_t *wait_ms_out)
{
	uint64_t now_us = clock_now_ms() * 1000;

	ASSERT(per_minute > 0);
	if (rate_allows(site, turn, atomic_load(&site->next_us), now_us))
		return true;
	*wait_ms_out = rate_wait_ms(site, per_minute, turn, now_us);
	return false;
}

/* Somebody went, since nobody came whose turn it was: as many of those who have
 * one may be gone for good. Whoever is not keeps his own, and looks before it
 * comes. */
static void
rate_forget_turns(struct site *site, uint64_t next_us)
{
	uint64_t turns_us = atomic_load(&site->turns_us);

	if (turns_us > next_us)
		(void)atomic_compare_exchange_strong(&site->turns_us, &turns_us,
						     next_us);
}

bool
site_rate_take(struct site *site, unsigned per_minute, struct site_turn *turn,
	       uint64_t *wait_ms_out)
{
	uint64_t now_us = clock_now_ms() * 1000, span_us = MINUTE * 1000;
	uint64_t next_us = atomic_load(&site->next_us), from_us;

	ASSERT(per_minute > 0);
	do {
		if (!rate_allows(site, turn, next_us, now_us)) {
			*wait_ms_out = rate_wait_ms(site, per_minute, turn,
						    now_us);
			return false;
		}
		/* Nothing is saved up. */
		from_us = next_us + RATE_LATE_US >= now_us ? next_us : now_us;
	} while (!atomic_compare_exchange_weak(&site->next_us, &next_us,
					       from_us + span_us / per_minute));
	if (turn->due_us == 0 || turn->due_us > now_us)
		rate_forget_turns(site, from_us + span_us / per_minute);
	turn->due_us = 0;
	return true;
}

/* --- looking --- */

bool
site_is_wanted(const struct site *site)
{
	return gate_is_wanted(&site->gate) || gate_is_full(&site->sites->all);
}

unsigned
site_window(const struct site *site)
{
	unsigned window = atomic_load(&site->window);
	unsigned max = atomic_load(&site->max);

	return window < max ? window : max;
}

unsigned
site_open(const struct site *site)
{
	return gate_taken(&site->gate);
}
