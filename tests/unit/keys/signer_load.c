#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/signer_wire.h"
#include "tests/unit/keys/signer_stage.h"

/* What is done to r.pem, and what is said of it. A load that fails leaves the
 * keys that were there. */
static const struct {
	const char *name, *vector;
	unsigned mode;
	bool strict_modes;
	enum fault_kind kind;
	const char *says;
} load_rows[] = {
	{"missing", NULL, 0, false, FAULT_ABSENT,
	 "opening: No such file or directory"},
	{"too small", "rsa768.pem", 0600, false, FAULT_INPUT,
	 "RSA key of 768 bits; at least 1024 are needed"},
	{"encrypted", "encrypted-pkcs8.pem", 0600, false, FAULT_INPUT,
	 "the key is encrypted; remove the pass phrase with 'openssl pkey'"},
	{"readable by group, strict", "rsa2048.pem", 0640, true, FAULT_DENIED,
	 "mode 0640 lets others than its owner read it; chmod 600"},
	{"writable by others, strict", "rsa2048.pem", 0602, true, FAULT_DENIED,
	 "mode 0602 lets others than its owner write it; chmod 600"},
};

static void
expect_place(const struct stage *stage, const char *text, const char *says,
	     const char *name)
{
	CLEAN(text_done) struct text whole = {0};

	text_addf(&whole, "signet.conf:7: selector \"r\" of domain "
		  "\"example.com\": key file '%.*s/r.pem': %s",
		  SLICE_ARG(text_slice(&stage->files.directory)), says);
	cr_expect_str_eq(text, text_string(&whole), "%s", name);
}

Test(signer_load, faults_name_the_place_and_change_nothing)
{
	struct stage stage;
	struct signer_client *client;

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(load_rows); i++) {
		struct fault fault = {0};
		CLEAN(text_done) struct text path = {0};

		text_addf(&path, "%s/r.pem",
			  text_string(&stage.files.directory));
		unlink(text_string(&path));
		if (load_rows[i].vector != NULL)
			files_put_vector(&stage.files, "r.pem",
					 load_rows[i].vector,
					 load_rows[i].mode);
		cr_expect_not(stage_load(&stage, load_rows[i].strict_modes,
					 &fault), "%s", load_rows[i].name);
		expect_place(&stage, fault.text, load_rows[i].says,
			     load_rows[i].name);
		cr_expect_eq(fault.kind, load_rows[i].kind, "%s",
			     load_rows[i].name);
	}
	cr_expect(signs(client, public_at(&stage, 0)));
	cr_expect(signs(client, public_at(&stage, 1)));
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_load, takes_no_directory_fifo_or_long_file)
{
	static char zeros[KEY_FILE_MAX + 1];
	struct stage stage;
	struct fault fault = {0};
	CLEAN(text_done) struct text path = {0};

	stage_start(&stage);
	text_addf(&path, "%s/r.pem", text_string(&stage.files.directory));
	unlink(text_string(&path));
	cr_assert_eq(mkdir(text_string(&path), 0700), 0);
	cr_expect_not(stage_load(&stage, false, &fault));
	expect_place(&stage, fault.text, "not a regular file", "directory");
	cr_expect_eq(fault.kind, FAULT_INPUT);
	rmdir(text_string(&path));
	cr_assert_eq(mkfifo(text_string(&path), 0600), 0);
	cr_expect_not(stage_load(&stage, false, &fault));
	expect_place(&stage, fault.text, "not a regular file", "fifo");
	unlink(text_string(&path));
	files_put(&stage.files, "r.pem", slice_of(zeros, sizeof(zeros)), 0600);
	cr_expect_not(stage_load(&stage, false, &fault));
	expect_place(&stage, fault.text,
		     "longer than the 65536 bytes that a key may have",
		     "long");
	stage_stop(&stage, false);
}

Test(signer_load, follows_symlinks_and_absolute_paths)
{
	struct stage stage;
	struct fault fault = {0};
	CLEAN(text_done) struct text path = {0}, target = {0};

	stage_start(&stage);
	text_addf(&path, "%s/link.pem", text_string(&stage.files.directory));
	cr_assert_eq(symlink("r.pem", text_string(&path)), 0);
	text_addf(&target, "%s/e.pem", text_string(&stage.files.directory));
	stage.selectors[0].key_path = SLICE("link.pem");
	stage.selectors[1].key_path = text_slice(&target);
	cr_expect(stage_load(&stage, true, &fault), "%s", fault.text);
	stage_stop(&stage, false);
}

