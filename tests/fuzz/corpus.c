/*
 * Runs a fuzz target over the files of a directory: what a fuzzer has found
 * once stays found, also where no fuzzer is built.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

#define FILE_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool
file_run(const char *directory, const char *name)
{
	CLEAN(text_done) struct text path = {0};
	char *bytes, *exact;
	FILE *file;
	size_t len;

	text_addf(&path, "%s/%s", directory, name);
	file = fopen(text_string(&path), "rb");
	if (file == NULL) {
		perror(text_string(&path));
		return false;
	}
	bytes = memory_new(FILE_MAX);
	len = fread(bytes, 1, FILE_MAX, file);
	fclose(file);
	/* Of the right size: a byte behind its end is then noticed. */
	exact = malloc(len > 0 ? len : 1);
	ASSERT(exact != NULL);
	memcpy(exact, bytes, len);
	free(bytes);
	LLVMFuzzerTestOneInput((const uint8_t *)exact, len);
	free(exact);
	return true;
}

int
main(int argc, char **argv)
{
	DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
	size_t count = 0;
	bool ok = true;

	if (directory == NULL) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		ok = file_run(argv[1], entry->d_name) && ok;
		count++;
	}
	closedir(directory);
	return ok && count > 0 ? 0 : 1;
}
