/*
 * pass - another pass over a message that needs to be repaired
 * (milter/repair.h): its spooled or stored bytes are looked at, then handed on
 * changed.
 *
 * Bytes in memory are taken as they are; those of a file are read by the
 * store's readers, a chunk at a time.
 *
 * Ownership   pass_cancel() ends it in any state; it is gone when
 *             done() is called, and when needed() or decided() returns false.
 * Events      decided() once, done() once if that returned true. From the loop,
 *             or from inside pass_start() and pass_resume().
 */
#ifndef RELAY_PREPARE_PASS_H
#define RELAY_PREPARE_PASS_H

#include "milter/repair.h"
#include "relay/queue/store.h"

struct pass;

struct pass_setup {
	struct store *store;
	struct loop *loop;
	struct message *message; /* spooled; a reference is taken */
	/* Where it is not known what is needed: the bytes of the header first,
	 * in pieces; then needed() fills it in. NULL: `needs` says so. False:
	 * nothing is to be done. */
	void (*header)(void *owner, struct slice bytes);
	bool (*needed)(void *owner, struct repair_needs *needs_out);
	struct repair_needs needs;
	size_t header_max;
	/* What would be done. False: it is not to be written. */
	bool (*decided)(void *owner, const struct repair_report *report);
	/* A run of the repaired message. False: it is taken, but wait for
	 * pass_resume(). */
	bool (*take)(void *owner, struct slice bytes);
	/* NULL: all was taken. Else the bytes cannot be read; this may come
	 * before decided(). */
	void (*done)(void *owner, const struct fault *fault);
	void *owner;
};

/* *pass_out is set before anything is called. */
void pass_start(const struct pass_setup *setup, struct pass **pass_out);
void pass_resume(struct pass *pass);
void pass_cancel(struct pass **pass);

#endif
