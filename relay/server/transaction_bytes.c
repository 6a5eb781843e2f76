#include "base/clock.h"
#include "relay/server/account.h"
#include "relay/server/transaction_private.h"

static const struct reply reply_too_big = {
	552, "5.3.4",
	"Message size exceeds the limit that EHLO gives as SIZE "
	"(limits.max_message_size)"};
static const struct reply reply_header_too_big = {
	552, "5.3.4", "Header size exceeds the limit (limits.max_header_size)"};
static const struct reply reply_too_many_hops = {
	554, "5.4.6",
	"Too many Received fields (limits.max_hops): a mail loop?"};
static const struct reply reply_bare_line_end = {
	554, "5.6.0",
	"Bare CR or LF in the message: lines must end in CRLF",
	"the listener's option bare_newlines mends them"};
static const struct reply reply_nul = {
	554, "5.6.0", "NUL in the message: send such content in base64"};
static const struct reply reply_long_line = {
	554, "5.6.0",
	"A line is longer than 998 octets (RFC 5322 2.1.1): fold it, or send "
	"the content quoted-printable or in base64"};
static const struct reply reply_not_author = {
	550, "5.7.1", "Your user may not send this message: "};

void
transaction_refuse(struct transaction *transaction, const struct reply *reply,
		   struct slice extra, struct slice reason)
{
	ASSERT(transaction->phase == PHASE_BYTES);
	transaction->phase = PHASE_REFUSED;
	/* Where data waits for room there will be no other event. */
	transaction->is_blocked = false;
	transaction->refusal = reply;
	transaction->refusal_extra = arena_copy(&transaction->arena, extra);
	text_add(&transaction->reason, reason);
	version_cancel(&transaction->version);
	transaction_release(transaction);
}

static bool
rewrites_from(const struct transaction *transaction)
{
	return transaction->rewrite.from.to.len > 0;
}

size_t
transaction_header_max(const struct transaction *transaction)
{
	const struct options *options = transaction_options(transaction);

	return (size_t)options->limits.max_header_size +
	       (rewrites_from(transaction) ? REWRITE_ADDED_MAX : 0);
}

void
transaction_data(struct transaction *transaction, enum transaction_bytes bytes)
{
	ASSERT(transaction->phase == PHASE_ENVELOPE);
	ASSERT(transaction->message->recipients_count > 0);
	wire_data_init(&transaction->wire);
	newline_init(&transaction->newline);
	transaction->newline.keeps_dots = bytes == TRANSACTION_BDAT;
	separator_init(&transaction->separator);
	/* Who may write as some authors only is refused (account_may_break). */
	transaction->separator.is_passing =
		transaction->account != NULL &&
		transaction->account->from_count > 0;
	transaction->message->received_ms = clock_wall_ms();
	/* Where another was quicker it gets what it needs as it comes. */
	(void)transaction_reserve(transaction, transaction->announced);
	if (rewrites_from(transaction))
		rewriter_init(&transaction->rewriter, &transaction->rewrite,
			      transaction->message->reverse_path.len == 0,
			      (size_t)transaction_options(transaction)
				      ->limits.max_header_size);
	transaction_make(transaction, transaction_header_max(transaction));
}

static void
refuse_header(struct transaction *transaction)
{
	transaction_refuse(transaction, &reply_header_too_big, SLICE_NONE,
			   SLICE("limits.max_header_size"));
}

/* What of the header is in memory: in a buffer that has doubled, and once more
 * as far as it is to be signed; held back as a whole where From is rewritten.
 */
static size_t
header_weight(const struct transaction *transaction)
{
	if (rewrites_from(transaction) && !transaction->rewriter.is_passing)
		return 3 * (size_t)transaction->size;
	return 3 * (size_t)transaction->message->body.header_len;
}

static void
hold_header(struct transaction *transaction)
{
	const struct reply *refusal;

	if (transaction->phase != PHASE_BYTES)
		return;
	refusal = transaction_hold(transaction,
				   transaction->envelope_weight +
					   header_weight(transaction));
	if (refusal != NULL)
		transaction_refuse(transaction, refusal, SLICE_NONE,
				   SLICE("limits.max_memory"));
}

/* As it is to be. */
static void
keep(struct transaction *transaction, struct slice bytes)
{
	switch (version_write(transaction->version, bytes)) {
	case VERSION_TAKEN:
		break;
	case VERSION_WAIT:
		transaction->is_blocked = true;
		break;
	case VERSION_HEADER_TOO_LARGE:
		refuse_header(transaction);
		break;
	}
}

