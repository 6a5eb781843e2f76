#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "keys/signer_process.h"

/* One selector of the options, in order. */
struct source {
	const struct domain_options *domain;
	const struct selector_options *selector;
};

struct load {
	struct signer_process *process;
	const struct keys_options *options;
	bool strict_modes;
	void (*warn)(void *owner, const char *text);
	void *owner;
	struct source *sources;
	struct key_public **publics;
	size_t count, loaded;
	struct control_message message;
};

/* FILE:LINE: selector "x" of domain "y": key file '…': what */
static bool
fault_in(struct fault *fault, const struct load *load,
	 const struct source *source)
{
	const struct selector_options *selector = source->selector;
	CLEAN(text_done) struct text path = {0};

	keys_path_write(load->options, selector->key_path, &path);
	fault_within(fault, "selector \"%.*s\" of domain \"%.*s\": key file "
		     "'%s'", SLICE_ARG(selector->name),
		     SLICE_ARG(source->domain->name), text_string(&path));
	if (selector->file != NULL)
		fault_within(fault, "%s:%u", selector->file, selector->line);
	return false;
}

static void
warn_in(const struct load *load, const struct source *source,
	struct fault *warning)
{
	if (load->warn == NULL)
		return;
	fault_in(warning, load, source);
	load->warn(load->owner, warning->text);
}

static bool
mode_check(const struct load *load, const struct source *source, mode_t mode,
	   struct fault *fault)
{
	struct fault warning = {0};

	if ((mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) == 0)
		return true;
	fault_set(&warning, FAULT_DENIED,
		  "mode %04o lets others than its owner %s it; chmod 600",
		  (unsigned)mode & 07777,
		  (mode & (S_IRGRP | S_IROTH)) != 0 ? "read" : "write");
	if (load->strict_modes) {
		*fault = warning;
		return false;
	}
	warn_in(load, source, &warning);
	return true;
}

/* What cannot be read as a file is a mistake of the configuration, unless it
 * is a matter of permissions or of a machine in trouble. */
static bool
fault_open(struct fault *fault)
{
	int system = errno;

	fault_errno(fault, "opening");
	if (system == ELOOP || system == ENAMETOOLONG || system == EISDIR ||
	    system == ENXIO || system == ENODEV)
		fault->kind = FAULT_INPUT;
	return false;
}

static bool
file_open(const struct load *load, const struct source *source, int *file_out,
	  struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};
	CLEAN(clean_descriptor) int file = -1;
	struct stat status;

	keys_path_write(load->options, source->selector->key_path, &path);
	/* Not to wait for the other end of a FIFO. */
	file = open(text_string(&path),
		    O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file < 0)
		return fault_open(fault);
	if (fstat(file, &status) < 0)
		return fault_errno(fault, "stat");
	if (!S_ISREG(status.st_mode))
		return fault_set(fault, FAULT_INPUT, "not a regular file");
	if (status.st_size > (off_t)KEY_FILE_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "longer than the %zu bytes that a key may "
				 "have", KEY_FILE_MAX);
	if (!mode_check(load, source, status.st_mode, fault))
		return false;
	*file_out = descriptor_take(&file);
	return true;
}

static bool
public_take(struct load *load, uint64_t deadline_ms, struct fault *fault)
{
	const struct source *source = &load->sources[load->loaded];
	struct control_message *message = &load->message;
	struct key_public *public;
	struct fault warning = {0};

	if (!process_receive(load->process, message, CONTROL_PUBLIC,
			     deadline_ms, fault))
		return message->verb == CONTROL_FAULT
			       ? fault_in(fault, load, source)
			       : false;
	if (message->index != load->loaded ||
	    message->detail > KEY_ED25519_SHA256)
		return fault_set(fault, FAULT_SYSTEM,
				 "the signer process answers out of turn");
	if (!key_public_read((enum key_algorithm)message->detail,
			     slice_of(message->bytes, message->len), &public,
			     fault))
		return fault_in(fault, load, source);
	load->publics[load->loaded++] = public;
	if (key_bits_advise(key_public_algorithm(public),
			    key_public_bits(public), &warning))
		warn_in(load, source, &warning);
	return true;
}

