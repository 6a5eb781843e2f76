/*
 * ends - the two ends of a connection on one loop, and what each of them saw.
 */
#ifndef TESTS_UNIT_RELAY_NET_ENDS_H
#define TESTS_UNIT_RELAY_NET_ENDS_H

#include "relay/net/stream.h"

/* One end: what it saw, and what it is to do about it. */
struct end {
	struct stream *stream;
	struct text input;
	char events[64]; /* one letter each */
	size_t events_count;
	bool takes_none; /* leaves its input */
	enum { NOTHING, CLOSE, FINISH } when_it_comes;
	enum stream_event then;
	struct slice answer; /* written at DATA */
	bool pours;          /* all that there is, at DATA and DRAINED */
};

struct pouring {
	struct text all;
	size_t at, calls;
	bool waits; /* for DRAINED, whenever told to */
};

extern struct pouring pouring; /* what an end that pours has to say */
extern struct loop loop;
extern struct end server, client;
extern int send_buffer; /* the server's in the kernel; 0: as it is */
extern struct text certificate, key;
extern struct tls_context *server_context, *client_context;

#define UNTIL(condition)                                                       \
	do {                                                                   \
		for (unsigned i_ = 0; !(condition); i_++) {                    \
			cr_assert_lt(i_, 100000, "never: " #condition);        \
			uv_run(&loop.uv, UV_RUN_ONCE);                         \
		}                                                              \
	} while (0)

int listen_somewhere(struct address *address);
/* Both ends, connecting. */
void start(void);
void turn(unsigned times);
bool saw(const struct end *end, char letter);
/* Without a sleep, which UNTIL() ends only with more to come. */
void turn_until(const struct end *end, char letter);
void on_event(void *owner, enum stream_event event);
void secure_client(void);
void secure_both(void);
/* Every handle goes, or loop_done() asserts. */
void stop(void);

#endif
