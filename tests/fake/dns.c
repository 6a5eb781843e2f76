/*
 * Instead of relay/net/dns*.c: answers from a table that the test fills, in the
 * order of asking, when it calls fake_dns_run().
 */
#include "tests/fake/dns.h"

#include "relay/limits.h"

const struct fake_dns_row *fake_dns_rows;
unsigned fake_dns_patient;
static unsigned open_queries;

struct question {
	enum dns_type type;
	char name[256];
};
static struct {
	struct dns_query *query;
	struct question question;
} table[2 * MX_HOSTS_MAX + 2];
static size_t table_count;

void
dns_start(struct dns *dns, struct dns_query *query, struct slice name,
	  enum dns_type type)
{
	(void)dns;
	ASSERT(table_count < COUNT(table));
	ASSERT(name.len < sizeof(table[0].question.name));
	table[table_count].query = query;
	table[table_count].question.type = type;
	memcpy(table[table_count].question.name, name.bytes, name.len);
	table[table_count].question.name[name.len] = '\0';
	table_count++;
	open_queries++;
}

void
dns_hurry(struct dns_query *query)
{
	query->is_prompt = true;
}

void
dns_cancel(struct dns_query *query)
{
	for (size_t i = 0; i < table_count; i++)
		if (table[i].query == query) {
			table[i].query = NULL;
			open_queries--;
			return;
		}
	ASSERT(query == NULL);
}

unsigned
fake_dns_open(void)
{
	return open_queries;
}

/* "10 mx1.example.net 20 mx2.example.net", "192.0.2.1 192.0.2.2". */
static size_t
records_read(const struct fake_dns_row *row, struct dns_record *records)
{
	struct slice rest = SLICE(row->records), word;
	size_t count = 0;

	while (slice_split(&rest, ' ', &word)) {
		struct dns_record *record = &records[count++];
		uint64_t preference = 0;

		ASSERT(count <= DNS_RECORDS_MAX);
		*record = (struct dns_record){.preference = 0};
		if (row->type == DNS_MX) {
			ASSERT(slice_number(word, &preference));
			record->preference = (uint16_t)preference;
			(void)slice_split(&rest, ' ', &word);
			record->name = slice_eq(word, SLICE(".")) ? SLICE_NONE
								  : word;
		} else {
			ASSERT(address_parse_host(word, 0, &record->address));
		}
	}
	return count;
}

static void
answer(struct dns_query *query, const struct question *question)
{
	struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer result = {DNS_NO_DATA, records, 0, NULL};

	for (const struct fake_dns_row *row = fake_dns_rows; row->name != NULL;
	     row++) {
		if (strcmp(row->name, question->name) != 0 ||
		    row->type != question->type)
			continue;
		result.status = row->status;
		result.reason = row->status == DNS_FAILED ? "SERVFAIL" : NULL;
		if (row->status == DNS_FOUND)
			result.count = records_read(row, records);
	}
	open_queries--;
	fake_dns_patient += !query->is_prompt;
	query->done(query, &result);
}

void
fake_dns_run(void)
{
	for (size_t i = 0; i < table_count; i++)
		if (table[i].query != NULL)
			answer(TAKE(table[i].query), &table[i].question);
	table_count = 0;
}
