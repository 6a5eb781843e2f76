#include "relay/server/envelope.h"

#include "milter/idn.h"
#include "relay/queue/dsn.h"

static const struct reply reply_mail_syntax = {
	501, "5.5.4",
	"Syntax: MAIL FROM:<address>"};
static const struct reply reply_rcpt_syntax = {
	501, "5.5.4",
	"Syntax: RCPT TO:<address>"};
static const struct reply reply_bad_param = {
	501, "5.5.4",
	"Malformed parameter: NAME or NAME=VALUE, a space before each, each "
	"once"};
static const struct reply reply_bad_size = {
	501, "5.5.4", "SIZE is a number of octets, and given once"};
static const struct reply reply_bad_body = {
	501, "5.5.4", "BODY is 7BIT or 8BITMIME, and given once"};
static const struct reply reply_bad_ret = {
	501, "5.5.4", "RET is FULL or HDRS, and given once"};
static const struct reply reply_bad_envid = {
	501, "5.5.4",
	"ENVID is xtext (RFC 3461) of at most 100 octets, and given once"};
static const struct reply reply_bad_notify = {
	501, "5.5.4",
	"NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY, and given "
	"once"};
static const struct reply reply_bad_orcpt = {
	501, "5.5.4",
	"ORCPT is a type, \";\" and an address in xtext (RFC 3461), and given "
	"once"};
static const struct reply reply_unknown_param = {
	555, "5.5.4",
	"Parameter not recognized or not implemented: EHLO lists extensions"};
static const struct reply reply_not_ascii = {
	553, "5.6.7",
	"An address outside ASCII needs MAIL with SMTPUTF8 (RFC 6531)"};
static const struct reply reply_sender_bad = {
	553, "5.1.7",
	"The sender's address is malformed",
	"the listener's option rewrite_sender puts another in its place"};
static const struct reply reply_sender_no_domain = {
	553, "5.1.7",
	"The sender's address has no domain",
	"the listener's option rewrite_sender puts another in its place"};
static const struct reply reply_sender_long = {
	553, "5.1.7", "The sender's address is too long"};
static const struct reply reply_rcpt_bad = {
	553, "5.1.3", "The recipient's address is malformed"};
static const struct reply reply_rcpt_no_domain = {
	553, "5.1.3", "The recipient's address has no domain"};
static const struct reply reply_rcpt_long = {
	553, "5.1.3", "The recipient's address is too long"};

/* Takes "FROM:" or "TO:" off: the path is next. */
static bool
take_prefix(struct slice *args, const char *prefix)
{
	if (!slice_starts_nocase(*args, SLICE(prefix)))
		return false;
	*args = slice_from(*args, strlen(prefix));
	while (args->len > 0 && ascii_is_wsp(args->bytes[0]))
		*args = slice_from(*args, 1);
	return args->len > 0;
}

/* --- parameters --- */

struct param {
	const char *keyword;
	const struct reply *malformed; /* or given twice */
	bool (*parse)(struct slice value, void *out);
};

/* Each at most once, in any order. */
static const struct reply *
params_parse(struct slice rest, const struct param *params, size_t count,
	     void *out)
{
	struct slice keyword, value;
	unsigned seen = 0;

	for (;;) {
		enum param_status status = param_next(&rest, &keyword, &value);
		size_t i = 0;

		if (status == PARAM_NONE)
			return NULL;
		if (status == PARAM_MALFORMED)
			return &reply_bad_param;
		while (i < count &&
		       !slice_eq_nocase(keyword, SLICE(params[i].keyword)))
			i++;
		if (i == count)
			return &reply_unknown_param;
		if ((seen & 1u << i) != 0 || !params[i].parse(value, out))
			return params[i].malformed;
		seen |= 1u << i;
	}
}

