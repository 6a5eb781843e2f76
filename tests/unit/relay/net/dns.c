/* The resolver's client against a real server (NSD). */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/relay/net/asking.h"

static const char nsd_zone[] =
	"$ORIGIN example.net.\n$TTL 300\n"
	"@ IN SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 60\n"
	"@ IN NS ns\n"
	"@ IN MX 10 mx1\n@ IN MX 20 mx2\n"
	"ns IN A 127.0.0.1\n"
	"mx1 IN A 192.0.2.1\nmx1 IN AAAA 2001:db8::1\n"
	"null IN MX 0 .\n"
	"alias IN CNAME second\nsecond IN CNAME mx1\n"
	"broken IN CNAME nothing\n"
	"c0 IN CNAME c1\nc1 IN CNAME c2\nc2 IN CNAME c3\nc3 IN CNAME c4\n"
	"c4 IN CNAME c5\nc5 IN CNAME c6\nc6 IN CNAME c7\nc7 IN CNAME c8\n"
	"c8 IN CNAME mx1\n"
	"circle1 IN CNAME circle2\ncircle2 IN CNAME circle1\n"
	"txt IN TXT \"v=DKIM1; \" \"k=rsa; \" \"p=abc\"\n"
	"zero 0 IN A 192.0.2.7\n"
	"upper IN MX 5 MX1.Example.NET.\n"
	"*.wild IN A 192.0.2.9\n";

struct nsd {
	char directory[64];
	pid_t pid;
	uint16_t port;
	int log;
};

static void
nsd_write_files(const struct nsd *nsd)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/zone", nsd->directory);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fputs(nsd_zone, file);
	fputs("large IN TXT", file);
	for (int i = 0; i < 12; i++)
		fprintf(file, " \"%0200d\"", i);
	fputs("\n", file);
	fclose(file);

	snprintf(path, sizeof(path), "%s/conf", nsd->directory);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fprintf(file,
		"server:\n ip-address: 127.0.0.1@%u\n server-count: 1\n"
		" username: \"\"\n chroot: \"\"\n zonesdir: \"%s\"\n"
		" database: \"\"\n pidfile: \"\"\n xfrdfile: \"%s/xfrd\"\n"
		" zonelistfile: \"%s/list\"\n xfrdir: \"%s\"\n"
		"remote-control:\n control-enable: no\n"
		"zone:\n name: \"example.net\"\n zonefile: \"zone\"\n",
		nsd->port, nsd->directory, nsd->directory, nsd->directory,
		nsd->directory);
	fclose(file);
}

/* False: it ended, because somebody has its port. */
static bool
nsd_is_up(struct nsd *nsd)
{
	char text[8192];
	size_t len = 0;
	ssize_t got;

	while (len < sizeof(text) - 1 &&
	       (got = read(nsd->log, text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)got;
		text[len] = '\0';
		if (strstr(text, "nsd started") != NULL)
			return true;
	}
	text[len] = '\0';
	cr_assert_not_null(strstr(text, "in use"), "nsd did not start: %s",
			   text);
	return false;
}

static void
nsd_run(struct nsd *nsd)
{
	char conf[128];
	int log[2];

	snprintf(conf, sizeof(conf), "%s/conf", nsd->directory);
	cr_assert_eq(pipe(log), 0);
	nsd->pid = fork();
	if (nsd->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(log[1], 2);
		close(log[0]);
		close(log[1]);
		/* Not installed but unpacked where tests/run does it. */
		execlp("nsd", "nsd", "-d", "-c", conf, (char *)NULL);
		execl("/usr/sbin/nsd", "nsd", "-d", "-c", conf, (char *)NULL);
		_exit(127);
	}
	close(log[1]);
	nsd->log = log[0];
}

static void
nsd_start(struct nsd *nsd)
{
	strcpy(nsd->directory, "/tmp/dns-test-XXXXXX");
	cr_assert_not_null(mkdtemp(nsd->directory));
	for (;;) {
		nsd->port = port_free();
		nsd_write_files(nsd);
		nsd_run(nsd);
		if (nsd_is_up(nsd))
			return;
		waitpid(nsd->pid, NULL, 0);
		close(nsd->log);
	}
}

static void
nsd_stop(struct nsd *nsd)
{
	static const char *const names[] = {"zone", "conf", "xfrd", "list"};
	char path[128];

	kill(nsd->pid, SIGTERM);
	waitpid(nsd->pid, NULL, 0);
	close(nsd->log);
	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", nsd->directory,
			 names[i]);
		unlink(path);
	}
	rmdir(nsd->directory);
}

