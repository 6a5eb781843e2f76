#include <criterion/criterion.h>

#include "keys/key_der.h"

/* A modulus of 64 bits, which is read here; how long it must be is key.c's. */
#define NUMBERS "\x02\x09\x00\xc5\x06\x2b\x58\xd8\x53\x9c\x05\x02\x03\x01\x00\x01"
#define PKCS1 "\x30\x10" NUMBERS
#define RSA "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
#define INFO "\x30\x24" RSA "\x03\x13\x00" PKCS1

static const struct row {
	const char *name;
	struct slice bytes;
	bool is_key;
} rows[] = {
	{"SubjectPublicKeyInfo", SLICE_LITERAL(INFO), true},
	{"RSAPublicKey", SLICE_LITERAL(PKCS1), true},
	{"a length in more octets than it needs",
	 SLICE_LITERAL("\x30\x81\x10" NUMBERS), true},
	{"nothing", SLICE_LITERAL(""), false},
	{"a byte behind", SLICE_LITERAL(INFO "x"), false},
	{"a byte behind the bare one", SLICE_LITERAL(PKCS1 "x"), false},
	{"a byte behind the bits",
	 SLICE_LITERAL("\x30\x25" RSA "\x03\x13\x00" PKCS1 "x"), false},
	{"a third number",
	 SLICE_LITERAL("\x30\x13" NUMBERS "\x02\x01\x03"), false},
	{"one number", SLICE_LITERAL("\x30\x03\x02\x01\x03"), false},
	{"a negative modulus",
	 SLICE_LITERAL("\x30\x08\x02\x01\xc5\x02\x03\x01\x00\x01"), false},
	{"RSASSA-PSS",
	 SLICE_LITERAL("\x30\x22\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01"
		       "\x01\x0a\x03\x13\x00" PKCS1),
	 false},
	{"not a sequence", SLICE_LITERAL("\x31\x10" NUMBERS), false},
	{"cut", SLICE_LITERAL("\x30\x11" NUMBERS), false},
	{"no end of it", SLICE_LITERAL("\x30\x80" NUMBERS "\x00\x00"), false},
};

Test(key_der, read)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text der = {0};
		EVP_PKEY *pkey = key_der_read_rsa(rows[i].bytes, &der);

		cr_expect_eq(pkey != NULL, rows[i].is_key, "%s", rows[i].name);
		if (pkey != NULL)
			cr_expect(slice_eq(text_slice(&der), rows[0].bytes),
				  "%s: DER", rows[i].name);
		EVP_PKEY_free(pkey);
	}
}
