/*
 * handover - what supervisor and relay process say to each other.
 *
 * Over one socketpair (AF_UNIX, SOCK_SEQPACKET). The supervisor hands over
 * whole generations: the configuration's bytes, the public halves of the keys,
 * passwords for next hops, the users and the TLS certificates of listeners in a
 * sealed memory file, the listening sockets and the relay's ends of the signer's
 * sockets as descriptors. The relay answers
 * that it is ready, or why not, with the serial of the generation that it means.
 * A message that does not parse is a fault, never guessed at.
 */
#ifndef RELAY_HANDOVER_H
#define RELAY_HANDOVER_H

#include "base/fault.h"
#include "base/slice.h"
#include "relay/listener_files.h"

/* Listeners and loops together stay below the kernel's SCM_MAX_FD (253). */
#define HANDOVER_LISTENERS_MAX 128
#define HANDOVER_SIGNERS_MAX 64
#define HANDOVER_TEXT_MAX 1024
#define HANDOVER_BYTES_MAX ((size_t)256 << 20)

enum handover_kind {
	HANDOVER_GENERATION = 1, /* supervisor: all of it */
	HANDOVER_STOP,           /* supervisor: stop within the grace period */
	HANDOVER_READY,          /* relay: the generation is in use */
	HANDOVER_REFUSED,        /* relay: it is not, the old one stays; text */
	HANDOVER_ASK,            /* supervisor: do all of your threads go on? */
	HANDOVER_ALIVE,          /* relay: they do; the serial is the question's */
	HANDOVER_RESOLVERS,      /* supervisor: ask those of the text */
};

struct handover {
	enum handover_kind kind;
	uint64_t serial; /* of a generation; its answer repeats it */
	struct text text;                 /* of REFUSED, RESOLVERS */
	/* of GENERATION; the slices point into bytes */
	struct text bytes;
	struct slice sources, publics;
	struct slice passwords; /* of the next hops: relay/login.h */
	struct slice files[HANDOVER_LISTENERS_MAX][LISTENER_FILES];
	size_t listeners_count, signers_count;
	int listeners[HANDOVER_LISTENERS_MAX];
	int signers[HANDOVER_SIGNERS_MAX];
};

/* A supervisor's generation: sources, publics, passwords and the files of the
 * listeners are set; descriptors stay the caller's. */
bool handover_send_generation(int control, const struct handover *handover,
			      struct fault *fault) MUST_USE;
/* STOP, ASK and RESOLVERS (relay/resolvers.h); READY and REFUSED (with its text),
 * which answer a generation; ALIVE, which answers ASK. */
bool handover_send(int control, enum handover_kind kind, uint64_t serial,
		   struct slice text, struct fault *fault) MUST_USE;
/* Blocks when the socket does. FAULT_ABSENT: the other end is gone; FAULT_BUSY:
 * nothing there (nonblocking). Descriptors become the caller's. */
bool handover_receive(int control, struct handover *handover_out,
		      struct fault *fault) MUST_USE;
/* The supervisor's side of it: never blocks, takes only answers, and no
 * descriptor: a message with some stays where it is.
 * The relay process reads what strangers send, and may have become one. */
bool handover_receive_answer(int control, struct handover *handover_out,
			     struct fault *fault) MUST_USE;
/* Closes the supervisor's end, once the other process has ended, and with it the
 * sockets that may have been sent: none is waited for. -1: nothing. */
void handover_close(int *control);
/* Cleanses and frees the bytes, and closes descriptors that were not taken (-1). */
void handover_done(struct handover *handover);

#endif
