#include "milter/sessions.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "milter/packet.h"
#include "milter/sessions_libmilter.h"

/* A thread's, for what it reads; more is read into the packet itself. */
#define INPUT_SIZE ((size_t)64 << 10)
/* Replies that are gathered. */
#define OUTPUT_MAX ((size_t)64 << 10)
/* How long an MTA may take to read what it is told. */
#define WRITE_TIMEOUT_MS 60000
/* Who waits to hear that its answer has been sent. */
#define SENT_MAX 8
/* How long an MTA that has said all may take to refuse what it is told. */
#define REFUSAL_MS 200
/* Threads that stay when there is nothing to do, and when others go. */
#define WORKERS_SPARE 2
#define WORKER_IDLE_MS 10000

struct session {
	struct list link; /* sessions.all */
	int descriptor;
	struct smfi_str *context; /* libmilter's */
	struct packet packet;     /* the one under way */
	uint64_t packet_since_ms; /* 0: not under way at the last wait */
	char command;             /* of the packet in hand */
	bool is_ended;            /* no more is read */
	bool is_quitting;         /* see libmilter_read() */
	bool is_watched;          /* by the epoll */
	bool is_silent;           /* see sessions_is_silent() */
	/* For sessions_look(). Deadline 0: a thread serves it. */
	atomic_uint_least64_t deadline_ms;
	/* When the thread that serves it began with what it is at. 0: none. */
	atomic_uint_least64_t busy_since_ms;
	atomic_bool has_spoken;
};

static struct {
	pthread_mutex_t lock;
	struct list all; /* with the lock */
	int poll;
	atomic_uint waiting; /* threads, in epoll_wait() or on their way */
	atomic_size_t payload_max;
} sessions = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.all = {&sessions.all, &sessions.all},
	.poll = -1,
	.payload_max = 65535,
};

/* What a thread has for the session that it serves. */
static _Thread_local struct {
	struct session *session;
	char *buffer;
	struct slice input; /* read, and not fed to a packet yet */
	struct text output; /* replies that wait */
	struct {
		void (*call)(void *owner, bool is_told);
		void *owner;
	} sent[SENT_MAX]; /* once they have gone */
	size_t sent_count;
	bool is_drained;    /* the last read took all there was */
	bool has_answered;
	/* It serves a session's first packet and leaves the rest to others:
	 * then it has read no more than that. */
	bool is_first_only;
} worker;

/* ---- reading and writing ---- */

/* Of the first packet, before its payload has room of its own. */
static size_t
first_missing(const struct packet *packet)
{
	return packet->got < PACKET_HEAD_SIZE ? PACKET_FIRST_SIZE - packet->got
					      : 0;
}

/* False: there is nothing now. At the end of what can be read, is_ended. */
static bool
receive(struct session *session)
{
	size_t room = 0;
	char *payload = packet_room(&session->packet, &room);
	size_t size = worker.is_first_only ? first_missing(&session->packet)
					   : INPUT_SIZE;
	struct iovec to[] = {{payload, room}, {worker.buffer, size}};
	struct msghdr message = {.msg_iov = to, .msg_iovlen = COUNT(to)};
	ssize_t count;

	ASSERT(worker.input.len == 0);
	if (worker.is_drained)
		return false;
	do
		count = recvmsg(session->descriptor, &message, MSG_DONTWAIT);
	while (count < 0 && errno == EINTR);
	if (count < 0 && errno == EAGAIN)
		return false;
	if (count <= 0) {
		session->is_ended = true;
		return true;
	}
	worker.is_drained = (size_t)count < room + size;
	if ((size_t)count < room)
		room = (size_t)count;
	if (room > 0)
		packet_added(&session->packet, room);
	worker.input = slice_of(worker.buffer, (size_t)count - room);
	return true;
}

