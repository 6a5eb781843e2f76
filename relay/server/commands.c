#include "relay/server/commands.h"

#include "relay/server/account.h"
#include "relay/server/authentication.h"
#include "relay/server/envelope.h"
#include "relay/server/front.h"
#include "relay/server/intake.h"
#include "relay/server/rewriting.h"

#define IN(state) (1u << SESSION_##state)
#define ANYWHERE (IN(START) | IN(READY) | IN(MAIL) | IN(RCPT) | IN(BDAT))

/* What check has found out for run. */
struct parsed {
	struct slice address; /* of mail or a recipient, for the log */
	struct envelope_mail mail;
	struct envelope_rcpt rcpt;
	struct slice word, initial;
	struct envelope_mending mending;
	struct arena arena; /* of claims */
	struct claims claims;
	struct text sender; /* who takes the sender's place */
	struct chunk chunk;
};

struct command {
	const char *verb;
	unsigned allowed; /* IN() bits of the states it is legal in */
	/* Judges without changing anything. NULL: no objection. */
	const struct reply *(*check)(const struct session *session,
				     struct slice args, struct parsed *out);
	/* Acts. Only ever called after check had no objection. */
	enum step (*run)(struct session *session, const struct parsed *parsed);
	/* MAIL: its refusal is one of mail or of a recipient, an event.
	 * LAST: of a group of commands (RFC 2920 3.1).
	 * LINES: what comes behind it may be lines of a message, no commands.
	 * FREE: what may come behind it is not RFC 2920's to say. */
	unsigned flags;
};

#define MAIL 1u
#define LAST 2u
#define LINES 4u
#define FREE 8u

static const struct reply reply_ok = {250, "2.0.0", "Ok"};
static const struct reply reply_sender_ok = {250, "2.1.0", "Sender ok"};
static const struct reply reply_rcpt_ok = {250, "2.1.5", "Recipient ok"};
static const struct reply reply_go_on = {
	354, NULL, "End data with <CR><LF>.<CR><LF>"};
static const struct reply reply_bye = {221, "2.0.0", "Bye"};
static const struct reply reply_start_tls = {220, "2.0.0", "Ready to start TLS"};
static const struct reply reply_vrfy = {
	252, "2.5.0", "Cannot say, but will take the message and try"};
static const struct reply reply_help = {
	214, "2.0.0",
	"EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\n"
	"RFC 5321 has the rest"};

static const struct reply reply_unknown = {
	500, "5.5.2", "Command not recognized: HELP lists those that are"};
static const struct reply reply_foreign = {
	500, "5.5.2", "This is SMTP, not HTTP; closing the connection"};
static const struct reply reply_haste = {
	503, "5.5.0",
	"The message came before its 354 (RFC 2920 3.1), closing the "
	"connection; the listener's option lenient forgives it"};
static const struct reply reply_ahead = {
	503, "5.5.0",
	"Commands came before a reply that they have to wait for (RFC 2920 3.1; "
	"without EHLO, each has to), closing the connection; the listener's "
	"option lenient forgives it"};
static const struct reply reply_not_done = {502, "5.5.1",
					    "Command not implemented"};
static const struct reply reply_sequence = {
	503, "5.5.1",
	"Bad sequence of commands: MAIL FROM, RCPT TO, then DATA or BDAT"};
static const struct reply reply_nested = {
	503, "5.5.1", "A transaction is open already: RSET ends it"};
static const struct reply reply_greet_first = {503, "5.5.1",
					       "Say EHLO or HELO first"};
static const struct reply reply_no_sender = {
	503, "5.5.1", "No sender was taken: MAIL FROM comes first"};
static const struct reply reply_no_args = {501, "5.5.4",
					   "No parameters are allowed here"};
static const struct reply reply_bad_helo = {
	501, "5.5.4", "Give a host name or an address in brackets"};
static const struct reply reply_need_arg = {501, "5.5.4",
					    "A parameter is missing"};
static const struct reply reply_unknown_param = {
	555, "5.5.4",
	"Parameter not recognized or not implemented: EHLO lists extensions"};
#define NO_RCPT "No valid recipients: see the replies to RCPT TO"
static const struct reply reply_no_rcpt = {554, "5.5.1", NO_RCPT};
static const struct reply reply_no_rcpt_bdat = {503, "5.5.1", NO_RCPT};
static const struct reply reply_bad_chunk = {
	501, "5.5.4", "Syntax: BDAT size [LAST]; cannot go on behind this"};
