#include "relay/configuration.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/keys/files.h"

static struct files files;
static const struct identity nobody;
static const struct inherited none;

static void
files_init(void)
{
	files_new(&files);
}

static void
files_end(void)
{
	files_done(&files);
}

TestSuite(configuration, .init = files_init, .fini = files_end,
	  .timeout = 120);

/* Loads a file of this text, with a listener on DIRECTORY/socket. */
static bool
load(const char *listener, const char *more, struct text *errors,
     struct configuration **configuration_out, struct fault *fault)
{
	CLEAN(text_done) struct text text = {0};
	CLEAN(text_done) struct text path = {0};
	const char *directory = text_string(&files.directory);

	text_addf(&text,
		  "hostname = \"relay.example.com\"\n"
		  "state_dir = \"%s/state\"\nkeys_dir = \"%s\"\n"
		  "listener \"apps\" { address = \"unix:%s/%s\" %s }\n",
		  directory, directory, directory, listener, more);
	files_put(&files, "signet.conf", text_slice(&text), 0600);
	text_addf(&path, "%s/signet.conf", directory);
	return configuration_load(SERVICE_RELAY, text_string(&path), errors,
				  configuration_out, fault);
}

static ino_t
inode_of(int descriptor)
{
	struct stat status;

	cr_assert_eq(fstat(descriptor, &status), 0);
	return status.st_ino;
}

Test(configuration, a_listener_that_stays_is_the_same_socket)
{
	static const struct row {
		const char *name, *listener;
		bool is_same;
	} rows[] = {
		{"the same", "socket", true},
		{"another", "other", false},
	};
	CLEAN(text_done) struct text errors = {0};
	CLEAN(configuration_free_clean) struct configuration *first = NULL;
	struct fault fault = {0};

	cr_assert(load("socket", "", &errors, &first, &fault), "%s",
		  text_string(&errors));
	cr_assert(configuration_complete(first, NULL, &nobody, &none,
					 &fault), "%s",
		  fault.text);
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(configuration_free_clean)
		struct configuration *next = NULL;
		struct handover handover;

		cr_assert(load(rows[i].listener, "", &errors, &next, &fault));
		cr_assert(configuration_complete(next, first, &nobody, &none,
					 &fault), "%s",
			  fault.text);
		cr_expect_neq(next->listeners[0], first->listeners[0], "%s",
			      rows[i].name);
		cr_expect_eq(inode_of(next->listeners[0]) ==
				     inode_of(first->listeners[0]),
			     rows[i].is_same, "%s", rows[i].name);
		configuration_hand_over(next, &handover);
		cr_expect_eq(handover.listeners_count, 1);
		cr_expect_eq(handover.listeners[0], next->listeners[0]);
		cr_expect_eq(handover.signers_count, 0);
	}
}

/* Neither waited for, nor read without end. */
Test(configuration, certificates_that_are_none)
{
	static const struct row {
		const char *name, *words;
	} rows[] = {
		{"fifo", "not a regular file"},
		{"directory", "not a regular file"},
		{"large", "larger than"},
	};
	CLEAN(text_done) struct text path = {0};
	CLEAN(text_done) struct text large = {0};

	text_room(&large, 2 << 20);
	memset(large.bytes, 'x', 2 << 20);
	text_added(&large, 2 << 20);
	files_put(&files, "large", text_slice(&large), 0600);
	text_addf(&path, "%s/fifo", text_string(&files.directory));
	cr_assert_eq(mkfifo(text_string(&path), 0600), 0);
	text_clear(&path);
	text_addf(&path, "%s/directory", text_string(&files.directory));
	cr_assert_eq(mkdir(text_string(&path), 0700), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text errors = {0};
		CLEAN(text_done) struct text more = {0};
		CLEAN(configuration_free_clean)
		struct configuration *loaded = NULL;
		struct fault fault = {0};

		text_addf(&more,
			  "tls = \"starttls\" tls_cert = \"%s/%s\" "
			  "tls_key = \"%s/%s\"",
			  text_string(&files.directory), rows[i].name,
			  text_string(&files.directory), rows[i].name);
		cr_assert(load("socket", text_string(&more), &errors, &loaded,
			       &fault),
			  "%s: %s", rows[i].name, text_string(&errors));
		cr_expect(!configuration_complete(loaded, NULL, &nobody, &none,
					 &fault), "%s",
			  rows[i].name);
		cr_expect(strstr(fault.text, rows[i].words) != NULL, "%s: %s",
			  rows[i].name, fault.text);
		cr_expect(strstr(fault.text, rows[i].name) != NULL, "%s",
			  fault.text);
	}
}

Test(configuration, errors_name_file_and_line)
{
	CLEAN(text_done) struct text errors = {0};
	struct configuration *loaded = NULL;
	struct fault fault = {0};

	cr_expect(!load("socket", "nonsense = 1", &errors, &loaded, &fault));
	cr_expect_null(loaded);
	cr_expect(strstr(text_string(&errors), "signet.conf:4:") != NULL,
		  "%s", text_string(&errors));
}
