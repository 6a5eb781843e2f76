#include "relay/queue/schedule_private.h"

#include <stdlib.h>

/*
 * An alteration seizes a lease of each of its deliveries, so that nobody takes
 * it and what a read under way brings of it is recognised; has the store write
 * all of a loop's at once; and gives the leases up. A part is what belongs to
 * one loop; it goes out by a post and comes back by another.
 *
 * What is on its way to another destination has a lease already, which nobody
 * takes. The store is told all the same: behind the move it finds nothing there
 * (ALTERED_GONE), and whoever asked looks where it is now; where the move fails,
 * it is altered where it stays.
 */
struct part {
	struct post post;
	struct schedule_alter *alter;
	struct schedule_loop *home;
	struct store_alter store;
	struct store_alter_row rows[STORE_ALTER_MAX];
	struct schedule_alter_row *of[STORE_ALTER_MAX]; /* of rows[i] */
};

static void
part_gather(struct post *post)
{
	struct part *part = CONTAINER(post, struct part, post);
	struct schedule_alter *alter = part->alter;

	free(part);
	ASSERT(alter->parts_count > 0);
	if (--alter->parts_count > 0)
		return;
	loop_release(alter->loop);
	alter->done(alter); /* it may be gone after this */
}

static void
part_done(struct part *part)
{
	loop_post(part->alter->loop, &part->post, part_gather);
}

/* What was to be altered and is not: everything is read anew, for a read may
 * have passed it over meanwhile. */
static uint64_t
row_due_ms(const struct store_alter_row *row, const struct fault *fault)
{
	return fault != NULL || row->altered == ALTERED_DAMAGED ? 1
								: row->due_ms;
}

/* Without a lease of the row's own it may have gone meanwhile. */
static struct destination *
row_owner(struct schedule_loop *home, const struct schedule_alter_row *row)
{
	return row->lease != NULL ? row->owner
				  : destination_find(home, row->destination);
}

/* The destination may be gone after its last one. */
static void
row_settle(struct destination *owner, const struct schedule_alter_row *row,
	   uint64_t due_ms)
{
	if (row->lease != NULL) {
		destination_settled(owner, row->lease, due_ms);
	} else if (owner != NULL && due_ms > 0) {
		destination_note_due(owner, due_ms);
		destination_update(owner);
	}
}

static void
part_stored(struct store_alter *store, const struct fault *fault)
{
	struct part *part = store->private;
	struct schedule_alter *alter = part->alter;

	for (size_t i = 0; i < store->count; i++) {
		struct schedule_alter_row *row = part->of[i];
		struct destination *owner = row_owner(part->home, row);

		row->altered = fault != NULL ? ALTERED_FAILED
					     : store->rows[i].altered;
		if (owner != NULL && alter->alteration == ALTER_RETRY &&
		    (row->altered == ALTERED ||
		     row->altered == ALTERED_ALREADY))
			destination_wake(owner, alter->now_ms);
		/* What was put before, and is handed over only now, is not as
		 * it was. */
		if (owner != NULL && fault == NULL &&
		    store->version > owner->read_version)
			owner->read_version = store->version;
		row_settle(owner, row, row_due_ms(&store->rows[i], fault));
	}
	ASSERT(part->home->altering > 0);
	part->home->altering--;
	if (part->home->is_stopping)
		home_check_stopped(part->home);
	part_done(part);
}

static bool
row_is_moving(struct destination *owner, const struct schedule_alter_row *row)
{
	const struct lease *lease = lease_find(owner, &row->id);

	return lease != NULL && lease->state == LEASE_SETTLING &&
	       lease->is_moving;
}

/* False: it is under way, and that is what a retry wants. */
static bool
row_seize(struct schedule_loop *home, struct schedule_alter_row *row,
	  enum alteration alteration)
{
	struct destination *owner = destination_find(home, row->destination);

	if (owner == NULL)
		owner = destination_new(home, row->destination);
	row->owner = owner;
	row->lease = lease_seize(owner, &row->id);
	if (row->lease != NULL || row_is_moving(owner, row))
		return true;
	row->altered =
		alteration == ALTER_RETRY ? ALTERED_ALREADY : ALTERED_BUSY;
	return false;
}

static void
part_run(struct post *post)
{
	struct part *part = CONTAINER(post, struct part, post);
	struct schedule_alter *alter = part->alter;
	struct schedule *schedule = part->home->schedule;

	for (size_t i = 0; i < alter->count; i++) {
		struct schedule_alter_row *row = &alter->rows[i];

		if (home_of(schedule, row->destination) != part->home)
			continue;
		row->altered = ALTERED_BUSY;
		if (part->home->is_stopping ||
		    !row_seize(part->home, row, alter->alteration))
			continue;
		part->of[part->store.count] = row;
		part->rows[part->store.count++] = (struct store_alter_row){
			.id = row->id,
			.destination = row->destination,
			.may_have_file = row->may_have_file};
	}
	if (part->store.count == 0) {
		part_done(part);
		return;
	}
	part->store.alteration = alter->alteration;
	part->store.now_ms = alter->now_ms;
	part->store.rows = part->rows;
	part->store.loop = part->home->loop;
	part->store.done = part_stored;
	part->store.private = part;
	part->home->altering++;
	store_alter(schedule->store, &part->store);
}

void
schedule_alter(struct schedule *schedule, struct schedule_alter *alter)
{
	ASSERT(alter->count > 0 && alter->count <= STORE_ALTER_MAX);
	loop_hold(alter->loop);
	alter->parts_count = schedule->loops_count;
	for (size_t i = 0; i < schedule->loops_count; i++) {
		struct part *part = memory_new(sizeof(*part));

		part->alter = alter;
		part->home = &schedule->loops[i];
		loop_post(part->home->loop, &part->post, part_run);
	}
}
