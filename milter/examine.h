/*
 * examine - what the relay would make of a message, worked out without one: its
 * line ends mended where some listener does that, judged, prepared and decided
 * on (milter/prepare.h). Nothing is signed.
 *
 * Ownership   The caller's struct; examination_done() frees what it holds. The
 *             decision lives as long as it.
 */
#ifndef MILTER_EXAMINE_H
#define MILTER_EXAMINE_H

#include "milter/input.h"
#include "milter/pipeline.h"
#include "milter/prepare.h"

/* A message may have ten thousand. */
#define EXAMINE_PARTS_MAX 20

struct examine_setup {
	struct policy *policy;
	uint64_t time_s;
	const struct prepare_options *prepare;
	uint64_t max_message_size; /* bytes, as the next */
	size_t max_header_size;
	uint64_t max_hops;
	bool may_normalize; /* some listener mends line ends */
};

struct examination {
	/* Of the message as it would go out; NULL before the end of the
	 * header was reached. */
	struct pipeline *pipeline;
	const struct decision *decision;

	uint64_t size;          /* as it came, with CRLF line ends; of one that
				   is too large what was read */
	bool has_bare_line_end; /* as it came */
	struct prepare_bytes bytes;
	struct prepare_facts facts;
	struct rewrite_facts writer;
	enum prepare_problem problem;
	bool is_too_large; /* over max_message_size */

	/* Only where it is taken. */
	struct repair_needs needs;
	struct repair_report report;
	enum prepare_outcome outcome;
	struct separator_report separated;
	bool mends_newlines, adds_date, adds_message_id;
	bool leaves_8bit;
	struct text remarks; /* as the log has them, each behind "; " */
	struct text parts;   /* what happens to which: lines, at most
				EXAMINE_PARTS_MAX of parts_count */
	size_t parts_count;
	struct arena arena;
};

/* LIMIT: the header is too large; what was seen before that is in *out. */
bool examine(const struct examine_setup *setup, struct input *input,
	     struct examination *out, struct fault *fault) MUST_USE;
void examination_done(struct examination *examination);

#endif
