#include "relay/delivery/sasl.h"

#include <criterion/criterion.h>
#include <gsasl.h>

#include "base/base64.h"

/* GNU SASL's own server is the peer. */
static const char *iterations;

static int
server_answers(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
	(void)library;
	if (property == GSASL_PASSWORD)
		return gsasl_property_set(session, property, "p\xc3\xa4ss");
	if (property == GSASL_SCRAM_ITER)
		return gsasl_property_set(session, property, iterations);
	if (property == GSASL_VALIDATE_SIMPLE)
		return strcmp(gsasl_property_get(session, GSASL_AUTHID),
			      "user") == 0 &&
				       strcmp(gsasl_property_get(
						      session, GSASL_PASSWORD),
					      "p\xc3\xa4ss") == 0
			       ? GSASL_OK
			       : GSASL_AUTHENTICATION_ERROR;
	return GSASL_NO_CALLBACK;
}

struct peer {
	Gsasl *library;
	Gsasl_session *session;
};

static void
peer_start(struct peer *peer, const char *mechanism)
{
	iterations = "4096";
	cr_assert_eq(gsasl_init(&peer->library), GSASL_OK);
	gsasl_callback_set(peer->library, server_answers);
	cr_assert_eq(gsasl_server_start(peer->library, mechanism,
					&peer->session), GSASL_OK);
}

static void
peer_end(struct peer *peer)
{
	gsasl_finish(peer->session);
	gsasl_done(peer->library);
}

/* Says what the peer answers; true: it is content. It is given bytes that end
 * with a NUL: GNU SASL's server reads up to one. */
static bool
peer_says(struct peer *peer, struct text *said, struct text *challenge_out)
{
	CLEAN(text_done) struct text bytes = {0};
	char *output = NULL;
	size_t len = 0;
	int code;

	cr_assert(base64_read(&bytes, text_slice(said)));
	code = gsasl_step(peer->session, text_string(&bytes), bytes.len,
			  &output, &len);
	cr_assert(code == GSASL_OK || code == GSASL_NEEDS_MORE, "%s",
		  gsasl_strerror(code));
	text_clear(said);
	text_clear(challenge_out);
	base64_write(challenge_out, slice_of(output, len));
	gsasl_free(output);
	return code == GSASL_OK;
}

static struct sasl *
ours(const char *mechanism)
{
	struct sasl *sasl = NULL;
	struct fault fault;

	cr_assert(sasl_open(sasl_mechanism(SLICE(mechanism)), SLICE("user"),
			    SLICE("p\xc3\xa4ss"), &sasl, &fault));
	cr_expect_str_eq(sasl_name(sasl), mechanism);
	return sasl;
}

Test(sasl, logs_in_with_each)
{
	static const char *const names[] = {"SCRAM-SHA-256", "PLAIN", "LOGIN"};

	for (size_t i = 0; i < COUNT(names); i++) {
		CLEAN(text_done) struct text said = {0}, challenge = {0};
		struct sasl *sasl = ours(names[i]);
		struct peer peer;
		struct fault fault;
		bool is_in = false;

		peer_start(&peer, names[i]);
		if (sasl_begins(sasl))
			cr_assert(sasl_respond(sasl, SLICE_NONE, &said,
					       &fault));
		is_in = peer_says(&peer, &said, &challenge);
		while (!is_in || challenge.len > 0) {
			cr_assert(sasl_respond(sasl, text_slice(&challenge),
					       &said, &fault),
				  "%s: %s", names[i], fault.text);
			if (is_in)
				break;
			is_in = peer_says(&peer, &said, &challenge);
		}
		cr_expect(sasl_is_complete(sasl), "%s", names[i]);
		cr_expect_not(sasl_respond(sasl, SLICE_NONE, &said, &fault),
			      "%s: goes on", names[i]);
		sasl_close(&sasl);
		cr_expect_null(sasl);
		peer_end(&peer);
	}
}

