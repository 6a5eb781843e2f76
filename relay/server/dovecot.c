#include "relay/server/dovecot.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "relay/limits.h"
#include "relay/net/stream.h"
#include "relay/server/dovecot_line.h"

/* Of the protocol; the minor one may be any. */
#define VERSION_MAJOR 1

enum state { DOWN, RESTING, GREETING, UP };

struct dovecot {
	struct loop *loop;
	struct text path;
	struct address address;
	enum state state;
	struct stream *stream; /* NULL: down, or resting */
	uint64_t since_ms;     /* of the connection */
	struct alarm again;
	uint64_t wait_ms; /* until the next attempt, when this one fails */
	bool has_complained;
	struct text mechanisms, offered; /* of this greeting, of the last one */
	struct list requests;
	size_t requests_count;
	size_t owed; /* answers: some wait for their client */
	uint32_t last_id;
	uint64_t timeout_ms; /* of the last question */
};

struct dovecot_request {
	struct list link;
	struct dovecot *dovecot;
	uint32_t id;
	bool is_owed;     /* an answer */
	bool is_lost;     /* with the connection, when nothing was owed */
	struct text line; /* what is to be said once it is up */
	dovecot_answered_fn *answered;
	void *owner;
};

static void
owe(struct dovecot_request *request, bool is_owed)
{
	if (request->is_owed == is_owed)
		return;
	request->is_owed = is_owed;
	if (is_owed)
		request->dovecot->owed++;
	else
		request->dovecot->owed--;
}

/* Takes no place any more; its client is told when it responds. */
static void
request_lose(struct dovecot_request *request)
{
	ASSERT(!request->is_owed && !request->is_lost);
	request->is_lost = true;
	list_remove(&request->link);
	request->dovecot->requests_count--;
}

static void
request_free(struct dovecot_request *request)
{
	owe(request, false);
	if (!request->is_lost)
		request_lose(request);
	secret_cleanse(&request->line);
	free(request);
}

/* The request is gone. */
static void
request_end(struct dovecot_request *request, enum sasl_verdict verdict,
	    struct slice user)
{
	dovecot_answered_fn *answered = request->answered;
	void *owner = request->owner;

	request_free(request);
	answered(owner, verdict, SLICE_NONE, user);
}

/* --- the connection --- */

static void
start_again_later(struct dovecot *dovecot)
{
	alarm_set(&dovecot->again, dovecot->wait_ms);
	dovecot->wait_ms *= 2;
	if (dovecot->wait_ms > DOVECOT_AGAIN_MAX_MS)
		dovecot->wait_ms = DOVECOT_AGAIN_MAX_MS;
}

/* Of an outage once, and of its end. */
static void
complain(struct dovecot *dovecot, const char *reason)
{
	if (!dovecot->has_complained)
		log_note(LOG_LEVEL_WARNING, "dovecot",
			 "auth_dovecot '%s': %s; nobody can log in by it",
			 text_string(&dovecot->path), reason);
	dovecot->has_complained = true;
}

static void
fail(struct dovecot *dovecot, const char *reason)
{
	complain(dovecot, reason);
	if (dovecot->stream != NULL)
		stream_close(&dovecot->stream);
	dovecot->state = DOWN;
	start_again_later(dovecot);
	/* It is down: nobody asks from inside an answer. */
	LIST_EACH(item, &dovecot->requests) {
		struct dovecot_request *request =
			CONTAINER(item, struct dovecot_request, link);

		if (request->is_owed)
			request_end(request, SASL_TROUBLE, SLICE_NONE);
		else
			request_lose(request);
	}
}

static uint64_t
keep_ms(const struct dovecot *dovecot)
{
	uint64_t until_ms = dovecot->since_ms + DOVECOT_KEEP_MS;
	uint64_t now_ms = clock_now_ms();

	return until_ms > now_ms ? until_ms - now_ms : 1;
}

/* As long as something is owed; or until it may rest. */
static void
deadline_set(struct dovecot *dovecot)
{
	if (dovecot->state == GREETING)
		stream_deadline(dovecot->stream, DOVECOT_GREETING_MS);
	else if (dovecot->owed > 0)
		stream_deadline(dovecot->stream, dovecot->timeout_ms);
	else if (dovecot->requests_count == 0)
		stream_deadline(dovecot->stream, keep_ms(dovecot));
	else
		stream_deadline_clear(dovecot->stream);
}

