#include "tests/unit/milter/stage.h"

#include "milter/senders.h"

static const struct {
	const char *name;
	size_t from_count;
	const char *from, *malformed;
	bool is_signed;
	const char *author_domain, *section, *reason; /* a part of it */
} rows[] = {
	{"exact", 1, "a@example.com", NULL, true, "example.com", "example.com",
	 "the From domain example.com is signed with 2 selectors"},
	{"one selector", 1, "a@example.net", NULL, true, "example.net",
	 "example.net", "with 1 selector"},
	{"case", 1, "a@EXAMPLE.net", NULL, true, "example.net", "example.net",
	 "example.net"},
	{"subdomain", 1, "a@news.example.com", NULL, true, "news.example.com",
	 "example.com", "news.example.com is signed as a subdomain of "
			"example.com"},
	{"the closest section", 1, "a@x.sub.example.com", NULL, true,
	 "x.sub.example.com", "example.com", "subdomain"},
	{"the exact one before its parent", 1, "a@sub.example.com", NULL, true,
	 "sub.example.com", "sub.example.com", "1 selector"},
	{"no subdomains wanted", 1, "a@news.example.net", NULL, false,
	 "news.example.net", NULL, "no domain section matches"},
	{"not a subdomain", 1, "a@badexample.com", NULL, false,
	 "badexample.com", NULL, "no domain section matches"},
	{"unknown", 1, "a@example.org", NULL, false, "example.org", NULL,
	 "no domain section matches the From domain example.org"},
	{"no active selector", 1, "a@idle.example", NULL, false,
	 "idle.example", "idle.example", "no selector of idle.example"},
	{"no From", 0, "", NULL, false, "", NULL, "there is no From field"},
	{"two From", 2, "a@example.com", NULL, false, "", NULL,
	 "there are 2 From fields"},
	{"From without an address", 1, "undisclosed:;", NULL, false, "", NULL,
	 "names no address"},
	{"empty From", 1, "", NULL, false, "", NULL, "names no address"},
	{"From that cannot be read", 1, "Joe", NULL, false, "", NULL,
	 "cannot be read"},
	{"malformed header", 1, "a@example.com", "a bare LF in the header",
	 false, "", NULL, "a bare LF in the header"},
	{"two of one section", 1, "a@example.com, b@news.example.com", NULL,
	 true, "example.com", "example.com", "2 selectors"},
	{"two of different sections", 1, "a@example.com, b@example.net", NULL,
	 false, "example.com", NULL, "several domain sections, example.com "
				     "and example.net"},
	{"the second is of no section", 1, "a@example.com, b@example.org",
	 NULL, false, "example.com", NULL, "matches the From domain "
					   "example.org"},
	{"group", 1, "T: a@example.com, b@example.com;", NULL, true,
	 "example.com", "example.com", "2 selectors"},
	{"literal", 1, "a@[192.0.2.1]", NULL, false, "[192.0.2.1]", NULL,
	 "no domain section matches the From domain [192.0.2.1]"},
	{"U-label", 1, "a@b\xc3\xbc" "cher.example.com", NULL, true,
	 "xn--bcher-kva.example.com", "example.com", "subdomain"},
};

static bool
contains(struct slice text, const char *part)
{
	return memmem(text.bytes, text.len, part, strlen(part)) != NULL;
}

static void
expect_row(const struct policy *policy, size_t i, enum verdict unsigned_verdict)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct header_facts facts = {rows[i].from_count, SLICE(rows[i].from),
				     rows[i].malformed};
	struct decision decision = {0};

	policy_decide(policy, &facts, &arena, &decision);
	cr_expect_eq(decision.verdict,
		     rows[i].is_signed ? VERDICT_SIGN : unsigned_verdict, "%s",
		     rows[i].name);
	cr_expect(slice_eq(decision.author_domain,
			   SLICE(rows[i].author_domain)),
		  "%s: '%.*s'", rows[i].name,
		  SLICE_ARG(decision.author_domain));
	cr_expect_eq(decision.domain == NULL, rows[i].section == NULL, "%s",
		     rows[i].name);
	if (decision.domain != NULL && rows[i].section != NULL)
		cr_expect(slice_eq(decision.domain->name,
				   SLICE(rows[i].section)),
			  "%s", rows[i].name);
	cr_expect(contains(decision.reason, rows[i].reason), "%s: '%.*s'",
		  rows[i].name, SLICE_ARG(decision.reason));
}