static const struct real_row {
	const char *name;
	enum dns_type type;
	enum dns_status status;
	size_t count;
	const char *first;
} real_rows[] = {
	{ "mx1.example.net", DNS_A, DNS_FOUND, 1, "192.0.2.1" },
	{ "MX1.EXAMPLE.net.", DNS_A, DNS_FOUND, 1, "192.0.2.1" },
	{ "mx1.example.net", DNS_AAAA, DNS_FOUND, 1, "2001:db8::1" },
	{ "ns.example.net", DNS_AAAA, DNS_NO_DATA, 0, "" },
	{ "example.net", DNS_MX, DNS_FOUND, 2, NULL },
	{ "null.example.net", DNS_MX, DNS_FOUND, 1, "" },
	{ "upper.example.net", DNS_MX, DNS_FOUND, 1, "mx1.example.net" },
	{ "txt.example.net", DNS_TXT, DNS_FOUND, 1,
	  "v=DKIM1; k=rsa; p=abc" },
	{ "none.example.net", DNS_A, DNS_NO_NAME, 0, "" },
	{ "alias.example.net", DNS_A, DNS_FOUND, 1, "192.0.2.1" },
	{ "alias.example.net", DNS_TXT, DNS_NO_DATA, 0, "" },
	{ "broken.example.net", DNS_A, DNS_NO_NAME, 0, "" },
	{ "circle1.example.net", DNS_A, DNS_FAILED, 0, "" },
	{ "c1.example.net", DNS_A, DNS_FOUND, 1, "192.0.2.1" }, /* eight */
	{ "c0.example.net", DNS_A, DNS_FAILED, 0, "" },         /* nine */
	{ "any.wild.example.net", DNS_A, DNS_FOUND, 1, "192.0.2.9" },
	{ "zero.example.net", DNS_A, DNS_FOUND, 1, "192.0.2.7" },
	{ "example.org", DNS_A, DNS_FAILED, 0, "" }, /* REFUSED */
	{ "no..name", DNS_A, DNS_NO_NAME, 0, "" },
	{ "", DNS_MX, DNS_FAILED, 0, "" },
};

Test(dns, asks_a_real_server, .timeout = 120)
{
	struct nsd nsd;
	struct resolver resolver;
	struct asked asked;
	struct address address;

	nsd_start(&nsd);
	address = loopback(nsd.port);
	resolver_open(&resolver, &address, 1);
	/* Twice: from the wire and from the cache. */
	for (size_t i = 0; i < 2 * COUNT(real_rows); i++) {
		const struct real_row *row = &real_rows[i % COUNT(real_rows)];

		ask(&resolver, &asked, row->name, row->type);
		cr_expect_eq(asked.status, row->status,
			     "%s %d: status is %d (%s)", row->name, row->type,
			     asked.status, asked.reason);
		cr_expect_eq(asked.count, row->count, "%s %d: %zu records",
			     row->name, row->type, asked.count);
		cr_expect(row->first == NULL ||
				  strcmp(asked.first, row->first) == 0,
			  "%s %d: the first is '%s'", row->name, row->type,
			  asked.first);
	}
	ask(&resolver, &asked, "large.example.net", DNS_TXT);
	cr_expect_eq(asked.status, DNS_FOUND, "over TCP: %s", asked.reason);
	cr_expect_eq(strlen(asked.first), 2400);

	/* What was kept is there without the server; the rest is not. */
	nsd_stop(&nsd);
	ask(&resolver, &asked, "MX1.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FOUND);
	ask(&resolver, &asked, "none.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_NO_NAME);
	ask(&resolver, &asked, "zero.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FAILED, "a TTL of 0 is not kept");
	cr_expect_str_neq(asked.reason, "");
	resolver_close(&resolver);
}

Test(dns, goes_on_to_the_next_resolver, .timeout = 120)
{
	struct nsd nsd;
	struct resolver resolver;
	struct asked asked;
	struct address addresses[2];
	int udp, tcp;

	nsd_start(&nsd);
	addresses[0] = loopback(port_refuse(&udp, &tcp));
	addresses[1] = loopback(nsd.port);
	resolver_open(&resolver, addresses, 2);
	ask(&resolver, &asked, "mx1.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FOUND, "%s", asked.reason);
	resolver_close(&resolver);
	nsd_stop(&nsd);
	close(udp);
	close(tcp);
}

Test(dns, says_why_without_a_resolver, .timeout = 120)
{
	struct resolver resolver;
	struct asked asked;

	resolver_open(&resolver, NULL, 0);
	ask(&resolver, &asked, "example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FAILED);
	cr_expect_str_eq(asked.reason, "no resolver is configured");
	resolver_close(&resolver);
}
