#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/handover.h"

static int ends[2];

static void
open_pair(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				ends),
		     0);
}

static void
close_pair(void)
{
	close(ends[0]);
	close(ends[1]);
}

TestSuite(handover, .init = open_pair, .fini = close_pair);

static int
pipe_with(char byte)
{
	int both[2];

	cr_assert_eq(pipe(both), 0);
	cr_assert_eq(write(both[1], &byte, 1), 1);
	close(both[1]);
	return both[0];
}

static char
read_one(int descriptor)
{
	char byte = 0;

	cr_assert_eq(read(descriptor, &byte, 1), 1);
	return byte;
}

Test(handover, a_generation_arrives_whole)
{
	CLEAN(text_done) struct text large = {0};
	struct handover sent = {.serial = 7}, got;
	struct fault fault = {0};
	int first, last;

	for (int i = 0; i < 100000; i++)
		text_addf(&large, "line %d\n", i);
	sent.sources = text_slice(&large);
	sent.publics = slice_of("a\0b", 3);
	sent.passwords = SLICE("\none\n");
	sent.listeners_count = 2;
	sent.listeners[0] = pipe_with('a');
	sent.listeners[1] = pipe_with('b');
	sent.files[1][LISTENER_CERT] = SLICE("certificate");
	sent.files[1][LISTENER_KEY] = SLICE("key");
	sent.signers_count = 1;
	sent.signers[0] = pipe_with('c');
	cr_assert(handover_send_generation(ends[0], &sent, &fault), "%s",
		  fault.text);
	cr_assert(handover_receive(ends[1], &got, &fault), "%s", fault.text);

	cr_expect_eq(got.kind, HANDOVER_GENERATION);
	cr_expect_eq(got.serial, 7);
	cr_expect(slice_eq(got.sources, text_slice(&large)));
	cr_expect(slice_eq(got.publics, sent.publics));
	cr_expect(slice_eq(got.passwords, sent.passwords));
	cr_assert_eq(got.listeners_count, 2);
	cr_assert_eq(got.signers_count, 1);
	cr_expect_eq(read_one(got.listeners[0]), 'a');
	cr_expect_eq(read_one(got.listeners[1]), 'b');
	cr_expect_eq(read_one(got.signers[0]), 'c');
	cr_expect_neq(fcntl(got.signers[0], F_GETFD) & FD_CLOEXEC, 0);
	cr_expect_eq(got.files[0][LISTENER_CERT].len, 0);
	cr_expect(slice_eq(got.files[1][LISTENER_CERT], SLICE("certificate")));
	cr_expect(slice_eq(got.files[1][LISTENER_KEY], SLICE("key")));
	first = got.listeners[0];
	last = got.signers[0];
	handover_done(&got);
	cr_expect_lt(fcntl(first, F_GETFD), 0, "nobody has taken it");
	cr_expect_lt(fcntl(last, F_GETFD), 0, "nobody has taken it");
	close(sent.listeners[0]);
	close(sent.listeners[1]);
	close(sent.signers[0]);
}

Test(handover, words_arrive)
{
	struct handover got;

	cr_assert(handover_send(ends[1], HANDOVER_REFUSED, 9,
				SLICE("because"), NULL));
	cr_assert(handover_receive(ends[0], &got, NULL));
	cr_expect_eq(got.kind, HANDOVER_REFUSED);
	cr_expect_eq(got.serial, 9);
	cr_expect_str_eq(text_string(&got.text), "because");
	handover_done(&got);
}

/* However long the reason is, the supervisor hears of it. */
Test(handover, of_many_words_the_first_arrive)
{
	CLEAN(text_done) struct text words = {0};
	struct handover got;
	struct fault fault = {0};

	while (words.len <= HANDOVER_TEXT_MAX)
		text_add_string(&words, "because ");
	cr_assert(handover_send(ends[1], HANDOVER_REFUSED, 9,
				text_slice(&words), NULL));
	cr_assert(handover_receive_answer(ends[0], &got, &fault), "%s",
		  fault.text);
	cr_expect_eq(got.kind, HANDOVER_REFUSED);
	cr_expect(slice_eq(text_slice(&got.text),
			   slice_sub(text_slice(&words), 0,
				     HANDOVER_TEXT_MAX)));
	handover_done(&got);
}

