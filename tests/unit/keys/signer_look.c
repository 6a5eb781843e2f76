#include <criterion/criterion.h>
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "tests/unit/keys/signer_stage.h"

#define MANY 12

/* In the library's place: a signature that never comes, for the digest that is
 * all of this. */
#define ENDLESS 0xee

static int (*real_sign)(EVP_PKEY_CTX *context, unsigned char *signature,
			size_t *len, const unsigned char *digest,
			size_t digest_len);

/* Before signer_role.c's. */
static __attribute__((constructor(101))) void
find_real(void)
{
	void *symbol = dlsym(RTLD_NEXT, "EVP_PKEY_sign");

	memcpy(&real_sign, &symbol, sizeof(real_sign));
}

int
EVP_PKEY_sign(EVP_PKEY_CTX *context, unsigned char *signature, size_t *len,
	      const unsigned char *digest, size_t digest_len)
{
	volatile bool is_endless = digest[1] == ENDLESS &&
				   digest[digest_len - 1] == ENDLESS;

	while (is_endless)
		continue;
	return real_sign(context, signature, len, digest, digest_len);
}

/* The answer to the last look has come. */
static void
answer_wait(const struct stage *stage)
{
	struct pollfd answer = {.fd = stage->process.control,
				.events = POLLIN};

	cr_assert_eq(poll(&answer, 1, 60000), 1);
}

/* A thread may still be at the end of what it has just done. */
static void
expect_going_on(struct stage *stage)
{
	for (unsigned i = 0; i < MANY; i++) {
		(void)!signer_look(&stage->process);
		cr_expect_eq(stage->process.looks_unanswered, 0);
		answer_wait(stage);
	}
}

Test(signer_look, one_that_goes_on)
{
	struct stage stage;
	struct signer_client *client;

	stage_start(&stage);
	client = attach(&stage);
	expect_going_on(&stage);
	cr_expect(signs(client, public_at(&stage, 0)));
	expect_going_on(&stage);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_look, counts_its_clients)
{
	struct stage stage;
	struct signer_client *clients[2];

	stage_start(&stage);
	for (size_t i = 0; i < COUNT(clients); i++)
		clients[i] = attach(&stage);
	expect_going_on(&stage);
	(void)!signer_look(&stage.process);
	cr_expect_eq(stage.process.clients, 2);
	cr_expect_gt(stage.process.heard, 0);
	signer_client_free(clients[0]);
	while (stage.process.clients == 2)
		(void)!signer_look(&stage.process);
	cr_expect_eq(stage.process.clients, 1);
	signer_client_free(clients[1]);
	stage_stop(&stage, false);
}

/* The answer to a look may come between those to a load. */
Test(signer_look, beside_all_else_that_is_asked)
{
	struct stage stage;
	struct fault fault = {0};

	stage_start(&stage);
	for (unsigned i = 0; i < MANY; i++) {
		cr_expect_eq(signer_look(&stage.process), 0);
		cr_expect(stage_load(&stage, false, &fault), "%s", fault.text);
	}
	cr_expect_eq(signer_look(&stage.process), 0);
	stage_stop(&stage, false);
}

Test(signer_look, one_that_stands_still)
{
	struct stage stage;
	int status;

	stage_start(&stage);
	expect_going_on(&stage);
	kill(stage.process.pid, SIGSTOP);
	cr_assert_eq(waitpid(stage.process.pid, &status, WUNTRACED),
		     stage.process.pid);
	/* The last answer may have come before it stopped. */
	(void)!signer_look(&stage.process);
	for (unsigned i = 1; i < MANY; i++)
		cr_expect_eq(signer_look(&stage.process), i);
	kill(stage.process.pid, SIGCONT);
	answer_wait(&stage);
	expect_going_on(&stage);
	stage_stop(&stage, false);
}

/* Takes answers until so many of the calls are left. */
static void
answers_take(struct signer_client *client, size_t left)
{
	while (signer_client_open_calls(client) > left) {
		struct pollfd event = {
			.fd = signer_client_descriptor(client),
			.events = POLLIN};

		if (signer_client_wants_write(client))
			event.events |= POLLOUT;
		cr_assert_eq(poll(&event, 1, 60000), 1);
		signer_client_write(client);
		cr_assert(signer_client_read(client));
	}
}

/* More than it has threads for waits all the time, and it gets through it. One
 * thread may have to wait for a processor meanwhile. */
Test(signer_look, one_that_is_busy)
{
	struct stage stage;
	struct signer_client *client;
	static struct ask asks[2000];

	stage_start(&stage);
	client = attach(&stage);
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, 0), i);
		signer_client_start(client, &asks[i].call);
	}
	for (size_t left = COUNT(asks); left > 0; left -= 200) {
		cr_expect_lt(signer_look(&stage.process), 3);
		answers_take(client, left - 200);
		answer_wait(&stage);
	}
	signer_client_free(client);
	stage_stop(&stage, false);
}

/* The others go on; one of several is enough. */
Test(signer_look, a_thread_that_loops)
{
	struct stage stage;
	struct signer_client *client;
	struct ask ask;
	unsigned looks, before = 0;

	stage_start(&stage);
	client = attach(&stage);
	ask_init(&ask, public_at(&stage, 0), 1);
	memset(ask.call.digest, ENDLESS, KEY_DIGEST_SIZE);
	signer_client_start(client, &ask.call);
	while ((looks = signer_look(&stage.process)) < MANY) {
		cr_assert(looks == before || looks == before + 1);
		before = looks;
		answer_wait(&stage);
	}
	signer_client_cancel(&ask.call);
	kill(stage.process.pid, SIGKILL);
	signer_client_free(client);
	stage_stop(&stage, true);
}

Test(signer_look, one_that_has_ended)
{
	struct stage stage;
	int status;

	stage_start(&stage);
	kill(stage.process.pid, SIGKILL);
	cr_assert_eq(waitpid(stage.process.pid, &status, 0),
		     stage.process.pid);
	for (unsigned i = 1; i < MANY; i++)
		cr_expect_eq(signer_look(&stage.process), i);
	stage.process.pid = -1;
	stage_stop(&stage, true);
}
