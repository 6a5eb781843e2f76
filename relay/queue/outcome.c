#include "relay/queue/outcome.h"

#include <stdio.h>

static const struct fate troubles[] = {
#define TROUBLE_ROW(name, outcome, scope, next, status, words)                 \
	[TROUBLE_##name] = {OUTCOME_##outcome, SCOPE_##scope, next, status,    \
			    words},
	OUTCOME_TROUBLES(TROUBLE_ROW)
#undef TROUBLE_ROW
};

/* What a negative reply means at each stage. `status` is used where the peer
 * gave none; its first digit is replaced by the outcome's class. */
static const struct stage_row {
	enum outcome on_4yz, on_5yz;
	enum outcome_scope scope_4yz, scope_5yz;
	bool next_4yz, next_5yz;
	const char *status;
} stage_rows[] = {
	/* A host that refuses everybody (554 greeting, RFC 5321 3.1) says
	 * nothing about the message: other hosts first, then later. */
	[STAGE_GREETING] = {OUTCOME_DEFERRED, OUTCOME_DEFERRED, SCOPE_HOST,
			    SCOPE_HOST, true, true, "x.3.2"},
	[STAGE_EHLO] = {OUTCOME_DEFERRED, OUTCOME_DEFERRED, SCOPE_HOST,
			SCOPE_HOST, true, true, "x.3.2"},
	[STAGE_STARTTLS] = {OUTCOME_DEFERRED, OUTCOME_DEFERRED, SCOPE_HOST,
			    SCOPE_HOST, true, true, "x.7.4"},
	/* A wrong password is the administrator's to mend, not the sender's. */
	[STAGE_AUTH] = {OUTCOME_DEFERRED, OUTCOME_DEFERRED, SCOPE_HOST,
			SCOPE_HOST, true, true, "x.7.8"},
	[STAGE_MAIL] = {OUTCOME_DEFERRED, OUTCOME_FAILED, SCOPE_MESSAGE,
			SCOPE_MESSAGE, true, false, "x.0.0"},
	/* Greylisting, a full mailbox: of the site, not of the host, unless it
	 * says so (reply_is_of_system()). */
	[STAGE_RCPT] = {OUTCOME_DEFERRED, OUTCOME_FAILED, SCOPE_RECIPIENT,
			SCOPE_RECIPIENT, false, false, "x.0.0"},
	[STAGE_DATA] = {OUTCOME_DEFERRED, OUTCOME_FAILED, SCOPE_MESSAGE,
			SCOPE_MESSAGE, false, false, "x.0.0"},
	/* The host has seen the whole message and judged it: another host of
	 * the same site would only be asked the same. A full disk is no
	 * judgement. */
	[STAGE_END_OF_DATA] = {OUTCOME_DEFERRED, OUTCOME_FAILED, SCOPE_MESSAGE,
			       SCOPE_MESSAGE, false, false, "x.0.0"},
};

static bool
reply_is_positive(enum outcome_stage stage, unsigned code)
{
	if (stage == STAGE_DATA)
		return code == 354;
	if (stage == STAGE_AUTH && code / 100 == 3)
		return true;
	return code / 100 == 2;
}

/* RFC 5321 4.5.3.1.10: 552 to RCPT once meant "too many recipients". Where an
 * enhanced code says otherwise (a full mailbox), it counts. */
static bool
reply_means_too_many(enum outcome_stage stage, const struct reply_in *reply)
{
	return stage == STAGE_RCPT && reply->code == 552 &&
	       (reply->status.len == 0 ||
		slice_eq(reply->status, SLICE("5.5.3")));
}

/* RFC 3463 3.4: trouble of the system that answers, which its fellows need not
 * have. 452 alone says that, too: RFC 5321 4.2.3. */
static bool
reply_is_of_system(const struct reply_in *reply)
{
	return slice_starts(reply->status, SLICE("4.3.")) ||
	       (reply->code == 452 && reply->status.len == 0);
}

static void
fate_set_status(struct fate *fate, struct slice status, const char *fallback)
{
	char class = fate->outcome == OUTCOME_FAILED ? '5' : '4';

	if (outcome_find_status(status).len != status.len || status.len == 0)
		status = SLICE(fallback);
	ASSERT(status.len < sizeof(fate->status));
	memcpy(fate->status, status.bytes, status.len);
	fate->status[status.len] = '\0';
	if (fate->outcome == OUTCOME_DELIVERED)
		class = '2';
	fate->status[0] = class;
}

