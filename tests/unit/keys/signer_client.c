#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/signer_wire.h"
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

static const struct answer_row {
	const char *name;
	uint32_t magic, status, len;
	size_t size; /* of what is sent */
	bool is_taken;
} answer_rows[] = {
	{"as it should be", ANSWER_MAGIC, ANSWER_SIGNED, 64, ANSWER_HEAD + 64,
	 true},
	{"a refusal", ANSWER_MAGIC, ANSWER_FAILED, 0, ANSWER_HEAD, true},
	{"cut within its head", ANSWER_MAGIC, ANSWER_FAILED, 0, ANSWER_HEAD - 1,
	 false},
	{"another magic", ANSWER_MAGIC + 1, ANSWER_SIGNED, 64, ANSWER_HEAD + 64,
	 false},
	{"longer than any signature", ANSWER_MAGIC, ANSWER_SIGNED,
	 KEY_SIGNATURE_MAX + 1, sizeof(struct signer_answer), false},
	{"shorter than it says", ANSWER_MAGIC, ANSWER_SIGNED, 64,
	 ANSWER_HEAD + 63, false},
	{"longer than it says", ANSWER_MAGIC, ANSWER_SIGNED, 64,
	 ANSWER_HEAD + 65, false},
	{"an empty signature", ANSWER_MAGIC, ANSWER_SIGNED, 0, ANSWER_HEAD,
	 false},
};

static void
answer_row_run(const struct answer_row *row, const struct key_public *public)
{
	struct signer_answer answer = {.magic = row->magic,
				       .status = row->status,
				       .len = row->len};
	struct signer_request request;
	struct signer_client *client;
	struct ask ask;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0,
				pair), 0);
	client = signer_client_new(pair[0]);
	ask_init(&ask, public, 1);
	signer_client_start(client, &ask.call);
	cr_assert_eq(recv(pair[1], &request, sizeof(request), 0),
		     (ssize_t)sizeof(request));
	answer.tag = request.tag;
	cr_assert_eq(send(pair[1], &answer, row->size, 0), (ssize_t)row->size);
	cr_expect_eq(signer_client_read(client), row->is_taken, "%s",
		     row->name);
	cr_expect_eq(ask.answers, row->is_taken, "%s", row->name);
	signer_client_tick(client,
			   clock_now_ms() + SIGNER_CALL_TIMEOUT_MS + 60000);
	cr_expect_eq(ask.answers, 1, "%s", row->name);
	close(pair[1]);
	signer_client_free(client);
}

/* Whatever is at the other end: nothing but an answer is taken for one. */
Test(signer_client, believes_no_more_than_answers)
{
	struct stage stage;

	stage_start(&stage);
	for (size_t i = 0; i < COUNT(answer_rows); i++)
		answer_row_run(&answer_rows[i], public_at(&stage, 0));
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
