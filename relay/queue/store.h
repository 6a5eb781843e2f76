/*
 * store - the durable queue. Only store_engine*.c know the engine
 * (LMDB).
 *
 * One store thread is the only writer. Operations queue up for it; while one
 * group is being synced, whoever comes waits for the next. A commit costs as
 * much as a signature, so a group also waits for the puts that were under way
 * (store_expect) when its first one came; one that comes alone waits for
 * nothing. Settlements, which nobody waits for, wait a moment for the next that
 * somebody does (STORE_PATIENCE_MS). Callbacks come on the loop named in the
 * operation, once the group is durable. Reads of stored messages and bodies run
 * on the reader worker.
 *
 * The interface is to carry another engine later, so no caller may assume that
 * the store is a file of this machine or that it is alone.
 *
 * State kept   message (envelope, prefix, body as chunks or file), and per
 *              (message, destination) one delivery: its recipients with
 *              attempts and last reply, and when it is due. Every record and
 *              chunk carries a checksum.
 * Damage       A record that cannot be read is named and set aside. Where it
 *              is the structure, the process ends and the next start salvages
 *              what is whole (store_salvage.h).
 * Errors       A put that fails alone (too big, no space) fails alone. A
 *              failed sync is fatal: the process ends (exit 75), the
 *              supervisor starts it again, nothing was acknowledged.
 */
#ifndef RELAY_QUEUE_STORE_H
#define RELAY_QUEUE_STORE_H

#include "relay/net/worker.h"
#include "relay/queue/message.h"
#include "relay/queue/outcome.h"
#include "relay/queue/quota.h"
#include "relay/queue/selection.h"
#include "relay/routing.h"

struct store;
struct spool_room;

/* state_dir is the current directory of the process (the supervisor sees to
 * it), else `path` is a directory to open, made if missing. Takes the lock: a
 * second relay on it gets FAULT_BUSY. Checks the store first, and makes a
 * new one of what is left of a damaged one. min_free_bytes: below it puts fail
 * with FAULT_LIMIT. */
bool store_open(const char *path, uint64_t min_free_bytes,
		struct store **store_out, struct fault *fault) MUST_USE;
/* Bounds that options set; at any time (a reload). 0: none. */
struct store_limits {
	uint64_t memory_bytes;   /* of messages in memory, all together; what
				    is beyond goes to files. 0: all goes */
	uint64_t held_bytes;     /* of envelopes and headers in memory */
	uint64_t min_free_bytes; /* on the disk */
	uint64_t incoming_bytes; /* of messages being received, wherever they
				    lie */
	uint64_t messages, bytes; /* that the queue may hold */
};
void store_set_limits(struct store *store, const struct store_limits *limits);
/* Writes out every operation that is queued now; none waits for others any more.
 * False: it takes longer. Not from the store thread. */
bool store_flush(struct store *store, uint64_t timeout_ms) MUST_USE;
/* Every put from now on fails (BUSY), whoever began it: what is stored behind
 * the last flush would never be answered. */
void store_take_no_more(struct store *store);
/* Writes out every operation queued, then closes. No read may be open. */
void store_close(struct store *store);
/* What a put of this size would be refused for now, which is also logged, now
 * and then (no-room). Reports of ours are taken all the same. Any thread. */
enum store_lack {
	STORE_LACKS_NOTHING,
	STORE_LACKS_TIME,   /* too many operations wait */
	STORE_LACKS_DISK,   /* low on space */
	STORE_LACKS_MAP,    /* its file may not grow any more */
	STORE_LACKS_PLACE,  /* the queue holds as much as it may */
	STORE_LACKS_INTAKE, /* too much is being received */
	STORE_LACKS_INTAKE_PART, /* of one client, while room is short */
	STORE_LACKS_MEMORY,      /* for envelopes and headers */
	STORE_LACKS_MEMORY_PART, /* the same of one client */
	STORE_LACKS_COUNT,
};
enum store_lack store_lacks(struct store *store, uint64_t size_bytes);
/* The same before a message of the client whose part it is comes in: the session
 * asks before it says 354. */