Test(policy, decide)
{
	static const struct {
		enum unsigned_action action;
		enum verdict verdict;
	} actions[] = {{UNSIGNED_RELAY, VERDICT_RELAY},
		       {UNSIGNED_REJECT, VERDICT_REJECT}};

	for (size_t k = 0; k < COUNT(actions); k++) {
		struct signing_options options = {
			.unsigned_action = actions[k].action};
		CLEAN(policy_unref_clean) struct policy *policy =
			stage_policy(&options);

		for (size_t i = 0; i < COUNT(rows); i++)
			expect_row(policy, i, actions[k].verdict);
	}
}

/* RFC 6376 5.4: From has to be there; RFC 8058 4: both List-Unsubscribe. */
Test(policy, signed_fields)
{
	static const char *const oversigned[] = {"From", "Subject", "Date",
						 "To", "Cc", "Reply-To"};
	static const char *const once[] = {
		"Message-ID", "MIME-Version", "Content-Type",
		"Content-Transfer-Encoding", "List-Unsubscribe",
		"List-Unsubscribe-Post", "In-Reply-To", "References"};
	size_t count, over = 0, seen = 0;
	const struct policy_field *fields = policy_fields(&count);

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < COUNT(oversigned); k++)
			if (slice_eq(fields[i].name, SLICE(oversigned[k])))
				cr_expect(fields[i].is_oversigned);
		for (size_t k = 0; k < COUNT(once); k++)
			if (slice_eq(fields[i].name, SLICE(once[k])))
				seen++;
		over += fields[i].is_oversigned ? 1 : 0;
		for (size_t k = 0; k < i; k++)
			cr_expect_not(slice_eq_nocase(fields[i].name,
						      fields[k].name));
	}
	cr_expect_eq(over, COUNT(oversigned));
	cr_expect_eq(seen, COUNT(once));
}

/* Whatever it is that a section says of its own, it has rules of its own. */
Test(policy, one_option_is_enough_for_rules)
{
	struct slice name = SLICE("X-Own");
	const struct domain_signing_options sections[] = {
		{.has_canonicalization = true, .body_canon = CANON_RELAXED},
		{.headers = &name, .headers_count = 1},
		{.oversign = &name, .oversign_count = 1},
		{.has_expire = true, .expire_ms = 5000},
		{.identity = SLICE_LITERAL("a@example.com")},
	};

	for (size_t i = 0; i < COUNT(sections); i++) {
		const struct domain_signing_options
			domains[COUNT(stage_domains)] = {sections[i]};
		struct signing_options options = {.domains = domains};
		CLEAN(policy_unref_clean) struct policy *policy =
			stage_policy(&options);
		const struct keyring *keyring = policy_keyring(policy);
		const struct policy_rules *own = policy_rules_of(
			policy, keyring_domain_at(keyring, 0));

		cr_expect_neq(own, policy_rules_of(policy,
						   keyring_domain_at(keyring,
								     1)),
			      "%zu", i);
		cr_expect_eq(own->body_canon, sections[i].body_canon, "%zu", i);
		cr_expect_eq(own->expire_s, sections[i].expire_ms / 1000, "%zu", i);
		cr_expect(slice_eq(own->identity, sections[i].identity), "%zu", i);
		cr_expect_eq(policy_signs_field(policy, name),
			     sections[i].headers_count + sections[i].oversign_count > 0,
			     "%zu", i);
	}
}

Test(policy, references)
{
	struct signing_options options = {0};
	struct policy *policy = stage_policy(&options);

	cr_expect_eq(policy_ref(policy), policy);
	policy_unref(policy);
	policy_unref(policy);
}

