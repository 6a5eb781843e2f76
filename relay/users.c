#include "relay/users.h"

#include <crypt.h>
#include <stdlib.h>

#include "base/base64.h"

/* crypt(5) */
#define DES_SIZE 13
#define BSDI_SIZE 20

struct users {
	struct text bytes;
	struct user *items; /* by name */
	size_t count;
	bool has[2];        /* by scheme */
};

bool
users_read(struct slice path, bool strict_modes, secret_warn_fn *warn,
	   struct text *bytes_out, struct fault *fault)
{
	return secret_file_read("auth_file", path, USERS_FILE_MAX,
				strict_modes, warn, bytes_out, fault);
}

/* --- one line --- */

static bool
has_control(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.bytes[i] < 0x20 ||
		    text.bytes[i] == 0x7f)
			return true;
	return false;
}

static bool
key_check(struct slice text, size_t size)
{
	CLEAN(text_done) struct text bytes = {0};

	return base64_read(&bytes, text) && bytes.len > 0 &&
	       (size == 0 || bytes.len == size);
}

static bool
scram_parse(struct slice parts, struct user *user, struct fault *fault)
{
	enum { SHA256_SIZE = 32 };
	uint64_t iterations = 0;

	user->scheme = USER_SCRAM;
	if (!slice_split(&parts, ',', &user->iterations) ||
	    !slice_split(&parts, ',', &user->salt) ||
	    !slice_split(&parts, ',', &user->stored_key) ||
	    !slice_split(&parts, ',', &user->server_key) || parts.len > 0 ||
	    !slice_number(user->iterations, &iterations) ||
	    !key_check(user->salt, 0) ||
	    !key_check(user->stored_key, SHA256_SIZE) ||
	    !key_check(user->server_key, SHA256_SIZE))
		return fault_set(fault, FAULT_INPUT,
				 "{SCRAM-SHA-256} takes ITERATIONS,SALT,"
				 "STOREDKEY,SERVERKEY; `signet passwd` writes "
				 "such an entry");
	if (iterations == 0 || iterations > USER_ITERATIONS_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "%llu iterations, from 1 to %d are taken",
				 (unsigned long long)iterations,
				 USER_ITERATIONS_MAX);
	return true;
}

/* To crypt(3) nearly any text is the salt of a DES hash, also a password that
 * somebody wrote there in clear. */
static bool
is_whole(struct slice hash)
{
	if (hash.bytes[0] == '$')
		return true;
	return hash.len == (hash.bytes[0] == '_' ? BSDI_SIZE : DES_SIZE);
}

static bool
crypt_parse(struct slice hash, struct user *user, struct fault *fault)
{
	char setting[USER_HASH_MAX + 1];
	int verdict;

	user->scheme = USER_CRYPT;
	user->hash = hash;
	if (hash.len > 0 && hash.len <= USER_HASH_MAX && is_whole(hash)) {
		memcpy(setting, hash.bytes, hash.len);
		setting[hash.len] = '\0';
		verdict = crypt_checksalt(setting);
		explicit_bzero(setting, sizeof(setting));
		if (verdict != CRYPT_SALT_INVALID &&
		    verdict != CRYPT_SALT_METHOD_DISABLED)
			return true;
	}
	return fault_set(fault, FAULT_INPUT,
			 "what stands behind the colon is no hash that "
			 "crypt(3) knows; `signet passwd` writes such an "
			 "entry");
}

/* Dovecot's names for what crypt(3) tells by itself. */
static bool
is_crypt_scheme(struct slice scheme)
{
	static const char *const names[] = {"CRYPT", "SHA512-CRYPT",
					    "SHA256-CRYPT", "BLF-CRYPT",
					    "MD5-CRYPT", "DES-CRYPT"};

	for (size_t i = 0; i < COUNT(names); i++)
		if (slice_eq_nocase(scheme, SLICE(names[i])))
			return true;
	return false;
}

static bool
hash_parse(struct slice hash, struct user *user, struct fault *fault)
{
	struct slice scheme;
	ptrdiff_t end;

	if (!slice_starts(hash, SLICE("{")))
		return crypt_parse(hash, user, fault);
	end = slice_find(hash, '}');
	if (end < 0)
		return fault_set(fault, FAULT_INPUT,
				 "a scheme that begins with '{' ends with '}'");
	scheme = slice_sub(hash, 1, (size_t)end - 1);
	hash = slice_from(hash, (size_t)end + 1);
	if (slice_eq_nocase(scheme, SLICE("SCRAM-SHA-256")))
		return scram_parse(hash, user, fault);
	if (is_crypt_scheme(scheme))
		return crypt_parse(hash, user, fault);
	return fault_set(fault, FAULT_INPUT,
			 "the scheme is not known; hashes of crypt(3) and "
			 "{SCRAM-SHA-256} are taken, and `signet passwd` "
			 "writes both");
}

