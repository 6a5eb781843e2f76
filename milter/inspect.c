#include "milter/inspect.h"

#include <stdlib.h>

/* No such index. */
#define NOT_ASKED SIZE_MAX

struct inspect {
	const struct records_source *source;
	uint64_t timeout_ms;
	struct verifier *verifier;
	struct records *records; /* NULL: nothing was asked */
	size_t asked[VERIFY_SIGNATURES_MAX]; /* index of it, or NOT_ASKED */
};

struct inspect *
inspect_new(const struct records_source *source, uint64_t timeout_ms,
	    uint64_t time_s)
{
	struct inspect *inspect = memory_new(sizeof(*inspect));

	inspect->source = source;
	inspect->timeout_ms = timeout_ms;
	inspect->verifier = verifier_new(time_s);
	return inspect;
}

void
inspect_free(struct inspect *inspect)
{
	if (inspect == NULL)
		return;
	if (inspect->records != NULL)
		inspect->source->end(inspect->records);
	verifier_free(inspect->verifier);
	free(inspect);
}

void
inspect_header(struct inspect *inspect, struct slice field)
{
	verifier_header(inspect->verifier, field);
}

static size_t
name_find(const struct slice *names, size_t count, struct slice name)
{
	size_t i = 0;

	while (i < count && !slice_eq(names[i], name))
		i++;
	return i;
}

void
inspect_end_of_header(struct inspect *inspect)
{
	struct slice names[VERIFY_SIGNATURES_MAX];
	const struct verification *results;
	size_t count, names_count = 0;

	verifier_end_of_header(inspect->verifier);
	results = verifier_results(inspect->verifier, &count);
	for (size_t i = 0; i < count; i++) {
		size_t at = name_find(names, names_count, results[i].query);

		inspect->asked[i] = NOT_ASKED;
		if (results[i].status != VERIFY_PENDING)
			continue;
		inspect->asked[i] = at;
		names[at] = results[i].query;
		if (at == names_count)
			names_count++;
	}
	if (names_count > 0)
		inspect->records = inspect->source->start(
			inspect->source->owner, names, names_count,
			inspect->timeout_ms);
}

void
inspect_body(struct inspect *inspect, struct slice bytes)
{
	verifier_body(inspect->verifier, bytes);
}

static void
key_take(struct inspect *inspect, size_t i)
{
	struct slice texts[VERIFY_RECORDS_MAX];
	size_t count = 0;
	enum lookup_status status;

	ASSERT(inspect->asked[i] != NOT_ASKED);
	status = inspect->source->take(inspect->records, inspect->asked[i],
				       texts, COUNT(texts), &count);
	ASSERT(count <= COUNT(texts));
	ASSERT((status == LOOKUP_FOUND) == (count > 0));
	verifier_answer(inspect->verifier, i, status, texts, count);
}

const struct verification *
inspect_end(struct inspect *inspect, size_t *count_out)
{
	const struct verification *results =
		verifier_end(inspect->verifier, count_out);

	for (size_t i = 0; i < *count_out; i++)
		if (results[i].status == VERIFY_PENDING)
			key_take(inspect, i);
	return results;
}

size_t
inspect_ignored(const struct inspect *inspect)
{
	return verifier_ignored(inspect->verifier);
}
