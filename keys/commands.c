#include "keys/commands.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/output.h"
#include "keys/generate.h"
#include "keys/record.h"
#include "keys/rotate.h"
#include "keys/signer.h"

/* What a subcommand was given. */
struct arguments {
	enum key_algorithm algorithm;
	unsigned bits; /* 0: not given */
	bool as_json;
	struct slice words[2];
	const struct keys_dns *dns;
};

struct command {
	const char *name;
	int words;           /* how many must come */
	const char *options; /* for getopt_long(); 'j' is --json */
	int (*run)(const struct keys_options *options,
		   const struct arguments *arguments);
	const char *usage;
};

static void
say(const char *text)
{
	fprintf(stderr, "signet: %s\n", text);
}

/* A key that is missing or of no use is a bad configuration. */
static int
fail(const struct fault *fault)
{
	say(fault->text);
	switch (fault->kind) {
	case FAULT_INPUT:
	case FAULT_ABSENT:
	case FAULT_LIMIT:
	case FAULT_UNTRUSTED:
		return EX_CONFIG;
	case FAULT_NONE:
	case FAULT_DENIED:
	case FAULT_BUSY:
	case FAULT_SYSTEM:
		break;
	}
	return fault_exit_code(fault);
}

/* ---- generate ---- */

static int
generate_run(const struct keys_options *options,
	     const struct arguments *arguments)
{
	CLEAN(key_public_free_clean) struct key_public *public = NULL;
	CLEAN(text_done) struct text path = {0}, record = {0};
	struct slice domain = arguments->words[0];
	struct slice selector = arguments->words[1];
	unsigned bits = arguments->bits > 0 ? arguments->bits
					    : KEY_RSA_BITS_ADVISED;
	struct fault fault = {0};

	if (!record_names_check(selector, domain, &fault)) {
		say(fault.text);
		return EX_DATAERR;
	}
	if (!generate_file(options->keys_dir, domain, selector,
			   arguments->algorithm, bits, &public, &path,
			   &fault)) {
		say(fault.text);
		return fault.kind == FAULT_ABSENT ? EX_CONFIG
						  : fault_exit_code(&fault);
	}
	fprintf(stderr, "signet: wrote %s\n", text_string(&path));
	if (key_bits_advise(arguments->algorithm, bits, &fault))
		say(fault.text);
	record_write_zone(selector, domain, public, &record);
	return output_write(text_slice(&record)) == EX_OK ? EX_OK : EX_IOERR;
}

/* ---- list, dns: the keys are read by a signer process, never here ---- */

static void
warn(void *owner, const char *text)
{
	(void)owner;
	say(text);
}

bool
keys_load(const struct keys_options *options, struct keyring **keyring_out,
	  struct fault *fault)
{
	struct signer_process process;
	bool ok;

	if (!signer_start(0, 0, &process, fault))
		return false;
	ok = signer_load(&process, options, false, warn, NULL, keyring_out,
			 fault);
	signer_stop(&process);
	return ok;
}

static void
json_field(struct text *out, const char *name, struct slice value)
{
	text_addf(out, ", \"%s\": ", name);
	text_add_json(out, value);
}

/* One line of the list. */
struct row {
	struct slice domain, selector, file, id;
	const char *algorithm, *state;
	unsigned bits;
};

static void
row_write_text(const struct row *row, struct text *out)
{
	text_addf(out, "%-24.*s %-12.*s %-14s %4u %-7s %.*s %.*s\n",
		  SLICE_ARG(row->domain), SLICE_ARG(row->selector),
		  row->algorithm, row->bits, row->state, SLICE_ARG(row->file),
		  SLICE_ARG(row->id));
}

static void
row_write_json(const struct row *row, struct text *out)
{
	text_add_string(out, out->len > 1 ? ",\n {\"domain\": "
					  : "\n {\"domain\": ");
	text_add_json(out, row->domain);
	json_field(out, "selector", row->selector);
	json_field(out, "algorithm", SLICE(row->algorithm));
	text_addf(out, ", \"bits\": %u", row->bits);
	json_field(out, "state", SLICE(row->state));
	json_field(out, "file", row->file);
	json_field(out, "id", row->id);
	text_add_byte(out, '}');
}

static void
selector_write(const struct keys_options *options,
	       const struct selector_options *selector,
	       const struct keyring_domain *domain, size_t i, bool as_json,
	       struct text *out)
{
	CLEAN(text_done) struct text path = {0}, id = {0};
	const struct key_public *public = domain->selectors[i].key;
	struct row row = {
		.domain = domain->name,
		.selector = domain->selectors[i].name,
		.algorithm = key_algorithm_name(key_public_algorithm(public)),
		.state = selector_state_name(domain->selectors[i].state),
		.bits = key_public_bits(public),
	};

	for (size_t j = 0; j < sizeof(struct key_id); j++)
		text_addf(&id, "%02x", key_public_id(public)->bytes[j]);
	keys_path_write(options, selector->key_path, &path);
	row.file = text_slice(&path);
	row.id = text_slice(&id);
	if (as_json)
		row_write_json(&row, out);
	else
		row_write_text(&row, out);
}

