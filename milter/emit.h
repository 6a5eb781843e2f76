/*
 * emit - a message as it goes out of `signet sign`: the new signatures, then
 * what was read, without the fields that they replace.
 */
#ifndef MILTER_EMIT_H
#define MILTER_EMIT_H

#include "milter/input.h"
#include "milter/pipeline.h"

/* After pipeline_end(). fields: the signatures, each with its CRLF. Where
 * nothing is replaced, the bytes are those of the input. */
bool emit_message(const struct pipeline *pipeline, struct slice fields,
		  struct input *input, input_sink_fn *take, void *owner,
		  struct fault *fault) MUST_USE;

#endif
