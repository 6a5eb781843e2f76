/*
 * limits - every bound of the program that no option sets, and how they
 * relate. What is a matter of taste is an option; what keeps the program
 * standing is here.
 */
#ifndef RELAY_LIMITS_H
#define RELAY_LIMITS_H

#include <assert.h>
#include <stddef.h>

#include "base/clock.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* One loop per core, within reason. */
#define LOOPS_MAX 64

/*
 * What clients can make the relay hold in memory, at their worst, all at once:
 *
 *	RELAY_MEMORY                            the program, caches, a commit
 *	max_sessions × SESSION_MEMORY
 *	limits.max_memory                       bodies; what is beyond, files
 *	limits.max_memory / HELD_SHARE          envelopes and headers; beyond, 452
 *
 * SESSION_MEMORY is for each session:
 *
 *	  8 KiB  its records, and a small heap's losses
 *	 64      TLS: 19 while idle, a record of 16 each way, a handshake
 *	 64      input that waits while something is under way
 *	 32      replies that are not read (SESSION_OUTPUT_HIGH, in a buffer that
 *	         doubles)
 *	 16      of its envelope and header, which are counted beyond that
 *	 72      of a body, while the budget is used up and the file is written
 *
 * Where max_sessions is not given there are as many as half of the machine's
 * memory bears, or of what its control group may have: the rest is for
 * deliveries, the signer, and the kernel. Nor are there more than may have
 * their files open.
 */
#define RELAY_MEMORY (64 * MIB)
#define SESSION_MEMORY (256 * KIB)
#define TRANSACTION_MEMORY (16 * KIB)
#define HELD_SHARE 2
/* Of the memory that there is, where max_memory is not written. */
#define MEMORY_SHARE 8
#define SESSIONS_DEFAULT_MAX 20000
#define SESSIONS_DEFAULT_MIN 64
/* Descriptors: of a session its socket and a body's file; of all else but
 * deliveries. */
#define SESSION_FILES 2
#define RELAY_FILES 4096

/* Of max_sessions, clients outside allow_from that have not logged in. */
#define SESSIONS_OF_STRANGERS(max) ((max) - (max) / 4)
/* How long one of those may say nothing, and the same while they have more than
 * half of the places that the others leave to them; command_timeout is what it
 * has for logging in. It cannot send anything before. */
#define STRANGER_MS (1 * MINUTE)
#define STRANGER_HURRY_MS (10 * SECOND)

/* Streams. Above the high mark the producer stops until the low mark. */
#define STREAM_INPUT_MAX (64 * KIB)
#define STREAM_OUTPUT_HIGH (256 * KIB)
#define STREAM_OUTPUT_LOW(high) ((high) / 4)
/* Replies that a client has yet to read, above which nothing more of what it
 * says is heard. */
#define SESSION_OUTPUT_HIGH (16 * KIB)
/* Sessions that a loop has before the others, as long as it has time. */
#define SESSIONS_AHEAD_MAX 32
/* How long a finished stream may take to hand over its last bytes. */
#define STREAM_FINISH_MS (10 * SECOND)
#define STREAM_HURRY_MS (1 * SECOND) /* where only that keeps us from ending */
#define STREAM_HURRY_LOOK_MS 20      /* how often it is looked whether it does */

/* RFC 5321 4.5.3.1 asks for at least 512 octets of command line and 1000 of
 * text line; extensions add to the former (RFC 1870, 3461, 6531). */
#define COMMAND_LINE_MAX (4 * KIB)
#define AUTH_LINE_MAX (12 * KIB) /* AUTH, a response: RFC 4954 4 */
#define REPLY_LINE_MAX (4 * KIB)
#define REPLY_LINES_MAX 128
#define REPLY_TEXT_MAX (8 * KIB) /* kept of one whole reply */
/* Of a field of a header, for the log (RFC 5322 2.1.1). */
#define LOGGED_FIELD_MAX ((size_t)998)
/* RFC 5321 4.5.3.1.2, .3. */
#define DOMAIN_MAX 255
#define PATH_MAX_OCTETS 256
/* Logins: threads that hash passwords, and logins that may wait for them. */
#define LOGIN_THREADS 2
#define LOGIN_JOBS_MAX 1024
/* Dovecot's authentication server, a connection per loop: logins that it may
 * have in hand, its longest line, how long its greeting may take, and how long
 * until it is tried again, at first and at most. */