static const struct reply reply_too_many_rcpt = {
	452, "4.5.3",
	"Too many recipients of one message (limits.max_recipients): send to "
	"the rest with another"};
static const struct reply reply_too_big = {
	552, "5.3.4",
	"Message size exceeds the limit that EHLO gives as SIZE "
	"(limits.max_message_size)"};
static const struct reply reply_not_allowed = {
	550, "5.7.1",
	"Relaying is not allowed from your address: the listener's allow_from "
	"has to name it"};
static const struct reply reply_auth_first = {530, "5.7.0",
					      "Authentication required: AUTH, "
					      "and STARTTLS before it where "
					      "EHLO has no AUTH"};
static const struct reply reply_certificate_first = {
	530, "5.7.0",
	"A client certificate is required that is known here: the listener's "
	"tls_clients or tls_client_ca"};
static const struct reply reply_session_full = {
	421, "4.7.0", "Enough messages on this connection, connect again"};
static const struct reply reply_not_known = {
	421, "4.7.0",
	"Your user, password or listener has changed here: connect again and "
	"log in"};
static const struct reply reply_not_his = {
	553, "5.7.1", "Your user may not send with this sender's address"};
static const struct reply reply_messages_rate = {
	450, "4.7.1", "Your user has sent too many messages, try again later"};
static const struct reply reply_recipients_rate = {
	450, "4.7.1",
	"Your user has named too many recipients, try again later"};
static const struct reply reply_no_tls = {502, "5.5.1",
					  "STARTTLS is not offered here"};
static const struct reply reply_has_tls = {503, "5.5.1",
					   "TLS is in use already"};
static const struct reply reply_injection = {
	501, "5.5.0", "Nothing may follow STARTTLS before the handshake"};

/* --- EHLO, HELO: RFC 5321 4.1.1.1 --- */

static const struct reply *
helo_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)session;
	if (args.len == 0 || args.len > DOMAIN_MAX)
		return &reply_bad_helo;
	/* Names with underscores and worse are in use: RFC 5321 4.1.4 wants
	 * no refusal for that. */
	for (size_t i = 0; i < args.len; i++)
		if (args.bytes[i] <= ' ' || args.bytes[i] > '~')
			return &reply_bad_helo;
	out->word = args;
	return NULL;
}

static void
greet(struct session *session, const struct parsed *parsed, bool is_esmtp)
{
	session_reset(session);
	text_clear(&session->helo);
	text_add(&session->helo, parsed->word);
	session->is_esmtp = is_esmtp;
	if (session->state != SESSION_READY)
		session_enter(session, SESSION_READY);
}

static bool
offers_starttls(const struct session *session)
{
	return session->tls != NULL && !session->is_secured &&
	       session->listener->tls == LISTENER_TLS_STARTTLS;
}

static enum step
ehlo_run(struct session *session, const struct parsed *parsed)
{
	static const struct reply extensions = {250, NULL, ""};
	CLEAN(text_done) struct text lines = {0}, mechanisms = {0};
	const struct options *options = session_options(session);

	greet(session, parsed, true);
	text_addf(&lines, "%.*s\nPIPELINING\nSIZE %llu\n8BITMIME\n",
		  SLICE_ARG(options->hostname),
		  (unsigned long long)options->limits.max_message_size);
	if (offers_starttls(session))
		text_add_string(&lines, "STARTTLS\n");
	authentication_offer(session, &mechanisms);
	if (mechanisms.len > 0)
		text_addf(&lines, "AUTH %s\n", text_string(&mechanisms));
	if (front_offers(session, CLAIMS_XCLIENT))
		text_add_string(&lines, "XCLIENT " CLAIMS_XCLIENT_NAMES "\n");
	if (front_offers(session, CLAIMS_XFORWARD))
		text_add_string(&lines,
				"XFORWARD " CLAIMS_XFORWARD_NAMES "\n");
	text_addf(&lines,
		  "ENHANCEDSTATUSCODES\nSMTPUTF8\nDSN\nCHUNKING\n"
		  "LIMITS RCPTMAX=%llu",
		  (unsigned long long)options->limits.max_recipients);
	if (options->limits.max_messages_per_session > 0)
		text_addf(&lines, " MAILMAX=%llu",
			  (unsigned long long)
				  options->limits.max_messages_per_session);
	return session_reply_idle(session, &extensions, text_slice(&lines));
}

