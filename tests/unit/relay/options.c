#include "relay/options.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/options_check.h"
#include "relay/resolvers.h"
#include "tests/unit/relay/options_stand.h"

/* The documented configuration, word for word. */
static const char sample[] =
	"hostname  = \"\"                               # default: the machine's full name\n"
	"state_dir = \"/var/lib/signet\"\n"
	"keys_dir  = \"/etc/signet/keys\"               # relative `key` paths start here\n"
	"user      = \"signet\"                         # the relay's, when started as root\n"
	"log { format = \"text\" }                      # text | json\n"
	"\n"
	"dns { resolvers = {} }                       # default: /etc/resolv.conf; \"127.0.0.1:5353\"\n"
	"\n"
	"listener \"apps\" {                            # default: one, on 127.0.0.1:2525\n"
	"    address    = \"127.0.0.1:2525\"            # also \"[::1]:2525\", \"*:25\", \"unix:/run/…\"\n"
	"    allow_from = {\"127.0.0.0/8\", \"::1/128\"}  # who may relay without AUTH\n"
	"    tls        = \"none\"                      # none | starttls | implicit\n"
	"    tls_cert   = \"\"\n"
	"    tls_key    = \"\"\n"
	"    auth       = \"none\"                      # none | optional | required\n"
	"    auth_file  = \"\"                          # USER:HASH a line, crypt(3) or {SCRAM-SHA-256}…\n"
	"    auth_without_tls = false\n"
	"}\n"
	"\n"
	"limits { max_message_size = \"50M\"  max_recipients = 1000  max_hops = 100  max_header_size = \"1M\" }\n"
	"\n"
	"delivery {\n"
	"    port      = 25\n"
	"    smarthost = \"\"                           # \"\" = direct to MX, or \"host:port\"\n"
	"    tls       = \"opportunistic\"              # none | opportunistic | required\n"
	"    retry     = {\"5m\", \"15m\", \"30m\", \"1h\"}   # the last one repeats\n"
	"    expire    = \"5d\"\n"
	"    bounce_from = \"\"                         # From of our reports; default MAILER-DAEMON@hostname\n"
	"}\n"
	"\n"
	"route \"example.net\" {                        # any number; \"*.example.net\", \"*\"; the closest wins\n"
	"    via  = \"host:port\"                       # as smarthost; \"\" = direct to MX\n"
	"    tls  = \"opportunistic\"                   # none | opportunistic | required | verify\n"
	"    auth_user = \"\"  auth_password_file = \"\"\n"
	"}\n"
	"\n"
	"milter { socket = \"inet:8891@127.0.0.1\" }    # or \"unix:/run/signet/milter.sock\"\n"
	"\n"
	"signing {\n"
	"    canonicalization = \"relaxed/relaxed\"\n"
	"    unsigned         = \"relay\"               # relay | reject: mail whose From domain has no key\n"
	"}\n"
	"\n"
	"domain \"example.com\" {\n"
	"    subdomains = false\n"
	"    selector \"2026a\" { key = \"example.com/2026a.pem\" }\n"
	"    selector \"2026e\" { key = \"example.com/2026e.pem\" }\n"
	"}\n";

TestSuite(options, .init = options_stand_init, .fini = options_stand_done);

/* ---- defaults and the sample ---- */