static bool
output_send(int descriptor, struct slice bytes)
{
	uint64_t until_ms = clock_now_ms() + WRITE_TIMEOUT_MS, now_ms;

	while (bytes.len > 0) {
		struct pollfd room = {.fd = descriptor, .events = POLLOUT};
		ssize_t count = send(descriptor, bytes.bytes, bytes.len,
				     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (count > 0) {
			bytes = slice_from(bytes, (size_t)count);
			continue;
		}
		if (count < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		now_ms = clock_now_ms();
		if (now_ms >= until_ms)
			return false;
		(void)poll(&room, 1, (int)(until_ms - now_ms));
	}
	return true;
}

/* One that has closed its connection resets it when it is told something; one
 * that has only said that it will say no more may well read on. A Unix socket is
 * hung up by the first kind, too, but in error only where something was left
 * unread. */
static bool
mta_hears(int descriptor)
{
	struct pollfd gone = {.fd = descriptor};
	char byte;
	ssize_t count = recv(descriptor, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

	if (count != 0)
		return count > 0 || errno == EAGAIN;
	return poll(&gone, 1, REFUSAL_MS) == 0 || (gone.revents & POLLERR) == 0;
}

static void
output_gone(const struct session *session, bool is_sent)
{
	size_t count = worker.sent_count;

	text_clear(&worker.output);
	if (count == 0)
		return;
	is_sent = is_sent && mta_hears(session->descriptor);
	worker.sent_count = 0;
	for (size_t i = 0; i < count; i++)
		worker.sent[i].call(worker.sent[i].owner, is_sent);
}

static void
note_progress(struct session *session)
{
	atomic_store_explicit(&session->busy_since_ms, clock_now_ms(),
			      memory_order_relaxed);
}

static bool
output_flush(struct session *session)
{
	bool is_sent;

	note_progress(session);
	is_sent = output_send(session->descriptor, text_slice(&worker.output));

	worker.has_answered |= worker.output.len > 0;
	output_gone(session, is_sent);
	return is_sent;
}

/* A whole packet is there, or none will be. */
static bool
is_ready(struct session *session)
{
	for (;;) {
		if (session->is_ended)
			return true;
		if (worker.is_first_only && session->command != '\0')
			return !output_flush(session);
		switch (packet_feed(&session->packet, &worker.input,
				    atomic_load(&sessions.payload_max))) {
		case PACKET_WHOLE:
			if (session->command != '\0' ||
			    packet_may_be_first(&session->packet))
				return true;
			/* fall through */
		case PACKET_BAD:
			log_note(LOG_LEVEL_WARNING, "refused",
				 "a connection: what it says is not the milter "
				 "protocol, or longer than "
				 "limits.max_header_size allows");
			packet_done(&session->packet);
			session->is_ended = true;
			return true;
		case PACKET_PART:
			break;
		}
		/* Replies first: the MTA may wait for them. */
		if (!output_flush(session))
			session->is_ended = true;
		else if (!receive(session))
			return false;
	}
}

/* ---- a session's life ---- */

static uint64_t
deadline_of(struct session *session, uint64_t now_ms)
{
	if (!packet_has_begun(&session->packet)) {
		session->packet_since_ms = 0;
		return now_ms + SESSIONS_IDLE_MS;
	}
	if (session->packet_since_ms == 0)
		session->packet_since_ms = now_ms;
	switch (session->command) {
	case PACKET_HEADER:
	case PACKET_END_OF_HEADER:
	case PACKET_BODY:
		return session->packet_since_ms + SESSIONS_PACKET_MS;
	default:
		return session->packet_since_ms + SESSIONS_ENVELOPE_MS;
	}
}

/* What gets no answer is acknowledged only after 40 ms, for which an MTA with
 * more to say waits: Postfix says so at DATA, and goes on with the header. */
static void
acknowledge(const struct session *session)
{
	int is_quick = 1;

	if (!worker.has_answered && session->command != '\0')
		(void)setsockopt(session->descriptor, IPPROTO_TCP, TCP_QUICKACK,
				 &is_quick, sizeof(is_quick));
}

/* Others may serve it from now on. What they find of it has been left before the
 * deadline is set, which they take first. */
static void
session_wait(struct session *session, uint64_t first_deadline_ms)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
				    .data.ptr = session};
	int operation = session->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	int descriptor = session->descriptor;
	uint64_t deadline_ms = session->command == '\0'
				       ? first_deadline_ms
				       : deadline_of(session, clock_now_ms());

	acknowledge(session);
	session->is_watched = true;
	worker.session = NULL;
	atomic_store(&session->has_spoken, session->command != '\0');
	atomic_store(&session->busy_since_ms, 0);
	atomic_store(&session->deadline_ms, deadline_ms);
	ASSERT(epoll_ctl(sessions.poll, operation, descriptor, &event) == 0);
}

static void
session_end(struct session *session)
{
	ssize_t sent = 0;

	if (worker.output.len > 0)
		sent = send(session->descriptor, worker.output.bytes,
			    worker.output.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	output_gone(session, sent == (ssize_t)worker.output.len);
	worker.session = NULL;
	pthread_mutex_lock(&sessions.lock);
	list_remove(&session->link);
	pthread_mutex_unlock(&sessions.lock);
	close(session->descriptor);
	packet_done(&session->packet);
	free(session);
}

static void
session_serve(struct session *session)
{
	uint64_t deadline_ms = atomic_exchange(&session->deadline_ms, 0);
	int result = LIBMILTER_CONTINUE;

	note_progress(session);
	worker.session = session;
	worker.input = SLICE_NONE;
	worker.is_drained = worker.has_answered = false;
	if (is_ready(session))
		result = mi_engine(session->context);
	ASSERT(worker.session == session);
	if (result == LIBMILTER_CONTINUE) {
		session_wait(session, deadline_ms);
		return;
	}
	mi_clr_ctx(session->context); /* closes the descriptor, at last */
	ASSERT(worker.session == NULL);
}

/* ---- threads ---- */

static void *worker_run(void *unused);

/* Already counted as waiting. */
static void
worker_start(void)
{
	pthread_t thread;
	int result = pthread_create(&thread, NULL, worker_run, NULL);

	if (result == 0) {
		pthread_detach(thread);
		return;
	}
	atomic_fetch_sub(&sessions.waiting, 1);
	errno = result;
	log_note(LOG_LEVEL_WARNING, "libmilter",
		 "no further thread: %m; MTAs wait for those there are");
}

static bool
worker_may_go(void)
{
	if (atomic_fetch_sub(&sessions.waiting, 1) > WORKERS_SPARE)
		return true;
	atomic_fetch_add(&sessions.waiting, 1);
	return false;
}

static void *
worker_run(void *unused)
{
	(void)unused;
	worker.buffer = memory_grow(NULL, INPUT_SIZE);
	for (;;) {
		struct epoll_event event;
		int count =
			epoll_wait(sessions.poll, &event, 1, WORKER_IDLE_MS);

		if (count == 0 && worker_may_go())
			break;
		if (count != 1)
			continue;
		/* The last one to go sees to it that one waits. */
		if (atomic_fetch_sub(&sessions.waiting, 1) == 1) {
			atomic_fetch_add(&sessions.waiting, 1);
			worker_start();
		}
		session_serve(event.data.ptr);
		atomic_fetch_add(&sessions.waiting, 1);
	}
	text_done(&worker.output);
	free(worker.buffer);
	return NULL;
}

/* ---- in place of what libmilter calls; see sessions_libmilter.h ---- */

int
libmilter_pool(void)
{
	sessions.poll = epoll_create1(EPOLL_CLOEXEC);
	if (sessions.poll < 0)
		return LIBMILTER_FAILURE;
	atomic_fetch_add(&sessions.waiting, 1);
	worker_start();
	return atomic_load(&sessions.waiting) > 0 ? LIBMILTER_SUCCESS
						  : LIBMILTER_FAILURE;
}

/* The listening thread accepts one and starts it. */
static _Thread_local int accepted = -1;

int
libmilter_accept(int descriptor, struct sockaddr *address, socklen_t *len)
{
	accepted = accept4(descriptor, address, len, SOCK_CLOEXEC);
	return accepted;
}

/* The first packet is there as a rule; its answer needs nobody else. */
int
libmilter_start(struct smfi_str *context)
{
	struct session *session = memory_new(sizeof(*session));
	char first[PACKET_FIRST_SIZE];

	session->descriptor = accepted;
	session->context = context;
	atomic_store(&session->deadline_ms, clock_now_ms() + SESSIONS_FIRST_MS);
	pthread_mutex_lock(&sessions.lock);
	list_add_last(&sessions.all, &session->link);
	pthread_mutex_unlock(&sessions.lock);
	worker.buffer = first;
	worker.is_first_only = true;
	session_serve(session);
	return LIBMILTER_SUCCESS;
}

int
libmilter_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms)
{
	if (worker.session == NULL)
		return poll(descriptors, count, timeout_ms);
	ASSERT(count == 1);
	ASSERT(descriptors[0].fd == worker.session->descriptor);
	descriptors[0].revents = is_ready(worker.session) ? POLLIN : 0;
	return descriptors[0].revents != 0 ? 1 : 0;
}

int
libmilter_close(int descriptor)
{
	if (worker.session == NULL || worker.session->descriptor != descriptor)
		return close(descriptor);
	session_end(worker.session);
	return 0;
}

/* libmilter leaves an accepted message for a state in which it ignores QUIT_NC
 * and the CONNECT that follows. From a command that SMTP does not know it
 * always goes on to QUIT_NC, and it may come in all states that are left. */
static char *
unknown_make(char *command_out, size_t *len_out)
{
	char *payload = memory_new(1);

	*command_out = PACKET_UNKNOWN;
	*len_out = 1;
	return payload;
}

char *
libmilter_read(int descriptor, struct timeval *timeout, char *command_out,
	       size_t *len_out, char *name)
{
	struct session *session = worker.session;
	char command;

	(void)timeout;
	(void)name;
	ASSERT(session->descriptor == descriptor);
	*len_out = 0;
	if (!is_ready(session) || session->is_ended) {
		*command_out = LIBMILTER_ENDED;
		return NULL;
	}
	command = packet_command(&session->packet);
	if (command == PACKET_QUIT_NEW && !session->is_quitting) {
		session->is_quitting = true;
		return unknown_make(command_out, len_out);
	}
	note_progress(session);
	session->is_quitting = false;
	session->packet_since_ms = 0;
	session->command = *command_out = command;
	return packet_take(&session->packet, len_out);
}

int
libmilter_write(int descriptor, struct timeval *timeout, int command,
		char *bytes, size_t len)
{
	struct session *session = worker.session;

	(void)timeout;
	ASSERT(session->descriptor == descriptor);
	if (session->is_quitting)
		return LIBMILTER_SUCCESS; /* to what the MTA did not say */
	packet_write(&worker.output, (char)command, slice_of(bytes, len));
	if (worker.output.len > OUTPUT_MAX && !output_flush(session))
		return LIBMILTER_FAILURE;
	return LIBMILTER_SUCCESS;
}

size_t
smfi_setmaxdatasize(size_t size)
{
	return atomic_exchange(&sessions.payload_max, size);
}

static PRINTF_LIKE(1, 0) void
complain(const char *format, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	log_note(LOG_LEVEL_WARNING, "libmilter", "%s", text);
}

void
libmilter_syslog(int priority, const char *format, ...)
{
	va_list args;

	(void)priority;
	va_start(args, format);
	complain(format, args);
	va_end(args);
}

void
libmilter_syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list args;

	(void)priority;
	(void)flag;
	va_start(args, format);
	complain(format, args);
	va_end(args);
}

