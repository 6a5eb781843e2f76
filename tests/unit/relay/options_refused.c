/*
 * What options_load() refuses, in which words: each mistake is one line.
 */
#include <criterion/criterion.h>
#include <sysexits.h>

#include "tests/unit/relay/options_stand.h"

TestSuite(options_refused, .init = options_stand_init,
	  .fini = options_stand_done);

static const struct {
	const char *input, *said;
} bad_rows[] = {
	{"hostname = \"a b\"",
	 "c:1: the domain name 'a b': holds ' ', which no domain "
	 "name may\n"},
	{"\nstate_dir = \"\"", "c:2: 'state_dir': must not be empty\n"},
	{"listener \"a\" {\n address = \"127.0.0.1\" }",
	 "c:2: 'address': "},
	{"listener \"a\" {\n address = \"localhost:25\" }",
	 "c:2: 'address': "},
	{"listener \"a\" {\n allow_from = {\"10.0.0.0/8\",\n\"10.0.0.0/33\"} }",
	 "c:3: 'allow_from': "},
	{"listener \"a\" { adress = \"127.0.0.1:25\" }",
	 "c:1: unknown option 'adress' in section 'listener'; did you mean "
	 "'address'?\n"},
	{"listener \"a\" { }\nlistener \"b\" { }",
	 "c:2: the listeners \"a\" and \"b\" have the same address\n"},
	{"listener \"a\" { address = \"127.0.0.1:25\" }\n"
	 "listener \"b\" { address = \"*:25\" }",
	 "c:2: the listeners \"a\" and \"b\" have the same port, and one of them "
	 "every address\n"},
	{"listener \"a\" { address = \"*:25\" }\n"
	 "listener \"b\" { address = \"[::1]:25\" }",
	 "c:2: the listeners \"a\" and \"b\" have the same port, and one of them "
	 "every address\n"},
	{"listener \"a\" { address = \"*:25\" }\n"
	 "listener \"b\" { address = \"0.0.0.0:25\" }",
	 "c:2: the listeners \"a\" and \"b\" have the same port, and one of them "
	 "every address\n"},
	{"listener \"a\" { address = \"0.0.0.0:25\" }\n"
	 "listener \"b\" { address = \"127.0.0.1:25\" }",
	 "c:2: the listeners \"a\" and \"b\" have the same port, and one of them "
	 "every address\n"},
	{"listener \"a\" { address = \"[::1]:25\" }\n"
	 "listener \"b\" { address = \"[::]:25\" }",
	 "c:2: the listeners \"a\" and \"b\" have the same port, and one of them "
	 "every address\n"},
	{"listener \"a\" {\ntls = \"starttls\"\ntls_cert = \"x\" }",
	 "c:2: 'tls' needs 'tls_key' in the listener \"a\"\n"},
	{"listener \"a\" {\ntls = \"implicit\"\ntls_key = \"x\" }",
	 "c:2: 'tls' needs 'tls_cert' in the listener \"a\"\n"},
	{"listener \"a\" {\nauth_without_tls = true\nauth = \"required\" }",
	 "c:3: 'auth' needs 'auth_file' or 'auth_dovecot' in the listener \"a\"\n"},
	{"listener \"a\" { address = \"*:2525\" }\n"
	 "delivery { smarthost = {\"127.0.0.1:2525\", \"[::1]:2525\"} }",
	 "c:2: 'smarthost' leads to a listener of this relay itself, so that "
	 "its mail would never leave\n"},
	{"delivery {\nsmarthost = \"192.0.2.256:25\" }",
	 "c:2: 'smarthost': '192.0.2.256' is no address\n"},
	{"domain \"*.example.com\" { selector \"a\" { key = \"k\" } }",
	 "c:1: the domains below one are not named by '*': write domain "
	 "\"example.com\" with 'subdomains = true'\n"},
	{"route \"*\" { via = \"127.0.0.1:2525\" }",
	 "c:1: 'via' leads to a listener of this relay itself, so that its "
	 "mail would never leave\n"},
	{"dns { resolvers = {\"127.0.0.1\", \"dns.example.com\"} }",
	 "c:1: 'resolvers': "},
	{"dns { resolvers = \"unix:/x\" }",
	 "c:1: 'resolvers': 'unix:/x' is not an address\n"},
	{"limits { max_message_size = \"2K\" max_header_size = \"4K\" }",
	 "c:1: 'max_header_size' is larger than 'max_message_size'\n"},
	{"limits { max_hops = 0 }",
	 "c:1: 'max_hops': 0 is out of range: 1 to 1000\n"},
	{"delivery { port = 65536 }",
	 "c:1: 'port': 65536 is out of range: 1 to 65535\n"},
	{"delivery { tls = \"always\" }",
	 "c:1: 'tls': 'always' is none of: none, opportunistic, required, "
	 "verify\n"},
	{"delivery { smarthost = \"mx.example.net:0\" }",
	 "c:1: 'smarthost': 'mx.example.net:0' is not host:port\n"},
	{"delivery { smarthost = \"user:hunter2@x.example:587\" }",
	 "c:1: 'smarthost': a login does not stand here: see auth_user and "
	 "auth_password_file\n"},
	{"route \"*\" {\nvia = {\"x.example:25\",\n"
	 "\"smtp://user:hunter2@x.example:25\"} }",
	 "c:3: 'via': a login does not stand here: see auth_user and "
	 "auth_password_file\n"},
	{"ipv6 = \"auto\"",
	 "c:1: unknown option 'ipv6'; it belongs into a section: "
	 "'delivery.ipv6'\n"},
	{"delivery { smarthost = \"-x.example.net:25\" }",
	 "c:1: 'smarthost': the domain name '-x.example.net': has a label "
	 "that begins or ends with '-'\n"},
	{"delivery { retry = {} }", "c:1: 'retry': the list is empty\n"},
	{"delivery { bounce_from = \"postmaster\" }",
	 "c:1: 'bounce_from': 'postmaster' is not an address such as "
	 "\"mailer-daemon@example.com\"\n"},
	{"delivery { bounce_copy = \"x@y@\" }",
	 "c:1: 'bounce_copy': 'x@y@' has '@' before its '@'\n"},
	{"delivery { bounce_size_limit = 1M }",
	 "c:1: 'bounce_size_limit': 1M is out of range: 0 to 192K\n"},
	{"route \"*.*.example.net\" { }",
	 "c:1: the domain name '*.example.net': holds '*', which no domain "
	 "name may\n"},
	{"route \"a.example\" { }\nroute \"A.EXAMPLE\" { }",
	 "c:2: the route \"A.EXAMPLE\" is there already, in c, line 1; 'from' "
	 "tells two of them apart\n"},
	{"route \"*\" { from = {\"a.example\"} }\n"
	 "route \"*\" { }\n"
	 "route \"*\" {\n from = {\"b.example\", \"A.example\"}\n}",
	 "c:4: a route \"*\" for \"a.example\" is there already, in c, line "
	 "1\n"},
	{"route \"*\" { from = {\"b\xc3\xbc.example\"} }\n"
	 "route \"*\" { from = {\"xn--b-eha.example\"} }",
	 "c:2: a route \"*\" for \"xn--b-eha.example\" is there already, in c, "
	 "line 1\n"},
	{"route \"*\" { from = {\"A@a.example\", \"a@A.example\"} }",
	 "c:1: 'from' names \"a@a.example\" twice\n"},
	{"route \"*\" { from = {\"@a.example\"} }",
	 "c:1: 'from': '@a.example': a domain is written without '@', "
	 "\"a.example\"\n"},
	{"route \"*\" { from = {\"*@a.example\"} }",
	 "c:1: 'from': '*@a.example': a domain is written without '@', "
	 "\"a.example\"\n"},
	{"route \"*\" { from = {\".a.example\"} }",
	 "c:1: 'from': '.a.example': the domains below one are "
	 "\"*.a.example\"\n"},
	{"route \"*\" { from = {\"u*@a.example\"} }",
	 "c:1: 'from': 'u*@a.example': '*' stands for a whole domain, or for "
	 "what is before its first dot\n"},
	{"route \"*\" { from = {\"\"} }",
	 "c:1: 'from': the null path is written \"<>\"\n"},
	{"route \"*\" { from = {\"a.example.\"} }",
	 "c:1: 'from': the domain name 'a.example.': ends with a dot: write it "
	 "without\n"},
	{"route \".a.example\" { }",
	 "c:1: '.a.example': the domains below one are \"*.a.example\"\n"},
	{"route \"@a.example\" { }",
	 "c:1: '@a.example': a domain is written without '@', \"a.example\"\n"},
	{"route \"192.0.2.1\" { }",
	 "c:1: '192.0.2.1': an address literal has brackets, "
	 "\"[192.0.2.1]\"\n"},
	{"route \"[IPv6:2001:DB8::1]\" { }\nroute \"[IPv6:2001:db8:0::1]\" { }",
	 "c:2: the route \"[IPv6:2001:db8:0::1]\" is there already, in c, line "
	 "1; 'from' tells two of them apart\n"},
	{"delivery { bind = {\"192.0.2.1\", \"192.0.2.2\"} }",
	 "c:1: 'bind' has two addresses of IPv4\n"},
	{"route \"a.example\" { bind = {\"2001:db8::1\", \"[2001:db8::2]\"} }",
	 "c:1: 'bind' has two addresses of IPv6\n"},
	{"route \"a.example\" { bind = \"192.0.2.1:25\" }",
	 "c:1: 'bind': '192.0.2.1:25' is not an address such as \"192.0.2.1\", "
	 "without a port\n"},
	{"delivery { bind = \"0.0.0.0\" }",
	 "c:1: 'bind': '0.0.0.0' is no address of a machine\n"},
	{"delivery { bind = \"ff02::1\" }",
	 "c:1: 'bind': 'ff02::1' is no address of a machine\n"},
	{"route \"a.example\" { helo = \"a b\" }",
	 "c:1: 'helo': the domain name 'a b': holds ' ', which no domain name "
	 "may\n"},
	{"route \"a.example\" { via = {\"b.example\", \"\"} }",
	 "c:1: 'via' names an empty host among others\n"},
	{"route \"a.example\" { via = {\"b.example\", \"B.example\"} }",
	 "c:1: 'via' names 'B.example' twice\n"},
	{"route \"*\" { via = \"a.example\" auth_user = \"u\" }",
	 "c:1: 'auth_user' needs 'auth_password_file'\n"},
	{"route \"*\" {\n\nauth_password_file = \"p\" }",
	 "c:3: 'auth_password_file' needs 'auth_user'\n"},
	{"route \"*\" {\nauth_user = \"u\" auth_password_file = \"p\" }",
	 "c:2: 'auth_user' needs 'via'\n"},
	{"route \"*\" { via = \"a.example\" tls = \"none\"\nauth_user = "
	 "\"u\" auth_password_file = \"p\" }",
	 "c:2: 'auth_user' with 'tls = \"none\"' would send the password in "
	 "clear; use TLS, or 'auth_without_tls'\n"},
	{"route \"*\" { tls = \"required\"\ntls_names = {\"a.example\"} }",
	 "c:2: 'tls_names' needs 'tls = \"verify\"'\n"},
	{"route \"*\" { tls = \"verify\"\ntls_names = {\"192.0.2.01\"} }",
	 "c:2: 'tls_names': '192.0.2.01' is an address, and names are compared: "
	 "the address of a certificate is compared where the host is named by "
	 "it\n"},
	{"route \"*\" { tls = \"verify\"\ntls_names = {\"*.a.example\"} }",
	 "c:2: 'tls_names': the domain name '*.a.example': holds '*', which no "
	 "domain name may\n"},
	{"delivery { tls = \"none\"\ntls_min = \"1.2\" }",
	 "c:2: 'tls_min' and 'tls = \"none\"' are at odds\n"},
	{"route \"*\" { implicit_tls = true }",
	 "c:1: 'implicit_tls' needs 'via'\n"},
	{"route \"*\" { via = \"a.example\" implicit_tls = true\n"
	 "tls = \"none\" }",
	 "c:2: 'implicit_tls' and 'tls = \"none\"' are at odds\n"},
	{"delivery {\nauth_user = \"u\" auth_password_file = \"p\" }",
	 "c:2: 'auth_user' needs 'smarthost'\n"},
	{"delivery { auth_password_file = \"p\" }",
	 "c:1: 'auth_password_file' needs 'auth_user'\n"},
	{"listener \"a\" {\nauth = \"optional\"\nauth_file = \"f\" }",
	 "c:2: nobody can log in at the listener \"a\": passwords are not taken "
	 "in clear; set 'tls', or 'auth_without_tls'\n"},
	{"listener \"a\" {\nauth_file = \"f\" }",
	 "c:2: 'auth_file' is of no use with 'auth' none\n"},
	{"milter { socket = \"inet:127.0.0.1\" }",
	 "c:1: 'socket': 'inet:127.0.0.1' is none of "
	 "\"inet:PORT@ADDRESS\", \"inet6:PORT@ADDRESS\" and "
	 "\"unix:/PATH\"\n"},
	{"milter {\nsocket = \"inet:8891@\" }",
	 "c:2: 'socket': 'inet:8891@' is none of \"inet:PORT@ADDRESS\", "
	 "\"inet6:PORT@ADDRESS\" and \"unix:/PATH\"\n"},
	{"milter { socket = \"inet:0@127.0.0.1\" }",
	 "c:1: 'socket': 'inet:0@127.0.0.1' is none of "
	 "\"inet:PORT@ADDRESS\", \"inet6:PORT@ADDRESS\" and "
	 "\"unix:/PATH\"\n"},
	{"milter { socket = \"tcp:1@127.0.0.1\" }",
	 "c:1: 'socket': 'tcp:1@127.0.0.1' is none of "
	 "\"inet:PORT@ADDRESS\", \"inet6:PORT@ADDRESS\" and "
	 "\"unix:/PATH\"\n"},
	{"milter { socket = \"inet:8891@mx.example.com\" }",
	 "c:1: 'socket': 'inet:8891@mx.example.com': 'mx.example.com' is not "
	 "an address\n"},
	{"milter { socket = \"inet:8891@::1\" }",
	 "c:1: 'socket': 'inet:8891@::1': an IPv6 address belongs to "
	 "'inet6'\n"},
	{"milter { socket = \"inet6:8891@127.0.0.1\" }",
	 "c:1: 'socket': 'inet6:8891@127.0.0.1': an IPv4 address belongs to "
	 "'inet'\n"},
	{"milter { socket = \"unix:milter.sock\" }",
	 "c:1: 'socket': 'unix:milter.sock' has no absolute path\n"},
	{"milter { socket_mode = \"0668\" }",
	 "c:1: 'socket_mode': '0668' is not a mode such as \"0660\"\n"},
	{"milter { socket_mode = \"4755\" }",
	 "c:1: 'socket_mode': '4755' is not a mode such as \"0660\"\n"},
	{"milter { sign_from = {\"127.0.0.1\", \"all\"} }",
	 "c:1: 'sign_from': 'all' is not a network (as in \"192.0.2.0/24\" "
	 "or \"2001:db8::/32\")\n"},
	{"milter { sign_daemons = {\"\"} }",
	 "c:1: 'sign_daemons': '' is not the name of a daemon\n"},
	{"milter { authserv_id = \"a; b\" }",
	 "c:1: 'authserv_id': 'a; b' is not a name such as "
	 "\"mx.example.com\"\n"},
	{"milter { mode = \"none\" }",
	 "c:1: 'mode': 'none' is none of: sign, verify, both\n"},
	{"signing { canonicalization = \"relaxed\" }",
	 "c:1: 'canonicalization': 'relaxed' is none of: relaxed/relaxed, "
	 "relaxed/simple, simple/relaxed, simple/simple\n"},
	{"signing { unsigned = \"drop\" }",
	 "c:1: 'unsigned': 'drop' is none of: relay, reject\n"},
	{"domain \"example.com\" { }",
	 "c:1: the domain \"example.com\" has no selector\n"},
	{"domain \"*\" {\nidentity = \"@a.example\"\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:2: 'identity' has no meaning in the domain \"*\", whose d= is the "
	 "author's\n"},
	{"domain \"a.example\" {\nidentity = \"u@ba.example\"\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:2: 'identity': 'u@ba.example' is not within the domain "
	 "\"a.example\" (RFC 6376 3.5)\n"},
	{"domain \"a.example\" { identity = \"a.example\"\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:1: 'identity': 'a.example' is neither \"user@example.com\" nor "
	 "\"@example.com\"\n"},
	{"domain \"a.example\" { also_sign = \"b.example\"\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:1: 'also_sign': there is no domain \"b.example\" with a "
	 "selector\n"},
	{"domain \"a.example\" { also_sign = \"A.example\"\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:1: 'also_sign': the domain \"a.example\" signs already\n"},
	{"domain \"a.example\" { also_sign = {\"b.example\", \"B.example\"} }\n"
	 "domain \"b.example\" { selector \"s\" { key = \"k\" } }",
	 "c:1: 'also_sign': the domain \"b.example\" signs already\n"},
	{"domain \"a.example\" { expire = \"1y\"\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:1: 'expire': "},
	{"domain \"a.example\" { canonicalization = \"simple\"\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:1: 'canonicalization': 'simple' is none of: relaxed/relaxed"},
	{"signing { headers = {\"From\", \"Bcc\"} }",
	 "c:1: 'headers': 'Bcc' changes on the way and must not be signed"},
	{"signing { oversign = {\"a:b\"} }",
	 "c:1: 'oversign': 'a:b' is not the name of a field\n"},
	{"signing { oversign = {\"none\", \"To\"} }",
	 "c:1: 'oversign': \"none\" stands alone\n"},
	{"domain \"a.example\" { oversign = {\"To\", \"None\"}\n"
	 "selector \"s\" { key = \"k\" } }",
	 "c:1: 'oversign': \"none\" stands alone\n"},
	{"signing { sender_match = \"last\" }",
	 "c:1: 'sender_match': 'last' is none of: first, all\n"},
	{"sender \"a@a.example\" { }",
	 "c:1: 'sign' is missing in the section 'sender \"a@a.example\"'\n"},
	{"sender \"a.example\" { sign = {} }",
	 "c:1: 'a.example' is not a sender pattern such as "
	 "\"*@news.example.com\"\n"},
	{"sender \"*@*\" {\nsign = \"a.example\" }",
	 "c:2: 'sign': there is no domain \"a.example\" with a selector\n"},
	{"sender \"*@*\" {\nsign = \"*\" }",
	 "c:2: 'sign': there is no domain \"*\" with a selector\n"},
	{"sender \"*@*\" { sign = \"a b\" }", "c:1: 'sign': "},
	{"domain \"a.example\" { selector \"s\" { key = \"k\" } }\n"
	 "sender \"*@*\" {\nsign = \"t._domainkey.a.example\" }",
	 "c:3: 'sign': there is no selector \"t\" in a domain "
	 "\"a.example\"\n"},
	{"domain \"a.example\" { selector \"s\" { key = \"k\"\n"
	 "state = retired } }\n"
	 "sender \"*@*\" { sign = \"s._domainkey.a.example\" }",
	 "c:3: 'sign' names no active selector\n"},
	{"domain \"a.example\" { selector \"s\" { key = \"k\" } }\n"
	 "sender \"*@*\" { sign = \"a.example\" identity = \"@b.example\" }",
	 "c:2: 'identity': '@b.example' is not within a domain of 'sign' "
	 "(RFC 6376 3.5)\n"},
	{"signing { existing = \"drop\" }",
	 "c:1: 'existing': 'drop' is none of: keep, strip, skip\n"},
	{"domain \"a.example\" { selector \"s\" { key = \"k\"\n"
	 "from = \"*@b.a.example\" } }",
	 "c:2: 'from': '*@b.a.example' is nobody of the domain \"a.example\"; "
	 "subdomains = true is missing\n"},
	{"domain \"a.example\" { selector \"s\" { key = \"k\"\n"
	 "from = \"*@b.example\" } }",
	 "c:2: 'from': '*@b.example' is nobody of the domain \"a.example\"\n"},
	{"domain \"a.example\" { selector \"s\" { key = \"k\"\n"
	 "from = \"a.example\" } }",
	 "c:2: 'from': 'a.example' is not a sender pattern such as "
	 "\"*@news.example.com\"\n"},
	{"account \"a\" { from = {\"\\\"b\\\"c@a.example\"} }",
	 "c:1: 'from': '\"b\"c@a.example' is not a sender pattern such as "
	 "\"*@news.example.com\"\n"},
	{"domain \"example.com\" {\nselector \"s\" { } }",
	 "c:2: 'key' is missing in the section 'selector \"s\"'\n"},
	{"domain \"example.com\" {\nselector \"s~1\" { key = \"k\" } }",
	 "c:2: the selector 's~1': holds '~', which no domain name may\n"},
	{"hostname = \"mail_1.example.com\"",
	 "c:1: the domain name 'mail_1.example.com': holds '_', which no domain "
	 "name may\n"},
	{"domain \"example.com.\" { selector \"s\" { key = \"k\" } }",
	 "c:1: the domain name 'example.com.': ends with a dot: write it "
	 "without\n"},
	{"domain \"b\xe2\x80\xae.example\" { selector \"s\" { key = \"k\" } }",
	 "c:1: the domain name 'b\xe2\x80\xae.example': has letters beyond "
	 "ASCII that no domain name may have\n"},
	{"domain \"b\xc3\xbc.example\" { selector \"s\" { key = \"k\" } }\n"
	 "domain \"xn--b-eha.example\" { selector \"s\" { key = \"k\" } }",
	 "c:2: \"xn--b-eha.example\" is the same name as "
	 "\"b\xc3\xbc.example\" in c, line 1\n"},
	{"route \"*.b\xc3\xbc.example\" { }\n"
	 "route \"*.xn--b-eha.example\" { }",
	 "c:2: the route \"*.xn--b-eha.example\" is there already, in c, line "
	 "1; 'from' tells two of them apart\n"},
	{"domain \"a.example\" { selector \"s\" { key = \"k\" } }\n"
	 "domain \"A.example\" { selector \"s\" { key = \"k\" } }",
	 "c:2: duplicate section 'domain \"A.example\"': the first is in c, "
	 "line 1\n"},
	{"domain = \"x\"",
	 "c:1: 'domain' is a section with a title: domain \"…\" {…}\n"},
	{"limits {\nmax_hops = 1\n",
	 "c:3: the file ends inside the section 'limits' that begins on line "
	 "1: a '}' is missing\n"},
};

