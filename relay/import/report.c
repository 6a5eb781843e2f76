#include "relay/import/report.h"

#include <stdarg.h>
#include <stdio.h>

void
report_done(struct report *report)
{
	text_done(&report->lines);
}

static PRINTF_LIKE(4, 0) void
line_add(struct report *report, struct conf_place place, const char *kind,
	 const char *format, va_list arguments)
{
	char what[1024];

	vsnprintf(what, sizeof(what), format, arguments);
	if (place.file != NULL && place.line > 0)
		text_addf(&report->lines, "%s:%u: ", place.file, place.line);
	else if (place.file != NULL)
		text_addf(&report->lines, "%s: ", place.file);
	text_addf(&report->lines, "%s: %s\n", kind, what);
}

void
report_note(struct report *report, struct conf_place place, const char *format,
	    ...)
{
	va_list arguments;

	va_start(arguments, format);
	line_add(report, place, "note", format, arguments);
	va_end(arguments);
}

void
report_lost(struct report *report, struct conf_place place, const char *format,
	    ...)
{
	va_list arguments;

	va_start(arguments, format);
	line_add(report, place, "not carried over", format, arguments);
	va_end(arguments);
}

void
report_decisive(struct report *report, struct conf_place place,
		const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	line_add(report, place, "NOT CARRIED OVER", format, arguments);
	va_end(arguments);
	report->is_incomplete = true;
}