Test(sasl, takes_the_best_offered)
{
	static const struct {
		const char *a, *b, *chosen;
	} rows[] = {
		{"LOGIN", "plain", "PLAIN"},
		{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256"},
		{"LOGIN", "CRAM-MD5", "LOGIN"},
		{"SCRAM-SHA-256-PLUS", "XOAUTH2", NULL},
		{"", "SCRAM-SHA-1", NULL},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sasl *sasl = NULL;
		struct fault fault;
		bool is_open = sasl_open(sasl_mechanism(SLICE(rows[i].a)) |
						 sasl_mechanism(
							 SLICE(rows[i].b)),
					 SLICE("u"), SLICE("p"), &sasl, &fault);

		cr_expect_eq(is_open, rows[i].chosen != NULL, "%zu", i);
		if (is_open)
			cr_expect_str_eq(sasl_name(sasl), rows[i].chosen);
		else
			cr_expect_eq(fault.kind, FAULT_ABSENT);
		sasl_close(&sasl);
	}
}

/* Up to the peer's first message; the test may then change it. */
static struct sasl *
scram(struct peer *peer, struct text *challenge)
{
	CLEAN(text_done) struct text said = {0};
	struct sasl *sasl = ours("SCRAM-SHA-256");
	struct fault fault;

	peer_start(peer, "SCRAM-SHA-256");
	cr_assert(sasl_respond(sasl, SLICE_NONE, &said, &fault));
	cr_assert_not(peer_says(peer, &said, challenge));
	return sasl;
}

static void
base64_replace(struct text *challenge, const char *at, const char *with)
{
	CLEAN(text_done) struct text bytes = {0};
	char *found;

	cr_assert(base64_read(&bytes, text_slice(challenge)));
	found = strstr(text_string(&bytes), at);
	cr_assert_not_null(found);
	bytes.len = (size_t)(found - bytes.bytes);
	text_add_string(&bytes, with);
	text_clear(challenge);
	base64_write(challenge, text_slice(&bytes));
}

Test(sasl, refuses_iterations_out_of_bounds)
{
	static const struct {
		const char *with;
		bool is_taken;
	} rows[] = {
		{",i=4096", true},        {",i=4095", false},
		{",i=0", false},          {",i=100000", true},
		{",i=100001", false},     {",i=4294967295", false},
		{",i=-1", false},         {",i=18446744073709551616", false},
		{",i=", false},           {",i=4096,i=4294967295", false},
		{"", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text said = {0}, challenge = {0};
		struct fault fault;
		struct peer peer;
		struct sasl *sasl = scram(&peer, &challenge);

		base64_replace(&challenge, ",i=", rows[i].with);
		cr_expect_eq(sasl_respond(sasl, text_slice(&challenge), &said,
					  &fault), rows[i].is_taken, "%s",
			     rows[i].with);
		cr_expect_not(sasl_is_complete(sasl));
		sasl_close(&sasl);
		peer_end(&peer);
	}
}

/* Whoever does not know the password cannot sign: RFC 5802 5.1, "v=". */
Test(sasl, wants_the_peers_proof)
{
	CLEAN(text_done) struct text said = {0}, challenge = {0};
	struct fault fault;
	struct peer peer;
	struct sasl *sasl = scram(&peer, &challenge);

	cr_assert(sasl_respond(sasl, text_slice(&challenge), &said, &fault));
	cr_expect_not(sasl_is_complete(sasl));
	cr_assert(peer_says(&peer, &said, &challenge));
	base64_replace(&challenge, "v=", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
	cr_expect_not(sasl_respond(sasl, text_slice(&challenge), &said,
				   &fault));
	cr_expect_not(sasl_is_complete(sasl));
	sasl_close(&sasl);
	peer_end(&peer);
}

Test(sasl, refuses_what_is_no_challenge)
{
	static const char *const rows[] = {"?", "not base64", "AAA", "cj0=",
					   "AAAA"};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text said = {0};
		struct sasl *sasl = ours("SCRAM-SHA-256");
		struct fault fault;

		cr_assert(sasl_respond(sasl, SLICE_NONE, &said, &fault));
		text_clear(&said);
		cr_expect_not(sasl_respond(sasl, SLICE(rows[i]), &said,
					   &fault), "%s", rows[i]);
		cr_expect_eq(said.len, 0);
		sasl_close(&sasl);
	}
}