/* The supervisor is root and the relay process may have been taken over. */
Test(handover, the_relay_hands_nothing_to_the_supervisor)
{
	struct handover generation = {0}, got;
	struct fault fault = {0};

	cr_assert(handover_send(ends[1], HANDOVER_STOP, 0, SLICE_NONE, NULL));
	cr_assert(handover_send(ends[1], HANDOVER_ASK, 0, SLICE_NONE, NULL));
	for (int i = 0; i < 2; i++) {
		cr_expect(!handover_receive_answer(ends[0], &got, &fault));
		cr_expect_eq(fault.kind, FAULT_INPUT);
	}
	cr_assert(handover_send(ends[1], HANDOVER_READY, 3, SLICE_NONE, NULL));
	cr_expect(handover_receive_answer(ends[0], &got, &fault), "%s",
		  fault.text);
	cr_expect_eq(got.serial, 3);
	handover_done(&got);
	cr_assert(handover_send(ends[1], HANDOVER_ALIVE, 4, SLICE_NONE, NULL));
	cr_expect(handover_receive_answer(ends[0], &got, &fault), "%s",
		  fault.text);
	cr_expect_eq(got.kind, HANDOVER_ALIVE);
	handover_done(&got);
	generation.listeners_count = 1;
	generation.listeners[0] = pipe_with('a');
	cr_assert(handover_send_generation(ends[1], &generation, NULL));
	cr_expect(!handover_receive_answer(ends[0], &got, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT);
	close(generation.listeners[0]);
}

#define SURPLUS_MAX 250 /* SCM_MAX_FD is 253 */

static void
send_descriptors(int to, int descriptor, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * SURPLUS_MAX)];
	} rights = {0};
	char byte = 'x';
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = rights.bytes,
				 .msg_controllen =
					 CMSG_SPACE(sizeof(int) * count)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
	for (size_t i = 0; i < count; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &descriptor,
		       sizeof(int));
	cr_assert_eq(sendmsg(to, &message, 0), 1);
}

/* Around how many there is room for; the kernel gives one more where that fills
 * what alignment leaves. */
Test(handover, surplus_descriptors_are_closed)
{
	int first_free = dup(0);

	close(first_free);
	for (size_t count = 190; count <= SURPLUS_MAX; count++) {
		struct handover got;
		struct fault fault = {0};
		int next;

		send_descriptors(ends[1], ends[1], count);
		cr_expect(!handover_receive_answer(ends[0], &got, &fault));
		cr_expect_eq(fault.kind, FAULT_INPUT, "%zu: left there", count);
		cr_expect(!handover_receive(ends[0], &got, &fault));
		cr_expect_eq(fault.kind, FAULT_INPUT, "%zu: %s", count,
			     fault.text);
		next = dup(0);
		cr_expect_eq(next, first_free, "%zu", count);
		close(next);
	}
}

/* A connection that ends only when its peer, who reads nothing, has all. */
static int
lingering(void)
{
	struct sockaddr_in place = {.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct linger linger = {1, 600};
	socklen_t len = sizeof(place);
	static char bytes[65536];
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int client = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(bind(listener, (struct sockaddr *)&place, len), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&place, &len), 0);
	cr_assert_eq(connect(client, (struct sockaddr *)&place, len), 0);
	cr_assert_geq(accept(listener, NULL, NULL), 0);
	cr_assert_eq(fcntl(client, F_SETFL, O_NONBLOCK), 0);
	while (write(client, bytes, sizeof(bytes)) > 0)
		;
	cr_assert_eq(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger,
				sizeof(linger)),
		     0);
	return client;
}

