#include "keys/record.h"
#include "relay/doctor/examination.h"

static enum check_answer
answer_of(const struct dns_answer *answer)
{
	switch (answer->status) {
	case DNS_FOUND:
		return CHECK_FOUND;
	case DNS_NO_DATA:
	case DNS_NO_NAME:
		return CHECK_ABSENT;
	case DNS_FAILED:
		break;
	}
	return CHECK_UNANSWERED;
}

static void
selector_examine(struct examination *examination, struct slice signing_domain,
		 const struct keyring_selector *selector)
{
	static const enum finding_result results[] = {
		[CHECK_OK] = FINDING_OK,
		[CHECK_WARN] = FINDING_WARN,
		[CHECK_FAIL] = FINDING_FAIL,
		[CHECK_UNKNOWN] = FINDING_WARN,
	};
	CLEAN(text_done) struct text name = {0}, why = {0}, record = {0};
	struct slice texts[CHECK_RECORDS_MAX];
	struct dns_answer answer;
	enum check_verdict verdict, today;
	struct finding *finding;
	size_t count = 0;

	record_name_write(selector->name, signing_domain, &name);
	examination_ask(examination, text_slice(&name), DNS_TXT, &answer);
	for (; count < answer.count && count < CHECK_RECORDS_MAX; count++)
		texts[count] = answer.records[count].name;
	verdict = check_selector(selector, answer_of(&answer), texts, count,
				 &why);
	today = check_today(selector, verdict, &why);
	finding = finding_add(examination->findings, "dkim", text_slice(&name),
			      results[today], "%s", text_string(&why));
	if (verdict != CHECK_FAIL)
		return;
	record_write_zone(selector->name, signing_domain, selector->key,
			  &record);
	finding->publish = arena_copy(examination->arena, text_slice(&record));
}

void
examine_dkim(struct examination *examination,
	     const struct keyring_domain *section)
{
	bool has_active = false;

	if (section == NULL) {
		finding_add(examination->findings, "dkim", examination->domain,
			    FINDING_FAIL,
			    "no domain section signs for it: add one, and make "
			    "a key with `signet key generate`");
		return;
	}
	for (size_t i = 0; i < section->selectors_count; i++) {
		has_active |= section->selectors[i].state == SELECTOR_ACTIVE;
		selector_examine(examination,
				 section->is_default ? examination->domain
						     : section->name,
				 &section->selectors[i]);
	}
	if (!has_active)
		finding_add(examination->findings, "dkim", examination->domain,
			    FINDING_FAIL, "no selector is active: its mail is "
			    "not signed");
}
