#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

__attribute__((format(printf, 3, 0))) static void
fault_print(char *out, size_t size, const char *format, va_list args)
{
	int length = vsnprintf(out, size, format, args);

	if (length < 0)
		snprintf(out, size, "(unprintable)");
	else if ((size_t)length >= size)
		memcpy(out + size - 4, "...", 4);
}

void
fault_fill(struct fault *fault, enum fault_kind kind, const char *format, ...)
{
	va_list args;

	if (fault == NULL)
		return;
	fault->kind = kind;
	fault->system = 0;
	va_start(args, format);
	fault_print(fault->text, sizeof(fault->text), format, args);
	va_end(args);
}

static enum fault_kind
fault_kind_of_errno(int system)
{
	switch (system) {
	case ENOENT:
	case ENOTDIR:
		return FAULT_ABSENT;
	case EACCES:
	case EPERM:
	case EROFS:
		return FAULT_DENIED;
	case EAGAIN:
	case EBUSY:
	case EADDRINUSE:
	case ECONNREFUSED:
	case ETIMEDOUT:
		return FAULT_BUSY;
	default:
		return FAULT_SYSTEM;
	}
}

void
fault_fill_errno(struct fault *fault, const char *format, ...)
{
	int system = errno;
	char place[sizeof(fault->text)];
	va_list args;

	if (fault == NULL)
		return;
	va_start(args, format);
	fault_print(place, sizeof(place), format, args);
	va_end(args);
	fault_fill(fault, fault_kind_of_errno(system), "%s: %s", place,
		   strerror(system));
	fault->system = system;
}

void
fault_put_before(struct fault *fault, const char *format, ...)
{
	char place[sizeof(fault->text)], inner[sizeof(fault->text)];
	va_list args;
	int length;

	if (fault == NULL)
		return;
	va_start(args, format);
	fault_print(place, sizeof(place), format, args);
	va_end(args);
	memcpy(inner, fault->text, sizeof(inner));
	length = snprintf(fault->text, sizeof(fault->text), "%s: %s", place,
			  inner);
	if (length < 0 || (size_t)length >= sizeof(fault->text))
		memcpy(fault->text + sizeof(fault->text) - 4, "...", 4);
}

int
fault_exit_code(const struct fault *fault)
{
	switch (fault->kind) {
	case FAULT_NONE:
		return EX_OK;
	case FAULT_INPUT:
		return EX_DATAERR;
	case FAULT_ABSENT:
		return EX_UNAVAILABLE;
	case FAULT_DENIED:
		return EX_NOPERM;
	case FAULT_BUSY:
		return EX_TEMPFAIL;
	case FAULT_LIMIT:
		return EX_DATAERR;
	case FAULT_UNTRUSTED:
		return EX_UNAVAILABLE;
	case FAULT_SYSTEM:
		return EX_TEMPFAIL;
	}
	return EX_SOFTWARE;
}
