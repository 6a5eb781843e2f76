#include "relay/import/sections.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* "example.com+ i=@x also=a,b sel{*@example.com,…} …", one a line */
static void
section_print(const struct section *section, struct text *out)
{
	text_addf(out, "%.*s%s", SLICE_ARG(section->name),
		  section->subdomains ? "+" : "");
	if (section->identity.len > 0)
		text_addf(out, " i=%.*s", SLICE_ARG(section->identity));
	for (size_t i = 0; i < section->also_sign_count; i++)
		text_addf(out, " also=%.*s",
			  SLICE_ARG(section->also_sign[i]->name));
	for (size_t i = 0; i < section->selectors_count; i++) {
		const struct section_selector *selector =
			&section->selectors[i];

		text_addf(out, " %.*s", SLICE_ARG(selector->name));
		for (size_t k = 0; k < selector->from_count; k++)
			text_addf(out, "%c%.*s", k == 0 ? '{' : ',',
				  SLICE_ARG(selector->from[k]));
		if (selector->from_count > 0)
			text_add_byte(out, '}');
	}
	text_add_byte(out, '\n');
}

/* "me@*: s._domainkey.x,… i=@x", one a line */
static void
sender_print(const struct section_sender *sender, struct text *out)
{
	text_addf(out, "%.*s:", SLICE_ARG(sender->pattern));
	for (size_t i = 0; i < sender->sign_count; i++)
		text_addf(out, "%c%.*s._domainkey.%.*s", i == 0 ? ' ' : ',',
			  SLICE_ARG(sender->sign[i].selector),
			  SLICE_ARG(sender->sign[i].domain));
	if (sender->identity.len > 0)
		text_addf(out, " i=%.*s", SLICE_ARG(sender->identity));
	text_add_byte(out, '\n');
}

#define KEYS                                                                   \
	"KeyTable csl:a=example.com:a:/k/a,b=example.com:b:/k/b,"                  \
	"o=example.org:o:/k/o,op=op.example:op:/k/op,own=%:own:/k/own,"        \
	"each=%:each:/k/%,example.com=example.com:c:/k/c,"                     \
	"inside=example.com:i:MIIB\n"
#define TABLE KEYS "SigningTable csl:"

