#include <criterion/criterion.h>

#include "base/base64.h"

/* RFC 4648 10. */
static const struct {
	const char *plain, *encoded;
} vectors[] = {
	{"", ""},          {"f", "Zg=="},         {"fo", "Zm8="},
	{"foo", "Zm9v"},   {"foob", "Zm9vYg=="},  {"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

Test(base64, vectors)
{
	for (size_t i = 0; i < COUNT(vectors); i++) {
		CLEAN(text_done) struct text encoded = {0}, plain = {0};

		base64_write(&encoded, SLICE(vectors[i].plain));
		cr_expect_str_eq(text_string(&encoded), vectors[i].encoded);
		cr_expect(base64_read(&plain, text_slice(&encoded)));
		cr_expect_str_eq(text_string(&plain), vectors[i].plain);
	}
}

static const struct {
	const char *name, *encoded;
	bool ok;
} read_rows[] = {
	{"folded", "Zm9v\r\n\tYmFy", true},
	{"spaces around the padding", "Zg = =", true},
	{"no padding", "Zg", false},
	{"one of two paddings", "Zg=", false},
	{"three paddings", "Z===", false},
	{"data behind the padding", "Zg==Zg==", false},
	{"bits left over", "Zh==", false},
	{"bits left over in two", "Zm9=", false},
	{"outside the alphabet", "Zm-v", false},
	{"eighth bit", "Zm9\xe4", false},
};

Test(base64, reads_by_the_rules)
{
	for (size_t i = 0; i < COUNT(read_rows); i++) {
		CLEAN(text_done) struct text out = {0};

		text_add_string(&out, "kept");
		cr_expect_eq(base64_read(&out, SLICE(read_rows[i].encoded)),
			     read_rows[i].ok, "%s", read_rows[i].name);
		if (!read_rows[i].ok)
			cr_expect_str_eq(text_string(&out), "kept", "%s",
					 read_rows[i].name);
	}
}

Test(base64, every_length_comes_back)
{
	char bytes[256];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 167);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		CLEAN(text_done) struct text encoded = {0}, plain = {0};

		base64_write(&encoded, slice_of(bytes, len));
		cr_assert(base64_read(&plain, text_slice(&encoded)));
		cr_assert(slice_eq(text_slice(&plain), slice_of(bytes, len)));
	}
}
