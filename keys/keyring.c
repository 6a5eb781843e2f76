#include "keys/keyring.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"
#include "keys/record.h"

/* What keyring_write_publics() begins with. */
#define PUBLICS_MAGIC "signet publics 1"
#define PUBLICS_MAGIC_SIZE (sizeof(PUBLICS_MAGIC) - 1)

struct keyring {
	atomic_uint references;
	struct arena arena; /* names and tables */
	struct keyring_domain *domains; /* in the order of the options */
	size_t domains_count;
	const struct keyring_domain **by_name; /* sorted */
};

const char *
selector_state_name(enum selector_state state)
{
	static const char *const names[] = {
		[SELECTOR_ACTIVE] = "active",
		[SELECTOR_PUBLISH] = "publish",
		[SELECTOR_RETIRED] = "retired",
	};

	ASSERT(state < COUNT(names));
	return names[state];
}

void
keys_path_write(const struct keys_options *options, struct slice key_path,
		struct text *out)
{
	if (key_path.len == 0 || key_path.bytes[0] != '/') {
		text_add(out, options->keys_dir);
		text_add_byte(out, '/');
	}
	text_add(out, key_path);
}

static int
compare_nocase(struct slice a, struct slice b)
{
	size_t common = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < common; i++) {
		unsigned char left = (unsigned char)ascii_lower(a.bytes[i]);
		unsigned char right = (unsigned char)ascii_lower(b.bytes[i]);

		if (left != right)
			return left < right ? -1 : 1;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

static int
domain_compare(const void *a, const void *b)
{
	const struct keyring_domain *const *left = a, *const *right = b;

	return compare_nocase((*left)->name, (*right)->name);
}

static struct slice
copy_lower(struct arena *arena, struct slice name)
{
	char *copy = arena_new(arena, name.len + 1);

	for (size_t i = 0; i < name.len; i++)
		copy[i] = ascii_lower(name.bytes[i]);
	return slice_of(copy, name.len);
}

static void
patterns_copy(struct arena *arena, const struct selector_options *from,
	      struct keyring_selector *selector)
{
	selector->from_count = from->from_count;
	selector->from = arena_array(arena, from->from_count,
				     sizeof(*selector->from));
	for (size_t i = 0; i < from->from_count; i++)
		selector->from[i] = copy_lower(arena, from->from[i]);
}

/* first: the number of its first selector. */
static void
domain_fill(struct keyring *keyring, struct keyring_domain *domain,
	    const struct domain_options *options, struct key_public **publics,
	    size_t first)
{
	domain->name = copy_lower(&keyring->arena, options->name);
	domain->is_default = slice_eq(options->name, SLICE("*"));
	domain->subdomains = options->subdomains;
	domain->selectors_count = options->selectors_count;
	domain->selectors =
		arena_array(&keyring->arena, options->selectors_count,
			    sizeof(*domain->selectors));
	for (size_t i = 0; i < options->selectors_count; i++) {
		const struct selector_options *from = &options->selectors[i];

		domain->selectors[i] = (struct keyring_selector){
			.name = arena_copy(&keyring->arena, from->name),
			.state = from->state,
			.key = publics[first + i],
			.number = first + i,
		};
		patterns_copy(&keyring->arena, from, &domain->selectors[i]);
	}
}

struct keyring *
keyring_new(const struct keys_options *options, struct key_public **publics,
	    size_t count)
{
	struct keyring *keyring = memory_new(sizeof(*keyring));
	size_t domains_count = options->domains_count, used = 0;

	atomic_init(&keyring->references, 1);
	keyring->domains_count = domains_count;
	keyring->domains = arena_array(&keyring->arena, domains_count,
				       sizeof(*keyring->domains));
	keyring->by_name = arena_array(&keyring->arena, domains_count,
				       sizeof(*keyring->by_name));
	for (size_t i = 0; i < domains_count; i++) {
		const struct domain_options *from = &options->domains[i];

		ASSERT(from->selectors_count <= count - used);
		domain_fill(keyring, &keyring->domains[i], from, publics, used);
		used += from->selectors_count;
		keyring->by_name[i] = &keyring->domains[i];
	}
	ASSERT(used == count);
	if (domains_count > 1)
		qsort(keyring->by_name, domains_count,
		      sizeof(*keyring->by_name), domain_compare);
	return keyring;
}

struct keyring *
keyring_ref(struct keyring *keyring)
{
	unsigned before = atomic_fetch_add_explicit(&keyring->references, 1,
						    memory_order_relaxed);

	ASSERT(before > 0);
	return keyring;
}

void
keyring_unref(struct keyring *keyring)
{
	unsigned before;

	if (keyring == NULL)
		return;
	before = atomic_fetch_sub_explicit(&keyring->references, 1,
					   memory_order_acq_rel);
	ASSERT(before > 0);
	if (before > 1)
		return;
	for (size_t i = 0; i < keyring->domains_count; i++)
		for (size_t j = 0; j < keyring->domains[i].selectors_count; j++)
			key_public_free(keyring->domains[i].selectors[j].key);
	arena_done(&keyring->arena);
	free(keyring);
}

const struct keyring_domain *
keyring_named(const struct keyring *keyring, struct slice name)
{
	size_t from = 0, to = keyring->domains_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		const struct keyring_domain *domain = keyring->by_name[middle];
		int order = compare_nocase(name, domain->name);

		if (order == 0)
			return domain;
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return NULL;
}

const struct keyring_domain *
keyring_find(const struct keyring *keyring, struct slice name)
{
	const struct keyring_domain *domain = keyring_named(keyring, name);
	bool is_name = record_label_check(name); /* no address literal */
	ptrdiff_t dot;

	if (domain != NULL)
		return domain;
	while ((dot = slice_find(name, '.')) >= 0) {
		name = slice_from(name, (size_t)dot + 1);
		domain = keyring_named(keyring, name);
		if (domain != NULL && domain->subdomains)
			return domain;
	}
	return is_name ? keyring_named(keyring, SLICE("*")) : NULL;
}

size_t
keyring_domains_count(const struct keyring *keyring)
{
	return keyring->domains_count;
}

const struct keyring_domain *
keyring_domain_at(const struct keyring *keyring, size_t i)
{
	ASSERT(i < keyring->domains_count);
	return &keyring->domains[i];
}

/* ---- from the supervisor to the relay ---- */

/* Both ends are one program on one machine: numbers in its own order. */
static void
add_number(struct text *out, uint64_t number)
{
	text_add(out, slice_of(&number, sizeof(number)));
}

static bool
take_number(struct slice *rest, uint64_t *number_out)
{
	if (rest->len < sizeof(*number_out))
		return false;
	memcpy(number_out, rest->bytes, sizeof(*number_out));
	*rest = slice_from(*rest, sizeof(*number_out));
	return true;
}

static size_t
options_count(const struct keys_options *options)
{
	size_t count = 0;

	for (size_t i = 0; i < options->domains_count; i++)
		count += options->domains[i].selectors_count;
	return count;
}

static void
add_publics(const struct keyring_domain *domain, struct text *out)
{
	for (size_t i = 0; i < domain->selectors_count; i++) {
		const struct key_public *public = domain->selectors[i].key;
		struct slice record = key_public_record(public);

		add_number(out, (uint64_t)key_public_algorithm(public));
		add_number(out, record.len);
		text_add(out, record);
	}
}

void
keyring_write_publics(const struct keyring *keyring, struct text *out)
{
	size_t start = out->len, count = 0;

	for (size_t i = 0; i < keyring->domains_count; i++)
		count += keyring->domains[i].selectors_count;
	text_add_string(out, PUBLICS_MAGIC);
	add_number(out, count);
	for (size_t i = 0; i < keyring->domains_count; i++)
		add_publics(&keyring->domains[i], out);
	add_number(out, slice_hash(slice_from(text_slice(out), start)));
}

static bool
take_public(struct slice *rest, struct key_public **public_out,
	    struct fault *fault)
{
	uint64_t algorithm, len;

	if (!take_number(rest, &algorithm) || !take_number(rest, &len) ||
	    algorithm > KEY_ED25519_SHA256 || len > rest->len)
		return fault_set(fault, FAULT_INPUT, "damaged public halves");
	if (!key_public_read((enum key_algorithm)algorithm,
			     slice_sub(*rest, 0, (size_t)len), public_out,
			     fault))
		return false;
	*rest = slice_from(*rest, (size_t)len);
	return true;
}

/* Checks magic, checksum and count; what stays in *rest are the keys. */
static bool
publics_open(struct slice bytes, size_t expected, struct slice *rest,
	     struct fault *fault)
{
	struct slice sum_bytes;
	uint64_t sum, count;

	if (bytes.len < PUBLICS_MAGIC_SIZE + 2 * sizeof(sum) ||
	    !slice_starts(bytes, SLICE(PUBLICS_MAGIC)))
		return fault_set(fault, FAULT_INPUT, "not public halves");
	sum_bytes = slice_from(bytes, bytes.len - sizeof(sum));
	bytes.len -= sizeof(sum);
	if (!take_number(&sum_bytes, &sum) || sum != slice_hash(bytes))
		return fault_set(fault, FAULT_INPUT, "damaged public halves");
	*rest = slice_from(bytes, PUBLICS_MAGIC_SIZE);
	if (!take_number(rest, &count) || count != expected)
		return fault_set(fault, FAULT_INPUT, "public halves of "
				 "another configuration");
	return true;
}

bool
keyring_read_publics(const struct keys_options *options, struct slice bytes,
		     struct keyring **keyring_out, struct fault *fault)
{
	size_t expected = options_count(options), count = 0;
	CLEAN(clean_memory) struct key_public **publics =
		memory_array(expected, sizeof(*publics));
	struct slice rest = SLICE_NONE;
	bool ok = publics_open(bytes, expected, &rest, fault);

	while (ok && count < expected) {
		ok = take_public(&rest, &publics[count], fault);
		count += ok;
	}
	if (ok && rest.len > 0)
		ok = fault_set(fault, FAULT_INPUT, "damaged public halves");
	if (!ok) {
		while (count > 0)
			key_public_free(publics[--count]);
		return false;
	}
	*keyring_out = keyring_new(options, publics, count);
	return true;
}
