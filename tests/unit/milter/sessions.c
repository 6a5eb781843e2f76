/*
 * libmilter here: it says "c" to each packet and notes it, waits as long as it
 * is told to where one says so, and is at its end at QUIT.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "milter/packet.h"
#include "milter/sessions.h"
#include "milter/sessions_libmilter.h"
#include "tests/fake/clock.h"

#define WAIT 'W'    /* does, until woken_ones */
#define COUNTED 'S' /* tells once it is answered */
#define PATIENCE_MS 60000
#define FIRST "\0\0\0\15O\0\0\0\6\0\0\0\0\0\0\0\0"

struct smfi_str {
	int descriptor;
};

static sem_t woken_ones;
static atomic_uint waiting, ended;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct text heard; /* with the lock */
static int listening = -1;
static atomic_int counted_mta = -1;   /* the one that says COUNTED */
static atomic_uint counted, heard_at; /* and what it could read by then */
static atomic_bool was_told;

/* --- when all that was said is read, and nobody is at work --- */

static size_t said_all;            /* by all MTAs */
static atomic_size_t taken;        /* of that, by the threads that serve */
static atomic_size_t taken_by_arm; /* when one of them last began to wait */
static atomic_uint arms;
static unsigned arms_before; /* the newest MTA */

/* Criterion has sockets, too. */
static bool
is_session(int descriptor)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &len) ==
		       0 &&
	       domain == AF_INET;
}

ssize_t
recvmsg(int descriptor, struct msghdr *message, int flags)
{
	ssize_t count = syscall(SYS_recvmsg, descriptor, message, flags);

	if (count > 0 && is_session(descriptor))
		atomic_fetch_add(&taken, (size_t)count);
	return count;
}

int
epoll_ctl(int poll, int operation, int descriptor, struct epoll_event *event)
{
	int (*real)(int, int, int, struct epoll_event *);

	if (is_session(descriptor)) {
		atomic_store(&taken_by_arm, atomic_load(&taken));
		atomic_fetch_add(&arms, 1);
	}
	/* ThreadSanitizer's, where it is there. */
	real = dlsym(RTLD_NEXT, "epoll_ctl");
	return real(poll, operation, descriptor, event);
}

static void
settle(void)
{
	for (int i = 0; i < PATIENCE_MS && (atomic_load(&arms) == arms_before ||
					    atomic_load(&taken_by_arm) != said_all);
	     i++)
		usleep(1000);
	cr_assert_eq(atomic_load(&taken_by_arm), said_all);
}

/* --- libmilter --- */

static void
count_sent(void *owner, bool is_told)
{
	int len = 0;

	cr_expect_eq(owner, &counted);
	atomic_store(&was_told, is_told);

	cr_expect_eq(ioctl(atomic_load(&counted_mta), FIONREAD, &len), 0);
	atomic_store(&heard_at, (unsigned)len);
	atomic_fetch_add(&counted, 1);
}

int
mi_engine(struct smfi_str *context)
{
	for (;;) {
		struct pollfd ready = {.fd = context->descriptor};
		char command;
		size_t len;
		char *payload;

		if (libmilter_poll(&ready, 1, 1) == 0)
			return LIBMILTER_CONTINUE;
		payload = libmilter_read(context->descriptor, NULL, &command,
					 &len, NULL);
		if (command == LIBMILTER_ENDED)
			return LIBMILTER_FAILURE;
		pthread_mutex_lock(&lock);
		text_add_byte(&heard, command);
		text_add(&heard, slice_of(payload, len));
		pthread_mutex_unlock(&lock);
		free(payload);
		if (command == COUNTED)
			sessions_when_sent(count_sent, &counted);
		if (command == WAIT) {
			atomic_fetch_add(&waiting, 1);
			sem_wait(&woken_ones);
		}
		if (command == 'Q')
			return LIBMILTER_SUCCESS;
		if (command != PACKET_QUIT_NEW)
			libmilter_write(context->descriptor, NULL, 'c', NULL,
					0);
	}
}

void
mi_clr_ctx(struct smfi_str *context)
{
	libmilter_close(context->descriptor);
	free(context);
	atomic_fetch_add(&ended, 1);
}

/* As libmilter's listening thread does. */
static void *
accept_all(void *unused)
{
	for (;;) {
		struct smfi_str *context = memory_new(sizeof(*context));

		context->descriptor = libmilter_accept(listening, NULL, NULL);
		cr_assert_geq(context->descriptor, 0);
		cr_assert_eq(libmilter_start(context), LIBMILTER_SUCCESS);
	}
	return unused;
}