/* ---- for the front end and the process ---- */

size_t
sessions_look(bool is_crowded)
{
	uint64_t now_ms = clock_now_ms();
	size_t count = 0, late = 0;

	pthread_mutex_lock(&sessions.lock);
	LIST_EACH (item, &sessions.all) {
		struct session *session = CONTAINER(item, struct session, link);
		uint64_t deadline_ms = atomic_load(&session->deadline_ms);

		count++;
		if (deadline_ms == 0)
			continue;
		/* Some thread then reads the end. */
		if (now_ms >= deadline_ms ||
		    (is_crowded && !atomic_load(&session->has_spoken))) {
			shutdown(session->descriptor, SHUT_RDWR);
			late++;
		}
	}
	pthread_mutex_unlock(&sessions.lock);
	if (late > 0)
		log_note(LOG_LEVEL_INFO, "closed",
			 "%zu of %zu connections: they said nothing, or not all "
			 "of a packet, for too long",
			 late, count);
	return count;
}

uint64_t
sessions_longest_ms(void)
{
	uint64_t now_ms = clock_now_ms(), since_ms = now_ms;

	pthread_mutex_lock(&sessions.lock);
	LIST_EACH (item, &sessions.all) {
		uint64_t busy_since_ms =
			atomic_load(&CONTAINER(item, struct session, link)
					     ->busy_since_ms);

		if (busy_since_ms != 0 && busy_since_ms < since_ms)
			since_ms = busy_since_ms;
	}
	pthread_mutex_unlock(&sessions.lock);
	return now_ms - since_ms;
}

bool
sessions_know_steps(void)
{
	return true;
}

bool
sessions_is_at_end(void)
{
	return worker.session->command == PACKET_END;
}

void
sessions_agree_on_silence(void)
{
	worker.session->is_silent = true;
}

bool
sessions_is_silent(void)
{
	return worker.session->is_silent;
}

void
sessions_when_sent(void (*sent)(void *owner, bool is_told), void *owner)
{
	struct session *session = worker.session;

	ASSERT(session != NULL);
	/* What callbacks before this one were to say is there. */
	if (worker.sent_count == SENT_MAX)
		(void)output_flush(session);
	worker.sent[worker.sent_count].call = sent;
	worker.sent[worker.sent_count++].owner = owner;
}
