#include "relay/doctor/findings.h"

#include <stdarg.h>
#include <stdio.h>

#define WHY_SIZE 1024

static const char *const result_names[] = {
	[FINDING_OK] = "ok",
	[FINDING_WARN] = "warn",
	[FINDING_FAIL] = "fail",
};

struct finding *
finding_add(struct findings *findings, const char *check, struct slice name,
	    enum finding_result result, const char *why, ...)
{
	struct finding *finding = &findings->items[findings->count];
	char text[WHY_SIZE];
	va_list args;

	if (findings->count + 1 < FINDINGS_MAX)
		findings->count++;
	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	*finding = (struct finding){
		.check = check,
		.name = arena_copy(findings->arena, name),
		.result = result,
		.why = arena_copy(findings->arena, SLICE(text)),
	};
	findings->has_failed |= result == FINDING_FAIL;
	return finding;
}

/* What others publish is shown, and moves no cursor. */
static void
printable_write(struct slice bytes, struct text *out)
{
	for (size_t i = 0; i < bytes.len; i++)
		text_add_byte(out, bytes.bytes[i] >= ' ' &&
						   bytes.bytes[i] <= '~'
					   ? bytes.bytes[i]
					   : '?');
}

void
findings_write_text(const struct findings *findings, struct text *out)
{
	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->items[i];

		text_addf(out, "%-4s %-5s ", result_names[finding->result],
			  finding->check);
		printable_write(finding->name, out);
		text_add_string(out, ": ");
		printable_write(finding->why, out);
		text_add_byte(out, '\n');
		if (finding->publish.len == 0)
			continue;
		text_add_string(out, "           publish: ");
		printable_write(slice_trim(finding->publish), out);
		text_add_byte(out, '\n');
	}
}

void
findings_write_json(const struct findings *findings, struct slice domain,
		    struct text *out)
{
	text_add_string(out, "{\"domain\": ");
	text_add_json(out, domain);
	text_add_string(out, ", \"findings\": [");
	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->items[i];

		text_addf(out, "%s\n {\"check\": \"%s\", \"name\": ",
			  i == 0 ? "" : ",", finding->check);
		text_add_json(out, finding->name);
		text_addf(out, ", \"result\": \"%s\", \"why\": ",
			  result_names[finding->result]);
		text_add_json(out, finding->why);
		text_add_string(out, ", \"publish\": ");
		text_add_json(out, slice_trim(finding->publish));
		text_add_byte(out, '}');
	}
	text_add_string(out, "\n]}\n");
}
