#include "relay/delivery/gate.h"

#include "relay/net/turns.h"

#define WAITING (1ull << 63)
#define FIELD_BITS 16

static_assert(GATE_CLASSES * FIELD_BITS < 63, "the fields fit");
static_assert(GATE_PLACES_MAX == (1u << FIELD_BITS) - 1, "into their bits");

/* One place of a class: one in its field and in all before it. */
static uint64_t
place_of(enum gate_class class)
{
	uint64_t place = 0;

	for (unsigned i = 0; i <= class; i++)
		place |= 1ull << (i * FIELD_BITS);
	return place;
}

static unsigned
field_of(uint64_t word, unsigned class)
{
	return (unsigned)(word >> (class * FIELD_BITS)) & GATE_PLACES_MAX;
}

static bool
has_room(const struct gate *gate, uint64_t word, enum gate_class class)
{
	for (unsigned i = 0; i <= class; i++)
		if (field_of(word, i) >= atomic_load(&gate->limits[i]))
			return false;
	return true;
}

void
gate_init(struct gate *gate, unsigned limit)
{
	atomic_init(&gate->word, 0);
	gate->was_prompt = false;
	ASSERT(uv_mutex_init(&gate->mutex) == 0);
	for (unsigned i = 0; i < GATE_CLASSES; i++) {
		atomic_init(&gate->limits[i], limit);
		list_init(&gate->prompt[i]);
		list_init(&gate->patient[i]);
	}
}

void
gate_done(struct gate *gate)
{
	ASSERT(atomic_load(&gate->word) == 0);
	uv_mutex_destroy(&gate->mutex);
}

static void
ticket_on_post(struct post *post)
{
	struct gate_ticket *ticket =
		CONTAINER(post, struct gate_ticket, post);

	ticket->state = GATE_TICKET_NONE;
	ticket->granted(ticket);
}

/* Under the mutex. */
static void
ticket_tell(struct gate_ticket *ticket, bool has_place)
{
	list_remove(&ticket->link);
	ticket->has_place = has_place;
	ticket->state = GATE_TICKET_COMES;
	loop_post(ticket->loop, &ticket->post, ticket_on_post);
}

/* Under the mutex. */
static bool
is_waited_for(const struct gate *gate, enum gate_class class)
{
	return !list_is_empty(&gate->prompt[class]) ||
	       !list_is_empty(&gate->patient[class]);
}

/* Who has waited longest of those for whom there is room; NULL: nobody. The
 * queues are those of all classes. */
static struct gate_ticket *
first_ticket(const struct gate *gate, const struct list *queues)
{
	uint64_t word = atomic_load(&gate->word);
	struct gate_ticket *next = NULL;

	for (unsigned i = 0; i < GATE_CLASSES; i++) {
		struct gate_ticket *first;

		if (list_is_empty(&queues[i]) || !has_room(gate, word, i))
			continue;
		first = CONTAINER(queues[i].next, struct gate_ticket, link);
		if (next == NULL || first->asked_ns < next->asked_ns)
			next = first;
	}
	return next;
}

static struct gate_ticket *
next_ticket(struct gate *gate)
{
	struct gate_ticket *prompt = first_ticket(gate, gate->prompt);
	struct gate_ticket *patient = first_ticket(gate, gate->patient);

	return turns_is_prompt(&gate->was_prompt, prompt != NULL,
			       patient != NULL)
		       ? prompt
		       : patient;
}

/* Under the mutex, and while somebody waits: nobody changes the word then who
 * has not got the mutex. The limits are all that one class has before another:
 * if it were served first, what works would keep out all that is new. */
static void
gate_serve(struct gate *gate)
{
	struct gate_ticket *ticket;
	bool is_empty = true;

	while ((ticket = next_ticket(gate)) != NULL) {
		atomic_fetch_add(&gate->word, place_of(ticket->class));
		ticket_tell(ticket, true);
	}
	for (unsigned i = 0; i < GATE_CLASSES; i++)
		is_empty &= !is_waited_for(gate, i);
	if (is_empty)
		atomic_fetch_and(&gate->word, ~WAITING);
}

void
gate_limit(struct gate *gate, enum gate_class class, unsigned limit)
{
	ASSERT(limit > 0);
	ASSERT(limit <= GATE_PLACES_MAX);
	if (atomic_load(&gate->limits[class]) == limit)
		return;
	uv_mutex_lock(&gate->mutex);
	atomic_store(&gate->limits[class], limit);
	if ((atomic_load(&gate->word) & WAITING) != 0)
		gate_serve(gate);
	uv_mutex_unlock(&gate->mutex);
}

/* Under the mutex. In the order of asking; who is owed a turn is looked for a
 * place from the front, where he belongs. */
static void
queue_enter(struct gate *gate, struct gate_ticket *ticket)
{
	struct list *waiting = ticket->is_prompt
				       ? &gate->prompt[ticket->class]
				       : &gate->patient[ticket->class];
	struct list *behind = waiting;

	for (struct list *item = waiting->next;
	     ticket->is_owed && behind == waiting && item != waiting;
	     item = item->next)
		if (CONTAINER(item, struct gate_ticket, link)->asked_ns >
		    ticket->asked_ns)
			behind = item;
	list_add_last(behind, &ticket->link);
}

