#include "relay/delivery/parting.h"

#include <stdlib.h>

struct parting {
	struct site_place place; /* site NULL: the owner's */
	void (*closed)(void *owner); /* NULL: nobody waits */
	void *owner;
};

static void
parting_over(void *owner)
{
	struct parting *parting = owner;
	void (*closed)(void *owner) = parting->closed;

	owner = parting->owner;
	if (parting->place.site != NULL)
		site_give(&parting->place);
	free(parting);
	if (closed != NULL)
		closed(owner);
}

struct parting *
parting_await(struct client *client, void (*closed)(void *owner), void *owner)
{
	struct parting *parting = memory_new(sizeof(*parting));

	parting->closed = closed;
	parting->owner = owner;
	client_on_closed(client, parting_over, parting);
	return parting;
}

void
parting_take_over(struct parting *parting, struct site_place *place)
{
	parting->closed = NULL;
	if (place->site == NULL)
		return;
	parting->place = *place;
	place->site = NULL;
	site_part(&parting->place);
}

void
parting_keep(struct client *client, struct site_place *place)
{
	if (place->site != NULL)
		parting_take_over(parting_await(client, NULL, NULL), place);
}
