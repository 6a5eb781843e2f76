/*
 * destination_private - what these share, and nobody else:
 *
 *	destination.c        from what is due to connections, and back
 *	destination_hosts.c  where to, and what if that cannot be said
 *	service.c            all destinations and connections of the process
 */
#ifndef RELAY_DELIVERY_DESTINATION_PRIVATE_H
#define RELAY_DELIVERY_DESTINATION_PRIVATE_H

#include "relay/delivery/connection.h"
#include "relay/delivery/destination.h"
#include "relay/generation.h"
#include "relay/login.h"

/*
 * What delivery/ knows of one destination; on its owning loop. It is `due`
 * while the schedule may have leases for it. Work is taken only when there is a
 * connection for it, or may be one.
 */
struct delivery_destination {
	struct schedule_destination *schedule;
	struct delivery_service *service;
	struct list link;        /* in the service's part for this loop */
	struct list connections;
	size_t connections_count;
	struct list returned;    /* attempts to be made on another connection */
	struct list noting;      /* what is known of them is being stored */
	bool is_due;
	/* Where to: NULL when not known or too old. */
	struct generation *generation;
	struct route route;
	struct hosts *hosts;
	struct site *site;       /* of the hosts, or of those before them */
	struct site_ticket ticket;
	unsigned turn;           /* of the next connection */
	struct site_turn rate_turn;
	struct alarm rate_alarm;
	uint64_t hosts_until_ms;
	struct hosts_query query;
	bool is_resolving;
	/* Back-off. */
	uint64_t backoff_ms;     /* of the DNS; that of hosts is the site's */
	uint64_t paused_until_ms;
	struct text trouble;     /* why no host was reached */
};

/* The part of the service that one loop has. */
struct delivery_place {
	struct connection_place connections;
	struct list destinations;
};

struct delivery_service {
	struct loop *loops;
	size_t loops_count;
	struct store *store;
	struct delivery_place *places; /* one per loop */
	struct peers *peers;
	struct sites *sites;
	unsigned outgoing_default;
};

/* --- destination.c --- */

void destination_pump(struct delivery_destination *destination);
/* What is due, or comes back; NULL: nothing now. */
struct attempt *destination_take(struct delivery_destination *destination);
void destination_settle(struct delivery_destination *destination,
			struct attempt *attempt);
/* For its turns: relay/net/turns.h. */
bool destination_is_prompt(const struct delivery_destination *destination);
/* Untried, as far as it is. */
void destination_give_back_returned(struct delivery_destination *destination);
/* Nothing is tried for so long. */
void destination_pause(struct delivery_destination *destination,
		       uint64_t pause_ms);
/* No pause is longer than what is tried for the first time would wait: somebody
 * may have just mended it. */
uint64_t destination_pause_max_ms(const struct delivery_destination *destination);
void destination_note_trouble(struct delivery_destination *destination,
			      struct slice words);

/* --- destination_hosts.c --- */

bool hosts_are_fresh(const struct delivery_destination *destination);
/* Goes on by destination_pump(), if not at once. */
void hosts_ask(struct delivery_destination *destination);
/* There is no host to go to: says so of everything that is due, or of some. */
void hosts_report_trouble(struct delivery_destination *destination);
/* What is said where there is none. The result points to the fate and to the
 * words, which are appended. */
void hosts_say_trouble(const struct hosts *hosts, struct fate *fate_out,
		   struct text *words, struct recipient_result *result_out);
/* What is not used again is not kept, nor the generation that it is of: one that
 * waits for hours would keep that in memory. */
void hosts_let_lapse(struct delivery_destination *destination);
/* The destination goes. */
void hosts_let_go(struct delivery_destination *destination);

/* --- service.c --- */

struct delivery_service *service_of_process(void);
/* Of these hosts, as that route says to talk to them; with the bounds of the
 * configuration. A reference. */
struct site *service_site(struct delivery_service *service,
			  const struct generation *generation,
			  const struct route *route,
			  const struct hosts *hosts);
/* No pause of a site is longer than what is tried for the first time would
 * wait: somebody may have just mended it. */
uint64_t service_pause_max_ms(const struct generation *generation);
/* How one of its connections to a site is made, on one of its loops; turn, owner
 * and callbacks are the owner's to set. */
struct connection_settings
service_connection(struct delivery_service *service, size_t loop,
		   struct generation *generation, const struct route *route,
		   struct hosts *hosts, struct site *site);

static inline struct delivery_place *
place_of(const struct delivery_destination *destination)
{
	return &destination->service->places[destination->schedule->loop->index];
}

static inline const struct options *
options_of(const struct delivery_destination *destination)
{
	return destination->schedule->loop->generation->options;
}

#endif