enum store_lack store_lacks_for_new(struct store *store,
				    const struct quota_part *part,
				    uint64_t size_bytes);
/* Bytes of a message that is being received, before they are kept; own: what it
 * has reserved already. Nothing is reserved where something is lacking. Any
 * thread. */
enum store_lack store_reserve(struct store *store, struct quota_part *part,
			      uint64_t own, uint64_t bytes) MUST_USE;
void store_release(struct store *store, struct quota_part *part,
		   uint64_t bytes);
/* More than half of what may be reserved is: whoever takes long is in the way. */
bool store_is_pressed(const struct store *store);
/* The same of memory for what goes to no file. */
enum store_lack store_lacks_memory(struct store *store,
				   const struct quota_part *part, uint64_t own,
				   uint64_t bytes);
enum store_lack store_hold(struct store *store, struct quota_part *part,
			   uint64_t own, uint64_t bytes) MUST_USE;
void store_let_go(struct store *store, struct quota_part *part,
		  uint64_t bytes);

/* A recipient's state, in a delivery. */
struct delivery_recipient {
	unsigned index;        /* in message->recipients */
	unsigned number;       /* among all that the message was given: what
				  is in memory of a stored one may have no
				  others than the delivery's */
	unsigned attempts;     /* so far */
	struct slice reply;    /* last one, or fault; "" at first */
	struct slice status;   /* RFC 3463, of the last attempt; may be "" */
	struct slice mx;       /* the host asked last; "" : none */
	/* set by the delivery for settling */
	enum outcome outcome;
	bool is_damage;        /* as in recipient_result */
	bool is_report_owed;   /* the outcome is final, stored, and nobody has
				  been told yet */
};

/* One message's recipients at one destination. */
struct delivery {
	struct list link;
	struct message *message;    /* a reference */
	struct slice destination;   /* relay/routing.h */
	struct arena arena;         /* of all slices in here */
	struct delivery_recipient *recipients;
	size_t recipients_count;
	uint64_t due_ms;            /* wall; as stored */
	uint64_t last_attempt_ms;   /* wall; 0: none yet */
	/* The store's version that has it, where it was just put: a read of
	 * that version or a later one sees it. */
	uint64_t version;
	bool is_prompt;             /* delivery_is_prompt() */
	bool is_held;
	bool is_delay_told;         /* a report of the delay has been sent */
	bool is_owed_attempt;       /* one more, however old it is: somebody
				       has asked for it */
	bool is_report_owed;        /* of some recipients; due_ms: for it */
	unsigned report_tries;      /* of that: put off so often, retry.h */
	void *lease;                /* the schedule's */
};

/* The store's own part of an operation. */
struct store_operation {
	struct list link;
	struct store *store;
	int kind;
	bool has_dead_file;
	struct fault fault;
	struct post post;
	struct job job;
};

/* --- put: message and its deliveries, durable on done --- */
struct store_put {
	struct message *message;    /* a reference is held until done */
	struct loop *loop;
	/* On the loop. fault NULL: durable. LIMIT: 452; else 451. Where it is
	 * NULL, `deliveries` holds one struct delivery per destination, due
	 * now, for the scheduler to take over. */
	void (*done)(struct store_put *put, const struct fault *fault);
	struct list deliveries;
	void *private;              /* the caller's */
	struct store_operation operation;
};
void store_put(struct store *store, struct store_put *put);
/* A put will come, within about the time of a signature: others may wait for
 * it, for STORE_GATHER_MS at most. Each is taken back before its put, or where
 * none comes after all. Any thread. */
void store_expect(struct store *store);
void store_expect_no_more(struct store *store);

/* --- settle: what became of a delivery --- */
#define STORE_REPORTS_MAX 2 /* the sender's, and a copy */
struct store_settle {
	/* With the outcome of recipients set: DELIVERED and FAILED ones go,
	 * unless their report is owed; DEFERRED ones, and those with NONE, stay
	 * with attempts and reply, due at due_ms. A message without deliveries left goes
	 * whole. */
	struct delivery *delivery;
	uint64_t due_ms;            /* wall */
	/* Another delivery of the message, to be stored with it, at its due_ms;
	 * NULL: none. The caller's. */
	struct delivery *besides;
	/* Reports to queue in the same transaction. */
	struct store_report {
		struct message *message;
		struct list deliveries; /* as in store_put */
	} reports[STORE_REPORTS_MAX];
	size_t reports_count;
	struct loop *loop;
	void (*done)(struct store_settle *settle, const struct fault *fault);
	void *private;
	struct store_operation operation;
};
void store_settle(struct store *store, struct store_settle *settle);

