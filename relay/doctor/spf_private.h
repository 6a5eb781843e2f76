/*
 * What spf.c (the check: records, mechanisms), spf_term.c (one word of a
 * record) and spf_macro.c (names with %{...} in them) share. For them only.
 */
#ifndef RELAY_DOCTOR_SPF_PRIVATE_H
#define RELAY_DOCTOR_SPF_PRIVATE_H

#include "relay/doctor/spf.h"

/* RFC 7208 7.3 */
#define NAME_LEN_MAX 253

/* --- spf_term.c: RFC 7208 4.6.1, 5, 6 --- */

struct term {
	enum spf_result result; /* of its qualifier */
	struct slice name, value;
	bool has_value;
	bool is_modifier;
	unsigned v4_len, v6_len;
};

/* False: it cannot be read, or its mechanism is not known. */
bool spf_term_parse(struct slice word, struct term *out);
/* The length of a prefix. */
bool spf_length_read(struct slice text, unsigned max, unsigned *len_out);

/* --- spf_macro.c: RFC 7208 7 --- */

/* Where a check is. */
struct spf_place {
	const struct spf_question *question;
	struct slice domain; /* whose record is read */
};

/* A domain-spec; what is over 253 octets loses labels on the left. In the
 * question's arena. */
bool spf_name_expand(const struct spf_place *place, struct slice spec,
		     struct slice *out);

#endif
