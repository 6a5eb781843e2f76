/*
 * changes - what was done to a message before it was signed, and the signatures
 * that it got: for the log.
 */
#ifndef RELAY_QUEUE_CHANGES_H
#define RELAY_QUEUE_CHANGES_H

#include "base/arena.h"
#include "base/log.h"
#include "milter/pipeline.h"
#include "milter/prepare.h"

struct changes_signature {
	struct slice domain, selector;
	enum key_algorithm algorithm;
};

struct changes {
	struct repair_report repair;
	struct rewrite_report rewritten;
	struct separator_report separated;
	bool mends_newlines, adds_date, adds_message_id;
	const struct changes_signature *signatures;
	size_t signatures_count;
};

/* Takes down who signed; copies into the arena. */
void changes_sign(struct changes *changes, struct arena *arena,
		  const struct signature *signatures, size_t count);
struct changes *changes_copy(struct arena *arena,
			     const struct changes *changes);

/* The lists "signatures" and "changed" of an event. */
void changes_log_signatures(struct log *line, const struct changes *changes);
void changes_log_changed(struct log *line, const struct changes *changes);

#endif