/* --- alter: what an administrator decides --- */
enum alteration { ALTER_RETRY, ALTER_HOLD, ALTER_RELEASE, ALTER_DELETE };

enum altered {
	ALTERED,
	ALTERED_ALREADY, /* it was so before */
	ALTERED_UNFIT,   /* retry of what is held, release of what is not */
	ALTERED_GONE,    /* not stored any more */
	ALTERED_DAMAGED, /* cannot be read; only ALTER_DELETE removes it */
	ALTERED_BUSY,    /* left alone: it is under way (the schedule's) */
	ALTERED_FAILED,  /* not written: no space (the schedule's) */
};

struct store_alter_row {
	struct message_id id;
	struct slice destination;
	bool may_have_file;         /* the message's body, as far as known */
	/* out */
	enum altered altered;
	uint64_t due_ms;            /* when it is due now, wall; 0: never */
	bool has_dead_file;
};

/* RETRY and RELEASE make a delivery due at now_ms at the latest, and owed an
 * attempt; what is due and was never tried needs no more than it has, and a
 * retry leaves it as it is. A message without deliveries left goes whole.
 * No delivery may be leased to anybody but the caller. */
struct store_alter {
	enum alteration alteration;
	uint64_t now_ms;            /* wall */
	struct store_alter_row *rows; /* at most STORE_ALTER_MAX */
	size_t count;
	struct loop *loop;
	uint64_t version;           /* out: the store's, that has it */
	/* With a fault nothing has changed. */
	void (*done)(struct store_alter *alter, const struct fault *fault);
	void *private;
	struct store_operation operation;
};
void store_alter(struct store *store, struct store_alter *alter);
/* --- move: a delivery under another destination, as it stands otherwise --- */
struct store_move {
	const struct delivery *delivery;
	struct slice destination; /* until done */
	struct loop *loop;
	/* ABSENT: it is not stored any more. BUSY: the message has a delivery
	 * there already, and so this one stays. Where fault is NULL, `deliveries`
	 * holds what was moved, for the scheduler to take over; what is held
	 * is not in there. */
	void (*done)(struct store_move *move, const struct fault *fault);
	struct list deliveries;
	void *private;
	struct store_operation operation;
};
void store_move(struct store *store, struct store_move *move);

/* --- reading, on the reader worker --- */
struct store_read_due {
	struct slice destination;
	uint64_t until_ms;          /* due at or before this, wall */
	struct { uint64_t due_ms; struct message_id id; } after; /* zero: from
				       the first; out: go on with it */
	size_t max;                 /* deliveries, damaged ones among them */
	struct loop *loop;
	void (*done)(struct store_read_due *read, const struct fault *fault);
	struct list deliveries;     /* struct delivery, bodies not in memory;
				       with a fault none */
	bool has_more;
	uint64_t next_due_ms;       /* of the first not read; 0: none */
	uint64_t version;           /* the store's, as it was read */
	void *private;
	struct store_operation operation;
};
void store_read_due(struct store *store, struct store_read_due *read);

/* Something of which only the keys can be read. */
struct store_damage {
	struct list link;
	struct message_id id;
	struct fault fault;
	size_t destination_len;
	char destination[DESTINATION_MAX];
};

/* The queue in the order of ids, a page at a time. */
struct store_read_page {
	struct selection selection;
	bool is_one;                /* all of the message `after`, no more */
	/* zero: from the first, to what is last now; out: go on with both */
	struct message_id after, until;
	size_t max;                 /* deliveries; no message is cut */
	/* Called on the reader's thread once it is read; may be NULL. */
	void (*prepare)(struct store_read_page *read);
	struct loop *loop;
	void (*done)(struct store_read_page *read, const struct fault *fault);
	struct list deliveries;     /* the caller's; those of one message share
				       it and follow each other */
	struct list damages;        /* struct store_damage, the caller's */
	bool has_more;
	void *private;
	struct store_operation operation;
};
void store_read_page(struct store *store, struct store_read_page *read);

