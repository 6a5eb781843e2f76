#include "milter/origin.h"

static bool
daemon_is_listed(const struct origin_rules *rules, struct slice daemon)
{
	for (size_t i = 0; i < rules->daemons_count; i++)
		if (slice_eq_nocase(rules->daemons[i], daemon))
			return true;
	return false;
}

bool
origin_is_signed(const struct origin_rules *rules, const struct origin *origin,
		 struct text *reason_out)
{
	struct slice client = origin->client;

	if (origin->is_listed ||
	    (rules->sign_authenticated && origin->is_authenticated) ||
	    daemon_is_listed(rules, origin->daemon))
		return true;
	if (client.len == 0)
		client = SLICE("(none)");
	text_addf(reason_out, "the client %.*s is not in milter.sign_from",
		  SLICE_ARG(client));
	if (!origin->is_authenticated)
		text_add_string(reason_out, " and has not logged in");
	else
		text_add_string(reason_out,
				", milter.sign_authenticated is false");
	if (origin->daemon.len > 0)
		text_addf(reason_out,
			  "; the daemon %.*s is not in milter.sign_daemons",
			  SLICE_ARG(origin->daemon));
	return false;
}

bool
origin_is_local(const struct origin *origin)
{
	return origin->client.len == 0 ||
	       slice_starts(origin->client, SLICE("127.")) ||
	       slice_eq(origin->client, SLICE("::1"));
}
