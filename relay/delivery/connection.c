#include <stdlib.h>

#include "relay/delivery/connection_private.h"
#include "relay/delivery/parting.h"
#include "relay/generation.h"

/* Conversations that one message may break before it is held to be the reason,
 * and not one connection too many. */
#define LOST_MAX 3

static void connection_next_host(struct connection *connection);
static void connection_go_on(struct connection *connection);
static void connection_part(struct connection *connection);
static void last_set(struct connection *connection,
		     const struct recipient_result *result);

/* --- back to the owner --- */

static void
attempt_on_return(struct post *post)
{
	struct attempt *attempt = CONTAINER(post, struct attempt, post);
	struct connection *connection = attempt->connection;

	connection->settings.returned(connection->settings.owner, connection,
				      attempt);
}

static void
attempt_return(struct connection *connection, struct attempt *attempt)
{
	loop_post(connection->settings.owner_loop, &attempt->post,
		  attempt_on_return);
}

static void
connection_on_end(struct post *post)
{
	struct connection *connection =
		CONTAINER(post, struct connection, end_post);

	connection->settings.ended(connection->settings.owner, connection);
}

/* No conversation follows this one: its place goes when it does. */
static void
connection_quit(struct connection *connection)
{
	parting_keep(connection->client, &connection->site_place);
	client_quit(&connection->client);
}

/* The last thing that a connection does on its loop, but for giving back what
 * is still on its way to it. */
static void
connection_end(struct connection *connection)
{
	struct list *item;

	ASSERT(!connection->is_over);
	ASSERT(connection->client == NULL);
	ASSERT(connection->current == NULL);
	connection->is_over = true;
	while ((item = list_take_first(&connection->waiting)) != NULL)
		attempt_return(connection,
			       CONTAINER(item, struct attempt, link));
	list_remove(&connection->place_link);
	if (connection->parting != NULL)
		parting_take_over(TAKE(connection->parting),
				  &connection->site_place);
	if (connection->site_place.site != NULL)
		site_give(&connection->site_place);
	loop_post(connection->settings.owner_loop, &connection->end_post,
		  connection_on_end);
}

/* --- carrying --- */

static void
current_return(struct connection *connection)
{
	if (connection->current != NULL)
		attempt_return(connection, TAKE(connection->current));
}

/* A reload has come: the policy for TLS may be another now, or the next hop. What
 * has not been begun goes back, and from there by the rules in force. */
static bool
connection_is_outdated(const struct connection *connection)
{
	return connection->settings.generation !=
	       connection->settings.loop->generation;
}

/* Has had its share: of the host's patience, or while others wait for a place
 * at the same hosts, of that. */
static bool
connection_has_had_enough(const struct connection *connection)
{
	unsigned carried = client_carried(connection->client);

	return connection->settings.place->is_stopping ||
	       connection_is_outdated(connection) ||
	       carried >= CONNECTION_MESSAGES_MAX ||
	       clock_now_ms() - connection->opened_ms >= CONNECTION_AGE_MS ||
	       (carried >= CONNECTION_SHARE &&
		site_is_wanted(connection->settings.site));
}

static bool
connection_is_worn(const struct connection *connection)
{
	/* What is in clear for one message is not for the others. */
	return connection_has_had_enough(connection) ||
	       connection->doubts_tls || client_is_worn(connection->client);
}

/* A message of many transactions has no more of a connection than as many
 * messages would; and what has become of its recipients is stored now and
 * then. */
static bool
connection_goes_on(void *owner, unsigned transactions)
{
	const struct connection *connection = owner;

	if (connection->settings.in_one_go)
		return true;
	return !connection->settings.is_rated &&
	       !connection_has_had_enough(connection) &&
	       transactions < ATTEMPT_TRANSACTIONS_MAX &&
	       clock_now_ms() - connection->begun_ms < ATTEMPT_MAX_MS;
}

/* Gives the client what is current. True: that took no time, and the client
 * may have the next. False: it has it, or another host is to take it; where
 * there is none the connection may be the owner's by now, and gone. */
