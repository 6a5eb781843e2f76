#include "milter/examine.h"

#include "milter/feeder.h"
#include "milter/newline.h"

/* One run over the message, as the relay would see it. */
struct run {
	const struct examine_setup *setup;
	struct examination *examination;
	struct feeder feeder;
	struct pipeline *pipeline;
	const struct decision *decision;
	struct prepare_facts facts;
	struct newline newline;
	struct separator separator;
	struct text mended, separated, repaired;
	struct repair *repair; /* NULL: in the first */
	bool mends, is_writing;
};

/* ---- the signing stage ---- */

static void
run_field(void *owner, struct slice field)
{
	struct run *run = owner;
	struct slice name, value;

	pipeline_header(run->pipeline, field);
	if (header_field_parse(field, &name, &value) != NULL)
		return;
	prepare_note(&run->facts, name, value);
	if (run->repair == NULL)
		rewrite_note(&run->examination->writer, name, value);
}

/* The relay's own fields take part; what is in them does not matter here. */
static void
run_end_of_header(void *owner)
{
	struct run *run = owner;
	struct examination *examination = run->examination;
	const struct prepare_options *options = run->setup->prepare;

	examination->adds_date = prepare_adds_date(&run->facts, options);
	examination->adds_message_id =
		prepare_adds_message_id(&run->facts, options);
	if (examination->adds_date)
		pipeline_header(run->pipeline, SLICE("Date: x"));
	if (examination->adds_message_id)
		pipeline_header(run->pipeline, SLICE("Message-ID: x"));
	run->decision = pipeline_end_of_header(run->pipeline);
}

static void
run_body(void *owner, struct slice bytes)
{
	(void)owner;
	(void)bytes;
}

static void
run_init(struct run *run, const struct examine_setup *setup,
	 struct examination *examination, size_t max_header_size)
{
	*run = (struct run){
		.setup = setup,
		.examination = examination,
		.mends = examination->has_bare_line_end && setup->may_normalize,
		.pipeline = pipeline_new(setup->policy, setup->time_s),
		.feeder = {.owner = run,
			   .field = run_field,
			   .end_of_header = run_end_of_header,
			   .body = run_body},
	};
	newline_init(&run->newline);
	separator_init(&run->separator);
	feeder_init(&run->feeder, max_header_size);
}

static void
run_done(struct run *run)
{
	feeder_done(&run->feeder);
	pipeline_free(run->pipeline);
	prepare_facts_done(&run->facts);
	separator_done(&run->separator);
	text_done(&run->mended);
	text_done(&run->separated);
	text_done(&run->repaired);
}

/* ---- the bytes ---- */

static bool
has_8bit(struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if ((unsigned char)bytes.bytes[i] >= 0x80)
			return true;
	return false;
}

static bool
run_feed(struct run *run, struct slice bytes, struct fault *fault)
{
	if (run->repair == NULL)
		return feeder_feed(&run->feeder, bytes, fault);
	if (!run->is_writing) {
		repair_look(run->repair, bytes);
		return true;
	}
	text_clear(&run->repaired);
	repair_write(run->repair, bytes, &run->repaired);
	run->examination->leaves_8bit |= has_8bit(text_slice(&run->repaired));
	return feeder_feed(&run->feeder, text_slice(&run->repaired), fault);
}

/* Line ends that nobody mends are measured all the same. */
static bool
run_take(void *owner, struct slice bytes, struct fault *fault)
{
	struct run *run = owner;

	text_clear(&run->mended);
	newline_feed(&run->newline, bytes, &run->mended);
	if (run->mends)
		bytes = text_slice(&run->mended);
	text_clear(&run->separated);
	separator_feed(&run->separator, &bytes, &run->separated);
	return run_feed(run, text_slice(&run->separated), fault) &&
	       run_feed(run, bytes, fault);
}

/* SMTP has no message whose last line does not end. */
static bool
run_over(struct run *run, struct input *input, struct fault *fault)
{
	if (!input_replay(input, run_take, run, fault))
		return false;
	return input_ends_in_line_end(input) ||
	       run_take(run, SLICE("\r\n"), fault);
}

/* What is too large is not read to its end, which may be far. */
static bool
read_all(const struct examine_setup *setup, struct input *input,
	 struct examination *examination, struct fault *fault)
{
	struct prepare_bytes *seen = &examination->bytes;
	bool ends_in_cr = false;
	struct slice piece;

	do {
		if (!input_read(input, &piece, fault))
			return false;
		examination->size += piece.len;
		for (size_t i = 0; i < piece.len; i++) {
			char c = piece.bytes[i];

			seen->has_bare_line_end |= ends_in_cr && c != '\n';
			seen->has_nul |= c == '\0';
			seen->has_8bit |= (unsigned char)c >= 0x80;
			ends_in_cr = c == '\r';
		}
	} while (piece.len > 0 && examination->size <= setup->max_message_size);
	seen->has_bare_line_end |= ends_in_cr || input_mixes_line_ends(input);
	examination->has_bare_line_end = seen->has_bare_line_end;
	return true;
}

