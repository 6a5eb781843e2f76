/* Whatever an answer holds, what is read of it stays within the bounds, and so
 * do the mail hosts that come of it; the first octet chooses the question's
 * type, the rest is the packet. */
#include "relay/delivery/exchangers.h"
#include "relay/net/dns_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
answer_check(const struct dns_answer *answer, enum dns_type type)
{
	ASSERT(answer->count <= DNS_RECORDS_MAX);
	ASSERT((answer->status == DNS_FOUND) == (answer->count > 0));
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *record = &answer->records[i];

		if (type == DNS_A || type == DNS_AAAA) {
			ASSERT(record->address.len > 0);
			continue;
		}
		for (size_t j = 0; j < record->name.len; j++)
			ASSERT(type == DNS_TXT ||
			       (record->name.bytes[j] > ' ' &&
				record->name.bytes[j] < 0x7f));
	}
}

static void
exchangers_check(const struct dns_answer *answer)
{
	struct exchangers exchangers;

	exchangers_take(&exchangers, answer->records, answer->count);
	ASSERT(exchangers.count + exchangers.left_over <= answer->count);
	if (exchangers.is_null)
		ASSERT(exchangers.count == 0);
	for (size_t i = 0; i < exchangers.count; i++) {
		const struct exchanger *item = &exchangers.items[i];

		ASSERT(item->name.len > 0);
		if (i > 0)
			ASSERT(item[-1].preference <= item->preference);
		for (size_t j = 0; j < i; j++)
			ASSERT(!slice_eq_nocase(item->name,
						exchangers.items[j].name));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const enum dns_type types[] = {DNS_A, DNS_PTR, DNS_MX, DNS_TXT,
					      DNS_AAAA};
	struct dns_packet_answer out = {.ttl_ms = 0};
	struct dns_question question;
	struct arena arena = {.blocks = NULL};
	CLEAN(text_done) struct text again = {0};
	uint16_t id;

	if (len < 3)
		return 0;
	id = (uint16_t)(bytes[1] << 8 | bytes[2]);
	question.type = types[bytes[0] % COUNT(types)];
	ASSERT(dns_name_parse(SLICE("example.net"), &question.name));
	switch (dns_packet_read(slice_of(bytes + 1, len - 1), &question, id,
				&arena, &out)) {
	case DNS_PACKET_ANSWER:
		answer_check(&out.answer, question.type);
		if (question.type == DNS_MX)
			exchangers_check(&out.answer);
		ASSERT(out.ttl_ms <= DNS_TTL_MAX_MS);
		break;
	case DNS_PACKET_ALIAS:
		question.name = out.alias;
		ASSERT(dns_packet_write(&question, id, true, &again));
		break;
	case DNS_PACKET_NO_EDNS:
	case DNS_PACKET_BAD:
		ASSERT(out.answer.status == DNS_FAILED);
		ASSERT(out.answer.reason != NULL);
		break;
	case DNS_PACKET_TRUNCATED:
	case DNS_PACKET_FOREIGN:
		break;
	}
	arena_done(&arena);
	return 0;
}
