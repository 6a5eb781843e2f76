/*
 * report - what an import has to say beside its result, a line each:
 * "FILE:LINE: what".
 */
#ifndef RELAY_IMPORT_REPORT_H
#define RELAY_IMPORT_REPORT_H

#include "base/conf.h"

/* Zeroed is empty. */
struct report {
	struct text lines;
	bool is_incomplete; /* report_decisive() was called */
};

void report_done(struct report *report);
/* Good to know; nothing is lost. */
void report_note(struct report *report, struct conf_place place,
		 const char *format, ...) PRINTF_LIKE(3, 4);
/* Not carried over, but who signs what stays the same. */
void report_lost(struct report *report, struct conf_place place,
		 const char *format, ...) PRINTF_LIKE(3, 4);
/* Not carried over, and it decides which mail is signed or with what. */
void report_decisive(struct report *report, struct conf_place place,
		     const char *format, ...) PRINTF_LIKE(3, 4);

#endif
