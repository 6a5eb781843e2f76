#include <criterion/criterion.h>

#include "relay/delivery/gate.h"

#define LOOPS 3
#define RUNNERS 40 /* on each loop */
#define ROUNDS 500
#define LIMIT 7

/* Somebody who takes a place and gives it back, again and again. */
struct runner {
	struct gate_ticket ticket;
	struct post post;
	unsigned rounds;
	enum gate_class class;
};

static struct loop loops[LOOPS];
static struct gate gate;
static struct runner runners[LOOPS][RUNNERS];
static atomic_uint inside, inside_failing, most, most_failing, running;

static void
note_most(atomic_uint *seen, unsigned value)
{
	unsigned before = atomic_load(seen);

	while (before < value &&
	       !atomic_compare_exchange_weak(seen, &before, value))
		;
}

static void runner_go(struct runner *runner);

static void
runner_leave(struct post *post)
{
	struct runner *runner = CONTAINER(post, struct runner, post);

	atomic_fetch_sub(&inside, 1);
	if (runner->class == GATE_FAILING)
		atomic_fetch_sub(&inside_failing, 1);
	(void)gate_give(&gate, runner->class);
	if (++runner->rounds < ROUNDS) {
		runner_go(runner);
		return;
	}
	if (atomic_fetch_sub(&running, 1) == 1)
		for (unsigned i = 0; i < LOOPS; i++)
			loop_stop(&loops[i]);
}

static void
runner_enter(struct runner *runner)
{
	note_most(&most, atomic_fetch_add(&inside, 1) + 1);
	if (runner->class == GATE_FAILING)
		note_most(&most_failing,
			  atomic_fetch_add(&inside_failing, 1) + 1);
	loop_post(runner->ticket.loop, &runner->post, runner_leave);
}

static void
runner_on_place(struct gate_ticket *ticket)
{
	cr_assert(ticket->has_place);
	runner_enter(CONTAINER(ticket, struct runner, ticket));
}

static void
runner_go(struct runner *runner)
{
	if (gate_take(&gate, runner->class, &runner->ticket))
		runner_enter(runner);
}

static void
runner_start(struct post *post)
{
	runner_go(CONTAINER(post, struct runner, post));
}

Test(gate, holds_on_all_loops, .timeout = 120)
{
	gate_init(&gate, LIMIT);
	gate_limit(&gate, GATE_FAILING, 2);
	atomic_store(&running, LOOPS * RUNNERS);
	for (unsigned i = 0; i < LOOPS; i++) {
		cr_assert(loop_init(&loops[i], i, NULL));
		cr_assert(loop_start(&loops[i], NULL));
	}
	for (unsigned i = 0; i < LOOPS; i++)
		for (unsigned j = 0; j < RUNNERS; j++) {
			struct runner *runner = &runners[i][j];

			runner->ticket.loop = &loops[i];
			runner->ticket.granted = runner_on_place;
			list_init(&runner->ticket.link);
			runner->class = j % GATE_CLASSES;
			loop_post(&loops[i], &runner->post, runner_start);
		}
	for (unsigned i = 0; i < LOOPS; i++)
		loop_join(&loops[i]);
	cr_expect_leq(atomic_load(&most), LIMIT);
	cr_expect_leq(atomic_load(&most_failing), 2);
	cr_expect_eq(gate_taken(&gate), 0);
	cr_expect_not(gate_is_wanted(&gate));
	gate_done(&gate);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_done(&loops[i]);
}

/* --- in order: the test runs the only loop itself --- */

static struct gate_ticket tickets[6];
static char order[32];

static void
note_order(struct gate_ticket *ticket)
{
	size_t len = strlen(order);

	order[len] = (char)((ticket->has_place ? 'a' : 'A') +
			    (ticket - tickets));
}

static void
begin(void)
{
	cr_assert(loop_init(&loops[0], 0, NULL));
	gate_init(&gate, 2);
	for (size_t i = 0; i < COUNT(tickets); i++) {
		tickets[i] = (struct gate_ticket){.loop = &loops[0],
						  .granted = note_order};
		list_init(&tickets[i].link);
	}
}

