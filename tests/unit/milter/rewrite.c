#include "milter/rewrite.h"

#include "tests/unit/milter/stage.h"

#define FIXED "scanner@example.com"
#define KEEPS "*@example.com"
#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static const struct slice alice[] = {SLICE_LITERAL("alice@example.com"),
				     SLICE_LITERAL(FIXED)};

/* ---- reverse-paths ---- */

static const struct path_row {
	const char *name, *to, *local, *domain;
	bool is_always, is_limited;
	const char *becomes; /* NULL: stays */
} path_rows[] = {
	{"no rule", "", "a", "localhost", true, false, NULL},
	{"ours", FIXED, "a", "example.com", false, false, NULL},
	{"ours, below", FIXED, "a", "b.c.example.com", false, false, NULL},
	{"ours, always", FIXED, "a", "example.com", true, false, FIXED},
	{"itself, always", FIXED, "scanner", "example.com", true, false, NULL},
	{"another's", FIXED, "a", "example.org", false, false, FIXED},
	{"a top-level domain", FIXED, "a", "com", false, false, FIXED},
	{"no domain", FIXED, "printer", "", false, false, FIXED},
	{"localhost", FIXED, "a", "localhost", false, false, FIXED},
	{"an address as domain", FIXED, "a", "192.168.1.5", false, false,
	 FIXED},
	{"a literal", FIXED, "a", "[192.168.1.5]", false, false, FIXED},
	{"no local part", FIXED, "", "", false, false, FIXED},
	{"not his", FIXED, "bob", "example.com", false, true, FIXED},
	{"his", FIXED, "alice", "example.com", false, true, NULL},
	{"the local part stays", KEEPS, "a.b", "printer.local", false, false,
	 "a.b@example.com"},
	{"one that needs quotes", KEEPS, "\"a b\"", "localhost", false, false,
	 "postmaster@example.com"},
	{"none", KEEPS, "", "", false, false, "postmaster@example.com"},
	{"too long", KEEPS, "x" X10 X10 X10 X10 X10 X10 "xxxx", "localhost",
	 false, false, "postmaster@example.com"},
};

Test(rewrite, reverse_paths)
{
	struct signing_options options = {0};
	struct policy *policy = stage_policy(&options);

	for (size_t i = 0; i < COUNT(path_rows); i++) {
		const struct path_row *row = &path_rows[i];
		CLEAN(text_done) struct text out = {0}, path = {0};
		const struct rewrite rewrite = {
			.sender = {SLICE(row->to), row->is_always
							   ? REWRITE_ALWAYS
							   : REWRITE_NEEDED},
			.allowed = alice,
			.allowed_count = row->is_limited ? COUNT(alice) : 0,
			.policy = policy};
		bool is_due;

		text_addf(&path, "%s@%s", row->local, row->domain);
		is_due = rewrite_sender(&rewrite, text_slice(&path),
					SLICE(row->local), SLICE(row->domain),
					&out);
		cr_expect_eq(is_due, row->becomes != NULL, "%s", row->name);
		if (is_due && row->becomes != NULL)
			cr_expect_str_eq(text_string(&out), row->becomes, "%s",
					 row->name);
		text_clear(&out);
		cr_expect_not(rewrite_sender(&rewrite, SLICE_NONE, SLICE_NONE,
					     SLICE_NONE, &out),
			      "%s: the null path", row->name);
	}
	policy_unref(policy);
}

/* ---- headers ---- */

enum {
	ALWAYS = 1,
	LIMITED = 2, /* to alice */
	NULL_PATH = 4,
};

