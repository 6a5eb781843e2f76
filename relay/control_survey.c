#include <stdlib.h>

#include "relay/control_private.h"

/*
 * Each loop picks the destinations of its own that matter most and says what
 * it knows of them; the best of all loops stay, and a reader thread counts what
 * is stored for these. So nothing here is linear in the queue, and only the
 * picking in the number of destinations.
 */
struct survey_part {
	struct post post;
	struct control_survey *survey;
	struct loop *loop;
	struct arena arena; /* of the texts */
	struct control_destination *picked;
	size_t count, room, total;
	uint64_t connections;
	bool is_picky; /* there is a last one of those that are wanted */
};

/* In trouble, then much in memory, then due soon: negative where `a` comes
 * first. */
static int
rank_compare(const struct control_destination *a,
	     const struct control_destination *b)
{
	if ((a->paused_ms > 0) != (b->paused_ms > 0))
		return a->paused_ms > 0 ? -1 : 1;
	if (a->leases != b->leases)
		return a->leases > b->leases ? -1 : 1;
	/* 0 is never. */
	if (a->next_due_ms != b->next_due_ms)
		return a->next_due_ms - 1 < b->next_due_ms - 1 ? -1 : 1;
	return 0;
}

static int
order_compare(const void *left, const void *right)
{
	const struct control_destination *a = left, *b = right;
	int rank = rank_compare(a, b);

	return rank != 0 ? rank : strcmp(a->name, b->name);
}

static int
name_compare(const void *left, const void *right)
{
	const struct control_destination *a = left, *b = right;

	return strcmp(a->name, b->name);
}

/* --- on a loop --- */

static bool
destination_is_meant(const struct control_survey *survey, struct slice name)
{
	const struct selection *selection = &survey->task->request.selection;

	return selection_takes_destination(selection, name);
}

/* Room for twice as many as wanted: when it is full, the better half stays, and
 * what is no better than the last of these is passed over. */
static void
part_trim(struct survey_part *part)
{
	size_t wanted = part->survey->wanted;

	qsort(part->picked, part->count, sizeof(*part->picked), order_compare);
	for (size_t i = wanted; i < part->count; i++)
		free(part->picked[i].name);
	if (part->count > wanted)
		part->count = wanted;
}

static void
part_pick(void *owner, const struct schedule_state *state)
{
	struct survey_part *part = owner;
	struct control_destination destination = {
		.leases = state->leases,
		.paused_ms = state->paused_ms,
		.next_due_ms = state->next_due_ms,
	};

	part->total++;
	if (!destination_is_meant(part->survey, state->destination->name))
		return;
	if (part->count == part->room) {
		part_trim(part);
		part->is_picky = true;
	}
	if (part->is_picky &&
	    rank_compare(&destination,
			 &part->picked[part->survey->wanted - 1]) >= 0)
		return;
	destination.name = slice_dup(state->destination->name);
	part->picked[part->count++] = destination;
}

static void
part_fill(void *owner, const struct destination_state *state)
{
	struct survey_part *part = owner;
	CLEAN(text_done) struct text name = {0};
	struct control_destination wanted = {0}, *found;

	part->connections += state->connections;
	text_add(&name, state->name);
	wanted.name = (char *)(uintptr_t)text_string(&name);
	found = bsearch(&wanted, part->picked, part->count,
			sizeof(*part->picked), name_compare);
	if (found == NULL)
		return;
	found->connections = state->connections;
	found->idle = state->idle;
	found->window = state->window;
	found->is_paced = state->is_paced;
	found->trouble = arena_copy(&part->arena, state->trouble);
}

static void survey_gather(struct post *post);

static void
part_run(struct post *post)
{
	struct survey_part *part = CONTAINER(post, struct survey_part, post);
	const struct control_parts *parts = part->survey->task->parts;

	part->room = 2 * part->survey->wanted;
	part->picked = memory_array(part->room, sizeof(*part->picked));
	schedule_each_state(parts->schedule, part->loop, part_pick, part);
	part_trim(part);
	qsort(part->picked, part->count, sizeof(*part->picked), name_compare);
	destination_each_state(parts->delivery, part->loop, part_fill, part);
	loop_post(parts->main_loop, &part->post, survey_gather);
}

