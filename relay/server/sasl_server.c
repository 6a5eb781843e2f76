#include "relay/server/sasl_server.h"

#include <gsasl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/base64.h"
#include "milter/digest.h"
#include "relay/server/password.h"

struct sasl_server {
	const struct users *users;
	bool (*waits)(const void *owner, struct slice name);
	const void *owner;
	Gsasl *library; /* of this conversation: threads share nothing */
	Gsasl_session *session;
	struct text user;
	struct slice response; /* of the step under way */
	bool is_login, is_plain, is_external, has_begun;
	unsigned login_prompts;
	bool is_proven; /* only the peer's empty response is awaited */
};

static bool
is_login(struct slice mechanism)
{
	return slice_eq_nocase(mechanism, SLICE("LOGIN"));
}

static bool
is_scram(struct slice mechanism)
{
	return slice_eq_nocase(mechanism, SLICE("SCRAM-SHA-256"));
}

const char *
sasl_server_mechanisms(const struct users *users)
{
	bool all_have_keys = users_have(users, USER_SCRAM) &&
			     !users_have(users, USER_CRYPT);

	return all_have_keys ? "SCRAM-SHA-256 PLAIN LOGIN" : "PLAIN LOGIN";
}

/* --- whom the library asks about --- */

static struct slice
property(Gsasl_session *session, Gsasl_property name)
{
	return SLICE(gsasl_property_fast(session, name));
}

static void
user_note(struct sasl_server *server)
{
	text_clear(&server->user);
	text_add(&server->user, property(server->session, GSASL_AUTHID));
}

/* RFC 4616 2: nobody acts for another here. */
static bool
is_for_himself(const struct sasl_server *server)
{
	struct slice other = property(server->session, GSASL_AUTHZID);

	return other.len == 0 ||
	       slice_eq(other, server->is_external
				       ? text_slice(&server->user)
				       : property(server->session,
						  GSASL_AUTHID));
}

static pthread_once_t secret_once = PTHREAD_ONCE_INIT;
static char secret[DIGEST_SIZE];

static void
secret_make(void)
{
	ASSERT(getrandom(secret, sizeof(secret), 0) == (ssize_t)sizeof(secret));
}

/* For who does not exist, the same each time he is asked about, and like
 * anybody's to who does not know the secret. */