static enum step
helo_run(struct session *session, const struct parsed *parsed)
{
	static const struct reply hello = {250, NULL, ""};

	greet(session, parsed, false);
	return session_reply_idle(session, &hello,
				  session_options(session)->hostname);
}

/* --- STARTTLS: RFC 3207 --- */

static const struct reply *
starttls_check(const struct session *session, struct slice args,
	       struct parsed *out)
{
	(void)out;
	if (session->is_secured)
		return &reply_has_tls;
	if (!offers_starttls(session))
		return &reply_no_tls;
	if (args.len > 0)
		return &reply_no_args;
	return NULL;
}

static enum step
starttls_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	if (session->has_more) {
		/* RFC 3207 4.2: what was said in clear must not count as said
		 * over TLS. */
		session_refuse(session, &reply_injection, SLICE_NONE);
		return STEP_CLOSE;
	}
	session_reply(session, &reply_start_tls, SLICE_NONE);
	return STEP_SECURE;
}

/* --- AUTH: RFC 4954 --- */

static const struct reply *
auth_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	return authentication_check(session, args, &out->word, &out->initial);
}

static enum step
auth_run(struct session *session, const struct parsed *parsed)
{
	return authentication_begin(session, parsed->word, parsed->initial);
}

/* --- XCLIENT, XFORWARD: front.h --- */

static const struct reply *
xclient_check(const struct session *session, struct slice args,
	      struct parsed *out)
{
	return front_check(session, CLAIMS_XCLIENT, args, &out->arena,
			   &out->claims);
}

static enum step
xclient_run(struct session *session, const struct parsed *parsed)
{
	return front_replace(session, &parsed->claims);
}

static const struct reply *
xforward_check(const struct session *session, struct slice args,
	       struct parsed *out)
{
	return front_check(session, CLAIMS_XFORWARD, args, &out->arena,
			   &out->claims);
}

static enum step
xforward_run(struct session *session, const struct parsed *parsed)
{
	return front_note(session, &parsed->claims);
}

/* --- MAIL: RFC 5321 4.1.1.2 --- */

static struct envelope_mending *
leniency(const struct session *session, struct parsed *out)
{
	return session->listener->lenient ? &out->mending : NULL;
}

static bool
is_full(const struct session *session)
{
	uint64_t max =
		session_options(session)->limits.max_messages_per_session;

	return max > 0 && session->messages >= max;
}

/* To who has not shown to be anybody and would have to: how he could. */
static const struct reply *
stranger_refusal(const struct listener_options *listener)
{
	bool knows_certificates = listener->tls_clients.len > 0 ||
				  listener->tls_client_ca.len > 0;

	if (listener->auth != AUTH_NONE &&
	    (listener->auth_file.len > 0 || listener->auth_dovecot.len > 0))
		return &reply_auth_first;
	return knows_certificates ? &reply_certificate_first
				  : &reply_not_allowed;
}

static const struct reply *
mail_account_check(const struct session *session, struct slice reverse_path)
{
	const struct principal *principal = &session->principal;
	const struct generation *now = session_now(session);
	const struct account_options *account =
		principal_account(principal, now);

	if (principal_is_known(principal) && !principal_holds(principal, now))
		return &reply_not_known;
	if (!account_may_use(account, reverse_path))
		return &reply_not_his;
	return principal_may_spend(principal, account, session->share->rates,
				   USE_MESSAGE)
		       ? NULL
		       : &reply_messages_rate;
}

/* Reads it; another sender takes the place of one who has no name of ours. */
static const struct reply *
mail_parse(const struct session *session, struct slice args, struct parsed *out)
{
	struct envelope_mail *mail = &out->mail;
	struct rewrite rewrite = session_rewrite(session);
	const struct reply *refusal = envelope_mail_parse(
		args, leniency(session, out), rewrite.sender.to.len > 0, mail);

	out->address = mail->path.address;
	if (refusal != NULL ||
	    !rewriting_sender(&rewrite, &mail->path, &out->sender))
		return refusal;
	mail->given = mail->path.address;
	mail->path = (struct path){.address = text_slice(&out->sender)};
	return NULL;
}