static const struct header_row {
	const char *name, *to;
	unsigned mode;
	const char *header;
	enum rewrite_outcome outcome;
	const char *becomes; /* NULL: as it is */
} header_rows[] = {
	{"no rule", "", ALWAYS, "From: printer@localhost\r\n", REWRITE_NOTHING,
	 NULL},
	{"ours", FIXED, 0, "From: a@example.com\r\n", REWRITE_NOTHING, NULL},
	{"localhost", FIXED, 0, "From: printer@localhost\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\n"},
	{"an address as domain", FIXED, 0, "From: <a@192.168.1.5>\r\n",
	 REWRITE_DONE, "From: " FIXED "\r\n"},
	{"a literal", FIXED, 0, "From: a@[192.168.1.5]\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\n"},
	{"a word", FIXED, 0, "X: 1\r\nFROM: printer\r\nY: 2\r\n", REWRITE_DONE,
	 "X: 1\r\nFrom: " FIXED "\r\nY: 2\r\n"},
	{"the name stays", FIXED, 0,
	 "From: \"Office\r\n printer\" <printer@localhost>\r\n", REWRITE_DONE,
	 "From: \"Office printer\" <" FIXED ">\r\n"},
	{"another's, who can be answered", FIXED, 0,
	 "From: Bob <bob@example.org>\r\n", REWRITE_DONE,
	 "From: Bob <" FIXED ">\r\nReply-To: bob@example.org\r\n"},
	{"another's, called the same", FIXED, 0,
	 "From: scanner@example.org\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\nReply-To: scanner@example.org\r\n"},
	{"several of ours", FIXED, 0, "From: a@example.com, b@example.com\r\n",
	 REWRITE_NOTHING, NULL},
	{"who said where", FIXED, 0,
	 "From: bob@example.org\r\nReply-To: x@example.org\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\nReply-To: x@example.org\r\n"},
	{"several", FIXED, 0,
	 "From: B <bob@example.org>, \"a b\"@example.org, p@localhost,\r\n"
	 " c@EXAMPLE.org\r\n",
	 REWRITE_DONE,
	 "From: " FIXED "\r\nReply-To: bob@example.org,\r\n c@example.org\r\n"},
	{"two fields", FIXED, 0,
	 "From: A <a@example.com>\r\nX: y\r\nfrom: b@example.com\r\n",
	 REWRITE_DONE,
	 "From: " FIXED "\r\nReply-To: a@example.com\r\nX: y\r\n"},
	{"two fields, the first itself", FIXED, 0,
	 "From: " FIXED "\r\nFrom: b@example.org\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\n"},
	{"none", FIXED, 0, "X: y\r\n", REWRITE_DONE,
	 "X: y\r\nFrom: " FIXED "\r\n"},
	{"white space first", FIXED, 0, " x\r\n y\r\n", REWRITE_DONE,
	 " x\r\n y\r\nFrom: " FIXED "\r\n"},
	{"no header at all", FIXED, 0, "", REWRITE_DONE, "From: " FIXED "\r\n"},
	{"an empty one", KEEPS, 0, "From:\r\n", REWRITE_DONE,
	 "From: postmaster@example.com\r\n"},
	{"Sender goes", FIXED, 0,
	 "Sender: x@localhost\r\nFrom: p@localhost\r\nResent-Sender: y\r\n",
	 REWRITE_DONE, "From: " FIXED "\r\nResent-Sender: y\r\n"},
	{"a line that is no field", FIXED, 0,
	 "printing\r\nFrom: p@localhost\r\n x\r\nbad line\r\n", REWRITE_DONE,
	 "printing\r\nFrom: " FIXED "\r\nbad line\r\n"},
	{"an idle domain", FIXED, 0, "From: a@idle.example\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\n"},
	{"the local part stays", KEEPS, 0, "From: root (Cron Daemon)\r\n",
	 REWRITE_DONE, "From: \"Cron Daemon\" <root@example.com>\r\n"},
	{"not his", FIXED, LIMITED, "From: bob@example.com\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\nReply-To: bob@example.com\r\n"},
	{"his", FIXED, LIMITED, "From: alice@example.com\r\n", REWRITE_NOTHING,
	 NULL},
	{"always", FIXED, ALWAYS, "From: A <a@example.com>\r\n", REWRITE_DONE,
	 "From: A <" FIXED ">\r\nReply-To: a@example.com\r\n"},
	{"always, itself", FIXED, ALWAYS, "From: A <" FIXED ">\r\n",
	 REWRITE_NOTHING, NULL},
	{"signed", FIXED, ALWAYS,
	 "From: a@localhost\r\nDKIM-Signature: v=1; d=example.org\r\n",
	 REWRITE_KEPT_SIGNED, NULL},
	{"sealed", FIXED, 0, "From: a@localhost\r\nARC-Seal: i=1\r\n",
	 REWRITE_KEPT_SIGNED, NULL},
	{"sealed, and no more left", FIXED, 0,
	 "From: a@localhost\r\nARC-Message-Signature: i=1\r\n",
	 REWRITE_KEPT_SIGNED, NULL},
	{"a report", FIXED, ALWAYS | NULL_PATH,
	 "From: a@localhost\r\nContent-Type: multipart/report; x=y\r\n",
	 REWRITE_KEPT_REPORT, NULL},
	{"an automatic reply", FIXED, NULL_PATH,
	 "From: a@localhost\r\nAuto-Submitted: auto-replied; x=y\r\n",
	 REWRITE_KEPT_REPORT, NULL},
	{"neither", FIXED, NULL_PATH, "From: a@localhost\r\nX: y\r\n",
	 REWRITE_DONE, "From: " FIXED "\r\nX: y\r\n"},
	{"no reply", FIXED, NULL_PATH,
	 "From: a@localhost\r\nAuto-Submitted: No\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\nAuto-Submitted: No\r\n"},
	{"automatic, with a sender", FIXED, 0,
	 "From: a@localhost\r\nAuto-Submitted: auto-generated\r\n",
	 REWRITE_DONE, "From: " FIXED "\r\nAuto-Submitted: auto-generated\r\n"},
	{"his, with a name that hides another", FIXED, LIMITED,
	 "From: =?utf-8?Q?b=40example.org?= <alice@example.com>\r\n",
	 REWRITE_DONE, "From: alice@example.com\r\n"},
	{"the same, nobody being limited", FIXED, 0,
	 "From: =?utf-8?Q?b=40example.org?= <alice@example.com>\r\n",
	 REWRITE_NOTHING, NULL},
	{"itself, with such a name", FIXED, ALWAYS | LIMITED,
	 "From: =?x?Q?b?= <" FIXED ">\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\n"},
	{"not his, with such a name", FIXED, LIMITED,
	 "From: =?x?Q?b?= <bob@example.com>\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\nReply-To: bob@example.com\r\n"},
	{"his, with his address as the name", FIXED, LIMITED,
	 "From: =?utf-8?Q?alice=40example.com?= <alice@example.com>\r\n",
	 REWRITE_NOTHING, NULL},
	{"his, in dispute", FIXED, LIMITED,
	 "From: bob@example.org <alice@example.com>\r\n", REWRITE_DONE,
	 "From: " FIXED "\r\nReply-To: alice@example.com\r\n"},
	{"the same, nobody being limited, in dispute", FIXED, 0,
	 "From: bob@example.org <alice@example.com>\r\n", REWRITE_NOTHING,
	 NULL},
	{"8-bit", FIXED, 0, "From: B\xc3\xbcro <b\xc3\xbc@example.org>\r\n",
	 REWRITE_DONE, "From: B\xc3\xbcro <" FIXED ">\r\n"},
};

