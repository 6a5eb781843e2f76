#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/delivery/choice.h"
#include "relay/net/source.h"
#include "tests/fake/clock.h"

bool
source_find(const struct address *peer, struct address *source_out)
{
	*source_out = *peer;
	return true;
}

/*
 * The addresses of a list, by their preference: digits are of IPv4, letters of
 * IPv6, in capitals where they failed lately; a space goes to the next
 * preference. The choices: the same, with ! where there is less time, which is
 * then too little.
 */
static const struct choice_row {
	const char *name, *list;
	bool puts_v6_off;
	const char *choices;
} rows[] = {
	{"one address has all the time", "a", false, "a"},
	{"IPv6, then IPv4, then IPv6 again", "a1", false, "a!1a"},
	{"IPv6 seems dead: the other way round", "a1", true, "1a"},
	{"IPv6 seems dead: in turn all the same", "a1b2", true, "1!2ab1"},
	{"several, and the last one has all the time", "a1b2", false,
	 "a!1!b!2a1b"},
	{"IPv6 seems dead, and there is nothing else", "ab", true, "ab"},
	{"two of IPv6", "ab", false, "a!ba"},
	{"a worse one is no reason for haste", "1 2", false, "12"},
	{"nor of the same family", "a b", false, "ab"},
	{"nor IPv6 behind IPv4", "1 a", false, "1a"},
	{"IPv4 is, behind IPv6", "a 1", false, "a!1a"},
	{"but is not better for that", "a 1", true, "a!1a"},
	{"nor put off behind a worse one", "a1 b2", true, "1a!2ba"},
	{"preference is first, and all of it", "a1 b2", false, "a!1b!2ab"},
	{"who failed lately comes later", "A1", false, "1A"},
	{"and is no reason for haste", "a9 B", false, "a!9Ba"},
	{"all failed: each has its time", "AB", false, "AB"},
	{"IPv6 seems dead, and IPv4 failed lately", "aX", true, "aX"},
};

static void
list_make(struct hosts *hosts, struct host *items, const char *list)
{
	unsigned preference = 10;

	*hosts = (struct hosts){.items = items, .references = 1};
	for (; *list != '\0'; list++) {
		struct host *host = &items[hosts->count];
		char text[32];

		if (*list == ' ') {
			preference += 10;
			continue;
		}
		*host = (struct host){.name = SLICE("mx"),
				      .preference = preference};
		snprintf(text, sizeof(text),
			 *list <= '9' ? "192.0.2.%d" : "2001:db8::%x", *list);
		cr_assert(address_parse_host(SLICE(text), 25, &host->address));
		if (*list >= 'A' && *list <= 'Z')
			host_note(&host->failed_until_ms, MINUTE);
		hosts->count++;
	}
}

/* The list without its spaces. */
static char
letter_of(const char *list, size_t index)
{
	for (; *list == ' ' || index > 0; list++)
		index -= *list != ' ';
	return *list;
}

static void
row_run(const struct choice_row *row)
{
	struct host items[MX_ADDRESSES_MAX], *host;
	struct hosts hosts;
	struct choice choice = {.hosts = &hosts};
	char choices[100] = "";
	bool is_hurried;
	size_t at = 0;

	list_make(&hosts, items, row->list);
	while ((host = choice_next(&choice, row->puts_v6_off, &is_hurried)) !=
	       NULL) {
		cr_assert_lt(at, sizeof(choices) - 3, "%s: no end", row->name);
		choices[at++] = letter_of(row->list, (size_t)(host - items));
		if (is_hurried) {
			choices[at++] = '!';
			choice_again(&choice, host);
		}
	}
	cr_expect_str_eq(choices, row->choices, "%s: %s", row->name, choices);
}

Test(choice, in_order)
{
	fake_clock_pass(HOUR);
	for (size_t i = 0; i < COUNT(rows); i++)
		row_run(&rows[i]);
}

Test(choice, who_is_left_to_answer)
{
	struct host items[MX_ADDRESSES_MAX];
	struct hosts hosts;
	struct choice choice = {.hosts = &hosts};
	bool is_hurried;

	fake_clock_pass(HOUR);
	list_make(&hosts, items, "a1B");
	choice_take(&choice, &items[0]);
	cr_expect(choice_has_other(&choice));
	cr_expect_eq(choice_next(&choice, false, &is_hurried), &items[1]);
	cr_expect_not(is_hurried);
	cr_expect_not(choice_has_other(&choice), "it failed lately");
	choice_lacks(&choice, &items[0]);
	cr_expect_eq(choice_next(&choice, false, &is_hurried), &items[2]);
	cr_expect_eq(choice_next(&choice, false, &is_hurried), &items[0],
		     "for what it can do");
	cr_expect_null(choice_next(&choice, false, &is_hurried));
}

/* A worse one is seldom able to do more; the same one has other addresses. */
Test(choice, whether_a_better_one_may_have_what_is_lacking)
{
	struct host items[MX_ADDRESSES_MAX];
	struct hosts hosts;
	struct choice choice = {.hosts = &hosts};

	fake_clock_pass(HOUR);
	list_make(&hosts, items, "1a 2 3");
	cr_expect_not(choice_has_better(&choice, &items[0]));
	cr_expect_not(choice_has_better(&choice, &items[1]));
	cr_expect(choice_has_better(&choice, &items[2]));
	choice_lacks(&choice, &items[2]);
	cr_expect(choice_has_better(&choice, &items[3]));
	choice_lacks(&choice, &items[0]);
	cr_expect_not(choice_has_better(&choice, &items[2]));
	cr_expect_not(choice_has_better(&choice, &items[3]), "1 lacks it, too");
	choice_next_message(&choice);
	cr_expect(choice_has_better(&choice, &items[3]));
}