static const struct row {
	const char *name;
	const char *conf;
	const char *patterns; /* lines of a refile:, or NULL */
	const char *expected;
	const char *said; /* a part; NULL: nothing is missed */
} rows[] = {
	{"one key", "Domain example.com\nSelector s\nKeyFile /k\n", NULL,
	 "example.com s\n", NULL},
	{"subdomains",
	 "Domain example.com\nSelector s\nKeyFile /k\nSubDomains yes\n", NULL,
	 "example.com+ s\n", NULL},
	{"every domain", "Domain *\nSelector s\nKeyFile /k\n", NULL, "* s\n",
	 NULL},
	{"verifies only", "Mode v\n", NULL, "", NULL},
	/* Of a SigningTable only. */
	{"several of a domain and one above it",
	 "Domain example.com,news.example.com\nSelector s\nKeyFile /k\n"
	 "SubDomains yes\nMultipleSignatures yes\n",
	 NULL, "example.com+ also=news.example.com s\n"
	       "news.example.com+ s{*@*.news.example.com,*@news.example.com}\n",
	 NULL},

	{"a host", TABLE "example.com=a\n", NULL, "example.com a\n", NULL},
	{"case", TABLE "Example.COM=a\n", NULL, "example.com a\n", NULL},
	{"an address", TABLE "me@example.com=a\n", NULL,
	 "example.com a{me@example.com}\n", NULL},
	{"an address before its host", TABLE "example.com=a,me@example.com=b\n",
	 NULL, "example.com b{me@example.com} a\n", NULL},
	{"a parent", TABLE ".example.com=a\n", NULL,
	 "example.com+ a{*@*.example.com}\n", NULL},
	{"host and parent", TABLE ".example.com=a,example.com=a\n", NULL,
	 "example.com+ a\n", NULL},
	{"a user everywhere", TABLE "me@*=o\n", NULL,
	 "* also=example.org\n"
	 "example.org o{me@*,me@example.org}\n", NULL},
	{"all", TABLE "*=op\n", NULL, "* also=op.example\nop.example op\n",
	 NULL},
	{"all but one", TABLE "*=op,example.com=a\n", NULL,
	 "* also=op.example\nexample.com a\nop.example op\n", NULL},
	{"another's key", TABLE "example.com=o\n", NULL,
	 "example.com also=example.org\nexample.org o{*@example.com}\n", NULL},
	{"the author's domain", TABLE "example.net=own\n", NULL,
	 "example.net own\n", NULL},
	{"the author's, below", TABLE ".example.net=own\n", NULL,
	 "* own{*@*.example.net}\n", NULL},
	{"the author's, everywhere", TABLE "*=own\n", NULL, "* own\n", NULL},
	{"a key for each", TABLE "example.net=each\n", NULL,
	 "example.net each\n", NULL},
	{"a key named like the domain", TABLE "*=%\n", NULL, "example.com c\n",
	 NULL},
	{"only the first line of a key", TABLE "example.com=a,EXAMPLE.com=b\n",
	 NULL, "example.com a\n", NULL},
	{"a star in a plain table", TABLE "*@example.com=a\n", NULL, "", NULL},

	{"i=", TABLE "example.com=a:me@example.com\n", NULL,
	 "example.com i=me@example.com a\n", NULL},
	{"i= below", TABLE "example.com=a:@news.example.com\n", NULL,
	 "example.com i=@news.example.com a\n", NULL},
	{"i= of the author's domain", TABLE "example.com=a:me@%\n", NULL,
	 "example.com i=me@example.com a\n", NULL},
	{"i= that says nothing", TABLE "example.com=a:@%\n", NULL,
	 "example.com a\n", NULL},
	{"i= outside", TABLE "example.com=a:me@example.net\n", NULL,
	 "example.com a\n", NULL},
	{"i= without an @", TABLE "example.com=a:me\n", NULL,
	 "example.com a\n", "no \"@\": OpenDKIM"},
	{"i= that is a domain", TABLE "example.com=a:%\n", NULL,
	 "example.com a\n", "no \"@\": OpenDKIM"},
	{"two i=", TABLE "x@example.com=a:x@%,y@example.com=a:y@%\n", NULL,
	 "example.com a\n"
	 "x@example.com: a._domainkey.example.com i=x@example.com\n"
	 "y@example.com: a._domainkey.example.com i=y@example.com\n*@*:\n",
	 NULL},

	{"several", TABLE "example.com=a,me@example.com=b\n"
			  "MultipleSignatures yes\n", NULL,
	 "example.com b{me@example.com} a{*@example.com}\n", NULL},
	{"several for all", TABLE "example.com=a,*=b\nMultipleSignatures yes\n",
	 NULL, "* also=example.com\nexample.com b{*@*,*@example.com} "
	       "a{*@example.com}\n", NULL},

	{"patterns in order", NULL,
	 "news@example.com b\n*@example.com a\n*@example.org o\n",
	 "example.com b{news@example.com} a\nexample.org o\n", NULL},
	{"never reached", NULL, "*@example.com a\nnews@example.com b\n",
	 "example.com a\n", NULL},
	{"without an @", NULL, "example.com a\n", "", NULL},
	{"a star for the @", NULL, "*example.com a\n",
	 "* also=example.com\nexample.com a{*@*example.com,*@example.com}\n",
	 NULL},
	{"part of a domain", NULL, "*@mail*.example.com a\n",
	 "* also=example.com\nexample.com a{*@mail*.example.com}\n", NULL},
	{"+ is itself", NULL, "me+*@example.com a\n",
	 "example.com a{me+*@example.com}\n", NULL},
	{"an expression", NULL, "(a|b)@example.com a\n", "",
	 "more than a pattern"},
	{"overlapping keys", NULL, "a*@example.com a\n*b@example.com b\n",
	 "example.com a b\n"
	 "a*@example.com: a._domainkey.example.com\n"
	 "*b@example.com: b._domainkey.example.com\n*@*:\n",
	 NULL},
	{"an address of another's key", NULL,
	 "me@example.com o\n*@example.com a\n",
	 "example.com a\nexample.org o\n"
	 "me@example.com: o._domainkey.example.org\n"
	 "*@example.com: a._domainkey.example.com\n*@*:\n",
	 NULL},
	{"a user before a parent",
	 TABLE ".example.com=a,me@*=o,*=b\n", NULL,
	 "*\nexample.com a b\nexample.org o\n"
	 "*@*.example.com: a._domainkey.example.com\n"
	 "me@*: o._domainkey.example.org\n"
	 "*@*: b._domainkey.example.com\n", NULL},
	{"all of several, one twice", NULL,
	 "*@*.example.com a:@%\na@* own\na@* b\nME@a*.example.com each\n",
	 "* own\nexample.com a b\n"
	 "*@*.example.com: a._domainkey.example.com i=@*\n"
	 "a@*: own._domainkey.*\nme@a*.example.com:\n*@*:\n",
	 "another key for each domain"},
	{"all of several", TABLE "example.com=a:x@%,me@example.com=b:y@%\n"
				 "MultipleSignatures yes\n", NULL,
	 "example.com b a\n"
	 "me@example.com: b._domainkey.example.com i=y@example.com\n"
	 "*@example.com: a._domainkey.example.com i=x@example.com\n*@*:\n",
	 NULL},
	{"i= of each author", NULL,
	 "a@example.com o\n*@*.example.com a:@%\n*@example.com a:me@%\n"
	 "*@*.org own:me@%\n*@*.net a:%@%\n",
	 "* own\nexample.com a\nexample.org o\nnet\n"
	 "a@example.com: o._domainkey.example.org\n"
	 "*@*.example.com: a._domainkey.example.com i=@*\n"
	 "*@example.com: a._domainkey.example.com i=me@example.com\n"
	 "*@*.org: own._domainkey.* i=me@*\n"
	 "*@*.net: a._domainkey.example.com\n*@*:\n",
	 "i=%@% is another one for each author; left out"},
	{"an unknown key", NULL, "*@example.com x\n", "",
	 "the KeyTable has no 'x'"},
	{"a key in the table", NULL, "*@example.com inside\n", "",
	 "stands in the table"},
	{"a part of what is below", NULL,
	 "a@*.example.com a\nb@x*.com own\n",
	 "* own\nexample.com a\n"
	 "a@*.example.com: a._domainkey.example.com\n"
	 "b@x*.com: own._domainkey.*\n*@*:\n", NULL},
	{"one i= of all", NULL, "me@* own:me@example.com\n",
	 "* own\nme@*: own._domainkey.* i=me@example.com\n*@*:\n", NULL},
	{"a key for each of all", NULL, "* each\n", "*\n*@*:\n",
	 "another key for each domain"},
};