Test(options, every_default_fits)
{
	struct options *options = options_default();

	cr_expect_gt(options->hostname.len, 0);
	cr_expect(slice_eq(options->state_dir, SLICE("/var/lib/signet")));
	cr_expect(slice_eq(options->keys.keys_dir, SLICE("/etc/signet/keys")));
	cr_expect(slice_eq(options->user, SLICE("signet")));
	cr_expect_eq(options->log.format, LOG_FORMAT_TEXT);
	cr_expect_eq(options->log.level, LOG_LEVEL_INFO);
	cr_expect_gt(options->dns.resolvers_count, 0);
	cr_assert_eq(options->listeners_count, 1);
	cr_expect(slice_eq(options->listeners[0].address_text,
			   SLICE("127.0.0.1:2525")));
	cr_expect_eq(address_port(&options->listeners[0].address), 2525);
	cr_expect_eq(options->listeners[0].allow_from_count, 2);
	cr_expect_eq(options->limits.max_message_size, 52428800);
	cr_expect_eq(options->limits.max_recipients, 1000);
	cr_expect_eq(options->limits.max_hops, 100);
	cr_expect_eq(options->limits.max_header_size, 1048576);
	cr_expect_eq(options->limits.command_timeout_ms, 5 * MINUTE);
	cr_expect_eq(options->delivery.port, 25);
	cr_expect_eq(options->delivery.tls, TLS_OPPORTUNISTIC);
	cr_expect_eq(options->delivery.ipv6, IPV6_AUTO);
	cr_expect_eq(options->delivery.refuse_addresses_count, 0);
	cr_assert_eq(options->delivery.retry_count, 4);
	cr_expect_eq(options->delivery.retry_ms[0], 5 * MINUTE);
	cr_expect_eq(options->delivery.retry_ms[3], 1 * HOUR);
	cr_expect_eq(options->delivery.expire_ms, 5 * DAY);
	cr_expect_eq(options->delivery.delay_warning_ms, 4 * HOUR);
	cr_expect_eq(options->delivery.bounce_copy.len, 0);
	cr_expect_eq(options->delivery.bounce_size_limit, 50 * 1024);
	cr_expect(slice_eq(options->milter.socket_text,
			   SLICE("inet:8891@127.0.0.1")));
	cr_expect_eq(address_port(&options->milter.socket), 8891);
	cr_expect_eq(options->milter.socket_mode, 0660);
	cr_expect_eq(options->milter.mode, MILTER_SIGN);
	cr_expect_eq(options->milter.sign_from_count, 2);
	cr_expect(options->milter.sign_authenticated);
	cr_assert_eq(options->milter.sign_daemons_count, 1);
	cr_expect(slice_eq(options->milter.sign_daemons[0],
			   SLICE("ORIGINATING")));
	cr_expect_eq(options->milter.on_error, ON_ERROR_TEMPFAIL);
	cr_expect_eq(options->milter.authserv_id.len, 0);
	cr_expect_eq(options->milter.dns_timeout_ms, 5 * SECOND);
	cr_expect_eq(options->milter.max_connections, 1000);
	cr_expect_eq(options->signing.header_canon, CANON_RELAXED);
	cr_expect_eq(options->signing.body_canon, CANON_RELAXED);
	cr_expect_eq(options->signing.unsigned_action, UNSIGNED_RELAY);
	cr_expect_not(options->strict_key_modes);
	cr_expect_eq(options->keys.domains_count, 0);
	options_free(options);
}

static const struct {
	const char *name, *text, *socket;
} milter_socket_rows[] = {
	{"inet", "inet:8891@192.0.2.1", "192.0.2.1:8891"},
	{"every address", "inet:8891@0.0.0.0", "0.0.0.0:8891"},
	{"inet6", "inet6:8891@::1", "[::1]:8891"},
	{"in brackets", "inet6:8891@[2001:db8::1]", "[2001:db8::1]:8891"},
	{"a known name", "inet:8891@localhost", "127.0.0.1:8891"},
	{"the same, of IPv6", "inet6:8891@localhost", "[::1]:8891"},
	{"unix", "unix:/run/signet/milter.sock",
	 "unix:/run/signet/milter.sock"},
	{"as Sendmail calls it", "local:/run/milter", "unix:/run/milter"},
};

Test(options, milter_sockets)
{
	for (size_t i = 0; i < COUNT(milter_socket_rows); i++) {
		CLEAN(text_done) struct text file = {0};
		struct fixture fixture;
		char socket[ADDRESS_TEXT_SIZE];

		text_addf(&file, "milter { socket = \"%s\" }",
			  milter_socket_rows[i].text);
		cr_assert(fixture_of(&fixture, text_string(&file)), "%s: %s",
			  milter_socket_rows[i].name,
			  text_string(&fixture.said));
		address_write(&fixture.options->milter.socket, socket);
		cr_expect_str_eq(socket, milter_socket_rows[i].socket, "%s",
				 milter_socket_rows[i].name);
		fixture_done(&fixture);
	}
}

