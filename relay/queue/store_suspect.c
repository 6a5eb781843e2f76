#include "relay/queue/store_suspect.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/limits.h"

#define MARK "queue.suspect"
/* How many starts, how long they have waited, and when the last one was. */
#define UNREADABLE "queue.unreadable-starts"
/* That of releases before, which had the starts alone, and would take another
 * number for them. */
#define UNREADABLE_BEFORE "queue.unreadable"
#define REASON_MAX 512

/* A handler has no other way to know. */
static volatile sig_atomic_t watched = -1;
static _Thread_local volatile sig_atomic_t is_inside;

/* What a damaged page leads to: an address that is not there, or behind the
 * end of the file. */
static const int signals[] = {SIGSEGV, SIGBUS};
static struct sigaction before[COUNT(signals)];

void
suspect_enter(void)
{
	is_inside = 1;
}

void
suspect_leave(void)
{
	is_inside = 0;
}

void
suspect_mark(const char *reason)
{
	int directory = watched, mark;

	if (directory < 0)
		return;
	mark = openat(directory, MARK, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		      0600);
	if (mark < 0)
		return;
	/* Without the reason it is a mark all the same. */
	if (write(mark, reason, strlen(reason)) >= 0)
		(void)fsync(mark);
	close(mark);
}

/* The same happens once more after this: to whoever handled it before, or as the
 * end of the process where the engine was led astray, which is no bug. */
static void
on_crash(int number)
{
	struct sigaction end = {.sa_handler = SIG_DFL};

	if (is_inside)
		suspect_mark(number == SIGBUS ? SUSPECT_BEYOND
					      : SUSPECT_ASTRAY);
	for (size_t i = 0; i < COUNT(signals); i++)
		if (signals[i] == number)
			sigaction(number, is_inside ? &end : &before[i], NULL);
}

void
suspect_watch(int directory)
{
	struct sigaction action = {.sa_handler = on_crash};

	ASSERT(watched < 0);
	watched = directory;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < COUNT(signals); i++)
		sigaction(signals[i], &action, &before[i]);
}

void
suspect_unwatch(void)
{
	if (watched < 0)
		return;
	watched = -1;
	for (size_t i = 0; i < COUNT(signals); i++)
		sigaction(signals[i], &before[i], NULL);
}

bool
suspect_read(int directory, struct text *reason)
{
	CLEAN(clean_descriptor)
	int mark = openat(directory, MARK, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (mark < 0)
		return false;
	len = read(mark, text_room(reason, REASON_MAX), REASON_MAX);
	text_added(reason, len > 0 ? (size_t)len : 0);
	return true;
}

void
suspect_clear(int directory)
{
	(void)unlinkat(directory, MARK, 0);
}

/* What the file of starts has, in its order. */
enum { STARTS, WAITED_MS, LAST_MS, NUMBERS };

static bool
numbers_read(int directory, uint64_t numbers[NUMBERS])
{
	CLEAN(clean_descriptor)
	int file = openat(directory, UNREADABLE, O_RDONLY | O_CLOEXEC);
	char text[REASON_MAX];
	ssize_t len = file < 0 ? -1 : read(file, text, sizeof(text));
	struct slice rest, part;

	if (len <= 0)
		return false;
	rest = slice_trim(slice_of(text, (size_t)len));
	for (size_t i = 0; i < NUMBERS; i++)
		if (!slice_split(&rest, ' ', &part) ||
		    !slice_number(part, &numbers[i]))
			return false;
	return true;
}

struct unreadable
suspect_unreadable(int directory)
{
	uint64_t now_ms = clock_wall_ms(), gap_ms = 0, numbers[NUMBERS];

	if (!numbers_read(directory, numbers))
		return (struct unreadable){0};
	if (now_ms > numbers[LAST_MS])
		gap_ms = now_ms - numbers[LAST_MS];
	if (gap_ms > STORE_UNREADABLE_GAP_MS)
		gap_ms = STORE_UNREADABLE_GAP_MS;
	return (struct unreadable){
		.starts = (unsigned)numbers[STARTS],
		.waited_ms = numbers[WAITED_MS] + gap_ms,
	};
}

/* Where it cannot be written, the disk is such that no start will do. */
void
suspect_note_unreadable(int directory)
{
	CLEAN(clean_descriptor)
	int file = openat(directory, UNREADABLE ".new",
			  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct unreadable found = suspect_unreadable(directory);

	if (file >= 0 &&
	    dprintf(file, "%u %" PRIu64 " %" PRIu64 "\n", found.starts + 1,
		    found.waited_ms, clock_wall_ms()) > 0 &&
	    fsync(file) == 0)
		(void)renameat(directory, UNREADABLE ".new", directory,
			       UNREADABLE);
}

void
suspect_forget_unreadable(int directory)
{
	(void)unlinkat(directory, UNREADABLE, 0);
	(void)unlinkat(directory, UNREADABLE_BEFORE, 0);
}