Test(options_refused, in_words)
{
	for (size_t i = 0; i < COUNT(bad_rows); i++) {
		CLEAN(fixture_done) struct fixture f;
		size_t len = strlen(bad_rows[i].said);

		cr_expect_not(fixture_of(&f, bad_rows[i].input), "%s",
			      bad_rows[i].input);
		cr_expect_eq(f.options, NULL);
		cr_expect_eq(strncmp(text_string(&f.said), bad_rows[i].said,
				     len), 0, "%s\n%s", bad_rows[i].input,
			     text_string(&f.said));
		/* One mistake, one line. */
		cr_expect_eq(slice_find(text_slice(&f.said), '\n'),
			     (ptrdiff_t)f.said.len - 1, "%s\n%s",
			     bad_rows[i].input, text_string(&f.said));
		cr_expect_eq(options_exit_code(&f.fault), EX_CONFIG);
	}
}

/* What is no name of ours may be a secret, and is left out; ours are said, also
 * those that look like one, by the parser and behind it. */
Test(options_refused, names_every_option_as_it_is)
{
	for (size_t i = 0; i < options_table.count; i++) {
		CLEAN(fixture_done) struct fixture f;
		CLEAN(text_done) struct text input = {0}, said = {0};
		struct slice key = SLICE(options_table.options[i].key);
		struct slice name = slice_from(
			key, (size_t)(slice_find_last(key, '.') + 1));

		text_addf(&input, "hunter2 {\n%.*s =\n}", SLICE_ARG(name));
		text_addf(&said, "c:2: '%.*s' has no value\n", SLICE_ARG(name));
		cr_expect_not(fixture_of(&f, text_string(&input)));
		cr_expect_not_null(strstr(text_string(&f.said),
					  text_string(&said)),
				   "%s", text_string(&f.said));
		cr_expect_null(strstr(text_string(&f.said), "hunter2"));
	}
}