Test(options, every_row_is_whole)
{
	for (size_t i = 0; i < options_table.count; i++) {
		const struct conf_option *row = &options_table.options[i];
		bool is_section = row->kind == CONF_SECTION ||
				  row->kind == CONF_TITLED;
		CLEAN(arena_done) struct arena arena = {0};
		struct slice rest, part;
		struct fault fault;
		char field[512] = {0};
		uint64_t most = row->size == 2 ? UINT16_MAX : UINT64_MAX;

		cr_expect(slice_ends_nocase(SLICE(row->help), SLICE(".")),
			  "%s: help", row->key);
		cr_expect_leq(row->size, sizeof(field), "%s", row->key);
		if (row->kind == CONF_COUNT)
			cr_expect_leq(row->max, most, "%s", row->key);
		if (row->kind == CONF_BOOL)
			cr_expect_eq(row->size, sizeof(bool), "%s", row->key);
		if (is_section)
			continue;
		cr_assert(row->fallback != NULL || row->example != NULL);
		if (row->fallback == NULL)
			continue;
		rest = SLICE(row->fallback);
		if (row->kind != CONF_LIST && row->kind != CONF_DURATIONS)
			cr_expect(conf_value_read(row, rest, &arena, field,
						  &fault),
				  "%s", row->key);
		else
			while (slice_split(&rest, ' ', &part))
				cr_expect(conf_value_read(row, part, &arena,
							  field, &fault),
					  "%s", row->key);
	}
}

Test(options, the_documented_sample_parses)
{
	CLEAN(fixture_done) struct fixture f;

	cr_assert(fixture_of(&f, sample), "%s", text_string(&f.said));
	cr_assert_eq(f.options->listeners_count, 1);
	cr_expect(slice_eq(f.options->listeners[0].name, SLICE("apps")));
	cr_assert_eq(f.options->routes_count, 1);
	cr_expect(slice_eq(f.options->routes[0].pattern,
			   SLICE("example.net")));
	cr_expect_eq(f.options->routes[0].via_count, 0);
	cr_assert_eq(f.options->keys.domains_count, 1);
	cr_assert_eq(f.options->keys.domains[0].selectors_count, 2);
	cr_expect(slice_eq(f.options->keys.domains[0].selectors[1].key_path,
			   SLICE("example.com/2026e.pem")));
	cr_expect_eq(f.options->keys.domains[0].selectors[1].line,
		     f.options->keys.domains[0].line + 3);
	cr_expect_str_eq(f.options->keys.domains[0].file, "c");
}

static void
same_expect(const struct options *a, const struct options *b)
{
	cr_expect(slice_eq(a->state_dir, b->state_dir));
	cr_expect_eq(memcmp(&a->limits, &b->limits, sizeof(a->limits)), 0);
	cr_expect_eq(a->delivery.retry_count, b->delivery.retry_count);
	cr_expect_eq(a->delivery.expire_ms, b->delivery.expire_ms);
	cr_expect_eq(a->listeners_count, b->listeners_count);
	cr_expect(slice_eq(a->listeners[0].address_text,
			   b->listeners[0].address_text));
	cr_expect(slice_eq(a->hostname, b->hostname));
	cr_expect_eq(a->dns.resolvers_count, b->dns.resolvers_count);
}

Test(options, the_reference_means_the_defaults)
{
	CLEAN(text_done) struct text reference = {0};
	CLEAN(fixture_done) struct fixture f;
	CLEAN(options_free_clean) struct options *defaults = options_default();

	options_write(&reference);
	cr_assert(fixture_of(&f, text_string(&reference)), "%s",
		  text_string(&f.said));
	same_expect(f.options, defaults);
	cr_expect_eq(f.options->keys.domains_count, 0);
	cr_expect_eq(f.options->routes_count, 0);
}

/* Every example of the reference is valid, too. */
Test(options, the_reference_parses_without_its_comments)
{
	CLEAN(text_done) struct text reference = {0}, active = {0};
	CLEAN(fixture_done) struct fixture f;
	struct slice rest, line;

	options_write(&reference);
	rest = text_slice(&reference);
	while (slice_split(&rest, '\n', &line)) {
		struct slice bare = slice_trim(line);

		if (slice_starts(bare, SLICE("#")) &&
		    (!slice_starts(bare, SLICE("# ")) ||
		     slice_starts(bare, SLICE("#    "))))
			line = slice_from(bare, 1);
		text_add(&active, line);
		text_add_byte(&active, '\n');
	}
	cr_assert(fixture_of(&f, text_string(&active)), "%s",
		  text_string(&f.said));
	cr_expect_eq(f.options->keys.domains_count, 1);
	cr_expect_eq(f.options->routes_count, 1);
	cr_expect(slice_eq(f.options->listeners[0].name, SLICE("apps")));
}

/* ---- hand-over ---- */

