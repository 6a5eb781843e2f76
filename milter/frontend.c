#include "milter/frontend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmilter/mfapi.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "milter/sessions.h"

/* There may be a thread for each connection. */
#define STACK_SIZE ((size_t)1 << 20)
#define BACKLOG 1024
/* Beyond limits.max_header_size: for what is no field, and for fields that are
 * too large and are told so. */
#define PACKET_ROOM ((size_t)1 << 16)
/* Wakes libmilter's listening thread, and means nothing else. */
#define WAKE_SIGNAL SIGUSR1

/* What we need of an MTA: our fields on top, theirs taken away, and values with
 * their leading space, without which no "simple" signature would verify. */
#define ACTIONS_NEEDED (SMFIF_ADDHDRS | SMFIF_CHGHDRS)
#define PROTOCOL_NEEDED SMFIP_HDR_LEADSPC
/* Where there is nothing to say: an MTA that need not wait says it all at once.
 * What the end of the header is answered with decides whether the body is
 * shown. */
#define SILENT_STEPS (SMFIP_NR_CONN | SMFIP_NR_MAIL | SMFIP_NR_HDR)
/* The body's last piece may come with the end itself, which libmilter would
 * keep from us behind "no reply": only where they can be told apart. */
#define SILENT_IF_KNOWN SMFIP_NR_BODY
/* After so many messages in a row that had to be seen whole, an MTA that comes
 * is spared the wait at the end of the header: what will not be signed is then
 * sent to its end for nothing, and counts anew. */
#define SILENT_AFTER 100

/* libmilter has one of everything, and gives no owner to its callbacks. */
static struct {
	struct frontend_service service;
	pthread_t thread; /* smfi_main() */
	int listener;     /* the descriptor that libmilter accepts from */
	atomic_uint connections, messages;
	atomic_uint whole; /* see SILENT_AFTER; what threads miss is no harm */
	atomic_bool is_ending;
} frontend = {.listener = -1};

/* An MTA's, from its first word. */
struct connection {
	struct sockaddr_storage client;
	bool has_client;
	/* The present message, before anybody could be told; what is refused is
	 * still there. */
	bool is_accepted, is_refused;
	char client_text[INET6_ADDRSTRLEN];
	/* The present message, and the rules that it began with; or NULL. */
	struct mail *mail;
	const struct frontend_rules *rules;
};

/* A message that its connection is done with. It counts until its MTA has the
 * answer: see frontend_is_quiet(). */
struct leaving {
	struct mail *mail;
	const struct frontend_rules *rules;
	bool is_settled_by_answer;
};

/* ---- connections ---- */

/* After QUIT_NC a further one begins without a negotiation. */
static struct connection *
connection_of(SMFICTX *context)
{
	struct connection *connection = smfi_getpriv(context);

	if (connection != NULL)
		return connection;
	connection = memory_new(sizeof(*connection));
	atomic_fetch_add(&frontend.connections, 1);
	smfi_setpriv(context, connection);
	return connection;
}

static void
leaving_gone(void *owner, bool is_told)
{
	struct leaving *leaving = owner;

	if (leaving->is_settled_by_answer)
		mail_settle(leaving->mail, is_told);
	mail_free(leaving->mail);
	frontend.service.rules_unref(leaving->rules);
	free(leaving);
	atomic_fetch_sub(&frontend.messages, 1);
}

static void
mail_leave(struct connection *connection, bool is_settled_by_answer)
{
	struct leaving *leaving;

	if (connection->mail == NULL)
		return;
	leaving = memory_new(sizeof(*leaving));
	leaving->mail = TAKE(connection->mail);
	leaving->rules = TAKE(connection->rules);
	leaving->is_settled_by_answer = is_settled_by_answer;
	connection->is_refused = false;
	sessions_when_sent(leaving_gone, leaving);
}

static void
mail_drop(struct connection *connection)
{
	mail_leave(connection, false);
}

static struct slice
macro(SMFICTX *context, const char *name)
{
	return SLICE(smfi_getsymval(context, (char *)(uintptr_t)name));
}