static const struct reply *
mail_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	const struct limits_options *limits = &session_options(session)->limits;
	const struct reply *refusal = mail_parse(session, args, out);
	uint64_t size = out->mail.size;

	if (refusal != NULL)
		return refusal;
	if (session->refusal != NULL)
		return session->refusal;
	if ((session->listener->auth == AUTH_REQUIRED ||
	     session->is_expelled) &&
	    !principal_is_known(&session->principal))
		return stranger_refusal(session->listener);
	if (is_full(session))
		return &reply_session_full;
	/* RFC 4954 5: the first submitter, of whom nobody here needs to know;
	 * a client that was offered AUTH may say so. */
	if (out->mail.names_submitter && session->listener->auth == AUTH_NONE)
		return &reply_unknown_param;
	refusal = mail_account_check(session, out->mail.path.address);
	if (refusal != NULL)
		return refusal;
	if (size > limits->max_message_size)
		return &reply_too_big;
	return transaction_lack(
		store_lacks_for_new(session->share->store, size));
}

static enum step
mail_run(struct session *session, const struct parsed *parsed)
{
	principal_renew(&session->principal, session_now(session));
	principal_spend(&session->principal, session->share->rates,
			USE_MESSAGE);
	session->messages++;
	session_begin(session, &parsed->mail);
	session_enter(session, SESSION_MAIL);
	return session_reply(session, &reply_sender_ok, SLICE_NONE);
}

/* --- RCPT: RFC 5321 4.1.1.3 --- */

static const struct reply *
rcpt_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	const struct transaction *transaction = session->transaction;
	const struct reply *refusal = envelope_rcpt_parse(
		args, leniency(session, out),
		transaction_message(transaction)->declared_smtputf8,
		&out->rcpt);

	out->address = out->rcpt.path.address;
	if (refusal != NULL)
		return refusal;
	if (!session->is_allowed && !principal_is_known(&session->principal))
		return stranger_refusal(session->listener);
	if (transaction_recipients(transaction) >=
	    transaction_options(transaction)->limits.max_recipients)
		return &reply_too_many_rcpt;
	if (!principal_may_spend(&session->principal,
				 session->principal.account,
				 session->share->rates, USE_RECIPIENT))
		return &reply_recipients_rate;
	return transaction_lacks_memory(
		transaction,
		&(struct recipient){
			.address = out->rcpt.path.address,
			.destination = SLICE(out->rcpt.destination),
			.orcpt = out->rcpt.orcpt});
}

static enum step
rcpt_run(struct session *session, const struct parsed *parsed)
{
	const struct envelope_rcpt *rcpt = &parsed->rcpt;
	struct slice hostname =
		transaction_options(session->transaction)->hostname;
	CLEAN(text_done) struct text address = {0}, ours = {0};

	principal_spend(&session->principal, session->share->rates,
			USE_RECIPIENT);
	text_add(&address, rcpt->path.address);
	if (rcpt->is_postmaster) {
		text_addf(&address, "@%.*s", SLICE_ARG(hostname));
		for (size_t i = 0; i < hostname.len; i++)
			text_add_byte(&ours, ascii_lower(hostname.bytes[i]));
	}
	transaction_recipient(
		session->transaction,
		&(struct recipient){
			.address = text_slice(&address),
			.destination = rcpt->is_postmaster
					       ? text_slice(&ours)
					       : SLICE(rcpt->destination),
			.orcpt = rcpt->orcpt,
			.notify = rcpt->notify});
	if (session->state == SESSION_MAIL)
		session_enter(session, SESSION_RCPT);
	return session_reply(session, &reply_rcpt_ok, SLICE_NONE);
}

/* --- DATA: RFC 5321 4.1.1.4 --- */

static const struct reply *
data_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)out;
	if (args.len > 0)
		return &reply_no_args;
	if (transaction_recipients(session->transaction) == 0)
		return &reply_no_rcpt;
	return transaction_room(session->transaction);
}

static enum step
data_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	transaction_data(session->transaction, TRANSACTION_DATA);
	session->lf = (struct wire_lf){0};
	session->data_octets = 0;
	session_enter(session, SESSION_DATA);
	return session_reply(session, &reply_go_on, SLICE_NONE);
}

/* --- BDAT: RFC 3030 2 --- */

static const struct reply *
chunk_refusal(const struct session *session)
{
	if (session->state == SESSION_START)
		return &reply_greet_first;
	if (session->state == SESSION_READY)
		return &reply_sequence;
	if (session->state == SESSION_MAIL)
		return &reply_no_rcpt_bdat;
	return session->state == SESSION_RCPT
		       ? transaction_room(session->transaction)
		       : NULL;
}

