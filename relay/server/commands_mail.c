#include "base/clock.h"
#include "relay/server/account.h"
#include "relay/server/census.h"
#include "relay/server/commands_private.h"
#include "relay/server/intake.h"
#include "relay/server/rewriting.h"
#include "relay/server/terms.h"

static const struct reply reply_sender_ok = {250, "2.1.0", "Sender ok"};
static const struct reply reply_rcpt_ok = {250, "2.1.5", "Recipient ok"};
static const struct reply reply_go_on = {
	354, NULL, "End data with <CR><LF>.<CR><LF>"};
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
	"Relaying is not allowed from your address",
	"the listener's allow_from has to name it"};
static const struct reply reply_auth_first = {530, "5.7.0",
					      "Authentication required: AUTH, "
					      "and STARTTLS before it where "
					      "EHLO has no AUTH"};
static const struct reply reply_certificate_first = {
	530, "5.7.0",
	"A client certificate is required that is known here",
	"the listener's tls_clients or tls_client_ca"};
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

/* --- MAIL: RFC 5321 4.1.1.2 --- */

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

/* The domain of senders who come without one, as programs of a Unix host do:
 * none where it would be one that nobody could answer to. */
static struct slice
own_domain(const struct session *session)
{
	struct slice hostname = session_options(session)->hostname;

	return slice_find(hostname, '.') > 0 ? hostname : SLICE_NONE;
}

/* Reads it; another sender takes the place of one who has no name of ours. */
static const struct reply *
mail_parse(const struct session *session, struct slice args, struct parsed *out)
{
	struct envelope_mail *mail = &out->mail;
	struct rewrite rewrite = session_rewrite(session);
	const struct reply *refusal = envelope_mail_parse(
		args, rewrite.sender.to.len > 0, own_domain(session),
		&out->room, mail);

	out->address = mail->path.address;
	if (refusal != NULL ||
	    !rewriting_sender(&rewrite, &mail->path, &out->sender))
		return refusal;
	mail->given = mail->path.address;
	mail->path = (struct path){.address = text_slice(&out->sender)};
	return NULL;
}

const struct reply *
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
	if (command_session_is_full(session))
		return &command_reply_session_full;
	refusal = mail_account_check(session, out->mail.path.address);
	if (refusal != NULL)
		return refusal;
	if (size > limits->max_message_size)
		return &reply_too_big;
	return transaction_lack(store_lacks_for_new(
		session->share->store, citizen_part(session->citizen), size));
}

enum step
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

/* Whether he may relay; a reload may have taken that away behind MAIL. */
static const struct reply *
relaying_check(const struct session *session)
{
	const struct principal *principal = &session->principal;

	if (principal_is_known(principal))
		return principal_holds(principal, session_now(session))
			       ? NULL
			       : &reply_not_known;
	return terms_allow(session) ? NULL
				    : stranger_refusal(session->listener);
}

/* --- RCPT: RFC 5321 4.1.1.3 --- */

static const struct reply *
rcpt_parse(const struct session *session, struct slice args,
	   struct parsed *out)
{
	const struct transaction *transaction = session->transaction;
	const struct reply *refusal = envelope_rcpt_parse(
		args, transaction_message(transaction)->declared_smtputf8,
		transaction_options(transaction)->hostname, &out->room,
		&out->rcpt);

	out->address = out->rcpt.path.address;
	out->recipient = (struct recipient){
		.address = out->address,
		.destination = SLICE(out->rcpt.destination),
		.orcpt = out->rcpt.orcpt,
		.notify = out->rcpt.notify};
	return refusal;
}

const struct reply *
rcpt_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	const struct transaction *transaction = session->transaction;
	const struct reply *refusal = rcpt_parse(session, args, out);

	if (refusal != NULL)
		return refusal;
	refusal = relaying_check(session);
	if (refusal != NULL)
		return refusal;
	out->is_known =
		transaction_has_recipient(transaction, &out->recipient);
	if (out->is_known)
		return NULL; /* and costs nothing */
	if (transaction_recipients(transaction) >=
	    transaction_options(transaction)->limits.max_recipients)
		return &reply_too_many_rcpt;
	if (!principal_may_spend(&session->principal,
				 session->principal.account,
				 session->share->rates, USE_RECIPIENT))
		return &reply_recipients_rate;
	return transaction_lacks_memory(transaction, &out->recipient);
}

enum step
rcpt_run(struct session *session, const struct parsed *parsed)
{
	/* Nor is it progress: who names the same one for ever is out of time
	 * all the same. */
	if (parsed->is_known)
		return session_reply(session, &reply_rcpt_ok, SLICE_NONE);
	principal_spend(&session->principal, session->share->rates,
			USE_RECIPIENT);
	transaction_recipient(session->transaction, &parsed->recipient);
	if (session->state == SESSION_MAIL)
		session_enter(session, SESSION_RCPT);
	session_progressed(session, clock_now_ms() +
					    session_command_timeout(session));
	return session_reply(session, &reply_rcpt_ok, SLICE_NONE);
}

/* --- DATA: RFC 5321 4.1.1.4 --- */

const struct reply *
data_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	const struct reply *refusal;

	(void)out;
	if (args.len > 0)
		return &command_reply_no_args;
	if (transaction_recipients(session->transaction) == 0)
		return &reply_no_rcpt;
	refusal = relaying_check(session);
	return refusal != NULL ? refusal
			       : transaction_room(session->transaction);
}

enum step
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
	const struct reply *refusal;

	if (session->state == SESSION_START)
		return &command_reply_greet_first;
	if (session->state == SESSION_READY)
		return &command_reply_sequence;
	if (session->state == SESSION_MAIL)
		return &reply_no_rcpt_bdat;
	refusal = relaying_check(session);
	if (refusal == NULL && session->state == SESSION_RCPT)
		refusal = transaction_room(session->transaction);
	return refusal;
}

/* The octets come whatever is wrong with the command: whether they are taken is
 * said behind them. */
const struct reply *
bdat_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	out->chunk.is_malformed = !intake_chunk_parse(args, &out->chunk);
	out->chunk.refusal = chunk_refusal(session);
	return NULL;
}

enum step
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