/* ---- what a step of a message comes to ---- */

static sfsistat
temporary_failure(SMFICTX *context, const char *status, const char *text)
{
	smfi_setreply(context, (char *)(uintptr_t) "451",
		      (char *)(uintptr_t)status, (char *)(uintptr_t)text);
	return SMFIS_TEMPFAIL;
}

static sfsistat
refusal(SMFICTX *context, struct mail *mail)
{
	struct mail_reply *reply = mail_reply(mail);

	smfi_setreply(context, (char *)(uintptr_t)reply->code,
		      (char *)(uintptr_t)reply->status,
		      (char *)(uintptr_t)text_string(&reply->text));
	return reply->code[0] == '4' ? SMFIS_TEMPFAIL : SMFIS_REJECT;
}

static sfsistat
answer(SMFICTX *context, struct connection *connection, enum mail_next next)
{
	sfsistat status = SMFIS_CONTINUE;

	switch (next) {
	case MAIL_MORE:
		return SMFIS_CONTINUE;
	case MAIL_ACCEPT:
		status = SMFIS_ACCEPT;
		break;
	case MAIL_REFUSE:
		status = refusal(context, connection->mail);
		break;
	}
	mail_drop(connection);
	return status;
}

/* Nobody can be told now. */
static void
answer_later(struct connection *connection, enum mail_next next)
{
	switch (next) {
	case MAIL_MORE:
		return;
	case MAIL_ACCEPT:
		mail_drop(connection);
		connection->is_accepted = true;
		return;
	case MAIL_REFUSE:
		connection->is_refused = true;
	}
}

static void
count_whole(enum mail_next next)
{
	unsigned count = atomic_load(&frontend.whole);

	if (next != MAIL_MORE)
		atomic_store(&frontend.whole, 0);
	else if (count < SILENT_AFTER)
		atomic_store(&frontend.whole, count + 1);
}

/* What there is to know of where a message comes from, once. */
static enum mail_next
begin(SMFICTX *context, struct connection *connection)
{
	const struct sockaddr *client =
		connection->has_client
			? (const struct sockaddr *)&connection->client
			: NULL;
	struct origin origin = {
		.client = SLICE(connection->client_text),
		.is_authenticated = macro(context, "{auth_authen}").len > 0 ||
				    macro(context, "{auth_type}").len > 0,
		.daemon = macro(context, "{daemon_name}"),
		.mta = macro(context, "v"),
		.host = macro(context, "j"),
	};
	enum mail_next next;

	origin.is_listed =
		frontend.service.is_listed(connection->rules, client);
	next = mail_begin(connection->mail, &origin, macro(context, "i"),
			  clock_wall_ms() / SECOND);
	if (next != MAIL_MORE)
		count_whole(next);
	return next;
}

/* At the first field, where it has one. */
static enum mail_next
begin_header(SMFICTX *context, struct connection *connection)
{
	return mail_has_begun(connection->mail) ? MAIL_MORE
						: begin(context, connection);
}

static enum mail_next
begin_body(SMFICTX *context, struct connection *connection)
{
	enum mail_next next = connection->is_refused
				      ? MAIL_REFUSE
				      : begin_header(context, connection);

	if (next == MAIL_MORE && !mail_in_body(connection->mail)) {
		next = mail_end_of_header(connection->mail);
		count_whole(next);
	}
	return next;
}

static bool
changes_send(SMFICTX *context, const struct mail *mail)
{
	size_t count;
	const struct mail_change *changes = mail_changes(mail, &count);

	for (size_t i = 0; i < count; i++) {
		const struct mail_change *change = &changes[i];
		int status = change->kind == MAIL_INSERT
				     ? smfi_insheader(context, 0, change->name,
						      change->value)
				     : smfi_chgheader(context, change->name,
						      (int)change->index, NULL);

		if (status != MI_SUCCESS)
			return false;
	}
	return true;
}

/* ---- the callbacks, in the order of the protocol ---- */

static sfsistat
refuse_mta(const char *why)
{
	log_note(LOG_LEVEL_WARNING, "refused", "an MTA's connection: %s", why);
	return SMFIS_REJECT; /* libmilter closes it */
}

