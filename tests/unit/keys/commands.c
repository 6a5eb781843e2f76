#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "keys/commands.h"
#include "tests/unit/keys/files.h"

#define WORDS_MAX 8
/* SHA-256 of the two SubjectPublicKeyInfo. */
#define RSA_ID \
	"362d9a99501883f6d1ac717c53fff965" \
	"82fb0a7c52464cb64b9082aa887bc7b4"
#define ED25519_ID \
	"06e3fd8fda29bb60ab59557de61edb0a" \
	"ecdb231134be30e75b455f8e1b792fa9"

struct stage {
	struct files files;
	struct selector_options selectors[3];
	struct domain_options domains[2];
	struct keys_options options;
};

static void
stage_init(struct stage *stage)
{
	*stage = (struct stage){
		.selectors = {{.name = SLICE_LITERAL("2026a"),
			       .key_path = SLICE_LITERAL("r.pem")},
			      {.name = SLICE_LITERAL("2026e"),
			       .key_path = SLICE_LITERAL("e.pem"),
			       .state = SELECTOR_RETIRED},
			      {.name = SLICE_LITERAL("x"),
			       .key_path = SLICE_LITERAL("e.pem"),
			       .state = SELECTOR_PUBLISH}},
		.domains = {{.name = SLICE_LITERAL("example.com"),
			     .selectors_count = 2},
			    {.name = SLICE_LITERAL("example.net"),
			     .selectors_count = 1}},
	};
	stage->domains[0].selectors = stage->selectors;
	stage->domains[1].selectors = stage->selectors + 2;
	files_new(&stage->files);
	files_put_vector(&stage->files, "r.pem", "rfc8463-rsa.pem", 0600);
	files_put_vector(&stage->files, "e.pem", "rfc8463-ed25519.pem", 0600);
	stage->options = (struct keys_options){
		.keys_dir = text_slice(&stage->files.directory),
		.domains = stage->domains,
		.domains_count = COUNT(stage->domains),
	};
}