static void
end(void)
{
	gate_done(&gate);
	loop_done(&loops[0]);
}

static const char *
turn(void)
{
	uv_run(&loops[0].uv, UV_RUN_NOWAIT);
	return order;
}

Test(gate, serves_in_the_order_of_asking, .init = begin, .fini = end)
{
	cr_expect(gate_take(&gate, GATE_PROVEN, &tickets[0]));
	cr_expect(gate_take(&gate, GATE_PROVEN, &tickets[1]));
	for (unsigned i = 2; i < 6; i++)
		cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[i]));
	cr_expect(gate_is_wanted(&gate));
	gate_give(&gate, GATE_PROVEN);
	/* Who comes now stands behind them. */
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[0]));
	cr_expect(gate_cancel(&gate, &tickets[3]));
	cr_expect_str_eq(turn(), "c");
	gate_give(&gate, GATE_PROVEN);
	cr_expect_not(gate_cancel(&gate, &tickets[4]), "it is on its way");
	gate_give(&gate, GATE_PROVEN);
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "cefa");
	cr_expect_not(gate_is_wanted(&gate));
	cr_expect_eq(gate_give(&gate, GATE_PROVEN), 1);
	cr_expect_eq(gate_give(&gate, GATE_PROVEN), 0);
}

Test(gate, a_higher_limit_lets_in_those_who_wait, .init = begin, .fini = end)
{
	for (unsigned i = 0; i < 5; i++)
		cr_expect_eq(gate_take(&gate, GATE_PROVEN, &tickets[i]), i < 2);
	gate_limit(&gate, GATE_PROVEN, 4);
	cr_expect_str_eq(turn(), "cd");
	gate_empty(&gate);
	cr_expect_str_eq(turn(), "cdE");
	for (unsigned i = 0; i < 4; i++)
		gate_give(&gate, GATE_PROVEN);
}

Test(gate, those_who_fail_leave_room_for_others, .init = begin, .fini = end)
{
	gate_limit(&gate, GATE_FAILING, 1);
	cr_expect(gate_take(&gate, GATE_FAILING, &tickets[0]));
	cr_expect_not(gate_take(&gate, GATE_FAILING, &tickets[1]));
	cr_expect_not(gate_try(&gate, GATE_FAILING));
	cr_expect(gate_try(&gate, GATE_PROVEN));
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[3]));
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "d");
	/* It works: another may be tried. */
	gate_limit(&gate, GATE_PROVEN, 3);
	gate_move(&gate, GATE_FAILING, GATE_PROVEN);
	cr_expect_str_eq(turn(), "db");
	gate_give(&gate, GATE_FAILING);
	gate_give(&gate, GATE_PROVEN);
	gate_give(&gate, GATE_PROVEN);
}

/* A relay that is busy with what works takes on something new all the same. */
Test(gate, those_who_are_new_get_their_turn, .init = begin, .fini = end)
{
	gate_limit(&gate, GATE_UNKNOWN, 1);
	cr_expect(gate_take(&gate, GATE_PROVEN, &tickets[0]));
	cr_expect(gate_take(&gate, GATE_PROVEN, &tickets[1]));
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[2]));
	cr_expect_not(gate_take(&gate, GATE_UNKNOWN, &tickets[3]));
	cr_expect_not(gate_take(&gate, GATE_UNKNOWN, &tickets[4]));
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[5]));
	gate_give(&gate, GATE_PROVEN);
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "cd");
	/* Two that are new would be too many. */
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "cdf");
	gate_give(&gate, GATE_UNKNOWN);
	cr_expect_str_eq(turn(), "cdfe");
	gate_give(&gate, GATE_UNKNOWN);
	gate_give(&gate, GATE_PROVEN);
}