/* ---- patterns, a default section, other signers ---- */

/*
 * example.com      subdomains; main; news, alerts for some senders; gone, retired,
 *                  for one; also by esp.example
 * only.example     news for some senders, nobody else
 * lent.example     no selector; also by esp.example
 * esp.example      esp
 * "*"              any
 */
static struct slice news[] = {SLICE_LITERAL("*@news.example.com"),
			      SLICE_LITERAL("news-*@example.com")};
static struct slice alerts[] = {SLICE_LITERAL("root@*.example.com")};
static struct slice former[] = {SLICE_LITERAL("old@example.com")};
static struct slice only[] = {SLICE_LITERAL("news@only.example")};
static struct slice esp[] = {SLICE_LITERAL("esp.example")};
static struct selector_options com_selectors[] = {
	{.name = SLICE_LITERAL("main")},
	{.name = SLICE_LITERAL("news"), .from = news, .from_count = 2},
	{.name = SLICE_LITERAL("alerts"), .from = alerts, .from_count = 1},
	{.name = SLICE_LITERAL("next"), .state = SELECTOR_PUBLISH,
	 .from = news, .from_count = 2},
	{.name = SLICE_LITERAL("gone"), .state = SELECTOR_RETIRED,
	 .from = former, .from_count = 1},
};
static struct selector_options only_selectors[] = {
	{.name = SLICE_LITERAL("news"), .from = only, .from_count = 1}};
static struct selector_options esp_selectors[] = {
	{.name = SLICE_LITERAL("esp")}};
static struct selector_options any_selectors[] = {
	{.name = SLICE_LITERAL("any")},
	{.name = SLICE_LITERAL("esp"), .state = SELECTOR_ACTIVE,
	 .from = only, .from_count = 1}};
static struct domain_options sections[] = {
	{.name = SLICE_LITERAL("example.com"), .subdomains = true,
	 .selectors = com_selectors, .selectors_count = COUNT(com_selectors)},
	{.name = SLICE_LITERAL("only.example"), .selectors = only_selectors,
	 .selectors_count = 1},
	{.name = SLICE_LITERAL("lent.example")},
	{.name = SLICE_LITERAL("esp.example"), .selectors = esp_selectors,
	 .selectors_count = 1},
	{.name = SLICE_LITERAL("*"), .selectors = any_selectors,
	 .selectors_count = 2},
};
static struct domain_signing_options sections_signing[] = {
	{.also_sign = esp, .also_sign_count = 1},
	{.identity = SLICE_LITERAL("@only.example")},
	{.also_sign = esp, .also_sign_count = 1},
	{0},
	{0},
};

static struct policy *
sections_policy(enum existing_action existing)
{
	static const enum key_algorithm kinds[STAGE_SELECTORS_MAX] = {0};
	struct keys_options keys = {.domains = sections,
				    .domains_count = COUNT(sections)};
	struct signing_options options = {.existing_action = existing,
					  .domains = sections_signing};

	return stage_policy_of(&keys, kinds, &options);
}

static void
signers_write(const struct decision *decision, struct text *out)
{
	for (size_t i = 0; i < decision->signers_count; i++)
		text_addf(out, "%s%.*s/%.*s%s%.*s", i > 0 ? " " : "",
			  SLICE_ARG(decision->signers[i].domain),
			  SLICE_ARG(decision->signers[i].selector->name),
			  decision->signers[i].identity.len > 0 ? "=" : "",
			  SLICE_ARG(decision->signers[i].identity));
}