static void
macros_want(SMFICTX *context)
{
	static const struct {
		int stage;
		const char *names;
	} rows[] = {
		{SMFIM_CONNECT, "{daemon_name} j v"},
		{SMFIM_ENVFROM, "i {auth_authen} {auth_type}"},
		{SMFIM_EOH, "i"},
	};

	/* Who asks twice has its answer. */
	for (size_t i = 0; i < COUNT(rows); i++)
		(void)smfi_setsymlist(context, rows[i].stage,
				      (char *)(uintptr_t)rows[i].names);
}

static unsigned long
silence_agree(void)
{
	if (!sessions_know_steps())
		return SILENT_STEPS;
	if (atomic_load(&frontend.whole) < SILENT_AFTER)
		return SILENT_STEPS | SILENT_IF_KNOWN;
	sessions_agree_on_silence();
	return SILENT_STEPS | SILENT_IF_KNOWN | SMFIP_NR_EOH;
}

static sfsistat
on_negotiate(SMFICTX *context, unsigned long actions, unsigned long protocol,
	     unsigned long unused_2, unsigned long unused_3,
	     unsigned long *actions_out, unsigned long *protocol_out,
	     unsigned long *unused_2_out, unsigned long *unused_3_out)
{
	const struct frontend_rules *rules =
		frontend.service.rules_ref(frontend.service.owner);
	unsigned connections_max = rules->connections_max;

	(void)unused_2;
	(void)unused_3;
	/* libmilter would end the connection at a field of 64 KiB; Postfix
	 * shows up to 100 KiB (header_size_limit), or more if told to. */
	(void)smfi_setmaxdatasize(rules->mail.header_max + PACKET_ROOM);
	frontend.service.rules_unref(rules);
	if ((actions & ACTIONS_NEEDED) != ACTIONS_NEEDED)
		return refuse_mta("it lets us neither add nor remove fields of "
				  "the header");
	if ((protocol & PROTOCOL_NEEDED) != PROTOCOL_NEEDED)
		return refuse_mta("it does not show values of fields with "
				  "their leading space; Postfix does since "
				  "2.5, Sendmail since 8.14");
	if (smfi_getpriv(context) == NULL &&
	    atomic_load(&frontend.connections) >= connections_max)
		return refuse_mta("milter.max_connections are there already");
	(void)connection_of(context);
	*actions_out = ACTIONS_NEEDED | (actions & SMFIF_SETSYMLIST);
	if ((actions & SMFIF_SETSYMLIST) != 0)
		macros_want(context);
	/* What libmilter has set in there: the steps without a callback. */
	*protocol_out |= PROTOCOL_NEEDED | silence_agree();
	*unused_2_out = *unused_3_out = 0;
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *context, char *name, _SOCK_ADDR *address)
{
	struct connection *connection = connection_of(context);
	const void *bytes = NULL;

	(void)name;
	memset(&connection->client, 0, sizeof(connection->client));
	connection->client_text[0] = '\0';
	connection->has_client = false;
	if (address != NULL && address->sa_family == AF_INET) {
		memcpy(&connection->client, address,
		       sizeof(struct sockaddr_in));
		bytes = &((struct sockaddr_in *)&connection->client)->sin_addr;
	} else if (address != NULL && address->sa_family == AF_INET6) {
		memcpy(&connection->client, address,
		       sizeof(struct sockaddr_in6));
		bytes = &((struct sockaddr_in6 *)&connection->client)
				 ->sin6_addr;
	}
	if (bytes != NULL &&
	    inet_ntop(address->sa_family, bytes, connection->client_text,
		      sizeof(connection->client_text)) != NULL)
		connection->has_client = true;
	return SMFIS_NOREPLY;
}

