#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/delivery/site.h"
#include "tests/fake/clock.h"

#define TICKETS 8
#define PAUSE_MAX_MS (1 * HOUR)

static struct loop loop;
static struct sites *sites;
static struct site *site, *other;
static struct site_ticket tickets[TICKETS];
static struct site_place places[TICKETS];
static char turns[64]; /* whose turn it was */
static uint64_t pause_ms;
static const struct recipient_result why = {.outcome = OUTCOME_DEFERRED};

static void
on_turn(struct site_ticket *ticket)
{
	turns[strlen(turns)] = (char)('0' + (ticket - tickets));
}

static void
begin(void)
{
	cr_assert(loop_init(&loop, 0, NULL));
	sites = sites_new();
	sites_limit(sites, 100);
	site = site_find(sites, SLICE("mx.example.net"));
	other = site_find(sites, SLICE("mx.example.org"));
	for (size_t i = 0; i < TICKETS; i++)
		site_ticket_init(&tickets[i], &loop, on_turn);
}

static void
end(void)
{
	for (size_t i = 0; i < TICKETS; i++) {
		while (!site_ticket_cancel(&tickets[i]))
			uv_run(&loop.uv, UV_RUN_NOWAIT);
		if (places[i].site != NULL)
			site_give(&places[i]);
	}
	site_unref(site);
	site_unref(other);
	sites_free(sites);
	loop_done(&loop);
}

TestSuite(site, .init = begin, .fini = end, .timeout = 120);

static enum site_answer
take_at(struct site *where, unsigned i)
{
	return site_take(where, &tickets[i], &places[i], &pause_ms);
}

static enum site_answer
take(unsigned i)
{
	return take_at(site, i);
}

static uint64_t
give_failed(unsigned i)
{
	uint64_t paused_ms = site_fail(&places[i], PAUSE_MAX_MS, &why);

	site_give(&places[i]);
	return paused_ms;
}

static const char *
turn(void)
{
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	return turns;
}

Test(site, is_one_for_all_of_the_same_hosts)
{
	struct site *same = site_find(sites, SLICE("mx.example.net"));

	cr_expect_eq(same, site);
	cr_expect_neq(site, other);
	site_unref(same);
}

Test(site, opens_a_few_and_then_more)
{
	site_limit(site, 7);
	for (unsigned i = 0; i < PACE_FIRST; i++)
		cr_expect_eq(take(i), SITE_TAKEN);
	cr_expect_eq(take(5), SITE_WAIT);
	cr_expect_eq(take(5), SITE_WAIT, "again: still in the queue");
	cr_expect_eq(take(6), SITE_WAIT);
	cr_expect(site_is_wanted(site));
	site_answered(&places[0], true);
	cr_expect_str_eq(turn(), "5");
	cr_expect_eq(take(5), SITE_TAKEN, "it was kept");
	site_answered(&places[0], true);
	cr_expect_str_eq(turn(), "56");
	cr_expect_eq(take(6), SITE_TAKEN);
	site_answered(&places[0], true);
	cr_expect_eq(take(7), SITE_WAIT, "as many as may be");
	site_give(&places[0]);
	cr_expect_str_eq(turn(), "567");
}

Test(site, one_probe_for_all_while_out_of_reach)
{
	for (unsigned i = 0; i < PACE_FIRST; i++)
		cr_expect_eq(take(i), SITE_TAKEN);
	for (unsigned i = PACE_FIRST; i < TICKETS; i++)
		cr_expect_eq(take(i), SITE_WAIT);
	for (unsigned i = 0; i + 1 < PACE_FIRST; i++)
		cr_expect_eq(give_failed(i), 0);
	cr_expect_str_eq(turn(), "", "no new one meanwhile");
	cr_expect_eq(give_failed(4), 1 * MINUTE);
	cr_expect_str_eq(turn(), "567", "to hear that they wait in vain");
	for (unsigned i = 0; i < TICKETS; i++)
		cr_expect_eq(take(i), SITE_PAUSED);
	cr_expect_eq(pause_ms, 1 * MINUTE);
	cr_expect_eq(take_at(other, 0), SITE_TAKEN, "others are others");

	fake_clock_pass(1 * MINUTE);
	cr_expect_eq(take(1), SITE_TAKEN);
	for (unsigned i = 2; i < TICKETS; i++)
		cr_expect_eq(take(i), SITE_WAIT);
	cr_expect_eq(give_failed(1), 2 * MINUTE);
	fake_clock_pass(2 * MINUTE);
	turn();
	turns[0] = '\0';
	memset(turns, 0, sizeof(turns));
	cr_expect_eq(take(1), SITE_TAKEN);
	for (unsigned i = 2; i < TICKETS; i++)
		cr_expect_eq(take(i), SITE_WAIT);
	site_answered(&places[1], false);
	cr_expect_str_eq(turn(), "2345", "as at the beginning");
}

