#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keys/signer_wire.h"
#include "keys/signer_worker.h"
#include "tests/unit/keys/signer_stage.h"

Test(signer_worker, signs_with_every_key)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[2];

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, i), 1);
		signer_client_start(client, &asks[i].call);
		cr_expect_eq(asks[i].answers, 0);
	}
	signer_client_wait(client);
	for (size_t i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], public_at(&stage, i)), "%s",
			  asks[i].text);
	signer_client_free(client);
	cr_expect_str_eq(text_string(&stage.warnings), "");
	stage_stop(&stage, false);
}

Test(signer_worker, an_unknown_key_is_a_fault)
{
	struct stage stage;
	struct signer_client *client;
	struct ask ask;

	stage_start(&stage);
	client = attach(&stage);
	ask_init(&ask, public_at(&stage, 0), 1);
	ask.call.key.bytes[0] ^= 1;
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect_eq(ask.answers, 1);
	cr_expect_eq(ask.kind, FAULT_ABSENT);
	signer_client_free(client);
	stage_stop(&stage, false);
}

static const struct {
	const char *name;
	size_t size;
	uint32_t magic, zero;
	uint64_t tag;
} garbage_rows[] = {
	{"one byte", 1, REQUEST_MAGIC, 0, 9},
	{"one byte short", sizeof(struct signer_request) - 1, REQUEST_MAGIC, 0,
	 9},
	{"one byte long", sizeof(struct signer_request) + 1, REQUEST_MAGIC, 0,
	 9},
	{"very long", 60000, REQUEST_MAGIC, 0, 9},
	{"wrong magic", sizeof(struct signer_request), 1, 0, 9},
	{"answer's magic", sizeof(struct signer_request), ANSWER_MAGIC, 0, 9},
	{"not zero", sizeof(struct signer_request), REQUEST_MAGIC, 1, 9},
	{"tag 0", sizeof(struct signer_request), REQUEST_MAGIC, 0, 0},
};

static void
expect_malformed(int descriptor, const char *name)
{
	struct pollfd answer_there = {.fd = descriptor, .events = POLLIN};
	struct signer_answer answer = {0};

	cr_assert_eq(poll(&answer_there, 1, 60000), 1, "%s", name);
	cr_expect_eq(recv(descriptor, &answer, sizeof(answer), 0),
		     (ssize_t)ANSWER_HEAD, "%s", name);
	cr_expect_eq(answer.status, ANSWER_MALFORMED, "%s", name);
	cr_expect_eq(answer.tag, 0, "%s", name);
}

Test(signer_worker, garbage_is_answered_and_the_next_request_served)
{
	struct stage stage;
	struct signer_client *client;
	struct ask ask;
	static char bytes[60000];

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(garbage_rows); i++) {
		struct signer_request request = {
			.magic = garbage_rows[i].magic,
			.zero = garbage_rows[i].zero,
			.tag = garbage_rows[i].tag,
			.key = *key_public_id(public_at(&stage, 0)),
		};
		int descriptor = signer_client_descriptor(client);

		memcpy(bytes, &request, sizeof(request));
		cr_assert_eq(send(descriptor, bytes, garbage_rows[i].size, 0),
			     (ssize_t)garbage_rows[i].size);
		expect_malformed(descriptor, garbage_rows[i].name);
	}
	ask_init(&ask, public_at(&stage, 0), 1);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect(ask_is_signed(&ask, public_at(&stage, 0)), "%s", ask.text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_worker, descriptors_from_clients_are_not_kept)
{
	struct stage stage;
	struct signer_client *client;
	struct control_message message = {.verb = CONTROL_ATTACH};
	int ends[2];
	struct pollfd end = {.events = 0};

	stage_start(&stage);
	client = attach(&stage);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert(control_send(signer_client_descriptor(client), &message,
			       &ends[1], 1, 0, NULL));
	expect_malformed(signer_client_descriptor(client), "control");
	close(ends[1]);
	end.fd = ends[0];
	cr_expect_eq(poll(&end, 1, 60000), 1);
	cr_expect(end.revents & POLLHUP);
	close(ends[0]);
	signer_client_free(client);
	stage_stop(&stage, false);
}

