#include <criterion/criterion.h>
#include <stdio.h>

#include "base/base64.h"
#include "keys/key.h"
#include "tests/unit/keys/files.h"

static const struct {
	const char *vector, *algorithm;
	unsigned bits;
} good_rows[] = {
	{"rfc8463-rsa.pem", "rsa-sha256", 1024},
	{"rfc8463-ed25519.pem", "ed25519-sha256", 256},
	{"rsa2048.pem", "rsa-sha256", 2048},
	{"rsa2048-pkcs1.pem", "rsa-sha256", 2048},
	{"with-certificate.pem", "rsa-sha256", 2048},
	{"crlf.pem", "ed25519-sha256", 256},
};

static struct key *
load(const char *vector)
{
	CLEAN(secret_cleanse) struct text pem = {0};
	struct key *key = NULL;
	struct fault fault = {0};

	vector_read(vector, &pem);
	cr_assert(key_read(text_slice(&pem), &key, &fault), "%s: %s", vector,
		  fault.text);
	return key;
}

Test(key, reads_what_signs)
{
	for (size_t i = 0; i < COUNT(good_rows); i++) {
		CLEAN(key_free_clean) struct key *key =
			load(good_rows[i].vector);
		CLEAN(key_public_free_clean) struct key_public *public =
			key_public_of(key);

		cr_expect_str_eq(
			key_algorithm_name(key_public_algorithm(public)),
			good_rows[i].algorithm, "%s", good_rows[i].vector);
		cr_expect(key_public_algorithm(public) != KEY_RSA_SHA256 ||
				  key_public_bits(public) == good_rows[i].bits,
			  "%s", good_rows[i].vector);
	}
}

static const struct {
	const char *vector, *says;
} bad_rows[] = {
	{"rsa512.pem", "RSA key of 512 bits; at least 1024"},
	{"rsa768.pem", "RSA key of 768 bits; at least 1024"},
	{"rsa1023.pem", "RSA key of 1023 bits; at least 1024"},
	{"ec.pem", "key of kind EC; only RSA and Ed25519"},
	{"ec-sec1.pem", "key of kind EC; only RSA and Ed25519"},
	{"ed448.pem", "key of kind ED448; only RSA and Ed25519"},
	{"x25519.pem", "key of kind X25519; only RSA and Ed25519"},
	{"rsa-pss.pem", "key of kind RSA-PSS; only RSA and Ed25519"},
	{"encrypted-pkcs8.pem", "the key is encrypted"},
	{"encrypted-pkcs1.pem", "the key is encrypted"},
	{"openssh.pem", "OpenSSH's own format"},
	{"public.pem", "holds no private key"},
	{"two-keys.pem", "more than one private key"},
	{"cut.pem", "damaged PEM"},
	{"der.pem", "not a PEM file"},
	{"damaged-numbers.pem", "damaged"},
	{"exponent-one.pem", "public exponent"},
	{"exponent-even.pem", "public exponent"},
	{"README", "not a PEM file"},
};

Test(key, refuses_by_name)
{
	for (size_t i = 0; i < COUNT(bad_rows); i++) {
		CLEAN(secret_cleanse) struct text pem = {0};
		struct key *key = NULL;
		struct fault fault = {0};

		vector_read(bad_rows[i].vector, &pem);
		cr_expect_not(key_read(text_slice(&pem), &key, &fault), "%s",
			      bad_rows[i].vector);
		cr_expect_not_null(strstr(fault.text, bad_rows[i].says),
				   "%s: %s", bad_rows[i].vector, fault.text);
		cr_expect_eq(fault.kind, FAULT_INPUT, "%s",
			     bad_rows[i].vector);
		cr_expect_null(key);
	}
}

/* As editors and terminals leave it; openssl(1) reads it, too. */
Test(key, takes_white_space_at_the_ends_of_lines)
{
	static const char *const ends[] = {" \n", " \t\r\n"};
	CLEAN(secret_cleanse) struct text pem = {0};

	vector_read("rsa2048.pem", &pem);
	for (size_t i = 0; i < COUNT(ends); i++) {
		CLEAN(secret_cleanse) struct text changed = {0};
		CLEAN(key_free_clean) struct key *key = NULL;
		struct slice rest = text_slice(&pem), line;
		struct fault fault = {0};

		while (slice_split(&rest, '\n', &line)) {
			text_add(&changed, line);
			text_add_string(&changed, ends[i]);
		}
		cr_expect(key_read(text_slice(&changed), &key, &fault),
			  "%zu: %s", i, fault.text);
	}
}