/* The octets come whatever is wrong with the command: whether they are taken is
 * said behind them. */
static const struct reply *
bdat_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	out->chunk.is_malformed = !intake_chunk_parse(args, &out->chunk);
	out->chunk.refusal = chunk_refusal(session);
	return NULL;
}

static enum step
bdat_run(struct session *session, const struct parsed *parsed)
{
	if (parsed->chunk.is_malformed) {
		/* Nobody knows where the next command begins. */
		session_refuse(session, &reply_bad_chunk, SLICE_NONE);
		return STEP_CLOSE;
	}
	if (intake_is_endless(session, parsed->chunk.size)) {
		session_refuse(session, &intake_reply_endless, SLICE_NONE);
		return STEP_CLOSE;
	}
	session->chunk = parsed->chunk;
	if (session->state == SESSION_RCPT && session->chunk.refusal == NULL)
		transaction_data(session->transaction, TRANSACTION_BDAT);
	session_enter(session, SESSION_CHUNK);
	return STEP_NEXT;
}

/* --- the rest --- */

static const struct reply *
bare_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)session;
	(void)out;
	return args.len > 0 ? &reply_no_args : NULL;
}

/* Postfix and Sendmail ask so whether a connection that they have kept is still
 * good, and take another where it is not; at MAIL they would defer. */
static const struct reply *
probe_check(const struct session *session)
{
	return session->transaction == NULL && is_full(session)
		       ? &reply_session_full
		       : NULL;
}

static const struct reply *
rset_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)out;
	return args.len > 0 ? &reply_no_args : probe_check(session);
}

static const struct reply *
noop_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)args;
	(void)out;
	return probe_check(session);
}

static const struct reply *
any_check(const struct session *session, struct slice args, struct parsed *out)
{
	(void)session;
	(void)args;
	(void)out;
	return NULL;
}

static const struct reply *
vrfy_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)session;
	(void)out;
	return args.len == 0 ? &reply_need_arg : NULL;
}

static const struct reply *
expn_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)session;
	(void)args;
	(void)out;
	return &reply_not_done;
}

static enum step
rset_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	session_reset(session);
	return session_reply_idle(session, &reply_ok, SLICE_NONE);
}

static enum step
noop_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	return session_reply_idle(session, &reply_ok, SLICE_NONE);
}

static enum step
vrfy_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	return session_reply_idle(session, &reply_vrfy, SLICE_NONE);
}

static enum step
help_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	return session_reply_idle(session, &reply_help, SLICE_NONE);
}

static enum step
quit_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	session->has_quit = true;
	session_reply(session, &reply_bye, SLICE_NONE);
	return STEP_CLOSE;
}

/* clang-format off */
static const struct command commands[] = {
	/* verb       legal in             check           run           flags */
	{ "EHLO",     ANYWHERE,            helo_check,     ehlo_run,     LAST },
	{ "HELO",     ANYWHERE,            helo_check,     helo_run,     LAST },
	{ "STARTTLS", IN(READY),           starttls_check, starttls_run, FREE },
	{ "AUTH",     IN(READY),           auth_check,     auth_run,     0 },
	{ "XCLIENT",  IN(START) | IN(READY), xclient_check, xclient_run, 0 },
	{ "XFORWARD", IN(START) | IN(READY), xforward_check, xforward_run, 0 },
	{ "MAIL",     IN(READY),           mail_check,     mail_run,     MAIL },
	{ "RCPT",     IN(MAIL) | IN(RCPT), rcpt_check,     rcpt_run,     MAIL },
	{ "DATA",     IN(MAIL) | IN(RCPT), data_check,     data_run,     MAIL | LAST | LINES },
	{ "BDAT",     ANYWHERE,            bdat_check,     bdat_run,     MAIL | FREE },
	{ "RSET",     ANYWHERE,            rset_check,     rset_run,     0 },
	{ "VRFY",     ANYWHERE,            vrfy_check,     vrfy_run,     LAST },
	{ "EXPN",     ANYWHERE,            expn_check,     NULL,         LAST },
	{ "HELP",     ANYWHERE,            any_check,      help_run,     0 },
	{ "NOOP",     ANYWHERE,            noop_check,     noop_run,     LAST },
	{ "QUIT",     ANYWHERE,            bare_check,     quit_run,     FREE },
};
/* clang-format on */

