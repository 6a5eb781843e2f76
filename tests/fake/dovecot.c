#include "tests/fake/dovecot.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/server/share.h"

#define NAME_SIZE 64

struct dovecot_request {
	struct dovecot_question question;
	struct text name, response; /* the last but one, and the last */
	bool has_response;
};

static struct dovecot_request *waiting;
static bool cannot;

void
fake_dovecot_is_down(bool is_down)
{
	cannot = is_down;
}

struct dovecot *
share_dovecot(struct share *share, struct slice path)
{
	ASSERT(path.len > 0);
	return share->is_stopping ? NULL : (struct dovecot *)share;
}

void
dovecot_mechanisms(const struct dovecot *dovecot, struct text *out)
{
	ASSERT(dovecot != NULL);
	text_add_string(out, "PLAIN LOGIN");
}

bool
dovecot_ask(struct dovecot *dovecot, const struct dovecot_question *question,
	    struct dovecot_request **request_out, struct fault *fault)
{
	struct dovecot_request *request;

	ASSERT(dovecot != NULL && waiting == NULL);
	if (cannot)
		return fault_set(fault, FAULT_BUSY, "down");
	request = memory_new(sizeof(*request));
	request->question = *question;
	request->has_response = question->has_initial;
	text_add(&request->response, question->initial);
	waiting = *request_out = request;
	return true;
}

bool
dovecot_respond(struct dovecot_request *request, struct slice response,
		struct fault *fault)
{
	ASSERT(waiting == NULL);
	if (cannot)
		return fault_set(fault, FAULT_BUSY, "gone");
	request->has_response = true;
	text_clear(&request->name);
	text_add(&request->name, text_slice(&request->response));
	text_clear(&request->response);
	text_add(&request->response, response);
	waiting = request;
	return true;
}

void
dovecot_cancel(struct dovecot_request **handed_back)
{
	struct dovecot_request *request = TAKE(*handed_back);

	if (request == NULL)
		return;
	if (waiting == request)
		waiting = NULL;
	text_done(&request->name);
	text_done(&request->response);
	free(request);
}

static bool
is_login(const struct dovecot_request *request)
{
	return slice_eq_nocase(request->question.mechanism, SLICE("LOGIN"));
}

/* LOGIN's name has been said, and no password. */
static bool
is_half(const struct dovecot_request *request)
{
	return is_login(request) && request->name.len == 0;
}

/* PLAIN's, or LOGIN's. */
static void
name_of(const struct dovecot_request *request, char name[NAME_SIZE])
{
	struct slice given = text_slice(&request->response), said;

	if (is_login(request))
		said = text_slice(&request->name);
	else if (!slice_split(&given, '\0', &said) ||
		 !slice_split(&given, '\0', &said))
		said = SLICE_NONE;
	snprintf(name, NAME_SIZE, "%.*s", SLICE_ARG(said));
}

bool
fake_dovecot_turn(void)
{
	char name[NAME_SIZE];
	struct dovecot_request *request = TAKE(waiting);
	struct dovecot_question question;
	enum sasl_verdict verdict = SASL_REFUSED;
	struct slice given;

	if (request == NULL)
		return false;
	question = request->question;
	if (!request->has_response || is_half(request)) {
		question.answered(question.owner, SASL_CHALLENGE, SLICE_NONE,
				  SLICE_NONE);
		return true;
	}
	given = text_slice(&request->response);
	ASSERT(!slice_ends_nocase(given, SLICE("never")));
	if (slice_eq(given, slice_of("\0user\0secret", 12)) ||
	    (is_login(request) && slice_eq(given, SLICE("secret")) &&
	     slice_eq(text_slice(&request->name), SLICE("user"))))
		verdict = SASL_IN;
	else if (slice_eq(given, slice_of("\0user\0down", 10)))
		verdict = SASL_TROUBLE;
	name_of(request, name);
	dovecot_cancel(&request);
	question.answered(question.owner, verdict, SLICE_NONE, SLICE(name));
	return true;
}
