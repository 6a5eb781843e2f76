#include "tests/unit/relay/delivery/scripted_private.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "relay/generation.h"
#include "relay/prepare/convert.h"


/* --- the store's part: reads one chunk at a time, from the test's bytes --- */

static struct slice stored;
unsigned store_reads;
bool store_waits;       /* no read ends before a host's G */
unsigned store_failures; /* so many reads fail */
enum fault_kind store_failure;
unsigned store_file_misses, store_hits, store_hits_most;
static unsigned store_tries, hits_in_turn;
static struct loop *store_loop;
static struct post turn_over;

static void
read_on_loop(struct post *post)
{
	struct store_operation *operation =
		CONTAINER(post, struct store_operation, post);
	struct store_read_body *read =
		CONTAINER(operation, struct store_read_body, operation);

	if (__atomic_load_n(&store_waits, __ATOMIC_ACQUIRE)) {
		loop_post(read->loop, post, read_on_loop);
		return;
	}
	store_reads++;
	if (store_failures > 0) {
		struct fault fault;

		store_failures--;
		fault_fill(&fault, store_failure, "no body");
		read->done(read, &fault);
		return;
	}
	text_add(&read->bytes,
		 slice_sub(stored, (size_t)read->offset, read->max));
	read->done(read, NULL);
}

void
store_read_body(struct store *store, struct store_read_body *read)
{
	(void)store;
	cr_assert_leq(read->max, BODY_READ_MAX);
	loop_post(read->loop, &read->operation.post, read_on_loop);
}

static void
turn_on_over(struct post *post)
{
	(void)post;
	hits_in_turn = 0;
}

bool
store_read_body_now(struct store *store, const struct message *message,
		    uint64_t offset, size_t max, struct text *out)
{
	(void)store;
	cr_assert_leq(max, BODY_READ_MAX);
	if (!message->body.is_file ||
	    ++store_tries % store_file_misses == 0)
		return false;
	store_hits++;
	if (hits_in_turn++ == 0)
		loop_post(store_loop, &turn_over, turn_on_over);
	if (hits_in_turn > store_hits_most)
		store_hits_most = hits_in_turn;
	text_add(out, slice_sub(stored, (size_t)offset, max));
	return true;
}

/* --- conversion: "Received: again" on top, and the body as it is --- */

struct convert {
	struct convert_setup setup;
	struct post post;
	bool is_cancelled;
};

unsigned conversions;
size_t conversion_padding;
enum outcome_trouble conversion_fails;

static void
convert_on_loop(struct post *post)
{
	struct convert *convert = CONTAINER(post, struct convert, post);
	struct convert_setup *setup = &convert->setup;
	struct convert_result result = {0};
	struct changes changes = {.adds_date = true};
	struct body *body;

	if (__atomic_load_n(&store_waits, __ATOMIC_ACQUIRE) &&
	    !convert->is_cancelled) {
		loop_post(setup->loop, post, convert_on_loop);
		return;
	}
	if (!convert->is_cancelled && conversion_fails != TROUBLE_NO_NAME) {
		result.trouble = conversion_fails;
		result.detail = SLICE("so it is");
		setup->done(setup->owner, &result);
	} else if (!convert->is_cancelled) {
		conversions++;
		result.message = message_new_like(setup->message);
		result.message->prefix = SLICE("Received: again\r\n");
		body = &result.message->body;
		body->size = stored.len + conversion_padding;
		body->chunks_count = 1;
		body->chunks = arena_array(&result.message->arena, 1,
					   sizeof(*body->chunks));
		body->chunks[0] = stored;
		result.changes =
			changes_copy(&result.message->arena, &changes);
		setup->done(setup->owner, &result);
	}
	loop_release(setup->loop);
	free(convert);
}

void
convert_start(const struct convert_setup *setup, struct convert **convert_out)
{
	struct convert *convert = memory_new(sizeof(*convert));

	convert->setup = *setup;
	loop_hold(setup->loop);
	loop_post(setup->loop, &convert->post, convert_on_loop);
	*convert_out = convert;
}

