#include <stdio.h>
#include <sysexits.h>

#include "base/output.h"
#include "relay/control_client.h"
#include "relay/queue_private.h"

/* What became of the selection, in messages. */
struct counts {
	uint64_t altered, busy, unfit, failed, lost;
};

static void
head_count(const struct control_answer *answer, struct counts *counts,
	   struct control_cursor *cursor, bool *has_more_out)
{
	const struct {
		const char *name;
		uint64_t *count;
	} rows[] = {{"altered", &counts->altered}, {"busy", &counts->busy},
		    {"unfit", &counts->unfit},	   {"failed", &counts->failed},
		    {"lost", &counts->lost}};
	struct slice head = answer->head, name, value;
	uint64_t number;

	*has_more_out = false;
	while (control_head_next(&head, &name, &value)) {
		if (slice_eq(name, SLICE("more")))
			*has_more_out = control_cursor_parse(value, cursor);
		else if (slice_eq(name, SLICE("damaged")))
			fprintf(stderr, "signet: %.*s\n", SLICE_ARG(value));
		for (size_t i = 0; i < COUNT(rows); i++)
			if (slice_eq(name, SLICE(rows[i].name)) &&
			    slice_number(value, &number))
				*rows[i].count += number;
	}
}

/* Asks until the whole selection has been gone through. */
static bool
selection_alter(struct control_request request, struct counts *counts,
		struct fault *fault)
{
	bool has_more = true;

	while (has_more) {
		CLEAN(control_answer_done) struct control_answer answer = {0};

		if (!control_ask(&request, &answer, fault))
			return false;
		head_count(&answer, counts, &request.cursor, &has_more);
	}
	return true;
}

static void
count_tell(uint64_t count, const char *one, const char *many, FILE *to)
{
	if (count > 0)
		fprintf(to, "%s%llu %s\n", to == stderr ? "signet: " : "",
			(unsigned long long)count, count == 1 ? one : many);
}

static int
counts_tell(const struct counts *counts, enum control_verb verb)
{
	static const char *const words[][2] = {
		[CONTROL_RETRY] = {"message is due now",
				   "messages are due now"},
		[CONTROL_HOLD] = {"message is held", "messages are held"},
		[CONTROL_RELEASE] = {"message is released",
				     "messages are released"},
		[CONTROL_DELETE] = {"message is deleted",
				    "messages are deleted"},
	};
	bool is_said;

	count_tell(counts->altered, words[verb][0], words[verb][1], stdout);
	count_tell(counts->busy,
		   "message is being delivered and was left alone; try again",
		   "messages are being delivered and were left alone; try "
		   "again",
		   stderr);
	count_tell(counts->failed,
		   "message could not be altered: the store has no room",
		   "messages could not be altered: the store has no room",
		   stderr);
	if (verb == CONTROL_RETRY)
		count_tell(counts->unfit,
			   "message is held; release it to have it tried",
			   "messages are held; release them to have them "
			   "tried",
			   stderr);
	else if (counts->altered == 0)
		count_tell(counts->unfit, "message is not held",
			   "messages are not held", stderr);
	count_tell(counts->lost,
		   "message cannot be read; delete is all it is good for",
		   "messages cannot be read; delete is all they are good for",
		   stderr);
	is_said = output_end() == EX_OK;
	if (counts->busy + counts->failed > 0)
		return EX_TEMPFAIL;
	if (counts->altered > 0)
		return is_said ? EX_OK : EX_IOERR;
	if (counts->unfit + counts->lost == 0)
		fputs("signet: nothing in the queue matches\n", stderr);
	return EX_DATAERR;
}

/* What was done before a failure is done, and said. */
static int
failure_tell(const struct options *options, const struct counts *counts,
	     const struct control_request *request, struct fault *fault)
{
	if (counts->altered + counts->busy > 0)
		(void)counts_tell(counts, request->verb);
	if (fault->kind == FAULT_ABSENT)
		fault_put_before(fault, "state_dir '%.*s'",
				 SLICE_ARG(options->state_dir));
	return queue_fault_tell(fault);
}

static uint64_t
counts_sum(const struct counts *counts)
{
	return counts->altered + counts->busy + counts->unfit +
	       counts->failed + counts->lost;
}

static int
ids_alter(const struct options *options,
	  const struct queue_arguments *arguments)
{
	struct control_request request = arguments->request;
	struct counts counts = {0};
	struct fault fault = {0};
	bool has_unknown = false;
	int code;

	for (int i = 0; i < arguments->count; i++) {
		uint64_t before = counts_sum(&counts);

		request.has_id =
			message_id_read(SLICE(arguments->ids[i]), &request.id);
		if (request.has_id &&
		    !selection_alter(request, &counts, &fault))
			return failure_tell(options, &counts, &request,
					    &fault);
		if (counts_sum(&counts) > before)
			continue;
		queue_unknown_tell(arguments->ids[i]);
		has_unknown = true;
	}
	if (counts_sum(&counts) == 0)
		return EX_DATAERR;
	code = counts_tell(&counts, request.verb);
	return code == EX_OK && has_unknown ? EX_DATAERR : code;
}

int
queue_alter(const struct options *options,
	    const struct queue_arguments *arguments)
{
	struct counts counts = {0};
	struct fault fault = {0};

	if (!control_enter(options, &fault))
		return queue_fault_tell(&fault);
	if (arguments->count > 0)
		return ids_alter(options, arguments);
	if (!selection_alter(arguments->request, &counts, &fault))
		return failure_tell(options, &counts, &arguments->request,
				    &fault);
	return counts_tell(&counts, arguments->request.verb);
}