/* A refile: has to be a file. */
static void
conf_make(const struct row *row, char *path, struct text *out)
{
	FILE *file;

	if (row->conf != NULL) {
		text_add_string(out, row->conf);
		return;
	}
	file = fdopen(mkstemp(path), "w");
	cr_assert_not_null(file);
	fputs(row->patterns, file);
	fclose(file);
	text_add_string(out, KEYS "SigningTable refile:");
	text_add_string(out, path);
}

static void
row_check(const struct row *row)
{
	char path[] = "/tmp/signet-unit-XXXXXX";
	CLEAN(text_done) struct text conf_text = {0};
	CLEAN(text_done) struct text got = {0};
	CLEAN(report_done) struct report report = {0};
	CLEAN(conf_errors_done) struct conf_errors errors = {0};
	struct arena arena = {0};
	struct opendkim_conf conf;
	struct signing_rules rules;
	struct sections sections;

	conf_make(row, path, &conf_text);
	opendkim_conf_parse(text_slice(&conf_text), "f", &arena, &conf,
			    &report, &errors);
	signing_rules_read(&conf, SLICE_NONE, &arena, &rules, &report,
			   &errors);
	sections_make(&rules, &arena, &sections, &report);
	for (size_t i = 0; i < sections.count; i++)
		section_print(&sections.sections[i], &got);
	for (size_t i = 0; i < sections.senders_count; i++)
		sender_print(&sections.senders[i], &got);
	cr_expect_eq(errors.count, 0, "%s", row->name);
	cr_expect_str_eq(text_string(&got), row->expected, "%s:\n%s%s",
			 row->name, text_string(&got),
			 text_string(&report.lines));
	cr_expect_eq(report.is_incomplete, row->said != NULL, "%s: %s",
		     row->name, text_string(&report.lines));
	cr_expect(row->said == NULL ||
			  strstr(text_string(&report.lines), row->said) !=
				  NULL,
		  "%s: %s", row->name, text_string(&report.lines));
	arena_done(&arena);
	unlink(path);
}

Test(sections, tables)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		row_check(&rows[i]);
}

