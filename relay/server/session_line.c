#include "relay/limits.h"
#include "relay/server/authentication.h"
#include "relay/server/commands.h"
#include "relay/server/session_private.h"
#include "relay/server/terms.h"

static const struct reply reply_too_long = {
	500, "5.5.2", "Line too long: a command has at most 4096 octets"};
static_assert(COMMAND_LINE_MAX == 4096, "as the reply says");
static const struct reply reply_auth_too_long = {
	500, "5.5.6",
	"Line too long: AUTH and a response have at most 12288 octets"};
static_assert(AUTH_LINE_MAX == 12288, "as the reply says");
static const struct reply reply_bare_line_end = {
	500, "5.5.2",
	"Bare CR or LF: lines must end in CRLF",
	"the listener's option lenient forgives LF"};

bool
session_skip_line(struct session *session, struct slice input)
{
	ptrdiff_t lf = slice_find(input, '\n');
	size_t used = input.len;

	if (lf >= 0)
		used = (size_t)lf + 1;
	else if (input.bytes[input.len - 1] == '\r')
		used--; /* may be half of the CRLF */
	session->is_skipping_line =
		lf < 0 || (session->line_ends != LINE_ENDS_LF &&
			   (lf == 0 || input.bytes[lf - 1] != '\r'));
	stream_consume(session->stream, used);
	return lf >= 0;
}

/* The next line; one that ends in LF alone where the client may end them so. */
static enum wire_status
find_line(struct session *session, size_t max, struct slice *line,
	  struct slice *rest)
{
	struct slice input = stream_input(session->stream);
	enum wire_status status = wire_line(input, max, line, rest);

	if (status == WIRE_LINE && session->line_ends == LINE_ENDS_UNKNOWN)
		session->line_ends = LINE_ENDS_CRLF;
	if (status != WIRE_BARE_LF || !session->listener->lenient ||
	    session->line_ends == LINE_ENDS_CRLF)
		return status;
	session->line_ends = LINE_ENDS_LF;
	session_legacy(session, LEGACY_LF);
	*rest = input;
	return slice_split(rest, '\n', line) ? WIRE_LINE : WIRE_MORE;
}

/* RFC 4954 4: with its initial response AUTH may be as long as a response. */
static bool
is_auth(const struct session *session, struct slice input)
{
	return session->state == SESSION_AUTH ||
	       slice_starts_nocase(input, SLICE("AUTH "));
}

static enum step
refuse_long(struct session *session, bool is_auth)
{
	session->is_skipping_line = true;
	if (session->state != SESSION_AUTH)
		return session_refuse(session,
				      is_auth ? &reply_auth_too_long
					      : &reply_too_long,
				      SLICE_NONE);
	session_reply(session, &reply_auth_too_long, SLICE_NONE);
	return STEP_CLOSE; /* no client comes to that */
}

/* A record of TLS with a ClientHello (RFC 8446 5.1), which no command begins
 * like. */
static bool
is_handshake(const struct session *session, struct slice input)
{
	return session->state == SESSION_START && input.bytes[0] == '\x16';
}

enum step
session_read_line(struct session *session, bool *more_needed)
{
	struct slice input = stream_input(session->stream), line, rest;
	bool responds = session->state == SESSION_AUTH;
	bool logs_in = is_auth(session, input);
	enum step step;

	if (is_handshake(session, input)) {
		session_lost(session, "a TLS handshake, which comes behind "
				      "STARTTLS here, if at all");
		return STEP_CLOSE; /* it waits for an answer to that */
	}
	if (session->state == SESSION_START || session->state == SESSION_READY)
		terms_renew(session);
	switch (find_line(session,
			  logs_in ? AUTH_LINE_MAX : COMMAND_LINE_MAX, &line,
			  &rest)) {
	case WIRE_LINE:
		session->has_more = rest.len > 0;
		step = responds ? authentication_respond(session, line)
				: command_run(session, line);
		stream_consume(session->stream, input.len - rest.len);
		if (step == STEP_NEXT)
			session_set_deadline(session);
		return step;
	case WIRE_MORE:
		*more_needed = true;
		return STEP_NEXT;
	case WIRE_TOO_LONG:
		return refuse_long(session, logs_in);
	case WIRE_BARE_LF:
	case WIRE_BARE_CR:
		/* Two readers of these bytes may see different commands. */
		session_lost(session, "bare CR or LF in a command");
		session_refuse(session, &reply_bare_line_end, SLICE_NONE);
		return STEP_CLOSE;
	}
	return STEP_CLOSE;
}