#define DOVECOT_REQUESTS_MAX 1024
#define DOVECOT_LINE_MAX (16 * KIB)
#define DOVECOT_GREETING_MS (10 * SECOND)
/* How long a connection is kept: a Dovecot that was told to stop, or to read
 * its configuration anew, goes on answering on those that it has. */
#define DOVECOT_KEEP_MS (5 * SECOND)
#define DOVECOT_AGAIN_MS (100) /* doubles with each failure */
#define DOVECOT_AGAIN_MAX_MS (10 * SECOND)
/* Digits of a BDAT's size. */
#define CHUNK_DIGITS_MAX 20
/* A body's deadline moves by what arrives: at least this rate. */
#define BODY_RATE_MIN 512 /* octets a second */
/* The same while more than half of max_incoming is taken: who is slow holds a
 * place that others wait for. */
#define BODY_RATE_PRESSED (8 * KIB)

/* Of a message that is sent on: with so much of it that has come to the peer, its
 * time (RFC 5321 4.5.3.2.5, 6) begins anew; less than one of many connections has
 * of a slow line. And how often it is looked what has. */
#define BODY_PROGRESS_MIN (4 * KIB)
#define BODY_LOOK_MS (1 * MINUTE)

/* Bodies up to this size are values in the store, in chunks; larger ones are a
 * file each. A chunk, its checksum (8) and the engine's page header (16) fill
 * whole pages. */
#define BODY_CHUNK (16 * KIB - 24)
#define BODY_INLINE_MAX (16 * BODY_CHUNK)
/* Of a body in a file, read at a time. */
#define BODY_READ_CHUNKS 8
#define BODY_READ_MAX (BODY_READ_CHUNKS * BODY_CHUNK)
/* Sent to one host at most before others have their turn. */
#define BODY_TURN_MAX (512 * KIB)

/* Store: operations waiting for the store thread; beyond, 452. */
#define STORE_OPERATIONS_MAX 65536
#define STORE_GROUP_MAX 1024
/* How long settlements wait for an operation that somebody waits for, and how
 * many do. What they are of may be sent twice if the relay is killed. */
#define STORE_PATIENCE_MS 10
#define STORE_PATIENT_MAX 64
/* How long a group waits for puts that were expected when its first one came.
 * They come as quickly as they are signed; this is for those that do not. */
#define STORE_GATHER_MS 5
#define STORE_GATHER_MIN 3 /* fewer are not waited for */
/* The engine keeps what a group writes in memory until the commit, and does not
 * give all of it back: beyond this, what waits goes with the next group. */
#define STORE_GROUP_BYTES (16 * MIB)
/* Of the disk, kept for the store behind its file's end. A delivery that ends
 * takes new pages before it gives any back, and the disk may be full by then,
 * by whoever's doing. */
#define STORE_RESERVE_BYTES (8 * MIB)
#define STORE_RESERVE_AGAIN_MS (10 * SECOND) /* where there was no room for it */
/* With 32 bits the program needs as much again, and the engine of Debian 12 has
 * no files beyond 2 GiB there. */
#define STORE_MAP_SIZE ((size_t)1 << (sizeof(size_t) > 4 ? 40 : 30))
/* Where the address space does not allow that, half of it, and so on; of 1 TiB
 * down to 1 GiB. */
#define STORE_MAP_HALVINGS (sizeof(size_t) > 4 ? 10 : 4)
/* Of the map, kept for what becomes of deliveries: a share, and no more than
 * this. Groups of them fit into it many times (STORE_GROUP_BYTES). */
#define STORE_MAP_KEPT_SHARE 8
#define STORE_MAP_KEPT_MAX (64 * MIB)
/* Deliveries that one operation alters, and that one page of a listing has:
 * whoever waits for the store meanwhile should not notice. */
#define STORE_ALTER_MAX 256
#define STORE_PAGE_MAX 256
#define STORE_READERS 2           /* threads for reads of the store */
#define STORE_READS_MAX 16384     /* waiting for them */
#define STORE_LACK_TELL_MS (1 * MINUTE) /* why mail is refused, in the log */
#define CROWD_TELL_MS (1 * MINUTE)      /* and why connections are */
#define STORE_SPACE_CHECK_MS 200  /* how long a look at the disk is good for */
#define STORE_READERS_CHECK_MS (1 * MINUTE) /* for ones that have died */
/* For so long, and at so many starts, a file that cannot be read is asked for
 * again; the next start salvages what can be. */