static const struct parting_row {
	const char *name;
	unsigned works; /* beside those that part */
	bool was_answered, is_paused;
} parting_rows[] = {
	{"nobody is there", 0, false, true},
	{"one too many, perhaps", 0, true, false},
	{"another one works", 1, false, false},
};

/* A peer may take long to close what it is asked to, also where the host behind
 * it is gone. */
Test(site, what_parts_is_no_sign_of_life)
{
	for (size_t i = 0; i < COUNT(parting_rows); i++) {
		const struct parting_row *row = &parting_rows[i];
		unsigned count = 3 + row->works;

		for (unsigned j = 0; j < count; j++)
			cr_expect_eq(take(j), SITE_TAKEN, "%s", row->name);
		site_part(&places[1]);
		site_part(&places[2]);
		places[0].was_answered = row->was_answered;
		cr_expect_eq(give_failed(0),
			     row->is_paused ? 1 * MINUTE : 0, "%s", row->name);
		cr_expect_eq(site_open(site), count - 1, "until they are closed");
		for (unsigned j = 1; j < count; j++)
			site_give(&places[j]);
		cr_expect_eq(site_open(site), 0, "%s", row->name);
		/* As at the beginning. */
		site_unref(site);
		site = site_find(sites, SLICE("mx.example.net"));
	}
}

/* All hosts have said no to each at about the same time: that they are slow to
 * close is no more a sign of life. */
Test(site, what_has_failed_is_no_sign_of_life)
{
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(take(i), SITE_TAKEN);
		places[i].was_answered = true;
	}
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(site_fail(&places[i], PAUSE_MAX_MS, &why),
			     i == 2 ? 1 * MINUTE : 0, "%u", i);
		site_part(&places[i]);
	}
	cr_expect_eq(site_open(site), 3);
	for (unsigned i = 0; i < 3; i++)
		site_give(&places[i]);
	cr_expect_eq(site_open(site), 0);
}

Test(site, what_is_kept_for_a_ticket_is_not_lost)
{
	for (unsigned i = 0; i < PACE_FIRST; i++)
		cr_expect_eq(take(i), SITE_TAKEN);
	cr_expect_eq(take(5), SITE_WAIT);
	cr_expect_eq(take(6), SITE_WAIT);
	site_give(&places[0]);
	cr_expect_not(site_ticket_cancel(&tickets[5]), "on its way");
	cr_expect_str_eq(turn(), "5");
	cr_expect(site_ticket_cancel(&tickets[5]));
	cr_expect_str_eq(turn(), "56", "to the next");
	/* It goes to other hosts now. */
	cr_expect_eq(take_at(other, 6), SITE_TAKEN);
	cr_expect_eq(site_open(site), PACE_FIRST - 1);
	cr_expect_eq(site_open(other), 1);
}

Test(site, all_together_are_bounded)
{
	sites_limit(sites, 4);
	/* Of what is unknown three quarters. */
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(take(i), SITE_TAKEN);
	cr_expect_eq(take_at(other, 3), SITE_WAIT);
	site_answered(&places[0], false);
	cr_expect_str_eq(turn(), "3");
	cr_expect_eq(take_at(other, 3), SITE_TAKEN);
	cr_expect_eq(take(4), SITE_WAIT, "four");
	/* Nobody else of the site is kept from a place that is not used. */
	site_give(&places[3]);
	cr_expect_str_eq(turn(), "34");
	cr_expect_eq(take(4), SITE_TAKEN);
}

/* Whoever keeps a connection for a moment keeps it from those who have none,
 * whatever hosts they want; but not from those who may not have more anyway. */
Test(site, a_place_is_wanted_by_others_too)
{
	struct site *third = site_find(sites, SLICE("mx.example.com"));

	sites_limit(sites, 8);
	cr_expect_eq(take_at(site, 0), SITE_TAKEN);
	site_answered(&places[0], true);
	for (unsigned i = 1; i < 7; i++)
		cr_expect_eq(take_at(i < 5 ? other : third, i), SITE_TAKEN);
	cr_expect_eq(take_at(third, 7), SITE_WAIT, "six are unknown");
	cr_expect_not(site_is_wanted(site), "it would not help");
	sites_limit(sites, 7);
	cr_expect(site_is_wanted(site));
	site_give(&places[0]);
	cr_expect_not(site_is_wanted(site));
	site_unref(third);
}

