/*
 * routing - which route a recipient's mail takes, by his domain and by the
 * sender; and the destination, the queue's key, that follows from it. Pure.
 *
 * Order       The recipient decides first: his domain itself, then the longest
 *             "*.example.net" (the domains below example.net, not that one),
 *             then "*". Among the routes of one such pattern the sender
 *             decides: the address, its domain, the longest "*.example.com",
 *             "*" (every sender but the null path), "<>" (the null path); at
 *             last the route without `from`. Where no route of a pattern takes
 *             the sender, the next pattern is asked; after the last one,
 *             `delivery` says where.
 *
 *             The recipient comes first because a route for a recipient's
 *             domain says where that mail has to go (the server with the
 *             mailboxes, a partner who asks for TLS), and a route for a sender
 *             which way out his mail takes to everybody else. The other way
 *             round, one customer's relay would get the mail for our own
 *             mailboxes. Postfix does the same: transport(5) is asked before
 *             the sender_dependent_* maps.
 *
 * Destination A destination has one next hop. It is the recipient's domain as
 *             long as the sender does not matter; where a route with `from`
 *             applies it is "example.net/ID", ID being that of the route, made
 *             from its title and its senders, not from where it leads. So
 *             queues, connections and back-off of two routes are apart, those
 *             of many senders with one route are not, and `via` may change
 *             without any delivery being stored anew.
 *
 *             After a reload a stored delivery may stand under a destination
 *             that it does not belong to any more: routing_fits() tells, and
 *             the schedule asks it before every lease and stores the delivery
 *             under the right one instead. Nothing goes to a route of another
 *             generation, and start-up has nothing to do for it.
 *
 * Reports     Where a report of ours is still to be made, "example.net/report-N"
 *             is the destination that it waits at: no route's, so that no
 *             backlog and no pause stands before it. N is the number of the
 *             first recipient whom it tells about, so that a message never has
 *             two of one name.
 *
 * Null path   Reports have no sender; nothing in their envelope tells whose
 *             they are. They take routes that name "<>", and those without
 *             `from`.
 *
 * Ownership   Built once, in the arena of the options; immutable.
 */
#ifndef RELAY_ROUTING_H
#define RELAY_ROUTING_H

#include "relay/limits.h"
#include "relay/options.h"

#define ROUTE_ID_LEN 16
/* Between the domain and the ID. */
#define ROUTING_SEPARATOR '/'
#define DESTINATION_MAX (DOMAIN_MAX + 1 + ROUTE_ID_LEN)

struct conf_errors;

/* From options->routes, whose titles and senders are settled. */
void routing_build(struct options *options);
/* Two routes for the same recipients and senders. */
void routing_check(const struct options *options, struct conf_errors *errors);

/* Domains may have U-labels; a reverse path is without <>. NULL: no route. */
const struct route_options *routing_find(const struct options *options,
					 struct slice domain,
					 struct slice reverse_path);

/* out: as many bytes as the domain and 1 + ROUTE_ID_LEN more. */
struct slice routing_destination(const struct options *options,
				 struct slice domain, struct slice reverse_path,
				 char out[DESTINATION_MAX]);
/* Whether that is still the destination of mail from there. */
bool routing_fits(const struct options *options, struct slice destination,
		  struct slice reverse_path);
/* Where reports wait that are about recipients at `destination`, `number` being
 * the first of them. */
struct slice routing_reports(struct slice destination, unsigned number,
			     char out[DESTINATION_MAX]);
bool routing_is_of_reports(struct slice destination);
/* The route of a destination; NULL: none. False: it names one that is no
 * more, and nothing fits it. */
bool routing_at(const struct options *options, struct slice destination,
		const struct route_options **route_out) MUST_USE;
/* The recipients' domain of a destination. */
struct slice routing_domain(struct slice destination);

#endif