static void
run(const struct header_row *row, const struct rewrite *rewrite,
    struct slice message, size_t piece, struct text *out,
    enum rewrite_outcome *outcome_out)
{
	CLEAN(rewriter_done) struct rewriter rewriter;

	rewriter_init(&rewriter, rewrite, (row->mode & NULL_PATH) != 0, 4096);
	while (message.len > 0) {
		rewriter_feed(&rewriter, slice_sub(message, 0, piece), out);
		message = slice_from(message, piece);
	}
	rewriter_finish(&rewriter, out);
	*outcome_out = rewriter.outcome;
}

static void
row_check(const struct header_row *row, const struct rewrite *rewrite,
	  const char *rest, size_t piece)
{
	CLEAN(text_done) struct text out = {0}, given = {0}, wanted = {0};
	enum rewrite_outcome outcome;

	text_addf(&given, "%s%s", row->header, rest);
	text_addf(&wanted, "%s%s",
		  row->becomes == NULL ? row->header : row->becomes, rest);
	run(row, rewrite, text_slice(&given), piece, &out, &outcome);
	cr_expect_eq(outcome, row->outcome, "%s: %d", row->name, outcome);
	cr_expect_str_eq(text_string(&out), text_string(&wanted), "%s",
			 row->name);
}

Test(rewrite, headers)
{
	struct signing_options options = {0};
	struct policy *policy = stage_policy(&options);

	for (size_t i = 0; i < COUNT(header_rows); i++) {
		const struct header_row *row = &header_rows[i];
		const struct rewrite rewrite = {
			.from = {SLICE(row->to), (row->mode & ALWAYS) != 0
							 ? REWRITE_ALWAYS
							 : REWRITE_NEEDED},
			.allowed = alice,
			.allowed_count =
				(row->mode & LIMITED) != 0 ? COUNT(alice) : 0,
			.policy = policy};

		for (size_t piece = 1; piece < 1000; piece += 333) {
			row_check(row, &rewrite, "\r\nbody\r\nFrom: x\r\n",
				  piece);
			row_check(row, &rewrite, "", piece);
		}
	}
	policy_unref(policy);
}

/* Who takes the message next says that it is too large. */
Test(rewrite, a_header_that_is_too_large)
{
	static const struct header_row row = {.name = "large"};
	const struct rewrite rewrite = {.from = {SLICE(FIXED), REWRITE_ALWAYS}};
	CLEAN(text_done) struct text out = {0}, given = {0};
	enum rewrite_outcome outcome;

	for (size_t i = 0; i < 100; i++)
		text_add_string(&given, "X: " X100 "\r\n");
	text_add_string(&given, "\r\nbody\r\n");
	for (size_t piece = 100; piece < 20000; piece += 7000) {
		text_clear(&out);
		run(&row, &rewrite, text_slice(&given), piece, &out, &outcome);
		cr_expect_eq(outcome, REWRITE_NOTHING);
		cr_expect(slice_eq(text_slice(&out), text_slice(&given)));
	}
}

/* As much as can be put in. */
Test(rewrite, what_is_added_is_bounded)
{
	CLEAN(rewrite_facts_done) struct rewrite_facts facts = {0};
	CLEAN(text_done) struct text from = {0}, fields = {0};
	const struct rewrite rewrite = {.from = {SLICE(FIXED), REWRITE_ALWAYS}};
	struct rewrite_report report;

	for (size_t i = 0; i < 90; i++)
		text_addf(&from,
			  "%sxxxxxxxxx" X10 X10 X10 X10 X10
			  "@" X10 X10 X10 X10 X10 X10
			  "." X10 X10 X10 X10 X10 X10
			  "." X10 X10 X10 X10 X10 X10 "." X10 X10 X10 ".com",
			  i > 0 ? ", " : " ");
	rewrite_note(&facts, SLICE("From"), text_slice(&from));
	cr_expect_eq(rewrite_decide(&rewrite, &facts, false, &fields, &report),
		     REWRITE_DONE);
	cr_expect(report.adds_reply_to);
	cr_expect_gt(fields.len, 2000);
	cr_expect_leq(fields.len, REWRITE_ADDED_MAX);
}