static void
made_up(struct slice name, const char *what, uint8_t bytes[DIGEST_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();

	pthread_once(&secret_once, secret_make);
	digest_feed(digest, slice_of(secret, sizeof(secret)));
	digest_feed(digest, SLICE(what));
	digest_feed(digest, name);
	digest_finish(digest, bytes);
}

static uint32_t
made_up_number(struct slice name)
{
	uint8_t bytes[DIGEST_SIZE];
	uint32_t number;

	made_up(name, "like whom", bytes);
	memcpy(&number, bytes, sizeof(number));
	return number;
}

/* PLAIN's password, behind the last NUL (RFC 4616 2). */
static struct slice
plain_password(struct slice response)
{
	ptrdiff_t nul = slice_find_last(response, '\0');

	return nul < 0 ? SLICE_NONE : slice_from(response, (size_t)nul + 1);
}

/* As it was typed, in whatever charset: with PLAIN the library would prepare it
 * (RFC 4013), which the hashes of crypt(3) were not made for, and would refuse
 * what is not UTF-8, which with LOGIN it does not. */
static struct slice
password_given(const struct sasl_server *server)
{
	return server->is_plain ? plain_password(server->response)
				: property(server->session, GSASL_PASSWORD);
}

/* What the library is given: of PLAIN's password only that there is one. */
static void
response_copy(const struct sasl_server *server, struct slice response,
	      struct text *out)
{
	struct slice password =
		server->is_plain ? plain_password(response) : SLICE_NONE;

	text_add(out, slice_sub(response, 0, response.len - password.len));
	if (password.len > 0)
		text_add_byte(out, 'x');
}

/* Each entry takes its own time to hash: a name that does not exist takes that
 * of one which does. */
static int
validate(struct sasl_server *server)
{
	struct slice name = property(server->session, GSASL_AUTHID);
	struct slice password = password_given(server);
	const struct user *user = users_find(server->users, name);
	bool is_known = user != NULL;

	user_note(server);
	if (server->waits != NULL && server->waits(server->owner, name))
		return GSASL_CRYPTO_ERROR;
	if (!is_known)
		user = users_decoy(server->users, made_up_number(name));
	if (!password_matches(user, password) || !is_known ||
	    !is_for_himself(server))
		return GSASL_AUTHENTICATION_ERROR;
	return GSASL_OK;
}

/* size: of what is made up. */
static int
scram_property_set(struct sasl_server *server, Gsasl_property which,
		   const char *what, size_t size, struct slice stored)
{
	CLEAN(secret_cleanse) struct text value = {0};
	uint8_t bytes[DIGEST_SIZE];

	made_up(text_slice(&server->user), what, bytes);
	if (stored.len > 0)
		text_add(&value, stored);
	else
		base64_write(&value, slice_of(bytes, size));
	return gsasl_property_set(server->session, which, text_string(&value));
}

static size_t
salt_size(const struct user *user)
{
	CLEAN(text_done) struct text salt = {0};

	ASSERT(base64_read(&salt, user->salt)); /* users_new() has checked it */
	return salt.len < DIGEST_SIZE ? salt.len : DIGEST_SIZE;
}

/* Who has no keys for SCRAM is treated as who does not exist: with salt and
 * iterations such as somebody's. */
static int
scram_keys(struct sasl_server *server)
{
	struct user nobody = {.scheme = USER_SCRAM};
	const struct user *user, *decoy;
	CLEAN(text_done) struct text iterations = {0};
	int code;

	user_note(server);
	user = users_find(server->users, text_slice(&server->user));
	decoy = users_decoy_of(server->users, USER_SCRAM,
			       made_up_number(text_slice(&server->user)));
	ASSERT(decoy != NULL); /* or the mechanism were not known */
	if (user == NULL || user->scheme != USER_SCRAM)
		user = &nobody;
	text_add(&iterations, user == &nobody ? decoy->iterations
					      : user->iterations);
	code = gsasl_property_set(server->session, GSASL_SCRAM_ITER,
				  text_string(&iterations));
	if (code == GSASL_OK)
		code = scram_property_set(server, GSASL_SCRAM_SALT, "salt",
					  salt_size(decoy), user->salt);
	if (code == GSASL_OK)
		code = scram_property_set(server, GSASL_SCRAM_STOREDKEY,
					  "stored", DIGEST_SIZE,
					  user->stored_key);
	if (code == GSASL_OK)
		code = scram_property_set(server, GSASL_SCRAM_SERVERKEY,
					  "server", DIGEST_SIZE,
					  user->server_key);
	return code;
}

static int
on_question(Gsasl *library, Gsasl_session *session, Gsasl_property asked)
{
	struct sasl_server *server = gsasl_session_hook_get(session);

	(void)library;
	if (asked == GSASL_VALIDATE_SIMPLE)
		return validate(server);
	if (asked == GSASL_VALIDATE_EXTERNAL)
		return is_for_himself(server) ? GSASL_OK
					      : GSASL_AUTHENTICATION_ERROR;
	if (asked == GSASL_SCRAM_ITER || asked == GSASL_SCRAM_SALT ||
	    asked == GSASL_SCRAM_STOREDKEY || asked == GSASL_SCRAM_SERVERKEY)
		return scram_keys(server);
	return GSASL_NO_CALLBACK;
}

/* --- the conversation --- */

bool
sasl_server_open(const struct sasl_setup *setup,
		 struct sasl_server **server_out, struct fault *fault)
{
	struct sasl_server *server = memory_new(sizeof(*server));
	const char *name = "PLAIN";
	int code;

	server->users = setup->users;
	server->waits = setup->waits;
	server->owner = setup->owner;
	server->is_login = is_login(setup->mechanism);
	server->is_external =
		slice_eq_nocase(setup->mechanism, SLICE(SASL_EXTERNAL));
	if (server->is_external)
		text_add(&server->user, setup->certified);
	if (server->is_external)
		name = SASL_EXTERNAL;
	else if (server->is_login)
		name = "LOGIN";
	else if (is_scram(setup->mechanism))
		name = "SCRAM-SHA-256";
	else
		server->is_plain = true;
	code = gsasl_init(&server->library);
	if (code == GSASL_OK) {
		gsasl_callback_set(server->library, on_question);
		code = gsasl_server_start(server->library, name,
					  &server->session);
	}
	if (code != GSASL_OK) {
		sasl_server_close(&server);
		return fault_set(fault, FAULT_SYSTEM, "%s",
				 gsasl_strerror(code));
	}
	gsasl_session_hook_set(server->session, server);
	*server_out = server;
	return true;
}

void
sasl_server_close(struct sasl_server **handed_back)
{
	struct sasl_server *server = TAKE(*handed_back);

	if (server == NULL)
		return;
	if (server->session != NULL)
		gsasl_finish(server->session);
	if (server->library != NULL)
		gsasl_done(server->library);
	text_done(&server->user);
	free(server);
}

struct slice
sasl_server_user(const struct sasl_server *server)
{
	return text_slice(&server->user);
}

static void
challenge_add(struct sasl_server *server, struct slice output,
	      struct text *challenge_out)
{
	if (server->is_login)
		text_add_string(challenge_out, server->login_prompts++ == 0
						       ? SASL_LOGIN_NAME
						       : SASL_LOGIN_PASSWORD);
	else
		text_add(challenge_out, output);
}

static enum sasl_verdict
verdict_of(struct sasl_server *server, int code, struct slice output,
	   struct text *challenge_out)
{
	switch (code) {
	case GSASL_NEEDS_MORE:
		challenge_add(server, output, challenge_out);
		return SASL_CHALLENGE;
	case GSASL_OK:
		if (!is_for_himself(server))
			return SASL_REFUSED;
		if (output.len == 0)
			return SASL_IN;
		/* RFC 4954 4: what the mechanism says on success is one more
		 * challenge, and its response is empty. */
		server->is_proven = true;
		text_add(challenge_out, output);
		return SASL_CHALLENGE;
	case GSASL_MECHANISM_PARSE_ERROR:
	case GSASL_BASE64_ERROR:
		return SASL_MALFORMED;
	case GSASL_MALLOC_ERROR:
	case GSASL_CRYPTO_ERROR:
		return SASL_TROUBLE;
	default:
		return SASL_REFUSED;
	}
}

static enum sasl_verdict
step(struct sasl_server *server, struct slice response,
     struct text *challenge_out)
{
	CLEAN(secret_cleanse) struct text copy = {0};
	char *output = NULL;
	size_t len = 0;
	enum sasl_verdict verdict;
	int code;

	/* The library reads on to a NUL in places. */
	response_copy(server, response, &copy);
	server->response = response;
	code = gsasl_step(server->session, text_string(&copy), copy.len,
			  &output, &len);
	server->response = SLICE_NONE;
	verdict = verdict_of(server, code, slice_of(output, len),
			     challenge_out);
	gsasl_free(output);
	return verdict;
}

enum sasl_verdict
sasl_server_step(struct sasl_server *server, bool has_response,
		 struct slice response, struct text *challenge_out)
{
	bool is_first = !server->has_begun;

	server->has_begun = true;
	if (server->is_proven)
		return response.len == 0 ? SASL_IN : SASL_MALFORMED;
	/* The library takes no response for an empty one. */
	if (server->is_external && !has_response)
		return SASL_CHALLENGE;
	/* LOGIN's first word is the server's; who names himself behind AUTH
	 * has answered it already. */
	if (is_first && server->is_login && has_response) {
		CLEAN(text_done) struct text passed_over = {0};

		if (step(server, SLICE_NONE, &passed_over) != SASL_CHALLENGE)
			return SASL_TROUBLE;
	}
	return step(server, response, challenge_out);
}
