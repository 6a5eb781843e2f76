/* An opendkim.conf whose tables are lists in it; and the same bytes as what
 * a table in a file may hold: whatever it is, it is refused with a reason, or
 * becomes sections that are tried. */
#include "relay/import/dataset.h"
#include "relay/import/opendkim_conf.h"
#include "relay/import/sections.h"
#include "relay/options_values.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Trying is by pairs; a few lines show all there is. */
#define INPUT_MAX 2000

/* The pattern with something for each "*"; without a dot at its ends. */
static struct slice
filled(struct slice pattern, const char *filler, struct text *out)
{
	text_clear(out);
	for (size_t i = 0; i < pattern.len; i++)
		if (pattern.bytes[i] == '*')
			text_add_string(out, filler);
		else
			text_add_byte(out, pattern.bytes[i]);
	return text_slice(out);
}

/* Where nothing was reported, everybody's mail is signed as before: each local
 * part that the rules know, or nobody's, at each domain. */
static void
agreement_check(const struct sections *sections,
		const struct signing_rules *rules)
{
	static const char *const fillers[] = {"", "x", "a.b", "me"};
	CLEAN(text_done) struct text local = {0}, domain = {0};

	for (size_t i = 0; i < rules->count && i < 12; i++)
		for (size_t k = 0; k < rules->count && k < 12; k++)
			for (size_t f = 0; f < 16; f++) {
				filled(rules->rules[i].local, fillers[f % 4],
				       &local);
				filled(rules->rules[k].domain, fillers[f / 4],
				       &domain);
				ASSERT(local.len == 0 || domain.len == 0 ||
				       domain.bytes[0] == '.' ||
				       sections_agree(sections, rules,
						      text_slice(&local),
						      text_slice(&domain)));
			}
}

/* What is none is reported when the configuration that was made is read. */
static bool
are_names(const struct sections *sections)
{
	for (size_t i = 0; i < sections->count; i++)
		if (!slice_eq(sections->sections[i].name, SLICE("*")) &&
		    !domain_check(sections->sections[i].name, NULL))
			return false;
	for (size_t i = 0; i < sections->senders_count; i++) {
		struct slice rest = sections->senders[i].pattern, local;

		(void)slice_split(&rest, '@', &local);
		if (slice_starts(rest, SLICE("*")))
			rest = slice_from(rest, 1);
		if (slice_starts(rest, SLICE(".")))
			rest = slice_from(rest, 1);
		if (rest.len > 0 && !domain_check(rest, NULL))
			return false;
	}
	return true;
}

static void
conf_import(struct slice text)
{
	CLEAN(report_done) struct report report = {0};
	CLEAN(conf_errors_done) struct conf_errors errors = {0};
	CLEAN(text_done) struct text said = {0};
	struct arena arena = {0};
	struct opendkim_conf conf;
	struct signing_rules rules;
	struct sections sections;

	opendkim_conf_parse(text, "f", &arena, &conf, &report, &errors);
	if (errors.count == 0)
		signing_rules_read(&conf, SLICE("/nonexistent"), &arena,
				   &rules, &report, &errors);
	if (errors.count == 0) {
		sections_make(&rules, &arena, &sections, &report);
		for (size_t i = 0; i < sections.count; i++)
			ASSERT(sections.sections[i].name.len > 0);
		if (!report.is_incomplete && are_names(&sections))
			agreement_check(&sections, &rules);
	}
	conf_errors_write(&errors, &said);
	ASSERT((said.len > 0) == (errors.count > 0));
	arena_done(&arena);
}

static void
file_read(struct slice text)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {0};
	struct arena arena = {0};
	struct dataset dataset = {0};

	if (dataset_parse(text, "t", &arena, &dataset, &errors))
		for (size_t i = 0; i < dataset.count; i++)
			ASSERT(dataset.rows[i].key.len > 0);
	else
		ASSERT(errors.count == 1);
	arena_done(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice text = slice_of(bytes, len < INPUT_MAX ? len : INPUT_MAX);

	conf_import(text);
	file_read(text);
	return 0;
}