#define STORE_UNREADABLE_MS (10 * MINUTE)
#define STORE_UNREADABLE_STARTS 3
#define STORE_UNREADABLE_GAP_MS MINUTE /* between two of them, what counts */
/* Of the two checks at start. */
#define STORE_VERIFY_MS (SECOND / 2)
#define STORE_CHECK_MS (SECOND / 2)

/* Spool: bytes of one message that go to its file together, while less than a
 * share of max_memory is in use and afterwards; half as many more, and the writer
 * waits. Threads for all files, and files that may wait for them. */
#define SPOOL_BATCH_LARGE (80 * BODY_CHUNK)
#define SPOOL_BATCH_SMALL (16 * BODY_CHUNK)
#define SPOOL_LARGE_SHARE 4
#define SPOOL_THREADS 4
#define SPOOL_JOBS_MAX 16384

/* Scheduler: leases held in memory at once. */
#define LEASES_MAX_PER_DESTINATION 256
#define LEASES_SHARE 8           /* of a loop's, at most, for what is handed
				    over to one destination */
#define LEASE_READ_BATCH 64
#define LEASE_READ_BATCH_FIRST 2 /* of a destination that has yet to take any;
				    it doubles with each batch taken */
#define LEASE_SWEEP_BATCH 16     /* of one that nobody gets to, for whom that
				    is the end */
#define LEASES_MAX 16384         /* all destinations together */
/* Settlements that make reports at once, all loops together: each has its
 * original and a report or two in memory. Many may expire together. */
#define SETTLE_REPORTS_MAX 256
/* A settlement that cannot be stored now is tried again. */
#define SETTLE_RETRY_MS (1 * SECOND)
#define SETTLE_RETRY_MAX_MS (1 * MINUTE)
/* One whose report was put off: twice as long each time, within these. */
#define SETTLE_REPORT_RETRY_MS (1 * MINUTE)
#define SETTLE_REPORT_RETRY_MAX_MS (30 * MINUTE)
/* Due times are wall time: look again at least this often. */
#define SCHEDULE_SLEEP_MAX_MS (5 * MINUTE)
#define SCHEDULE_READ_RETRY_MS (5 * SECOND)
/* Of the destinations that are due at a start, a loop begins with so many at
 * once; between these it has time for what comes in. */
#define SCHEDULE_RECOVER_MAX 16
#define SCHEDULE_RECOVER_MS 10
/* delivery/ was not ready to let a destination go. */
#define SCHEDULE_GONE_RETRY_MS (1 * SECOND)
#define SCHEDULE_STOPPING_MS 50 /* the same, at a stop */
/* LEASES_MAX is reached: look again. */
#define SCHEDULE_STARVED_MS (1 * SECOND)

/* Of a message for no more than these it is assumed that somebody waits for it:
 * it does not stand behind mail for many. Less than the 50 at a time that Postfix
 * passes a larger message on with (default_destination_recipient_limit). */
#define PROMPT_RECIPIENTS_MAX 20

/* DNS. */
#define DNS_TRIES 3
#define DNS_TIMEOUT_MS (3 * SECOND)
#define DNS_QUERIES_MAX 32768 /* questions under way, per loop */
#define DNS_CACHE_MAX 65536 /* entries per loop */
#define DNS_TTL_MAX_MS (1 * HOUR)
#define DNS_NEGATIVE_TTL_MAX_MS (5 * MINUTE)
#define DNS_CACHE_BYTES_MAX (32 * MIB) /* per loop */
#define DNS_SOCKETS_MAX 512  /* questions on the wire at once, per loop; the
				rest of DNS_QUERIES_MAX waits */
#define DNS_EDNS_SIZE 1232   /* UDP payload that no path cuts (flag day 2020) */
#define DNS_RECORDS_MAX 256  /* read of one answer */
#define DNS_ALIASES_MAX 8    /* steps of CNAME */
#define DNS_RESOLVERS_MAX 8
#define RESOLVERS_LOOK_MS (2 * SECOND) /* whether the machine has others */
/* One destination: two questions for each host, and addresses of it, of all
 * hosts together that an attempt tries. The last is eight minutes of
 * CONNECT_TIMEOUT_MS, and little more of CONNECT_HURRY_MS. */
