#include "base/tags.h"
#include "keys/record.h"
#include "relay/doctor/examination.h"

/* Of labels that are asked for above the domain. */
#define STEPS_MAX 8

struct policy {
	struct slice domain; /* whose record it is */
	struct tags tags;
	size_t count; /* of records there */
	bool is_unanswered;
};

/* RFC 7489 6.3: v= comes first. */
static bool
is_dmarc(struct slice text, struct tags *tags_out)
{
	const struct slice version = SLICE("DMARC1");

	return tags_parse(text, tags_out, NULL) && tags_out->count > 0 &&
	       slice_eq(tags_out->items[0].name, SLICE("v")) &&
	       slice_eq(tags_out->items[0].value, version);
}

static bool
policy_at(struct examination *examination, struct slice domain,
	  struct policy *policy)
{
	struct dns_answer answer;
	struct tags tags;

	policy->count = 0;
	examination_ask(examination,
			arena_printf(examination->arena, "_dmarc.%.*s",
				     SLICE_ARG(domain)),
			DNS_TXT, &answer);
	policy->is_unanswered |= answer.status == DNS_FAILED;
	for (size_t i = 0; i < answer.count; i++)
		if (is_dmarc(answer.records[i].name, &tags)) {
			policy->tags = tags;
			policy->domain = domain;
			policy->count++;
		}
	return policy->count > 0;
}

static bool
policy_find(struct examination *examination, struct policy *policy)
{
	struct slice rest = examination->domain, label;

	for (unsigned step = 0; step < STEPS_MAX && rest.len > 0; step++) {
		if (policy_at(examination, rest, policy))
			return true;
		slice_split(&rest, '.', &label);
		if (slice_find(rest, '.') < 0)
			break; /* a top-level domain */
	}
	return false;
}

static struct slice
tag_value(const struct policy *policy, const char *name, const char *fallback)
{
	const struct tag *tag = tags_find(&policy->tags, name);

	return tag != NULL ? tag->value : SLICE(fallback);
}

static bool
is_policy(struct slice value)
{
	return slice_eq_nocase(value, SLICE("none")) ||
	       slice_eq_nocase(value, SLICE("quarantine")) ||
	       slice_eq_nocase(value, SLICE("reject"));
}

/* What can do no harm, and has the reports sent where they go already. */
static struct slice
harmless(struct examination *examination, struct slice reports)
{
	CLEAN(text_done) struct text text = {0}, record = {0};
	struct slice domain = examination->domain;

	text_add_string(&text, "v=DMARC1; p=none; rua=");
	if (reports.len == 0)
		text_addf(&text, "mailto:postmaster@%.*s", SLICE_ARG(domain));
	text_add(&text, reports);
	text_addf(&record, "_dmarc.%.*s. IN TXT", SLICE_ARG(domain));
	record_write_strings(text_slice(&text), &record);
	return arena_copy(examination->arena, text_slice(&record));
}

/* RFC 7489 6.6.3: with rua= as if it were p=none. */
static void
unknown_add(struct examination *examination, bool is_own, const char *which,
	    struct slice name, struct slice reports)
{
	struct finding *finding = finding_add(
		examination->findings, "dmarc", name,
		reports.len > 0 ? FINDING_WARN : FINDING_FAIL,
		"%s= is none of none, quarantine and reject", which);

	if (is_own)
		finding->publish = harmless(examination, reports);
}

static void
policy_judge(struct examination *examination, const struct policy *policy,
	     const struct keyring_domain *section)
{
	bool is_own = slice_eq(policy->domain, examination->domain);
	struct slice asked = tag_value(policy, "p", "");
	struct slice holds = is_own ? asked : tag_value(policy, "sp", "");
	bool is_strict = slice_eq_nocase(tag_value(policy, "adkim", "r"),
					 SLICE("s"));
	struct slice name = arena_printf(examination->arena, "_dmarc.%.*s",
					 SLICE_ARG(policy->domain));

	if (holds.len == 0)
		holds = asked;
	if (policy->count > 1)
		finding_add(examination->findings, "dmarc", name, FINDING_FAIL,
			    "there are %zu records, so receivers take none",
			    policy->count);
	else if (!is_policy(holds))
		unknown_add(examination, is_own,
			    slice_eq(holds, asked) ? "p" : "sp", name,
			    tag_value(policy, "rua", ""));
	else if (is_strict && section != NULL && !section->is_default &&
		 !slice_eq(section->name, examination->domain))
		finding_add(examination->findings, "dmarc", name, FINDING_FAIL,
			    "adkim=s wants d=%.*s, but its mail is signed with "
			    "d=%.*s",
			    SLICE_ARG(examination->domain),
			    SLICE_ARG(section->name));
	else
		finding_add(examination->findings, "dmarc", name,
			    tag_value(policy, "rua", "").len > 0 ? FINDING_OK
								 : FINDING_WARN,
			    "policy %.*s%s", SLICE_ARG(holds),
			    tag_value(policy, "rua", "").len > 0
				    ? ""
				    : "; without rua= nobody tells you what "
				      "fails");
}

void
examine_dmarc(struct examination *examination,
	      const struct keyring_domain *section)
{
	struct policy policy = {0};
	struct finding *finding;

	if (policy_find(examination, &policy)) {
		policy_judge(examination, &policy, section);
		return;
	}
	if (policy.is_unanswered) {
		finding_add(examination->findings, "dmarc", examination->domain,
			    FINDING_WARN, "the DNS does not answer");
		return;
	}
	finding = finding_add(examination->findings, "dmarc",
			      examination->domain, FINDING_WARN,
			      "no policy is published; large receivers want "
			      "one of who sends much");
	finding->publish = harmless(examination, SLICE_NONE);
}