static int
list_run(const struct keys_options *options,
	 const struct arguments *arguments)
{
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	CLEAN(text_done) struct text out = {0};
	struct fault fault = {0};

	if (!keys_load(options, &keyring, &fault))
		return fail(&fault);
	if (arguments->as_json)
		text_add_byte(&out, '[');
	for (size_t i = 0; i < options->domains_count; i++) {
		const struct domain_options *from = &options->domains[i];

		for (size_t j = 0; j < from->selectors_count; j++)
			selector_write(options, &from->selectors[j],
				       keyring_domain_at(keyring, i), j,
				       arguments->as_json, &out);
	}
	if (arguments->as_json)
		text_add_string(&out, out.len > 1 ? "\n]\n" : "]\n");
	return output_write(text_slice(&out));
}

/* domains_count where there is none of that name. */
static size_t
section_find(const struct keys_options *options, struct slice name)
{
	size_t i = 0;

	while (i < options->domains_count &&
	       !slice_eq_nocase(options->domains[i].name, name))
		i++;
	return i;
}

/* The section of a domain, or "*"; alone in *only_out, since the keys of other
 * domains are of no concern. False: it has been said what is wrong. */
static bool
section_choose(const struct keys_options *options, struct slice name,
	       struct keys_options *only_out)
{
	size_t i;

	if (slice_eq(name, SLICE("*"))) {
		fputs("signet: the section \"*\" signs for each author's own "
		      "domain: name one\n",
		      stderr);
		return false;
	}
	i = section_find(options, name);
	if (i == options->domains_count && record_label_check(name))
		i = section_find(options, SLICE("*"));
	if (i == options->domains_count) {
		fprintf(stderr, "signet: no section for the domain '%.*s'\n",
			SLICE_ARG(name));
		return false;
	}
	*only_out = *options;
	only_out->domains = &options->domains[i];
	only_out->domains_count = 1;
	return true;
}

static int
dns_run(const struct keys_options *options, const struct arguments *arguments)
{
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	CLEAN(text_done) struct text out = {0};
	const struct keyring_domain *domain;
	struct slice name = arguments->words[0];
	struct keys_options only;
	struct fault fault = {0};

	if (!section_choose(options, name, &only))
		return EX_DATAERR;
	if (!keys_load(&only, &keyring, &fault))
		return fail(&fault);
	domain = keyring_domain_at(keyring, 0);
	for (size_t j = 0; j < domain->selectors_count; j++) {
		const struct keyring_selector *selector = &domain->selectors[j];

		/* RFC 6376 6.1.2: mail already sent needs it for a while. */
		if (selector->state == SELECTOR_RETIRED)
			text_addf(&out, "; %.*s is retired: keep it until all "
				  "mail signed with it has arrived\n",
				  SLICE_ARG(selector->name));
		record_write_zone(selector->name,
				  domain->is_default ? name : domain->name,
				  selector->key, &out);
	}
	return output_write(text_slice(&out));
}

/* ---- check: what the DNS publishes, beside what signs ---- */

static enum check_verdict
selector_check(const struct keys_dns *dns, struct slice domain,
	       const struct keyring_selector *selector, struct text *out)
{
	CLEAN(text_done) struct text name = {0}, why = {0};
	struct slice texts[CHECK_RECORDS_MAX];
	enum check_verdict verdict;
	enum check_answer answer;
	size_t count = 0;

	record_name_write(selector->name, domain, &name);
	answer = dns->ask(dns->owner, text_slice(&name), texts, &count);
	verdict = check_today(
		selector,
		check_selector(selector, answer, texts, count, &why), &why);
	text_addf(out, "%s %s %s: %s\n", check_verdict_name(verdict),
		  text_string(&name), selector_state_name(selector->state),
		  text_string(&why));
	return verdict;
}

static int
check_run(const struct keys_options *options, const struct arguments *arguments)
{
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	CLEAN(text_done) struct text out = {0};
	bool has_failed = false, is_unknown = false;
	const struct keyring_domain *domain;
	struct slice name = arguments->words[0];
	struct keys_options only;
	struct fault fault = {0};
	int code;

	if (!section_choose(options, name, &only))
		return EX_DATAERR;
	if (!keys_load(&only, &keyring, &fault))
		return fail(&fault);
	domain = keyring_domain_at(keyring, 0);
	for (size_t i = 0; i < domain->selectors_count; i++) {
		enum check_verdict verdict = selector_check(
			arguments->dns,
			domain->is_default ? name : domain->name,
			&domain->selectors[i], &out);

		has_failed |= verdict == CHECK_FAIL;
		is_unknown |= verdict == CHECK_UNKNOWN;
	}
	code = output_write(text_slice(&out));
	if (code != EX_OK || has_failed)
		return code != EX_OK ? code : EX_DATAERR;
	return is_unknown ? EX_TEMPFAIL : EX_OK;
}

/* ---- rotate ---- */

