#include "milter/mail_verifying.h"

#include <stdlib.h>

struct mail_verifying {
	struct slice id;
	struct inspect *inspect;
	struct arena arena;
	uint32_t fields_count; /* Authentication-Results so far */
	uint32_t *forged;
	size_t forged_count, forged_size;
	const struct verification *results;
	size_t count;
	struct text field;
};

struct mail_verifying *
mail_verifying_new(const struct records_source *source, uint64_t timeout_ms,
		   uint64_t time_s, struct slice id)
{
	struct mail_verifying *verifying = memory_new(sizeof(*verifying));

	verifying->id = arena_copy(&verifying->arena, id);
	verifying->inspect = inspect_new(source, timeout_ms, time_s);
	return verifying;
}

void
mail_verifying_free(struct mail_verifying *verifying)
{
	if (verifying == NULL)
		return;
	inspect_free(verifying->inspect);
	arena_done(&verifying->arena);
	text_done(&verifying->field);
	free(verifying->forged);
	free(verifying);
}

/* How many there are is bounded by the size of the header. */
static void
forged_add(struct mail_verifying *verifying, uint32_t position)
{
	if (verifying->forged_count == verifying->forged_size) {
		verifying->forged_size =
			verifying->forged_size == 0
				? 4
				: 2 * verifying->forged_size;
		verifying->forged = memory_grow(
			verifying->forged,
			verifying->forged_size * sizeof(*verifying->forged));
	}
	verifying->forged[verifying->forged_count++] = position;
}

void
mail_verifying_header(struct mail_verifying *verifying, struct slice field)
{
	ptrdiff_t colon = slice_find(field, ':');

	inspect_header(verifying->inspect, field);
	/* Its value need not be well-formed to be taken for ours. */
	if (colon < 0 ||
	    !authres_is_field(slice_sub(field, 0, (size_t)colon)))
		return;
	verifying->fields_count++;
	if (authres_claims(slice_from(field, (size_t)colon + 1),
			   verifying->id))
		forged_add(verifying, verifying->fields_count);
}

void
mail_verifying_end_of_header(struct mail_verifying *verifying)
{
	inspect_end_of_header(verifying->inspect);
}

void
mail_verifying_body(struct mail_verifying *verifying, struct slice bytes)
{
	inspect_body(verifying->inspect, bytes);
}

struct slice
mail_verifying_end(struct mail_verifying *verifying)
{
	struct authres authres = {.id = verifying->id};

	ASSERT(verifying->field.len == 0);
	authres.results = verifying->results =
		inspect_end(verifying->inspect, &verifying->count);
	authres.count = verifying->count;
	authres.ignored = inspect_ignored(verifying->inspect);
	authres_write(&authres, &verifying->field);
	return text_slice(&verifying->field);
}

const struct verification *
mail_verifying_results(const struct mail_verifying *verifying,
		       size_t *count_out)
{
	ASSERT(verifying->field.len > 0);
	*count_out = verifying->count;
	return verifying->results;
}

const uint32_t *
mail_verifying_forged(const struct mail_verifying *verifying, size_t *count_out)
{
	*count_out = verifying->forged_count;
	return verifying->forged;
}
