#include "relay/delivery/errand.h"

#include <stdlib.h>

#include "relay/delivery/destination_private.h"

/* Connections that one delivery may be given back by before that is its
 * result. */
#define CONNECTIONS_MAX 3
/* Behind the deadline, by which conversations have ended by themselves, saying
 * what they waited for. */
#define LATE_MS 500

/* One destination. */
struct leg {
	struct errand *errand;
	struct route route;
	struct attempt *attempt;
	struct hosts_query query;
	bool is_resolving;
	struct hosts *hosts;
	struct site *site;
	struct site_ticket ticket;
	struct alarm rate_alarm;
	struct site_turn rate_turn;
	bool is_rate_taken;
	struct connection *connection;
	unsigned connections_count; /* so far */
	bool is_told;               /* its results */
	bool is_over;
};

struct errand {
	struct errand_setup setup;
	struct generation *generation; /* the loop's */
	struct delivery_service *service;
	struct arena arena;
	struct leg *legs;
	size_t legs_count, legs_over;
	struct alarm deadline;
	struct post begin;
};

static void leg_connect(struct leg *leg);

/* --- results --- */

static void
leg_end(struct leg *leg)
{
	struct errand *errand = leg->errand;

	/* Its turn may be on the way: that leads back to here. */
	if (leg->is_over || leg->connection != NULL ||
	    !site_ticket_cancel(&leg->ticket))
		return;
	leg->is_over = true;
	alarm_close(&leg->rate_alarm, NULL);
	errand->legs_over++;
	if (errand->legs_over < errand->legs_count)
		return;
	alarm_close(&errand->deadline, NULL);
	delivery_service_stop(errand->service, errand->setup.loop);
	errand->setup.done(errand->setup.owner);
}

static void
leg_tell(struct leg *leg)
{
	const struct errand_setup *setup = &leg->errand->setup;
	const struct delivery *delivery = leg->attempt->delivery;

	ASSERT(!leg->is_told);
	leg->is_told = true;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		setup->result(setup->owner, delivery->recipients[i].index,
			      &leg->attempt->results[i]);
}

/* For who has no result yet. */
static void
leg_tell_all(struct leg *leg, const struct recipient_result *result)
{
	attempt_fill(leg->attempt, result);
	leg_tell(leg);
	leg_end(leg);
}

static void
leg_tell_trouble(struct leg *leg, enum outcome_trouble trouble)
{
	struct fate fate = outcome_of_trouble(trouble);
	struct recipient_result result = {
		.outcome = fate.outcome,
		.reply = SLICE(fate.words),
		.status = SLICE(fate.status),
	};

	leg_tell_all(leg, &result);
}

static void
leg_tell_late(struct leg *leg)
{
	leg_tell_all(leg, &(struct recipient_result){
				  .outcome = OUTCOME_DEFERRED,
				  .reply = SLICE("no host could be asked in the "
						 "time given"),
				  .status = SLICE("4.4.7"),
			  });
}

/* --- connections --- */

static void connection_let_go(struct leg *leg);

static void
connection_returned(void *owner, struct connection *connection,
		    struct attempt *attempt)
{
	struct leg *leg = owner;

	ASSERT(attempt == leg->attempt);
	ASSERT(connection->assigned > 0);
	connection->assigned--;
	if (attempt_is_complete(attempt))
		leg_tell(leg);
	if (leg->is_told && !connection->has_ended && !connection->is_released)
		connection_release(connection);
	connection_let_go(leg);
}

static void
connection_let_go(struct leg *leg)
{
	struct connection *connection = leg->connection;
	bool may_try = leg->connections_count < CONNECTIONS_MAX &&
		       !connection->is_local_trouble &&
		       clock_now_ms() < leg->errand->setup.deadline_ms;

	if (!connection->has_ended || connection->assigned > 0 ||
	    connection->is_releasing)
		return;
	leg->connection = NULL;
	if (leg->is_told)
		leg_end(leg);
	else if (may_try)
		leg_connect(leg);
	else if (connection->last.outcome != OUTCOME_NONE)
		leg_tell_all(leg, &connection->last);
	else
		leg_tell_trouble(leg, TROUBLE_CONNECTION_LOST);
	connection_free(connection);
}