static bool
size_parse(struct slice value, void *out)
{
	struct envelope_mail *mail = out;

	/* RFC 1870 5: 20 digits, more than 64 bits hold. */
	for (size_t i = 0; i < value.len; i++)
		if (!ascii_is_digit(value.bytes[i]))
			return false;
	if (!slice_number(value, &mail->size))
		mail->size = UINT64_MAX;
	return value.len > 0 && value.len <= 20;
}

static bool
body_parse(struct slice value, void *out)
{
	struct envelope_mail *mail = out;

	mail->declared_8bit = slice_eq_nocase(value, SLICE("8BITMIME"));
	return mail->declared_8bit || slice_eq_nocase(value, SLICE("7BIT"));
}

static bool
smtputf8_parse(struct slice value, void *out)
{
	struct envelope_mail *mail = out;

	mail->declared_smtputf8 = true;
	return value.len == 0;
}

static bool
ret_parse(struct slice value, void *out)
{
	struct envelope_mail *mail = out;

	return dsn_ret_parse(value, &mail->ret);
}

static bool
envid_parse(struct slice value, void *out)
{
	struct envelope_mail *mail = out;

	mail->envid = value;
	return dsn_envid_check(value);
}

/* RFC 4954 5: the first submitter, of whom nobody here needs to know. */
static bool
auth_parse(struct slice value, void *out)
{
	(void)out;
	return value.len > 0;
}

static bool
notify_parse(struct slice value, void *out)
{
	struct envelope_rcpt *rcpt = out;

	return dsn_notify_parse(value, &rcpt->notify);
}

static bool
orcpt_parse(struct slice value, void *out)
{
	struct envelope_rcpt *rcpt = out;

	rcpt->orcpt = value;
	return dsn_orcpt_check(value, true);
}

static const struct param mail_params[] = {
	{"SIZE", &reply_bad_size, size_parse},
	{"BODY", &reply_bad_body, body_parse},
	{"SMTPUTF8", &reply_bad_param, smtputf8_parse},
	{"RET", &reply_bad_ret, ret_parse},
	{"ENVID", &reply_bad_envid, envid_parse},
	{"AUTH", &reply_bad_param, auth_parse},
};

static const struct param rcpt_params[] = {
	{"NOTIFY", &reply_bad_notify, notify_parse},
	{"ORCPT", &reply_bad_orcpt, orcpt_parse},
};

/* --- paths --- */

/* The domain as DNS has it, in lower case; a literal as it stands. False: IDNA
 * knows of no such name. */
static bool
destination_write(const struct path *path, char out[DOMAIN_MAX + 1])
{
	CLEAN(arena_done) struct arena arena = {0};
	struct slice domain = path->domain;

	if (!slice_is_ascii(domain) &&
	    (!idn_to_ascii(domain, &arena, &domain, NULL) ||
	     !path_domain_check(domain)))
		return false;
	ASSERT(domain.len <= DOMAIN_MAX);
	for (size_t i = 0; i < domain.len; i++)
		out[i] = path->is_literal ? domain.bytes[i]
					  : ascii_lower(domain.bytes[i]);
	out[domain.len] = '\0';
	return true;
}

/* RFC 5321 4.1.2: what is no Dot-string is a Quoted-string, in which its
 * characters say the same. domain: which it gets; in the path, or ours. */
static void
path_write(struct path *path, struct slice domain, struct text *room)
{
	const char *quote = path->needs_quotes ? "\"" : "";
	size_t local_len = path->local.len + 2 * strlen(quote);

	text_addf(room, "%s%.*s%s@%.*s", quote, SLICE_ARG(path->local), quote,
		  SLICE_ARG(domain));
	path->address = text_slice(room);
	path->local = slice_sub(path->address, 0, local_len);
	path->domain = slice_from(path->address, local_len + 1);
	path->needs_quotes = false;
}

static const struct reply *
mail_path(struct slice args, struct slice ours, struct text *room,
	  struct envelope_mail *out, struct slice *rest)
{
	char destination[DOMAIN_MAX + 1];

