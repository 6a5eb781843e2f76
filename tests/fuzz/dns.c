/* A DNS answer from anybody: what is read is bounded and of the right type. */
#include "relay/net/dns_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const enum dns_type types[] = {DNS_A, DNS_AAAA, DNS_MX, DNS_TXT};

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct dns_packet_answer answer = {0};
	struct dns_question question = {0};
	struct arena arena = {0};
	uint8_t copy[4096];

	if (len < 3 || len > sizeof(copy))
		return 0;
	question.type = types[bytes[0] % COUNT(types)];
	ASSERT(dns_name_parse(SLICE("example.net"), &question.name));
	memcpy(copy, bytes + 1, len - 1);
	(void)dns_packet_read(slice_of(copy, len - 1), &question,
			      (uint16_t)(copy[0] << 8 | copy[1]), &arena,
			      &answer);
	arena_done(&arena);
	return 0;
}
