/*
 * connection - one of a destination's connections: goes through the hosts until
 * one talks to it, then carries attempts for as long as there are some.
 *
 * It runs on the loop that its owner has chosen for it, not necessarily the
 * owner's; between the two everything goes by post.
 *
 * Ownership   The destination owns it, and frees it once it has ended and every
 *             attempt given to it has come back.
 * Thread      connection_open(), _carry(), _release(), _free() and the
 *             callbacks: the owner's loop. connection_place_*(): the place's.
 */
#ifndef RELAY_DELIVERY_CONNECTION_H
#define RELAY_DELIVERY_CONNECTION_H

#include "relay/delivery/cache.h"
#include "relay/delivery/choice.h"

struct connection_place;

struct connection_settings {
	struct loop *loop, *owner_loop;
	struct connection_place *place; /* of its loop */
	struct store *store;
	struct generation *generation; /* a reference is taken */
	struct hosts *hosts;           /* likewise */
	struct site *site;             /* theirs */
	uint64_t pause_max_ms;         /* of the site, if it is out of reach */
	uint64_t deadline_ms;          /* of each conversation, client.h */
	unsigned turn;                 /* whose, of equal hosts */
	struct peers *peers;
	enum tls_policy tls;
	struct tls_terms tls_terms;
	bool implicit_tls;
	struct source_options source;  /* the generation's */
	enum route_sign sign;
	bool is_rated;                 /* each transaction has its turn */
	bool in_one_go;                /* all of an attempt, whatever comes */
	struct login *login;           /* the generation's; NULL: none */
	void *owner;
	/* An attempt comes back: complete, put down, or to be tried
	 * otherwise. */
	void (*returned)(void *owner, struct connection *connection,
			 struct attempt *attempt);
	/* No attempt will be begun any more; what was given meanwhile still
	 * comes back. */
	void (*ended)(void *owner, struct connection *connection);
	/* The answer to connection_release(). */
	void (*released)(void *owner, struct connection *connection);
};

struct connection {
	/* the owner's */
	struct list link;
	unsigned assigned; /* attempts given and not yet back */
	bool has_ended;
	bool is_failing;   /* its end is on the way */
	bool has_worked;   /* it has carried something */
	bool is_released;  /* is given nothing any more */
	bool is_releasing; /* and that is still on its way */
	/* constant */
	struct connection_settings settings;
	/* its own loop's until it has ended, then the owner's to read */
	bool has_failed;       /* no host could be talked to */
	uint64_t pause_ms;     /* and nobody else has one that works: nobody
				  goes there for so long */
	bool is_local_trouble; /* it was our fault */
	struct recipient_result last; /* of the last host that failed */
	/* its own loop's */
	struct site_place site_place;
	struct list place_link;
	struct client *client;
	struct parting *parting; /* of the one before: until that is closed,
				    nothing else is opened */
	uint64_t opened_ms;      /* the conversation's beginning */
	struct host *host;
	struct list waiting;     /* attempts not begun */
	struct attempt *current; /* in the client's hands */
	uint64_t begun_ms;       /* its being carried here */
	struct arena arena;      /* of `last` */
	struct choice choice;    /* of the hosts */
	bool is_hurried;         /* there is another one to try */
	bool in_clear, without_bdat, without_dsn, retried_same, is_over;
	bool doubts_dsn; /* it was left out for this host just now */
	bool doubts_tls; /* likewise, for the current message */
	bool was_passed_on; /* by a host that is well, for one message */
	struct post open_post, end_post, release_post;
};

/* All connections of one loop; its own thread's. */
struct connection_place {
	struct list connections;
	struct cache cache;
	bool is_stopping;
};
void connection_place_init(struct connection_place *place);
void connection_place_done(struct connection_place *place);
/* Idle ones quit; what has not been begun goes back; the rest may end. Without
 * time what has results goes back with those, in the midst of its next
 * transaction; what has none is due again all the same. */
void connection_place_stop(struct connection_place *place, bool has_time);
/* Right before the process ends: what is on its way then must not get there, as
 * nobody would learn of it and the message goes again. */
void connection_place_cut_off(struct connection_place *place);

/* Takes over the place at the site, or what the cache of the loop, which is the
 * owner's then, had kept. */
struct connection *connection_open(const struct connection_settings *settings,
				   struct site_place *site_place,
				   struct kept *kept);
/* Adds one to `assigned`; whoever gets it back takes it off. */
void connection_carry(struct connection *connection, struct attempt *attempt);
/* Nothing more will be carried: where it may be of use to others it goes to the
 * cache of its loop. It ends, if it does not go on with what it has. */
void connection_release(struct connection *connection);
void connection_free(struct connection *connection);

#endif