Test(signer_load, warns_of_modes_and_small_keys)
{
	struct stage stage;
	CLEAN(text_done) struct text place = {0}, expected = {0};

	stage_start(&stage);
	files_put_vector(&stage.files, "r.pem", "rfc8463-rsa.pem", 0644);
	cr_assert(stage_load(&stage, false, NULL));
	text_addf(&place, "signet.conf:7: selector \"r\" of domain "
		  "\"example.com\": key file '%s/r.pem': ",
		  text_string(&stage.files.directory));
	text_addf(&expected, "%smode 0644 lets others than its owner read it; "
		  "chmod 600\n%sRSA key of 1024 bits; 2048 are advised\n",
		  text_string(&place), text_string(&place));
	cr_expect_str_eq(text_string(&stage.warnings), text_string(&expected));
	stage_stop(&stage, false);
}

static size_t steps;

static void
count_step(struct signer_process *process)
{
	(void)process;
	steps++;
}

/* More keys than one process may have files open; who waits hears of it all the
 * while. */
Test(signer_load, loads_a_thousand_selectors)
{
	enum { DOMAINS = 500 };
	struct stage stage;
	struct fault fault = {0};
	struct rlimit few = {128, 128};
	struct domain_options *domains =
		memory_array(DOMAINS, sizeof(*domains));
	struct keyring *keyring = NULL;

	stage_start(&stage);
	stage.process.goes_on = count_step;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (size_t i = 0; i < DOMAINS; i++)
		domains[i] = stage.domain;
	stage.options.domains = domains;
	stage.options.domains_count = DOMAINS;
	cr_assert(signer_load(&stage.process, &stage.options, true,
			      NULL, NULL, &keyring, &fault), "%s",
		  fault.text);
	cr_expect_eq(keyring_domains_count(keyring), DOMAINS);
	cr_expect_geq(steps, 2 * DOMAINS / CONTROL_KEYS_MAX);
	keyring_unref(keyring);
	free(domains);
	stage_stop(&stage, false);
}

Test(signer_load, loads_nothing_too)
{
	static const struct keys_options none = {0};
	struct stage stage;
	struct keyring *keyring = NULL;

	stage_start(&stage);
	cr_assert(signer_load(&stage.process, &none, false, NULL, NULL,
			      &keyring, NULL));
	cr_expect_eq(keyring_domains_count(keyring), 0);
	keyring_unref(keyring);
	stage_stop(&stage, false);
}

/* The control socket's other end is ours alone; still nothing breaks there. */
Test(signer_load, garbage_on_the_control_socket_is_refused)
{
	static const enum control_verb verbs[] = {
		CONTROL_HELLO, CONTROL_KEYS, CONTROL_COMMIT, CONTROL_ATTACH,
		CONTROL_DONE, CONTROL_PUBLIC, CONTROL_FAULT};
	struct stage stage;
	struct signer_client *client;
	struct control_message message = {0};
	struct fault fault = {0};
	int files[CONTROL_KEYS_MAX];
	size_t count;

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(verbs) + 2; i++) {
		uint64_t until = clock_now_ms() + 20000;

		message = (struct control_message){.serial = 1000 + i,
						   .count = 3};
		message.verb = i < COUNT(verbs) ? (uint32_t)verbs[i] : 99;
		if (i > COUNT(verbs))
			cr_assert_eq(send(stage.process.control, &message, 9,
					  0), 9);
		else
			cr_assert(control_send(stage.process.control, &message,
					       NULL, 0, until, &fault));
		cr_assert(control_receive(stage.process.control, &message,
					  files, &count, until, &fault), "%s",
			  fault.text);
		cr_expect_eq(message.verb, CONTROL_FAULT, "%zu", i);
	}
	cr_expect(signs(client, public_at(&stage, 0)));
	cr_expect(stage_load(&stage, false, &fault), "%s", fault.text);
	signer_client_free(client);
	stage_stop(&stage, false);
}
