/* Whose turn it is where memory is short, and who is prompt: relay/net/turns.h. */
#include <stdlib.h>

#include "relay/limits.h"
#include "tests/unit/relay/queue/schedule_stand.h"

#define CROWD 40
#define SINGLES 5

/* Appends addresses "a@PREFIX1.example …" of which the first loop owns the
 * destinations. */
static void
add_addresses(struct text *out, const char *prefix, unsigned count)
{
	for (unsigned number = 0; count > 0; number++) {
		char domain[32];

		snprintf(domain, sizeof(domain), "%s%u.example", prefix,
			 number);
		if (home_of(schedule, SLICE(domain)) != &schedule->loops[0])
			continue;
		text_addf(out, "%sa@%s", out->len > 0 ? " " : "", domain);
		count--;
	}
}

static void
put_all(const char *prefix, unsigned count, bool is_handed_over)
{
	CLEAN(text_done) struct text to = {0};

	add_addresses(&to, prefix, count);
	put("from@example.org", text_string(&to), is_handed_over);
}

/* How many of the attempts before the n-th were of the crowd. */
static unsigned
of_the_crowd(unsigned n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		count += attempts[i].destination[0] == 'c';
	return count;
}

/* One delivery at a time; behind it a message for many has come, then single
 * ones, of which the last is for a destination of those many. */
Test(schedule_turns, single_messages_do_not_wait_for_one_for_many,
     .init = begin, .fini = stop_all)
{
	CLEAN(text_done) struct text crowd = {0};
	unsigned found = 0;

	begin_schedule();
	schedule->loops[0].leases_max = 1;
	run_loops();
	is_holding = true;
	put_all("held", 1, true);
	cr_assert(wait_for(is_held));
	add_addresses(&crowd, "c", CROWD);
	put("from@example.org", text_string(&crowd), true);
	for (unsigned i = 1; i < SINGLES; i++) {
		char prefix[8];

		snprintf(prefix, sizeof(prefix), "s%u", i);
		put_all(prefix, 1, true);
	}
	put("single@example.org", strrchr(text_string(&crowd), ' ') + 1, true);
	held_settle();
	cr_expect(wait_attempts(1 + CROWD + SINGLES));
	for (unsigned i = 1; i < attempts_count && found < SINGLES; i++) {
		bool is_last = strstr(text_string(&crowd),
				      attempts[i].destination) ==
			       strrchr(text_string(&crowd), '@') + 1;

		if (attempts[i].destination[0] != 's' && !is_last)
			continue;
		found++;
		/* Who looks by itself meanwhile may come in between. */
		cr_expect_leq(of_the_crowd(i), found + 2,
			      "single %u is the %u-th, behind %u of the crowd",
			      found, i, of_the_crowd(i));
		cr_expect_geq(of_the_crowd(i) + 2, found,
			      "single %u is the %u-th: the crowd waits", found,
			      i);
	}
	cr_expect_eq(found, SINGLES);
	cr_expect(wait_delivered(1 + CROWD + SINGLES));
}

/* Attempts of which the delivery was prompt, or was not; by their
 * destination's first letter. */
static atomic_uint prompt_seen[128], patient_seen[128];

static struct recipient_result
note_prompt(const struct delivery *delivery, size_t recipient)
{
	unsigned char letter = (unsigned char)delivery->destination.bytes[0];

	atomic_fetch_add(delivery->is_prompt ? &prompt_seen[letter]
					     : &patient_seen[letter],
			 1);
	return letter == 'r' ? third_time(delivery, recipient)
			     : always_delivered(delivery, recipient);
}

static const struct prompt_row {
	const char *name;
	bool is_handed_over; /* else it is read */
} prompt_rows[] = {
	{"as it comes", true},
	{"as it is read", false},
};

/* A message to so many domains. */
static void
put_to_many(const char *prefix, unsigned count, bool is_handed_over)
{
	CLEAN(text_done) struct text to = {0};

	for (unsigned i = 0; i < count; i++)
		text_addf(&to, "%sa@%s%u.example", i > 0 ? " " : "", prefix, i);
	put("from@example.org", text_string(&to), is_handed_over);
}

static void
see_who_is_prompt(const struct prompt_row *row)
{
	begin();
	decide = note_prompt;
	if (row->is_handed_over) {
		begin_schedule();
		run_loops();
	} else {
		run_main();
	}
	put_to_many("f", PROMPT_RECIPIENTS_MAX, row->is_handed_over);
	put_to_many("m", PROMPT_RECIPIENTS_MAX + 1, row->is_handed_over);
	put_to_many("r", 1, row->is_handed_over);
	if (!row->is_handed_over) {
		begin_schedule();
		run_loops();
	}
	cr_expect(wait_delivered(2 * PROMPT_RECIPIENTS_MAX + 2));
	cr_expect_eq(prompt_seen['f'], PROMPT_RECIPIENTS_MAX, "%s", row->name);
	cr_expect_eq(patient_seen['m'], PROMPT_RECIPIENTS_MAX + 1, "%s",
		     row->name);
	cr_expect_eq(prompt_seen['r'], 1, "%s: once", row->name);
	cr_expect_eq(patient_seen['r'], 2, "%s: again", row->name);
	stop_all();
}

Test(schedule_turns, what_has_come_new_and_for_few_is_prompt)
{
	see_who_is_prompt(&prompt_rows[0]);
}

Test(schedule_turns, what_is_read_new_and_for_few_is_prompt)
{
	see_who_is_prompt(&prompt_rows[1]);
}
