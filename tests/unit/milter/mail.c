#include "milter/mail.h"

#include "tests/fake/log.h"
#include "tests/unit/milter/stage.h"

/* What the signer does. */
enum signer { SIGNER_SIGNS, SIGNER_IS_GONE, SIGNER_ERRS };

static const struct row {
	const char *name;
	const char *from; /* the value of From */
	const char *more; /* further fields, "Name\0value", for a large header */
	bool is_listed, accepts_on_error;
	enum unsigned_action unsigned_action;
	enum signer signer;
	enum mail_next next;
	const char *code;  /* of a refusal */
	const char *event; /* of the log, and what it says */
	const char *says;
} rows[] = {
	{"signed", " joe@example.com", NULL, true, false, UNSIGNED_RELAY,
	 SIGNER_SIGNS, MAIL_ACCEPT, NULL, "signed", "id=Q1"},
	{"a stranger", " joe@example.com", NULL, false, false, UNSIGNED_REJECT,
	 SIGNER_SIGNS, MAIL_ACCEPT, NULL, "skipped", "sign_from"},
	{"no section", " joe@other.example", NULL, true, false, UNSIGNED_RELAY,
	 SIGNER_SIGNS, MAIL_ACCEPT, NULL, "skipped", "no domain section"},
	{"no section, and that is refused", " joe@other.example", NULL, true,
	 false, UNSIGNED_REJECT, SIGNER_SIGNS, MAIL_REFUSE, "550", "rejected",
	 "550 5.7.1"},
	{"no signer", " joe@example.com", NULL, true, false, UNSIGNED_RELAY,
	 SIGNER_IS_GONE, MAIL_REFUSE, "451", "rejected", "451 4.7.5"},
	{"no signer, and that is no matter", " joe@example.com", NULL, true,
	 true, UNSIGNED_RELAY, SIGNER_IS_GONE, MAIL_ACCEPT, NULL, "skipped",
	 "could not be signed"},
	{"a signer that errs", " joe@example.com", NULL, true, false,
	 UNSIGNED_RELAY, SIGNER_ERRS, MAIL_REFUSE, "451", "rejected",
	 "does not verify"},
	{"a signer that errs, passed on without its signature",
	 " joe@example.com", NULL, true, true, UNSIGNED_RELAY, SIGNER_ERRS,
	 MAIL_ACCEPT, NULL, "skipped", "does not verify"},
	{"a header over its bound", " joe@example.com",
	 " 0123456789012345678901234567890123456789", true, true,
	 UNSIGNED_RELAY, SIGNER_SIGNS, MAIL_REFUSE, "552", "rejected",
	 "max_header_size"},
};

static bool
sign(void *owner, struct signature *signatures, size_t count,
     struct fault *fault)
{
	const enum signer *signer = owner;

	if (*signer == SIGNER_IS_GONE)
		return fault_set(fault, FAULT_BUSY, "nobody answers");
	for (size_t i = 0; i < count; i++) {
		struct signature *signature = &signatures[i];
		CLEAN(key_free_clean)
		struct key *key = stage_key(
			key_public_algorithm(signature->selector->key));

		if (*signer == SIGNER_ERRS)
			signature->digest[0] ^= 1;
		if (!key_sign(key, signature->digest, signature->signature,
			      &signature->signature_len, fault))
			return false;
	}
	return true;
}

/* All of the message, as far as it is wanted. */
static enum mail_next
feed(struct mail *mail, const struct row *row)
{
	const struct origin origin = {.client = SLICE("192.0.2.1"),
				      .is_listed = row->is_listed};
	enum signer signer = row->signer;
	enum mail_next next = mail_begin(mail, &origin, SLICE("Q1"), 1000000);

	if (next != MAIL_MORE)
		return next;
	mail_header(mail, SLICE("From"), SLICE(row->from));
	if (row->more != NULL)
		mail_header(mail, SLICE("X-More"), SLICE(row->more));
	next = mail_end_of_header(mail);
	if (next != MAIL_MORE)
		return next;
	mail_body(mail, SLICE("Hello\r\n"));
	return mail_end(mail, sign, &signer);
}