/* Under the mutex. True: taken. */
static bool
take_or_wait(struct gate *gate, struct gate_ticket *ticket)
{
	uint64_t word = atomic_load(&gate->word);

	for (;;) {
		bool is_taken = !is_waited_for(gate, ticket->class) &&
				has_room(gate, word, ticket->class);
		uint64_t next = is_taken ? word + place_of(ticket->class)
					 : word | WAITING;

		if (!atomic_compare_exchange_weak(&gate->word, &word, next))
			continue;
		if (!is_taken) {
			ticket->state = GATE_TICKET_WAITS;
			queue_enter(gate, ticket);
		}
		return is_taken;
	}
}

/* Those who wait may be of a class that has no room, and this one may have. */
static bool
try_past_others(struct gate *gate, enum gate_class class)
{
	bool is_taken;

	uv_mutex_lock(&gate->mutex);
	is_taken = (atomic_load(&gate->word) & WAITING) != 0 &&
		   !is_waited_for(gate, class) &&
		   has_room(gate, atomic_load(&gate->word), class);
	if (is_taken)
		atomic_fetch_add(&gate->word, place_of(class));
	uv_mutex_unlock(&gate->mutex);
	return is_taken;
}

bool
gate_try(struct gate *gate, enum gate_class class)
{
	uint64_t word = atomic_load(&gate->word);

	while ((word & WAITING) == 0 && has_room(gate, word, class))
		if (atomic_compare_exchange_weak(&gate->word, &word,
						 word + place_of(class)))
			return true;
	return (word & WAITING) != 0 && try_past_others(gate, class);
}

bool
gate_take(struct gate *gate, enum gate_class class, struct gate_ticket *ticket)
{
	bool is_taken;

	ASSERT(ticket->state == GATE_TICKET_NONE);
	ticket->class = class;
	if (!ticket->is_owed)
		ticket->asked_ns = uv_hrtime();
	if (gate_try(gate, class))
		return true;
	uv_mutex_lock(&gate->mutex);
	is_taken = take_or_wait(gate, ticket);
	uv_mutex_unlock(&gate->mutex);
	return is_taken;
}

/* Takes the difference off; what that leaves. */
static uint64_t
gate_lessen(struct gate *gate, uint64_t less)
{
	uint64_t word = atomic_load(&gate->word);

	while ((word & WAITING) == 0)
		if (atomic_compare_exchange_weak(&gate->word, &word,
						 word - less))
			return word - less;
	uv_mutex_lock(&gate->mutex);
	word = atomic_fetch_sub(&gate->word, less) - less;
	if ((word & WAITING) != 0)
		gate_serve(gate);
	uv_mutex_unlock(&gate->mutex);
	return word;
}

unsigned
gate_give(struct gate *gate, enum gate_class class)
{
	ASSERT(field_of(atomic_load(&gate->word), class) > 0);
	return field_of(gate_lessen(gate, place_of(class)), 0);
}

void
gate_move(struct gate *gate, enum gate_class from, enum gate_class to)
{
	ASSERT(to <= from);
	if (to != from)
		(void)gate_lessen(gate, place_of(from) - place_of(to));
}

/* Its place from now on is that of who has just come. */
void
gate_hurry(struct gate *gate, struct gate_ticket *ticket)
{
	uv_mutex_lock(&gate->mutex);
	ticket->is_prompt = true;
	if (ticket->state == GATE_TICKET_WAITS) {
		list_remove(&ticket->link);
		ticket->asked_ns = uv_hrtime();
		queue_enter(gate, ticket);
	}
	uv_mutex_unlock(&gate->mutex);
}

bool
gate_cancel(struct gate *gate, struct gate_ticket *ticket)
{
	bool is_cancelled;

	uv_mutex_lock(&gate->mutex);
	is_cancelled = ticket->state != GATE_TICKET_COMES;
	if (ticket->state == GATE_TICKET_WAITS) {
		list_remove(&ticket->link);
		ticket->state = GATE_TICKET_NONE;
		gate_serve(gate);
	}
	uv_mutex_unlock(&gate->mutex);
	return is_cancelled;
}

/* Under the mutex. */
static void
queue_empty(struct list *queue)
{
	LIST_EACH (item, queue)
		ticket_tell(CONTAINER(item, struct gate_ticket, link), false);
}

void
gate_empty(struct gate *gate)
{
	uv_mutex_lock(&gate->mutex);
	for (unsigned i = 0; i < GATE_CLASSES; i++) {
		queue_empty(&gate->prompt[i]);
		queue_empty(&gate->patient[i]);
	}
	atomic_fetch_and(&gate->word, ~WAITING);
	uv_mutex_unlock(&gate->mutex);
}

unsigned
gate_taken(const struct gate *gate)
{
	return field_of(atomic_load(&gate->word), 0);
}

bool
gate_is_wanted(const struct gate *gate)
{
	return (atomic_load(&gate->word) & WAITING) != 0;
}

bool
gate_is_full(const struct gate *gate)
{
	uint64_t word = atomic_load(&gate->word);

	return (word & WAITING) != 0 &&
	       field_of(word, GATE_PROVEN) >=
		       atomic_load(&gate->limits[GATE_PROVEN]);
}