static bool
line_parse(struct slice line, struct user *user, struct fault *fault)
{
	struct slice hash;

	*user = (struct user){0};
	if (has_control(line))
		return fault_set(fault, FAULT_INPUT, "a control character");
	if (slice_find(line, ':') < 0)
		return fault_set(fault, FAULT_INPUT,
				 "a line is USER:HASH, and here is no colon");
	if (!slice_split(&line, ':', &user->name) || user->name.len == 0)
		return fault_set(fault, FAULT_INPUT,
				 "a name stands before the colon");
	if (user->name.len > USER_NAME_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "a name of more than %d octets",
				 USER_NAME_MAX);
	if (!slice_split(&line, ':', &hash))
		hash = SLICE_NONE;
	return hash_parse(hash, user, fault) ||
	       fault_within(fault, "user '%.*s'", SLICE_ARG(user->name));
}

/* --- all of them --- */

static size_t
lines_count(struct slice bytes)
{
	struct slice line;
	size_t count = 0;

	while (slice_split(&bytes, '\n', &line))
		count++;
	return count;
}

static int
by_name(const void *a, const void *b)
{
	const struct user *left = a, *right = b;

	return slice_compare(left->name, right->name);
}

static bool
names_check(const struct users *users, struct fault *fault)
{
	for (size_t i = 1; i < users->count; i++)
		if (slice_eq(users->items[i - 1].name, users->items[i].name))
			return fault_set(fault, FAULT_INPUT,
					 "user '%.*s' stands there twice",
					 SLICE_ARG(users->items[i].name));
	return true;
}

static bool
users_parse(struct users *users, struct fault *fault)
{
	struct slice rest = text_slice(&users->bytes), line;
	size_t number = 0;

	while (slice_split(&rest, '\n', &line)) {
		struct user *user = &users->items[users->count];

		number++;
		line = slice_trim(line);
		if (line.len == 0 || line.bytes[0] == '#')
			continue;
		if (!line_parse(line, user, fault))
			return fault_within(fault, "line %zu", number);
		users->has[user->scheme] = true;
		users->count++;
	}
	if (users->count > 0)
		qsort(users->items, users->count, sizeof(*users->items),
		      by_name);
	return names_check(users, fault);
}

bool
users_new(struct slice bytes, struct users **users_out, struct fault *fault)
{
	struct users *users = memory_new(sizeof(*users));

	text_room(&users->bytes, bytes.len);
	text_add(&users->bytes, bytes);
	users->items = memory_array(lines_count(bytes) + 1,
				    sizeof(*users->items));
	if (!users_parse(users, fault)) {
		users_free(users);
		return false;
	}
	*users_out = users;
	return true;
}

void
users_free(struct users *users)
{
	if (users == NULL)
		return;
	secret_cleanse(&users->bytes);
	free(users->items);
	free(users);
}

const struct user *
users_find(const struct users *users, struct slice name)
{
	struct user wanted = {.name = name};

	if (users->count == 0)
		return NULL;
	return bsearch(&wanted, users->items, users->count,
		       sizeof(*users->items), by_name);
}

size_t
users_count(const struct users *users)
{
	return users->count;
}

const struct user *
users_at(const struct users *users, size_t i)
{
	ASSERT(i < users->count);
	return &users->items[i];
}

const struct user *
users_decoy(const struct users *users, uint32_t number)
{
	return users->count > 0 ? &users->items[number % users->count] : NULL;
}

const struct user *
users_decoy_of(const struct users *users, enum user_scheme scheme,
	       uint32_t number)
{
	for (size_t i = 0; i < users->count; i++) {
		const struct user *user =
			&users->items[(number + i) % users->count];

		if (user->scheme == scheme)
			return user;
	}
	return NULL;
}

bool
users_have(const struct users *users, enum user_scheme scheme)
{
	return users->has[scheme];
}

bool
user_has_same_secret(const struct user *a, const struct user *b)
{
	return a->scheme == b->scheme && slice_eq(a->hash, b->hash) &&
	       slice_eq(a->iterations, b->iterations) &&
	       slice_eq(a->salt, b->salt) &&
	       slice_eq(a->stored_key, b->stored_key) &&
	       slice_eq(a->server_key, b->server_key);
}