static const struct {
	const char *name, *from, *signers, *reason;
} signer_rows[] = {
	{"no pattern fits", "a@example.com",
	 "example.com/main esp.example/esp",
	 "is signed with 1 selector: main; also by esp.example with 1 "
	 "selector: esp"},
	{"the one that fits is retired", "old@example.com",
	 "example.com/main esp.example/esp", "with 1 selector: main"},
	{"a domain", "a@news.example.com",
	 "example.com/news esp.example/esp",
	 "with 1 selector for this sender: news"},
	{"a part of the local part", "News-1@example.com",
	 "example.com/news esp.example/esp", "news"},
	{"quoted", "\"news-x y\"@example.com",
	 "example.com/news esp.example/esp", "news"},
	{"quoted with quotes in it", "\"news-\\\"\"@example.com",
	 "example.com/news esp.example/esp", "news"},
	{"folded around dots", "news- . a @ example.com",
	 "example.com/news esp.example/esp", "news"},
	{"in a display name it is nobody", "news-1 <a@example.com>",
	 "example.com/main esp.example/esp", "main"},
	{"both patterns", "root@news.example.com",
	 "example.com/news example.com/alerts esp.example/esp",
	 "with 2 selectors for this sender: news, alerts"},
	{"all addresses", "a@news.example.com, b@news.example.com",
	 "example.com/news esp.example/esp", "news"},
	{"not all addresses", "a@news.example.com, b@example.com",
	 "example.com/main esp.example/esp", "main"},
	{"one of both, each", "root@x.example.com, news-1@example.com",
	 "example.com/main esp.example/esp", "main"},
	{"for nobody else", "news@only.example",
	 "only.example/news=@only.example", "news"},
	{"nobody", "a@only.example", "",
	 "no active selector of only.example is for this sender"},
	{"the other one alone", "a@lent.example", "esp.example/esp",
	 "the From domain lent.example is signed by esp.example with 1"},
	{"default", "a@shop.example.net", "shop.example.net/any",
	 "by the section \"*\" with 1 selector: any"},
	{"default, IDN", "a@b\xc3\xbc" "cher.example.net",
	 "xn--bcher-kva.example.net/any", "xn--bcher-kva.example.net"},
	{"default, two of one domain", "a@example.net, b@example.net",
	 "example.net/any", "any"},
	{"default, two domains", "a@example.net, b@example.org", "",
	 "several domain sections, example.net and example.org"},
	{"default and another", "a@example.net, b@example.com", "",
	 "several domain sections, example.net and example.com"},
	{"a literal is no domain", "a@[192.0.2.1]", "",
	 "no domain section matches"},
	{"default, one label", "a@localhost", "localhost/any", "any"},
};

