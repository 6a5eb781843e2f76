/*
 * list - an intrusive, doubly linked list.
 *
 * A struct embeds a struct list as member; the head is a struct list of its
 * own, initialised by list_init(). CONTAINER() leads from a member to its
 * struct.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base/check.h"

struct list {
	struct list *next, *previous;
};

static inline void
list_init(struct list *head)
{
	head->next = head->previous = head;
}

static inline bool
list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void
list_add_last(struct list *head, struct list *item)
{
	item->previous = head->previous;
	item->next = head;
	head->previous->next = item;
	head->previous = item;
}

static inline void
list_add_first(struct list *head, struct list *item)
{
	list_add_last(head->next, item);
}

/* Removing an item that was list_init()ed and never added is allowed. */
static inline void
list_remove(struct list *item)
{
	item->previous->next = item->next;
	item->next->previous = item->previous;
	list_init(item);
}

/* NULL when empty. */
static inline struct list *
list_take_first(struct list *head)
{
	struct list *first = head->next;

	if (first == head)
		return NULL;
	/* As list_remove() does, but by way of the head: an analyzer that cannot
	 * know that it is the previous one would see it lead to the item still. */
	head->next = first->next;
	first->next->previous = head;
	list_init(first);
	return first;
}

/* The item may be removed in the body. */
#define LIST_EACH(item, head)                                                  \
	for (struct list *item = (head)->next, *item##_next = item->next;      \
	     item != (head); item = item##_next, item##_next = item->next)

#endif
