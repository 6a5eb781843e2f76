/*
 * store_check - reads the store before it is used, in a process of its own.
 *
 * The engine trusts its pages: a damaged one can crash who reads it. So the
 * first to read is a child, and its crash is a finding, not an outage. Private
 * to the store.
 */
#ifndef RELAY_QUEUE_STORE_CHECK_H
#define RELAY_QUEUE_STORE_CHECK_H

#include "base/list.h"
#include "relay/queue/message.h"

/* A delivery that cannot be read. */
struct finding {
	struct list link;
	struct message_id id;
	uint64_t due_ms;
	struct fault fault;
	size_t destination_len;
	char destination[];
};

/* Checks what lies in `directory`; appends struct finding, which the caller
 * frees. A fault: the store as a whole cannot be used, and why. */
bool store_check(const char *directory, struct list *findings,
		 struct fault *fault) MUST_USE;

#endif
