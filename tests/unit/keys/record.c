#include <criterion/criterion.h>

#include "keys/record.h"
#include "tests/unit/keys/files.h"

#define P "p=MTIz"

static const struct {
	const char *name, *txt;
	bool ok;
	/* k=, then letters: K known, H sha256, E email, Y testing, S strict,
	 * R revoked */
	const char *read;
} rows[] = {
	{"shortest", P, true, "rsa KHE"},
	{"usual", "v=DKIM1; k=rsa; " P, true, "rsa KHE"},
	{"last semicolon", "v=DKIM1; k=rsa; " P ";", true, "rsa KHE"},
	{"Ed25519", "v=DKIM1; k=ed25519; " P, true, "ed25519 KHE"},
	{"unknown kind", "v=DKIM1; k=dilithium; " P, true, "dilithium HE"},
	{"revoked", "v=DKIM1; p=", true, "rsa KHER"},
	{"revoked with space", "v=DKIM1; p= ; t=s", true, "rsa KHESR"},
	{"other hash only", "v=DKIM1; h=sha1; " P, true, "rsa KE"},
	{"both hashes", "v=DKIM1; h=sha1 : sha256; " P, true, "rsa KHE"},
	{"unknown hash too", "v=DKIM1; h=sha3:sha256; " P, true, "rsa KHE"},
	{"other service", "v=DKIM1; s=chat; " P, true, "rsa KH"},
	{"email", "v=DKIM1; s=chat:email; " P, true, "rsa KHE"},
	{"every service", "v=DKIM1; s=*; " P, true, "rsa KHE"},
	{"flags", "v=DKIM1; t=y:s; " P, true, "rsa KHEYS"},
	{"unknown flags", "v=DKIM1; t=x; " P, true, "rsa KHE"},
	{"unknown tags", "v=DKIM1; zz=1; " P "; g=*", true, "rsa KHE"},
	{"folded p", "v=DKIM1; p=MT\r\n\tIz", true, "rsa KHE"},
	{"no p", "v=DKIM1; k=rsa", false, NULL},
	{"other version", "v=DKIM2; " P, false, NULL},
	{"version in lower case", "v=dkim1; " P, false, NULL},
	{"version not first", P "; v=DKIM1", false, NULL},
	{"p twice", P "; " P, false, NULL},
	{"p not base64", "v=DKIM1; p=M!Iz", false, NULL},
	{"no tag list", "google-site-verification", false, NULL},
	{"SPF", "v=spf1 -all", false, NULL},
	{"empty", "", false, NULL},
};

Test(record, parse)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct record record = {0};
		struct fault fault = {0};
		CLEAN(text_done) struct text read = {0};

		cr_expect_eq(record_parse(SLICE(rows[i].txt), &record, &fault),
			     rows[i].ok, "%s: %s", rows[i].name, fault.text);
		if (!rows[i].ok)
			continue;
		text_addf(&read, "%.*s %s%s%s%s%s%s", SLICE_ARG(record.kind),
			  record.is_known ? "K" : "",
			  record.takes_sha256 ? "H" : "",
			  record.for_email ? "E" : "",
			  record.is_testing ? "Y" : "",
			  record.is_strict ? "S" : "",
			  record.is_revoked ? "R" : "");
		cr_expect_str_eq(text_string(&read), rows[i].read, "%s",
				 rows[i].name);
		if (!record.is_revoked)
			cr_expect_str_eq(text_string(&record.key), "123");
		record_done(&record);
	}
}

static const struct {
	const char *vector, *line;
} zone_rows[] = {
	{"rfc8463-ed25519.pem",
	 "s1._domainkey.example.com. IN TXT \"v=DKIM1; k=ed25519; "
	 "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n"},
	{"rfc8463-rsa.pem",
	 "s1._domainkey.example.com. IN TXT \"v=DKIM1; k=rsa; "
	 "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk"
	 "08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsC"
	 "R+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l"
	 "/K4w3QIDAQAB\"\n"},
};

static struct key_public *
public_load(const char *vector)
{
	CLEAN(secret_cleanse) struct text pem = {0};
	CLEAN(key_free_clean) struct key *key = NULL;

	vector_read(vector, &pem);
	cr_assert(key_read(text_slice(&pem), &key, NULL));
	return key_public_of(key);
}