/* The header stays with the rewriter until it is whole. */
static void
rewrite(struct transaction *transaction, struct slice bytes)
{
	if (transaction->rewriter.is_passing) {
		keep(transaction, bytes);
		return;
	}
	text_clear(&transaction->rewritten);
	rewriter_feed(&transaction->rewriter, bytes, &transaction->rewritten);
	if (transaction->rewritten.len > 0)
		keep(transaction, text_slice(&transaction->rewritten));
}

static void
rewrite_end(struct transaction *transaction)
{
	struct rewriter *rewriter = &transaction->rewriter;
	bool rewrites_sender = transaction->changes.rewritten.rewrites_sender;

	text_clear(&transaction->rewritten);
	rewriter_finish(rewriter, &transaction->rewritten);
	if (transaction->rewritten.len > 0)
		keep(transaction, text_slice(&transaction->rewritten));
	transaction->changes.rewritten = rewriter->report;
	transaction->changes.rewritten.rewrites_sender = rewrites_sender;
	rewriter_remark(rewriter, &transaction->notes);
}

/* With the line that is to be between header and body. */
static void
pass_on(struct transaction *transaction, struct slice bytes)
{
	if (bytes.len == 0 || transaction->phase != PHASE_BYTES)
		return;
	if (rewrites_from(transaction))
		rewrite(transaction, bytes);
	else
		keep(transaction, bytes);
}

static void
separate(struct transaction *transaction, struct slice bytes)
{
	CLEAN(text_done) struct text header = {0};

	separator_feed(&transaction->separator, &bytes, &header);
	pass_on(transaction, text_slice(&header));
	pass_on(transaction, bytes);
}

static void
separate_end(struct transaction *transaction)
{
	CLEAN(text_done) struct text held = {0};

	separator_finish(&transaction->separator, &held);
	pass_on(transaction, text_slice(&held));
}

static bool
take(void *owner, struct slice bytes)
{
	struct transaction *transaction = owner;
	uint64_t size_max =
		transaction_options(transaction)->limits.max_message_size;
	const struct reply *refusal;

	if (transaction->phase == PHASE_REFUSED)
		return true;
	transaction->size += bytes.len;
	if (transaction->size > size_max) {
		transaction_refuse(transaction, &reply_too_big, SLICE_NONE,
				   SLICE("limits.max_message_size"));
		return true;
	}
	refusal = transaction_reserve(transaction, transaction->size);
	if (refusal != NULL) {
		transaction_refuse(transaction, refusal, SLICE_NONE,
				   SLICE("limits.max_incoming"));
		return true;
	}
	separate(transaction, bytes);
	hold_header(transaction);
	return !transaction->is_blocked;
}

static bool
take_mended(void *owner, struct slice bytes)
{
	struct transaction *transaction = owner;

	text_clear(&transaction->mended);
	newline_feed(&transaction->newline, bytes, &transaction->mended);
	return transaction->mended.len == 0 ||
	       take(transaction, text_slice(&transaction->mended));
}

/* As the message is now, not as it came. */
static struct prepare_bytes
bytes_seen(const struct transaction *transaction)
{
	const struct wire_data *wire = &transaction->wire;
	bool normalizes = transaction->setup.normalizes;

	return (struct prepare_bytes){
		.has_bare_line_end =
			!normalizes && (wire->has_bare_cr || wire->has_bare_lf),
		.has_nul = wire->has_nul,
		.has_long_line = normalizes ? transaction->newline.has_long_line
					    : wire->has_long_line,
		.has_8bit = version_has_8bit(transaction->version),
	};
}