static void
connection_ended(void *owner, struct connection *connection)
{
	connection->has_ended = true;
	connection_let_go(owner);
}

static void
connection_released(void *owner, struct connection *connection)
{
	(void)connection;
	connection_let_go(owner);
}

static void
leg_carry(struct leg *leg, struct site_place *place, struct kept *kept)
{
	struct errand *errand = leg->errand;
	struct connection_settings settings = service_connection(
		errand->service, 0, errand->generation, &leg->route, leg->hosts,
		leg->site);

	settings.owner_loop = errand->setup.loop;
	settings.deadline_ms = errand->setup.deadline_ms;
	settings.in_one_go = true;
	settings.owner = leg;
	settings.returned = connection_returned;
	settings.ended = connection_ended;
	settings.released = connection_released;
	leg->connections_count++;
	leg->connection = connection_open(&settings, place, kept);
	connection_carry(leg->connection, leg->attempt);
}

/* With what another destination has met with at the same hosts. */
static void
leg_tell_why(struct leg *leg)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct recipient_result why;

	site_why(leg->site, &arena, &why);
	if (why.outcome == OUTCOME_NONE)
		leg_tell_trouble(leg, TROUBLE_NO_CONNECTION);
	else
		leg_tell_all(leg, &why);
}

/* --- the way there --- */

/* False: the alarm goes on with it. Its one thread has no other leg between the
 * question and what it leads to. */
static bool
rate_allows(struct leg *leg)
{
	uint64_t wait_ms;

	if (leg->is_rate_taken || leg->route.max_rate == 0 ||
	    site_rate_ask(leg->site, (unsigned)leg->route.max_rate,
			  &leg->rate_turn, &wait_ms))
		return true;
	if (!site_ticket_waits(&leg->ticket))
		(void)!site_ticket_cancel(&leg->ticket);
	alarm_set(&leg->rate_alarm, wait_ms);
	return false;
}

static void
rate_take(struct leg *leg)
{
	uint64_t wait_ms;

	if (leg->is_rate_taken || leg->route.max_rate == 0)
		return;
	leg->is_rate_taken =
		site_rate_take(leg->site, (unsigned)leg->route.max_rate,
			       &leg->rate_turn, &wait_ms);
	ASSERT(leg->is_rate_taken);
}

static void
leg_connect(struct leg *leg)
{
	struct delivery_service *service = leg->errand->service;
	struct site_place place = {0};
	struct kept *kept;
	uint64_t pause_ms;

	if (!rate_allows(leg))
		return;
	kept = cache_take(&service->places[0].connections.cache, leg->site,
			  leg->errand->generation, leg->hosts);
	if (kept != NULL) {
		rate_take(leg);
		leg_carry(leg, &place, kept);
		return;
	}
	switch (site_take(leg->site, &leg->ticket, &place, &pause_ms)) {
	case SITE_TAKEN:
		rate_take(leg);
		leg_carry(leg, &place, NULL);
		return;
	case SITE_WAIT:
		return;
	case SITE_PAUSED:
		leg_tell_why(leg);
		return;
	}
}

static void
rate_on_alarm(struct alarm *alarm)
{
	struct leg *leg = CONTAINER(alarm, struct leg, rate_alarm);

	if (!leg->is_told)
		leg_connect(leg);
}

static void
ticket_turn(struct site_ticket *ticket)
{
	struct leg *leg = CONTAINER(ticket, struct leg, ticket);

	if (leg->is_told)
		leg_end(leg);
	else
		leg_connect(leg);
}

static void
hosts_take(struct leg *leg, struct hosts *hosts)
{
	CLEAN(text_done) struct text words = {0};
	struct recipient_result result;
	struct fate fate;

	leg->is_resolving = false;
	leg->hosts = hosts;
	if (hosts->count == 0) {
		hosts_say_trouble(hosts, &fate, &words, &result);
		leg_tell_all(leg, &result);
		return;
	}
	leg->site = service_site(leg->errand->service, leg->errand->generation,
				 &leg->route, hosts);
	leg_connect(leg);
}

