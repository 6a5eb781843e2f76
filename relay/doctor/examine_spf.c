#include "keys/record.h"
#include "relay/doctor/examination.h"
#include "relay/doctor/spf.h"

/* RFC 7208 4.6.4 allows ten; who adds one more should know. */
#define LOOKUPS_ADVISED 8

static void
ask(void *owner, struct slice name, enum dns_type type,
    struct dns_answer *answer_out)
{
	examination_ask(owner, name, type, answer_out);
}

static struct slice
term_of(struct examination *examination, const struct address *source)
{
	char host[ADDRESS_TEXT_SIZE];

	address_write_host(source, host);
	return arena_printf(examination->arena, "ip%c:%s",
			    source->any.sa_family == AF_INET ? '4' : '6', host);
}

/* The record with one term more, before the one that ends it. */
static struct slice
record_with(struct examination *examination, struct slice record,
	    struct slice term)
{
	CLEAN(text_done) struct text text = {0}, line = {0};

	text_addf(&text, "v=spf1 %.*s%s%.*s", SLICE_ARG(term),
		  record.len > 0 ? " " : " ~all",
		  SLICE_ARG(slice_trim(record)));
	text_addf(&line, "%.*s. IN TXT", SLICE_ARG(examination->domain));
	record_write_strings(text_slice(&text), &line);
	return arena_copy(examination->arena, text_slice(&line));
}

static void
result_note(struct examination *examination, const struct address *source,
	    const struct spf_answer *answer)
{
	static const enum finding_result results[] = {
		[SPF_NONE] = FINDING_WARN,      [SPF_NEUTRAL] = FINDING_WARN,
		[SPF_PASS] = FINDING_OK,        [SPF_FAIL] = FINDING_FAIL,
		[SPF_SOFTFAIL] = FINDING_WARN,  [SPF_TEMPERROR] = FINDING_WARN,
		[SPF_PERMERROR] = FINDING_FAIL,
	};
	char host[ADDRESS_TEXT_SIZE];
	struct finding *finding;

	address_write_host(source, host);
	if (answer->result == SPF_NONE)
		finding = finding_add(examination->findings, "spf",
				      examination->domain, FINDING_WARN,
				      "no record says who may send in its name");
	else
		finding = finding_add(
			examination->findings, "spf", examination->domain,
			results[answer->result], "%s for mail from %s%s%.*s",
			spf_result_name(answer->result), host,
			answer->reason.len > 0 ? ": " : "",
			SLICE_ARG(answer->reason));
	if (answer->result == SPF_NONE || answer->result == SPF_FAIL ||
	    answer->result == SPF_SOFTFAIL || answer->result == SPF_NEUTRAL)
		finding->publish =
			record_with(examination, answer->record,
				    term_of(examination, source));
	if (answer->result == SPF_PASS && answer->lookups > LOOKUPS_ADVISED)
		finding_add(examination->findings, "spf", examination->domain,
			    FINDING_WARN,
			    "it takes %u DNS lookups to get there; beyond %d "
			    "receivers give up",
			    answer->lookups, SPF_LOOKUPS_MAX);
}

void
examine_spf(struct examination *examination)
{
	for (size_t i = 0; i < examination->sources_count; i++) {
		struct spf_question question = {
			.client = &examination->sources[i],
			.domain = examination->domain,
			.local = SLICE("postmaster"),
			.helo = examination->options->hostname,
			.ask = ask,
			.owner = examination,
			.arena = examination->arena,
		};
		struct spf_answer answer;

		spf_check(&question, &answer);
		result_note(examination, &examination->sources[i], &answer);
	}
}
