/* An opendkim.conf whose tables are lists in it; and the same bytes as what
 * a table in a file may hold: whatever it is, it is refused with a reason, or
 * becomes sections that are tried. */
#include "relay/import/dataset.h"
#include "relay/import/opendkim_conf.h"
#include "relay/import/sections.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Trying is by pairs; a few lines show all there is. */
#define INPUT_MAX 2000

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