void
convert_cancel(struct convert **convert)
{
	if (*convert != NULL)
		TAKE(*convert)->is_cancelled = true;
}

/* --- a reload --- */

static bool reload_waits; /* for the loop */
static struct connection_place *reload_stops; /* NULL: goes on */
static bool reload_breaks_off;
static struct generation reloaded;
static struct alarm reload_alarm;

static void
reload_now(struct alarm *alarm)
{
	if (!__atomic_load_n(&reload_waits, __ATOMIC_ACQUIRE)) {
		alarm_set(alarm, 1);
		return;
	}
	if (reload_stops != NULL) {
		connection_place_stop(reload_stops, true);
		if (reload_breaks_off)
			connection_place_stop(reload_stops, false);
	} else {
		store_loop->generation = &reloaded;
	}
	alarm_close(alarm, NULL);
	__atomic_store_n(&reload_waits, false, __ATOMIC_RELEASE);
}

void
reload_await(void)
{
	__atomic_store_n(&reload_waits, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&reload_waits, __ATOMIC_ACQUIRE))
		usleep(1000);
}

/* --- the owner --- */

static void
on_returned(void *argument, struct connection *connection,
	    struct attempt *attempt)
{
	struct owner *owner = argument;

	connection->assigned--;
	owner->returned++;
	(void)attempt;
	/* As a destination does that has nothing more. */
	if (connection->assigned == 0 && !connection->is_released &&
	    !connection->has_ended)
		connection_release(connection);
	/* What is on its way to one that ends comes back behind its end. */
	if (connection->has_ended)
		uv_stop(&owner->loop.uv);
}

static void
on_released(void *argument, struct connection *connection)
{
	struct owner *owner = argument;

	(void)connection;
	uv_stop(&owner->loop.uv);
}

static void
on_ended(void *argument, struct connection *connection)
{
	struct owner *owner = argument;

	connection->has_ended = true;
	__atomic_store_n(&owner->has_ended, true, __ATOMIC_RELEASE);
	uv_stop(&owner->loop.uv);
}

static struct delivery *
delivery_make(unsigned recipients, struct slice body, bool in_memory,
	      bool is_8bit)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));
	struct message *message = message_new(SLICE("a@example.com"));
	char address[32];

	delivery->message = message;
	delivery->recipients_count = recipients;
	delivery->recipients = memory_array(recipients,
					    sizeof(*delivery->recipients));
	for (unsigned i = 0; i < recipients; i++) {
		snprintf(address, sizeof(address), "r%u@example.net", i);
		message_add_recipient(message, SLICE(address),
				      SLICE("example.net"));
		delivery->recipients[i].index = i;
	}
	message->prefix = SLICE("Received: here\r\n");
	message->body.size = body.len;
	message->body.has_8bit = is_8bit;
	if (in_memory) {
		size_t count = (body.len + BODY_CHUNK - 1) / BODY_CHUNK;

		message->body.chunks_count = count;
		message->body.chunks = arena_array(&message->arena, count + 1,
						   sizeof(struct slice));
		for (size_t i = 0; i < count; i++)
			message->body.chunks[i] =
				slice_sub(body, i * BODY_CHUNK, BODY_CHUNK);
	}
	message->body.is_file = !in_memory && store_file_misses > 0;
	stored = body;
	return delivery;
}

static void
delivery_drop(struct delivery *delivery)
{
	/* The slices belong to the test. */
	delivery->message->body.chunks = NULL;
	delivery->message->body.chunks_count = 0;
	message_unref(delivery->message);
	free(delivery->recipients);
	free(delivery);
}

static struct alarm stop_alarm;
static struct owner *stop_owner;

static void
stop_now(struct alarm *alarm)
{
	if (__atomic_load_n(&store_waits, __ATOMIC_ACQUIRE)) {
		alarm_set(alarm, 10);
		return;
	}
	connection_place_stop(&stop_owner->place, true);
	alarm_close(alarm, NULL);
}

static char
outcome_letter(enum outcome outcome)
{
	return "NDTF"[outcome]; /* none, delivered, try again, failed */
}

