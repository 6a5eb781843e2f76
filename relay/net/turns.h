/*
 * turns - those who wait for something scarce: memory, a question to the DNS, a
 * connection.
 *
 * They stand in two queues, each in the order of coming. Prompt is who waits for
 * mail that is new and for a few recipients; patient is everybody else: mail for
 * many, and what has been tried before (delivery_is_prompt()). Where both wait
 * they go by turns, one and one: so a single message has none before it but
 * other single messages and as many of the rest, and however many of them come,
 * the rest has half of all there is.
 *
 * Ownership   The items are embedded in the owner's, and leave by list_remove().
 */
#ifndef RELAY_NET_TURNS_H
#define RELAY_NET_TURNS_H

#include "base/list.h"

struct turns {
	struct list prompt, patient;
	bool was_prompt; /* the last turn */
};

static inline void
turns_init(struct turns *turns)
{
	list_init(&turns->prompt);
	list_init(&turns->patient);
	turns->was_prompt = false;
}

static inline struct list *
turns_queue(struct turns *turns, bool is_prompt)
{
	return is_prompt ? &turns->prompt : &turns->patient;
}

/* Whose turn it is, as far as anybody waits, which is remembered for the next
 * one. */
static inline bool
turns_is_prompt(bool *was_prompt, bool has_prompt, bool has_patient)
{
	if (has_prompt || has_patient)
		*was_prompt = has_prompt && !(has_patient && *was_prompt);
	return *was_prompt;
}

/* NULL when nobody waits. */
static inline struct list *
turns_take(struct turns *turns)
{
	bool has_prompt = !list_is_empty(&turns->prompt);
	bool has_patient = !list_is_empty(&turns->patient);

	return list_take_first(turns_queue(
		turns, turns_is_prompt(&turns->was_prompt, has_prompt,
				       has_patient)));
}

#endif
