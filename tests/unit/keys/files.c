#include "tests/unit/keys/files.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void
vector_read(const char *name, struct text *out)
{
	CLEAN(text_done) struct text path = {0};
	FILE *file;
	size_t len;

	text_addf(&path, "%s/keys/%s", VECTORS, name);
	file = fopen(text_string(&path), "rb");
	cr_assert_not_null(file, "%s", text_string(&path));
	len = fread(text_room(out, KEY_FILE_MAX), 1, KEY_FILE_MAX, file);
	text_added(out, len);
	fclose(file);
}

void
files_new(struct files *files)
{
	const char *top = getenv("TMPDIR");

	text_addf(&files->directory, "%s/signet-test-XXXXXX",
		  top == NULL ? "/tmp" : top);
	cr_assert_not_null(mkdtemp(files->directory.bytes));
}

static int
remove_one(const char *path, const struct stat *status, int kind,
	   struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	return remove(path);
}

void
files_done(struct files *files)
{
	if (files->directory.len > 0)
		nftw(text_string(&files->directory), remove_one, 16,
		     FTW_DEPTH | FTW_PHYS);
	text_done(&files->directory);
}

void
files_put(struct files *files, const char *name, struct slice bytes,
	  unsigned mode)
{
	CLEAN(text_done) struct text path = {0};
	ptrdiff_t slash;
	int file;

	text_addf(&path, "%s/%s", text_string(&files->directory), name);
	slash = slice_find(SLICE(name), '/');
	if (slash >= 0) {
		char *at = path.bytes + files->directory.len + 1 + slash;

		*at = '\0';
		cr_assert(mkdir(path.bytes, 0755) == 0 || errno == EEXIST);
		*at = '/';
	}
	file = open(path.bytes, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert(file >= 0);
	cr_assert_eq(write(file, bytes.bytes, bytes.len), (ssize_t)bytes.len);
	cr_assert_eq(fchmod(file, (mode_t)mode), 0);
	close(file);
}

void
files_put_vector(struct files *files, const char *name, const char *vector,
		 unsigned mode)
{
	CLEAN(text_done) struct text bytes = {0};

	vector_read(vector, &bytes);
	files_put(files, name, text_slice(&bytes), mode);
}