static void
run_collect(struct run *run)
{
	size_t at = 0;

	for (unsigned i = 0; i < run->messages; i++) {
		struct attempt *attempt = run->owner.attempts[i];
		const struct recipient_result *first = &attempt->results[0];

		for (unsigned j = 0; j < run->recipients && at < 255; j++)
			run->outcomes[at++] =
				outcome_letter(attempt->results[j].outcome);
		snprintf(run->reply, sizeof(run->reply), "%.*s",
			 SLICE_ARG(first->reply));
		if (i == 0)
			memcpy(run->first_reply, run->reply,
			       sizeof(run->reply));
		snprintf(run->status, sizeof(run->status), "%.*s",
			 SLICE_ARG(first->status));
		run->changes += first->changes != NULL;
		run->dsn_passed_on |= first->dsn_passed_on;
		snprintf(run->used_tls, sizeof(run->used_tls), "%.*s",
			 SLICE_ARG(first->tls));
		delivery_drop(attempt->delivery);
		attempt_free(attempt);
	}
	run->outcomes[at] = '\0';
}

struct world {
	struct run *run;
	struct options *options;
	struct generation generation;
	struct hosts *hosts;
	struct peers *peers;
	struct sites *sites;
};

static void
world_make(struct world *world, struct run *run)
{
	struct hosts *hosts = memory_new(sizeof(*hosts));
	struct options *options = options_default();
	struct fault fault;

	*world = (struct world){.run = run, .options = options, .hosts = hosts};
	world->generation =
		(struct generation){.options = options, .references = 100};
	world->peers = peers_new();
	world->sites = sites_new();
	options->hostname = SLICE("relay.example.org");
	options->delivery.without_8bitmime = run->without_8bitmime;
	hosts->references = 1;
	hosts->count = run->hosts_count;
	hosts->items = arena_array(&hosts->arena, HOSTS_MAX,
				   sizeof(*hosts->items));
	for (size_t i = 0; i < run->hosts_count; i++)
		host_start(&run->hosts[i], &hosts->items[i]);
	for (size_t i = 0; run->is_ranked && i < run->hosts_count; i++)
		hosts->items[i].preference = (unsigned)i;
	for (size_t i = 0; i < run->hosts_count; i++)
		if (run->hosts[i].was_silent)
			peers_note_silence(world->peers,
					   &hosts->items[i].address);
	if (run->host_name != NULL)
		hosts->items[0].name = SLICE(run->host_name);
	cr_assert(loop_init(&run->owner.loop, 0, &fault));
	run->owner.loop.generation = &world->generation;
	store_loop = &run->owner.loop;
	cr_assert(tls_context_client(&world->generation.client_tls, &fault));
	connection_place_init(&run->owner.place);
}

static void
world_end(struct world *world)
{
	struct run *run = world->run;

	if (!run->owner.place.is_stopping)
		connection_place_stop(&run->owner.place, true);
	connection_place_done(&run->owner.place);
	loop_done(&run->owner.loop);
	/* They look at the sites. */
	for (size_t i = 0; i < run->hosts_count; i++)
		host_stop(&run->hosts[i]);
	for (size_t i = 0; i < COUNT(run->sites); i++) {
		if (run->sites[i] == NULL)
			continue;
		run->left_open += site_open(run->sites[i]);
		site_unref(run->sites[i]);
	}
	run_collect(run);
	for (size_t i = 0; i < run->hosts_count; i++) {
		const struct host *host = &world->hosts->items[i];
		struct peer_silence asked = {.address = &host->address};

		run->hosts_blamed += host_is_before(&host->failed_until_ms);
		peers_recall_silence(world->peers, &asked, 1);
		run->hosts_silent += asked.left_ms > 0;
	}
	hosts_unref(world->hosts);
	tls_context_free(world->generation.client_tls);
	peers_free(world->peers);
	sites_free(world->sites);
	options_free(world->options);
}

static void
hosts_get_well(struct world *world)
{
	struct run *run = world->run;

	for (size_t i = 0; i < run->hosts_count; i++)
		if (run->hosts[i].gets_well && run->owner.given > 0)
			host_note(&world->hosts->items[i].failed_until_ms, 0);
}