/* No more are held at once, and each that leaves makes room for one. */
Test(signer_worker, only_so_many_clients_are_held)
{
	static int clients[SIGNER_CLIENTS_MAX];
	struct fault fault = {0};
	struct rlimit files;
	struct stage stage;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	if (files.rlim_max < 2 * SIGNER_CLIENTS_MAX)
		cr_skip_test("too few descriptors");
	files.rlim_cur = 2 * SIGNER_CLIENTS_MAX;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	stage_start(&stage);
	for (size_t i = 0; i < COUNT(clients); i++)
		cr_assert(signer_attach(&stage.process, &clients[i], &fault),
			  "%zu: %s", i, fault.text);
	for (unsigned i = 0; i < 3; i++) {
		int more;

		cr_expect_not(signer_attach(&stage.process, &more, &fault));
		cr_expect_eq(fault.kind, FAULT_LIMIT, "%s", fault.text);
	}
	close(clients[0]);
	while (!signer_attach(&stage.process, &clients[0], &fault))
		cr_assert_eq(fault.kind, FAULT_LIMIT, "%s", fault.text);
	for (size_t i = 0; i < COUNT(clients); i++)
		close(clients[i]);
	stage_stop(&stage, false);
}

Test(signer_worker, who_does_not_read_is_dropped_and_stalls_nobody)
{
	struct stage stage;
	struct signer_client *deaf, *other;
	struct ask ask;
	struct signer_request request = {.magic = REQUEST_MAGIC, .tag = 1};
	size_t sent = 0;
	int descriptor;

	stage_start(&stage);
	deaf = attach(&stage);
	other = attach(&stage);
	descriptor = signer_client_descriptor(deaf);
	request.key = *key_public_id(public_at(&stage, 1));
	/* Ends with EPIPE once the signer has given up on it. */
	for (;;) {
		struct pollfd writable = {.fd = descriptor, .events = POLLOUT};

		cr_assert_eq(poll(&writable, 1, 60000), 1);
		if (send(descriptor, &request, sizeof(request),
			 MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		    errno != EAGAIN)
			break;
		cr_assert_lt(++sent, 1000000);
		ask_init(&ask, public_at(&stage, 1), (unsigned)sent);
		if (sent % 100 != 0)
			continue;
		signer_client_start(other, &ask.call);
		signer_client_wait(other);
		cr_assert(ask_is_signed(&ask, public_at(&stage, 1)));
	}
	ask_init(&ask, public_at(&stage, 0), 1);
	signer_client_start(other, &ask.call);
	signer_client_wait(other);
	cr_expect(ask_is_signed(&ask, public_at(&stage, 0)), "%s", ask.text);
	/* A client that keeps to SIGNER_CALLS_MAX is never that slow. */
	cr_expect_gt(sent, SIGNER_CALLS_MAX);
	signer_client_free(deaf);
	signer_client_free(other);
	stage_stop(&stage, false);
}

/* The worst that a good client may do: all its calls answered before it reads
 * the first, with the longest signatures. */
Test(signer_worker, a_full_set_of_the_longest_answers_is_kept)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[SIGNER_CALLS_MAX];
	struct fault fault = {0};
	CLEAN(key_free_clean) struct key *key = NULL;
	CLEAN(secret_cleanse) struct text pem = {0};

	stage_start(&stage);
	cr_assert(key_generate(KEY_RSA_SHA256, 4096, &key, NULL));
	cr_assert(key_write(key, &pem, NULL));
	files_put(&stage.files, "r.pem", text_slice(&pem), 0600);
	cr_assert(stage_load(&stage, false, &fault), "%s", fault.text);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, 0), (unsigned)i);
		signer_client_start(client, &asks[i].call);
	}
	/* Another client's calls come after them in every thread. */
	{
		struct signer_client *other = attach(&stage);
		struct ask ask;

		for (unsigned i = 0; i < 200; i++) {
			ask_init(&ask, public_at(&stage, 0), i);
			signer_client_start(other, &ask.call);
			signer_client_wait(other);
		}
		signer_client_free(other);
	}
	signer_client_wait(client);
	for (size_t i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], public_at(&stage, 0)), "%s",
			  asks[i].text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_worker, many_calls_of_several_clients)
{
	struct stage stage;
	struct signer_client *clients[5];
	enum { ASKS = 300 };
	struct ask *asks[COUNT(clients)];

	stage_start(&stage);
	for (size_t i = 0; i < COUNT(clients); i++) {
		clients[i] = attach(&stage);
		asks[i] = memory_array(ASKS, sizeof(struct ask));
		for (unsigned j = 0; j < ASKS; j++) {
			ask_init(&asks[i][j], public_at(&stage, j % 2), j);
			signer_client_start(clients[i], &asks[i][j].call);
		}
		cr_expect_eq(signer_client_open_calls(clients[i]), ASKS);
	}
	for (size_t i = 0; i < COUNT(clients); i++) {
		signer_client_wait(clients[i]);
		for (unsigned j = 0; j < ASKS; j++)
			cr_expect(ask_is_signed(&asks[i][j],
						public_at(&stage, j % 2)),
				  "client %zu call %u: %s", i, j,
				  asks[i][j].text);
		free(asks[i]);
		signer_client_free(clients[i]);
	}
	stage_stop(&stage, false);
}