/* A number of its own for each connection, which others do not have: it need
 * not be that of a process. */
static void
greet(struct dovecot *dovecot)
{
	CLEAN(text_done) struct text hello = {0};
	uint32_t number;

	ASSERT(getrandom(&number, sizeof(number), 0) ==
	       (ssize_t)sizeof(number));
	text_addf(&hello, "VERSION\t%d\t1\nCPID\t%u\n", VERSION_MAJOR,
		  (number & INT32_MAX) | 1);
	(void)stream_write(dovecot->stream, text_slice(&hello));
}

static bool
is_ours(struct slice mechanism)
{
	static const char *const known[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256"};

	for (size_t i = 0; i < COUNT(known); i++)
		if (slice_eq_nocase(mechanism, SLICE(known[i])))
			return true;
	return false;
}

static void
mechanism_note(struct dovecot *dovecot, struct slice mechanism)
{
	if (!is_ours(mechanism) ||
	    dovecot->mechanisms.len > DOVECOT_LINE_MAX)
		return;
	if (dovecot->mechanisms.len > 0)
		text_add_byte(&dovecot->mechanisms, ' ');
	text_add(&dovecot->mechanisms, mechanism);
}

static void
come_up(struct dovecot *dovecot)
{
	dovecot->state = UP;
	dovecot->wait_ms = DOVECOT_AGAIN_MS;
	text_clear(&dovecot->offered);
	text_add(&dovecot->offered, text_slice(&dovecot->mechanisms));
	if (dovecot->has_complained)
		log_note(LOG_LEVEL_INFO, "dovecot",
			 "auth_dovecot '%s': answers again",
			 text_string(&dovecot->path));
	dovecot->has_complained = false;
	LIST_EACH(item, &dovecot->requests) {
		struct dovecot_request *request =
			CONTAINER(item, struct dovecot_request, link);

		if (request->line.len > 0)
			(void)stream_write(dovecot->stream,
					   text_slice(&request->line));
		secret_cleanse(&request->line);
	}
}

/* --- its answers --- */

static struct dovecot_request *
request_find(const struct dovecot *dovecot, uint32_t id)
{
	LIST_EACH(item, &dovecot->requests) {
		struct dovecot_request *request =
			CONTAINER(item, struct dovecot_request, link);

		if (request->id == id)
			return request;
	}
	return NULL;
}

/* One that can be logged, and stand in an account's place. */
static bool
is_name(struct slice user)
{
	if (user.len == 0 || user.len > USER_NAME_MAX)
		return false;
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.bytes[i] < ' ' ||
		    user.bytes[i] == 0x7f)
			return false;
	return true;
}

static void
take_answer(struct dovecot *dovecot, const struct dovecot_line *line)
{
	struct dovecot_request *request = request_find(dovecot, line->id);
	struct slice user = text_slice(&line->user);
	bool has_name = is_name(user);

	if (request == NULL || !request->is_owed)
		return; /* cancelled */
	owe(request, false);
	if (line->word == DOVECOT_CONT)
		request->answered(request->owner, SASL_CHALLENGE,
				  text_slice(&line->data), SLICE_NONE);
	else if (line->word == DOVECOT_OK && !line->is_no_login)
		request_end(request, has_name ? SASL_IN : SASL_TROUBLE,
			    has_name ? user : SLICE_NONE);
	else
		request_end(request,
			    line->is_temporary ? SASL_TROUBLE : SASL_REFUSED,
			    has_name ? user : SLICE_NONE);
}

/* False: the connection is of no use. */
static bool
take_line(struct dovecot *dovecot, struct slice bytes)
{
	CLEAN(dovecot_line_done) struct dovecot_line line = {0};

	dovecot_line_parse(bytes, &line);
	switch (line.word) {
	case DOVECOT_OTHER:
		return true;
	case DOVECOT_MALFORMED:
		return false;
	case DOVECOT_VERSION:
		return line.major == VERSION_MAJOR;
	case DOVECOT_MECH:
		mechanism_note(dovecot, line.mechanism);
		return dovecot->state == GREETING;
	case DOVECOT_DONE:
		if (dovecot->state != GREETING)
			return false;
		come_up(dovecot);
		return true;
	case DOVECOT_CONT:
	case DOVECOT_OK:
	case DOVECOT_FAIL:
		if (dovecot->state != UP)
			return false;
		take_answer(dovecot, &line);
		return true;
	}
	return false;
}