static void
connection_make(struct world *world, struct site *site)
{
	struct run *run = world->run;
	struct owner *owner = &run->owner;
	struct site_place place = {.site = NULL};
	struct kept *kept = cache_take(&owner->place.cache, site,
				       &world->generation, world->hosts);
	uint64_t pause_ms;

	run->adopted += kept != NULL;
	if (kept == NULL)
		cr_assert_eq(site_take(site, NULL, &place, &pause_ms),
			     SITE_TAKEN);
	owner->has_ended = false;
	owner->connection = connection_open(
		&(struct connection_settings){
			.loop = &owner->loop, .owner_loop = &owner->loop,
			.place = &owner->place,
			.generation = &world->generation,
			.hosts = world->hosts, .site = site, .tls = run->tls,
			.tls_terms = {.min = owner->given == 0
						     ? run->first_min
						     : TLS_MIN_AUTO},
			.owner = owner, .peers = world->peers,
			.source = {.helo = world->generation.options->hostname,
				   .bind = run->source,
				   .bind_count = run->source != NULL},
			.implicit_tls = run->implicit_tls,
			.login = run->login, .is_rated = run->is_rated,
			.in_one_go = run->in_one_go,
			.sign = run->sign,
			.pause_max_ms = MINUTE,
			.deadline_ms = run->deadline_ms > 0
					       ? clock_now_ms() +
							 run->deadline_ms
					       : 0,
			.returned = on_returned, .ended = on_ended,
			.released = on_released},
		&place, kept);
}

static void
carry_one(struct run *run)
{
	struct owner *owner = &run->owner;
	struct delivery *delivery;

	owner->attempts[owner->given] = attempt_new(delivery_make(
		run->recipients, run->body, run->in_memory, run->is_8bit));
	delivery = owner->attempts[owner->given]->delivery;
	delivery->last_attempt_ms = run->attempts;
	for (unsigned i = 0; i < run->recipients; i++)
		delivery->recipients[i].attempts = run->attempts;
	if (run->envelope != NULL)
		run->envelope(delivery->message);
	connection_carry(owner->connection, owner->attempts[owner->given]);
	owner->given++;
}

static void
connection_run(struct run *run)
{
	struct owner *owner = &run->owner;
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	if (run->lacks_files)
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, files.rlim_max});
	while (!owner->has_ended || owner->returned < owner->given ||
	       owner->connection->is_releasing)
		uv_run(&owner->loop.uv, UV_RUN_DEFAULT);
	setrlimit(RLIMIT_NOFILE, &files);
	run->has_failed = owner->connection->has_failed;
	if (owner->connection->is_local_trouble)
		snprintf(run->local_trouble, sizeof(run->local_trouble),
			 "%.*s", SLICE_ARG(owner->connection->last.reply));
	connection_free(owner->connection);
}

void
run_it(struct run *run)
{
	struct owner *owner = &run->owner;
	struct world world;

	the_run = run;
	world_make(&world, run);
	while (owner->given < run->messages) {
		char name[] = {'m', (char)('0' + owner->given), '\0'};
		struct site *site =
			site_find(world.sites,
				  SLICE(run->other_site ? name : "mx"));

		run->sites[owner->given] = the_site = site;
		the_owner = owner;
		hosts_get_well(&world);
		connection_make(&world, site);
		do
			carry_one(run);
		while (!run->one_each && owner->given < run->messages);
		if (run->stops) {
			stop_owner = owner;
			alarm_init(&stop_alarm, &owner->loop, stop_now);
			alarm_set(&stop_alarm, 10);
		}
		if (run->reloads || run->stops_at_n) {
			reload_stops = run->stops_at_n ? &owner->place : NULL;
			reload_breaks_off = run->breaks_off;
			alarm_init(&reload_alarm, &owner->loop, reload_now);
			alarm_set(&reload_alarm, 1);
		}
		connection_run(run);
		run->open = site_open(site);
	}
	world_end(&world);
}