static void
setup(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	pthread_t thread;

	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listening = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(listening, (struct sockaddr *)&any, sizeof(any)), 0);
	cr_assert_eq(listen(listening, 100), 0);
	sem_init(&woken_ones, 0, 0);
	/* Not 0: some time has passed since the machine started. */
	fake_clock_pass(HOUR);
	cr_assert_eq(libmilter_pool(), LIBMILTER_SUCCESS);
	cr_assert_eq(pthread_create(&thread, NULL, accept_all, NULL), 0);
}

TestSuite(sessions, .init = setup, .timeout = 120);

static int
mta_new(void)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	int mta = socket(AF_INET, SOCK_STREAM, 0);

	getsockname(listening, (struct sockaddr *)&address, &len);
	arms_before = atomic_load(&arms);
	cr_assert_eq(connect(mta, (struct sockaddr *)&address, len), 0);
	return mta;
}

static void
say(int mta, struct slice bytes)
{
	said_all += bytes.len;
	cr_assert_eq(send(mta, bytes.bytes, bytes.len, MSG_NOSIGNAL),
		     (ssize_t)bytes.len);
}

#define SAY(mta, literal) say(mta, slice_of(literal, sizeof(literal) - 1))

/* Reads so many replies. */
static void
hear(int mta, size_t count)
{
	char bytes[5 * 64];

	cr_assert_leq(5 * count, sizeof(bytes));
	if (count == 0)
		return; /* recv() would wait for none */
	cr_assert_eq(recv(mta, bytes, 5 * count, MSG_WAITALL),
		     (ssize_t)(5 * count));
	for (size_t i = 0; i < count; i++)
		cr_expect_eq(memcmp(bytes + 5 * i, "\0\0\0\1c", 5), 0);
}

static bool
is_closed(int mta, int patience_ms)
{
	struct pollfd end = {.fd = mta, .events = POLLIN};
	char byte;

	return poll(&end, 1, patience_ms) == 1 &&
	       recv(mta, &byte, 1, MSG_DONTWAIT) <= 0;
}

static int
mta_begun(void)
{
	int mta = mta_new();

	SAY(mta, FIRST);
	hear(mta, 1);
	return mta;
}

static void
await(atomic_uint *count, unsigned wanted)
{
	for (int i = 0; i < PATIENCE_MS && atomic_load(count) < wanted; i++)
		usleep(1000);
	cr_assert_eq(atomic_load(count), wanted);
}

Test(sessions, replies_and_an_end)
{
	int mta = mta_begun();

	SAY(mta, "\0\0\0\4Mabc\0\0\0\1N\0\0\0\2Bx");
	hear(mta, 3);
	cr_expect_eq(sessions_look(false), 1);
	SAY(mta, "\0\0\0\1Q");
	cr_expect(is_closed(mta, PATIENCE_MS));
	await(&ended, 1);
	cr_expect_eq(sessions_look(false), 0);
	cr_expect(slice_eq(text_slice(&heard),
			   slice_of("O\0\0\0\6\0\0\0\0\0\0\0\0MabcNBxQ", 21)));
}

/* A packet larger than what is read at once, and cuts anywhere. */
Test(sessions, large_packets_in_pieces)
{
	static char large[300000];
	int mta = mta_begun();
	CLEAN(text_done) struct text bytes = {0};
	struct slice rest;
	size_t piece = 1;

	smfi_setmaxdatasize(sizeof(large));
	memset(large, 'x', sizeof(large));
	packet_write(&bytes, 'B', slice_of(large, 1000));
	packet_write(&bytes, 'B', slice_of(large, sizeof(large)));
	packet_write(&bytes, 'B', slice_of(large, 70000));
	for (rest = text_slice(&bytes); rest.len > 0;) {
		struct slice part = slice_sub(rest, 0, piece);

		say(mta, part);
		rest = slice_from(rest, part.len);
		piece = piece * 3 / 2 + 1;
	}
	hear(mta, 3);
	cr_expect_eq(heard.len, 13 + 1001 + sizeof(large) + 1 + 70001);
}

static void
await_longest(uint64_t wanted_ms)
{
	for (int i = 0; i < PATIENCE_MS && sessions_longest_ms() != wanted_ms;
	     i++)
		usleep(1000);
	cr_assert_eq(sessions_longest_ms(), wanted_ms);
}

/* Nobody is at anything while he waits for the next packet, whatever he has
 * said before. */
Test(sessions, know_how_long_a_packet_takes)
{
	int mta = mta_begun(), other = mta_begun();

	await_longest(0);
	fake_clock_pass(SESSIONS_FIRST_MS / 2);
	await_longest(0);
	SAY(mta, "\0\0\0\2Bx\0\0\0\1W");
	await(&waiting, 1);
	fake_clock_pass(MINUTE);
	cr_expect_eq(sessions_longest_ms(), MINUTE);
	SAY(other, "\0\0\0\2Bx\0\0\0\1W");
	await(&waiting, 2);
	fake_clock_pass(MINUTE);
	cr_expect_eq(sessions_longest_ms(), 2 * MINUTE, "the longest");
	sem_post(&woken_ones);
	sem_post(&woken_ones);
	await_longest(0);
	hear(mta, 2);
	hear(other, 2);
	/* The next packet begins anew. */
	SAY(mta, "\0\0\0\1W");
	await(&waiting, 3);
	fake_clock_pass(SECOND);
	cr_expect_eq(sessions_longest_ms(), SECOND);
	sem_post(&woken_ones);
	hear(mta, 1);
	close(mta);
	close(other);
}