static bool
current_is_refused(struct connection *connection)
{
	connection->begun_ms = clock_now_ms();
	switch (client_carry(
		connection->client, connection->current,
		choice_has_better(&connection->choice, connection->host))) {
	case CLIENT_CARRIES:
		return false;
	case CLIENT_REFUSES:
		current_return(connection);
		return true;
	case CLIENT_PASSES_ON:
		last_set(connection, &client_end(connection->client)->result);
		choice_lacks(&connection->choice, connection->host);
		connection_part(connection);
		client_quit(&connection->client);
		connection->was_passed_on = true;
		connection_next_host(connection);
		return false;
	}
	return false;
}

/* Gives the client the next attempt, if both are ready. May be called from
 * inside its READY and CARRIED. */
static void
connection_pump(struct connection *connection)
{
	while (connection->client != NULL && connection->current == NULL &&
	       client_is_ready(connection->client)) {
		struct list *item;

		if (connection_is_worn(connection)) {
			connection_quit(connection);
			connection_end(connection);
			return;
		}
		item = list_take_first(&connection->waiting);
		if (item == NULL)
			return;
		connection->current = CONTAINER(item, struct attempt, link);
		choice_next_message(&connection->choice);
		if (!current_is_refused(connection))
			return;
	}
}

/* --- hosts --- */

static void
last_set(struct connection *connection, const struct recipient_result *result)
{
	struct arena *arena = &connection->arena;

	arena_done(arena);
	connection->last = (struct recipient_result){
		.outcome = result->outcome,
		.reply = arena_copy(arena, result->reply),
		.status = arena_copy(arena, result->status),
		.mx = arena_copy(arena, result->mx),
		.address = arena_copy(arena, result->address),
		.tls = arena_copy(arena, result->tls),
		.certificate = arena_copy(arena, result->certificate),
		.is_resumed = result->is_resumed,
	};
}

/* What a host has said of the message tells more than that the next one is down,
 * too. */
static void
last_set_end(struct connection *connection, const struct client_end *end)
{
	if (end->was_ready || !connection->was_passed_on ||
	    !outcome_is_reply(connection->last.reply))
		last_set(connection, &end->result);
}

/* One message that found no host tells the tale; for all others of the site
 * nothing has happened but that they wait. Where the hosts talk to others it may
 * be tried on another connection, unless it is what breaks them. */
static void
waiting_fail(struct connection *connection)
{
	bool is_first = true;

	LIST_EACH (item, &connection->waiting) {
		struct attempt *attempt = CONTAINER(item, struct attempt, link);

		attempt->is_homeless = true;
		if (is_first &&
		    (connection->pause_ms > 0 || attempt->lost >= LOST_MAX ||
		     attempt_has_begun(attempt))) {
			attempt->is_unreached = !attempt_has_begun(attempt);
			attempt_fill(attempt, &connection->last);
		}
		is_first = false;
	}
}

/* No host is left. */
static void
connection_fail(struct connection *connection)
{
	/* A host has answered: what it was not asked about may go there. */
	if (connection->was_passed_on) {
		if (connection->current != NULL)
			attempt_fill(connection->current, &connection->last);
		current_return(connection);
		connection_end(connection);
		return;
	}
	connection->has_failed = true;
	connection->pause_ms = site_fail(
		&connection->site_place, connection->settings.pause_max_ms,
		&connection->last);
	if (connection->current != NULL)
		list_add_first(&connection->waiting,
			       &TAKE(connection->current)->link);
	waiting_fail(connection);
	connection_end(connection);
}

/* Nothing was tried: all goes back as it is. */
static void
connection_fail_locally(struct connection *connection)
{
	connection->is_local_trouble = true;
	current_return(connection);
	connection_end(connection);
}

/* By the message that it had: the peer has said something to that, or it was
 * the first one of a conversation that stood. Behind others it may have been
 * closed before. */
static bool
has_been_broken(const struct connection *connection,
		const struct client_end *end)
{
	return end->has_answered ||
	       (end->was_ready && client_carried(connection->client) == 0);
}

