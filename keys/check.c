#include "keys/check.h"

#include "keys/record.h"

const char *
check_verdict_name(enum check_verdict verdict)
{
	static const char *const names[] = {
		[CHECK_OK] = "ok",
		[CHECK_WARN] = "warn",
		[CHECK_FAIL] = "fail",
		[CHECK_UNKNOWN] = "unknown",
	};

	return names[verdict];
}

static enum check_verdict
verdict_of(enum check_verdict verdict, struct text *why, const char *words)
{
	text_add_string(why, words);
	return verdict;
}

/* RFC 6376 6.1.2: what makes a verifier pass over the record. */
static const char *
record_problem(const struct record *record, enum key_algorithm algorithm)
{
	if (record->is_revoked)
		return "the record revokes the key: p= is empty";
	if (!record->is_known || record->algorithm != algorithm)
		return "the record is for another algorithm: k= differs";
	if (!record->takes_sha256)
		return "the record does not allow SHA-256: h=";
	if (!record->for_email)
		return "the record is not for e-mail: s=";
	return NULL;
}

static enum check_verdict
record_check(const struct key_public *key, const struct record *record,
	     struct text *why)
{
	CLEAN(key_public_free_clean) struct key_public *published = NULL;
	enum key_algorithm algorithm = key_public_algorithm(key);
	const char *problem = record_problem(record, algorithm);
	struct fault fault = {0};

	if (problem != NULL)
		return verdict_of(CHECK_FAIL, why, problem);
	if (!key_public_read(algorithm, text_slice(&record->key), &published,
			     &fault)) {
		text_addf(why, "p= is no key: %s", fault.text);
		return CHECK_FAIL;
	}
	if (memcmp(key_public_id(key), key_public_id(published),
		   sizeof(struct key_id)) != 0)
		return verdict_of(CHECK_FAIL, why,
				  "the record has another key than the one "
				  "that signs; publish what `signet key dns` "
				  "prints");
	if (!slice_eq(text_slice(&record->key), key_public_record(key)))
		return verdict_of(CHECK_FAIL, why,
				  "the record has the key that signs, in a form "
				  "that most verifiers do not read "
				  "(RSAPublicKey); publish what `signet key "
				  "dns` prints");
	if (record->is_unusual)
		return verdict_of(CHECK_WARN, why,
				  "the key signs, and some verifiers do not "
				  "understand the record's k=, h=, s= or g=; "
				  "publish what `signet key dns` prints");
	if (record->is_testing)
		return verdict_of(CHECK_WARN, why,
				  "the key signs, and t=y asks receivers to "
				  "treat it as a test");
	if (record->is_strict)
		return verdict_of(CHECK_WARN, why,
				  "the key signs, and t=s refuses each "
				  "signature whose i= (`identity`) is of a "
				  "subdomain");
	return verdict_of(CHECK_OK, why, "the record has the key that signs");
}

static enum check_verdict
texts_check(const struct keyring_selector *selector, const struct slice *texts,
	    size_t count, struct text *why)
{
	enum check_verdict verdict;
	struct record record;
	struct fault fault = {0};

	if (count > 1)
		return verdict_of(CHECK_FAIL, why,
				  "there is more than one TXT record, and a "
				  "verifier may take either (RFC 6376 "
				  "3.6.2.2)");
	if (!record_parse(texts[0], &record, &fault)) {
		text_addf(why, "the record cannot be read: %s", fault.text);
		return CHECK_FAIL;
	}
	verdict = record_check(selector->key, &record, why);
	record_done(&record);
	return verdict;
}

enum check_verdict
check_selector(const struct keyring_selector *selector,
	       enum check_answer answer, const struct slice *texts,
	       size_t count, struct text *why)
{
	bool is_retired = selector->state == SELECTOR_RETIRED;
	enum check_verdict verdict;

	if (answer == CHECK_UNANSWERED)
		return verdict_of(CHECK_UNKNOWN, why,
				  "the DNS gave no answer; try again");
	if (answer == CHECK_ABSENT && is_retired)
		return verdict_of(CHECK_OK, why,
				  "retired, and no longer published");
	if (answer == CHECK_ABSENT)
		return verdict_of(CHECK_FAIL, why,
				  "nothing is published; publish what `signet "
				  "key dns` prints");
	verdict = texts_check(selector, texts, count, why);
	if (!is_retired)
		return verdict;
	text_add_string(why, "; it is retired: take the record out once all "
			"its mail has arrived");
	return CHECK_WARN;
}

enum check_verdict
check_today(const struct keyring_selector *selector,
	    enum check_verdict verdict, struct text *why)
{
	if (verdict != CHECK_FAIL || selector->state == SELECTOR_ACTIVE)
		return verdict;
	text_add_string(why, "; no mail is signed with it yet");
	return CHECK_WARN;
}
