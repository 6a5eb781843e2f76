/* A From field from anywhere: bounded, and never a domain that is none. */
#include "milter/author.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena arena = {0};
	struct authors authors;
	struct fault fault = {0};

	if (authors_parse(slice_of(bytes, len), &arena, &authors, &fault)) {
		ASSERT(authors.count <= AUTHORS_MAX);
		for (size_t i = 0; i < authors.count; i++) {
			struct slice domain = authors.domains[i];

			ASSERT(domain.len > 0);
			if (domain.bytes[0] == '[')
				continue; /* a literal may hold anything */
			for (size_t at = 0; at < domain.len; at++)
				ASSERT((unsigned char)domain.bytes[at] > ' ' &&
				       (unsigned char)domain.bytes[at] < 127);
		}
	} else {
		ASSERT(fault.kind != FAULT_NONE);
	}
	arena_done(&arena);
	return 0;
}