/* ---- the passes ---- */

static void
pipeline_keep(struct run *run)
{
	struct examination *examination = run->examination;

	pipeline_free(examination->pipeline);
	examination->pipeline = TAKE(run->pipeline);
	examination->decision = run->decision;
}

/* As it came. */
static bool
pass_first(struct run *run, struct input *input, struct fault *fault)
{
	struct examination *examination = run->examination;
	struct prepare_bytes *bytes = &examination->bytes;
	bool is_read = run_over(run, input, fault);

	if (is_read)
		feeder_finish(&run->feeder);
	if (run->decision != NULL)
		pipeline_keep(run);
	if (!is_read)
		return false;
	bytes->has_long_line = run->newline.has_long_line;
	if (run->mends)
		bytes->has_bare_line_end = false;
	examination->mends_newlines = run->mends;
	examination->separated = run->separator.report;
	examination->leaves_8bit = bytes->has_8bit;
	examination->facts = run->facts;
	run->facts = (struct prepare_facts){0};
	examination->is_too_large =
		examination->size > run->setup->max_message_size;
	examination->problem =
		prepare_judge(&examination->facts, bytes, run->setup->prepare,
			      run->setup->max_hops);
	return true;
}

static void
part_tell(void *owner, const struct repair_part *part)
{
	struct examination *examination = owner;
	struct text *out = &examination->parts;
	const char *encoding = encode_name(part->encode);

	if (++examination->parts_count > EXAMINE_PARTS_MAX)
		return;
	if (part->index == 0)
		text_add_string(out, "    the message itself");
	else
		text_addf(out, "    part %zu", part->index);
	if (part->type.len > 0)
		text_addf(out, " (%.*s)", SLICE_ARG(part->type));
	if (part->left != NULL)
		text_addf(out, ": stays as it is, %s", part->left);
	else if (encoding != NULL)
		text_addf(out, ": encoded as %s", encoding);
	else if (part->encode != ENCODE_NONE)
		text_add_string(out, ": the lines of its encoding broken");
	else
		text_add_string(out, ": lines of its header folded");
	text_add_string(out, "\n");
}

static bool
pass_look(struct run *run, struct input *input, struct fault *fault)
{
	struct examination *examination = run->examination;

	repair_observe(run->repair, part_tell, examination);
	if (!run_over(run, input, fault))
		return false;
	examination->report = *repair_decide(run->repair);
	examination->outcome =
		prepare_settle(&examination->needs, &examination->report,
			       &examination->remarks);
	return true;
}

/* As it would be written. */
static bool
pass_write(struct run *run, struct input *input, struct fault *fault)
{
	newline_init(&run->newline);
	separator_done(&run->separator);
	separator_init(&run->separator);
	run->is_writing = true;
	run->examination->leaves_8bit = false;
	if (!run_over(run, input, fault))
		return false;
	text_clear(&run->repaired);
	repair_finish(run->repair, &run->repaired);
	if (!feeder_feed(&run->feeder, text_slice(&run->repaired), fault))
		return false;
	feeder_finish(&run->feeder);
	pipeline_keep(run);
	return true;
}

static bool
prepare(const struct examine_setup *setup, struct input *input,
	struct examination *examination, struct fault *fault)
{
	CLEAN(repair_free_clean) struct repair *repair = NULL;
	struct run run;
	bool is_done;

	examination->needs =
		prepare_needs(&examination->facts, &examination->bytes,
			      setup->prepare, &examination->remarks);
	prepare_strip(examination->decision, &examination->facts,
		      &examination->arena, &examination->needs);
	if (!prepare_is_due(&examination->needs))
		return true;
	repair = repair_new(&examination->needs, setup->max_header_size);
	/* As the relay: folding makes it longer. */
	run_init(&run, setup, examination, 2 * setup->max_header_size + 1024);
	run.repair = repair;
	is_done = pass_look(&run, input, fault) &&
		  (examination->outcome != PREPARE_WRITE ||
		   pass_write(&run, input, fault));
	run_done(&run);
	return is_done;
}

bool
examine(const struct examine_setup *setup, struct input *input,
	struct examination *out, struct fault *fault)
{
	struct run run;
	bool is_read;

	*out = (struct examination){0};
	if (!read_all(setup, input, out, fault))
		return false;
	run_init(&run, setup, out, setup->max_header_size);
	is_read = pass_first(&run, input, fault);
	run_done(&run);
	if (!is_read)
		return false;
	if (out->problem != PREPARE_NO_PROBLEM || out->is_too_large ||
	    out->decision->verdict == VERDICT_REJECT)
		return true;
	return prepare(setup, input, out, fault);
}

void
examination_done(struct examination *examination)
{
	pipeline_free(examination->pipeline);
	prepare_facts_done(&examination->facts);
	rewrite_facts_done(&examination->writer);
	text_done(&examination->remarks);
	text_done(&examination->parts);
	arena_done(&examination->arena);
}
