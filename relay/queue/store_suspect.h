/*
 * store_suspect - remembers for the next start that the store is damaged.
 *
 * What shows only while the relay runs cannot be mended there: the engine has
 * the file open. So it leaves a mark in the state directory and ends; the next
 * start salvages. A crash inside of the engine counts as damage too.
 *
 * Who cannot read the file is not told so by that: another start may. It is
 * given up only after some time and some of them; both are noted there too.
 *
 * Thread      Any. One directory per process.
 */
#ifndef RELAY_QUEUE_STORE_SUSPECT_H
#define RELAY_QUEUE_STORE_SUSPECT_H

#include "base/fault.h"
#include "base/slice.h"

/* From now on crashes count; `directory` is the state directory, and stays
 * open. */
void suspect_watch(int directory);
void suspect_unwatch(void);

/* Around whatever has the engine read or write, on each thread. */
void suspect_enter(void);
void suspect_leave(void);

/* The reason of a mark where an address was used that is not there, and one
 * that is behind the end of the file or cannot be read. */
#define SUSPECT_ASTRAY "the engine crashed (SIGSEGV)"
#define SUSPECT_BEYOND "the engine crashed (SIGBUS)"

/* The first reason stays. Nothing where no directory is watched. May be called
 * in a signal handler. */
void suspect_mark(const char *reason);

/* Whether there is a mark, and why. */
bool suspect_read(int directory, struct text *reason);
void suspect_clear(int directory);

/* Starts in a row that have failed because the file could not be read. */
struct unreadable {
	unsigned starts;
	/* From the first of them until now, as far as somebody tried: between
	 * two, at most STORE_UNREADABLE_GAP_MS. A machine that was off, or a
	 * clock that was set, has not waited for the disk. */
	uint64_t waited_ms;
};
struct unreadable suspect_unreadable(int directory);
/* One more. */
void suspect_note_unreadable(int directory);
void suspect_forget_unreadable(int directory);

#endif