/* Descriptors go in batches: any number of keys needs no more than
 * CONTROL_KEYS_MAX of them at once. */
static bool
batch_send(struct load *load, const int *files, size_t count,
	   struct fault *fault)
{
	uint64_t deadline_ms = clock_now_ms() + SIGNER_LOAD_TIMEOUT_MS;

	load->message.verb = 0;
	load->message.index = (uint32_t)load->loaded;
	load->message.count = (uint32_t)count;
	if (!process_send(load->process, &load->message, CONTROL_KEYS, files,
			  count, deadline_ms, fault))
		return false;
	load->message.verb = 0;
	for (size_t i = 0; i < count; i++)
		if (!public_take(load, deadline_ms, fault))
			return false;
	return true;
}

static bool
batch_load(struct load *load, struct fault *fault)
{
	int files[CONTROL_KEYS_MAX];
	size_t count = 0;
	bool ok = true;

	while (ok && count < COUNT(files) &&
	       load->loaded + count < load->count) {
		const struct source *source =
			&load->sources[load->loaded + count];

		ok = file_open(load, source, &files[count], fault);
		if (ok)
			count++;
		else
			fault_in(fault, load, source);
	}
	if (ok)
		ok = batch_send(load, files, count, fault);
	while (count > 0)
		close(files[--count]);
	return ok;
}

static bool
step_run(struct load *load, enum control_verb verb, struct fault *fault)
{
	uint64_t deadline_ms = clock_now_ms() + SIGNER_LOAD_TIMEOUT_MS;

	load->message.index = 0;
	load->message.count = (uint32_t)load->count;
	return process_send(load->process, &load->message, verb, NULL, 0,
			    deadline_ms, fault) &&
	       process_receive(load->process, &load->message, CONTROL_DONE,
			       deadline_ms, fault);
}

static bool
load_run(struct load *load, struct fault *fault)
{
	if (!step_run(load, CONTROL_LOAD, fault))
		return false;
	while (load->loaded < load->count) {
		if (!batch_load(load, fault))
			return false;
		if (load->process->goes_on != NULL)
			load->process->goes_on(load->process);
	}
	return step_run(load, CONTROL_COMMIT, fault);
}

static void
sources_fill(struct load *load)
{
	const struct keys_options *options = load->options;
	size_t count = 0, n = 0;

	for (size_t i = 0; i < options->domains_count; i++)
		count += options->domains[i].selectors_count;
	load->count = count;
	load->sources = memory_array(count, sizeof(*load->sources));
	load->publics = memory_array(count, sizeof(*load->publics));
	for (size_t i = 0; i < options->domains_count; i++) {
		const struct domain_options *domain = &options->domains[i];

		for (size_t j = 0; j < domain->selectors_count; j++)
			load->sources[n++] = (struct source){
				domain, &domain->selectors[j]};
	}
}

bool
signer_revert(struct signer_process *process, struct fault *fault)
{
	struct load load = {.process = process};
	struct fault unasked = {0};

	return step_run(&load, CONTROL_REVERT,
			fault != NULL ? fault : &unasked);
}

bool
signer_load(struct signer_process *process, const struct keys_options *options,
	    bool strict_modes, void (*warn)(void *owner, const char *text),
	    void *owner, struct keyring **keyring_out, struct fault *fault)
{
	struct load load = {.process = process,
			    .options = options,
			    .strict_modes = strict_modes,
			    .warn = warn,
			    .owner = owner};
	struct fault unasked = {0};
	bool ok;

	sources_fill(&load);
	ok = load_run(&load, fault != NULL ? fault : &unasked);
	if (ok)
		*keyring_out = keyring_new(options, load.publics, load.count);
	else
		while (load.loaded > 0)
			key_public_free(load.publics[--load.loaded]);
	free(load.sources);
	free(load.publics);
	return ok;
}
