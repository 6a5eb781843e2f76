#include "relay/import/opendkim_import.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base/output.h"
#include "relay/import/header_names.h"
#include "relay/import/milter_lines.h"
#include "relay/import/report.h"
#include "relay/import/sections.h"
#include "relay/import/write.h"
#include "relay/options.h"

#define EXPIRE_MAX_S ((long)3650 * 24 * 3600)

struct import {
	struct opendkim_conf conf;
	struct slice directory; /* where relative paths start */
	struct arena *arena;
	struct signing_rules rules;
	struct sections sections;
	struct text *out;
	struct report *report;
	struct conf_errors *errors;
};

/* ---- the signing section ---- */

static bool
canonicalization_is_known(struct slice word)
{
	return slice_eq_nocase(word, SLICE("simple")) ||
	       slice_eq_nocase(word, SLICE("relaxed"));
}

/* The body's is simple where it is not said (RFC 6376 3.5). */
static void
canonicalization_write(struct import *import)
{
	const struct opendkim_setting *setting =
		opendkim_setting(&import->conf, "Canonicalization");
	struct slice body = setting != NULL ? setting->value : SLICE_NONE;
	struct slice header = SLICE("simple");
	CLEAN(text_done) struct text both = {0};

	if (setting != NULL)
		(void)slice_split(&body, '/', &header);
	if (body.len == 0)
		body = SLICE("simple");
	if (!canonicalization_is_known(header) ||
	    !canonicalization_is_known(body)) {
		ASSERT(setting != NULL); /* what goes without saying is known */
		conf_error(import->errors,
			   opendkim_place(&import->conf, setting),
			   "Canonicalization: '%.*s' is not known",
			   SLICE_ARG(setting->value));
		return;
	}
	text_addf(&both, "%s/%s",
		  slice_eq_nocase(header, SLICE("simple")) ? "simple"
							   : "relaxed",
		  slice_eq_nocase(body, SLICE("simple")) ? "simple"
							 : "relaxed");
	write_text("canonicalization", text_slice(&both), import->out);
}

static void
algorithm_check(struct import *import)
{
	const struct opendkim_setting *setting =
		opendkim_setting(&import->conf, "SignatureAlgorithm");

	if (setting != NULL &&
	    !slice_eq_nocase(setting->value, SLICE("rsa-sha256")) &&
	    !slice_eq_nocase(setting->value, SLICE("ed25519-sha256")))
		report_lost(import->report, setting->place,
			    "SignatureAlgorithm: the key decides, and RSA "
			    "signs rsa-sha256 (RFC 8301); see that no h= in "
			    "its DNS record forbids that");
}

static void
existing_write(struct import *import)
{
	const struct opendkim_setting *setting =
		opendkim_setting(&import->conf, "RemoveOldSignatures");

	if (setting == NULL || setting->number == 0)
		return;
	report_lost(import->report, setting->place,
		    "RemoveOldSignatures: signet removes signatures of the "
		    "domain that signs, and leaves those of others");
	write_text("existing", SLICE("strip"), import->out);
}

static void
expire_write(struct import *import)
{
	const struct opendkim_setting *setting =
		opendkim_setting(&import->conf, "SignatureTTL");

	if (setting == NULL || setting->number == 0)
		return;
	if (setting->number < 0 || setting->number > EXPIRE_MAX_S)
		conf_error(import->errors, setting->place,
			   "SignatureTTL: %ld is not a time that signet "
			   "knows",
			   setting->number);
	text_addf(import->out, "    expire = %lds\n", setting->number);
}

