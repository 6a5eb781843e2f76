#include "relay/key_dns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "milter/input.h"
#include "relay/identity.h"
#include "relay/resolver.h"

/* For each record. */
#define KEY_CHECK_MS (10 * SECOND)
/* Of a text: what one answer over TCP can hold. */
#define TEXT_MAX 65535

/* What the child writes: this, then of each text its length and octets. */
struct head {
	enum lookup_status status;
	size_t count;
};

/* --- the child --- */

static bool
answer_write(int descriptor, const struct head *head, const struct slice *texts)
{
	CLEAN(text_done) struct text out = {0};

	text_add(&out, slice_of(head, sizeof(*head)));
	for (size_t i = 0; i < head->count; i++) {
		struct slice text = slice_sub(texts[i], 0, TEXT_MAX);

		text_add(&out, slice_of(&text.len, sizeof(text.len)));
		text_add(&out, text);
	}
	return input_write_bytes(descriptor, text_slice(&out), NULL);
}

static bool
child_ask(const struct options *options, struct slice name, int descriptor,
	  struct fault *fault)
{
	CLEAN(resolver_free_clean) struct resolver *resolver = NULL;
	const struct records_source *source;
	struct slice texts[CHECK_RECORDS_MAX];
	struct records *records;
	struct head head;
	bool is_written;

	if (!identity_leave_root(options, fault) ||
	    !resolver_new(options->dns.resolvers, options->dns.resolvers_count,
			  &resolver, fault))
		return false;
	source = resolver_source(resolver);
	records = source->start(source->owner, &name, 1, KEY_CHECK_MS);
	memset(&head, 0, sizeof(head));
	head.status = source->take(records, 0, texts, CHECK_RECORDS_MAX,
				   &head.count);
	is_written = answer_write(descriptor, &head, texts);
	source->end(records);
	return is_written;
}

_Noreturn static void
child_run(const struct options *options, struct slice name, int descriptor)
{
	struct fault fault = {0};
	bool is_good = child_ask(options, name, descriptor, &fault);

	if (fault.kind != FAULT_NONE)
		fprintf(stderr, "signet: %s\n", fault.text);
	/* What stdio has buffered is the parent's to write. */
	_exit(is_good ? 0 : 1);
}

/* --- this side --- */

static void
all_read(int descriptor, struct text *out)
{
	size_t max = sizeof(struct head) +
		     CHECK_RECORDS_MAX * (sizeof(size_t) + TEXT_MAX);
	ssize_t len;

	do {
		len = read(descriptor, text_room(out, 4096), 4096);
		if (len > 0)
			text_added(out, (size_t)len);
	} while (out->len <= max && (len > 0 || (len < 0 && errno == EINTR)));
}

static bool
value_take(struct slice *rest, void *value, size_t size)
{
	if (rest->len < size)
		return false;
	memcpy(value, rest->bytes, size);
	*rest = slice_from(*rest, size);
	return true;
}

/* FAILED: it is no whole answer. */
static enum lookup_status
answer_read(struct slice rest, struct slice *texts, size_t *count_out)
{
	struct head head;
	size_t len;

	*count_out = 0;
	if (!value_take(&rest, &head, sizeof(head)) ||
	    head.count > CHECK_RECORDS_MAX)
		return LOOKUP_FAILED;
	for (size_t i = 0; i < head.count; i++) {
		if (!value_take(&rest, &len, sizeof(len)) || len > rest.len)
			return LOOKUP_FAILED;
		texts[i] = slice_sub(rest, 0, len);
		rest = slice_from(rest, len);
	}
	*count_out = head.count;
	return head.status;
}

static void
child_wait(pid_t child)
{
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool
child_run_and_read(struct key_dns *dns, struct slice name, struct text *out,
		   struct fault *fault)
{
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fault_errno(fault, "pipe");
	child = fork();
	if (child == 0) {
		close(ends[0]);
		child_run(dns->options, name, ends[1]);
	}
	close(ends[1]);
	if (child < 0) {
		close(ends[0]);
		return fault_errno(fault, "fork");
	}
	all_read(ends[0], out);
	close(ends[0]);
	child_wait(child);
	return true;
}

enum check_answer
key_dns_ask(void *owner, struct slice name,
	    struct slice texts[CHECK_RECORDS_MAX], size_t *count_out)
{
	struct key_dns *dns = owner;
	CLEAN(text_done) struct text out = {0};
	struct fault fault = {0};

	*count_out = 0;
	if (!child_run_and_read(dns, name, &out, &fault) && !dns->is_told) {
		fprintf(stderr, "signet: asking the DNS: %s\n", fault.text);
		dns->is_told = true;
	}
	arena_done(&dns->answer);
	switch (answer_read(arena_copy(&dns->answer, text_slice(&out)), texts,
			    count_out)) {
	case LOOKUP_FOUND:
		return CHECK_FOUND;
	case LOOKUP_ABSENT:
		return CHECK_ABSENT;
	case LOOKUP_FAILED:
		break;
	}
	return CHECK_UNANSWERED;
}

void
key_dns_done(struct key_dns *dns)
{
	arena_done(&dns->answer);
}
