#include "milter/emit.h"

#include "milter/header.h"

struct emitter {
	const struct pipeline *pipeline;
	struct header_reader header;
	bool in_body;
	input_sink_fn *take;
	void *owner;
};

static bool
line_take(struct emitter *emitter, struct slice line, struct fault *fault)
{
	return emitter->take(emitter->owner, line, fault) &&
	       emitter->take(emitter->owner, SLICE("\r\n"), fault);
}

static bool
field_take(struct emitter *emitter, struct slice field, struct fault *fault)
{
	return pipeline_strips(emitter->pipeline, field) ||
	       line_take(emitter, field, fault);
}

static bool
header_take(struct emitter *emitter, struct slice *bytes, struct fault *fault)
{
	struct slice field;

	for (;;) {
		switch (header_read(&emitter->header, bytes, &field)) {
		case HEADER_MORE:
			return true;
		case HEADER_FIELD:
			if (!field_take(emitter, field, fault))
				return false;
			break;
		case HEADER_END:
			emitter->in_body = true;
			return line_take(emitter, SLICE_NONE, fault);
		case HEADER_TOO_LARGE:
			ASSERT(false); /* it was read before */
			return false;
		}
	}
}

static bool
emitter_take(void *owner, struct slice bytes, struct fault *fault)
{
	struct emitter *emitter = owner;

	if (!emitter->in_body && !header_take(emitter, &bytes, fault))
		return false;
	return !emitter->in_body ||
	       emitter->take(emitter->owner, bytes, fault);
}

static bool
last_take(struct emitter *emitter, struct fault *fault)
{
	struct slice field;

	if (emitter->in_body)
		return true;
	while (header_read_last(&emitter->header, &field) == HEADER_FIELD)
		if (!field_take(emitter, field, fault))
			return false;
	return true;
}

bool
emit_message(const struct pipeline *pipeline, struct slice fields,
	     struct input *input, input_sink_fn *take, void *owner,
	     struct fault *fault)
{
	struct emitter emitter = {
		.pipeline = pipeline, .take = take, .owner = owner};
	bool is_good;

	if (!take(owner, fields, fault))
		return false;
	if (!pipeline_decision(pipeline)->strips)
		return input_replay(input, take, owner, fault);
	header_reader_init(&emitter.header, SIZE_MAX);
	is_good = input_replay(input, emitter_take, &emitter, fault) &&
		  last_take(&emitter, fault);
	header_reader_done(&emitter.header);
	return is_good;
}
