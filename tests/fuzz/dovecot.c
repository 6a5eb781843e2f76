/* What Dovecot says: lines of any octets, in any pieces. A name is never longer than
 * its line, and whatever is read lies within it; and whoever asks gets one answer
 * for each step, however it ends. */
#include "relay/server/dovecot.h"

#include "base/clock.h"
#include "relay/limits.h"
#include "relay/server/dovecot_line.h"
#include "tests/fake/alarm.h"
#include "tests/fake/log.h"
#include "tests/fake/stream.h"

#define ASKERS 4

struct asker {
	struct dovecot_request *request;
	bool is_waiting;
};

static struct asker askers[ASKERS];

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
on_answered(void *owner, enum sasl_verdict verdict, struct slice challenge,
	    struct slice user)
{
	struct asker *asker = owner;

	ASSERT(asker->is_waiting);
	ASSERT(user.len <= USER_NAME_MAX);
	ASSERT(verdict == SASL_CHALLENGE || challenge.len == 0);
	ASSERT(verdict != SASL_IN || user.len > 0);
	asker->is_waiting = false;
	if (verdict != SASL_CHALLENGE)
		asker->request = NULL;
}

static void
go_on(struct dovecot *dovecot, struct asker *asker, bool cancels)
{
	struct dovecot_question question = {
		.mechanism = SLICE("PLAIN"),
		.timeout_ms = 1 * SECOND,
		.answered = on_answered,
		.owner = asker,
	};
	struct fault fault;

	if (cancels) {
		dovecot_cancel(&asker->request);
		asker->is_waiting = false;
	} else if (asker->request == NULL) {
		asker->is_waiting = dovecot_ask(dovecot, &question,
						&asker->request, &fault);
	} else if (!asker->is_waiting) {
		asker->is_waiting = dovecot_respond(asker->request,
						    SLICE("x"), &fault);
		if (!asker->is_waiting)
			dovecot_cancel(&asker->request);
	}
}

/* Between the pieces, by their first octets, somebody asks, responds or goes,
 * the connection ends or comes, or time passes. */
static void
converse(struct dovecot *dovecot, struct slice rest)
{
	while (rest.len > 0) {
		unsigned char what = (unsigned char)rest.bytes[0];
		struct slice piece = slice_sub(rest, 1, what >> 2);

		go_on(dovecot, &askers[what % ASKERS], what % 7 == 6);
		if (what % 23 == 22)
			fake_stream_end();
		else if (what % 5 == 4)
			fake_stream_pass(DOVECOT_AGAIN_MAX_MS);
		fake_alarm_turn();
		fake_stream_send(piece);
		rest = slice_from(rest, 1 + piece.len);
		fake_stream_consume(fake_stream_output().len);
	}
}

static void
read_lines(struct slice rest)
{
	struct dovecot_line line = {0};
	struct slice input;

	while (slice_split(&rest, '\n', &input)) {
		dovecot_line_parse(input, &line);
		ASSERT(line.user.len <= input.len);
		ASSERT(line.data.len <= input.len);
		if (line.mechanism.len > 0)
			ASSERT(line.mechanism.bytes >= input.bytes &&
			       line.mechanism.bytes + line.mechanism.len <=
				       input.bytes + input.len);
		if (line.word != DOVECOT_OK)
			ASSERT(line.word == DOVECOT_FAIL || line.user.len == 0);
	}
	dovecot_line_done(&line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct dovecot *dovecot;
	struct fault fault;
	struct loop loop = {.generation = NULL};

	read_lines(slice_of(bytes, len));
	ASSERT(dovecot_open(&loop, SLICE("/run/auth"), &dovecot, &fault));
	fake_stream_connect();
	converse(dovecot, slice_of(bytes, len));
	/* Nobody is left waiting. */
	fake_stream_pass(DOVECOT_GREETING_MS);
	for (size_t i = 0; i < ASKERS; i++) {
		ASSERT(!askers[i].is_waiting);
		dovecot_cancel(&askers[i].request);
	}
	dovecot_close(&dovecot);
	fake_stream_forget();
	fake_log_clear();
	return 0;
}