	switch (path_parse(args, &out->path, rest)) {
	case PATH_OK:
		if (out->path.needs_quotes)
			path_write(&out->path, out->path.domain, room);
		return destination_write(&out->path, destination)
			       ? NULL
			       : &reply_sender_bad;
	case PATH_MALFORMED:
		break;
	case PATH_NO_DOMAIN:
		if (ours.len == 0)
			return &reply_sender_no_domain;
		/* "MAIL FROM: SIZE=9", where a program has no sender */
		if (slice_find(out->path.local, '=') >= 0)
			return &reply_sender_bad;
		out->given = out->path.address;
		path_write(&out->path, ours, room);
		return out->path.address.len + 2 <= PATH_MAX_OCTETS
			       ? NULL
			       : &reply_sender_long;
	case PATH_TOO_LONG:
		return &reply_sender_long;
	}
	return &reply_sender_bad;
}

/* Nothing is known of it but what it says. */
static bool
mail_path_skip(struct slice args, struct path *path, struct slice *rest)
{
	struct slice inside;

	if (!path_skip(args, &inside, rest))
		return false;
	*path = (struct path){.address = inside};
	return true;
}

const struct reply *
envelope_mail_parse(struct slice args, bool takes_any, struct slice ours,
		    struct text *room, struct envelope_mail *out)
{
	const struct reply *refusal;
	struct slice rest;

	*out = (struct envelope_mail){.size = 0};
	if (!take_prefix(&args, "FROM:"))
		return &reply_mail_syntax;
	refusal = mail_path(args, takes_any ? SLICE_NONE : ours, room, out,
			    &rest);
	if (refusal != NULL && takes_any &&
	    mail_path_skip(args, &out->path, &rest))
		refusal = NULL;
	if (refusal == NULL)
		refusal = params_parse(rest, mail_params, COUNT(mail_params),
				       out);
	if (refusal == NULL && out->path.is_utf8 && !out->declared_smtputf8) {
		if (takes_any)
			mail_path_skip(args, &out->path, &rest);
		else
			refusal = &reply_not_ascii;
	}
	return refusal;
}

static const struct reply *
rcpt_path(struct slice args, struct slice ours, struct text *room,
	  struct envelope_rcpt *out, struct slice *rest)
{
	struct path *path = &out->path;

	switch (path_parse(args, path, rest)) {
	case PATH_OK:
		if (path->needs_quotes)
			path_write(path, path->domain, room);
		/* The null path is a sender only. */
		return path->address.len > 0 &&
				       destination_write(path,
							 out->destination)
			       ? NULL
			       : &reply_rcpt_bad;
	case PATH_MALFORMED:
		break;
	case PATH_NO_DOMAIN:
		if (!slice_eq_nocase(path->local, SLICE("postmaster")))
			return &reply_rcpt_no_domain;
		path_write(path, ours, room);
		return destination_write(path, out->destination)
			       ? NULL
			       : &reply_rcpt_bad;
	case PATH_TOO_LONG:
		return &reply_rcpt_long;
	}
	return &reply_rcpt_bad;
}

const struct reply *
envelope_rcpt_parse(struct slice args, bool has_smtputf8, struct slice ours,
		    struct text *room, struct envelope_rcpt *out)
{
	const struct reply *refusal;
	struct slice rest;

	*out = (struct envelope_rcpt){.notify = 0};
	if (!take_prefix(&args, "TO:"))
		return &reply_rcpt_syntax;
	refusal = rcpt_path(args, ours, room, out, &rest);
	if (refusal == NULL)
		refusal = params_parse(rest, rcpt_params, COUNT(rcpt_params),
				       out);
	if (refusal == NULL && out->path.is_utf8 && !has_smtputf8)
		refusal = &reply_not_ascii;
	if (refusal == NULL && !has_smtputf8 && !slice_is_ascii(out->orcpt))
		refusal = &reply_bad_orcpt;
	return refusal;
}