static sfsistat
on_mail(SMFICTX *context, char **arguments)
{
	struct connection *connection = connection_of(context);

	mail_drop(connection);
	connection->is_accepted = false;
	/* Counted first: see frontend_is_quiet(). */
	atomic_fetch_add(&frontend.messages, 1);
	if (atomic_load(&frontend.is_ending)) {
		atomic_fetch_sub(&frontend.messages, 1);
		return SMFIS_NOREPLY;
	}
	connection->rules = frontend.service.rules_ref(frontend.service.owner);
	connection->mail =
		mail_new(&connection->rules->mail, SLICE(arguments[0]));
	return SMFIS_NOREPLY;
}

/* Where a message is missing: it has been accepted already, none has begun, or
 * none may begin any more. */
static sfsistat
no_message(SMFICTX *context, const struct connection *connection)
{
	if (connection->is_accepted)
		return SMFIS_ACCEPT;
	return temporary_failure(context, "4.3.2",
				 "The milter is stopping, try again later");
}

static sfsistat
on_header(SMFICTX *context, char *name, char *value)
{
	struct connection *connection = connection_of(context);

	if (connection->mail == NULL)
		return SMFIS_NOREPLY;
	answer_later(connection, begin_header(context, connection));
	if (connection->mail != NULL && !mail_in_body(connection->mail))
		mail_header(connection->mail, SLICE(name), SLICE(value));
	return SMFIS_NOREPLY;
}

static sfsistat
on_end_of_header(SMFICTX *context)
{
	struct connection *connection = connection_of(context);
	enum mail_next next;

	if (connection->mail == NULL)
		return sessions_is_silent() ? SMFIS_NOREPLY
					    : no_message(context, connection);
	mail_identify(connection->mail, macro(context, "i"));
	next = begin_body(context, connection);
	if (!sessions_is_silent())
		return answer(context, connection, next);
	answer_later(connection, next);
	return SMFIS_NOREPLY;
}

static sfsistat
on_body(SMFICTX *context, unsigned char *bytes, size_t len)
{
	struct connection *connection = connection_of(context);

	if (connection->mail != NULL && mail_in_body(connection->mail))
		mail_body(connection->mail, slice_of(bytes, len));
	return sessions_know_steps() && !sessions_is_at_end() ? SMFIS_NOREPLY
							      : SMFIS_CONTINUE;
}

static sfsistat
on_end(SMFICTX *context)
{
	struct connection *connection = connection_of(context);
	enum mail_next next;

	if (connection->mail == NULL)
		return no_message(context, connection);
	next = begin_body(context, connection);
	if (next == MAIL_MORE)
		next = mail_end(connection->mail, frontend.service.sign,
				frontend.service.owner);
	if (next == MAIL_ACCEPT) {
		bool is_changed = changes_send(context, connection->mail);

		if (!is_changed)
			mail_settle(connection->mail, false);
		mail_leave(connection, is_changed);
		/* With changes, "accept" would be right too; both MTAs take
		 * this one for the message's last word. */
		return is_changed ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
	}
	return answer(context, connection, next);
}

static sfsistat
on_abort(SMFICTX *context)
{
	mail_drop(connection_of(context));
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *context)
{
	struct connection *connection = smfi_getpriv(context);

	if (connection == NULL)
		return SMFIS_CONTINUE;
	smfi_setpriv(context, NULL);
	mail_drop(connection);
	free(connection);
	atomic_fetch_sub(&frontend.connections, 1);
	return SMFIS_CONTINUE;
}

/* ---- start and end ---- */

static void
on_wake(int number)
{
	(void)number;
}

static void *
run(void *argument)
{
	(void)argument;
	(void)smfi_main();
	frontend.service.ended(frontend.service.owner);
	return NULL;
}

/* A socket at a place that nobody knows. libmilter keeps the text. */
static bool
place_find(int family, char directory[], struct text *out, struct fault *fault)
{
	if (family != AF_UNIX) {
		text_add_string(out, family == AF_INET ? "inet:0@[127.0.0.1]"
						       : "inet6:0@[::1]");
		return true;
	}
	if (mkdtemp(directory) == NULL)
		return fault_errno(fault, "'%s'", directory);
	text_addf(out, "unix:%s/socket", directory);
	return true;
}

