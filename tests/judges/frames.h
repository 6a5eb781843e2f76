/*
 * frames - messages on standard input and answers on standard output, so that
 * one process judges a whole corpus: a decimal length, LF, and that many bytes.
 */
#ifndef JUDGES_FRAMES_H
#define JUDGES_FRAMES_H

#include "base/slice.h"

/* The next message, into `out` (cleared first); false at the end. */
bool frame_read(struct text *out);
void frame_write(struct slice bytes);

/* Says what is wrong with the call, and ends the program. */
_Noreturn void judge_give_up(const char *what, const char *which);

/* The whole of a file, or the end of the program. */
void file_read(const char *path, struct text *out);

/* A file of "NAME TEXT" lines: the TXT records that there are. */
struct records {
	struct text text;
};

void records_read(struct records *records, const char *path);
void records_done(struct records *records);
/* The i-th record of this name; false where there are no more. */
bool records_find(const struct records *records, struct slice name, size_t i,
		  struct slice *text_out);

#endif