static bool
others_read(struct slice path)
{
	CLEAN(text_done) struct text name = {0};
	struct stat status;

	text_add(&name, path);
	return stat(text_string(&name), &status) == 0 &&
	       (status.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

/* OpenDKIM lets its own group read; strict_key_modes does not. */
static void
modes_write(struct import *import)
{
	const struct opendkim_setting *setting =
		opendkim_setting(&import->conf, "RequireSafeKeys");

	if (setting == NULL || setting->number == 0)
		return;
	for (size_t i = 0; i < import->sections.count; i++) {
		const struct section *section = &import->sections.sections[i];

		for (size_t k = 0; k < section->selectors_count; k++)
			if (others_read(section->selectors[k].key_path)) {
				report_lost(import->report, setting->place,
					    "RequireSafeKeys: others than its "
					    "owner may read '%.*s': chmod 600, "
					    "then set signing."
					    "strict_key_modes = true",
					    SLICE_ARG(section->selectors[k]
							      .key_path));
				return;
			}
	}
	text_add_string(import->out, "    strict_key_modes = true\n");
}

static void
signing_write(struct import *import)
{
	text_add_string(import->out, "\nsigning {\n");
	canonicalization_write(import);
	existing_write(import);
	expire_write(import);
	modes_write(import);
	algorithm_check(import);
	if (import->sections.senders_count > 0 &&
	    import->sections.is_multiple)
		write_text("sender_match", SLICE("all"), import->out);
	header_names_write(&import->conf, import->directory, import->arena,
			   import->out, import->report, import->errors);
	text_add_string(import->out, "}\n");
}

/* ---- domain sections ---- */

static void
selector_write(const struct section_selector *selector, struct text *out)
{
	text_add_string(out, "    selector ");
	text_add_quoted(out, selector->name);
	text_add_string(out, " {\n    ");
	write_text("key", selector->key_path, out);
	if (selector->from_count > 0) {
		text_add_string(out, "    ");
		write_list("from", selector->from, selector->from_count, out);
	}
	text_add_string(out, "    }\n");
}

static void
section_write(const struct section *section, struct text *out)
{
	if (section->selectors_count == 0 && section->also_sign_count == 0)
		return;
	text_add_string(out, "\ndomain ");
	text_add_quoted(out, section->name);
	text_add_string(out, " {\n");
	if (section->subdomains)
		text_add_string(out, "    subdomains = true\n");
	if (section->identity.len > 0)
		write_text("identity", section->identity, out);
	if (section->also_sign_count > 0) {
		text_add_string(out, "    also_sign = {");
		for (size_t i = 0; i < section->also_sign_count; i++) {
			text_add_string(out, i > 0 ? ", " : "");
			text_add_quoted(out, section->also_sign[i]->name);
		}
		text_add_string(out, "}\n");
	}
	for (size_t i = 0; i < section->selectors_count; i++)
		selector_write(&section->selectors[i], out);
	text_add_string(out, "}\n");
}

/* ---- sender sections ---- */

static void
sender_write(const struct section_sender *sender, struct arena *arena,
	     struct text *out)
{
	struct slice *keys =
		arena_array(arena, sender->sign_count, sizeof(*keys));

	for (size_t i = 0; i < sender->sign_count; i++)
		keys[i] = arena_printf(arena, "%.*s._domainkey.%.*s",
				       SLICE_ARG(sender->sign[i].selector),
				       SLICE_ARG(sender->sign[i].domain));
	text_add_string(out, "sender ");
	text_add_quoted(out, sender->pattern);
	text_add_string(out, " {\n");
	write_list("sign", keys, sender->sign_count, out);
	if (sender->identity.len > 0)
		write_text("identity", sender->identity, out);
	text_add_string(out, "}\n");
}

static void
senders_write(const struct sections *sections, struct arena *arena,
	      struct text *out)
{
	if (sections->senders_count == 0)
		return;
	text_addf(out, "\n# The SigningTable, in OpenDKIM's order: %s.\n",
		  sections->is_multiple ? "each that matches signs"
					: "the first that matches signs");
	for (size_t i = 0; i < sections->senders_count; i++)
		sender_write(&sections->senders[i], arena, out);
}

/* ---- all of it ---- */

static void
directory_find(struct import *import)
{
	const struct opendkim_setting *setting =
		opendkim_setting(&import->conf, "BaseDirectory");

	/* Without one it is where a service starts: in "/". */
	import->directory = setting != NULL ? setting->value : SLICE_NONE;
	if (setting != NULL && setting->value.bytes[0] != '/')
		conf_error(import->errors, setting->place,
			   "BaseDirectory: not an absolute path");
}

/* No byte of the name ends the comment. */
static void
head_write(const char *path, struct text *out)
{
	text_add_string(out, "# signet.conf, made by `signet import opendkim ");
	for (; *path != '\0'; path++)
		text_add_byte(out, (unsigned char)*path < ' ' ? '?' : *path);
	text_add_string(out, "`.\n\n");
}

static bool
import_run(struct import *import, const char *path)
{
	CLEAN(text_done) struct text problems = {0};
	struct slice line, lines;

	head_write(path, import->out);
	opendkim_conf_read(path, import->arena, &import->conf,
			   import->report, import->errors);
	if (import->errors->count > 0)
		return false;
	directory_find(import);
	signing_rules_read(&import->conf, import->directory, import->arena,
			   &import->rules, import->report, import->errors);
	if (import->errors->count > 0)
		return false;
	sections_make(&import->rules, import->arena, &import->sections,
		      import->report);
	milter_lines_write(&import->conf, import->directory, import->arena,
			   import->out, import->report, import->errors);
	signing_write(import);
	for (size_t i = 0; i < import->sections.count; i++)
		section_write(&import->sections.sections[i], import->out);
	senders_write(&import->sections, import->arena, import->out);
	if (import->errors->count > 0)
		return false;
	opendkim_conf_finish(&import->conf);
	if (options_accept(text_slice(import->out), &problems))
		return true;
	lines = text_slice(&problems);
	while (slice_split(&lines, '\n', &line))
		report_decisive(import->report, (struct conf_place){0},
				"what was written needs mending: %.*s",
				SLICE_ARG(line));
	return true;
}

/* Appends the configuration. False: nothing can be made of it, and the errors
 * say why; their places live in the arena. Reads no private key. */
static bool
opendkim_import(const char *path, struct arena *arena, struct text *out,
		struct report *report, struct conf_errors *errors)
{
	struct import import = {.arena = arena,
				.out = out,
				.report = report,
				.errors = errors};

	return import_run(&import, path);
}

/* ---- the command ---- */

static void
lines_print(struct slice lines)
{
	struct slice line;

	while (slice_split(&lines, '\n', &line))
		fprintf(stderr, "signet: %.*s\n", SLICE_ARG(line));
}

static int
result_print(bool is_good, struct text *out, const struct report *report,
	     const struct conf_errors *errors)
{
	CLEAN(text_done) struct text said = {0};

	lines_print(text_slice(&report->lines));
	conf_errors_write(errors, &said);
	lines_print(text_slice(&said));
	if (!is_good)
		return errors->is_denied ? EX_NOPERM : EX_DATAERR;
	if (output_write(text_slice(out)) != EX_OK)
		return EX_TEMPFAIL;
	return report->is_incomplete ? EX_DATAERR : EX_OK;
}

int
import_command(int argc, char **argv)
{
	CLEAN(text_done) struct text out = {0};
	CLEAN(report_done) struct report report = {0};
	CLEAN(conf_errors_done) struct conf_errors errors = {0};
	struct arena arena = {0};
	bool is_good;
	int code;

	if (argc != 3 || strcmp(argv[1], "opendkim") != 0) {
		fputs("signet: import: usage: signet import opendkim FILE\n",
		      stderr);
		return EX_USAGE;
	}
	is_good = opendkim_import(argv[2], &arena, &out, &report, &errors);
	code = result_print(is_good, &out, &report, &errors);
	arena_done(&arena);
	return code;
}
