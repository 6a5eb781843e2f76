#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/generate.h"
#include "keys/record.h"
#include "tests/unit/keys/files.h"

static bool
make(struct files *files, const char *keys_dir, const char *domain,
     const char *selector, struct text *path, struct fault *fault)
{
	CLEAN(text_done) struct text directory = {0};
	CLEAN(key_public_free_clean) struct key_public *public = NULL;

	text_addf(&directory, "%s/%s", text_string(&files->directory),
		  keys_dir);
	return generate_file(text_slice(&directory), SLICE(domain),
			     SLICE(selector), KEY_ED25519_SHA256, 0, &public,
			     path, fault);
}

static mode_t
mode_of(const char *path)
{
	struct stat status;

	cr_assert_eq(lstat(path, &status), 0, "%s", path);
	return status.st_mode & 07777;
}

static size_t
entries_in(const char *path)
{
	DIR *directory = opendir(path);
	size_t count = 0;

	cr_assert_not_null(directory);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += strcmp(entry->d_name, ".") != 0 &&
			 strcmp(entry->d_name, "..") != 0;
	closedir(directory);
	return count;
}

Test(generate, makes_a_private_file_that_reads_back)
{
	CLEAN(files_done) struct files files = {0};
	CLEAN(text_done) struct text path = {0}, parent = {0};
	CLEAN(secret_cleanse) struct text pem = {0};
	CLEAN(key_free_clean) struct key *key = NULL;
	struct fault fault = {0};
	FILE *file;

	files_new(&files);
	umask(0);
	cr_assert(make(&files, "keys/", "example.com", "2026a", &path, &fault),
		  "%s", fault.text);
	text_addf(&parent, "%s/keys/example.com",
		  text_string(&files.directory));
	cr_expect(slice_starts(text_slice(&path), text_slice(&parent)));
	cr_expect(slice_ends_nocase(text_slice(&path), SLICE("/2026a.pem")));
	cr_expect_eq(mode_of(text_string(&path)), 0600);
	cr_expect_eq(mode_of(text_string(&parent)), 0700);
	cr_expect_eq(entries_in(text_string(&parent)), 1);
	file = fopen(text_string(&path), "r");
	cr_assert_not_null(file);
	text_added(&pem, fread(text_room(&pem, KEY_FILE_MAX), 1, KEY_FILE_MAX,
			       file));
	fclose(file);
	cr_expect(key_read(text_slice(&pem), &key, &fault), "%s", fault.text);
}

Test(generate, the_mode_does_not_depend_on_the_umask)
{
	CLEAN(files_done) struct files files = {0};
	CLEAN(text_done) struct text path = {0};

	files_new(&files);
	umask(0277);
	cr_expect(make(&files, "", "example.com", "a", &path, NULL) ||
		  geteuid() != 0);
	if (path.len > 0)
		cr_expect_eq(mode_of(text_string(&path)), 0600);
}

Test(generate, writes_over_nothing)
{
	CLEAN(files_done) struct files files = {0};
	CLEAN(text_done) struct text path = {0}, kept = {0};
	struct fault fault = {0};
	FILE *file;
	char first = 0;

	files_new(&files);
	files_put(&files, "example.com/a.pem", SLICE("kept"), 0600);
	cr_expect_not(make(&files, "", "example.com", "a", &path, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT);
	cr_expect_not_null(strstr(fault.text, "exists already"), "%s",
			   fault.text);
	text_addf(&kept, "%s/example.com/a.pem",
		  text_string(&files.directory));
	file = fopen(text_string(&kept), "r");
	cr_assert_not_null(file);
	cr_expect_eq(fread(&first, 1, 1, file), 1);
	cr_expect_eq(first, 'k');
	fclose(file);
	/* A link that leads nowhere is there, too. */
	unlink(text_string(&kept));
	cr_assert_eq(symlink("nowhere", text_string(&kept)), 0);
	cr_expect_not(make(&files, "", "example.com", "a", &path, &fault));
	cr_expect_eq(path.len, 0);
}

static const struct {
	const char *domain, *selector;
} bad_names[] = {
	{"..", "a"},
	{"../example.com", "a"},
	{"/etc", "a"},
	{"", "a"},
	{"example.com", "../a"},
	{"example.com", ".."},
	{"example.com", ""},
	{"example.com", "a/b"},
	{"b\xc3\xbc" "cher.example", "a"},
};

Test(generate, leaves_its_directory_never)
{
	CLEAN(files_done) struct files files = {0};
	CLEAN(text_done) struct text path = {0};

	files_new(&files);
	for (size_t i = 0; i < COUNT(bad_names); i++) {
		struct fault fault = {0};

		cr_expect_not(make(&files, "", bad_names[i].domain,
				   bad_names[i].selector, &path, &fault),
			      "%zu", i);
		cr_expect_eq(fault.kind, FAULT_INPUT, "%zu", i);
	}
	cr_expect_eq(entries_in(text_string(&files.directory)), 0);
}

Test(generate, a_place_that_cannot_be_made_is_named)
{
	CLEAN(files_done) struct files files = {0};
	CLEAN(text_done) struct text path = {0}, way = {0};
	struct fault fault = {0};

	files_new(&files);
	text_addf(&way, "%s/no", text_string(&files.directory));
	cr_assert_eq(symlink("where", text_string(&way)), 0);
	cr_expect_not(make(&files, "no/there", "example.com", "a", &path,
			   &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	cr_expect_not_null(strstr(fault.text, "/no'"), "%s", fault.text);
}
