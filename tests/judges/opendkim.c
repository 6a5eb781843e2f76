/*
 * opendkim - OpenDKIM's library as a judge, and as a signer to be judged.
 *
 * usage: judge-opendkim verify RECORDS
 *        judge-opendkim sign CANONICALIZATION TIME KEY SELECTOR DOMAIN NAMES
 *
 * Messages come as frames (frames.h), in CRLF. `verify` writes a line for each
 * message: a tab and "d= s= a= pass|fail" for each of its signatures, or a tab
 * and "!", and why there is no answer.
 * `sign` answers with a frame for each: a DKIM-Signature field with its CRLF,
 * empty for a message that the library does not take.
 * KEY is PEM, or an Ed25519 key. NAMES are "from:to:…", each one signed and
 * oversigned.
 *
 * Nothing of signet's stage is in here: it cuts messages by itself.
 */
#include <opendkim/dkim.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/judges/frames.h"

#define NAMES_MAX 64

static struct records records;

static void
expect(DKIM_STAT status, const char *what)
{
	if (status != DKIM_STAT_OK)
		judge_give_up(what, dkim_getresultstr(status));
}

static DKIM_CBSTAT
key_lookup(DKIM *dkim, DKIM_SIGINFO *signature, u_char *out, size_t size)
{
	CLEAN(text_done) struct text name = {0};
	struct slice record;

	(void)dkim;
	text_addf(&name, "%s._domainkey.%s",
		  (const char *)dkim_sig_getselector(signature),
		  (const char *)dkim_sig_getdomain(signature));
	if (!records_find(&records, text_slice(&name), 0, &record))
		return DKIM_CBSTAT_NOTFOUND;
	snprintf((char *)out, size, "%.*s", SLICE_ARG(record));
	return DKIM_CBSTAT_CONTINUE;
}

static size_t
line_len(struct slice rest)
{
	const char *end = memmem(rest.bytes, rest.len, "\r\n", 2);

	return end == NULL ? rest.len : (size_t)(end - rest.bytes);
}

/* From the start of a field to before its last CRLF. */
static size_t
field_len(struct slice rest)
{
	size_t len = line_len(rest);

	while (len + 2 < rest.len && ascii_is_wsp(rest.bytes[len + 2]))
		len += 2 + line_len(slice_from(rest, len + 2));
	return len;
}

/* NULL, or what the library did not like. */
static const char *
message_feed(DKIM *dkim, struct slice rest)
{
	DKIM_STAT status;

	while (rest.len > 0 && !slice_starts(rest, SLICE("\r\n"))) {
		size_t len = field_len(rest);

		status = dkim_header(dkim, (u_char *)rest.bytes, len);
		if (status != DKIM_STAT_OK)
			return "dkim_header";
		rest = slice_from(rest, len + 2);
	}
	status = dkim_eoh(dkim);
	if (status != DKIM_STAT_OK && status != DKIM_STAT_NOSIG)
		return "dkim_eoh";
	rest = slice_from(rest, 2);
	if (rest.len > 0 &&
	    dkim_body(dkim, (u_char *)rest.bytes, rest.len) != DKIM_STAT_OK)
		return "dkim_body";
	return NULL;
}

static void
signature_print(DKIM *dkim, DKIM_SIGINFO *signature)
{
	const unsigned passed = DKIM_SIGFLAG_PASSED;
	bool is_good;

	if ((dkim_sig_getflags(signature) & DKIM_SIGFLAG_PROCESSED) == 0)
		(void)dkim_sig_process(dkim, signature);
	is_good = (dkim_sig_getflags(signature) & passed) != 0 &&
		  dkim_sig_getbh(signature) == DKIM_SIGBH_MATCH;
	printf("\t%s %s %s %s", (const char *)dkim_sig_getdomain(signature),
	       (const char *)dkim_sig_getselector(signature),
	       (const char *)dkim_sig_getalgorithm(signature),
	       is_good ? "pass" : "fail");
}

static void
message_verify(DKIM_LIB *library, struct slice message)
{
	DKIM_STAT status;
	DKIM_SIGINFO **signatures;
	DKIM *dkim =
		dkim_verify(library, (const u_char *)"judge", NULL, &status);
	const char *problem;
	int count;

	expect(status, "dkim_verify");
	problem = message_feed(dkim, message);
	if (problem != NULL) {
		printf("\t!%s: %s", problem, dkim_geterror(dkim));
	} else {
		/* Its answer is for the message; each signature has its own. */
		(void)dkim_eom(dkim, NULL);
		if (dkim_getsiglist(dkim, &signatures, &count) == DKIM_STAT_OK)
			for (int i = 0; i < count; i++)
				signature_print(dkim, signatures[i]);
	}
	printf("\n");
	dkim_free(dkim);
}

