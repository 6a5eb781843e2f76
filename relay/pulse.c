#include "relay/pulse.h"

#include <stdlib.h>

#include "base/log.h"
#include "relay/handover.h"

struct beat {
	struct post post;
	struct pulse *pulse;
};

/* On the main loop. */
static void
beat_count(struct pulse *pulse)
{
	struct fault fault = {0};

	loop_release(pulse->main_loop);
	ASSERT(pulse->missing > 0);
	if (--pulse->missing == 0 &&
	    !handover_send(pulse->control, HANDOVER_ALIVE, pulse->serial,
			   SLICE_NONE, &fault))
		log_note(LOG_LEVEL_WARNING, "watchdog", "%s", fault.text);
}

static void
store_beat_back(struct post *post)
{
	beat_count(CONTAINER(post, struct pulse, store_beat.post));
}

void
pulse_init(struct pulse *pulse, int control, struct loop *main_loop,
	   struct loop *loops, size_t loops_count, struct store *store)
{
	*pulse = (struct pulse){.control = control,
				.main_loop = main_loop,
				.loops = loops,
				.beats = memory_array(loops_count,
						      sizeof(*pulse->beats)),
				.store = store,
				.store_beat = {.loop = main_loop,
					       .back = store_beat_back},
				.loops_count = loops_count};
	for (size_t i = 0; i < loops_count; i++)
		pulse->beats[i].pulse = pulse;
}

void
pulse_done(struct pulse *pulse)
{
	ASSERT(pulse->missing == 0);
	free(pulse->beats);
}

static void
beat_back(struct post *post)
{
	beat_count(CONTAINER(post, struct beat, post)->pulse);
}

static void
beat_there(struct post *post)
{
	struct beat *beat = CONTAINER(post, struct beat, post);

	loop_post(beat->pulse->main_loop, post, beat_back);
}

void
pulse_take(struct pulse *pulse, uint64_t serial)
{
	if (pulse->missing > 0)
		return;
	pulse->serial = serial;
	pulse->missing = pulse->loops_count + 1;
	loop_hold(pulse->main_loop);
	store_beat(pulse->store, &pulse->store_beat);
	for (size_t i = 0; i < pulse->loops_count; i++) {
		loop_hold(pulse->main_loop);
		loop_post(&pulse->loops[i], &pulse->beats[i].post, beat_there);
	}
}
