#include "milter/feeder.h"

static void
feeder_end_header(struct feeder *feeder)
{
	feeder->end_of_header(feeder->owner);
	feeder->in_body = true;
}

static bool
feeder_header(struct feeder *feeder, struct slice *piece, struct fault *fault)
{
	struct slice field;

	for (;;) {
		switch (header_read(&feeder->header, piece, &field)) {
		case HEADER_MORE:
			return true;
		case HEADER_FIELD:
			feeder->field(feeder->owner, field);
			break;
		case HEADER_END:
			feeder_end_header(feeder);
			return true;
		case HEADER_TOO_LARGE:
			return fault_set(fault, FAULT_LIMIT,
					 "the header is larger than %zu bytes",
					 feeder->header.size_max);
		}
	}
}

void
feeder_init(struct feeder *feeder, size_t header_max)
{
	feeder->in_body = false;
	header_reader_init(&feeder->header,
			   header_max != 0 ? header_max : HEADER_SIZE_DEFAULT);
}

void
feeder_done(struct feeder *feeder)
{
	header_reader_done(&feeder->header);
}

bool
feeder_feed(struct feeder *feeder, struct slice piece, struct fault *fault)
{
	if (!feeder->in_body && !feeder_header(feeder, &piece, fault))
		return false;
	if (feeder->in_body && piece.len > 0)
		feeder->body(feeder->owner, piece);
	return true;
}

void
feeder_finish(struct feeder *feeder)
{
	struct slice field;

	if (feeder->in_body)
		return;
	while (header_read_last(&feeder->header, &field) == HEADER_FIELD)
		feeder->field(feeder->owner, field);
	feeder_end_header(feeder);
}

bool
feeder_run(struct feeder *feeder, struct input *input, size_t header_max,
	   struct fault *fault)
{
	struct slice piece;
	bool is_good;

	feeder_init(feeder, header_max);
	do
		is_good = input_read(input, &piece, fault) &&
			  feeder_feed(feeder, piece, fault);
	while (is_good && piece.len > 0);
	if (is_good)
		feeder_finish(feeder);
	feeder_done(feeder);
	return is_good;
}