static void
read_lines(struct dovecot *dovecot)
{
	struct slice rest = stream_input(dovecot->stream);

	while (slice_find(rest, '\n') >= 0) {
		struct slice line;

		(void)slice_split(&rest, '\n', &line);
		if (!take_line(dovecot, line)) {
			fail(dovecot, "it says what version 1 of the protocol "
				      "does not have");
			return;
		}
	}
	if (rest.len > DOVECOT_LINE_MAX) {
		fail(dovecot, "its line is too long");
		return;
	}
	stream_consume(dovecot->stream,
		       stream_input(dovecot->stream).len - rest.len);
	deadline_set(dovecot);
}

/* Whether nobody needs it, so that it rests. */
static bool
rests(struct dovecot *dovecot)
{
	if (dovecot->state != UP || dovecot->requests_count > 0)
		return false;
	stream_close(&dovecot->stream);
	dovecot->state = RESTING;
	return true;
}

static void
on_event(void *owner, enum stream_event event)
{
	struct dovecot *dovecot = owner;

	switch (event) {
	case STREAM_CONNECTED:
		greet(dovecot);
		break;
	case STREAM_DATA:
		read_lines(dovecot);
		break;
	case STREAM_DRAINED:
	case STREAM_SECURED:
		break;
	case STREAM_ENDED:
		if (!rests(dovecot))
			fail(dovecot, "it has closed the connection");
		break;
	case STREAM_EXPIRED:
		if (!rests(dovecot))
			fail(dovecot, "it does not answer");
		break;
	case STREAM_FAILED:
		if (!rests(dovecot))
			fail(dovecot, stream_fault(dovecot->stream)->text);
		break;
	}
}

static void
connect_to(struct dovecot *dovecot)
{
	struct stream_way way = {.to = &dovecot->address};
	struct fault fault = {0};

	ASSERT(dovecot->stream == NULL);
	text_clear(&dovecot->mechanisms);
	if (!stream_connect(dovecot->loop, &way, on_event, dovecot,
			    &dovecot->stream, &fault)) {
		complain(dovecot, fault.text);
		dovecot->state = DOWN;
		start_again_later(dovecot);
		return;
	}
	dovecot->since_ms = clock_now_ms();
	dovecot->state = GREETING;
	deadline_set(dovecot);
}

static void
on_again(struct alarm *alarm)
{
	connect_to(CONTAINER(alarm, struct dovecot, again));
}

bool
dovecot_open(struct loop *loop, struct slice path, struct dovecot **dovecot_out,
	     struct fault *fault)
{
	CLEAN(text_done) struct text name = {0};
	struct dovecot *dovecot;
	struct address address;

	text_addf(&name, "unix:%.*s", SLICE_ARG(path));
	if (!address_parse(text_slice(&name), 0, &address, NULL))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is no path of a socket",
				 SLICE_ARG(path));
	dovecot = memory_new(sizeof(*dovecot));
	dovecot->loop = loop;
	dovecot->address = address;
	dovecot->wait_ms = DOVECOT_AGAIN_MS;
	text_add(&dovecot->path, path);
	text_add_string(&dovecot->offered, "PLAIN LOGIN");
	list_init(&dovecot->requests);
	alarm_init(&dovecot->again, loop, on_again);
	connect_to(dovecot);
	*dovecot_out = dovecot;
	return true;
}

static void
on_closed(struct alarm *alarm)
{
	struct dovecot *dovecot = CONTAINER(alarm, struct dovecot, again);

	text_done(&dovecot->path);
	text_done(&dovecot->mechanisms);
	text_done(&dovecot->offered);
	free(dovecot);
}

void
dovecot_close(struct dovecot **handed_back)
{
	struct dovecot *dovecot = TAKE(*handed_back);

	if (dovecot == NULL)
		return;
	ASSERT(dovecot->requests_count == 0);
	if (dovecot->stream != NULL)
		stream_close(&dovecot->stream);
	alarm_close(&dovecot->again, on_closed);
}

struct slice
dovecot_path(const struct dovecot *dovecot)
{
	return text_slice(&dovecot->path);
}

void
dovecot_mechanisms(const struct dovecot *dovecot, struct text *out)
{
	text_add(out, text_slice(&dovecot->offered));
}

