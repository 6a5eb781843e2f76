/*
 * SPF: whatever is published, the verdict comes, within the bounds that RFC
 * 7208 sets to the questions, and none of them is longer than a name. The first
 * octet says which lines of the rest are the records of which name.
 */
#include <arpa/inet.h>

#include "relay/doctor/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Ten lookups, each of them with ten names of hosts, and the texts. */
#define QUESTIONS_MAX (2 * SPF_LOOKUPS_MAX * (10 + 1) + SPF_LOOKUPS_MAX + 2)

struct world {
	struct slice lines;
	uint8_t seed;
	unsigned questions;
	struct arena *arena;
};

static void
text_answer(const struct world *world, struct slice name,
	    struct dns_answer *answer)
{
	size_t wanted = (slice_hash(name) ^ world->seed) % 4;
	struct slice rest = world->lines, line;

	answer->records = arena_array(world->arena, 1,
				      sizeof(*answer->records));
	for (size_t i = 0; slice_split(&rest, '\n', &line); i++)
		if (i == wanted) {
			answer->records[0].name = line;
			answer->count = 1;
		}
}

static void
ask(void *owner, struct slice name, enum dns_type type,
    struct dns_answer *answer_out)
{
	struct world *world = owner;
	uint64_t hash = slice_hash(name) + world->seed;
	struct dns_record *records;

	ASSERT(name.len <= 253);
	ASSERT(++world->questions <= QUESTIONS_MAX);
	*answer_out = (struct dns_answer){.status = DNS_FOUND};
	if (type == DNS_TXT) {
		text_answer(world, name, answer_out);
	} else if (hash % 3 != 0) {
		size_t count = (size_t)(hash % 12);

		records = arena_array(world->arena, count, sizeof(*records));
		for (size_t i = 0; i < count; i++) {
			records[i].name = SLICE("mx.example.com");
			if (!address_parse_host(type == DNS_AAAA
							? SLICE("2001:db8::2")
							: SLICE("192.0.2.2"),
						0, &records[i].address))
				ASSERT(false);
		}
		answer_out->records = records;
		answer_out->count = count;
	}
	if (answer_out->count == 0)
		answer_out->status = hash % 5 == 0 ? DNS_FAILED : DNS_NO_NAME;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const char *const clients[] = {"192.0.2.1", "2001:db8::1"};

	if (len == 0)
		return 0;
	for (size_t i = 0; i < COUNT(clients); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		struct world world = {.lines = slice_of(bytes + 1, len - 1),
				      .seed = bytes[0],
				      .arena = &arena};
		struct address client;
		struct spf_question question = {
			.client = &client,
			.domain = SLICE("example.com"),
			.local = SLICE("postmaster"),
			.helo = SLICE("relay.example.com"),
			.ask = ask,
			.owner = &world,
			.arena = &arena,
		};
		struct spf_answer answer;

		if (!address_parse_host(SLICE(clients[i]), 0, &client))
			ASSERT(false);
		spf_check(&question, &answer);
		ASSERT(spf_result_name(answer.result) != NULL);
		ASSERT(answer.result != SPF_PERMERROR ||
		       answer.reason.len > 0);
	}
	return 0;
}