Test(site, never_more_than_the_configuration_allows)
{
	site_limit(site, 2);
	cr_expect_eq(take(0), SITE_TAKEN);
	cr_expect_eq(take(1), SITE_TAKEN);
	cr_expect_eq(take(2), SITE_WAIT);
	/* A reload. */
	site_limit(site, 3);
	cr_expect_str_eq(turn(), "2");
}

/* --- the rate --- */

static uint64_t wait_ms;

static bool
goes(struct site *where, struct site_turn *turn, unsigned per_minute)
{
	return site_rate_ask(where, per_minute, turn, &wait_ms) &&
	       site_rate_take(where, per_minute, turn, &wait_ms);
}

static uint64_t
until_it_goes(struct site_turn *turn, unsigned per_minute)
{
	uint64_t start_ms = clock_now_ms();

	while (!goes(site, turn, per_minute))
		fake_clock_pass(wait_ms);
	return clock_now_ms() - start_ms;
}

Test(site, messages_go_at_a_rate)
{
	struct site_turn turn = {0}, its = {0};

	cr_expect(goes(site, &turn, 30));
	for (unsigned i = 0; i < 5; i++)
		cr_expect_eq(until_it_goes(&turn, 30), 2 * SECOND);
	cr_expect(goes(other, &its, 30), "each its own");
	fake_clock_pass(1 * HOUR);
	cr_expect(goes(site, &turn, 30));
	cr_expect_not(goes(site, &turn, 30), "nothing is saved up");
	/* A little late is not less. */
	fake_clock_pass(2 * SECOND + 15);
	cr_expect(goes(site, &turn, 30));
	fake_clock_pass(2 * SECOND - 15);
	cr_expect(goes(site, &turn, 30));
}

/* However many wait: all in turn, none twice before another, and hardly one
 * comes in vain. */
Test(site, those_who_wait_for_the_rate_come_in_turn)
{
	enum { MANY = 200, ROUNDS = 3, PER_MINUTE = 600 };
	static struct site_turn turns_of[MANY];
	static uint64_t at_ms[MANY];
	static unsigned went[MANY];
	unsigned gone = 0, looks = 0, last = 0;
	uint64_t start_ms = clock_now_ms();

	while (gone < ROUNDS * MANY) {
		for (unsigned i = 0; i < MANY; i++) {
			if (at_ms[i] > clock_now_ms())
				continue;
			looks++;
			if (goes(site, &turns_of[i], PER_MINUTE)) {
				gone++;
				cr_expect_leq(++went[i], last / MANY + 1);
				last++;
				at_ms[i] = clock_now_ms();
			} else {
				at_ms[i] = clock_now_ms() + wait_ms;
			}
		}
		cr_assert_leq(gone, (clock_now_ms() - start_ms) / 100 + 1);
		fake_clock_pass(1);
	}
	cr_expect_leq(clock_now_ms() - start_ms, ROUNDS * MANY * 101);
	cr_expect_leq(looks, gone * MANY / 4, "%u", looks);
}

/* Those who could not come in their time, and those who never will. */
Test(site, a_turn_that_is_missed_is_no_slot)
{
	struct site_turn absent[TICKETS] = {{0}}, present = {0};

	cr_expect(goes(site, &present, 60));
	for (unsigned i = 0; i < TICKETS; i++)
		cr_expect_not(goes(site, &absent[i], 60));
	fake_clock_pass(1 * SECOND + 49);
	cr_expect_not(goes(site, &present, 60), "another one's turn");
	fake_clock_pass(1);
	cr_expect(goes(site, &present, 60), "who does not come");
	fake_clock_pass(1 * HOUR);
	cr_expect(goes(site, &absent[0], 60));
	for (unsigned i = 0; i < TICKETS; i++)
		cr_expect_not(goes(site, &absent[i], 60));
}

/* How many go, of a destination that has always one more. */
static unsigned
gone_within(uint64_t span_ms, unsigned per_minute)
{
	uint64_t end_ms = clock_now_ms() + span_ms;
	struct site_turn turn = {0};
	unsigned gone = 0;

	while (clock_now_ms() < end_ms) {
		if (goes(site, &turn, per_minute))
			gone++;
		else
			fake_clock_pass(wait_ms);
	}
	return gone;
}

/* Those who waited are gone, or a reload allows more: their places in the queue
 * are nobody's. */
Test(site, nobody_waits_for_those_who_are_gone)
{
	static struct site_turn absent[1000];

	for (unsigned i = 0; i < COUNT(absent); i++)
		(void)goes(site, &absent[i], 60);
	cr_expect_geq(gone_within(1 * MINUTE, 60), 50);
	for (unsigned i = 0; i < COUNT(absent); i++)
		(void)goes(site, &absent[i], 60);
	cr_expect_geq(gone_within(1 * MINUTE, 6000), 4000);
}