Test(options, what_was_loaded_parses_again_elsewhere)
{
	CLEAN(fixture_done) struct fixture f;
	CLEAN(options_free_clean) struct options *again = NULL;
	struct fault fault;

	file_write("d", "state_dir = \"queue\"\n");
	cr_assert(fixture_of(&f, "include \"d\"\n"
				 "limits { max_hops = 7 }\n"), "%s",
		  text_string(&f.said));
	cr_assert_eq(unlink("c"), 0);
	cr_assert_eq(unlink("d"), 0);
	cr_assert_eq(chdir("/"), 0);
	cr_assert(options_parse(text_slice(&f.sources.bytes), &again, &fault));
	same_expect(again, f.options);
	cr_expect_eq(again->limits.max_hops, 7);
	cr_expect(slice_starts(again->state_dir, SLICE(options_directory)));
	cr_expect(slice_ends_nocase(again->state_dir, SLICE("/queue")));
}

Test(options, damaged_sources_are_refused)
{
	struct options *options = NULL;
	struct fault fault;

	cr_expect_not(options_parse(SLICE("rubbish"), &options, &fault));
	cr_expect_eq(options, NULL);
}

/* ---- what is checked ---- */

Test(options, signing)
{
	CLEAN(fixture_done) struct fixture f;
	const struct domain_signing_options *signing;
	const struct selector_options *selector;

	cr_assert(fixture_of(
			  &f,
			  "signing { expire = 30d verify_every = 0 }\n"
			  "domain \"b\xc3\xbc.example\" {\n"
			  "also_sign = \"B\xc3\x9c" "cher.example\"\n"
			  "identity = \"x@news.b\xc3\xbc.example\"\n"
			  "expire = \"0s\" headers = {\"From\"}\n"
			  "canonicalization = \"simple/relaxed\"\n"
			  "selector \"s\" { key = \"k\" from = "
			  "{\"*@B\xc3\xbc.example\", \"a*@*.example\"} } }\n"
			  "domain \"b\xc3\xbc" "cher.example\" "
			  "{ selector \"s\" { key = \"k\" } }\n"
			  "domain \"*\" { also_sign = "
			  "\"xn--bcher-kva.example\" }\n"),
		  "%s", text_string(&f.said));
	signing = &f.options->signing.domains[0];
	selector = &f.options->keys.domains[0].selectors[0];
	cr_expect_eq(f.options->signing.expire_ms, 30 * DAY);
	cr_expect_eq(f.options->signing.verify_every, 0);
	cr_expect(signing->has_expire && signing->expire_ms == 0);
	cr_expect(signing->has_canonicalization);
	cr_expect_eq(signing->header_canon, CANON_SIMPLE);
	cr_expect_eq(signing->body_canon, CANON_RELAXED);
	cr_expect_eq(signing->headers_count, 1);
	cr_expect(slice_eq(signing->also_sign[0],
			   SLICE("xn--bcher-kva.example")));
	cr_expect(slice_eq(signing->identity,
			   SLICE("x@news.xn--b-eha.example")));
	cr_expect_eq(selector->from_count, 2);
	cr_expect(slice_eq(selector->from[0], SLICE("*@xn--b-eha.example")));
	cr_expect(slice_eq(selector->from[1], SLICE("a*@*.example")));
	cr_expect_not(f.options->signing.domains[1].has_expire);
	cr_expect(slice_eq(f.options->keys.domains[2].name, SLICE("*")));
}

Test(options, senders)
{
	CLEAN(fixture_done) struct fixture f;
	const struct sender_options *senders;

	cr_assert(fixture_of(&f,
			     "signing { sender_match = all oversign = \"none\" }\n"
			     "sender \"*@B\xc3\xbc.example\" { sign = {\n"
			     "\"S.1._domainkey.B\xc3\xbc.example\", \"*\",\n"
			     "\"t._DomainKey.*\", \"b\xc3\xbc.example\"}\n"
			     "identity = \"news@*\" }\n"
			     "sender \"root@*\" { sign = {} }\n"
			     "domain \"b\xc3\xbc.example\" { selector \"s.1\" "
			     "{ key = \"k\" } }\n"
			     "domain \"*\" { selector \"t\" { key = \"k\" } }\n"),
		  "%s", text_string(&f.said));
	senders = f.options->signing.senders;
	cr_expect_eq(f.options->signing.sender_match, SENDER_MATCH_ALL);
	cr_assert_eq(f.options->signing.senders_count, 2);
	cr_expect(slice_eq(senders[0].pattern, SLICE("*@xn--b-eha.example")));
	cr_expect(slice_eq(senders[0].identity, SLICE("news@*")));
	cr_assert_eq(senders[0].sign_count, 4);
	cr_expect(slice_eq(senders[0].sign[0].selector, SLICE("S.1")));
	cr_expect(slice_eq(senders[0].sign[0].domain,
			   SLICE("xn--b-eha.example")));
	cr_expect_eq(senders[0].sign[1].selector.len, 0);
	cr_expect(slice_eq(senders[0].sign[2].selector, SLICE("t")));
	cr_expect(slice_eq(senders[0].sign[2].domain, SLICE("*")));
	cr_expect(slice_eq(senders[0].sign[3].domain,
			   SLICE("xn--b-eha.example")));
	cr_expect_eq(senders[1].sign_count, 0);
	cr_expect_eq(senders[1].line, 6);
}