Test(mail, what_becomes_of_it)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct signing_options options = {
			.unsigned_action = row->unsigned_action,
			.verify_every = 100};
		struct mail_rules rules = {
			.policy = stage_policy(&options),
			.accepts_on_error = row->accepts_on_error,
			.header_max = 64};
		struct mail *mail = mail_new(&rules, SLICE("<joe@example.com>"));
		bool is_signed = strcmp(row->event, "signed") == 0;
		size_t count;

		fake_log_clear();
		cr_expect_eq(feed(mail, row), row->next, "%s", row->name);
		if (row->next == MAIL_REFUSE)
			cr_expect_str_eq(mail_reply(mail)->code, row->code,
					 "%s", row->name);
		(void)mail_changes(mail, &count);
		cr_expect_eq(count, is_signed ? 2 : 0, "%s: %zu", row->name,
			     count);
		if (row->next == MAIL_ACCEPT)
			mail_settle(mail, true);
		cr_expect_eq(fake_log_count(row->event, row->says), 1, "%s",
			     row->name);
		mail_free(mail);
		policy_unref(rules.policy);
	}
}

Test(mail, the_first_selector_ends_up_on_top)
{
	struct signing_options options = {.verify_every = 100};
	struct mail_rules rules = {.policy = stage_policy(&options),
				   .header_max = 1024};
	struct mail *mail = mail_new(&rules, SLICE("joe@example.com"));
	const struct mail_change *changes;
	size_t count;

	cr_assert_eq(feed(mail, &rows[0]), MAIL_ACCEPT);
	changes = mail_changes(mail, &count);
	cr_assert_eq(count, 2);
	for (size_t i = 0; i < count; i++) {
		cr_expect_eq(changes[i].kind, MAIL_INSERT);
		cr_expect_str_eq(changes[i].name, "DKIM-Signature");
		cr_expect_eq(strncmp(changes[i].value, " v=1; ", 6), 0);
		cr_expect_null(strchr(changes[i].value, '\r'));
		cr_expect_neq(changes[i].value[strlen(changes[i].value) - 1],
			      '\n');
	}
	/* Each is inserted above the one before. */
	cr_expect_not_null(strstr(changes[0].value, "s=ed;"));
	cr_expect_not_null(strstr(changes[1].value, "s=rsa;"));
	mail_settle(mail, false);
	cr_expect_eq(fake_log_count("skipped", "could not be told"), 1);
	mail_free(mail);
	policy_unref(rules.policy);
}

/* MAILER-DAEMON's own reports, where nobody signs for that domain. */
Test(mail, a_report_of_the_mta_is_not_refused)
{
	static const struct {
		const char *sender, *client;
		enum mail_next next;
	} reports[] = {
		{"<>", "127.0.0.1", MAIL_ACCEPT},
		{"<>", "::1", MAIL_ACCEPT},
		{"<>", "", MAIL_ACCEPT},
		{"<>", "192.0.2.1", MAIL_REFUSE},
		{"<joe@example.com>", "127.0.0.1", MAIL_REFUSE},
	};
	struct signing_options options = {.unsigned_action = UNSIGNED_REJECT,
					  .verify_every = 100};
	struct mail_rules rules = {.policy = stage_policy(&options),
				   .header_max = 1024};

	for (size_t i = 0; i < COUNT(reports); i++) {
		const struct origin origin = {.client = SLICE(reports[i].client),
					      .is_listed = true};
		struct mail *mail = mail_new(&rules, SLICE(reports[i].sender));

		fake_log_clear();
		cr_assert_eq(mail_begin(mail, &origin, SLICE("Q1"), 1000000),
			     MAIL_MORE);
		mail_header(mail, SLICE("From"),
			    SLICE(" MAILER-DAEMON@other.example"));
		cr_expect_eq(mail_end_of_header(mail), reports[i].next, "%zu",
			     i);
		cr_expect_eq(fake_log_count("skipped", "no domain section"),
			     reports[i].next == MAIL_ACCEPT, "%zu", i);
		mail_free(mail);
	}
	policy_unref(rules.policy);
}
