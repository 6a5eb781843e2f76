/* Runs a fuzz target once over every file of its corpus: what a fuzzer found
 * stays found, with any compiler. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool
file_read(const char *directory, const char *name, struct text *out)
{
	CLEAN(text_done) struct text path = {0};
	FILE *file;
	size_t count;

	text_addf(&path, "%s/%s", directory, name);
	file = fopen(text_string(&path), "rb");
	if (file == NULL)
		return false;
	do {
		count = fread(text_room(out, 65536), 1, 65536, file);
		text_added(out, count);
	} while (count > 0);
	fclose(file);
	return true;
}

/* Exactly as long as the input, so that a sanitizer sees one byte too many. */
static void
input_run(struct slice bytes)
{
	uint8_t *copy = memory_new(bytes.len > 0 ? bytes.len : 1);

	if (bytes.len > 0)
		memcpy(copy, bytes.bytes, bytes.len);
	LLVMFuzzerTestOneInput(copy, bytes.len);
	free(copy);
}

int
main(int argc, char **argv)
{
	DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
	const struct dirent *entry;
	size_t count = 0;

	if (directory == NULL) {
		fprintf(stderr, "usage: corpus DIRECTORY\n");
		return 2;
	}
	while ((entry = readdir(directory)) != NULL) {
		CLEAN(text_done) struct text bytes = {0};

		if (entry->d_name[0] == '.')
			continue;
		fprintf(stderr, "%s\n", entry->d_name);
		if (!file_read(argv[1], entry->d_name, &bytes))
			return 1;
		input_run(text_slice(&bytes));
		count++;
	}
	closedir(directory);
	printf("%zu inputs\n", count);
	return count > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