static void
connection_on_client_end(struct connection *connection)
{
	const struct client_end *end = client_end(connection->client);
	bool try_same, is_passing, is_blameless, is_of_login, is_unreached;
	bool is_done, is_left, is_silent;

	/* Between two transactions it is put down: what is known is stored, and
	 * others have their turn at a host that takes few at a time. */
	if (connection->current != NULL && end->is_worn &&
	    !connection->settings.in_one_go)
		connection->current->is_put_down =
			!attempt_is_complete(connection->current);
	if (connection->current != NULL &&
	    (attempt_is_complete(connection->current) ||
	     connection->current->is_put_down))
		current_return(connection);
	else if (connection->current != NULL && !end->is_passing &&
		 !end->is_worn && has_been_broken(connection, end))
		connection->current->lost++;
	try_same = connection_host_deserves_another(connection, end);
	is_passing = end->is_passing ||
		     (!try_same && connection_blames_message(connection, end));
	is_blameless = is_passing || end->is_of_message;
	is_of_login = end->is_of_login;
	is_unreached = end->is_unreached;
	is_silent = end->is_silent;
	connection->site_place.was_answered |= !is_unreached && !try_same;
	connection->is_local_trouble = end->is_local;
	if (end->is_lacking)
		choice_lacks(&connection->choice, connection->host);
	if (end->wants_tls)
		connection_forget_tls_lapse(connection);
	last_set_end(connection, end);
	is_done = connection->current == NULL &&
		  list_is_empty(&connection->waiting);
	is_left = connection->settings.place->is_stopping ||
		  connection_is_outdated(connection);
	connection_part(connection);
	/* It frees itself. */
	connection->client = NULL;
	if (connection->is_local_trouble) {
		connection_fail_locally(connection);
		return;
	}
	if (is_done) {
		connection_end(connection);
		return;
	}
	/* No other host any more: it goes back, with what is known so far. */
	if (is_left) {
		current_return(connection);
		connection_end(connection);
		return;
	}
	if (try_same) {
		connection_go_on(connection);
		return;
	}
	if (is_of_login) {
		connection_fail(connection);
		return;
	}
	connection->was_passed_on |= is_passing;
	if (is_silent)
		connection_host_was_silent(connection);
	connection_host_failed(connection, is_unreached, is_blameless);
	connection_next_host(connection);
}

static bool
has_delivered(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		if (attempt->results[i].outcome == OUTCOME_DELIVERED)
			return true;
	return false;
}

static void
connection_on_client(void *owner, enum client_event event)
{
	struct connection *connection = owner;

	switch (event) {
	case CLIENT_READY:
		connection_host_reached(connection);
		if (connection_is_outdated(connection))
			current_return(connection);
		if (connection->current == NULL) {
			connection_pump(connection);
		} else if (client_is_ready(connection->client) &&
			   current_is_refused(connection)) {
			connection_pump(connection);
		}
		return;
	case CLIENT_CARRIED:
		connection->retried_same = false;
		if (has_delivered(connection->current))
			connection_host_took(connection);
		site_answered(&connection->site_place,
			      has_delivered(connection->current));
		connection->current->is_put_down =
			!attempt_is_complete(connection->current);
		current_return(connection);
		connection_pump(connection);
		return;
	case CLIENT_ENDED:
		connection_on_client_end(connection);
		return;
	}
}

/* Opens a conversation with connection->host. */
static void
connection_try(struct connection *connection)
{
	const struct connection_settings *settings = &connection->settings;
	const struct generation *generation = settings->generation;
	struct fate fate = outcome_of_trouble(TROUBLE_NO_CONNECTION);
	struct fault fault;

	connection->opened_ms = clock_now_ms();
	connection_recall_lapses(connection);
	if (client_open(&(struct client_settings){
				.loop = settings->loop,
				.store = settings->store,
				.host = connection->host,
				.source = settings->source,
				.sign = settings->sign,
				.tls = settings->tls,
				.implicit_tls = settings->implicit_tls,
				.login = settings->login,
				.without_8bitmime = generation->options
					->delivery.without_8bitmime,
				.in_clear = connection->in_clear,
				.has_other_host =
					choice_has_other(&connection->choice),
				.is_hurried = connection->is_hurried,
				.without_bdat = connection->without_bdat,
				.without_dsn = connection->without_dsn,
				.deadline_ms = settings->deadline_ms,
				.tls_context = generation->client_tls,
				.terms = settings->tls_terms,
				.peers = settings->peers,
				.goes_on = connection_goes_on,
				.event = connection_on_client,
				.owner = connection},
			&connection->client, &fault))
		return;
	last_set(connection, &(struct recipient_result){
				     .outcome = fate.outcome,
				     .reply = SLICE(fault.text),
				     .status = SLICE(fate.status),
				     .mx = connection->host->name});
	connection_next_host(connection);
}

