#include "relay/queue/selection.h"

#include "relay/routing.h"

bool
selection_takes_destination(const struct selection *selection,
			    struct slice destination)
{
	return !selection->has_domain ||
	       slice_eq(selection->domain, routing_domain(destination));
}

bool
selection_takes_sender(const struct selection *selection,
		       struct slice reverse_path)
{
	return !selection->has_sender ||
	       slice_eq_nocase(selection->sender, reverse_path);
}
