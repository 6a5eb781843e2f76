#include <criterion/criterion.h>

#include "keys/keyring.h"
#include "tests/unit/keys/files.h"

static struct selector_options one[] = {
	{.name = SLICE_LITERAL("2026a")},
	{.name = SLICE_LITERAL("2026E"), .state = SELECTOR_PUBLISH},
};

static struct domain_options domains[] = {
	{SLICE_LITERAL("example.org"), .subdomains = true, one, 2, 1, "f"},
	{SLICE_LITERAL("Example.COM"), .subdomains = false, one, 1, 1, "f"},
	{SLICE_LITERAL("mail.example.org"), .subdomains = false, one, 1, 1,
	 "f"},
	{SLICE_LITERAL("deep.lists.example.org"), .subdomains = true, one, 1,
	 1, "f"},
	{SLICE_LITERAL("example.net"), .subdomains = true, NULL, 0, 1, "f"},
};

static const struct keys_options options = {
	.domains = domains,
	.domains_count = COUNT(domains),
};

static struct keyring *
make(void)
{
	CLEAN(secret_cleanse) struct text pem = {0};
	CLEAN(key_free_clean) struct key *key = NULL;
	struct key_public *publics[5];

	vector_read("rfc8463-ed25519.pem", &pem);
	cr_assert(key_read(text_slice(&pem), &key, NULL));
	for (size_t i = 0; i < COUNT(publics); i++)
		publics[i] = key_public_of(key);
	return keyring_new(&options, publics, COUNT(publics));
}

static const struct {
	const char *name, *section;
} rows[] = {
	{"example.com", "example.com"},
	{"EXAMPLE.com", "example.com"},
	{"www.example.com", NULL},
	{"example.org", "example.org"},
	{"www.example.org", "example.org"},
	{"a.b.c.example.org", "example.org"},
	{"A.B.Example.ORG", "example.org"},
	{"mail.example.org", "mail.example.org"},
	/* the closest one that takes subdomains, not the closest */
	{"a.mail.example.org", "example.org"},
	{"deep.lists.example.org", "deep.lists.example.org"},
	{"a.deep.lists.example.org", "deep.lists.example.org"},
	{"b.lists.example.org", "example.org"},
	{"adeep.lists.example.org", "example.org"},
	{"org", NULL},
	{"", NULL},
	{".", NULL},
	{".example.org", "example.org"},
	{"example.org.", NULL},
	{"example.net", "example.net"},
};

Test(keyring, finds_the_section)
{
	CLEAN(keyring_unref_clean) struct keyring *keyring = make();

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct keyring_domain *domain =
			keyring_find(keyring, SLICE(rows[i].name));

		if (rows[i].section == NULL)
			cr_expect_null(domain, "%s", rows[i].name);
		else
			cr_expect(domain != NULL &&
					  slice_eq(domain->name,
						   SLICE(rows[i].section)),
				  "%s", rows[i].name);
	}
	cr_expect_null(keyring_find(keyring, SLICE_NONE));
}

Test(keyring, keeps_order_names_and_states)
{
	CLEAN(keyring_unref_clean) struct keyring *keyring = make();
	const struct keyring_domain *domain = keyring_domain_at(keyring, 0);

	cr_expect_eq(keyring_domains_count(keyring), COUNT(domains));
	cr_expect_eq(domain->selectors_count, 2);
	cr_expect(slice_eq(domain->selectors[1].name, SLICE("2026E")));
	cr_expect_eq(domain->selectors[0].state, SELECTOR_ACTIVE);
	cr_expect_eq(domain->selectors[1].state, SELECTOR_PUBLISH);
	cr_expect(slice_eq(keyring_domain_at(keyring, 1)->name,
			   SLICE("example.com")));
}

Test(keyring, lives_as_long_as_it_is_held)
{
	struct keyring *keyring = make();
	struct keyring *held = keyring_ref(keyring);

	keyring_unref(keyring);
	cr_expect_not_null(keyring_find(held, SLICE("example.com")));
	keyring_unref(held);
	keyring_unref(NULL);
}

Test(keyring, empty)
{
	static const struct keys_options none = {0};
	CLEAN(keyring_unref_clean) struct keyring *keyring =
		keyring_new(&none, NULL, 0);
	CLEAN(keyring_unref_clean) struct keyring *again = NULL;
	CLEAN(text_done) struct text bytes = {0};

	cr_expect_null(keyring_find(keyring, SLICE("example.com")));
	keyring_write_publics(keyring, &bytes);
	cr_expect(keyring_read_publics(&none, text_slice(&bytes), &again,
				       NULL));
}

Test(keyring, goes_over_whole_or_not_at_all)
{
	CLEAN(keyring_unref_clean) struct keyring *keyring = make();
	CLEAN(keyring_unref_clean) struct keyring *again = NULL;
	struct keyring *none = NULL;
	struct keys_options fewer = options;
	CLEAN(text_done) struct text bytes = {0};
	struct fault fault = {0};

	keyring_write_publics(keyring, &bytes);
	cr_assert(keyring_read_publics(&options, text_slice(&bytes), &again,
				       &fault),
		  "%s", fault.text);
	cr_expect(key_id_eq(
		key_public_id(keyring_domain_at(keyring, 3)->selectors[0].key),
		key_public_id(keyring_domain_at(again, 3)->selectors[0].key)));
	fewer.domains_count--;
	fewer.domains_count--;
	cr_expect_not(keyring_read_publics(&fewer, text_slice(&bytes), &none,
					   NULL));
	for (size_t i = 0; i < bytes.len; i++) {
		cr_expect_not(keyring_read_publics(
			&options, slice_sub(text_slice(&bytes), 0, i), &none,
			NULL));
		bytes.bytes[i] ^= 0x20;
		cr_expect_not(keyring_read_publics(&options,
						   text_slice(&bytes), &none,
						   NULL));
		bytes.bytes[i] ^= 0x20;
	}
	cr_expect_null(none);
}