/* RFC 8463 A.2 has both of these records. */
Test(record, zone)
{
	for (size_t i = 0; i < COUNT(zone_rows); i++) {
		CLEAN(key_public_free_clean) struct key_public *public =
			public_load(zone_rows[i].vector);
		CLEAN(text_done) struct text line = {0};

		record_write_zone(SLICE("s1"), SLICE("example.com"), public,
				  &line);
		cr_expect_str_eq(text_string(&line), zone_rows[i].line);
	}
}

Test(record, strings_have_at_most_255_bytes_and_lose_nothing)
{
	CLEAN(key_public_free_clean) struct key_public *public =
		public_load("rsa2048.pem");
	CLEAN(text_done) struct text line = {0}, whole = {0}, joined = {0};
	struct slice rest, part;
	size_t strings = 0;

	record_write(public, &whole);
	record_write_zone(SLICE("s1"), SLICE("example.com"), public, &line);
	rest = text_slice(&line);
	for (size_t i = 0; slice_split(&rest, '"', &part); i++) {
		if (i % 2 == 0)
			continue;
		cr_expect_leq(part.len, RECORD_STRING_MAX);
		text_add(&joined, part);
		strings++;
	}
	cr_expect_eq(strings, 2);
	cr_expect_str_eq(text_string(&joined), text_string(&whole));
}

Test(record, strings_of_any_text)
{
	static const struct {
		struct slice text;
		const char *strings;
	} string_rows[] = {
		{SLICE_LITERAL(""), ""},
		{SLICE_LITERAL("v=spf1 -all"), " \"v=spf1 -all\""},
		{SLICE_LITERAL("a\"b\\c\0\x7f\xff"),
		 " \"a\\\"b\\\\c\\000\\127\\255\""},
	};

	for (size_t i = 0; i < COUNT(string_rows); i++) {
		CLEAN(text_done) struct text out = {0};

		record_write_strings(string_rows[i].text, &out);
		cr_expect_str_eq(text_string(&out), string_rows[i].strings);
	}
}

Test(record, what_is_written_reads_back)
{
	for (size_t i = 0; i < COUNT(zone_rows); i++) {
		CLEAN(key_public_free_clean) struct key_public *public =
			public_load(zone_rows[i].vector);
		CLEAN(key_public_free_clean) struct key_public *again = NULL;
		CLEAN(record_done) struct record record = {0};
		CLEAN(text_done) struct text txt = {0};

		record_write(public, &txt);
		cr_assert(record_parse(text_slice(&txt), &record, NULL));
		cr_assert(key_public_read(record.algorithm,
					  text_slice(&record.key), &again,
					  NULL));
		cr_expect(key_id_eq(key_public_id(public),
				    key_public_id(again)));
	}
}

static const struct {
	const char *name;
	bool ok;
} label_rows[] = {
	{"2026a", true},
	{"a", true},
	{"a.b", true},
	{"xn--bcher-kva.example", true},
	{"_spf.example.com", true},
	{"A_B-c", true},
	{"123456789012345678901234567890123456789012345678901234567890123",
	 true},
	{"1234567890123456789012345678901234567890123456789012345678901234",
	 false},
	{"", false},
	{".", false},
	{"..", false},
	{"../etc", false},
	{"a/b", false},
	{"a..b", false},
	{".a", false},
	{"a.", false},
	{"-a", false},
	{"a-", false},
	{"a b", false},
	{"b\xc3\xbc" "cher.example", false},
	{"a\"b", false},
	{"a\nb", false},
	{"a\\b", false},
};

Test(record, names)
{
	for (size_t i = 0; i < COUNT(label_rows); i++)
		cr_expect_eq(record_label_check(SLICE(label_rows[i].name)),
			     label_rows[i].ok, "%s", label_rows[i].name);
	cr_expect_not(record_label_check(slice_of("a\0b", 3)));
}

Test(record, names_fit_into_the_dns_together)
{
	CLEAN(text_done) struct text domain = {0};

	for (int i = 0; i < 24; i++)
		text_add_string(&domain, "123456789.");
	text_add_string(&domain, "c");
	cr_assert_eq(domain.len, 241);
	cr_expect_not(record_names_check(SLICE("s"), text_slice(&domain),
					 NULL));
	text_drop_front(&domain, 1);
	cr_expect(record_names_check(SLICE("s"), text_slice(&domain), NULL));
	cr_expect_not(record_names_check(SLICE("s1"), text_slice(&domain),
					 NULL));
	cr_expect(record_names_check(SLICE("2"), SLICE("example.com"), NULL));
}
