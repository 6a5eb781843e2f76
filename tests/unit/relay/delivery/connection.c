/* Whom a connection talks to, what of, and who is blamed for what. */
#include <criterion/criterion.h>

#include "tests/unit/relay/delivery/scripted.h"

static const char header[] = "From: <a@example.com>\r\n\r\n";

#define TAKEN HELLO MAIL RCPT0 "C DATA|S 354 go|B|"
#define MAIL_SIZE "C MAIL FROM:<a@example.com> SIZE=|S 250 ok|"

/* --- the table --- */

static const struct script_row {
	const char *name;
	enum tls_policy tls;
	const char *host0[SCRIPTS_MAX], *host1;
	unsigned recipients;
	const char *outcomes, *status, *reply;
	bool has_failed;
	bool is_ranked; /* host1 is a worse one */
	unsigned attempts; /* before this one */
} script_rows[] = {
	{ "a plain conversation", TLS_NONE, {HELLO MAIL RCPT0 BODY BYE}, NULL,
	  1, "D", "2.0.0", "250 2.0.0 taken" },
	{ "one of two is refused", TLS_NONE,
	  {HELLO MAIL "C RCPT TO:<r0@|S 550 5.1.1 unknown|" RCPT1 "S 250 ok|"
	   BODY BYE}, NULL, 2, "FD", "5.1.1", "550 5.1.1 unknown" },
	{ "both are refused", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 550 no|" RCPT1 "S 450 later|C RSET|S 250 ok|"
	   "X"}, NULL, 2, "FT", "5.0.0", "550 no" },
	{ "MAIL is refused", TLS_NONE,
	  {HELLO "C MAIL|S 550 5.7.1 not you|" "X"}, NULL, 2, "FF", "5.7.1",
	  "550 5.7.1 not you" },
	{ "DATA is refused", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 451 no|C RSET|S 250 ok|" "X"}, NULL, 1,
	  "T", "4.0.0", "451 no" },
	{ "the message is refused", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 354 go|B|R 554-5.7.1 spam\r\n"
	   "554 5.7.1 go away\r\n|" "X"}, NULL, 1, "F", "5.7.1",
	  "554 5.7.1 spam 5.7.1 go away" },
	{ "no EHLO", TLS_OPPORTUNISTIC,
	  {"S 220 mx|C EHLO|S 500 what|C HELO relay.example.org|S 250 ok|" MAIL
	   RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "a greeting in pieces, of several lines", TLS_NONE,
	  {"R 220-mx\r\n22|R 0-hello\r\n220 there\r|R \n|C EHLO|S 250 mx|"
	   MAIL RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "the next host after a greeting of 554", TLS_NONE,
	  {"S 554 nobody home|C QUIT|X"}, HELLO MAIL RCPT0 BODY "X", 1, "D",
	  "2.0.0", NULL },
	{ "the next host after one that is silent and gone", TLS_NONE, {"X"},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "the next host where nobody listens", TLS_NONE, {NULL},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "the next host after MAIL refused for now", TLS_NONE,
	  {HELLO "C MAIL|S 451 4.3.0 later|C QUIT|X"},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "the same, in one write", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 451 4.3.0 later\r\n|X"},
	  HELLO MAIL RCPT0 RCPT1 "S 250 ok|" BODY "X", 2, "DD", "2.0.0", NULL },
	{ "but not after MAIL refused for good", TLS_NONE,
	  {HELLO "C MAIL|S 550 5.7.1 no|X"}, "S 220 never", 1, "F", "5.7.1",
	  NULL },
	{ "nor after RCPT refused for now", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 450 4.2.0 later|C RSET|S 250 ok|X"},
	  "S 220 never", 1, "T", "4.2.0", NULL },
	{ "but where the host says that it has trouble of its own", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 451 4.3.0 later|C QUIT|X"},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "so it does in one write", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n550 5.1.1 no\r\n452 full\r\n"
	   "554 no\r\n|X"}, HELLO MAIL RCPT1 "S 250 ok|" BODY "X", 2, "FD",
	  "5.1.1", NULL },
	{ "and has taken one nevertheless: then the other one", TLS_NONE,
	  {HELLO MAIL RCPT0 RCPT1 "S 452 4.3.1 full|" BODY MAIL RCPT1
	   "S 452 4.3.1 full|C QUIT|X"},
	  HELLO MAIL RCPT1 "S 250 ok|" BODY "X", 2, "DD", "2.0.0", NULL },
	{ "the first one, and the other host is down", TLS_NONE,
	  {HELLO MAIL "C RCPT TO:<r0|S 451 4.3.0 later|" RCPT1 "S 250 ok|"
	   BODY MAIL "C RCPT TO:<r0|S 451 4.3.0 later|C QUIT|X"}, "X", 2,
	  "TD", "4.3.0", "451 4.3.0 later" },
	{ "the first one, and the second is refused for good", TLS_NONE,
	  {HELLO MAIL "C RCPT TO:<r0|S 451 4.3.0 later|" RCPT1
	   "S 550 5.1.1 no|C RSET|S 250 ok|" MAIL
	   "C RCPT TO:<r0|S 451 4.3.0 later|C QUIT|X"},
	  HELLO MAIL RCPT0 BODY "X", 2, "DF", "2.0.0", NULL },
	{ "both, in one write", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n451 4.3.0 a\r\n451 4.3.0 b\r\n"
	   "554 no\r\n|X"}, HELLO MAIL RCPT0 RCPT1 "S 250 ok|" BODY "X", 2,
	  "DD", "2.0.0", NULL },
	{ "at DATA", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 451 4.3.5 no|C QUIT|X"},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "behind the dot", TLS_NONE, {TAKEN "S 452 4.3.1 full|C QUIT|X"},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "as has the other one", TLS_NONE,
	  {TAKEN "S 452 4.3.1 full|C QUIT|X"}, TAKEN "S 451 4.3.0 no|X", 1,
	  "T", "4.3.0", "451 4.3.0 no" },
	{ "and the other one is down", TLS_NONE,
	  {TAKEN "S 452 4.3.1 full|C QUIT|X"}, "X", 1, "T", "4.3.1",
	  "452 4.3.1 full" },
	{ "and the other one fails behind its greeting", TLS_NONE,
	  {TAKEN "S 452 4.3.1 full|C QUIT|X"}, HELLO "C MAIL|X", 1, "T",
	  "4.4.2", NULL },
	{ "and is the only one: the connection stays", TLS_NONE,
	  {TAKEN "S 452 4.3.1 full|" "X"}, NULL, 1, "T", "4.3.1",
	  "452 4.3.1 full" },
	{ "MAIL refused for now, and no other host: the connection stays",
	  TLS_NONE, {HELLO "C MAIL|S 451 4.3.0 later|" "X"}, NULL, 1, "T",
	  "4.3.0", "451 4.3.0 later" },
	{ "MAIL refused for now, and the other one is down", TLS_NONE,
	  {HELLO "C MAIL|S 451 4.3.0 later|C QUIT|X"}, "X", 1, "T", "4.3.0",
	  "451 4.3.0 later" },
	{ "421 at RCPT: only who has no result goes to the next", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 550 5.1.1 no|" RCPT1 "S 421 bye|X"},
	  HELLO MAIL RCPT1 "S 250 ok|" BODY "X", 2, "FD", "5.1.1", NULL },
	{ "421 at one RCPT, and no other host: the others once more",
	  TLS_NONE,
	  {HELLO MAIL RCPT0 RCPT1 "S 421 4.7.1 r1 is away|" "X",
	   HELLO MAIL RCPT0 BODY BYE}, NULL, 2, "DT", "2.0.0", NULL },
	{ "and at theirs, too: no more than once", TLS_NONE,
	  {HELLO MAIL RCPT0 RCPT1 "S 421 4.7.1 busy|X",
	   HELLO MAIL "C RCPT TO:<r0|S 421 4.7.1 busy|X", "S 220 never"},
	  NULL, 2, "TT", "4.7.1", "421 4.7.1 busy" },
	{ "no host is left", TLS_NONE, {"S 421 4.3.2 full|X"}, NULL, 2, "TT",
	  "4.3.2", "421 4.3.2 full", true },
	{ "not SMTP", TLS_NONE, {"S hello|X"}, NULL, 1, "T", "4.5.0", NULL,
	  true },
	{ "a line without end", TLS_NONE, {"L 100000|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "a greeting that becomes a refusal", TLS_NONE,
	  {"R 220-mx\r\n521 5.7.1 blocked\r\n|C QUIT|X"}, NULL, 1, "T",
	  "4.3.2", "521 mx 5.7.1 blocked", true },
	{ "or says that there is no room", TLS_NONE,
	  {"S 220-mx|S 421 4.3.2 busy|X"}, NULL, 1, "T", "4.3.2",
	  "421 mx 4.3.2 busy", true },
	{ "a greeting of two codes, of which none refuses", TLS_NONE,
	  {"R 220-mx\r\n250 ok\r\n|X"}, NULL, 1, "T", "4.5.0", NULL, true },
	{ "the codes of another reply differ", TLS_NONE,
	  {HELLO "C MAIL|R 250-ok\r\n550 no\r\n|X"}, NULL, 1, "T", "4.5.0",
	  NULL, true },
	{ "lost at EHLO", TLS_NONE, {"S 220 mx|C EHLO|X"}, NULL, 1, "T",
	  "4.4.2", NULL, true },
	{ "lost at MAIL", TLS_NONE, {HELLO "C MAIL|X"}, NULL, 1, "T", "4.4.2",
	  NULL, true },
	{ "lost at DATA", TLS_NONE, {HELLO MAIL RCPT0 "C DATA|X"}, NULL, 1,
	  "T", "4.4.2", NULL, true },
	{ "lost behind the dot: not to the next host", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 354 go|B|X"}, "S 220 never", 1, "T",
	  "4.4.2", "the connection was lost while waiting for the final "
	  "reply; the message may be sent twice" },
	/* A yes is one, however it goes on: no second copy. */
	{ "a yes to the message of two codes", TLS_NONE,
	  {TAKEN "R 250-2.0.0 ok\r\n251 queued\r\n|X"}, "S 220 never", 1, "D",
	  "2.0.0", "251 2.0.0 ok queued" },
	{ "a yes with a line that is none", TLS_NONE,
	  {TAKEN "R 250-ok\r\nqueued as 17\r\n250 bye\r\n|X"}, "S 220 never",
	  1, "D", "2.0.0", "250 ok" },
	{ "a yes that is too long", TLS_NONE, {TAKEN "R 250 |L 5000|X"},
	  "S 220 never", 1, "D", "2.0.0", NULL },
	{ "a yes that is cut off", TLS_NONE, {TAKEN "R 250 2.1.0 ta|X"},
	  "S 220 never", 1, "D", "2.1.0", "250 2.1.0 ta" },
	{ "a yes whose last line is missing", TLS_NONE, {TAKEN "S 250-ok|X"},
	  "S 220 never", 1, "D", "2.0.0", "250 ok" },
	{ "a yes with no space behind it", TLS_NONE, {TAKEN "S 250OK|X"},
	  "S 220 never", 1, "D", "2.0.0", "250 OK" },
	{ "a yes that may not be one", TLS_NONE, {TAKEN "R 250|X"},
	  "S 220 never", 1, "T", "4.4.2", NULL },
	{ "a yes that becomes a no", TLS_NONE,
	  {TAKEN "R 250-ok\r\n550 no\r\n|X"}, "S 220 never", 1, "T", "4.5.0",
	  NULL },
	{ "a no that is cut off", TLS_NONE, {TAKEN "S 550-no|X"},
	  "S 220 never", 1, "T", "4.4.2", NULL },
	{ "503 behind the dot", TLS_NONE, {TAKEN "S 503 5.5.1 no|X"},
	  "S 220 never", 1, "F", "5.5.1", "503 5.5.1 no" },
	{ "421 behind the dot: the next host", TLS_NONE,
	  {TAKEN "S 421 closing|X"}, HELLO MAIL RCPT0 BODY "X", 1, "D",
	  "2.0.0", NULL },
	{ "421 behind the dot, and no other host", TLS_NONE,
	  {TAKEN "S 421 closing|X"}, NULL, 1, "T", NULL, "421 closing" },
	{ "lost behind the dot, and not for the first time: the next host",
	  TLS_NONE, {TAKEN "X"}, HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0",
	  NULL, false, false, 1 },
	{ "and lost by that one, too", TLS_NONE, {TAKEN "X"}, TAKEN "X", 1,
	  "T", "4.4.2", "the connection was lost while waiting for the final "
	  "reply; the message may be sent twice", false, false, 1 },
	{ "lost behind the dot for the fourth time: one more copy is enough",
	  TLS_NONE, {TAKEN "X"}, "S 220 never", 1, "T", "4.4.2", NULL, false,
	  false, 3 },
	{ "nonsense behind it, and not for the first time: the next host",
	  TLS_NONE, {TAKEN "S ok|X"}, HELLO MAIL RCPT0 BODY "X", 1, "D",
	  "2.0.0", NULL, false, false, 1 },
	/* replies that are none */
	{ "a control character in a reply is only text", TLS_NONE,
	  {"S 220 mx|C EHLO|S 250 mx|C MAIL|S 550 5.7.1 a\x01" "b|X"}, NULL,
	  1, "F", "5.7.1", "550 5.7.1 a?b" },
	{ "a code of two digits", TLS_NONE, {"S 22 mx|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "a code of four digits", TLS_NONE, {"S 2200 mx|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "a code of another class", TLS_NONE, {"S 120 wait|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "an empty line", TLS_NONE, {"S 220 mx|C EHLO|S |X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "lines without end: no last one comes", TLS_NONE,
	  {"M 200|X"}, NULL, 1, "T", "4.5.0", NULL, true },
	{ "as many lines as anybody has", TLS_NONE,
	  {"M 100|S 220 mx|C EHLO|S 250 mx|" MAIL RCPT0 BODY "X"}, NULL, 1,
	  "D", "2.0.0", NULL },
	{ "only a code", TLS_NONE,
	  {"S 220|C EHLO|S 250|C MAIL|S 250|C RCPT|S 250|C DATA|S 354|B|S 250|"
	   "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "a greeting twice", TLS_NONE,
	  {"R 220 mx\r\n220 mx\r\n|X"}, NULL, 1, "T", "4.5.0", NULL, true },
	{ "354 to MAIL", TLS_NONE, {HELLO "C MAIL|S 354 go|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "354 to RCPT", TLS_NONE, {HELLO MAIL "C RCPT|S 354 go|X"}, NULL, 1,
	  "T", "4.5.0", NULL, true },
	{ "250 to DATA", TLS_NONE, {HELLO MAIL RCPT0 "C DATA|S 250 ok|X"},
	  NULL, 1, "T", "4.5.0", NULL, true },
	{ "354 to the message: not to the next host", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 354 go|B|S 354 go|X"}, "S 220 never", 1,
	  "T", "4.5.0", NULL },
	{ "nonsense to the message: not to the next host", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 354 go|B|S ok|X"}, "S 220 never", 1,
	  "T", "4.5.0", NULL },
	{ "421 at the greeting: the next host", TLS_NONE, {"S 421 no|X"},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "421 at EHLO: the next host", TLS_NONE,
	  {"S 220 mx|C EHLO|S 421 no|X"}, HELLO MAIL RCPT0 BODY "X", 1, "D",
	  "2.0.0", NULL },
	{ "421 at MAIL: the next host", TLS_NONE,
	  {HELLO "C MAIL|S 421 no|X"}, HELLO MAIL RCPT0 BODY "X", 1, "D",
	  "2.0.0", NULL },
	{ "421 at MAIL, and no other host: this message waits", TLS_NONE,
	  {HELLO "C MAIL|S 421 4.7.1 not you|X"}, NULL, 2, "TT", "4.7.1",
	  "421 4.7.1 not you", false },
	{ "421 at MAIL, ahead of all: this message waits", TLS_NONE,
	  {HELLO_PIPE AHEAD "S 421 4.7.1 not you|X"}, NULL, 2, "TT", "4.7.1",
	  "421 4.7.1 not you", false },
	{ "421 at DATA: the next host", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 421 no|X"}, HELLO MAIL RCPT0 BODY "X",
	  1, "D", "2.0.0", NULL },
	{ "421 at RSET: all have their results", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 550 5.1.1 no|C RSET|S 421 no|X"}, NULL, 1, "F",
	  "5.1.1", NULL },
	{ "521, of a host that takes no mail (RFC 7504)", TLS_NONE,
	  {"S 521 no mail here|C QUIT|X"}, HELLO MAIL RCPT0 BODY "X", 1, "D",
	  "2.0.0", NULL },
	{ "521 everywhere: perhaps only against us", TLS_NONE,
	  {"S 521 blocked|C QUIT|X"}, NULL, 1, "T", "4.3.2", NULL, true },
	{ "556, of a domain that takes no mail (RFC 7504)", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 556 5.1.10 no mail|C RSET|S 250 ok|X"}, NULL,
	  1, "F", "5.1.10", NULL },
	{ "EHLO refused for now: no HELO", TLS_NONE,
	  {"S 220 mx|C EHLO|S 451 later|C QUIT|X"}, NULL, 1, "T", "4.3.2",
	  NULL, true },
	{ "neither EHLO nor HELO", TLS_NONE,
	  {"S 220 mx|C EHLO|S 500 what|C HELO|S 550 no|C QUIT|X"}, NULL, 1,
	  "T", "4.3.2", NULL, true },
	{ "RSET refused: another connection for the next", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 450 4.2.0 no|C RSET|S 500 what|X"}, NULL, 1,
	  "T", "4.2.0", NULL },
	{ "a reply too many", TLS_NONE,
	  {HELLO "C MAIL|R 250 ok\r\n250 ok\r\n|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "421 right behind EHLO, again and again", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250 mx\r\n421 4.3.2 bye\r\n|X",
	   "S 220 mx|C EHLO|R 250 mx\r\n421 4.3.2 bye\r\n|X"}, NULL, 1, "T",
	  NULL, NULL, true },
	{ "half a reply behind EHLO, again and again", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250 mx\r\n42|", "S 220 mx|C EHLO|R 250 mx\r\n42|"},
	  NULL, 1, "T", NULL, NULL, true },
	/* pipelining */
	{ "in one write", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n|B|"
	   "S 250 2.0.0 taken|" "X"}, NULL, 2, "DD", "2.0.0", NULL },
	{ "half of it refused", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n|"
	   "B|S 250 2.0.0 taken|" "X"}, NULL, 2, "FD", "5.1.1", NULL },
	{ "354 to nobody", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n550 no\r\n550 no\r\n354 go\r\n|B|"
	   "S 554 no valid recipients|" "X"}, NULL, 2, "FF", "5.0.0",
	  "550 no" },
	{ "MAIL refused, the rest out of order", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 550 5.7.1 no\r\n503 x\r\n503 x\r\n503 x\r\n|"
	   "C RSET|S 250 ok|" "X"}, NULL, 2, "FF", "5.7.1", "550 5.7.1 no" },
	{ "a reply to the message before it was sent", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n|"
	   "X"}, NULL, 2, "TT", NULL, NULL, true },
	{ "too many for one transaction", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n250 ok\r\n452 4.5.3 enough\r\n"
	   "354 go\r\n|B|S 250 2.0.0 taken|C MAIL|C RCPT TO:<r1|C DATA|"
	   "R 250 ok\r\n250 ok\r\n354 go\r\n|B|S 250 2.0.0 again|" "X"}, NULL,
	  2, "DD", "2.0.0", NULL },
	{ "the first is too many", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 452 4.5.3 enough|C RSET|S 250 ok|X"}, NULL, 1,
	  "T", "4.5.3", "452 4.5.3 enough" },
	{ "a full mailbox is not too many", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n250 ok\r\n452 4.2.2 full\r\n"
	   "354 go\r\n|B|S 250 2.0.0 taken|" "X"}, NULL, 2, "DT", "2.0.0",
	  NULL },
	{ "larger than SIZE allows", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" "X"}, NULL, 1, "F",
	  "5.3.4", NULL },
	{ "SIZE without a number sets no bound", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE\r\n|" MAIL_SIZE RCPT0 BODY
	   "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "nor does a SIZE of 0", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 0\r\n|" MAIL_SIZE RCPT0 BODY
	   "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "but not than the next host allows", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE},
	  HELLO MAIL RCPT0 BODY "X", 1, "D", "2.0.0", NULL },
	{ "larger than both allow", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE},
	  "S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 11\r\n|" BYE, 1, "F",
	  "5.3.4", "the message is larger than the peer takes" },
	{ "larger than one allows, and the other one is down", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE,
	   "S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE}, "X", 1, "F",
	  "5.3.4", "the message is larger than the peer takes" },
	{ "larger than one allows, and both are down then", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE, "X"}, "X", 1,
	  "T", "4.4.2", NULL },
	{ "larger than one allows, and a worse one is down", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE,
	   "S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE}, "X", 1, "F",
	  "5.3.4", "the message is larger than the peer takes", false, true },
	{ "larger than one allows, and a better one is down", TLS_NONE, {"X"},
	  "S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE, 1, "T",
	  "4.3.4", "the message is larger than the peer takes; a host that is "
	  "preferred to it may take it later", false, true },
	{ "larger than one allows, and a better one wants it later", TLS_NONE,
	  {HELLO "C MAIL|S 451 4.7.1 later|C QUIT|X"},
	  "S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE, 1, "T",
	  "4.3.4", "the message is larger than the peer takes; a host that is "
	  "preferred to it may take it later", false, true },
	{ "larger than both allow, one better than the other", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE},
	  "S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 11\r\n|" BYE, 1, "F",
	  "5.3.4", NULL, false, true },
	/* TLS */
	{ "STARTTLS is not offered", TLS_OPPORTUNISTIC,
	  {HELLO MAIL RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "STARTTLS is refused", TLS_OPPORTUNISTIC,
	  {STARTTLS "S 454 not now|" MAIL RCPT0 BODY "X"}, NULL, 1, "D",
	  "2.0.0", NULL },
	{ "the handshake fails: in clear, on another connection",
	  TLS_OPPORTUNISTIC,
	  {STARTTLS "S 220 go|S this is not TLS|X",
	   HELLO MAIL RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "bytes behind the reply to STARTTLS", TLS_OPPORTUNISTIC,
	  {STARTTLS "R 220 go\r\n250 injected\r\n|X",
	   HELLO MAIL RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "STARTTLS is answered with several lines", TLS_OPPORTUNISTIC,
	  {STARTTLS "R 220-go\r\n220 ahead\r\n|S this is not TLS|X",
	   HELLO MAIL RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "bytes behind several lines", TLS_OPPORTUNISTIC,
	  {STARTTLS "R 220-go\r\n220 ahead\r\n2|X",
	   HELLO MAIL RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0", NULL },
	{ "250 to STARTTLS", TLS_OPPORTUNISTIC,
	  {STARTTLS "S 250 ok|X", HELLO MAIL RCPT0 BODY "X"}, NULL, 1, "D",
	  "2.0.0", NULL },
	{ "required, 250 to STARTTLS", TLS_REQUIRED,
	  {STARTTLS "S 250 ok|X", "S 220 never"}, NULL, 1, "T", "4.5.0", NULL,
	  true },
	{ "500 to STARTTLS: in clear", TLS_OPPORTUNISTIC,
	  {STARTTLS "S 500 what|" MAIL RCPT0 BODY "X"}, NULL, 1, "D", "2.0.0",
	  NULL },
	{ "not even in clear: one other connection, then the next host",
	  TLS_OPPORTUNISTIC, {STARTTLS "X", "X"}, HELLO MAIL RCPT0 BODY "X", 1,
	  "D", "2.0.0", NULL },
	{ "no TLS, and no mail without it: not for good", TLS_OPPORTUNISTIC,
	  {STARTTLS "S 454 not now|C MAIL|S 530 5.7.0 STARTTLS first|C QUIT|X"},
	  NULL, 1, "T", "4.7.5", "530 5.7.0 STARTTLS first", true },
	{ "broken TLS, and no mail without it: not for good",
	  TLS_OPPORTUNISTIC,
	  {STARTTLS "S 220 go|X", "S 220 mx|C EHLO|R 250-mx\r\n250 STARTTLS"
	   "\r\n|C MAIL|S 530 STARTTLS first|C QUIT|X"}, NULL, 1, "T",
	  "4.7.5", NULL, true },
	{ "530 for another reason is for good", TLS_OPPORTUNISTIC,
	  {HELLO "C MAIL|S 530 5.7.1 log in first|X"}, NULL, 1, "F", "5.7.1",
	  NULL },
	{ "gone at STARTTLS: in clear, on another connection",
	  TLS_OPPORTUNISTIC, {STARTTLS "X", HELLO MAIL RCPT0 BODY "X"}, NULL,
	  1, "D", "2.0.0", NULL },
	{ "421 to STARTTLS: in clear, on another connection",
	  TLS_OPPORTUNISTIC,
	  {STARTTLS "S 421 no|X", HELLO MAIL RCPT0 BODY "X"}, NULL, 1, "D",
	  "2.0.0", NULL },
	{ "required, gone at STARTTLS", TLS_REQUIRED,
	  {STARTTLS "X", "S 220 never"}, NULL, 1, "T", "4.4.2", NULL, true },
	{ "required, not offered", TLS_REQUIRED, {HELLO "X"}, NULL, 1, "T",
	  "4.7.4", NULL, true },
	{ "required, refused", TLS_REQUIRED,
	  {STARTTLS "S 454 4.7.0 not now|C QUIT|X"}, NULL, 1, "T", "4.7.0",
	  NULL, true },
	{ "required, the handshake fails", TLS_REQUIRED,
	  {STARTTLS "S 220 go|S this is not TLS|X", "S 220 never"}, NULL, 1,
	  "T", "4.7.5", NULL, true },
	{ "required, bytes behind STARTTLS", TLS_REQUIRED,
	  {STARTTLS "R 220 go\r\n250 injected\r\n|X", "S 220 never"}, NULL, 1,
	  "T", "4.7.5", NULL, true },
	{ "required, EHLO refused", TLS_REQUIRED,
	  {"S 220 mx|C EHLO|S 502 no|C HELO|S 250 ok|X"}, NULL, 1, "T",
	  "4.7.4", NULL, true },
};

static void
row_check(const struct script_row *row, struct run *run)
{
	cr_expect_str_eq(run->outcomes, row->outcomes, "%s: outcomes are %s",
			 row->name, run->outcomes);
	if (row->status != NULL)
		cr_expect_str_eq(run->status, row->status, "%s: status is %s",
				 row->name, run->status);
	if (row->reply != NULL)
		cr_expect_str_eq(run->reply, row->reply, "%s: reply is '%s'",
				 row->name, run->reply);
	cr_expect_eq(run->has_failed, row->has_failed, "%s: failed", row->name);
	cr_expect_eq(run->left_open, 0, "%s: a place is taken", row->name);
	for (size_t i = 0; i < run->hosts_count; i++) {
		cr_expect_str_eq(run->hosts[i].wrong, "", "%s: host %zu: %s",
				 row->name, i, run->hosts[i].wrong);
		text_done(&run->hosts[i].message);
	}
	if (row->host1 != NULL && strcmp(row->host1, "S 220 never") == 0)
		cr_expect_eq(run->hosts[1].connections, 0, "%s", row->name);
}

static void
row_run(const struct script_row *row)
{
	struct run run = {
		.tls = row->tls,
		.recipients = row->recipients,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = row->host1 != NULL ? 2 : 1,
		.is_ranked = row->is_ranked,
		.attempts = row->attempts,
	};

	for (size_t i = 0; i < SCRIPTS_MAX; i++)
		run.hosts[0].scripts[i] = row->host0[i];
	run.hosts[1].scripts[0] = row->host1;
	run_it(&run);
	row_check(row, &run);
}

/* Those that say QUIT do so after CONNECTION_IDLE_MS: in parts, side by side. */
#define PARTS 4
#define PART(number)                                                           \
	Test(connection, talks_to_all_kinds_of_hosts_##number, .timeout = 120)  \
	{                                                                      \
		for (size_t i = number; i < COUNT(script_rows); i += PARTS)    \
			row_run(&script_rows[i]);                              \
	}
PART(0)
PART(1)
PART(2)
PART(3)

/* --- stopping --- */

/* The second host never greets: what is to be tried there goes back at a stop,
 * and does not hold it up. */
Test(connection, gives_back_what_is_between_two_hosts, .timeout = 120)
{
	struct run run = {
		.recipients = 2,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {HELLO MAIL "C RCPT|S 550 5.1.1 no|"
				       RCPT1 "S 421 bye|X"}},
			  {.scripts = {"G |C nothing"}}},
		.stops = true,
	};

	store_waits = true;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "FN", "%s", run.outcomes);
	cr_expect_not(run.has_failed);
}

/* --- reloads --- */

static void
reload_run(const char *first, const char *retry, const char *second,
	   const char *outcomes)
{
	struct run run = {
		.tls = TLS_OPPORTUNISTIC,
		.recipients = 2,
		.messages = 2,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = second != NULL ? 2 : 1,
		.hosts = {{.scripts = {first, retry}}, {.scripts = {second}}},
		.reloads = true,
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, outcomes, "%s", run.outcomes);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	cr_expect_eq(run.hosts[0].connections, 1);
	cr_expect_eq(run.hosts[1].connections, 0);
	cr_expect_not(run.has_failed);
	cr_expect_eq(run.left_open, 0);
	text_done(&run.hosts[0].message);
	text_done(&run.hosts[1].message);
}

/* The policy for TLS may have changed, or the next hop: what has not been begun
 * goes back, whoever of the loop or the host comes first. */
Test(connection, begins_nothing_by_the_rules_of_old, .timeout = 120)
{
	static const char never[] = "S 220 never";

	reload_run(HELLO MAIL RCPT0 RCPT1 "S 250 ok|C DATA|S 354 go|B|N |"
		   "S 250 2.0.0 taken|" BYE, NULL, NULL, "DDNN");
	reload_run("N |" HELLO BYE, NULL, never, "NNNN");
	/* Not the next host, nor the same one in clear. */
	reload_run(HELLO MAIL "C RCPT|S 550 5.1.1 no|" RCPT1 "N |S 421 bye|X",
		   NULL, never, "FNNN");
	reload_run(HELLO "C MAIL|N |S 451 4.3.0 later|X", NULL, never, "NNNN");
	reload_run(STARTTLS "N |X", never, NULL, "NNNN");
}

/* --- the place at the site --- */

static void
place_run(const char *script, bool reloads)
{
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {script}}},
		.reloads = reloads,
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D", "%s", run.outcomes);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	cr_expect_eq(run.left_open, 0);
	text_done(&run.hosts[0].message);
}

/* Who allows one connection counts that which says QUIT; and one of whom nothing
 * more is wanted, be it with a connection or kept for a moment. */
Test(connection, has_its_place_until_it_is_closed, .timeout = 120)
{
	place_run(HELLO MAIL RCPT0 "C DATA|S 354 go|B|N |S 250 taken|C QUIT|P |"
		  "S 221 bye|X", true);
	place_run(HELLO MAIL RCPT0 BODY "C QUIT|P |S 221 bye|X", false);
	/* The host broke it off, and has yet to close. */
	place_run(HELLO MAIL RCPT0 "C DATA|S 354 go|B|"
		  "R 250 taken\r\n421 4.3.2 enough\r\n|F |X", false);
}

#define FEW                                                                    \
	"S 220 mx|C EHLO|R 250-mx\r\n250 LIMITS MAILMAX=1 RCPTMAX=1\r\n|"

/* A host that is not asked any more may count its connection until it is
 * closed. */
static const struct one_row {
	const char *name, *scripts[2], *next; /* NULL: one host */
	bool is_8bit, in_one_go, stops, reloads;
	const char *outcomes;
} one_rows[] = {
	{ "the next host", {"S 554 no|C QUIT|W |X"}, HELLO MAIL RCPT0 BODY BYE,
	  .outcomes = "D" },
	{ "the next one may take it", {HELLO "C QUIT|S 221 bye|W |X"},
	  "S 220 mx|C EHLO|R 250-mx\r\n250 8BITMIME\r\n|" MAIL RCPT0 BODY BYE,
	  .is_8bit = true, .outcomes = "D" },
	{ "the same host",
	  {FEW MAIL RCPT0 BODY "C QUIT|W |X", FEW MAIL RCPT1 "S 250 ok|" BODY BYE},
	  .in_one_go = true, .outcomes = "DD" },
	{ "no host", {"S 554 no|C QUIT|F |X"}, .outcomes = "T" },
	{ "a stop", {"S 554 no|C QUIT|W |N |X"}, "S 220 never", .stops = true,
	  .outcomes = "N" },
	{ "a reload", {"S 554 no|C QUIT|W |N |X"}, "S 220 never",
	  .reloads = true, .outcomes = "N" },
};

Test(connection, has_one_conversation_at_a_time, .timeout = 120)
{
	for (size_t i = 0; i < COUNT(one_rows); i++) {
		const struct one_row *row = &one_rows[i];
		struct run run = {
			.recipients = (unsigned)strlen(row->outcomes),
			.messages = 1,
			.body = SLICE(header),
			.in_memory = true,
			.is_8bit = row->is_8bit,
			.without_8bitmime = WITHOUT_8BITMIME_BOUNCE,
			.in_one_go = row->in_one_go,
			.stops_at_n = row->stops,
			.reloads = row->reloads,
			.hosts_count = row->next != NULL ? 2 : 1,
			.hosts = {{.scripts = {row->scripts[0],
					       row->scripts[1]}},
				  {.scripts = {row->next}}},
		};

		run_it(&run);
		cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s %s",
				 row->name, run.outcomes, run.reply);
		for (size_t j = 0; j < run.hosts_count; j++) {
			cr_expect_str_eq(run.hosts[j].wrong, "", "%s: %s",
					 row->name, run.hosts[j].wrong);
			text_done(&run.hosts[j].message);
		}
		cr_expect_eq(run.left_open, 0, "%s", row->name);
	}
}