static const struct {
	const char *name, *pem, *says;
} text_rows[] = {
	{"nothing", "", "the file is empty"},
	{"words", "secret", "not a PEM file"},
	{"empty block",
	 "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", ""},
	{"not base64",
	 "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
	 "damaged PEM"},
	{"not DER",
	 "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	 "damaged PKCS#8"},
	{"not PKCS#1",
	 "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"
	 "-----END RSA PRIVATE KEY-----\n",
	 "damaged PKCS#1"},
	{"something else",
	 "-----BEGIN PGP MESSAGE-----\nAAAA\n-----END PGP MESSAGE-----\n",
	 "another kind"},
};

Test(key, refuses_texts)
{
	for (size_t i = 0; i < COUNT(text_rows); i++) {
		struct key *key = NULL;
		struct fault fault = {0};

		cr_expect_not(key_read(SLICE(text_rows[i].pem), &key, &fault),
			      "%s", text_rows[i].name);
		cr_expect_not_null(strstr(fault.text, text_rows[i].says),
				   "%s: %s", text_rows[i].name, fault.text);
	}
}

Test(key, refuses_a_file_that_is_too_long)
{
	CLEAN(text_done) struct text long_text = {0};
	struct key *key = NULL;
	struct fault fault = {0};

	for (size_t i = 0; i <= KEY_FILE_MAX; i++)
		text_add_byte(&long_text, '\n');
	cr_expect_not(key_read(text_slice(&long_text), &key, &fault));
	cr_expect_not_null(strstr(fault.text, "longer than"), "%s",
			   fault.text);
}

/* RFC 8463 A.3 for the digests of its message; the last was made by hand, as
 * m^d mod n. Both algorithms are deterministic. */
static const struct {
	const char *vector, *digest, *signature;
} answers[] = {
	{"rfc8463-ed25519.pem",
	 "48ce9a2c710ece1710ff156996b836a7f45470e43efe5643074d6e1690ed62e7",
	 "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7"
	 "ZbnKELq+eXdp1Q1Dw=="},
	{"rfc8463-rsa.pem",
	 "fed71e6d70fb123bb5c353adc42821b304b6b9d54fc867f304f7c61daaaa1111",
	 "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4Bw"
	 "cVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1W"
	 "O//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8="},
	{"rsa2048.pem",
	 "c7ee82e5fcc4622325b3da515228d3546756e103bb615226e22034f02618d532",
	 "MOCMJvYITIYsAfP9bYOltP7DOuy8a+QjeVqVDXbtm4NHnQ1QTmjZtDv8zDF1N3ikPgqzn"
	 "h/Rnx9IL3aMaHr40zV7UlLC5eJfPUDYofGbmzBT7O2Mfg4uRckCDlLQrnGZ3NcyMhEchL"
	 "gQyKpcerbfqpHszIjsSiw/uLiYY64Kw6LpJpX8DywaWuVjZqGG4NLF6D5P54Cq+3mgjmv"
	 "ylNDSTqHVq5YAKTo9So5r1Q+ppg9+Bfm65s4qKRu+M7LOTo2udd7jCeEZ9UCf8jb4FfMl"
	 "xxbcJ08nOSU6PYp833ERFKCUQIIsTCqgArEh8YKI+VOOblY5cjehI15Fbv7PJiJb0A=="},
};

static void
digest_read(const char *hex, uint8_t digest[KEY_DIGEST_SIZE])
{
	for (size_t i = 0; i < KEY_DIGEST_SIZE; i++) {
		unsigned byte;

		cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
		digest[i] = (uint8_t)byte;
	}
}

Test(key, signs_as_the_vectors_do)
{
	for (size_t i = 0; i < COUNT(answers); i++) {
		CLEAN(key_free_clean) struct key *first =
			load(answers[i].vector);
		CLEAN(key_free_clean) struct key *key = key_dup(first);
		CLEAN(key_public_free_clean) struct key_public *public =
			key_public_of(key);
		uint8_t digest[KEY_DIGEST_SIZE], signature[KEY_SIGNATURE_MAX];
		size_t len = 0;

		digest_read(answers[i].digest, digest);
		for (int again = 0; again < 3; again++) {
			CLEAN(text_done) struct text encoded = {0};

			cr_assert(key_sign(key, digest, signature, &len, NULL));
			base64_write(&encoded, slice_of(signature, len));
			cr_expect_str_eq(text_string(&encoded),
					 answers[i].signature, "%s",
					 answers[i].vector);
		}
		cr_expect(key_public_verify(public, digest,
					    slice_of(signature, len)));
		signature[3] ^= 1;
		cr_expect_not(key_public_verify(public, digest,
						slice_of(signature, len)));
		signature[3] ^= 1;
		digest[31] ^= 1;
		cr_expect_not(key_public_verify(public, digest,
						slice_of(signature, len)));
		cr_expect_not(key_public_verify(public, digest, SLICE_NONE));
		cr_expect_not(key_public_verify(public, digest,
						slice_of(signature, len - 1)));
	}
}

Test(key, public_halves_come_back_with_the_same_id)
{
	for (size_t i = 0; i < COUNT(good_rows); i++) {
		CLEAN(key_free_clean) struct key *key =
			load(good_rows[i].vector);
		CLEAN(key_public_free_clean) struct key_public *public =
			key_public_of(key);
		CLEAN(key_public_free_clean) struct key_public *again = NULL;

		cr_assert(key_public_read(key_public_algorithm(public),
					  key_public_record(public), &again,
					  NULL));
		cr_expect(key_id_eq(key_public_id(public),
				    key_public_id(again)));
		cr_expect(slice_eq(key_public_der(public),
				   key_public_der(again)));
	}
}

Test(key, a_bare_pkcs1_public_key_is_taken)
{
	CLEAN(key_free_clean) struct key *key = load("rfc8463-rsa.pem");
	CLEAN(key_public_free_clean) struct key_public *public =
		key_public_of(key);
	CLEAN(key_public_free_clean) struct key_public *bare = NULL;
	/* SubjectPublicKeyInfo of RSA 1024 begins with 22 bytes of its own. */
	struct slice pkcs1 = slice_from(key_public_der(public), 22);

	cr_assert(key_public_read(KEY_RSA_SHA256, pkcs1, &bare, NULL));
	cr_expect(key_id_eq(key_public_id(public), key_public_id(bare)));
}

Test(key, wrong_public_halves_are_refused)
{
	CLEAN(key_free_clean) struct key *key = load("rfc8463-rsa.pem");
	CLEAN(key_public_free_clean) struct key_public *public =
		key_public_of(key);
	struct slice der = key_public_der(public);
	struct key_public *none = NULL;
	CLEAN(text_done) struct text more = {0};

	text_add(&more, der);
	text_add_byte(&more, 'x');
	cr_expect_not(key_public_read(KEY_RSA_SHA256, text_slice(&more), &none,
				      NULL));
	for (size_t len = 0; len < der.len; len++)
		cr_expect_not(key_public_read(KEY_RSA_SHA256,
					      slice_sub(der, 0, len), &none,
					      NULL));
	cr_expect_not(key_public_read(KEY_ED25519_SHA256, der, &none, NULL));
	cr_expect_not(key_public_read(KEY_ED25519_SHA256,
				      slice_sub(der, 0, 31), &none, NULL));
	cr_expect_null(none);
}

static const struct {
	enum key_algorithm algorithm;
	unsigned bits;
} generate_rows[] = {
	{KEY_RSA_SHA256, 1024},
	{KEY_RSA_SHA256, 2048},
	{KEY_ED25519_SHA256, 0},
};

Test(key, made_keys_read_back)
{
	for (size_t i = 0; i < COUNT(generate_rows); i++) {
		CLEAN(key_free_clean) struct key *key = NULL, *again = NULL;
		CLEAN(secret_cleanse) struct text pem = {0};
		CLEAN(key_public_free_clean) struct key_public *a = NULL;
		CLEAN(key_public_free_clean) struct key_public *b = NULL;

		cr_assert(key_generate(generate_rows[i].algorithm,
				       generate_rows[i].bits, &key, NULL));
		cr_assert(key_write(key, &pem, NULL));
		cr_expect(slice_starts(text_slice(&pem),
				       SLICE("-----BEGIN PRIVATE KEY-----\n")));
		cr_assert(key_read(text_slice(&pem), &again, NULL));
		a = key_public_of(key);
		b = key_public_of(again);
		cr_expect(key_id_eq(key_public_id(a), key_public_id(b)));
	}
}

Test(key, sizes_are_bounded)
{
	struct key *key = NULL;

	cr_expect_not(key_generate(KEY_RSA_SHA256, 1023, &key, NULL));
	cr_expect_not(key_generate(KEY_RSA_SHA256, 8193, &key, NULL));
}

static const struct advice_row {
	enum key_algorithm algorithm;
	unsigned bits;
	const char *said; /* NULL: nothing */
} advice_rows[] = {
	{ KEY_RSA_SHA256, 2047, "RSA key of 2047 bits; 2048 are advised" },
	{ KEY_RSA_SHA256, 2048, NULL },
	{ KEY_RSA_SHA256, 4096, NULL },
	{ KEY_RSA_SHA256, 4097, "RSA key of 4097 bits; receivers need not "
				"verify more than 4096 (RFC 8301 3.2)" },
	{ KEY_ED25519_SHA256, 256, NULL },
};

Test(key, advises_on_its_size)
{
	for (size_t i = 0; i < COUNT(advice_rows); i++) {
		const struct advice_row *row = &advice_rows[i];
		struct fault said = {0};

		cr_expect_eq(key_bits_advise(row->algorithm, row->bits, &said),
			     row->said != NULL, "%u", row->bits);
		if (row->said != NULL)
			cr_expect(slice_starts(SLICE(said.text),
					       SLICE(row->said)),
				  "%s", said.text);
	}
}