/* To a host that counts the last conversation, too, or to another one: the place
 * is for one at a time. */
static void
connection_go_on(struct connection *connection)
{
	if (connection->parting == NULL)
		connection_try(connection);
}

static void
connection_on_parted(void *owner)
{
	struct connection *connection = owner;

	connection->parting = NULL;
	if (!connection_is_outdated(connection)) {
		connection_try(connection);
		return;
	}
	current_return(connection);
	connection_end(connection);
}

/* The conversation is over, or about to be. */
static void
connection_part(struct connection *connection)
{
	ASSERT(connection->parting == NULL);
	connection->parting = parting_await(connection->client,
					    connection_on_parted, connection);
}

static void
connection_next_host(struct connection *connection)
{
	connection->host = choice_next(&connection->choice,
				       connection_puts_v6_off(connection),
				       &connection->is_hurried);
	connection->retried_same = false;
	connection->without_bdat = connection->without_dsn = false;
	connection->doubts_dsn = connection->doubts_tls = false;
	if (connection->host == NULL)
		connection_fail(connection);
	else
		connection_go_on(connection);
}

/* --- the cache --- */

/* Goes on with a conversation that is there already; the place that came with
 * it is enough. */
static void
connection_adopt(struct connection *connection, struct kept *kept)
{
	if (connection->site_place.site != NULL)
		site_give(&connection->site_place);
	connection->site_place = kept->place;
	kept->place.site = NULL;
	connection->host = &connection->settings.hosts->items[kept->index];
	choice_take(&connection->choice, connection->host);
	connection->opened_ms = kept->opened_ms;
	connection->client = TAKE(kept->client);
	kept_free(kept);
	client_pass_on(connection->client, connection_on_client, connection,
		       choice_has_other(&connection->choice));
}

static void
connection_keep(struct connection *connection)
{
	const struct connection_settings *settings = &connection->settings;
	struct kept *kept = memory_new(sizeof(*kept));

	list_init(&kept->link);
	kept->client = TAKE(connection->client);
	kept->hosts = hosts_ref(settings->hosts);
	kept->host = connection->host;
	kept->generation = generation_ref(settings->generation);
	kept->place = connection->site_place;
	connection->site_place.site = NULL;
	kept->opened_ms = connection->opened_ms;
	cache_put(&settings->place->cache, kept);
}

/* --- from the owner --- */

static void
connection_on_open(struct post *post)
{
	struct connection *connection =
		CONTAINER(post, struct connection, open_post);
	const struct connection_settings *settings = &connection->settings;
	struct connection_place *place = settings->place;
	struct kept *kept;

	list_add_last(&place->connections, &connection->place_link);
	if (place->is_stopping || connection_is_outdated(connection)) {
		connection_end(connection);
		return;
	}
	connection_recall_silence(connection);
	kept = cache_take(&place->cache, settings->site, settings->generation,
			  settings->hosts);
	if (kept != NULL)
		connection_adopt(connection, kept);
	else
		connection_next_host(connection);
}

struct connection *
connection_open(const struct connection_settings *settings,
		struct site_place *site_place, struct kept *kept)
{
	struct connection *connection = memory_new(sizeof(*connection));

	ASSERT(settings->hosts->count > 0);
	ASSERT((site_place->site == NULL) == (kept != NULL));
	connection->settings = *settings;
	generation_ref(settings->generation);
	connection->choice.hosts = hosts_ref(settings->hosts);
	connection->choice.turn = settings->turn;
	site_ref(settings->site);
	list_init(&connection->link);
	list_init(&connection->place_link);
	list_init(&connection->waiting);
	connection->site_place = *site_place;
	site_place->site = NULL;
	if (kept == NULL) {
		loop_post(settings->loop, &connection->open_post,
			  connection_on_open);
		return connection;
	}
	ASSERT(settings->loop == settings->owner_loop);
	list_add_last(&settings->place->connections, &connection->place_link);
	connection_adopt(connection, kept);
	return connection;
}

