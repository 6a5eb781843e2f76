#include "keys/signer_pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/keys/signer_stage.h"

#define SOCKETS 2

static void
sockets_open(struct stage *stage, int *sockets)
{
	struct fault fault = {0};

	for (size_t i = 0; i < SOCKETS; i++)
		cr_assert(signer_attach(&stage->process, &sockets[i], &fault),
			  "%s", fault.text);
}

/* One thread that asks: for both keys at once, again and again. */
struct asker {
	pthread_t thread;
	struct keyring *keyring; /* its own: the stage's may go meanwhile */
	struct signer_pool *pool;
	unsigned number, times;
	unsigned signed_count;
	struct fault fault; /* the last */
};

static bool
is_signed(const struct signer_pool_call *call, const struct key_public *key)
{
	return key_public_verify(key, call->call.digest,
				 slice_of(call->call.signature,
					  call->call.signature_len));
}

static void *
ask(void *owner)
{
	struct asker *asker = owner;

	const struct keyring_selector *selectors =
		keyring_domain_at(asker->keyring, 0)->selectors;

	for (unsigned i = 0; i < asker->times; i++) {
		struct signer_pool_call calls[2] = {0};

		for (size_t k = 0; k < COUNT(calls); k++) {
			calls[k].call.key = *key_public_id(selectors[k].key);
			memset(calls[k].call.digest,
			       (int)(asker->number * 7 + i), KEY_DIGEST_SIZE);
		}
		if (signer_pool_sign(asker->pool, calls, COUNT(calls),
				     &asker->fault) &&
		    is_signed(&calls[0], selectors[0].key) &&
		    is_signed(&calls[1], selectors[1].key))
			asker->signed_count++;
	}
	return NULL;
}

static void
askers_start(struct asker *askers, size_t count, struct stage *stage,
	     struct signer_pool *pool, unsigned times)
{
	for (size_t i = 0; i < count; i++) {
		askers[i] = (struct asker){.keyring =
						   keyring_ref(stage->keyring),
					   .pool = pool,
					   .number = (unsigned)i,
					   .times = times};
		cr_assert_eq(pthread_create(&askers[i].thread, NULL, ask,
					    &askers[i]),
			     0);
	}
}

static void
askers_join(struct asker *askers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		pthread_join(askers[i].thread, NULL);
		keyring_unref(askers[i].keyring);
		cr_expect_eq(askers[i].signed_count, askers[i].times,
			     "asker %zu: %s", i, askers[i].fault.text);
	}
}

Test(signer_pool, more_threads_than_sockets)
{
	struct stage stage;
	struct asker askers[8];
	struct signer_pool *pool;
	int sockets[SOCKETS];

	stage_start(&stage);
	sockets_open(&stage, sockets);
	pool = signer_pool_new(sockets, SOCKETS);
	askers_start(askers, COUNT(askers), &stage, pool, 10);
	/* A reload in between: the old sockets answer what they were asked. */
	for (int i = 0; i < 3; i++) {
		sockets_open(&stage, sockets);
		signer_pool_replace(pool, sockets, SOCKETS);
	}
	askers_join(askers, COUNT(askers));
	signer_pool_free(pool);
	stage_stop(&stage, false);
}

Test(signer_pool, what_is_under_way_goes_to_the_next_signer)
{
	struct stage stage;
	struct asker askers[4];
	struct signer_pool *pool;
	struct fault fault = {0};
	int sockets[SOCKETS];

	stage_start(&stage);
	sockets_open(&stage, sockets);
	pool = signer_pool_new(sockets, SOCKETS);
	kill(stage.process.pid, SIGSTOP);
	askers_start(askers, COUNT(askers), &stage, pool, 2);
	usleep(20000); /* some wait for an answer, some for a socket */
	kill(stage.process.pid, SIGKILL);
	signer_stop(&stage.process);
	cr_assert(signer_start(0, 0, &stage.process, &fault), "%s",
		  fault.text);
	cr_assert(stage_load(&stage, false, &fault), "%s", fault.text);
	sockets_open(&stage, sockets);
	signer_pool_replace(pool, sockets, SOCKETS);
	askers_join(askers, COUNT(askers));
	signer_pool_free(pool);
	stage_stop(&stage, false);
}

Test(signer_pool, a_call_that_fails_is_the_one_without_a_signature)
{
	struct stage stage;
	struct signer_pool_call calls[2] = {0};
	struct signer_pool *pool;
	struct fault fault = {0};
	int sockets[SOCKETS];

	stage_start(&stage);
	sockets_open(&stage, sockets);
	pool = signer_pool_new(sockets, SOCKETS);
	calls[0].call.key = *key_public_id(public_at(&stage, 1));
	memset(&calls[1].call.key, 9, sizeof(calls[1].call.key));
	cr_expect(!signer_pool_sign(pool, calls, COUNT(calls), &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	cr_expect(is_signed(&calls[0], public_at(&stage, 1)));
	cr_expect_eq(calls[1].call.signature_len, 0);
	signer_pool_free(pool);
	stage_stop(&stage, false);
}