static void
hosts_done(struct hosts_query *query, struct hosts *hosts)
{
	hosts_take(CONTAINER(query, struct leg, query), hosts);
}

static void
leg_begin(struct leg *leg)
{
	struct loop *loop = leg->errand->setup.loop;
	struct hosts *hosts;

	leg->is_resolving = true;
	leg->query.done = hosts_done;
	hosts = hosts_start(&leg->query, loop->dns,
			    leg->errand->generation->options, &leg->route);
	if (hosts != NULL)
		hosts_take(leg, hosts);
}

/* --- the errand --- */

/* Nothing new is begun. */
static void
errand_on_deadline(struct alarm *alarm)
{
	struct errand *errand = CONTAINER(alarm, struct errand, deadline);

	delivery_service_stop(errand->service, errand->setup.loop);
	for (size_t i = 0; i < errand->legs_count; i++) {
		struct leg *leg = &errand->legs[i];

		if (leg->is_resolving)
			hosts_cancel(&leg->query);
		leg->is_resolving = false;
		if (leg->connection == NULL && !leg->is_told)
			leg_tell_late(leg);
	}
}

/* Never from inside errand_start(). */
static void
errand_on_begin(struct post *post)
{
	struct errand *errand = CONTAINER(post, struct errand, begin);
	uint64_t now_ms = clock_now_ms();
	uint64_t deadline_ms = errand->setup.deadline_ms;

	alarm_set(&errand->deadline,
		  (deadline_ms > now_ms ? deadline_ms - now_ms : 0) + LATE_MS);
	for (size_t i = 0; i < errand->legs_count; i++)
		leg_begin(&errand->legs[i]);
}

static bool
legs_make(struct errand *errand, struct fault *fault)
{
	struct message *message = errand->setup.message;
	struct list deliveries, *item;
	bool is_good = true;

	list_init(&deliveries);
	deliveries_of(message, errand->setup.loop, &deliveries);
	errand->legs = arena_array(&errand->arena, message->recipients_count,
				   sizeof(*errand->legs));
	while ((item = list_take_first(&deliveries)) != NULL) {
		struct leg *leg = &errand->legs[errand->legs_count++];
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		leg->errand = errand;
		leg->attempt = attempt_new(delivery);
		is_good = is_good && route_find(errand->generation->options,
						delivery->destination,
						&leg->route, fault);
	}
	return is_good;
}

bool
errand_start(const struct errand_setup *setup, struct errand **errand_out,
	     struct fault *fault)
{
	struct errand *errand = memory_new(sizeof(*errand));

	ASSERT(setup->message->recipients_count > 0);
	errand->setup = *setup;
	message_ref(setup->message);
	errand->generation = generation_ref(setup->loop->generation);
	if (!legs_make(errand, fault)) {
		errand_free(errand);
		return false;
	}
	errand->service = delivery_service_new(setup->loop, 1, NULL);
	alarm_init(&errand->deadline, setup->loop, errand_on_deadline);
	for (size_t i = 0; i < errand->legs_count; i++) {
		struct leg *leg = &errand->legs[i];

		site_ticket_init(&leg->ticket, setup->loop, ticket_turn);
		alarm_init(&leg->rate_alarm, setup->loop, rate_on_alarm);
	}
	loop_post(setup->loop, &errand->begin, errand_on_begin);
	*errand_out = errand;
	return true;
}

void
errand_free(struct errand *errand)
{
	if (errand == NULL)
		return;
	for (size_t i = 0; i < errand->legs_count; i++) {
		struct leg *leg = &errand->legs[i];
		struct delivery *delivery = leg->attempt->delivery;

		attempt_free(leg->attempt);
		delivery_free(delivery);
		if (leg->hosts != NULL)
			hosts_unref(leg->hosts);
		if (leg->site != NULL)
			site_unref(leg->site);
	}
	if (errand->service != NULL)
		delivery_service_free(errand->service);
	generation_unref(errand->generation);
	message_unref(errand->setup.message);
	arena_done(&errand->arena);
	free(errand);
}