static int
verify(DKIM_LIB *library, const char *path)
{
	CLEAN(text_done) struct text message = {0};

	records_read(&records, path);
	expect(dkim_set_key_lookup(library, key_lookup), "dkim_set_key_lookup");
	while (frame_read(&message))
		message_verify(library, text_slice(&message));
	records_done(&records);
	return 0;
}

struct signing {
	const char *selector, *domain;
	dkim_canon_t header_canon, body_canon;
	dkim_alg_t algorithm;
	struct text key;
};

static void
message_sign(DKIM_LIB *library, struct signing *signing, struct slice message)
{
	CLEAN(text_done) struct text field = {0};
	DKIM_STAT status;
	DKIM *dkim = dkim_sign(library, (const u_char *)"judge", NULL,
			       (u_char *)text_string(&signing->key),
			       (const u_char *)signing->selector,
			       (const u_char *)signing->domain,
			       signing->header_canon, signing->body_canon,
			       signing->algorithm, -1, &status);
	u_char *value;
	size_t len;

	expect(status, "dkim_sign");
	/* 2.11 hashes " b=" and then writes a fold before the "b=" of an
	 * Ed25519 signature: no such signature with a simple header would
	 * verify. Without a margin nothing is folded. */
	if (signing->algorithm == DKIM_SIGN_ED25519SHA256)
		expect(dkim_set_margin(dkim, 0), "dkim_set_margin");
	if (message_feed(dkim, message) == NULL) {
		expect(dkim_eom(dkim, NULL), "dkim_eom");
		expect(dkim_getsighdr_d(dkim, strlen(DKIM_SIGNHEADER) + 2,
					&value, &len),
		       "dkim_getsighdr_d");
		text_addf(&field, "%s: %.*s\r\n", DKIM_SIGNHEADER, (int)len,
			  (const char *)value);
	}
	frame_write(text_slice(&field));
	dkim_free(dkim);
}

static void
names_set(DKIM_LIB *library, char *names)
{
	const u_char *list[NAMES_MAX + 1] = {NULL};
	size_t count = 0;

	for (char *name = names; name != NULL;) {
		char *colon = strchr(name, ':');

		if (colon != NULL)
			*colon++ = '\0';
		if (count == NAMES_MAX)
			judge_give_up("too many names", name);
		list[count++] = (const u_char *)name;
		name = colon;
	}
	/* Handed over by reference; the library copies. */
	expect(dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_SIGNHDRS, list,
			    sizeof(u_char **)),
	       "DKIM_OPTS_SIGNHDRS");
	expect(dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_OVERSIGNHDRS,
			    list, sizeof(u_char **)),
	       "DKIM_OPTS_OVERSIGNHDRS");
}

static dkim_canon_t
canon_of(const char *name)
{
	return strncmp(name, "simple", 6) == 0 ? DKIM_CANON_SIMPLE
					       : DKIM_CANON_RELAXED;
}

static int
sign(DKIM_LIB *library, char **arguments)
{
	CLEAN(text_done) struct text message = {0};
	uint64_t time_s = strtoull(arguments[1], NULL, 10);
	struct signing signing = {
		.header_canon = canon_of(arguments[0]),
		.body_canon = canon_of(strchr(arguments[0], '/') + 1),
		.algorithm = DKIM_SIGN_RSASHA256,
		.selector = arguments[3],
		.domain = arguments[4],
	};

	file_read(arguments[2], &signing.key);
	/* PKCS#8 of Ed25519 is that short. */
	if (signing.key.len < 200)
		signing.algorithm = DKIM_SIGN_ED25519SHA256;
	names_set(library, arguments[5]);
	expect(dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_FIXEDTIME,
			    &time_s, sizeof(time_s)),
	       "DKIM_OPTS_FIXEDTIME");
	while (frame_read(&message))
		message_sign(library, &signing, text_slice(&message));
	text_done(&signing.key);
	return 0;
}

int
main(int argc, char **argv)
{
	DKIM_LIB *library = dkim_init(NULL, NULL);
	int code = 64;

	if (library == NULL)
		judge_give_up("dkim_init", "no memory");
	if (argc == 3 && strcmp(argv[1], "verify") == 0)
		code = verify(library, argv[2]);
	else if (argc == 8 && strcmp(argv[1], "sign") == 0)
		code = sign(library, argv + 2);
	dkim_close(library);
	return code;
}
