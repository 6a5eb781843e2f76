#include "relay/server/conduct.h"

static bool
is_temporary(const struct reply *reply)
{
	return reply->code >= 450 && reply->code <= 452;
}

/* RFC 5321 4.2.2: syntax and order; 555 is for parameters, 535 (RFC 4954 6) for
 * passwords. */
static bool
is_error(const struct reply *reply)
{
	return (reply->code >= 500 && reply->code <= 504) ||
	       reply->code == 535 || reply->code == 555;
}

bool
conduct_refused_behind(struct conduct *conduct, bool is_stranger)
{
	return !is_stranger || ++conduct->refusals < CONDUCT_REFUSALS_MAX;
}

bool
conduct_refused(struct conduct *conduct, const struct reply *reply,
		bool is_stranger)
{
	if (is_temporary(reply))
		return true;
	if (is_error(reply))
		return ++conduct->errors < CONDUCT_ERRORS_MAX;
	return conduct_refused_behind(conduct, is_stranger);
}

bool
conduct_idled(struct conduct *conduct, bool is_stranger)
{
	return !is_stranger || ++conduct->idle < CONDUCT_IDLE_MAX;
}

static const char *const foreign_verbs[] = {
	"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH",
	"TRACE", "PRI",
};

bool
conduct_is_foreign(struct slice verb)
{
	for (size_t i = 0; i < COUNT(foreign_verbs); i++)
		if (slice_eq_nocase(verb, SLICE(foreign_verbs[i])))
			return true;
	return false;
}