/* Its turn came, and it could not use it. */
Test(gate, who_is_owed_a_turn_stands_where_it_stood, .init = begin,
     .fini = end)
{
	for (unsigned i = 0; i < 5; i++)
		cr_expect_eq(gate_take(&gate, GATE_PROVEN, &tickets[i]), i < 2);
	gate_give(&gate, GATE_PROVEN);
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "cd");
	/* The first gives back: the next one comes; so does the second, and
	 * both ask again. */
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "cde");
	gate_give(&gate, GATE_PROVEN);
	cr_expect(gate_take(&gate, GATE_PROVEN, &tickets[0]));
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[1]));
	tickets[2].is_owed = tickets[3].is_owed = true;
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[3]));
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[2]));
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[5]));
	for (unsigned i = 0; i < 4; i++) {
		gate_give(&gate, GATE_PROVEN);
		turn();
	}
	cr_expect_str_eq(order, "cdecdbf");
	gate_give(&gate, GATE_PROVEN);
	gate_give(&gate, GATE_PROVEN);
}

/* --- who is prompt --- */

/* The first two have the places; those that are named wait, upper case ones as
 * prompt. */
static void
crowd(const char *waiting)
{
	for (unsigned i = 0; i < 2; i++)
		cr_expect(gate_take(&gate, GATE_PROVEN, &tickets[i]));
	for (; *waiting != '\0'; waiting++) {
		struct gate_ticket *ticket = &tickets[(*waiting | 0x20) - 'a'];

		ticket->is_prompt = (*waiting & 0x20) == 0;
		cr_expect_not(gate_take(&gate, GATE_PROVEN, ticket));
	}
}

/* One place after the other. */
static const char *
serve(void)
{
	while (gate_taken(&gate) > 0) {
		gate_give(&gate, GATE_PROVEN);
		turn();
	}
	return order;
}

static const struct prompt_row {
	const char *name, *waiting, *served;
} prompt_rows[] = {
	{"one that is prompt is next", "cdeF", "fcde"},
	{"the others have every other turn", "CDEf", "cfde"},
	{"both in the order of asking", "cEdF", "ecfd"},
};

Test(gate, who_is_prompt_takes_turns_with_the_others)
{
	for (size_t i = 0; i < COUNT(prompt_rows); i++) {
		const struct prompt_row *row = &prompt_rows[i];

		order[0] = '\0';
		memset(order, 0, sizeof(order));
		begin();
		crowd(row->waiting);
		cr_expect_str_eq(serve(), row->served, "%s", row->name);
		end();
	}
}

/* Mail that is prompt has come for one that waits. */
Test(gate, who_becomes_prompt_goes_over_to_them, .init = begin, .fini = end)
{
	crowd("cdeF");
	gate_hurry(&gate, &tickets[4]);
	cr_expect_str_eq(serve(), "fced");
}

/* However long others have waited, of whatever class. */
Test(gate, who_is_prompt_does_not_wait_for_another_class, .init = begin,
     .fini = end)
{
	crowd("");
	cr_expect_not(gate_take(&gate, GATE_UNKNOWN, &tickets[2]));
	cr_expect_not(gate_take(&gate, GATE_UNKNOWN, &tickets[3]));
	tickets[4].is_prompt = true;
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[4]));
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "e");
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "ec");
	/* Nor does one that there is no room for. */
	gate_limit(&gate, GATE_UNKNOWN, 1);
	tickets[5].is_prompt = true;
	cr_expect_not(gate_take(&gate, GATE_UNKNOWN, &tickets[5]));
	cr_expect_not(gate_take(&gate, GATE_PROVEN, &tickets[0]));
	gate_give(&gate, GATE_PROVEN);
	cr_expect_str_eq(turn(), "eca");
	gate_give(&gate, GATE_PROVEN);
	gate_give(&gate, GATE_UNKNOWN);
	cr_expect_str_eq(turn(), "ecaf");
	gate_give(&gate, GATE_UNKNOWN);
	cr_expect_str_eq(turn(), "ecafd");
	gate_give(&gate, GATE_UNKNOWN);
}
