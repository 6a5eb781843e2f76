/*
 * sessions - the connections of MTAs that libmilter serves: who reads them,
 * who waits for them, and how long.
 *
 * libmilter knows the protocol. What it does on the network costs more than
 * all the rest (a poll and a read for each packet's head, again for what
 * follows, a write for each reply, and a thread to tell another of a socket
 * that is ready), and keeps a thread for whoever says half a packet. So where
 * its static library is there (sessions.c), that part of it is left out
 * (libmilter.sh) and this takes its place:
 *
 * * One epoll, from which all threads take what is ready. There is always one
 *   that waits; whoever is the last to go starts another. So no MTA waits for
 *   a thread that waits for the DNS, and there are never more threads than
 *   messages that wait for something, and a few.
 * * A thread serves a connection only while it has whole packets. It reads what
 *   is there at once, and writes its replies together, before it waits.
 * * What libmilter has to say goes to our log (event "libmilter").
 * * What libmilter would read beyond, or misunderstand, does not reach it:
 *   packet.h; and QUIT_NC always begins a new client, where libmilter after an
 *   accepted message would take the next one's mail for the last one's.
 *
 * Where there is the shared library alone (sessions_shared.c) its own threads
 * do as they do, and the process looks through its sockets from outside.
 *
 * Bounds      A connection that waits holds no more than the part of a packet
 *             that has come. How long it may: see below.
 * Thread      sessions_look() and sessions_longest_ms(): any. The others: from
 *             libmilter's callbacks, and about the connection that called.
 */
#ifndef MILTER_SESSIONS_H
#define MILTER_SESSIONS_H

#include "base/slice.h"

/* How long an MTA may take
 * - from connecting to its first packet, which it sends at once; */
#define SESSIONS_FIRST_MS 10000
/* - for the rest of a packet; */
#define SESSIONS_PACKET_MS 60000
/* - for it before the message's header comes: Postfix sends of what needs no
 *   answer what fills its buffer, and the rest when its own client goes on,
 *   which may take five minutes (smtpd_timeout); */
#define SESSIONS_ENVELOPE_MS 330000
/* - between packets: as long as its client keeps its own connection: an hour,
 *   where that is Sendmail (Timeout.command). */
#define SESSIONS_IDLE_MS 3700000

/* How many there are. Those that have waited for too long are shut down; where
 * it is crowded, at once those that have not said a whole packet yet. */
size_t sessions_look(bool is_crowded);
/* For how long a thread has been at the same packet, and at the same write of
 * replies to one: the longest, of all. 0: none is at any. Of libmilter's own
 * threads that is not known: 0. */
uint64_t sessions_longest_ms(void);
/* Whether sessions_is_at_end() can be told. */
bool sessions_know_steps(void);
/* The packet in hand is the message's end, not a piece of its body. */
bool sessions_is_at_end(void);
/* What has been agreed with the MTA holds for the connection, whatever clients
 * follow on it: that an end of a header gets no answer. Where steps are not
 * known it never is. */
void sessions_agree_on_silence(void);
bool sessions_is_silent(void);
/* Calls back once what the MTA is told by now, and the present callback's own
 * answer, has been sent, or cannot be: is_told. Of libmilter's own sessions
 * that is not known: it is called at once, with true. */
void sessions_when_sent(void (*sent)(void *owner, bool is_told), void *owner);

#endif
