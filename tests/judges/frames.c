#include "tests/judges/frames.h"

#include <stdio.h>
#include <stdlib.h>

void
judge_give_up(const char *what, const char *which)
{
	fprintf(stderr, "%s: %s\n", what, which);
	exit(1);
}

bool
frame_read(struct text *out)
{
	size_t len;

	text_clear(out);
	if (scanf("%zu", &len) != 1)
		return false;
	if (getchar() != '\n' ||
	    fread(text_room(out, len), 1, len, stdin) != len)
		judge_give_up("standard input", "a frame is cut short");
	text_added(out, len);
	return true;
}

void
frame_write(struct slice bytes)
{
	printf("%zu\n", bytes.len);
	if (bytes.len > 0 &&
	    fwrite(bytes.bytes, 1, bytes.len, stdout) != bytes.len)
		judge_give_up("standard output", "cannot be written");
}

void
file_read(const char *path, struct text *out)
{
	FILE *file = fopen(path, "rb");
	size_t len;

	if (file == NULL)
		judge_give_up("cannot be opened", path);
	while ((len = fread(text_room(out, 4096), 1, 4096, file)) > 0)
		text_added(out, len);
	fclose(file);
}

void
records_read(struct records *records, const char *path)
{
	*records = (struct records){0};
	file_read(path, &records->text);
}

void
records_done(struct records *records)
{
	text_done(&records->text);
}

bool
records_find(const struct records *records, struct slice name, size_t i,
	     struct slice *text_out)
{
	struct slice rest = text_slice(&records->text), line, first;

	while (slice_split(&rest, '\n', &line))
		if (slice_split(&line, ' ', &first) &&
		    slice_eq_nocase(first, name) && i-- == 0) {
			*text_out = line;
			return true;
		}
	return false;
}
