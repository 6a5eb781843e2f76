#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/keys/signer_stage.h"

Test(signer_client, cancelled_calls_are_never_heard_of)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[3 * SIGNER_CALLS_MAX];

	stage_start(&stage);
	client = attach(&stage);
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, 0), i);
		signer_client_start(client, &asks[i].call);
	}
	for (size_t i = 0; i < COUNT(asks); i += 2)
		signer_client_cancel(&asks[i].call);
	signer_client_wait(client);
	for (size_t i = 0; i < COUNT(asks); i++)
		cr_expect_eq(asks[i].answers, i % 2 == 0 ? 0 : 1);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_client, a_call_times_out_once)
{
	int pair[2];
	struct signer_client *client;
	struct stage stage;
	struct ask asks[SIGNER_CALLS_MAX + 2];
	uint64_t now = clock_now_ms();

	stage_start(&stage);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0,
				pair), 0);
	client = signer_client_new(pair[0]);
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, 0), i);
		signer_client_start(client, &asks[i].call);
	}
	signer_client_tick(client, now + SIGNER_CALL_TIMEOUT_MS / 2);
	cr_expect_eq(signer_client_open_calls(client), COUNT(asks));
	signer_client_tick(client, now + SIGNER_CALL_TIMEOUT_MS + 60000);
	cr_expect_eq(signer_client_open_calls(client), 0);
	for (size_t i = 0; i < COUNT(asks); i++) {
		cr_expect_eq(asks[i].answers, 1);
		cr_expect_eq(asks[i].kind, FAULT_BUSY);
	}
	close(pair[1]);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_client, is_replaced_while_calls_are_open)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[2 * SIGNER_CALLS_MAX];
	struct pollfd gone = {.events = POLLIN};
	int descriptor = -1;
	size_t answered = 0;

	stage_start(&stage);
	client = attach(&stage);
	kill(stage.process.pid, SIGSTOP);
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, i % 2), i);
		signer_client_start(client, &asks[i].call);
	}
	kill(stage.process.pid, SIGKILL);
	gone.fd = signer_client_descriptor(client);
	/* The first to come may be answers, the end comes behind them. */
	do
		cr_assert_eq(poll(&gone, 1, 60000), 1);
	while (signer_client_read(client));
	/* Some may have been answered before it stopped; most were not even
	 * sent. */
	for (size_t i = 0; i < COUNT(asks); i++)
		answered += (size_t)asks[i].answers;
	cr_expect_eq(signer_client_open_calls(client) + answered, COUNT(asks));
	cr_expect_geq(signer_client_open_calls(client), SIGNER_CALLS_MAX);
	signer_stop(&stage.process);
	cr_expect(WIFSIGNALED(stage.process.pid_status));
	cr_assert(signer_start(0, 0, &stage.process, NULL));
	cr_assert(stage_load(&stage, false, NULL));
	cr_assert(signer_attach(&stage.process, &descriptor, NULL));
	signer_client_replace(client, descriptor);
	signer_client_wait(client);
	for (unsigned i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], public_at(&stage, i % 2)),
			  "%u: %s", i, asks[i].text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_client, its_death_is_said_to_who_waits)
{
	struct stage stage;
	struct signer_client *client;
	struct fault fault = {0};
	struct ask ask;

	stage_start(&stage);
	client = attach(&stage);
	kill(stage.process.pid, SIGKILL);
	ask_init(&ask, public_at(&stage, 0), 1);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect_eq(ask.answers, 1);
	cr_expect(ask.kind == FAULT_BUSY || ask.kind == FAULT_NONE);
	cr_expect_not(stage_load(&stage, false, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY, "%s", fault.text);
	signer_client_free(client);
	stage_stop(&stage, true);
}
