#include "relay/server/account.h"

#include "milter/author.h"
#include "milter/encoded_word.h"
#include "milter/idn.h"
#include "milter/mailbox.h"
#include "milter/senders.h"

const struct account_options *
account_find(const struct options *options, struct slice user)
{
	const struct account_options *any = NULL;

	if (user.len == 0)
		return NULL;
	for (size_t i = 0; i < options->accounts_count; i++) {
		const struct account_options *account = &options->accounts[i];

		/* Whoever has shown him to be known may write his name in
		 * another case than the section does. */
		if (slice_eq_nocase(account->user, user))
			return account;
		if (slice_eq(account->user, SLICE("*")))
			any = account;
	}
	return any;
}

static bool
is_his(const struct account_options *account, struct slice local,
       struct slice domain)
{
	return account->from_count == 0 ||
	       senders_any_matches(account->from, account->from_count, local,
				   domain);
}

bool
account_may_use(const struct account_options *account, struct slice address)
{
	ptrdiff_t at = slice_find_last(address, '@');
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(text_done) struct text local = {0};
	struct slice domain;

	if (account == NULL || account->from_count == 0 || address.len == 0)
		return true;
	if (at < 0)
		return false;
	mailbox_unquote(slice_sub(address, 0, (size_t)at), &local);
	return idn_to_ascii(slice_from(address, (size_t)at + 1), &arena,
			    &domain, NULL) &&
	       is_his(account, text_slice(&local), domain);
}

static bool
are_his(const struct account_options *account, const char *name,
	struct slice value, struct authors *authors, struct arena *arena,
	struct slice *reason_out)
{
	if (authors->dispute == NULL)
		authors->dispute = encoded_words_problem(
			value, account->from, account->from_count);
	for (size_t i = 0; i < authors->count; i++)
		if (!is_his(account, authors->locals[i], authors->domains[i])) {
			*reason_out = arena_printf(
				arena, "%s: %.*s@%.*s", name,
				SLICE_ARG(authors->locals[i]),
				SLICE_ARG(authors->domains[i]));
			return false;
		}
	if (authors->dispute == NULL)
		return true;
	*reason_out = arena_printf(
		arena, "%s: %s, which not every reader reads alike", name,
		authors->dispute);
	return false;
}

bool
account_may_claim(const struct account_options *account, struct slice name,
		  struct slice value, struct arena *arena,
		  struct slice *reason_out)
{
	static const char *const names[] = {"Sender", "Resent-From",
					    "Resent-Sender"};
	const char *says_who = NULL;
	struct authors authors;
	struct fault fault;

	for (size_t i = 0; i < COUNT(names); i++)
		if (slice_eq_nocase(name, SLICE(names[i])))
			says_who = names[i];
	if (says_who == NULL || account == NULL || account->from_count == 0)
		return true;
	if (!authors_parse(value, arena, &authors, &fault)) {
		*reason_out =
			arena_printf(arena, "%s: %s", says_who, fault.text);
		return false;
	}
	return are_his(account, says_who, value, &authors, arena, reason_out);
}

bool
account_may_break(const struct account_options *account, const char *problem,
		  struct arena *arena, struct slice *reason_out)
{
	if (account == NULL || account->from_count == 0)
		return true;
	*reason_out = arena_printf(
		arena, "%s, which not every reader reads alike", problem);
	return false;
}

bool
account_may_write(const struct account_options *account, size_t from_count,
		  struct slice from, struct arena *arena,
		  struct slice *reason_out)
{
	struct authors authors;
	struct fault fault;

	if (account == NULL || account->from_count == 0)
		return true;
	if (from_count != 1) {
		*reason_out = arena_printf(arena, "%zu From fields, not one",
					   from_count);
		return false;
	}
	if (!authors_parse(from, arena, &authors, &fault)) {
		*reason_out = arena_printf(arena, "From: %s", fault.text);
		return false;
	}
	if (authors.count == 0) {
		*reason_out = SLICE("From names nobody");
		return false;
	}
	return are_his(account, "From", from, &authors, arena, reason_out);
}
