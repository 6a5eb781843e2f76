#include "relay/server/rewriting.h"

#include "milter/idn.h"
#include "milter/mailbox.h"

static const struct rewrite_options *
source_of(const struct rewrite_options *listener,
	  const struct rewrite_options *account, bool has_own)
{
	return has_own ? account : listener;
}

struct rewrite
rewriting_of(const struct listener_options *listener,
	     const struct account_options *account, const struct policy *policy)
{
	static const struct rewrite_options nothing;
	const struct rewrite_options *own =
		account == NULL ? &nothing : &account->rewrite;
	const struct rewrite_options *from = source_of(
		&listener->rewrite, own, own->from.len > 0);
	const struct rewrite_options *sender = source_of(
		&listener->rewrite, own, own->sender.len > 0);
	struct rewrite rewrite = {
		.from = {from->from, from->when},
		.sender = {sender->sender, sender->when},
		.policy = policy,
	};

	if (account != NULL) {
		rewrite.allowed = account->from;
		rewrite.allowed_count = account->from_count;
	}
	return rewrite;
}

bool
rewriting_sender(const struct rewrite *rewrite, const struct path *path,
		 struct text *out)
{
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(text_done) struct text unquoted = {0};
	struct slice local, domain = path->domain;

	if (rewrite->sender.to.len == 0)
		return false;
	if (domain.len > 0 && !path->is_literal &&
	    !idn_to_ascii(domain, &arena, &domain, NULL))
		domain = SLICE_NONE;
	mailbox_unquote(path->local, &unquoted);
	local = text_slice(&unquoted);
	if (local.len == 0)
		local = mailbox_local(path->address);
	return rewrite_sender(rewrite, path->address, local, domain, out);
}
