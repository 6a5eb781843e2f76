#include "keys/check.h"

#include <criterion/criterion.h>

#include "base/base64.h"
#include "keys/record.h"

static struct key *key, *other;
static struct key_public *public, *other_public;

static void
begin(void)
{
	cr_assert(key_generate(KEY_ED25519_SHA256, 0, &key, NULL));
	cr_assert(key_generate(KEY_ED25519_SHA256, 0, &other, NULL));
	public = key_public_of(key);
	other_public = key_public_of(other);
}

static void
end(void)
{
	key_public_free(public);
	key_public_free(other_public);
	key_free(key);
	key_free(other);
}

TestSuite(check, .init = begin, .fini = end);

static enum check_verdict
check(enum selector_state state, enum check_answer answer, const char *before,
      const struct key_public *published, size_t count, struct text *why)
{
	struct keyring_selector selector = {.key = public, .state = state};
	CLEAN(text_done) struct text record = {0};
	struct slice texts[CHECK_RECORDS_MAX];

	text_add_string(&record, before);
	if (published != NULL) {
		CLEAN(text_done) struct text whole = {0};

		record_write(published, &whole);
		text_add(&record, before[0] != '\0'
					  ? slice_from(text_slice(&whole),
						       strlen("v=DKIM1; "))
					  : text_slice(&whole));
	}
	for (size_t i = 0; i < count; i++)
		texts[i] = text_slice(&record);
	return check_selector(&selector, answer, texts, count, why);
}

static const struct {
	enum selector_state state;
	enum check_answer answer;
	const char *before;
	int published; /* 0: none, 1: the one that signs, 2: another */
	size_t count;
	enum check_verdict verdict;
	const char *says;
} rows[] = {
	{SELECTOR_ACTIVE, CHECK_FOUND, "", 1, 1, CHECK_OK,
	 "has the key that signs"},
	{SELECTOR_PUBLISH, CHECK_FOUND, "", 1, 1, CHECK_OK, ""},
	{SELECTOR_ACTIVE, CHECK_FOUND, "", 2, 1, CHECK_FAIL, "another key"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "", 1, 2, CHECK_FAIL, "more than one"},
	{SELECTOR_ACTIVE, CHECK_ABSENT, "", 0, 0, CHECK_FAIL,
	 "nothing is published"},
	{SELECTOR_ACTIVE, CHECK_UNANSWERED, "", 0, 0, CHECK_UNKNOWN,
	 "try again"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; t=y; ", 1, 1, CHECK_WARN,
	 "t=y"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; t=s; ", 1, 1, CHECK_WARN,
	 "t=s"},
	{SELECTOR_ACTIVE, CHECK_FOUND,
	 "v=DKIM1; h=sha256; s=email; "
	 "g=*; ",
	 1, 1, CHECK_OK, ""},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; h=sha1 : sha256; ", 1, 1,
	 CHECK_WARN, "some verifiers"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; s=other:email; ", 1, 1,
	 CHECK_WARN, "some verifiers"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; g=joe; ", 1, 1, CHECK_WARN,
	 "some verifiers"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; h=sha1; ", 1, 1, CHECK_FAIL,
	 "SHA-256"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; s=other; ", 1, 1, CHECK_FAIL,
	 "e-mail"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; k=ed25519; p=", 0, 1,
	 CHECK_FAIL, "revokes"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; p=", 0, 1, CHECK_FAIL,
	 "revokes"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; k=rsa; p=AAAA", 0, 1,
	 CHECK_FAIL, "another algorithm"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=DKIM1; k=ed25519; p=AAAA", 0, 1,
	 CHECK_FAIL, "p= is no key"},
	{SELECTOR_ACTIVE, CHECK_FOUND, "v=spf1 -all", 0, 1, CHECK_FAIL,
	 "cannot be read"},
	{SELECTOR_RETIRED, CHECK_ABSENT, "", 0, 0, CHECK_OK, "no longer"},
	{SELECTOR_RETIRED, CHECK_FOUND, "", 1, 1, CHECK_WARN,
	 "take the record out"},
	{SELECTOR_RETIRED, CHECK_FOUND, "", 2, 1, CHECK_WARN, "another key"},
};

Test(check, judges)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text why = {0};
		enum check_verdict verdict =
			check(rows[i].state, rows[i].answer, rows[i].before,
			      rows[i].published == 1   ? public
			      : rows[i].published == 2 ? other_public
						       : NULL,
			      rows[i].count, &why);

		cr_expect_eq(verdict, rows[i].verdict, "%zu: %s", i,
			     text_string(&why));
		cr_expect_not_null(strstr(text_string(&why), rows[i].says),
				   "%zu: %s", i, text_string(&why));
	}
}

static const struct {
	enum selector_state state;
	enum check_verdict verdict, today;
} today_rows[] = {
	{SELECTOR_ACTIVE, CHECK_FAIL, CHECK_FAIL},
	{SELECTOR_ACTIVE, CHECK_OK, CHECK_OK},
	{SELECTOR_PUBLISH, CHECK_FAIL, CHECK_WARN},
	{SELECTOR_PUBLISH, CHECK_UNKNOWN, CHECK_UNKNOWN},
	{SELECTOR_PUBLISH, CHECK_OK, CHECK_OK},
};

Test(check, breaks_nothing_before_it_signs)
{
	for (size_t i = 0; i < COUNT(today_rows); i++) {
		struct keyring_selector selector = {.state =
							    today_rows[i].state};
		CLEAN(text_done) struct text why = {0};

		cr_expect_eq(check_today(&selector, today_rows[i].verdict,
					 &why),
			     today_rows[i].today, "%zu", i);
		cr_expect_eq(why.len > 0,
			     today_rows[i].today != today_rows[i].verdict);
	}
}

/* RFC 6376 3.6.1 names RSAPublicKey (RFC 8017 A.1.1) and its examples are
 * SubjectPublicKeyInfo, which is what OpenDKIM, rspamd and Mail::DKIM read. */
Test(check, of_an_rsa_key_only_the_form_that_all_read)
{
	static const char *const forms[] = {"k=rsa; p=", "k=RSA; p="};
	struct key *rsa = NULL;
	struct key_public *of_rsa;
	struct keyring_selector selector = {.state = SELECTOR_ACTIVE};
	enum check_verdict wanted[COUNT(forms)][2] = {{CHECK_OK, CHECK_FAIL},
						      {CHECK_WARN, CHECK_FAIL}};

	cr_assert(key_generate(KEY_RSA_SHA256, 2048, &rsa, NULL));
	selector.key = of_rsa = key_public_of(rsa);
	for (size_t i = 0; i < COUNT(forms); i++) {
		for (size_t bare = 0; bare < 2; bare++) {
			CLEAN(text_done) struct text why = {0}, record = {0};
			struct slice der = key_public_record(of_rsa), text;
			/* AlgorithmIdentifier and BIT STRING before it. */
			struct slice form = slice_from(der, bare ? 24 : 0);
			enum check_verdict verdict;

			text_add_string(&record, forms[i]);
			base64_write(&record, form);
			text = text_slice(&record);
			verdict = check_selector(&selector, CHECK_FOUND, &text,
						 1, &why);
			cr_expect_eq(verdict, wanted[i][bare], "%zu %zu: %s", i,
				     bare, text_string(&why));
		}
	}
	key_public_free(of_rsa);
	key_free(rsa);
}