/* What was not tried may differ. */
Test(sections, trying_has_an_end)
{
	struct signing_rule list[] = {
		{.local = SLICE("*"), .domain = SLICE("x.example"),
		 .signs_as = SLICE("x.example"), .selector = SLICE("s"),
		 .key_path = SLICE("/k")},
		{.local = SLICE("*"), .domain = SLICE("*.x.example"),
		 .signs_as = SLICE("x.example"), .selector = SLICE("s"),
		 .key_path = SLICE("/k")}};
	const struct signing_rules rules = {.rules = list, .count = 2};
	CLEAN(report_done) struct report report = {0};
	struct sections sections;
	struct arena arena = {0};

	sections_make(&rules, &arena, &sections, &report);
	cr_expect_not(report.is_incomplete, "%s", text_string(&report.lines));
	sections_try(&sections, &rules, 2, &report);
	cr_expect(report.is_incomplete);
	cr_expect_not_null(strstr(text_string(&report.lines),
				  "too many patterns"));
	arena_done(&arena);
}

/* ---- whatever the table says ---- */

#define TABLES 4000
#define RULES 6

static const char *const locals[] = {"*",  "*",	 "*",  "a",  "b",
				     "ab", "a*", "*b", "a*b"};
static const char *const domains[] = {
	"x.example",	"y.example",	"n.x.example", "*.x.example",
	"*.n.x.example", "*.y.example", "*",	       "*x.example",
	"*.*.example",	"o.example",   "n*.x.example", "n*.example"};
static const struct {
	const char *signs_as, *selector;
} signers[] = {{"x.example", "s"}, {"x.example", "t"}, {"y.example", "s"},
	       {"o.example", "s"}, {"%", "s"},	       {"%", "t"}};
static const char *const local_probes[] = {"a", "b", "ab", "ac", "cb", "acb",
					   "c"};
static const char *const domain_probes[] = {
	"x.example",	 "y.example",	"n.x.example", "m.x.example",
	"m.n.x.example", "m.y.example", "o.example",   "m.o.example",
	"zx.example",	 "z.example",	"nn.x.example"};

#define PICK(rows, random) (&(rows)[(*(random) >> 33) % COUNT(rows)])

static void
step(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
}

static void
rules_make(uint64_t *random, struct signing_rule *rules,
	   struct signing_rules *out)
{
	step(random);
	out->rules = rules;
	out->count = 1 + (size_t)(*random >> 33) % RULES;
	step(random);
	out->is_multiple = (*random >> 33) % 3 == 0;
	for (size_t i = 0; i < out->count; i++) {
		rules[i] = (struct signing_rule){.key_path = SLICE("/k")};
		rules[i].place = (struct conf_place){"t", (unsigned)i + 1};
		step(random);
		rules[i].local = SLICE(*PICK(locals, random));
		step(random);
		rules[i].domain = SLICE(*PICK(domains, random));
		step(random);
		rules[i].signs_as = SLICE(PICK(signers, random)->signs_as);
		rules[i].selector = SLICE(PICK(signers, random)->selector);
	}
}

static void
disagreement_print(const struct signing_rules *rules, const char *local,
		   const char *domain)
{
	CLEAN(text_done) struct text table = {0};

	for (size_t i = 0; i < rules->count; i++)
		text_addf(&table, "%.*s@%.*s %.*s:%.*s\n",
			  SLICE_ARG(rules->rules[i].local),
			  SLICE_ARG(rules->rules[i].domain),
			  SLICE_ARG(rules->rules[i].signs_as),
			  SLICE_ARG(rules->rules[i].selector));
	cr_expect(false, "%s@%s is signed otherwise%s, and nothing said:\n%s",
		  local, domain, rules->is_multiple ? " (of several)" : "",
		  text_string(&table));
}

/* Either everybody's mail is signed as before, or it is said that it is not. */
Test(sections, agree_or_are_reported)
{
	uint64_t random = 1;
	unsigned complete = 0;

	for (size_t n = 0; n < TABLES; n++) {
		CLEAN(report_done) struct report report = {0};
		struct signing_rule list[RULES];
		struct signing_rules rules;
		struct sections sections;
		struct arena arena = {0};

		rules_make(&random, list, &rules);
		sections_make(&rules, &arena, &sections, &report);
		complete += !report.is_incomplete;
		for (size_t i = 0; i < COUNT(local_probes); i++)
			for (size_t k = 0; k < COUNT(domain_probes); k++)
				if (!report.is_incomplete &&
				    !sections_agree(&sections, &rules,
						    SLICE(local_probes[i]),
						    SLICE(domain_probes[k])))
					disagreement_print(&rules,
							   local_probes[i],
							   domain_probes[k]);
		arena_done(&arena);
	}
	cr_expect_eq(complete, TABLES, "%u of %u can be said", complete,
		     TABLES);
}