/* Runs "key LINE"; words are split at spaces. */
static int
run(const struct keys_options *options, const char *line)
{
	CLEAN(text_done) struct text copy = {0};
	char *argv[WORDS_MAX + 1] = {NULL}, *save = NULL;
	int argc = 0;

	text_add_string(&copy, line);
	for (char *word = strtok_r(copy.bytes, " ", &save);
	     word != NULL && argc < WORDS_MAX;
	     word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	return keys_command(options, NULL, argc, argv);
}

static const struct {
	const char *line;
	int code;
} code_rows[] = {
	{"list more", EX_USAGE},
	{"list --jsn", EX_USAGE},
	{"dns", EX_USAGE},
	{"dns --json example.com", EX_USAGE},
	{"dns example.org", EX_DATAERR},
	{"nonsense", EX_USAGE},
	{"generate example.com", EX_USAGE},
	{"generate example.com a b", EX_USAGE},
	{"generate example.com a -a rsa-sha1", EX_USAGE},
	{"generate example.com a -b 512", EX_USAGE},
	{"generate example.com a -b 2048x", EX_USAGE},
	{"generate example.com a -b", EX_USAGE},
	{"generate example.com a -a ed25519-sha256 -b 2048", EX_USAGE},
	{"generate ../x a", EX_DATAERR},
	{"generate example.org ../a", EX_DATAERR},
	{"generate -a ed25519-sha256 example.org a", EX_OK},
	{"generate example.org a -a ed25519-sha256", EX_DATAERR},
	{"generate Example.ORG. b -a ed25519-sha256", EX_OK},
	{"generate example.org r -b 1024", EX_OK},
};

Test(commands, exit_codes)
{
	struct stage stage;
	CLEAN(text_done) struct text path = {0};

	stage_init(&stage);
	cr_redirect_stdout();
	cr_redirect_stderr();
	for (size_t i = 0; i < COUNT(code_rows); i++)
		cr_expect_eq(run(&stage.options, code_rows[i].line),
			     code_rows[i].code, "%s", code_rows[i].line);
	cr_expect_eq(keys_command(&stage.options, NULL, 0, NULL), EX_USAGE);
	text_addf(&path, "%s/example.org/b.pem",
		  text_string(&stage.files.directory));
	cr_expect_eq(access(text_string(&path), R_OK), 0);
	files_done(&stage.files);
}

Test(commands, dns)
{
	struct stage stage;

	stage_init(&stage);
	cr_redirect_stdout();
	cr_redirect_stderr();
	cr_expect_eq(run(&stage.options, "dns EXAMPLE.com."), EX_OK);
	files_done(&stage.files);
	cr_expect_stdout_eq_str(
		"2026a._domainkey.example.com. IN TXT \"v=DKIM1; k=rsa; "
		"p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP"
		"3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACD"
		"fzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzB"
		"fO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\"\n"
		"; 2026e is retired: keep it until all mail signed with it has "
		"arrived\n"
		"2026e._domainkey.example.com. IN TXT \"v=DKIM1; k=ed25519; "
		"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n");
}

Test(commands, list_as_json_escapes)
{
	struct stage stage;
	CLEAN(text_done) struct text expected = {0}, directory = {0};

	stage_init(&stage);
	files_put_vector(&stage.files, "q\"\\\n\xff\xc3\xa9.pem",
			 "rfc8463-ed25519.pem", 0600);
	stage.selectors[2].key_path = SLICE("q\"\\\n\xff\xc3\xa9.pem");
	text_add(&directory, text_slice(&stage.files.directory));
	cr_redirect_stdout();
	cr_expect_eq(run(&stage.options, "list --json"), EX_OK);
	files_done(&stage.files);
	text_addf(&expected,
		  "[\n {\"domain\": \"example.com\", \"selector\": \"2026a\", "
		  "\"algorithm\": \"rsa-sha256\", \"bits\": 1024, "
		  "\"state\": \"active\", \"file\": \"%s/r.pem\", \"id\": "
		  "\"" RSA_ID "\"},\n"
		  " {\"domain\": \"example.com\", \"selector\": \"2026e\", "
		  "\"algorithm\": \"ed25519-sha256\", \"bits\": 256, "
		  "\"state\": \"retired\", \"file\": \"%s/e.pem\", \"id\": "
		  "\"" ED25519_ID "\"},\n"
		  " {\"domain\": \"example.net\", \"selector\": \"x\", "
		  "\"algorithm\": \"ed25519-sha256\", \"bits\": 256, "
		  "\"state\": \"publish\", \"file\": "
		  "\"%s/q\\\"\\\\\\n\xef\xbf\xbd\xc3\xa9.pem\", \"id\": "
		  "\"" ED25519_ID "\"}\n]\n",
		  text_string(&directory), text_string(&directory),
		  text_string(&directory));
	cr_expect_stdout_eq_str(text_string(&expected));
}

Test(commands, list_of_nothing)
{
	static const struct keys_options none = {0};

	cr_redirect_stdout();
	cr_expect_eq(run(&none, "list --json"), EX_OK);
	cr_expect_stdout_eq_str("[]\n");
}

Test(commands, a_missing_key_is_a_bad_configuration)
{
	struct stage stage;
	CLEAN(text_done) struct text path = {0}, expected = {0};

	stage_init(&stage);
	stage.selectors[0].file = "signet.conf";
	stage.selectors[0].line = 3;
	text_addf(&path, "%s/r.pem", text_string(&stage.files.directory));
	unlink(text_string(&path));
	text_addf(&expected, "signet: signet.conf:3: selector \"2026a\" of "
		  "domain \"example.com\": key file '%s': opening: No such "
		  "file or directory\n", text_string(&path));
	cr_redirect_stderr();
	cr_expect_eq(run(&stage.options, "list"), EX_CONFIG);
	/* Another domain's records need other keys only. */
	cr_redirect_stdout();
	cr_expect_eq(run(&stage.options, "dns example.net"), EX_OK);
	files_done(&stage.files);
	cr_expect_stderr_eq_str(text_string(&expected));
}