/* Whoever waits for something keeps nobody else waiting. */
Test(sessions, served_while_others_wait)
{
	enum { WAITERS = 40 };
	int waiters[WAITERS], mta;

	for (unsigned i = 0; i < WAITERS; i++) {
		waiters[i] = mta_begun();
		SAY(waiters[i], "\0\0\0\1W");
	}
	await(&waiting, WAITERS);
	mta = mta_begun();
	SAY(mta, "\0\0\0\2Bx");
	hear(mta, 1);
	/* They are at work: nobody's patience with them ends. */
	settle();
	fake_clock_pass(DAY);
	cr_expect_eq(sessions_look(true), WAITERS + 1);
	cr_expect(is_closed(mta, PATIENCE_MS));
	for (unsigned i = 0; i < WAITERS; i++)
		sem_post(&woken_ones);
	for (unsigned i = 0; i < WAITERS; i++)
		hear(waiters[i], 1);
}

/* What an MTA has said, and how long it may then be silent. */
static const struct silence {
	const char *name;
	struct slice said;
	uint64_t patience_ms;
	bool is_crowded_out;
} silences[] = {
	{"nothing", SLICE_LITERAL(""), SESSIONS_FIRST_MS, true},
	{"part of the first packet", SLICE_LITERAL("\0\0\0\15O\0\0"),
	 SESSIONS_FIRST_MS, true},
	{"the first packet", SLICE_LITERAL(FIRST), SESSIONS_IDLE_MS},
	{"part of the envelope", SLICE_LITERAL(FIRST "\0\0\0\4Ma"),
	 SESSIONS_ENVELOPE_MS},
	{"a field", SLICE_LITERAL(FIRST "\0\0\0\4La\0b"), SESSIONS_IDLE_MS},
	{"part of the header", SLICE_LITERAL(FIRST "\0\0\0\4La\0b\0\0\0\4La"),
	 SESSIONS_PACKET_MS},
	{"part of the body", SLICE_LITERAL(FIRST "\0\0\0\1N\0\0\0\4Ba"),
	 SESSIONS_PACKET_MS},
	{"part of a length", SLICE_LITERAL(FIRST "\0\0\0\1N\0"),
	 SESSIONS_PACKET_MS},
	{"the end of a message", SLICE_LITERAL(FIRST "\0\0\0\1E"),
	 SESSIONS_IDLE_MS},
};

/* How many replies it gets. */
static size_t
replies_to(struct slice said)
{
	size_t count = 0;

	while (said.len >= 4) {
		size_t size = 4 + (size_t)(unsigned char)said.bytes[3];

		count += said.len >= size;
		said = slice_from(said, size);
	}
	return count;
}

static bool
stays(int mta)
{
	return !is_closed(mta, 20);
}

Test(sessions, silence)
{
	for (size_t i = 0; i < COUNT(silences); i++) {
		const struct silence *row = &silences[i];
		int mta = mta_new();

		say(mta, row->said);
		hear(mta, replies_to(row->said));
		settle();
		fake_clock_pass(row->patience_ms - 1);
		sessions_look(false);
		cr_expect(stays(mta), "%s: too early", row->name);
		fake_clock_pass(1);
		sessions_look(false);
		cr_expect(is_closed(mta, PATIENCE_MS), "%s: too late",
			  row->name);
		close(mta);
		await(&ended, (unsigned)i + 1);
	}
}

Test(sessions, crowd)
{
	for (size_t i = 0; i < COUNT(silences); i++) {
		const struct silence *row = &silences[i];
		int mta = mta_new();

		say(mta, row->said);
		hear(mta, replies_to(row->said));
		settle();
		sessions_look(true);
		cr_expect_eq(is_closed(mta, row->is_crowded_out ? PATIENCE_MS
								: 20),
			     row->is_crowded_out, "%s", row->name);
		close(mta);
		await(&ended, (unsigned)i + 1);
	}
}

/* A byte now and then does not count as patience well spent. */
Test(sessions, trickle)
{
	int mta = mta_begun();

	SAY(mta, "\0\0\0\1N\0\0\1\0B");
	hear(mta, 1);
	for (unsigned i = 0; i < 6; i++) {
		cr_expect(stays(mta));
		settle();
		fake_clock_pass(SESSIONS_PACKET_MS / 6);
		if (i < 5)
			SAY(mta, "x");
		sessions_look(false);
	}
	cr_expect(is_closed(mta, PATIENCE_MS));
}