static void
place_remove(struct text *place, const char *directory)
{
	if (!slice_starts(text_slice(place), SLICE("unix:")))
		return;
	unlink(text_string(place) + strlen("unix:"));
	rmdir(directory);
}

/* Has libmilter open a socket, and finds its descriptor: the next free one. */
static bool
socket_open(int family, int *descriptor_out, struct fault *fault)
{
	char directory[] = "/tmp/signet-milter-XXXXXX";
	CLEAN(text_done) struct text place = {0};
	int next = eventfd(0, EFD_CLOEXEC), is_listening = 0;
	socklen_t len = sizeof(is_listening);
	bool is_open;

	if (next < 0)
		return fault_errno(fault, "libmilter");
	close(next);
	if (!place_find(family, directory, &place, fault))
		return false;
	is_open = smfi_setconn((char *)(uintptr_t)text_string(&place)) ==
			  MI_SUCCESS &&
		  smfi_opensocket(false) == MI_SUCCESS;
	place_remove(&place, directory);
	if (!is_open)
		return fault_set(fault, FAULT_SYSTEM,
				 "libmilter cannot open a socket");
	if (getsockopt(next, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) <
		    0 ||
	    !is_listening)
		return fault_set(fault, FAULT_SYSTEM,
				 "libmilter's socket is not where it should "
				 "be");
	*descriptor_out = next;
	return true;
}

static bool
callbacks_register(void)
{
	static char name[] = "signet";
	struct smfiDesc callbacks = {
		.xxfi_name = name,
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = ACTIONS_NEEDED | SMFIF_SETSYMLIST,
		.xxfi_negotiate = on_negotiate,
		.xxfi_connect = on_connect,
		.xxfi_envfrom = on_mail,
		.xxfi_header = on_header,
		.xxfi_eoh = on_end_of_header,
		.xxfi_body = on_body,
		.xxfi_eom = on_end,
		.xxfi_abort = on_abort,
		.xxfi_close = on_close,
	};

	return smfi_register(callbacks) == MI_SUCCESS &&
	       smfi_settimeout(SESSIONS_IDLE_MS / SECOND) == MI_SUCCESS &&
	       smfi_setbacklog(BACKLOG) == MI_SUCCESS;
}

static bool
thread_start(struct fault *fault)
{
	struct sigaction wake = {.sa_handler = on_wake};
	pthread_attr_t attributes;

	sigaction(WAKE_SIGNAL, &wake, NULL);
	/* For the threads that libmilter makes, too. */
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	pthread_setattr_default_np(&attributes);
	errno = pthread_create(&frontend.thread, &attributes, run, NULL);
	pthread_attr_destroy(&attributes);
	return errno == 0 || fault_errno(fault, "libmilter's thread");
}

/* The number stays libmilter's, whatever it waits on at the moment. */
static void
listener_replace(int descriptor)
{
	ASSERT(dup3(descriptor, frontend.listener, O_CLOEXEC) >= 0);
}

bool
frontend_start(const struct frontend_service *service, int listening,
	       struct fault *fault)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);

	ASSERT(frontend.listener < 0);
	frontend.service = *service;
	if (getsockname(listening, (struct sockaddr *)&address, &len) < 0)
		return fault_errno(fault, "milter.socket");
	if (!callbacks_register())
		return fault_set(fault, FAULT_SYSTEM,
				 "libmilter is another version");
	if (!socket_open(address.ss_family, &frontend.listener, fault))
		return false;
	listener_replace(listening);
	return thread_start(fault);
}

void
frontend_listen(int listening)
{
	listener_replace(listening);
	pthread_kill(frontend.thread, WAKE_SIGNAL);
}

void
frontend_close(void)
{
	/* Something to wait for that never comes. */
	int nothing = eventfd(0, EFD_CLOEXEC);

	if (nothing >= 0)
		frontend_listen(nothing);
	clean_descriptor(&nothing);
}

bool
frontend_is_quiet(void)
{
	if (atomic_load(&frontend.messages) > 0)
		return false;
	/* Who has not counted itself by now sees this. */
	atomic_store(&frontend.is_ending, true);
	return atomic_load(&frontend.messages) == 0;
}
