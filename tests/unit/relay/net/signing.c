#include "relay/net/signing.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "tests/fake/clock.h"
#include "tests/unit/keys/signer_stage.h"

/* A loop with its way to a real signer process. */
static struct stage stage;
static struct loop loop;
static struct signing *signing;
static struct keyring *first_keyring; /* what orders before a death hold */

struct order {
	struct signing_order order;
	struct signature signatures[2];
	int answers;
	enum fault_kind kind;
};

static int
attach_descriptor(void)
{
	struct fault fault = {0};
	int descriptor = -1;

	cr_assert(signer_attach(&stage.process, &descriptor, &fault), "%s",
		  fault.text);
	return descriptor;
}

static void
open_all(void)
{
	struct fault fault = {0};

	stage_start(&stage);
	cr_assert(loop_init(&loop, 0, &fault), "%s", fault.text);
	cr_assert(signing_new(&loop, attach_descriptor(), &signing, &fault),
		  "%s", fault.text);
}

static void
close_all(bool was_killed)
{
	signing_close(signing);
	loop_stop(&loop);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	loop_done(&loop);
	keyring_unref(first_keyring);
	stage_stop(&stage, was_killed);
}

TestSuite(signing, .init = open_all, .timeout = 120);

static void
order_done(struct signing_order *signing_order, const struct fault *fault)
{
	struct order *order = CONTAINER(signing_order, struct order, order);

	order->answers++;
	order->kind = fault == NULL ? FAULT_NONE : fault->kind;
}

static void
order_start(struct order *order, unsigned seed)
{
	const struct keyring_domain *domain =
		keyring_domain_at(stage.keyring, 0);

	*order = (struct order){.order.done = order_done};
	for (size_t i = 0; i < COUNT(order->signatures); i++) {
		order->signatures[i].domain = SLICE("example.com");
		order->signatures[i].selector = &domain->selectors[i];
		memset(order->signatures[i].digest, (int)(seed + i),
		       KEY_DIGEST_SIZE);
	}
	signing_start(signing, &order->order, order->signatures,
		      COUNT(order->signatures));
	cr_expect_eq(order->answers, 0, "never from inside the start");
}

static void
run_until_answered(const struct order *order)
{
	while (order->answers == 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
}

static void
expect_signed(const struct order *order, const char *name)
{
	cr_expect_eq(order->answers, 1, "%s", name);
	cr_expect_eq(order->kind, FAULT_NONE, "%s", name);
	for (size_t i = 0; i < COUNT(order->signatures); i++) {
		const struct signature *made = &order->signatures[i];

		cr_expect(key_public_verify(made->selector->key, made->digest,
					    slice_of(made->signature,
						     made->signature_len)),
			  "%s: signature %zu", name, i);
	}
}

static void
signer_kill(void)
{
	cr_assert_eq(kill(stage.process.pid, SIGKILL), 0);
	signer_stop(&stage.process);
}

static void
signer_begin_again(void)
{
	struct fault fault = {0};

	cr_assert(signer_start(0, 0, &stage.process, &fault), "%s",
		  fault.text);
	first_keyring = keyring_ref(stage.keyring);
	cr_assert(stage_load(&stage, false, &fault), "%s", fault.text);
}

Test(signing, every_signature_of_an_order)
{
	struct order orders[3];

	for (size_t i = 0; i < COUNT(orders); i++)
		order_start(&orders[i], (unsigned)i);
	for (size_t i = 0; i < COUNT(orders); i++) {
		run_until_answered(&orders[i]);
		expect_signed(&orders[i], "at once");
	}
	close_all(false);
}

Test(signing, the_signer_dies_and_another_answers)
{
	struct order before, after;

	signer_kill();
	order_start(&before, 1);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	cr_expect_eq(before.answers, 0, "it waits");
	signer_begin_again();
	signing_replace(signing, attach_descriptor());
	order_start(&after, 2); /* while the old one is being closed */
	run_until_answered(&before);
	run_until_answered(&after);
	expect_signed(&before, "before");
	expect_signed(&after, "after");
	close_all(false);
}

/* As on a reload, and on two at once. */
Test(signing, a_living_signer_is_replaced)
{
	struct order order;

	order_start(&order, 3);
	signing_replace(signing, attach_descriptor());
	signing_replace(signing, attach_descriptor());
	run_until_answered(&order);
	expect_signed(&order, "replaced");
	close_all(false);
}

Test(signing, a_cancelled_order_is_never_answered)
{
	struct order cancelled, other;

	order_start(&cancelled, 4);
	order_start(&other, 5);
	signing_cancel(&cancelled.order);
	run_until_answered(&other);
	expect_signed(&other, "other");
	cr_expect_eq(cancelled.answers, 0);
	close_all(false);
}

Test(signing, cancelled_while_no_signer_is_there)
{
	struct order order;

	signer_kill();
	order_start(&order, 6);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	signing_cancel(&order.order);
	signer_begin_again();
	signing_replace(signing, attach_descriptor());
	close_all(false); /* in the middle of the replacement */
	cr_expect_eq(order.answers, 0);
}

Test(signing, no_signer_in_time)
{
	struct order order;

	signer_kill();
	order_start(&order, 7);
	fake_clock_pass(SIGNER_CALL_TIMEOUT_MS);
	run_until_answered(&order);
	cr_expect_eq(order.kind, FAULT_BUSY);
	cr_expect_eq(order.answers, 1);
	close_all(true);
}
