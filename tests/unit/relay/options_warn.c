#include <criterion/criterion.h>

#include "relay/options_warn.h"
#include "tests/unit/relay/options_stand.h"

TestSuite(options_warn, .init = options_stand_init,
	  .fini = options_stand_done);

static struct text said;

static void
hear(const char *text)
{
	text_addf(&said, "%s\n", text);
}

#define NAME "hostname = \"mail.example.com\"\n"
#define KEYS "domain \"example.com\" { selector \"a\" { key = \"k\" } }\n"

static const struct warn_row {
	const char *name, *input;
	const char *said; /* how the only line begins; "": none */
} warn_rows[] = {
	{ "a full name", NAME, "" },
	{ "a short name", "hostname = \"mail\"",
	  "c:1: 'hostname' \"mail\" is no full name" },
	{ "the default", NAME "\n", "" },
	{ "the machine's own name, with a dot or not", "user = \"a\"", "" },
	{ "nothing at all", "# domain\n", "c: says nothing" },
	{ "own networks", NAME "listener \"a\" { address = \"*:25\" "
			       "allow_from = {\"10.0.0.0/8\", \"fc00::/7\"} }",
	  "" },
	{ "everybody", NAME "listener \"a\" { address = \"*:25\"\n"
			    "allow_from = {\"10.0.0.0/8\", \"0.0.0.0/0\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY" },
	{ "everybody by IPv6", NAME "listener \"a\" { address = \"[::]:25\"\n"
				    "allow_from = {\"::/0\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY" },
	{ "half of everybody", NAME
	  "listener \"a\" { address = \"192.0.2.1:25\"\n"
	  "allow_from = {\"128.0.0.0/1\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY" },
	{ "everybody on this machine", NAME
	  "listener \"a\" { allow_from = {\"0.0.0.0/0\"} }", "" },
	{ "everybody, by IPv6's loopback", NAME
	  "listener \"a\" { address = \"[::1]:25\" "
	  "allow_from = {\"::/0\"} }", "" },
	{ "everybody by a Unix socket", NAME
	  "listener \"a\" { address = \"unix:/run/x\" "
	  "allow_from = {\"::/0\"} }", "" },
	{ "everybody behind a proxy", NAME
	  "listener \"a\" { proxy_from = {\"127.0.0.1\"}\n"
	  "allow_from = {\"0.0.0.0/0\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY" },
	{ "everybody is a proxy", NAME
	  "listener \"a\" { address = \"*:25\" auth = \"required\" "
	  "auth_without_tls = true auth_file = \"u\"\n"
	  "proxy_from = {\"::/0\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY: 'proxy_from' believes" },
	{ "everybody is a front", NAME
	  "listener \"a\" { address = \"*:25\" auth = \"required\" "
	  "auth_without_tls = true auth_file = \"u\"\n"
	  "xclient_from = {\"10.0.0.0/8\", \"0.0.0.0/0\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY: 'xclient_from' believes" },
	{ "everybody on this machine is a front", NAME
	  "listener \"a\" { xclient_from = {\"0.0.0.0/0\"} }", "" },
	{ "fronts of one's own", NAME
	  "listener \"a\" { address = \"*:25\" "
	  "proxy_from = {\"192.0.2.1\"} xclient_from = {\"10.0.0.0/8\"} }",
	  "" },
	{ "everybody by systemd's socket", NAME
	  "listener \"a\" { address = \"systemd:x\"\n"
	  "allow_from = {\"0.0.0.0/0\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY" },
	{ "everybody who may log in", NAME
	  "listener \"a\" { address = \"*:25\" auth = \"optional\" "
	  "auth_without_tls = true auth_file = \"u\"\n"
	  "allow_from = {\"0.0.0.0/0\"} }",
	  "c:3: the listener \"a\" is an OPEN RELAY" },
	{ "everybody who logs in", NAME
	  "listener \"a\" { address = \"*:25\" auth = \"required\" "
	  "auth_without_tls = true auth_file = \"u\"\n"
	  "allow_from = {\"0.0.0.0/0\"} }", "" },
	{ "everybody's mail to a milter", NAME KEYS
	  "milter {\nsign_from = {\"0.0.0.0/0\"} }",
	  "c:4: 'milter.sign_from' names everybody" },
	{ "everybody's mail to a milter without keys", NAME
	  "milter { sign_from = {\"0.0.0.0/0\"} }", "" },
	{ "an author that is signed", NAME KEYS
	  "listener \"a\" { rewrite_from = \"a@Example.com\" }", "" },
	{ "an author that is not", NAME KEYS
	  "listener \"a\" {\nrewrite_from = \"*@example.org\" }",
	  "c:4: 'rewrite_from' gives mail the author *@example.org" },
	{ "a subdomain that is not", NAME KEYS
	  "account \"a\" {\nrewrite_from = \"a@sub.example.com\" }",
	  "c:4: 'rewrite_from' gives mail the author a@sub.example.com" },
	{ "a subdomain that is", NAME
	  "domain \"example.com\" { subdomains = true "
	  "selector \"a\" { key = \"k\" } }\n"
	  "account \"a\" { rewrite_from = \"a@sub.example.com\" }", "" },
	{ "no subdomain at all", NAME
	  "domain \"example.com\" { subdomains = true "
	  "selector \"a\" { key = \"k\" } }\n"
	  "account \"a\" {\nrewrite_from = \"a@subexample.com\" }",
	  "c:4: 'rewrite_from'" },
	{ "whoever it is", NAME
	  "domain \"*\" { selector \"a\" { key = \"k\" } }\n"
	  "listener \"a\" { rewrite_from = \"a@example.org\" }", "" },
	{ "room for two messages that are mended", NAME
	  "limits { max_incoming = \"337M\" }", "" },
	{ "room for less", NAME
	  "limits {\nmax_incoming = \"336M\" }",
	  "c:3: with 'limits.max_incoming' below 337M " },
	{ "room for less of larger ones", NAME
	  "limits {\nmax_message_size = \"100M\" }",
	  "c:2: with 'limits.max_incoming' below 670M " },
	{ "signatures for ever", NAME "signing { expire = 0s }", "" },
	{ "signatures that outlive the queue", NAME
	  "signing { expire = 121h } delivery { expire = 5d }", "" },
	{ "signatures that do not outlive the last attempt", NAME
	  "signing {\nexpire = 120h }",
	  "c:3: 'signing.expire' ends signatures after 5d, but a message may "
	  "wait in the queue for 5d ('delivery.expire')" },
	{ "signatures that do not outlive a longer queue", NAME
	  "delivery { expire = 8d }\nsigning { expire = 7d }",
	  "c:3: 'signing.expire' ends signatures after 7d, but a message may "
	  "wait in the queue for 8d ('delivery.expire')" },
	{ "a domain's signatures", NAME
	  "domain \"example.net\" { selector \"a\" { key = \"k\" } }\n"
	  "domain \"example.com\" { selector \"a\" { key = \"k\" }\n"
	  "expire = \"36h\" }",
	  "c:4: 'domain.expire' ends signatures after 36h, but" },
	{ "a domain's signatures for ever", NAME
	  "signing { expire = 6d }\n"
	  "domain \"example.com\" { selector \"a\" { key = \"k\" }\n"
	  "expire = \"0s\" }", "" },
	{ "a sender of its own", NAME KEYS
	  "sender \"*@example.org\" { sign = {\"a._domainkey.example.com\"} }\n"
	  "listener \"a\" { rewrite_from = \"a@example.org\" }", "" },
	{ "a sender that nobody signs", NAME KEYS
	  "sender \"*@example.org\" { sign = {} }\n"
	  "listener \"a\" {\nrewrite_from = \"a@example.org\" }",
	  "c:5: 'rewrite_from'" },
	{ "TLS from the start", NAME
	  "delivery { smarthost = \"a.example:465\" implicit_tls = true }\n"
	  "route \"*\" { via = \"a.example:587\" }", "" },
	{ "TLS too late", NAME
	  "delivery {\nsmarthost = {\"a.example:587\", \"a.example:465\"} }",
	  "c:3: 'smarthost' leads to port 465, where TLS begins at once" },
	{ "TLS too early", NAME
	  "route \"*\" { implicit_tls = true\nvia = \"a.example\" }",
	  "c:3: 'via' leads to port 25, where TLS begins with STARTTLS" },
	{ "no keys at all", NAME
	  "listener \"a\" { rewrite_from = \"a@example.org\" }", "" },
};

Test(options_warn, of_what_hardly_anybody_means)
{
	for (size_t i = 0; i < COUNT(warn_rows); i++) {
		const struct warn_row *row = &warn_rows[i];
		struct fixture fixture;

		text_clear(&said);
		cr_assert(fixture_of(&fixture, row->input), "%s: %s",
			  row->name, text_string(&fixture.said));
		options_warn(fixture.options, hear);
		if (row->said[0] == '\0')
			cr_expect_eq(said.len, 0, "%s: %s", row->name,
				     text_string(&said));
		else
			cr_expect(slice_starts(text_slice(&said),
					       SLICE(row->said)) &&
					  slice_find(text_slice(&said), '\n') ==
						  (ptrdiff_t)said.len - 1,
				  "%s: %s", row->name, text_string(&said));
		fixture_done(&fixture);
	}
	text_done(&said);
}
