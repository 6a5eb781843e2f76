#include "base/log_ring.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

/* How long a stuck stderr may hold up log_stop() and a program without a log
 * thread. */
#define LOG_STUCK_MS 5000

/* Lines that come so soon after one that was written are written together. */
#define LOG_GATHER_MS 10

static _Atomic uint64_t log_dropped_lines;

/*
 * The ring has two halves: producers copy whole lines into the one that is
 * filling and never wait for more than such a copy; the log thread turns the
 * ring round and writes the other half with the lock released.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	pthread_t thread;
	char *filling, *writing;
	size_t used;     /* of filling */
	bool is_waiting; /* the log thread, for the first line */
	bool is_running, is_stopping, has_thread;
} ring = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.filled = PTHREAD_COND_INITIALIZER,
};
#define RING_HALF (LOG_RING_BYTES / 2)
#define RING_URGENT (RING_HALF / 2) /* there is no time to gather */
static_assert(RING_HALF > 2 * LOG_LINE_MAX, "a line fits into half the ring");

/* When a disk fails several threads find out, and each ends the process: one of them
 * at a time waits for the log thread. */
static pthread_mutex_t stop_lock = PTHREAD_MUTEX_INITIALIZER;

/* Lines of several threads must not be mixed on stderr. */
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
/* Under write_lock: the last byte was no LF; the last wait was in vain. */
static bool is_line_broken, is_stuck;

/* ---- stderr ---- */

static uint64_t
lines_in(const char *bytes, size_t len)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < len; i++)
		lines += bytes[i] == '\n';
	return lines;
}

/* Nobody may ever read stderr again: the log thread waits on, others for so
 * long, and after that no longer for each line. */