/* A local part is compared without the quotes that it needs. */
Test(options, quoted_patterns)
{
	CLEAN(fixture_done) struct fixture f;
	const struct account_options *account;

	cr_assert(fixture_of(&f, "account \"user\" { from = {"
				 "\"\\\"a b\\\"@B\xc3\xbc.example\", "
				 "\"\\\"a*\\\"@*.example\"} }\n"),
		  "%s", text_string(&f.said));
	account = &f.options->accounts[0];
	cr_assert_eq(account->from_count, 2);
	cr_expect(slice_eq(account->from[0], SLICE("a b@xn--b-eha.example")));
	cr_expect(slice_eq(account->from[1], SLICE("a*@*.example")));
}

Test(options, signatures_of_one_message_are_bounded)
{
	CLEAN(fixture_done) struct fixture f;
	CLEAN(text_done) struct text input = {0};

	text_add_string(&input, "domain \"a.example\" {\n");
	for (size_t i = 0; i <= POLICY_SIGNERS_MAX; i++)
		text_addf(&input, "selector \"s%zu\" { key = \"k\" }\n", i);
	text_add_string(&input, "}\n");
	cr_expect_not(fixture_of(&f, text_string(&input)));
	cr_expect_not_null(strstr(text_string(&f.said),
				  "has 17 active selectors"));
}

Test(options, names_every_error)
{
	CLEAN(fixture_done) struct fixture f;

	cr_expect_not(fixture_of(&f, "bogus = 1\nlimits { max_hops = 0\n"
				     "max_recipients = x }\n"
				     "milter { socket = \"x\" }\n"));
	cr_expect_str_eq(text_string(&f.said),
			 "c:1: unknown option 'bogus'\n"
			 "c:2: 'max_hops': 0 is out of range: 1 to 1000\n"
			 "c:3: 'max_recipients': 'x' is not a number\n"
			 "c:4: 'socket': 'x' is none of \"inet:PORT@ADDRESS\", "
			 "\"inet6:PORT@ADDRESS\" and \"unix:/PATH\"\n");
	cr_expect_str_eq(f.fault.text, "c: 4 errors");
}

Test(options, a_missing_file_is_absent)
{
	CLEAN(fixture_done) struct fixture f = {0};

	cr_expect_not(options_load("none", &f.said, &f.options, NULL,
				   &f.fault));
	cr_expect_eq(f.fault.kind, FAULT_ABSENT);
	cr_expect_eq(options_exit_code(&f.fault), EX_CONFIG);
	cr_expect_str_eq(text_string(&f.said),
			 "none: cannot open: No such file or directory\n");
}

/* ---- values ---- */

Test(options, understands_addresses_and_routes)
{
	CLEAN(fixture_done) struct fixture f;

	cr_assert(fixture_of(
			  &f,
			  "dns { resolvers = {\"127.0.0.1:5353\", \"::1\"} }\n"
			  "listener \"a\" { address = \"*:25\" }\n"
			  "listener \"b\" { address = \"[::1]:2525\" }\n"
			  "listener \"c\" { address = \"unix:/run/s\" }\n"
			  "route \"*.Example.NET\" { via = \"[::1]:26\" "
			  "tls = \"verify\" }\n"
			  "route \"*\" { via = \"mx.example.org\" }\n"
			  /* in a network of containers */
			  "route \"web_1\" { via = \"mail_hub_1:2525\" }\n"),
		  "%s", text_string(&f.said));
	cr_expect_eq(address_port(&f.options->dns.resolvers[0]), 5353);
	cr_expect_eq(address_port(&f.options->dns.resolvers[1]), 53);
	cr_expect(f.options->listeners[0].is_any);
	cr_expect_not(f.options->listeners[1].is_any);
	cr_expect_eq(f.options->listeners[2].address.any.sa_family, AF_UNIX);
	cr_expect(slice_eq(f.options->routes[0].pattern,
			   SLICE("*.example.net")));
	cr_expect_eq(f.options->routes[0].tls, TLS_VERIFY);
}

