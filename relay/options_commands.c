#include "relay/options_commands.h"

#include <stdio.h>
#include <sysexits.h>

#include "base/output.h"
#include "keys/signer.h"
#include "relay/listener_tls.h"
#include "relay/net/tls.h"
#include "relay/options_accounts.h"
#include "relay/options_check.h"
#include "relay/options_senders.h"
#include "relay/options_warn.h"

#define TLS_FILE_MAX ((size_t)1 << 20)

static int
arguments_refuse(const char *command, const char *argument)
{
	fprintf(stderr, "signet: %s: unexpected '%s'\n", command, argument);
	return EX_USAGE;
}

static void
lines_print(struct slice lines)
{
	struct slice line;

	while (slice_split(&lines, '\n', &line))
		fprintf(stderr, "signet: %.*s\n", SLICE_ARG(line));
}

int
options_command(int argc, char **argv)
{
	CLEAN(text_done) struct text reference = {0};

	if (argc > 1)
		return arguments_refuse("options", argv[1]);
	options_write(&reference);
	return output_write(text_slice(&reference));
}

int
options_read(const char *path, bool may_default, struct options **options_out)
{
	CLEAN(text_done) struct text errors = {0};
	struct fault fault = {0};

	if (options_load(path, &errors, options_out, NULL, &fault))
		return EX_OK;
	if (fault.kind == FAULT_ABSENT && may_default) {
		*options_out = options_default();
		return EX_OK;
	}
	lines_print(text_slice(&errors));
	if (fault.kind == FAULT_ABSENT)
		fputs("signet: `signet options` prints a configuration to "
		      "begin with; -c FILE names another one\n",
		      stderr);
	return options_exit_code(&fault);
}

/* ---- check-config ---- */

static void
warning_print(const char *text)
{
	fprintf(stderr, "signet: warning: %s\n", text);
}

/* The option of each file of TLS, and where its path is. */
static const struct tls_file {
	const char *option;
	size_t path;
} tls_files[LISTENER_FILES] = {
	[LISTENER_CERT] = {"tls_cert",
			   offsetof(struct listener_options, tls_cert)},
	[LISTENER_KEY] = {"tls_key",
			  offsetof(struct listener_options, tls_key)},
	[LISTENER_CLIENT_CA] = {"tls_client_ca",
				offsetof(struct listener_options,
					 tls_client_ca)},
};

static bool
tls_files_read(const struct listener_options *listener,
	       struct text files[LISTENER_FILES], enum listener_file *at_out,
	       struct fault *fault)
{
	for (size_t i = 0; i < LISTENER_FILES; i++) {
		CLEAN(text_done) struct text name = {0};
		struct slice path = SLICE_NONE;

		if (tls_files[i].option != NULL)
			memcpy(&path,
			       (const char *)listener + tls_files[i].path,
			       sizeof(path));
		text_add(&name, path);
		if (path.len == 0 || conf_file_read(text_string(&name),
						    TLS_FILE_MAX, &files[i],
						    fault))
			continue;
		*at_out = (enum listener_file)i;
		return fault_within(fault, "%s '%s'", tls_files[i].option,
				    text_string(&name));
	}
	return true;
}

/* As the relay would. */
static bool
certificate_check(const struct listener_options *listener,
		  enum listener_file *at_out, struct fault *fault)
{
	CLEAN(text_done) struct text words = {0};
	struct text files[LISTENER_FILES] = {0};
	struct slice bytes[LISTENER_FILES];
	struct tls_context *context;
	bool is_good = tls_files_read(listener, files, at_out, fault);

	for (size_t i = 0; i < LISTENER_FILES; i++)
		bytes[i] = text_slice(&files[i]);
	if (is_good)
		is_good = listener_tls_new(listener, bytes, &context, at_out,
					   fault);
	if (is_good && listener_tls_days(listener, context, &words))
		warning_print(text_string(&words));
	if (is_good)
		tls_context_free(context);
	for (size_t i = 0; i < LISTENER_FILES; i++)
		secret_cleanse(&files[i]);
	return is_good;
}

static void
certificates_check(const struct options *options, struct conf_errors *errors)
{
	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];
		const struct conf_item *item =
			options_section_at(options->items, "listener", i);
		enum listener_file at = LISTENER_CERT;
		struct fault fault;

		if (listener->tls != LISTENER_TLS_NONE &&
		    !certificate_check(listener, &at, &fault))
			conf_error_fault(
				errors,
				conf_item_place(item, tls_files[at].option),
				&fault);
	}
}

static void
key_warning_print(void *owner, const char *text)
{
	(void)owner;
	warning_print(text);
}

static bool
keys_load(struct signer_process *signer, const struct options *options,
	  const struct keys_options *keys,
	  void (*warn)(void *owner, const char *text), struct fault *fault)
{
	struct keyring *keyring;

	if (!signer_load(signer, keys, options->strict_key_modes, warn, NULL,
			 &keyring, fault))
		return false;
	keyring_unref(keyring);
	return true;
}

/* One key at a time, since loading them all ends at the first fault. */
static void
keys_check_each(struct signer_process *signer, const struct options *options,
		struct conf_errors *errors)
{
	struct conf_place nowhere = {0}; /* the fault names it */
	struct fault fault;

	for (size_t i = 0; i < options->keys.domains_count; i++) {
		struct domain_options domain = options->keys.domains[i];
		size_t count = domain.selectors_count;

		domain.selectors_count = 1;
		for (size_t j = 0; j < count; j++, domain.selectors++) {
			struct keys_options keys = {options->keys.keys_dir,
						    &domain, 1};

			if (errors->count < CONF_ERRORS_MAX &&
			    !keys_load(signer, options, &keys, NULL, &fault))
				conf_error_fault(errors, nowhere, &fault);
		}
	}
}

/* As the relay would load them. */
static void
keys_check(const struct options *options, struct conf_errors *errors)
{
	size_t before = errors->count;
	struct conf_place nowhere = {0};
	struct signer_process signer;
	struct fault fault;

	if (options->keys.domains_count == 0)
		return;
	if (!signer_start(0, 0, &signer, &fault)) {
		conf_error_fault(errors, nowhere, &fault);
		return;
	}
	if (!keys_load(&signer, options, &options->keys, key_warning_print,
		       &fault)) {
		keys_check_each(&signer, options, errors);
		if (errors->count == before)
			conf_error_fault(errors, nowhere, &fault);
	}
	signer_stop(&signer);
}

int
check_config_command(const char *path, int argc, char **argv)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	CLEAN(conf_errors_done) struct conf_errors errors = {0};
	CLEAN(text_done) struct text said = {0};
	struct fault fault = {0};
	int code;

	if (argc > 1)
		return arguments_refuse("check-config", argv[1]);
	code = options_read(path, false, &options);
	if (code != EX_OK)
		return code;
	if (!options_check_files(options, warning_print, &said, &fault)) {
		lines_print(text_slice(&said));
		return options_exit_code(&fault);
	}
	options_warn(options, warning_print);
	senders_warn(options, warning_print);
	accounts_warn(options, warning_print);
	options_check_milter_group(options, &errors);
	certificates_check(options, &errors);
	keys_check(options, &errors);
	if (errors.count == 0)
		return EX_OK;
	conf_errors_write(&errors, &said);
	lines_print(text_slice(&said));
	return errors.is_denied ? EX_NOPERM : EX_CONFIG;
}
