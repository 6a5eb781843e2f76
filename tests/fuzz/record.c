/* A key's record from the DNS of somebody else. */
#include "keys/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice txt = slice_of(bytes, len);
	struct record record = {0};
	struct fault fault = {0};

	if (record_parse(txt, &record, &fault)) {
		ASSERT(record.is_revoked == (record.key.len == 0));
		ASSERT(record.key.len <= len);
		record_done(&record);
	} else {
		ASSERT(fault.kind != FAULT_NONE);
	}
	(void)record_label_check(txt);
	return 0;
}
