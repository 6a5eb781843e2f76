#include "relay/delivery/parting.h"

#include <stdlib.h>

struct parting {
	struct site_place place;
};

static void
parting_over(void *owner)
{
	struct parting *parting = owner;

	site_give(&parting->place);
	free(parting);
}

void
parting_keep(struct client *client, struct site_place *place)
{
	struct parting *parting;

	if (place->site == NULL)
		return;
	parting = memory_new(sizeof(*parting));
	parting->place = *place;
	place->site = NULL;
	site_part(&parting->place);
	client_on_closed(client, parting_over, parting);
}