Test(options, names_become_a_labels)
{
	CLEAN(fixture_done) struct fixture f;

	cr_assert(fixture_of(&f, "hostname = \"MX.b\xc3\xbc.example\"\n"
				 "domain \"B\xc3\x9c.example\" {\n"
				 "selector \"s\" { key = \"k\" } }\n"
				 "route \"*.b\xc3\xbc.example\" { }\n"),
		  "%s", text_string(&f.said));
	cr_expect(slice_eq(f.options->hostname,
			   SLICE("mx.xn--b-eha.example")));
	cr_expect(slice_eq(f.options->keys.domains[0].name,
			   SLICE("xn--b-eha.example")));
	cr_expect(slice_eq(f.options->routes[0].pattern,
			   SLICE("*.xn--b-eha.example")));
}

Test(options, the_reference_is_installed)
{
	const char *root = getenv("SIGNET_SOURCE_ROOT");
	CLEAN(text_done) struct text path = {0}, reference = {0}, file = {0};

	cr_assert_neq(root, NULL, "SIGNET_SOURCE_ROOT is not set");
	text_addf(&path, "%s/etc/signet.conf", root);
	cr_assert(conf_file_read(text_string(&path), CONF_FILE_MAX, &file,
				 NULL));
	options_write(&reference);
	cr_expect_str_eq(text_string(&file), text_string(&reference),
			 "run: signet options > etc/signet.conf");
}

Test(options, paths_start_at_their_file)
{
	CLEAN(fixture_done) struct fixture f;

	cr_assert_eq(mkdir("sub", 0700), 0);
	file_write("sub/d", "listener \"a\" { tls = \"starttls\"\n"
			    "tls_cert = \"cert.pem\" tls_key = \"/k.pem\" }\n"
			    "keys_dir = \"keys\"\n");
	cr_assert(fixture_of(&f, "include \"sub/d\""), "%s",
		  text_string(&f.said));
	cr_expect(slice_starts(f.options->keys.keys_dir, SLICE(options_directory)));
	cr_expect(slice_ends_nocase(f.options->keys.keys_dir,
				    SLICE("/sub/keys")));
	cr_expect(slice_ends_nocase(f.options->listeners[0].tls_cert,
				    SLICE("/sub/cert.pem")));
	cr_expect(slice_eq(f.options->listeners[0].tls_key, SLICE("/k.pem")));
}

Test(options, files_that_are_missing_are_named)
{
	CLEAN(text_done) struct text errors = {0}, expected = {0};
	CLEAN(fixture_done) struct fixture f;

	cr_assert(fixture_of(&f,
			     "keys_dir = \"/nowhere\"\n"
			     "listener \"a\" { tls = \"starttls\"\n"
			     "tls_cert = \"c\"\n"
			     "tls_key = \"/nowhere/tls.pem\" }\n"
			     "domain \"example.com\" {\n"
			     "  selector \"s\" {\n"
			     "    key = \"example.com/s.pem\" } }\n"),
		  "%s", text_string(&f.said));
	cr_expect_not(options_check_files(f.options, NULL, &errors,
					  &f.fault));
	cr_expect_str_eq(text_string(&errors),
			 "c:4: 'tls_key': '/nowhere/tls.pem': No such file or "
			 "directory\n"
			 "c:7: 'key': '/nowhere/example.com/s.pem': No such "
			 "file or directory\n");
	cr_expect_eq(options_exit_code(&f.fault), EX_CONFIG);
}

Test(options, a_file_that_may_not_be_read_is_denied)
{
	CLEAN(text_done) struct text errors = {0};
	CLEAN(fixture_done) struct fixture f;

	file_write("k", "");
	cr_assert_eq(chmod("k", 0), 0);
	cr_assert_eq(chmod(".", 0755), 0);
	cr_assert(fixture_of(&f, "keys_dir = \".\"\ndomain \"a.example\" {\n"
				 "selector \"s\" { key = \"k\" } }"));
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	cr_expect_not(options_check_files(f.options, NULL, &errors,
					  &f.fault));
	cr_expect_eq(options_exit_code(&f.fault), EX_NOPERM);
	cr_expect_eq(strncmp(text_string(&errors), "c:3: 'key': '", 13), 0);
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
}

