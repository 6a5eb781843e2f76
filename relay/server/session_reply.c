#include "base/log.h"
#include "relay/server/session_private.h"

static const struct reply reply_errors = {
	421, "4.7.0",
	"Too many errors: see the replies before, and connect again"};

static const char *const state_names[] = {
#define X(name) #name,
	SESSION_STATES(X)
#undef X
};

/* Who can do something about our configuration reads it on a device of his own
 * network; a stranger from elsewhere is told only what he can do himself. */
static bool
may_take_hints(const struct session *session)
{
	return !session_is_stranger(session) ||
	       address_is_private(&session->client);
}

static void
hint_add(struct text *out, const struct reply *reply)
{
	if (reply->hint != NULL)
		text_addf(out, "; %s", reply->hint);
}

enum step
session_reply(struct session *session, const struct reply *reply,
	      struct slice extra)
{
	CLEAN(text_done) struct text out = {0}, behind = {0};

	if (reply->hint != NULL && may_take_hints(session))
		hint_add(&behind, reply);
	text_add(&behind, extra);
	reply_write(&out, reply, text_slice(&behind));
	/* Who does not read is not heard any more, until the time is up for
	 * what was heard last. */
	if (!stream_write(session->stream, text_slice(&out)))
		session->is_clogged = true;
	return STEP_NEXT;
}

static enum step
enough(struct session *session)
{
	session_lost(session, "too many errors");
	session_reply(session, &reply_errors, SLICE_NONE);
	return STEP_CLOSE;
}

enum step
session_refuse(struct session *session, const struct reply *reply,
	       struct slice extra)
{
	enum step step = session_reply(session, reply, extra);

	return conduct_refused(&session->conduct, reply, session_is_stranger(session))
		       ? step
		       : enough(session);
}

enum step
session_refuse_behind(struct session *session, const struct reply *reply)
{
	enum step step = session_reply(session, reply, SLICE_NONE);

	return conduct_refused_behind(&session->conduct, session_is_stranger(session))
		       ? step
		       : enough(session);
}

enum step
session_reply_idle(struct session *session, const struct reply *reply,
		   struct slice extra)
{
	enum step step = session_reply(session, reply, extra);

	return conduct_idled(&session->conduct, session_is_stranger(session))
		       ? step
		       : enough(session);
}

static void
log_peer(struct log *line, const struct session *session)
{
	char client[ADDRESS_TEXT_SIZE];

	address_write_host(&session->client, client);
	log_text(line, "listener", session->listener->name);
	log_string(line, "client", client);
}

static void
log_reply(struct log *line, const struct reply *reply, struct slice extra)
{
	CLEAN(text_done) struct text text = {0};

	text_addf(&text, "%u %s %s", reply->code,
		  reply->status != NULL ? reply->status : "", reply->text);
	hint_add(&text, reply);
	text_add(&text, extra);
	log_text(line, "reply", text_slice(&text));
}

static void
log_rejected(const struct session *session, const struct reply *reply,
	     struct slice extra, struct slice argument, struct slice reason)
{
	const struct message *message = NULL;
	struct slice mail_id = SLICE_NONE;
	struct log line;

	if (session->transaction != NULL) {
		message = transaction_message(session->transaction);
		mail_id = transaction_mail_id(session->transaction);
	}
	log_begin(&line, LOG_LEVEL_INFO, "rejected");
	log_peer(&line, session);
	log_text(&line, "from",
		 message != NULL ? message->reverse_path : argument);
	log_text(&line, "to", message != NULL ? argument : SLICE_NONE);
	if (mail_id.len > 0)
		log_text(&line, "message_id", mail_id);
	log_reply(&line, reply, extra);
	log_text(&line, "reason", reason);
	log_send(&line);
}

enum step
session_reject(struct session *session, const struct reply *reply,
	       struct slice extra, struct slice argument, struct slice reason)
{
	log_rejected(session, reply, extra, argument, reason);
	atomic_fetch_add(&session->share->rejected, 1);
	return session_refuse(session, reply, extra);
}

void
session_legacy(struct session *session, enum legacy what)
{
	static const char *const words[] = {
		[LEGACY_LF] = "lines that end in LF",
		[LEGACY_TLS] = "a version of TLS below 1.2",
		[LEGACY_HASTE] = "a message before its 354",
		[LEGACY_AHEAD] = "commands before their turn",
		[LEGACY_NAME] = "EHLO or HELO without a host name",
		[LEGACY_GREETING] = "mail without EHLO or HELO",
	};
	struct log line;

	if ((session->legacy & what) != 0)
		return;
	session->legacy |= what;
	log_begin(&line, LOG_LEVEL_INFO, "legacy");
	log_peer(&line, session);
	log_string(&line, "what", words[what]);
	log_send(&line);
}

static void
log_lost(const struct session *session, enum log_level level,
	 const char *reason)
{
	struct log line;

	log_begin(&line, level, "lost");
	log_peer(&line, session);
	log_string(&line, "state", state_names[session->state]);
	log_string(&line, "reason", reason);
	log_send(&line);
}

void
session_lost(const struct session *session, const char *reason)
{
	log_lost(session, LOG_LEVEL_INFO, reason);
}

/* Without a word that is what scanners do all day; but whoever may send, and
 * cannot agree with us about TLS, is a device that somebody will ask about. */
void
session_gone(const struct session *session, const char *reason)
{
	bool is_news = session->transaction != NULL ||
		       (session->state == SESSION_SECURING &&
			!session_is_stranger(session));

	log_lost(session, is_news ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, reason);
}
