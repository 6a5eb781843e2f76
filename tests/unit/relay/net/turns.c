#include <criterion/criterion.h>

#include "relay/net/turns.h"

#define PATIENT 20000
#define PROMPT 1000

static struct list patient[PATIENT], prompt[PROMPT];

static bool
is_prompt(const struct list *item)
{
	return item >= prompt && item < prompt + PROMPT;
}

static void
crowd(struct turns *turns)
{
	turns_init(turns);
	for (size_t i = 0; i < PATIENT; i++)
		list_add_last(turns_queue(turns, false), &patient[i]);
}

Test(turns, a_single_one_is_next)
{
	struct turns turns;

	crowd(&turns);
	for (size_t i = 0; i < 3; i++)
		cr_expect_eq(turns_take(&turns), &patient[i]);
	list_add_last(turns_queue(&turns, true), &prompt[0]);
	cr_expect_eq(turns_take(&turns), &prompt[0]);
	cr_expect_eq(turns_take(&turns), &patient[3]);
}

/* They keep coming, more of them than there are turns. */
Test(turns, the_others_have_every_other_one)
{
	struct turns turns;
	size_t next = 0, next_prompt = 0;

	crowd(&turns);
	for (size_t i = 0; i < PROMPT; i++) {
		struct list *taken;

		list_add_last(turns_queue(&turns, true), &prompt[i]);
		taken = turns_take(&turns);
		if (is_prompt(taken))
			cr_expect_eq(taken, &prompt[next_prompt++]);
		else
			cr_expect_eq(taken, &patient[next++], "in order");
	}
	cr_expect_eq(next, PROMPT / 2);
	cr_expect_eq(next_prompt, PROMPT / 2);
}

Test(turns, nobody_waits_for_who_is_not_there)
{
	struct turns turns;

	turns_init(&turns);
	cr_expect_null(turns_take(&turns));
	for (size_t i = 0; i < 4; i++)
		list_add_last(turns_queue(&turns, true), &prompt[i]);
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(turns_take(&turns), &prompt[i]);
	cr_expect_null(turns_take(&turns));
	/* Nor does looking in vain make it a turn. */
	list_add_last(turns_queue(&turns, true), &prompt[0]);
	list_add_last(turns_queue(&turns, false), &patient[0]);
	cr_expect_eq(turns_take(&turns), &patient[0]);
	cr_expect_eq(turns_take(&turns), &prompt[0]);
}