#define MX_HOSTS_MAX 32
#define NEXT_HOPS_MAX 8 /* that a smarthost or a route names */
#define MX_HOST_ADDRESSES_MAX 8
#define MX_HOST_ADDRESSES_LOOKED_AT 16 /* of one answer: each may take system
					  calls to see where it leads */
#define MX_ADDRESSES_MAX 16

/* Delivery. */
#define CONNECT_TIMEOUT_MS (30 * SECOND)
#define CONNECT_HURRY_MS (5 * SECOND) /* while there is another address */
#define CONNECTION_IDLE_MS (2 * SECOND) /* kept for the next message */
#define CONNECTION_MESSAGES_MAX 100     /* transactions on one connection */
#define CONNECTION_AGE_MS (5 * MINUTE)  /* beyond which it carries no more */
#define CONNECTIONS_AHEAD_MAX 8 /* of a destination on its own loop, before others
				   have any, as long as it has time */
#define ATTEMPT_TRANSACTIONS_MAX 10 /* of one message in one go, and for how long
				       another is begun: their results are stored
				       before the rest has its turn */
#define ATTEMPT_MAX_MS (10 * SECOND)
#define CONNECTION_SHARE 10 /* transactions of one destination while others wait
			       for a connection to the same hosts */

/* Connections to all hosts: each may have two leases in hand, and what waits
 * for one has the rest. */
#define OUTGOING_MAX (LEASES_MAX / 4)
#define OUTGOING_DEFAULT 2000

/* Commands that ask a running relay. */
#define CONTROL_CLIENTS_MAX 16
#define CONTROL_LINE_MAX (1 * KIB)
#define CONTROL_SENDER_MAX (2 * PATH_MAX_OCTETS)
#define CONTROL_TIMEOUT_MS (10 * SECOND)

/* Destinations that a status shows unless more are asked for, those that it
 * shows at most, and how far it counts what waits for each. */
#define STATUS_DESTINATIONS 20
#define STATUS_DESTINATIONS_MAX 10000
#define STATUS_DEPTH_MAX 1000

/* The milter's connections (milter/sessions.h): how often to look through them,
 * and how many there may be beyond milter.max_connections, just being refused,
 * before accepting pauses. */
#define MILTER_LOOK_MS (1 * SECOND)
#define MILTER_SLACK 256
/* How long a thread may be at one packet before it is said to hang: longer than
 * records, a signer that is replaced, and an MTA that reads its answer may take,
 * one after the other but for the last. */
#define MILTER_DNS_TIMEOUT_MAX_MS (1 * MINUTE)
#define MILTER_BUSY_MS (2 * MINUTE)
/* Messages that may wait for their signatures without waiting for each other. */
#define MILTER_SIGNERS_PER_CORE 8

/* Looks at the signer, and how many in a row may find that it does not go on. */
#define SIGNER_LOOK_MS (2 * SECOND)
#define SIGNER_LOOKS_MAX 6
/* A relay or milter process of which a thread does not go on is replaced after
 * so long, where no service manager asks for signs of life and sets its own
 * time. One write to a slow disk may take long; after this the kernel, too, says
 * that a task which waits for one hangs. */
#define WORKER_HANGS_MS (2 * MINUTE)

/* At a stop, for all that is under way. Of it: clients may send the rest of a
 * message for so long; and so long, at its end, may the disk take over what has
 * become of deliveries, and so long may clients be told what of theirs it took
 * over. */
#define STOP_GRACE_MS (30 * SECOND)
#define STOP_DATA_MS (25 * SECOND)
#define STOP_FLUSH_MS (2 * SECOND)
#define STOP_ANSWER_MS (SECOND / 2)

static_assert(STREAM_INPUT_MAX > COMMAND_LINE_MAX &&
		      STREAM_INPUT_MAX > AUTH_LINE_MAX,
	      "a whole command fits into the input");
static_assert(STOP_DATA_MS + STOP_FLUSH_MS + STOP_ANSWER_MS < STOP_GRACE_MS,
	      "a message that has just come is stored and answered in time");
static_assert(DNS_QUERIES_MAX >= 2 * LEASES_MAX,
	      "each delivery in memory may ask for a domain of its own");
static_assert(SETTLE_REPORTS_MAX >= LOOPS_MAX, "each loop may make one");
static_assert(CONTROL_LINE_MAX > CONTROL_SENDER_MAX + DOMAIN_MAX + 128,
	      "every request fits into a line");
static_assert(BODY_INLINE_MAX % BODY_CHUNK == 0, "whole chunks");

#endif