static bool
stderr_wait(bool is_patient)
{
	struct pollfd wanted = {.fd = STDERR_FILENO, .events = POLLOUT};
	int ready, timeout_ms = is_patient ? -1 : LOG_STUCK_MS;

	if (!is_patient && is_stuck)
		timeout_ms = 0;
	do {
		ready = poll(&wanted, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	is_stuck = ready <= 0;
	return ready > 0;
}

/* As many whole lines as one write takes. Other processes write here as well,
 * and a pipe mixes what is longer than PIPE_BUF when it is nearly full: of a
 * line that is longer itself the start goes alone. */
static size_t
piece_length(const char *bytes, size_t len)
{
	const char *last;

	if (len <= PIPE_BUF)
		return len;
	last = memrchr(bytes, '\n', PIPE_BUF);
	return last != NULL ? (size_t)(last - bytes) + 1 : PIPE_BUF;
}

static size_t
stderr_write_some(const char *bytes, size_t len, bool is_patient)
{
	size_t done = 0;

	while (done < len) {
		ssize_t written;

		/* A blocking pipe that is ready takes one piece at once. */
		if (!is_patient && !stderr_wait(false))
			break;
		written = write(STDERR_FILENO, bytes + done,
				piece_length(bytes + done, len - done));
		if (written > 0)
			done += (size_t)written;
		else if (written < 0 && errno == EAGAIN) {
			if (!stderr_wait(is_patient))
				break;
		} else if (written == 0 || errno != EINTR)
			break;
	}
	return done;
}

/* Whole lines. What cannot be written is counted as dropped, and a line that
 * was cut in the middle is ended before the next one. */
static void
stderr_write(const char *bytes, size_t len, bool is_patient)
{
	size_t done = 0;

	pthread_mutex_lock(&write_lock);
	if (!is_line_broken || stderr_write_some("\n", 1, is_patient) == 1) {
		is_line_broken = false;
		done = stderr_write_some(bytes, len, is_patient);
		is_line_broken = done > 0 && bytes[done - 1] != '\n';
	}
	pthread_mutex_unlock(&write_lock);
	if (done < len)
		atomic_fetch_add(&log_dropped_lines,
				 lines_in(bytes + done, len - done));
}

/* The same for a thread that did not block SIGPIPE: a closed stderr must not
 * end the program, and a SIGPIPE of others must not be lost. */
static void
stderr_write_directly(const char *bytes, size_t len)
{
	static const struct timespec at_once;
	sigset_t pipe_only, pending, before;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	stderr_write(bytes, len, false);
	if (!sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 &&
		       errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the ring and its thread ---- */

/* True when the log thread took care of the line, if only by dropping it. */
static bool
ring_take(struct slice line)
{
	bool is_taken;

	pthread_mutex_lock(&ring.lock);
	is_taken = ring.is_running;
	if (is_taken && line.len > RING_HALF - ring.used) {
		atomic_fetch_add(&log_dropped_lines, 1);
	} else if (is_taken) {
		memcpy(ring.filling + ring.used, line.bytes, line.len);
		ring.used += line.len;
		if (ring.is_waiting || ring.used >= RING_URGENT)
			pthread_cond_signal(&ring.filled);
	}
	pthread_mutex_unlock(&ring.lock);
	return is_taken;
}

/* With the lock. Who sends a line then need not wake the log thread, and it
 * need not write each by itself: both cost more than making the line. */
static void
ring_gather(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOG_GATHER_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!ring.is_stopping && ring.used < RING_URGENT &&
	       pthread_cond_clockwait(&ring.filled, &ring.lock, CLOCK_MONOTONIC,
				      &until) == 0)
		continue;
}

/* Waits for lines; they are then in ring.writing. 0: nothing more will come,
 * and from now on log_send() writes itself. */
static size_t
ring_turn(bool has_written)
{
	size_t len;

	pthread_mutex_lock(&ring.lock);
	if (has_written)
		ring_gather();
	ring.is_waiting = true;
	while (ring.used == 0 && !ring.is_stopping)
		pthread_cond_wait(&ring.filled, &ring.lock);
	ring.is_waiting = false;
	len = ring.used;
	if (len > 0) {
		char *filled = ring.filling;

		ring.filling = ring.writing;
		ring.writing = filled;
		ring.used = 0;
	} else {
		ring.is_running = false;
	}
	pthread_mutex_unlock(&ring.lock);
	return len;
}

static void
dropped_tell(uint64_t *told)
{
	CLEAN(text_done) struct text line = {0};
	uint64_t dropped = log_dropped();

	if (dropped == *told)
		return;
	log_write_dropped(&line, dropped - *told, dropped);
	stderr_write(line.bytes, line.len, true);
	*told = dropped;
}

static void *
ring_drain(void *unused)
{
	uint64_t told = 0;
	bool has_written = false;
	size_t len;

	(void)unused;
	pthread_setname_np(pthread_self(), "log");
	while ((len = ring_turn(has_written)) > 0) {
		has_written = true;
		stderr_write(ring.writing, len, true);
		dropped_tell(&told);
	}
	return NULL;
}

static void
ring_free(void)
{
	free(ring.filling);
	free(ring.writing);
	ring.filling = ring.writing = NULL;
}

bool
log_start(struct fault *fault)
{
	sigset_t all, before;
	int error;

	ASSERT(!ring.has_thread);
	ring.filling = memory_new(RING_HALF);
	ring.writing = memory_new(RING_HALF);
	ring.is_running = true;
	ring.is_stopping = false;
	/* Signals are for the thread that waits for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&ring.thread, NULL, ring_drain, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ring.has_thread = error == 0;
	if (ring.has_thread)
		return true;
	ring.is_running = false;
	ring_free();
	errno = error;
	return fault_errno(fault, "starting the log thread");
}

/* With the stop lock. */
static void
ring_stop(void)
{
	struct timespec until;

	pthread_mutex_lock(&ring.lock);
	ring.is_stopping = true;
	pthread_cond_signal(&ring.filled);
	pthread_mutex_unlock(&ring.lock);
	ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
	until.tv_sec += LOG_STUCK_MS / 1000;
	/* A stderr that nobody reads must not keep the program from ending:
	 * the thread then keeps the ring until the process is gone. */
	if (pthread_clockjoin_np(ring.thread, NULL, CLOCK_MONOTONIC, &until) !=
	    0)
		return;
	ring.has_thread = false;
	ring_free();
}

void
log_stop(void)
{
	pthread_mutex_lock(&stop_lock);
	if (ring.has_thread)
		ring_stop();
	pthread_mutex_unlock(&stop_lock);
}

uint64_t
log_dropped(void)
{
	return atomic_load(&log_dropped_lines);
}

void
log_ring_add(struct slice line)
{
	if (!ring_take(line))
		stderr_write_directly(line.bytes, line.len);
}