/* ---- the machine ---- */

Test(options, a_pattern_includes_nothing_of_the_machine)
{
	CLEAN(fixture_done) struct fixture f;
	CLEAN(options_free_clean) struct options *again = NULL;

	file_write("a.conf", "hostname = \"mx.example.com\"\n");
	cr_assert(fixture_of(&f, "include \"*.conf\"\n"), "%s",
		  text_string(&f.said));
	cr_assert(options_parse(text_slice(&f.sources.bytes), &again, &f.fault),
		  "%s", f.fault.text);
	same_expect(f.options, again);
}

/* A process that has taken the place of another has what the configuration had. */
Test(options, whom_resolv_conf_names_is_looked_for_at_once)
{
	CLEAN(fixture_done) struct fixture f;
	struct resolvers_watch watch = {0};
	struct address left;
	struct resolvers found;

	cr_assert(fixture_of(&f, ""), "%s", text_string(&f.said));
	cr_assert(address_parse_host(SLICE("192.0.2.53"), 53, &left));
	f.options->dns.resolvers = &left;
	f.options->dns.resolvers_count = 1;
	resolvers_watch_begin(&watch, f.options);
	if (!resolvers_watch_finds(&watch, &found))
		cr_skip_test("this machine names none");
	resolvers_watch_begin(&watch, f.options);
	cr_expect(resolvers_watch_finds(&watch, &found));
}

static const struct sessions_row {
	const char *name, *text, *memory, *files;
	uint64_t sessions, memory_mib;
} sessions_rows[] = {
	{"said", "limits { max_sessions = 7 }", "1", "1", 7, 1},
	{"512 MB", "", "536870912", "1048576", (256 - 64 - 96) * 4, 64},
	{"4 GB", "", "4294967296", "1048576", (2048 - 64 - 96) * 4, 64},
	{"more for messages", "limits { max_memory = \"100M\" }", "536870912",
	 "1048576", (256 - 64 - 150) * 4, 100},
	{"hardly any", "", "1000", "1048576", 64, 1},
	{"a small container", "", "67108864", "1048576", 64, 8},
	{"which is to use it", "limits { max_memory = \"32M\" }", "67108864",
	 "1048576", 64, 32},
	{"a lot", "", "1099511627776", "1048576", 20000, 64},
	{"not known", "", "", "", 20000, 64},
	{"few files", "delivery { max_outgoing = 1000 }", "1099511627776",
	 "20000", (20000 - 4096 - 1000) / 2, 64},
	{"hardly any files", "", "1099511627776", "1024", 64, 64},
};

Test(options, as_many_sessions_as_half_of_the_memory_bears)
{
	for (size_t i = 0; i < COUNT(sessions_rows); i++) {
		const struct sessions_row *row = &sessions_rows[i];
		CLEAN(conf_sources_done) struct conf_sources sources = {0};
		struct options *options = NULL;
		struct fault fault = {0};

		conf_sources_add(&sources, SLICE("(made)"), SLICE(row->text));
		conf_sources_add(&sources, SLICE(SOURCE_HOSTNAME),
				 SLICE("mx.example.com"));
		conf_sources_add(&sources, SLICE(SOURCE_RESOLV_CONF),
				 SLICE_NONE);
		conf_sources_add(&sources, SLICE(SOURCE_DIRECTORY), SLICE("/"));
		conf_sources_add(&sources, SLICE(SOURCE_MEMORY),
				 SLICE(row->memory));
		conf_sources_add(&sources, SLICE(SOURCE_FILES),
				 SLICE(row->files));
		cr_assert(options_parse(text_slice(&sources.bytes), &options,
					&fault),
			  "%s: %s", row->name, fault.text);
		cr_expect_eq(options->limits.max_sessions, row->sessions,
			     "%s: %zu", row->name,
			     (size_t)options->limits.max_sessions);
		cr_expect_eq(options->limits.max_memory, row->memory_mib << 20,
			     "%s: %zu", row->name,
			     (size_t)options->limits.max_memory);
		options_free(options);
	}
}