Test(handover, nobody_waits_for_what_the_relay_sends, .timeout = 20)
{
	struct handover got;
	struct fault fault = {0};
	int sent = lingering();

	cr_assert_eq(send(ends[1], "", 0, 0), 0);
	send_descriptors(ends[1], sent, 1);
	close(sent);
	sent = lingering();
	send_descriptors(ends[1], sent, 1);
	close(sent);
	cr_expect(!handover_receive_answer(ends[0], &got, &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT, "it is empty");
	cr_expect(!handover_receive_answer(ends[0], &got, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT);
	shutdown(ends[0], SHUT_RDWR);
	handover_close(&ends[0]);
	cr_expect_eq(ends[0], -1);
}

/* Its other end may be somebody's who says nothing. */
Test(handover, the_supervisor_waits_for_no_answer, .timeout = 10)
{
	struct handover got;
	struct fault fault = {0};

	cr_expect_not(handover_receive_answer(ends[0], &got, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY);
}

/* Neither side may be held up by one that does not read. */
Test(handover, a_full_socket_is_busy, .timeout = 120)
{
	struct fault fault = {0};

	while (handover_send(ends[1], HANDOVER_STOP, 0, SLICE_NONE, &fault))
		;
	cr_expect_eq(fault.kind, FAULT_BUSY);
}

Test(handover, a_closed_end_is_absent_and_an_empty_one_busy)
{
	struct handover got;
	struct fault fault = {0};

	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	cr_expect_not(handover_receive(ends[0], &got, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY);
	close(ends[1]);
	cr_expect_not(handover_receive(ends[0], &got, &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	ends[1] = dup(ends[0]); /* for close_pair() */
}

/* As a message begins. */
struct head {
	uint32_t magic, kind;
	uint64_t serial;
	uint32_t listeners, signers, text_len, zero;
};
#define MAGIC 0x73676e31u
#define HEAD sizeof(struct head)
#define MEMORY (3 * sizeof(uint64_t)) /* of a generation that has nothing */
#define NONE (-1)

static const struct garbage_row {
	const char *name;
	struct head head;
	size_t len; /* of the message; behind the head comes text */
	int memory; /* in a memory file; NONE: there is no file */
	bool is_good;
} garbage_rows[] = {
	{"nothing but words", {MAGIC, HANDOVER_STOP, .text_len = 3}, HEAD + 3,
	 NONE, true},
	{"a generation that has nothing", {MAGIC, HANDOVER_GENERATION}, HEAD,
	 MEMORY, true},
	{"a byte", {MAGIC, HANDOVER_STOP}, 1, NONE, false},
	{"a head but for a byte", {MAGIC, HANDOVER_STOP}, HEAD - 1, NONE,
	 false},
	{"zeros", {0}, HEAD, NONE, false},
	{"another magic", {MAGIC + 1, HANDOVER_STOP}, HEAD, NONE, false},
	{"words that are not there", {MAGIC, HANDOVER_STOP, .text_len = 3},
	 HEAD + 2, NONE, false},
	{"more words than it says", {MAGIC, HANDOVER_STOP, .text_len = 3},
	 HEAD + 4, NONE, false},
	{"more words than there is room for",
	 {MAGIC, HANDOVER_STOP, .text_len = HANDOVER_TEXT_MAX + 1},
	 HEAD + HANDOVER_TEXT_MAX + 1, NONE, false},
	{"words with a descriptor", {MAGIC, HANDOVER_STOP}, HEAD, MEMORY,
	 false},
	{"a generation without its descriptors", {MAGIC, HANDOVER_GENERATION},
	 HEAD, NONE, false},
	{"a generation that is cut short", {MAGIC, HANDOVER_GENERATION}, HEAD,
	 MEMORY - 1, false},
	/* With the file they are as many as there are descriptors, modulo
	 * 2^32. */
	{"more listeners than can be",
	 {MAGIC, HANDOVER_GENERATION, .listeners = UINT32_MAX, .signers = 1},
	 HEAD, MEMORY, false},
	{"more signers than can be",
	 {MAGIC, HANDOVER_GENERATION, .listeners = 1, .signers = UINT32_MAX},
	 HEAD, MEMORY, false},
	{"more than can be, and no descriptor",
	 {MAGIC, HANDOVER_GENERATION, .signers = UINT32_MAX}, HEAD, NONE,
	 false},
};

static void
garbage_send(const struct garbage_row *row)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = {0};
	char bytes[HEAD + HANDOVER_TEXT_MAX + 1] = "";
	struct iovec part = {bytes, row->len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	int file = -1;

	memcpy(bytes, &row->head, HEAD);
	if (row->memory != NONE) {
		struct cmsghdr *cmsg = &rights.align;

		file = memfd_create("garbage", MFD_CLOEXEC);
		cr_assert_eq(ftruncate(file, row->memory), 0);
		message.msg_control = rights.bytes;
		message.msg_controllen = sizeof(rights.bytes);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &file, sizeof(int));
	}
	cr_assert_eq(sendmsg(ends[0], &message, 0), (ssize_t)row->len);
	if (file >= 0)
		close(file);
}

Test(handover, garbage_is_refused)
{
	for (size_t i = 0; i < COUNT(garbage_rows); i++) {
		const struct garbage_row *row = &garbage_rows[i];
		struct handover got;
		struct fault fault = {0};

		garbage_send(row);
		cr_expect_eq(handover_receive(ends[1], &got, &fault),
			     row->is_good, "%s: %s", row->name, fault.text);
		if (row->is_good)
			handover_done(&got);
		else
			cr_expect_eq(fault.kind, FAULT_INPUT, "%s: %s",
				     row->name, fault.text);
	}
}

/* What has been checked on one side is what is read on the other. */
Test(handover, a_memory_file_cannot_be_changed)
{
	struct handover sent = {.sources = SLICE_LITERAL("a")};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights;
	struct head head;
	struct iovec part = {&head, sizeof(head)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = rights.bytes,
				 .msg_controllen = sizeof(rights.bytes)};
	int file;

	cr_assert(handover_send_generation(ends[0], &sent, NULL));
	cr_assert_eq(recvmsg(ends[1], &message, 0), (ssize_t)HEAD);
	memcpy(&file, CMSG_DATA(&rights.align), sizeof(file));
	cr_expect_lt(pwrite(file, "b", 1, 8), 0);
	cr_expect_lt(ftruncate(file, 0), 0);
	cr_expect_lt(ftruncate(file, 1000), 0);
	close(file);
}
