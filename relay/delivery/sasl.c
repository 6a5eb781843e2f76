#include "relay/delivery/sasl.h"

#include <gsasl.h>
#include <stdlib.h>

#include "base/base64.h"

/* The best one first. Of what the library knows too, SCRAM-SHA-1 and what hashes
 * with MD5 are no better than PLAIN over TLS, and the -PLUS variants need
 * channel binding. */
static const struct mechanism {
	const char *name;
	bool begins;
} mechanisms_known[] = {
	{"SCRAM-SHA-256", true},
	{"PLAIN", true},
	{"LOGIN", false},
};
#define SCRAM 0

struct sasl {
	const struct mechanism *mechanism;
	Gsasl *library; /* of this conversation: loops share nothing */
	Gsasl_session *session;
	unsigned steps; /* responses made */
	bool is_complete;
};

unsigned
sasl_mechanism(struct slice name)
{
	for (unsigned i = 0; i < COUNT(mechanisms_known); i++)
		if (slice_eq_nocase(name, SLICE(mechanisms_known[i].name)))
			return 1u << i;
	return 0;
}

static bool
library_fault(struct fault *fault, int code)
{
	/* As everywhere: without memory nothing goes on. */
	ASSERT(code != GSASL_MALLOC_ERROR);
	return fault_set(fault, FAULT_SYSTEM, "%s", gsasl_strerror(code));
}

static bool
session_start(struct sasl *sasl, struct slice user, struct slice password,
	      struct fault *fault)
{
	int code = gsasl_init(&sasl->library);

	if (code == GSASL_OK)
		code = gsasl_client_start(sasl->library, sasl->mechanism->name,
					  &sasl->session);
	if (code == GSASL_OK)
		code = gsasl_property_set_raw(sasl->session, GSASL_AUTHID,
					      user.bytes, user.len);
	if (code == GSASL_OK)
		code = gsasl_property_set_raw(sasl->session, GSASL_PASSWORD,
					      password.bytes, password.len);
	return code == GSASL_OK || library_fault(fault, code);
}

bool
sasl_open(unsigned mechanisms, struct slice user, struct slice password,
	  struct sasl **sasl_out, struct fault *fault)
{
	struct sasl *sasl;
	unsigned i = 0;

	while (i < COUNT(mechanisms_known) && (mechanisms & 1u << i) == 0)
		i++;
	if (i == COUNT(mechanisms_known))
		return fault_set(fault, FAULT_ABSENT,
				 "the peer offers none of SCRAM-SHA-256, PLAIN "
				 "and LOGIN");
	sasl = memory_new(sizeof(*sasl));
	sasl->mechanism = &mechanisms_known[i];
	if (!session_start(sasl, user, password, fault)) {
		sasl_close(&sasl);
		return false;
	}
	*sasl_out = sasl;
	return true;
}

void
sasl_close(struct sasl **handed_back)
{
	struct sasl *sasl = TAKE(*handed_back);

	if (sasl == NULL)
		return;
	if (sasl->session != NULL)
		gsasl_finish(sasl->session);
	if (sasl->library != NULL)
		gsasl_done(sasl->library);
	free(sasl);
}

const char *
sasl_name(const struct sasl *sasl)
{
	return sasl->mechanism->name;
}

bool
sasl_begins(const struct sasl *sasl)
{
	return sasl->mechanism->begins;
}

/* The one with the proof: RFC 5802 3, Hi(). */
bool
sasl_takes_long(const struct sasl *sasl)
{
	return sasl->mechanism == &mechanisms_known[SCRAM] && sasl->steps == 1;
}

bool
sasl_is_complete(const struct sasl *sasl)
{
	return sasl->is_complete;
}

/* RFC 5802 5.1: "i=" of the peer's first message. Where there is none, the
 * library will say so. */
static bool
iterations_check(struct slice challenge, struct fault *fault)
{
	struct slice rest = challenge, attribute;
	uint64_t count;

	while (slice_split(&rest, ',', &attribute)) {
		if (!slice_starts(attribute, SLICE("i=")))
			continue;
		if (!slice_number(slice_from(attribute, 2), &count) ||
		    count < SASL_ITERATIONS_MIN || count > SASL_ITERATIONS_MAX)
			return fault_set(
				fault, FAULT_INPUT,
				"the peer wants %.*s iterations, and %d to %d "
				"are taken", SLICE_ARG(slice_from(attribute, 2)),
				SASL_ITERATIONS_MIN, SASL_ITERATIONS_MAX);
	}
	return true;
}

bool
sasl_respond(struct sasl *sasl, struct slice challenge, struct text *response,
	     struct fault *fault)
{
	CLEAN(text_done) struct text bytes = {0};
	char *output = NULL;
	size_t len = 0;
	int code;

	if (sasl->is_complete)
		return fault_set(fault, FAULT_INPUT,
				 "the peer asks for more than there is to say");
	if (!base64_read(&bytes, challenge))
		return fault_set(fault, FAULT_INPUT,
				 "the peer's challenge is not base64");
	if (sasl->mechanism == &mechanisms_known[SCRAM] &&
	    !iterations_check(text_slice(&bytes), fault))
		return false;
	code = gsasl_step(sasl->session, text_string(&bytes), bytes.len,
			  &output, &len);
	if (code != GSASL_OK && code != GSASL_NEEDS_MORE)
		return library_fault(fault, code);
	sasl->steps++;
	sasl->is_complete = code == GSASL_OK;
	base64_write(response, slice_of(output, len));
	if (output != NULL)
		explicit_bzero(output, len);
	gsasl_free(output);
	return true;
}
