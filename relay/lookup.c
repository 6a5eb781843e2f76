#include "relay/lookup.h"
#include "relay/net/dns.h"
#include "relay/options.h"

struct lookup {
	struct dns_query query;
	struct loop loop;
	struct text *records;
	size_t max, count;
	enum lookup_status status;
	bool is_done;
};

static void
lookup_done(struct dns_query *query, const struct dns_answer *answer)
{
	struct lookup *lookup = CONTAINER(query, struct lookup, query);

	lookup->is_done = true;
	uv_stop(&lookup->loop.uv);
	switch (answer->status) {
	case DNS_FOUND:
		lookup->status = LOOKUP_FOUND;
		break;
	case DNS_NO_DATA:
	case DNS_NO_NAME:
		lookup->status = LOOKUP_ABSENT;
		break;
	case DNS_FAILED:
		lookup->status = LOOKUP_FAILED;
		break;
	}
	for (size_t i = 0; i < answer->count && i < lookup->max; i++) {
		text_add(&lookup->records[i], answer->records[i].name);
		lookup->count++;
	}
}

enum lookup_status
lookup_txt(void *owner, struct slice name, struct text *records, size_t max,
	   size_t *count_out)
{
	const struct options *options = owner;
	struct lookup lookup = {.query.done = lookup_done,
				.records = records,
				.max = max,
				.status = LOOKUP_FAILED};
	struct fault fault;
	struct dns *dns;

	*count_out = 0;
	if (!loop_init(&lookup.loop, 0, &fault))
		return LOOKUP_FAILED;
	if (dns_new(&lookup.loop, options->dns.resolvers,
		    options->dns.resolvers_count, &dns, &fault)) {
		dns_start(dns, &lookup.query, name, DNS_TXT);
		while (!lookup.is_done)
			uv_run(&lookup.loop.uv, UV_RUN_DEFAULT);
		dns_close(dns);
	}
	loop_done(&lookup.loop);
	*count_out = lookup.count;
	return lookup.status;
}