static void
judge(struct transaction *transaction, const struct prepare_bytes *bytes)
{
	static const struct {
		const struct reply *reply;
		const char *reason;
	} rows[] = {
		[PREPARE_BARE_LINE_END] = {&reply_bare_line_end,
					   "bare CR or LF"},
		[PREPARE_NUL] = {&reply_nul, "NUL"},
		[PREPARE_HOPS] = {&reply_too_many_hops, "limits.max_hops"},
		[PREPARE_LONG_LINE] = {&reply_long_line, "prepare.long_lines"},
	};
	const struct options *options = transaction_options(transaction);
	const struct decision *decision =
		version_decision(transaction->version);
	struct slice why;
	enum prepare_problem problem =
		prepare_judge(&transaction->facts, bytes, &options->prepare,
			      options->limits.max_hops);

	if (!account_may_write(transaction->account, transaction->from_count,
			       transaction->from, &transaction->arena, &why))
		transaction_refuse(transaction, &reply_not_author, why,
				   SLICE("account.from"));
	else if (transaction->not_his.len > 0)
		transaction_refuse(transaction, &reply_not_author,
				   transaction->not_his, SLICE("account.from"));
	else if (problem != PREPARE_NO_PROBLEM)
		transaction_refuse(transaction, rows[problem].reply, SLICE_NONE,
				   SLICE(rows[problem].reason));
	else if (decision->verdict == VERDICT_REJECT)
		transaction_refuse(transaction, &transaction_reply_unsigned,
				   decision->reason, decision->reason);
}

static void
end_of_data(struct transaction *transaction)
{
	struct prepare_bytes bytes;

	if (transaction->phase == PHASE_BYTES)
		separate_end(transaction);
	if (rewrites_from(transaction) && transaction->phase == PHASE_BYTES)
		rewrite_end(transaction);
	if (transaction->phase == PHASE_REFUSED)
		return;
	if (!version_end(transaction->version)) {
		refuse_header(transaction);
		return;
	}
	bytes = bytes_seen(transaction);
	judge(transaction, &bytes);
	if (transaction->phase == PHASE_REFUSED)
		return;
	transaction->phase = PHASE_FINISHING;
	transaction->message->body.has_long_line = bytes.has_long_line;
	if (second_pass_is_due(transaction, &bytes))
		version_spool(transaction->version);
	else
		transaction_finish(transaction);
}

enum transaction_status
transaction_read(struct transaction *transaction, struct slice input,
		 size_t *used_out)
{
	enum wire_data_status status;

	ASSERT(transaction->phase == PHASE_BYTES ||
	       transaction->phase == PHASE_REFUSED);
	status = wire_data_read(&transaction->wire, input, used_out,
				transaction->setup.normalizes ? take_mended
							      : take,
				transaction);
	if (status == WIRE_DATA_MORE)
		return transaction->is_blocked ? TRANSACTION_BLOCKED
					       : TRANSACTION_MORE;
	end_of_data(transaction);
	return transaction->phase == PHASE_REFUSED ? TRANSACTION_REFUSED
						   : TRANSACTION_ENDED;
}

static void
chunk_take(struct transaction *transaction, struct slice bytes)
{
	wire_chunk(&transaction->wire, bytes);
	if (transaction->setup.normalizes)
		take_mended(transaction, bytes);
	else
		take(transaction, bytes);
}

enum transaction_status
transaction_chunk(struct transaction *transaction, struct slice bytes)
{
	ASSERT(transaction->phase == PHASE_BYTES ||
	       transaction->phase == PHASE_REFUSED);
	ASSERT(!transaction->is_blocked);
	chunk_take(transaction, bytes);
	return transaction->is_blocked ? TRANSACTION_BLOCKED : TRANSACTION_MORE;
}

/* Every message ends with a line end: for what reads it, and as the same would
 * come by DATA. */
static void
end_line(struct transaction *transaction)
{
	const struct newline *newline = &transaction->newline;
	bool is_ended = transaction->setup.normalizes
				? newline->crs == 0 && newline->column == 0
				: wire_is_line_start(&transaction->wire);

	if (!is_ended)
		chunk_take(transaction, SLICE("\r\n"));
}

enum transaction_status
transaction_chunk_end(struct transaction *transaction, bool is_last)
{
	ASSERT(!transaction->is_blocked);
	if (is_last && transaction->phase == PHASE_BYTES)
		end_line(transaction);
	if (is_last)
		end_of_data(transaction);
	if (transaction->phase == PHASE_REFUSED)
		return TRANSACTION_REFUSED;
	return is_last ? TRANSACTION_ENDED : TRANSACTION_MORE;
}

void
transaction_refusal(const struct transaction *transaction,
		    const struct reply **reply_out, struct slice *extra_out,
		    struct slice *reason_out)
{
	ASSERT(transaction->phase == PHASE_REFUSED);
	*reply_out = transaction->refusal;
	*extra_out = transaction->refusal_extra;
	*reason_out = text_slice(&transaction->reason);
}