/* --- on the main loop --- */

/* What there is only for the sake of its depth goes where it has none. */
static void
survey_drop_empty(struct control_survey *survey)
{
	const struct control_destination *only = &survey->destinations[0];

	if (only->due + only->held > 0)
		return;
	free(only->name);
	survey->count = 0;
}

/* How deep a queue is may be unknown: the rest is worth having. */
static void
depths_read(struct store_read_depths *read, const struct fault *fault)
{
	struct control_survey *survey = read->private;

	for (size_t i = 0; fault == NULL && i < survey->count; i++) {
		survey->destinations[i].due = read->depths[i].due;
		survey->destinations[i].held = read->depths[i].held;
	}
	free(read->depths);
	if (survey->is_stored_only)
		survey_drop_empty(survey);
	survey->has_nothing = fault == NULL && survey->is_stored_only &&
			      survey->count == 0;
	survey->done(survey);
}

static void
survey_read_depths(struct control_survey *survey)
{
	struct store_depth *depths =
		memory_array(survey->count + 1, sizeof(*depths));

	for (size_t i = 0; i < survey->count; i++)
		depths[i] = (struct store_depth){
			.destination = SLICE(survey->destinations[i].name),
			.is_domain = survey->is_stored_only,
		};
	survey->read = (struct store_read_depths){
		.depths = depths,
		.count = survey->count,
		.max = STATUS_DEPTH_MAX + 1,
		.loop = survey->task->parts->main_loop,
		.done = depths_read,
		.private = survey,
	};
	store_read_depths(survey->task->parts->store, &survey->read);
}

/* The schedule knows of no destination for which all is held. */
static void
survey_add_stored(struct control_survey *survey)
{
	const struct selection *selection = &survey->task->request.selection;

	if (!selection->has_domain || survey->count > 0 ||
	    selection->domain.len == 0 || selection->domain.len > DOMAIN_MAX)
		return;
	survey->is_stored_only = true;
	survey->destinations[survey->count++].name =
		slice_dup(selection->domain);
}

static void
survey_merge(struct control_survey *survey)
{
	size_t loops = survey->task->parts->loops_count, room = 1;

	for (size_t i = 0; i < loops; i++)
		room += survey->parts[i].count;
	survey->destinations =
		memory_array(room, sizeof(*survey->destinations));
	for (size_t i = 0; i < loops; i++) {
		struct survey_part *part = &survey->parts[i];

		memcpy(&survey->destinations[survey->count], part->picked,
		       part->count * sizeof(*part->picked));
		survey->count += part->count;
		survey->total += part->total;
		survey->connections += part->connections;
		part->count = 0; /* their names went with them */
	}
	qsort(survey->destinations, survey->count,
	      sizeof(*survey->destinations), order_compare);
	while (survey->count > survey->wanted)
		free(survey->destinations[--survey->count].name);
	survey_add_stored(survey);
}

static void
survey_gather(struct post *post)
{
	struct survey_part *part = CONTAINER(post, struct survey_part, post);
	struct control_survey *survey = part->survey;

	ASSERT(survey->parts_open > 0);
	if (--survey->parts_open > 0)
		return;
	loop_release(survey->task->parts->main_loop);
	survey_merge(survey);
	survey_read_depths(survey);
}

void
control_survey_start(struct control_survey *survey)
{
	const struct control_parts *parts = survey->task->parts;

	survey->parts =
		memory_array(parts->loops_count, sizeof(*survey->parts));
	survey->parts_open = parts->loops_count;
	loop_hold(parts->main_loop);
	for (size_t i = 0; i < parts->loops_count; i++) {
		struct survey_part *part = &survey->parts[i];

		part->survey = survey;
		part->loop = &parts->loops[i];
		loop_post(part->loop, &part->post, part_run);
	}
}

void
control_survey_free(struct control_survey *survey)
{
	for (size_t i = 0; i < survey->task->parts->loops_count; i++) {
		arena_done(&survey->parts[i].arena);
		free(survey->parts[i].picked);
	}
	for (size_t i = 0; i < survey->count; i++)
		free(survey->destinations[i].name);
	free(survey->destinations);
	free(survey->parts);
}