struct fate
outcome_of_reply(enum outcome_stage stage, const struct reply_in *reply)
{
	const struct stage_row *row = &stage_rows[stage];
	struct fate fate = {.words = ""};

	ASSERT(stage <= STAGE_END_OF_DATA);
	if (reply_is_positive(stage, reply->code)) {
		fate.scope = stage == STAGE_RCPT ? SCOPE_RECIPIENT
						 : SCOPE_MESSAGE;
		if (stage == STAGE_END_OF_DATA) {
			fate.outcome = OUTCOME_DELIVERED;
			fate_set_status(&fate, reply->status, "2.0.0");
		}
		return fate;
	}
	if (reply->code / 100 != 4 && reply->code / 100 != 5) {
		fate = outcome_of_trouble(TROUBLE_BROKEN_REPLY);
		/* It may have been taken: at least not twice in a row. */
		if (stage == STAGE_END_OF_DATA)
			fate.may_try_next_host = false;
		return fate;
	}

	/* 421: the service is closing the channel, at any time. */
	if (reply->code == 421) {
		fate.outcome = OUTCOME_DEFERRED;
		fate.scope = SCOPE_HOST;
		fate.may_try_next_host = true;
	} else if (reply->code / 100 == 4 ||
		   reply_means_too_many(stage, reply)) {
		fate.outcome = row->on_4yz;
		fate.scope = row->scope_4yz;
		fate.may_try_next_host =
			reply->code != 552 &&
			(row->next_4yz || reply_is_of_system(reply));
	} else {
		fate.outcome = row->on_5yz;
		fate.scope = row->scope_5yz;
		fate.may_try_next_host = row->next_5yz;
	}
	fate_set_status(&fate, reply->status, row->status);
	return fate;
}

struct fate
outcome_of_trouble(enum outcome_trouble trouble)
{
	struct fate fate;

	ASSERT((size_t)trouble < COUNT(troubles));
	fate = troubles[trouble];
	fate.is_damage = trouble == TROUBLE_DAMAGED;
	return fate;
}

struct fate
outcome_of_lack(enum outcome_trouble trouble, bool has_better_host)
{
	struct fate fate = outcome_of_trouble(trouble);

	if (!has_better_host || !fate.may_try_next_host ||
	    fate.outcome != OUTCOME_FAILED)
		return fate;
	fate.outcome = OUTCOME_DEFERRED;
	fate.status[0] = '4';
	return fate;
}

const char *
outcome_event(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_DELIVERED:
		return "delivered";
	case OUTCOME_FAILED:
		return "bounced";
	case OUTCOME_NONE:
	case OUTCOME_DEFERRED:
		return "deferred";
	}
	return "deferred";
}

struct slice
outcome_find_status(struct slice text)
{
	size_t at = 1;

	/* RFC 3463 2: class "." subject "." detail, 1 to 3 digits each. */
	if (text.len < 5 ||
	    (text.bytes[0] != '2' && text.bytes[0] != '4' &&
	     text.bytes[0] != '5'))
		return SLICE_NONE;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (at >= text.len || text.bytes[at] != '.')
			return SLICE_NONE;
		for (at++; at < text.len && ascii_is_digit(text.bytes[at]);
		     at++)
			digits++;
		if (digits < 1 || digits > 3)
			return SLICE_NONE;
	}
	if (at < text.len && text.bytes[at] != ' ' && text.bytes[at] != '\n')
		return SLICE_NONE;
	return slice_sub(text, 0, at);
}

void
outcome_write_reply(struct text *out, const struct reply_in *reply)
{
	char code[8];

	snprintf(code, sizeof(code), "%03u ", reply->code % 1000);
	text_add_string(out, code);
	if (reply->status.len > 0 &&
	    !slice_starts(reply->text, reply->status)) {
		text_add(out, reply->status);
		text_add_byte(out, ' ');
	}
	for (size_t i = 0; i < reply->text.len; i++) {
		char c = reply->text.bytes[i];

		if ((unsigned char)c < 0x20 || c == 0x7f)
			c = ' ';
		text_add_byte(out, c);
	}
}

bool
outcome_is_reply(struct slice text)
{
	return text.len >= 4 && ascii_is_digit(text.bytes[0]) &&
	       ascii_is_digit(text.bytes[1]) &&
	       ascii_is_digit(text.bytes[2]) && text.bytes[3] == ' ';
}