static void
connection_on_released(struct post *post)
{
	struct connection *connection =
		CONTAINER(post, struct connection, release_post);

	connection->is_releasing = false;
	connection->settings.released(connection->settings.owner, connection);
}

static void
connection_on_release(struct post *post)
{
	struct connection *connection =
		CONTAINER(post, struct connection, release_post);

	if (!connection->is_over && connection->current == NULL &&
	    list_is_empty(&connection->waiting) && connection->client != NULL &&
	    client_is_ready(connection->client)) {
		if (connection_is_worn(connection) ||
		    site_is_wanted(connection->settings.site))
			connection_quit(connection);
		else
			connection_keep(connection);
		connection_end(connection);
	}
	loop_post(connection->settings.owner_loop, &connection->release_post,
		  connection_on_released);
}

void
connection_release(struct connection *connection)
{
	ASSERT(!connection->has_ended);
	ASSERT(!connection->is_released);
	connection->is_released = connection->is_releasing = true;
	loop_post(connection->settings.loop, &connection->release_post,
		  connection_on_release);
}

static void
attempt_on_carry(struct post *post)
{
	struct attempt *attempt = CONTAINER(post, struct attempt, post);
	struct connection *connection = attempt->connection;

	if (connection->is_over) {
		attempt_return(connection, attempt);
		return;
	}
	list_add_last(&connection->waiting, &attempt->link);
	connection_pump(connection);
}

void
connection_carry(struct connection *connection, struct attempt *attempt)
{
	ASSERT(!connection->has_ended);
	ASSERT(!connection->is_released);
	connection->assigned++;
	attempt->connection = connection;
	loop_post(connection->settings.loop, &attempt->post, attempt_on_carry);
}

void
connection_free(struct connection *connection)
{
	ASSERT(connection->has_ended);
	ASSERT(connection->assigned == 0);
	ASSERT(!connection->is_releasing);
	ASSERT(list_is_empty(&connection->waiting));
	generation_unref(connection->settings.generation);
	hosts_unref(connection->settings.hosts);
	site_unref(connection->settings.site);
	arena_done(&connection->arena);
	free(connection);
}

void
connection_place_init(struct connection_place *place)
{
	list_init(&place->connections);
	cache_init(&place->cache);
	place->is_stopping = false;
}

void
connection_place_done(struct connection_place *place)
{
	ASSERT(list_is_empty(&place->connections));
	ASSERT(list_is_empty(&place->cache.kept));
}

/* And not between two hosts. */
static bool
connection_is_carrying(const struct connection *connection)
{
	return connection->current != NULL && connection->client != NULL &&
	       client_is_carrying(connection->client);
}

/* Whether it may end what it carries. */
static bool
connection_may_end(const struct connection *connection, bool has_time)
{
	return connection_is_carrying(connection) &&
	       (has_time || !attempt_has_begun(connection->current));
}

void
connection_place_stop(struct connection_place *place, bool has_time)
{
	place->is_stopping = true;
	cache_end(&place->cache);
	LIST_EACH (item, &place->connections) {
		struct connection *connection =
			CONTAINER(item, struct connection, place_link);
		struct list *waiting;

		while ((waiting = list_take_first(&connection->waiting)) !=
		       NULL)
			attempt_return(connection,
				       CONTAINER(waiting, struct attempt,
						 link));
		if (connection_may_end(connection, has_time))
			continue;
		if (connection_is_carrying(connection))
			client_break_off(&connection->client,
					 SLICE("this relay stops"));
		/* With what it knows so far. */
		current_return(connection);
		if (connection->client != NULL &&
		    client_is_ready(connection->client))
			connection_quit(connection);
		else if (connection->client != NULL)
			client_close(&connection->client);
		connection_end(connection);
	}
}

void
connection_place_cut_off(struct connection_place *place)
{
	LIST_EACH (item, &place->connections) {
		struct connection *connection =
			CONTAINER(item, struct connection, place_link);

		if (connection_is_carrying(connection))
			client_close(&connection->client);
	}
}