static const struct command *
command_find(struct slice line, struct slice *verb_out, struct slice *args_out)
{
	size_t len = 0;

	while (len < line.len && line.bytes[len] != ' ')
		len++;
	*verb_out = slice_sub(line, 0, len);
	*args_out = slice_from(line, len);
	while (args_out->len > 0 && args_out->bytes[0] == ' ')
		*args_out = slice_from(*args_out, 1);
	while (args_out->len > 0 &&
	       ascii_is_wsp(args_out->bytes[args_out->len - 1]))
		args_out->len--;
	for (size_t i = 0; i < COUNT(commands); i++)
		if (slice_eq_nocase(*verb_out, SLICE(commands[i].verb)))
			return &commands[i];
	return NULL;
}

static const struct reply *
out_of_place(const struct session *session, const struct command *command)
{
	if (session->state == SESSION_START)
		return &reply_greet_first;
	if (session->state == SESSION_READY &&
	    (command->flags & MAIL) != 0)
		return &reply_no_sender;
	if (session->transaction != NULL &&
	    (command->allowed & IN(READY)) != 0)
		return &reply_nested;
	return &reply_sequence;
}

static void
parsed_done(struct parsed *parsed)
{
	text_done(&parsed->mending.text);
	arena_done(&parsed->arena);
	text_done(&parsed->sender);
}

/* The lines of a message that was sent too early are no commands. */
static bool
is_followed(const struct session *session, const struct command *command)
{
	return (command->flags & LINES) != 0 && session->has_more;
}

static enum step
refuse_out_of_place(struct session *session, const struct command *command)
{
	const struct reply *refusal = out_of_place(session, command);
	enum step step = session->is_discarding
				 ? session_refuse_behind(session, refusal)
				 : session_refuse(session, refusal, SLICE_NONE);

	return is_followed(session, command) ? STEP_CLOSE : step;
}

/* What a client sends ahead it sends whatever the answer is: so does who talks
 * another protocol, or does not know to whom. */
static bool
is_hasty(struct session *session, const struct command *command)
{
	bool is_last = (command->flags & LAST) != 0 ||
		       (!session->is_esmtp && (command->flags & FREE) == 0);

	if (!is_last || !session->has_more)
		return false;
	if (session->listener->lenient)
		session_legacy(session, is_followed(session, command)
						? LEGACY_HASTE
						: LEGACY_AHEAD);
	return !session->listener->lenient;
}

static enum step
refuse_hasty(struct session *session, const struct command *command)
{
	bool is_message = is_followed(session, command);

	session_lost(session, is_message ? "a message before its 354"
					 : "commands before their turn");
	session_reply(session, is_message ? &reply_haste : &reply_ahead,
		      SLICE_NONE);
	return STEP_CLOSE;
}

static enum step
refuse(struct session *session, const struct command *command,
       const struct reply *refusal, struct slice argument)
{
	enum step step;

	if ((command->flags & MAIL) == 0) {
		step = session_refuse(session, refusal, SLICE_NONE);
		return refusal->code == 421 ? STEP_CLOSE : step;
	}
	step = session_reject(session, refusal, SLICE_NONE, argument,
			      SLICE(refusal->text));
	session->is_discarding = session->transaction == NULL;
	return refusal->code == 421 || is_followed(session, command) ? STEP_CLOSE
								     : step;
}

enum step
command_run(struct session *session, struct slice line)
{
	CLEAN(parsed_done) struct parsed parsed = {.address = SLICE_NONE};
	const struct reply *refusal;
	struct slice verb, args;
	const struct command *command = command_find(line, &verb, &args);

	if (command == NULL && conduct_is_foreign(verb)) {
		session_refuse(session, &reply_foreign, SLICE_NONE);
		return STEP_CLOSE;
	}
	if (command == NULL)
		return session_refuse(session, &reply_unknown, SLICE_NONE);
	if (is_hasty(session, command))
		return refuse_hasty(session, command);
	if ((command->allowed & (1u << session->state)) == 0)
		return refuse_out_of_place(session, command);
	refusal = command->check(session, args, &parsed);
	if (parsed.mending.has_space)
		session_legacy(session, LEGACY_SPACE);
	if (parsed.mending.lacks_brackets)
		session_legacy(session, LEGACY_NO_BRACKETS);
	if (refusal == NULL)
		return command->run(session, &parsed);
	return refuse(session, command, refusal,
		      parsed.address.len > 0 ? parsed.address : args);
}
