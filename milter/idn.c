#include "milter/idn.h"

#include <idn2.h>

/* Bytes of UTF-8: far above what can become IDN_DOMAIN_MAX bytes, and far below
 * a header of a megabyte, which libidn2 need not see. */
#define IDN_INPUT_MAX 1024

static bool
is_ascii(struct slice domain)
{
	for (size_t i = 0; i < domain.len; i++)
		if ((unsigned char)domain.bytes[i] >= 0x80)
			return false;
	return true;
}

static bool
is_label_byte(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

static bool
ascii_check(struct slice domain, struct fault *fault)
{
	size_t label_len = 0;

	if (domain.len == 0 || domain.len > IDN_DOMAIN_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "a domain of %zu bytes", domain.len);
	for (size_t i = 0; i <= domain.len; i++) {
		if (i == domain.len || domain.bytes[i] == '.') {
			if (label_len == 0 || label_len > IDN_LABEL_MAX)
				return fault_set(fault, FAULT_INPUT,
						 "a domain with a label of "
						 "%zu bytes",
						 label_len);
			label_len = 0;
			continue;
		}
		if (!is_label_byte(domain.bytes[i]))
			return fault_set(fault, FAULT_INPUT,
					 "a domain with a character that no "
					 "domain has");
		label_len++;
	}
	return true;
}

static struct slice
copy_lower(struct arena *arena, struct slice domain)
{
	struct slice copy = arena_copy(arena, domain);
	char *bytes = (char *)(uintptr_t)copy.bytes;

	for (size_t i = 0; i < copy.len; i++)
		bytes[i] = ascii_lower(bytes[i]);
	return copy;
}

bool
idn_to_ascii(struct slice domain, struct arena *arena, struct slice *ascii_out,
	     struct fault *fault)
{
	struct slice input;
	uint8_t *mapped = NULL;
	int status;
	bool is_good;

	if (is_ascii(domain)) {
		if (!ascii_check(domain, fault))
			return false;
		*ascii_out = copy_lower(arena, domain);
		return true;
	}
	if (domain.len > IDN_INPUT_MAX || slice_find(domain, '\0') >= 0)
		return fault_set(fault, FAULT_INPUT, "a domain of %zu bytes",
				 domain.len);
	input = arena_copy(arena, domain);
	status = idn2_lookup_u8((const uint8_t *)input.bytes, &mapped,
				IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (status != IDN2_OK)
		return fault_set(fault, FAULT_INPUT,
				 "an internationalized domain: %s",
				 idn2_strerror(status));
	is_good = ascii_check(SLICE((char *)mapped), fault);
	if (is_good)
		*ascii_out = copy_lower(arena, SLICE((char *)mapped));
	idn2_free(mapped);
	return is_good;
}