static int
rotate_run(const struct keys_options *options,
	   const struct arguments *arguments)
{
	static const int codes[] = {
		[ROTATE_MADE] = EX_OK,
		[ROTATE_TOLD] = EX_OK,
		[ROTATE_WAITS] = EX_TEMPFAIL,
		[ROTATE_WRONG] = EX_DATAERR,
	};
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	CLEAN(text_done) struct text out = {0};
	enum rotate_result result = ROTATE_TOLD;
	struct keys_options only;
	struct fault fault = {0};
	bool is_done;
	int code;

	if (!section_choose(options, arguments->words[0], &only))
		return EX_DATAERR;
	if (slice_eq(only.domains[0].name, SLICE("*"))) {
		say("the section \"*\" signs for this domain and for others: "
		    "its keys are to be replaced by hand");
		return EX_DATAERR;
	}
	if (!keys_load(&only, &keyring, &fault))
		return fail(&fault);
	is_done = rotate_next(options, &only, keyring_domain_at(keyring, 0),
			      arguments->dns, &out, &result, &fault);
	code = output_write(text_slice(&out)); /* also what was done before it failed */
	if (!is_done)
		return fail(&fault);
	if (code != EX_OK && result == ROTATE_MADE)
		return EX_IOERR;
	return code != EX_OK ? code : codes[result];
}

/* ---- which one, and with what ---- */

static const struct command commands[] = {
	{"generate", 2, "a:b:", generate_run,
	 "key generate DOMAIN SELECTOR [-a rsa-sha256|ed25519-sha256] "
	 "[-b BITS]"},
	{"list", 0, "j", list_run, "key list [--json]"},
	{"dns", 1, "", dns_run, "key dns DOMAIN"},
	{"check", 1, "", check_run, "key check DOMAIN"},
	{"rotate", 1, "", rotate_run, "key rotate DOMAIN"},
};

static const struct command *
command_find(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (name != NULL && strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static int
usage(const struct command *command)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (command == NULL || command == &commands[i])
			fprintf(stderr, "usage: signet %s\n",
				commands[i].usage);
	return EX_USAGE;
}

static bool
bits_read(const char *word, unsigned *bits)
{
	uint64_t number;

	if (!slice_number(SLICE(word), &number) || number < KEY_RSA_BITS_MIN ||
	    number > KEY_RSA_BITS_MAX) {
		fprintf(stderr, "signet: -b: an RSA key has %d to %d bits\n",
			KEY_RSA_BITS_MIN, KEY_RSA_BITS_MAX);
		return false;
	}
	*bits = (unsigned)number;
	return true;
}

static bool
algorithm_read(const char *word, enum key_algorithm *algorithm)
{
	if (key_algorithm_find(SLICE(word), algorithm))
		return true;
	fprintf(stderr,
		"signet: -a: '%s' is neither rsa-sha256 nor ed25519-sha256\n",
		word);
	return false;
}

static bool
option_read(int option, struct arguments *arguments)
{
	if (option == 'a')
		return algorithm_read(optarg, &arguments->algorithm);
	if (option == 'b')
		return bits_read(optarg, &arguments->bits);
	if (option == 'j')
		arguments->as_json = true;
	return option == 'j';
}

static bool
arguments_read(const struct command *command, int argc, char **argv,
	       struct arguments *arguments)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'}, {0}};
	static char name[] = "signet"; /* for getopt_long()'s messages */
	bool takes_json = strchr(command->options, 'j') != NULL;
	char *command_name = argv[0];
	int option;

	argv[0] = name;
	optind = 0; /* it may have read other arguments before */
	while ((option = getopt_long(argc, argv, command->options,
				     long_options + !takes_json, NULL)) != -1)
		if (!option_read(option, arguments))
			return false;
	argv[0] = command_name; /* they may be read again */
	if (argc - optind != command->words)
		return false;
	for (int i = 0; i < command->words; i++)
		arguments->words[i] = SLICE(argv[optind + i]);
	if (arguments->algorithm == KEY_RSA_SHA256 || arguments->bits == 0)
		return true;
	say("-b is for RSA: an Ed25519 key has one size");
	return false;
}

/* Domains are written in lower case, and without the last dot that zone files
 * give them. */
static void
domain_clean(struct slice *domain, struct text *memory)
{
	if (domain->len > 1 && domain->bytes[domain->len - 1] == '.')
		domain->len--;
	for (size_t i = 0; i < domain->len; i++)
		text_add_byte(memory, ascii_lower(domain->bytes[i]));
	*domain = text_slice(memory);
}

int
keys_command(const struct keys_options *options, const struct keys_dns *dns,
	     int argc, char **argv)
{
	const struct command *command =
		argc > 0 ? command_find(argv[0]) : NULL;
	struct arguments arguments = {.algorithm = KEY_RSA_SHA256, .dns = dns};
	CLEAN(text_done) struct text domain = {0};

	if (command == NULL)
		return usage(NULL);
	if (!arguments_read(command, argc, argv, &arguments))
		return usage(command);
	if (options == NULL)
		return EX_OK;
	domain_clean(&arguments.words[0], &domain);
	return command->run(options, &arguments);
}