/* --- asking --- */

static void
question_write(const struct dovecot_question *question, uint32_t id,
	       struct text *out)
{
	char client[ADDRESS_TEXT_SIZE];

	text_addf(out, "AUTH\t%u\t%.*s\tservice=smtp\tnologin", id,
		  SLICE_ARG(question->mechanism));
	if (question->is_secured)
		text_add_string(out, "\tsecured");
	if (question->client != NULL) {
		address_write_host(question->client, client);
		text_addf(out, "\trip=%s", client);
	}
	/* The last one, whatever it holds. */
	if (question->has_initial) {
		text_add_string(out, "\tresp=");
		base64_write(out, question->initial);
	}
	text_add_byte(out, '\n');
}

static void
cancel_write(const struct dovecot_request *request)
{
	CLEAN(text_done) struct text line = {0};

	text_addf(&line, "CANCEL\t%u\n", request->id);
	(void)stream_write(request->dovecot->stream, text_slice(&line));
}

/* Where all places are taken, that of who has been silent for longest is given
 * away. False: Dovecot owes an answer to each. */
static bool
make_room(struct dovecot *dovecot)
{
	LIST_EACH(item, &dovecot->requests) {
		struct dovecot_request *request =
			CONTAINER(item, struct dovecot_request, link);

		if (dovecot->requests_count < DOVECOT_REQUESTS_MAX)
			break;
		if (!request->is_owed) {
			cancel_write(request);
			request_lose(request);
		}
	}
	return dovecot->requests_count < DOVECOT_REQUESTS_MAX;
}

bool
dovecot_ask(struct dovecot *dovecot, const struct dovecot_question *question,
	    struct dovecot_request **request_out, struct fault *fault)
{
	struct dovecot_request *request;

	if (dovecot->state == RESTING)
		connect_to(dovecot);
	if (dovecot->state == DOWN)
		return fault_set(fault, FAULT_BUSY,
				 "auth_dovecot '%.*s' does not answer",
				 SLICE_ARG(text_slice(&dovecot->path)));
	if (stream_output_len(dovecot->stream) > STREAM_OUTPUT_HIGH ||
	    !make_room(dovecot))
		return fault_set(fault, FAULT_LIMIT, "too many logins at once");
	request = memory_new(sizeof(*request));
	request->dovecot = dovecot;
	request->id = ++dovecot->last_id;
	request->answered = question->answered;
	request->owner = question->owner;
	list_add_last(&dovecot->requests, &request->link);
	dovecot->requests_count++;
	dovecot->timeout_ms = question->timeout_ms;
	owe(request, true);
	/* Whole, so that no copies are left where it grew. */
	text_room(&request->line, 2 * question->initial.len + 512);
	question_write(question, request->id, &request->line);
	if (dovecot->state == UP) {
		(void)stream_write(dovecot->stream,
				   text_slice(&request->line));
		secret_cleanse(&request->line);
		if (dovecot->owed == 1)
			deadline_set(dovecot);
	}
	*request_out = request;
	return true;
}

bool
dovecot_respond(struct dovecot_request *request, struct slice response,
		struct fault *fault)
{
	CLEAN(secret_cleanse) struct text line = {0};
	struct dovecot *dovecot = request->dovecot;

	if (request->is_lost)
		return fault_set(fault, FAULT_BUSY,
				 "auth_dovecot '%s' has gone in between, or had "
				 "too many to wait for",
				 text_string(&dovecot->path));
	ASSERT(dovecot->state == UP && !request->is_owed);
	text_room(&line, 2 * response.len + 64);
	text_addf(&line, "CONT\t%u\t", request->id);
	base64_write(&line, response);
	text_add_byte(&line, '\n');
	(void)stream_write(dovecot->stream, text_slice(&line));
	list_remove(&request->link);
	list_add_last(&dovecot->requests, &request->link);
	owe(request, true);
	if (dovecot->owed == 1)
		deadline_set(dovecot);
	return true;
}

void
dovecot_cancel(struct dovecot_request **handed_back)
{
	struct dovecot_request *request = TAKE(*handed_back);
	struct dovecot *dovecot;

	if (request == NULL)
		return;
	dovecot = request->dovecot;
	if (dovecot->state == UP && !request->is_lost)
		cancel_write(request);
	request_free(request);
	if (dovecot->stream != NULL)
		deadline_set(dovecot);
}