/* Who ends the process after an answer has to know that it is out. */
Test(sessions, told_when_sent)
{
	int mta = mta_begun();

	atomic_store(&counted_mta, mta);
	SAY(mta, "\0\0\0\1N\0\0\0\1S\0\0\0\1S\0\0\0\1N");
	await(&counted, 2);
	cr_expect_eq(atomic_load(&heard_at), 4 * 5);
	hear(mta, 4);
	/* With the end as well; then 'Q' has no answer. */
	SAY(mta, "\0\0\0\1S\0\0\0\1Q");
	await(&counted, 3);
	cr_expect_eq(atomic_load(&heard_at), 5);
}

/* An MTA that will say no more may still want to hear. */
Test(sessions, told_though_it_says_no_more)
{
	int mta = mta_begun();

	atomic_store(&counted_mta, mta);
	SAY(mta, "\0\0\0\1W\0\0\0\1S");
	await(&waiting, 1);
	shutdown(mta, SHUT_WR);
	sem_post(&woken_ones);
	await(&counted, 1);
	cr_expect(atomic_load(&was_told));
	hear(mta, 2);
	cr_expect(is_closed(mta, PATIENCE_MS));
}

Test(sessions, not_told_once_it_is_gone)
{
	static const struct linger ways[] = {{0, 0}, {1, 0}}; /* and a reset */

	atomic_store(&counted_mta, mta_begun());
	for (unsigned i = 0; i < COUNT(ways); i++) {
		int mta = mta_begun();

		SAY(mta, "\0\0\0\1W\0\0\0\1S");
		await(&waiting, i + 1);
		setsockopt(mta, SOL_SOCKET, SO_LINGER, &ways[i],
			   sizeof(ways[i]));
		close(mta);
		atomic_store(&was_told, true);
		sem_post(&woken_ones);
		await(&counted, i + 1);
		cr_expect(!atomic_load(&was_told), "way %u", i);
	}
}

/* As many as there may be before they are flushed, and more. */
Test(sessions, told_of_many)
{
	int mta = mta_begun();

	atomic_store(&counted_mta, mta);
	for (unsigned i = 0; i < 30; i++)
		SAY(mta, "\0\0\0\1S");
	await(&counted, 30);
	hear(mta, 30);
}

/* Each packet has its own time, wherever the cuts are. */
Test(sessions, progress)
{
	int mta = mta_begun();

	SAY(mta, "\0\0\0\1N\0\0\0\3B");
	hear(mta, 1);
	for (unsigned i = 0; i < 6; i++) {
		settle();
		cr_expect(stays(mta));
		fake_clock_pass(SESSIONS_PACKET_MS / 2);
		SAY(mta, "xy\0\0\0\3B");
		hear(mta, 1);
		settle();
		sessions_look(false);
	}
	cr_expect(stays(mta));
}

/* What is skipped before the first packet takes nothing of what follows; not
 * every one is heard by the thread that accepts it. */
Test(sessions, macros_before_all)
{
	for (unsigned i = 0; i < 50; i++) {
		int mta = mta_new();

		SAY(mta, "\0\0\0\1D\0\0\0\1D\0\0\0\1D" FIRST
			 "\0\0\0\2Bx");
		hear(mta, 2);
		close(mta);
	}
}

Test(sessions, quit_and_a_new_connection)
{
	int mta = mta_begun();

	SAY(mta, "\0\0\0\1K\0\0\0\2Cx");
	hear(mta, 1); /* to the last one alone */
	cr_expect(!is_closed(mta, 20));
	cr_expect(slice_eq(text_slice(&heard),
			   slice_of("O\0\0\0\6\0\0\0\0\0\0\0\0U\0KCx", 18)));
}

static const struct bad {
	const char *name;
	struct slice said;
} bad_ones[] = {
	{"no negotiation", SLICE_LITERAL("\0\0\0\2Mx")},
	{"a short negotiation", SLICE_LITERAL("\0\0\0\5O\0\0\0\6")},
	{"odd macros", SLICE_LITERAL(FIRST "\0\0\0\6DMa\0b\0\0\0\0\4DMa\0")},
	{"no command", SLICE_LITERAL(FIRST "\0\0\0\0Q")},
	{"too long", SLICE_LITERAL(FIRST "\177\377\377\377B")},
};

Test(sessions, bad_packets)
{
	for (size_t i = 0; i < COUNT(bad_ones); i++) {
		int mta = mta_new();
		char byte[64];

		say(mta, bad_ones[i].said);
		while (recv(mta, byte, sizeof(byte), 0) > 0)
			; /* or the suite's timeout */
		close(mta);
		await(&ended, (unsigned)i + 1);
	}
}