Test(policy, signers)
{
	CLEAN(policy_unref_clean) struct policy *policy =
		sections_policy(EXISTING_KEEP);

	for (size_t i = 0; i < COUNT(signer_rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		CLEAN(text_done) struct text signers = {0};
		struct header_facts facts = {
			.from_count = 1, .from = SLICE(signer_rows[i].from)};
		struct decision decision;

		policy_decide(policy, &facts, &arena, &decision);
		signers_write(&decision, &signers);
		cr_expect_str_eq(text_string(&signers), signer_rows[i].signers,
				 "%s", signer_rows[i].name);
		cr_expect(contains(decision.reason, signer_rows[i].reason),
			  "%s: '%.*s'", signer_rows[i].name,
			  SLICE_ARG(decision.reason));
	}
}

/* What DNS cannot hold is not signed, and said. */
Test(policy, a_domain_that_is_too_long)
{
	CLEAN(policy_unref_clean) struct policy *policy =
		sections_policy(EXISTING_KEEP);
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(text_done) struct text from = {0};
	struct header_facts facts = {.from_count = 1};
	struct decision decision;

	text_add_string(&from, "a@");
	for (size_t i = 0; i < 62; i++)
		text_add_string(&from, "abc.");
	text_add_string(&from, "de");
	facts.from = text_slice(&from);
	policy_decide(policy, &facts, &arena, &decision);
	cr_expect_eq(decision.verdict, VERDICT_RELAY);
	cr_expect(contains(decision.reason, "cannot be signed"), "%.*s",
		  SLICE_ARG(decision.reason));
}

static const struct {
	const char *name;
	enum existing_action action;
	const char *from, *signed_by;
	enum verdict verdict;
	bool strips;
} existing_rows[] = {
	{"keep", EXISTING_KEEP, "a@example.com", "example.com", VERDICT_SIGN,
	 false},
	{"strip", EXISTING_STRIP, "a@example.com", "example.com", VERDICT_SIGN,
	 true},
	{"skip", EXISTING_SKIP, "a@example.com", "example.com", VERDICT_RELAY,
	 false},
	{"skip, by the other one", EXISTING_SKIP, "a@example.com",
	 "esp.example", VERDICT_RELAY, false},
	{"skip, by a stranger", EXISTING_SKIP, "a@example.com", "example.net",
	 VERDICT_SIGN, false},
	{"strip, by a stranger", EXISTING_STRIP, "a@example.com",
	 "example.net", VERDICT_SIGN, false},
	{"a parent is a stranger", EXISTING_SKIP, "a@shop.example.net",
	 "example.net", VERDICT_SIGN, false},
	{"default", EXISTING_SKIP, "a@shop.example.net", "shop.example.net",
	 VERDICT_RELAY, false},
};

/* It is signed by whom it is to be signed, though not by us. */
Test(policy, what_is_signed_already_is_not_rejected)
{
	static const enum key_algorithm kinds[STAGE_SELECTORS_MAX] = {0};
	struct keys_options keys = {.domains = sections,
				    .domains_count = COUNT(sections)};
	struct signing_options options = {.existing_action = EXISTING_SKIP,
					  .unsigned_action = UNSIGNED_REJECT};
	CLEAN(policy_unref_clean) struct policy *policy =
		stage_policy_of(&keys, kinds, &options);
	CLEAN(arena_done) struct arena arena = {0};
	struct slice signed_by = SLICE("example.com");
	struct header_facts facts = {.from_count = 1,
				     .from = SLICE("a@example.com"),
				     .signed_domains = &signed_by,
				     .signed_count = 1};
	struct decision decision;

	policy_decide(policy, &facts, &arena, &decision);
	cr_expect_eq(decision.verdict, VERDICT_RELAY);
	cr_expect(contains(decision.reason,
			   "carries a signature of example.com already"));
}

Test(policy, a_signature_that_is_there_already)
{
	for (size_t i = 0; i < COUNT(existing_rows); i++) {
		CLEAN(policy_unref_clean) struct policy *policy =
			sections_policy(existing_rows[i].action);
		CLEAN(arena_done) struct arena arena = {0};
		struct slice signed_by = SLICE(existing_rows[i].signed_by);
		struct header_facts facts = {
			.from_count = 1, .from = SLICE(existing_rows[i].from),
			.signed_domains = &signed_by, .signed_count = 1};
		struct decision decision;

		policy_decide(policy, &facts, &arena, &decision);
		cr_expect_eq(decision.verdict, existing_rows[i].verdict, "%s",
			     existing_rows[i].name);
		cr_expect_eq(decision.strips, existing_rows[i].strips, "%s",
			     existing_rows[i].name);
	}
}

/* ---- sender sections ---- */

#define SIGN(...) ((struct sender_sign[]){__VA_ARGS__})
#define DOMAIN(name) {.domain = SLICE_LITERAL(name)}
#define KEY(selector_name, name) \
	{SLICE_LITERAL(selector_name), SLICE_LITERAL(name)}

/* Over the sections above. */
static struct sender_options senders[] = {
	{SLICE_LITERAL("ceo@example.com"), SIGN(KEY("esp", "esp.example")), 1,
	 SLICE_LITERAL("boss@esp.example"), 0, NULL},
	{SLICE_LITERAL("root@*"), NULL, 0, {0}, 0, NULL},
	{SLICE_LITERAL("*@*.example.com"), SIGN(DOMAIN("example.com")), 1,
	 SLICE_LITERAL("@*"), 0, NULL},
	{SLICE_LITERAL("both-*@Example.net"),
	 SIGN(KEY("any", "*"), DOMAIN("esp.example")), 2,
	 SLICE_LITERAL("@esp.example"), 0, NULL},
	{SLICE_LITERAL("*-x@example.net"), SIGN(KEY("MAIN", "example.com")), 1,
	 {0}, 0, NULL},
	{SLICE_LITERAL("twice@esp.example"),
	 SIGN(KEY("any", "*"), DOMAIN("esp.example"), KEY("esp", "esp.example"),
	      KEY("esp", "*")), 4, {0}, 0, NULL},
	{SLICE_LITERAL("idle@example.org"), SIGN(KEY("next", "example.com")),
	 1, {0}, 0, NULL},
	{SLICE_LITERAL("news@only.example"), SIGN(DOMAIN("only.example")), 1,
	 {0}, 0, NULL},
	{SLICE_LITERAL("a@only.example"), SIGN(DOMAIN("only.example")), 1,
	 {0}, 0, NULL},
	{SLICE_LITERAL("pair@only.example"),
	 SIGN(KEY("esp", "*"), KEY("esp", "esp.example")), 2, {0}, 0, NULL},
	{SLICE_LITERAL("own-*@*"), SIGN(KEY("any", "*")), 1, {0}, 0, NULL},
};

static const struct {
	const char *name;
	enum sender_match match;
	const char *from, *signers, *reason;
} sender_rows[] = {
	{"none matches", SENDER_MATCH_FIRST, "a@example.com",
	 "example.com/main esp.example/esp", "the From domain example.com"},
	{"one key of another domain", SENDER_MATCH_FIRST, "CEO@example.com",
	 "esp.example/esp=boss@esp.example",
	 "the sender section \"ceo@example.com\" has it signed by esp.example "
	 "with 1 selector: esp"},
	{"nobody", SENDER_MATCH_FIRST, "root@example.com", "",
	 "the sender section \"root@*\" leaves it unsigned"},
	{"the first alone", SENDER_MATCH_FIRST, "root@a.example.com", "",
	 "leaves it unsigned"},
	{"all", SENDER_MATCH_ALL, "root@a.example.com",
	 "example.com/alerts=@a.example.com",
	 "sender sections \"root@*\" and \"*@*.example.com\" have it"},
	{"as its section has it", SENDER_MATCH_FIRST, "a@b.example.com",
	 "example.com/main=@b.example.com", "with 1 selector: main"},
	{"of two domains", SENDER_MATCH_FIRST, "both-x@example.net",
	 "example.net/any esp.example/esp=@esp.example",
	 "by example.net with 1 selector: any; also by esp.example with"},
	{"of two sections", SENDER_MATCH_ALL, "both-x@EXAMPLE.NET",
	 "example.net/any esp.example/esp=@esp.example example.com/main",
	 "\"both-*@Example.net\" and \"*-x@example.net\" have it signed"},
	{"the second of a domain", SENDER_MATCH_FIRST, "a-x@example.net",
	 "example.com/main", "\"*-x@example.net\""},
	{"by two sections", SENDER_MATCH_FIRST, "twice@esp.example",
	 "esp.example/any esp.example/esp", "with 2 selectors: any, esp"},
	{"selectors of one name, of two domains", SENDER_MATCH_FIRST,
	 "pair@only.example", "only.example/esp esp.example/esp",
	 "with 1 selector for this sender: esp; also by esp.example with"},
	{"not active", SENDER_MATCH_FIRST, "idle@example.org", "",
	 "\"idle@example.org\" names no active selector"},
	{"for this sender", SENDER_MATCH_FIRST, "news@only.example",
	 "only.example/news=@only.example", "news"},
	{"not for this sender", SENDER_MATCH_FIRST, "a@only.example", "",
	 "names no active selector for this sender"},
	{"two of one", SENDER_MATCH_FIRST, "a@b.example.com, c@d.example.com",
	 "example.com/main=@b.example.com", "main"},
	{"two of two", SENDER_MATCH_FIRST, "a@b.example.com, ceo@example.com",
	 "", "different sender sections"},
	{"the second of one", SENDER_MATCH_FIRST,
	 "a@example.com, ceo@example.com", "", "different sender sections"},
	{"the first of one", SENDER_MATCH_ALL,
	 "root@a.example.com, a@a.example.com", "",
	 "different sender sections"},
	{"the first of both, and no more", SENDER_MATCH_FIRST,
	 "both-x@example.net, both-y@example.net",
	 "example.net/any esp.example/esp=@esp.example",
	 "the sender section \"both-*@Example.net\""},
	{"the first of both, and others", SENDER_MATCH_ALL,
	 "both-x@example.net, both-y@example.net", "",
	 "different sender sections"},
	{"two of one domain, as their own", SENDER_MATCH_FIRST,
	 "own-a@example.net, own-b@example.net", "example.net/any", "any"},
	{"two of two domains, as their own", SENDER_MATCH_FIRST,
	 "own-a@example.net, own-b@example.org", "",
	 "addresses of different domains"},
	{"no From", SENDER_MATCH_FIRST, "", "", "names no address"},
};

Test(policy, senders)
{
	static const enum key_algorithm kinds[STAGE_SELECTORS_MAX] = {0};
	struct keys_options keys = {.domains = sections,
				    .domains_count = COUNT(sections)};

	for (size_t i = 0; i < COUNT(sender_rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		CLEAN(text_done) struct text signers = {0};
		struct signing_options options = {
			.domains = sections_signing,
			.senders = senders,
			.senders_count = COUNT(senders),
			.sender_match = sender_rows[i].match};
		CLEAN(policy_unref_clean) struct policy *policy =
			stage_policy_of(&keys, kinds, &options);
		struct header_facts facts = {
			.from_count = 1, .from = SLICE(sender_rows[i].from)};
		struct decision decision;

		policy_decide(policy, &facts, &arena, &decision);
		signers_write(&decision, &signers);
		cr_expect_str_eq(text_string(&signers), sender_rows[i].signers,
				 "%s", sender_rows[i].name);
		cr_expect(contains(decision.reason, sender_rows[i].reason),
			  "%s: '%.*s'", sender_rows[i].name,
			  SLICE_ARG(decision.reason));
		cr_expect(decision.senders_count == 0 ||
			  decision.domain == NULL);
	}
}

/* However many match, at most POLICY_SIGNERS_MAX sign. */
Test(policy, many_senders)
{
	static const enum key_algorithm kinds[STAGE_SELECTORS_MAX] = {0};
	static const char *const names = "abcdefghijklmnopqrst";
	struct selector_options selectors[STAGE_SELECTORS_MAX] = {0};
	struct domain_options domain = {.name = SLICE("example.com"),
					.selectors = selectors,
					.selectors_count = COUNT(selectors)};
	struct keys_options keys = {.domains = &domain, .domains_count = 1};
	struct sender_sign signs[STAGE_SELECTORS_MAX];
	struct sender_options many[SENDERS_USED_MAX + 1];
	struct signing_options options = {.senders = many,
					  .senders_count = COUNT(many),
					  .sender_match = SENDER_MATCH_ALL};
	CLEAN(policy_unref_clean) struct policy *policy = NULL;
	CLEAN(arena_done) struct arena arena = {0};
	struct header_facts facts = {.from_count = 1,
				     .from = SLICE("a@example.com")};
	struct decision decision;

	static_assert(STAGE_SELECTORS_MAX > POLICY_SIGNERS_MAX, "more");
	for (size_t i = 0; i < COUNT(signs); i++) {
		selectors[i].name = slice_of(names + i, 1);
		signs[i] = (struct sender_sign){selectors[i].name, domain.name};
	}
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = (struct sender_options){
			.pattern = i % 2 ? SLICE("*@*") : SLICE("*@example.com"),
			.sign = &signs[i % COUNT(signs)],
			.sign_count = 1};
	policy = stage_policy_of(&keys, kinds, &options);
	policy_decide(policy, &facts, &arena, &decision);
	cr_expect_eq(decision.signers_count, POLICY_SIGNERS_MAX);
	cr_expect_eq(decision.senders_count, SENDERS_USED_MAX);
	cr_expect(slice_eq(decision.signers[1].selector->name, SLICE("b")));
}