/* How much waits for each of some destinations, counted to a bound. */
struct store_depth {
	struct slice destination;
	bool is_domain;             /* all destinations of that domain */
	size_t due, held;           /* out; at most max */
};
struct store_read_depths {
	struct store_depth *depths;
	size_t count, max;
	struct loop *loop;
	void (*done)(struct store_read_depths *read, const struct fault *fault);
	void *private;
	struct store_operation operation;
};
void store_read_depths(struct store *store, struct store_read_depths *read);

/* Appends a message's header as it was received, at most max bytes; waits for
 * the disk, so only where that may be: in store_read_page's prepare. */
bool store_read_header(struct store *store, const struct message *message,
		       size_t max, struct text *out,
		       struct fault *fault) MUST_USE;

/* Part of a message's received bytes. */
struct store_read_body {
	struct message *message;
	uint64_t offset;
	size_t max;                 /* at most BODY_READ_MAX are read */
	struct text bytes;          /* the caller's to free */
	struct loop *loop;
	void (*done)(struct store_read_body *read, const struct fault *fault);
	void *private;
	struct store_operation operation;
};
void store_read_body(struct store *store, struct store_read_body *read);
/* At once, appended, of a body in a file: as long as the system has that part of
 * it in memory. False: not, or it is damaged, which store_read_body() tells. Any
 * thread; never waits for the disk. */
bool store_read_body_now(struct store *store, const struct message *message,
			 uint64_t offset, size_t max,
			 struct text *out) MUST_USE;

/* Every destination that has deliveries, with the earliest due time; at start,
 * before any loop runs. Not linear in the number of messages. */
bool store_each_destination(struct store *store,
			    void (*each)(void *owner, struct slice destination,
					 uint64_t due_ms),
			    void *owner, struct fault *fault) MUST_USE;

/* What the store has done since it was opened; any thread. */
struct store_counters {
	uint64_t puts, settles; /* durable */
	uint64_t commits;       /* groups, so puts and settles per commit tell
				   how well they group */
	uint64_t refused;       /* puts that failed */
	uint64_t damaged;       /* records found damaged */
	uint64_t waiting;       /* operations, now */
	uint64_t deliveries;    /* stored, now: a message has one for each of
				   its destinations */
	uint64_t due;           /* of them, neither held nor damaged */
	uint64_t held;          /* of them */
	uint64_t bytes;         /* of the store's file that are in use, now */
	uint64_t messages;      /* stored, now, and their bytes: envelopes, */
	uint64_t message_bytes; /* headers and bodies, wherever they lie */
	uint64_t incoming;      /* bytes reserved for what is being received */
	uint64_t memory;        /* message bytes in memory, */
	uint64_t held_memory;   /* and envelopes and headers */
};
void store_count(const struct store *store, struct store_counters *out);

/* Whether the store thread goes on: back(post) comes on the loop once it has
 * finished the commit in hand, if there is one; nothing that waits is waited for.
 * One at a time, of a loop that does not end before. Any thread. */
struct store_beat {
	struct post post;
	struct loop *loop;
	post_fn *back;
};
void store_beat(struct store *store, struct store_beat *beat);

/* For the spool. */
struct spool_room *store_spool_room(struct store *store);

/* Whether whoever waits for it is prompt (relay/net/turns.h): its message is for
 * few, and it has not been tried yet. */
bool delivery_is_prompt(const struct delivery *delivery,
			size_t recipients_of_message);

/* One delivery per destination, each with its recipients in the order of their
 * RCPTs, as the generation of the loop has it; appended. */
void deliveries_of(struct message *message, const struct loop *loop,
		   struct list *deliveries);
void delivery_free(struct delivery *delivery);
CLEAN_POINTER(struct delivery, delivery_free)
/* All in the list. */
void deliveries_free(struct list *deliveries);

#endif
