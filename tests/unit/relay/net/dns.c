/*
 * The resolver's client against a real server (NSD) and against a thread that
 * answers as no server should.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/limits.h"
#include "relay/net/dns.h"

#define PORTS_FIRST 23000
#define PORTS_COUNT 400

/* --- addresses and ports --- */

static struct address
loopback(uint16_t port)
{
	struct address address = {.len = sizeof(struct sockaddr_in)};

	address.v4.sin_family = AF_INET;
	address.v4.sin_port = htons(port);
	address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static int
bound(int type, uint16_t port)
{
	struct address address = loopback(port);
	int one = 1, fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &address.any, address.len) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A port that is free for UDP and TCP; both sockets are given back bound. */
static uint16_t
port_take(int *udp_out, int *tcp_out)
{
	for (unsigned i = 0; i < PORTS_COUNT; i++) {
		uint16_t port = (uint16_t)(PORTS_FIRST +
			((unsigned)getpid() + i) % PORTS_COUNT);
		int udp = bound(SOCK_DGRAM, port);
		int tcp = udp < 0 ? -1 : bound(SOCK_STREAM, port);

		if (tcp >= 0) {
			*udp_out = udp;
			*tcp_out = tcp;
			return port;
		}
		if (udp >= 0)
			close(udp);
	}
	cr_assert(false, "no free port");
	return 0;
}

static uint16_t
port_free(void)
{
	int udp, tcp;
	uint16_t port = port_take(&udp, &tcp);

	close(udp);
	close(tcp);
	return port;
}

/* --- asking --- */

struct asked {
	struct dns_query query;
	bool is_done;
	enum dns_status status;
	size_t count;
	char first[4096], reason[64];
	uint16_t preference;
	bool is_inside; /* inside dns_start() */
	uv_loop_t *uv;
};

static void
asked_done(struct dns_query *query, const struct dns_answer *answer)
{
	struct asked *asked = CONTAINER(query, struct asked, query);

	cr_assert_not(asked->is_done, "answered twice");
	cr_assert_not(asked->is_inside, "answered from inside dns_start()");
	asked->is_done = true;
	uv_stop(asked->uv);
	asked->status = answer->status;
	asked->count = answer->count;
	if (answer->reason != NULL)
		snprintf(asked->reason, sizeof(asked->reason), "%s",
			 answer->reason);
	if (answer->count == 0)
		return;
	asked->preference = answer->records[0].preference;
	if (answer->records[0].address.len == 0)
		snprintf(asked->first, sizeof(asked->first), "%.*s",
			 SLICE_ARG(answer->records[0].name));
	else if (answer->records[0].address.any.sa_family == AF_INET)
		inet_ntop(AF_INET, &answer->records[0].address.v4.sin_addr,
			  asked->first, sizeof(asked->first));
	else
		inet_ntop(AF_INET6, &answer->records[0].address.v6.sin6_addr,
			  asked->first, sizeof(asked->first));
}

struct resolver {
	struct loop loop;
	struct dns *dns;
};

static void
resolver_open(struct resolver *resolver, const struct address *addresses,
	      size_t count)
{
	struct fault fault;

	cr_assert(loop_init(&resolver->loop, 0, &fault));
	cr_assert(dns_new(&resolver->loop, addresses, count, &resolver->dns,
			  &fault));
}

static void
resolver_close(struct resolver *resolver)
{
	dns_close(resolver->dns);
	loop_done(&resolver->loop);
}

static void
ask_start(struct resolver *resolver, struct asked *asked, const char *name,
	  enum dns_type type)
{
	*asked = (struct asked){.query.done = asked_done,
				.is_inside = true,
				.uv = &resolver->loop.uv};
	dns_start(resolver->dns, &asked->query, SLICE(name), type);
	asked->is_inside = false;
}

static void
ask_wait(struct resolver *resolver, const struct asked *asked)
{
	while (!asked->is_done)
		uv_run(&resolver->loop.uv, UV_RUN_DEFAULT);
}

static void
ask(struct resolver *resolver, struct asked *asked, const char *name,
    enum dns_type type)
{
	ask_start(resolver, asked, name, type);
	ask_wait(resolver, asked);
}

/* --- a real server --- */

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

static void
nsd_wait(struct nsd *nsd)
{
	char text[8192];
	size_t len = 0;
	struct pollfd poller = {.fd = nsd->log, .events = POLLIN};

	while (len < sizeof(text) - 1 && poll(&poller, 1, 10000) == 1) {
		ssize_t got = read(nsd->log, text + len,
				   sizeof(text) - 1 - len);

		if (got <= 0)
			break;
		len += (size_t)got;
		text[len] = '\0';
		if (strstr(text, "nsd started") != NULL)
			return;
	}
	text[len] = '\0';
	cr_assert(false, "nsd did not start: %s", text);
}

static void
nsd_start(struct nsd *nsd)
{
	char conf[128];
	int log[2];

	nsd->port = port_free();
	strcpy(nsd->directory, "/tmp/dns-test-XXXXXX");
	cr_assert_not_null(mkdtemp(nsd->directory));
	nsd_write_files(nsd);
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
	nsd_wait(nsd);
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

Test(dns, asks_a_real_server, .timeout = 60)
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

Test(dns, goes_on_to_the_next_resolver, .timeout = 60)
{
	struct nsd nsd;
	struct resolver resolver;
	struct asked asked;
	struct address addresses[2];

	nsd_start(&nsd);
	addresses[0] = loopback(port_free()); /* nobody there */
	addresses[1] = loopback(nsd.port);
	resolver_open(&resolver, addresses, 2);
	ask(&resolver, &asked, "mx1.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FOUND, "%s", asked.reason);
	resolver_close(&resolver);
	nsd_stop(&nsd);
}

/* --- a server that does what it should not --- */

enum trick {
	TRICK_SERVFAIL,
	TRICK_WRONG_ID,
	TRICK_WRONG_QUESTION,
	TRICK_RANDOM,
	TRICK_GARBAGE,    /* the right id, then random bytes */
	TRICK_SILENT,
	TRICK_NO_EDNS,    /* FORMERR as long as there is an OPT */
	TRICK_BADVERS,    /* the same, with a code that the OPT extends */
	TRICK_CUT,        /* TC and half a record; then over TCP */
	TRICK_CUT_SHORT,  /* TC; then TCP closes in the middle */
	TRICK_TCP_ONLY,   /* silent on UDP */
	TRICK_TWICE,      /* a wrong id first, then the answer */
	TRICK_ALIAS,      /* first an alias, its target only when asked */
	TRICK_ALIASES,    /* an alias, and another one of that, and so on */
	TRICK_ECHO,       /* the question as it came (QR not set) */
};

struct trickster {
	enum trick trick;
	int udp, tcp, stop[2];
	uint16_t port;
	pthread_t thread;
	/* Read after the thread's end. */
	unsigned asked; /* datagrams */
	uint16_t ids[64], ports[64];
};

/* The answer of an honest server: one A record, 192.0.2.53. */
static size_t
honest(const uint8_t *question, size_t len, uint8_t *out)
{
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44,
					 0, 4, 192, 0, 2, 53};
	size_t end = 12;

	while (end < len && question[end] != 0)
		end += (size_t)question[end] + 1;
	end += 5;
	memcpy(out, question, end);
	out[2] = 0x81;
	out[3] = 0x80;
	memcpy(out + 4, "\0\1\0\1\0\0\0\0", 8);
	memcpy(out + end, record, sizeof(record));
	return end + sizeof(record);
}

static size_t
alias(const uint8_t *question, size_t len, uint8_t *out)
{
	static const uint8_t record[] = {0xc0, 12, 0, 5, 0, 1, 0, 0, 1, 44,
					 0, 9, 6, 't', 'a', 'r', 'g', 'e', 't',
					 0xc0, 12 + 2};
	size_t end = honest(question, len, out) - 16;

	if (question[12] == 6)
		return honest(question, len, out);
	memcpy(out + end, record, sizeof(record));
	return end + sizeof(record);
}

/* 0: say nothing. */
static size_t
trick_answer(enum trick trick, const uint8_t *question, size_t len,
	     uint8_t *out)
{
	size_t size = honest(question, len, out);

	switch (trick) {
	case TRICK_SERVFAIL:
		out[3] = 0x82;
		out[7] = 0;
		return size - 16;
	case TRICK_WRONG_ID:
	case TRICK_TWICE:
		out[0] ^= 0xff;
		return size;
	case TRICK_WRONG_QUESTION:
		out[13] ^= 1;
		return size;
	case TRICK_RANDOM:
		for (size_t i = 0; i < 100; i++)
			out[i] = (uint8_t)rand();
		return 100;
	case TRICK_GARBAGE:
		for (size_t i = 12; i < 100; i++)
			out[i] = (uint8_t)(0xc1 + i);
		return 100;
	case TRICK_NO_EDNS:
		if (question[11] == 0)
			return size;
		out[3] = 0x81;
		memset(out + 4, 0, 8);
		return 12;
	case TRICK_BADVERS:
		if (question[11] == 0)
			return size;
		memcpy(out + 4, "\0\1\0\0\0\0\0\1", 8);
		memcpy(out + size - 16, "\0\0\51\4\320\1\0\0\0\0\0", 11);
		return size - 5;
	case TRICK_CUT:
	case TRICK_CUT_SHORT:
		out[2] |= 0x02;
		return size - 7;
	case TRICK_ALIAS:
		return alias(question, len, out);
	case TRICK_ALIASES:
		memcpy(out + size - 16, "\300\14\0\5\0\1\0\0\1\54\0\4\1x\300\14",
		       16);
		return size;
	case TRICK_ECHO:
		memcpy(out, question, len);
		return len;
	case TRICK_SILENT:
	case TRICK_TCP_ONLY:
		break;
	}
	return 0;
}

static void
trickster_udp(struct trickster *trickster)
{
	uint8_t question[2048], out[4096];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t len = recvfrom(trickster->udp, question, sizeof(question), 0,
			       (struct sockaddr *)&from, &from_len);
	size_t size;

	if (len < 17)
		return;
	trickster->ids[trickster->asked % COUNT(trickster->ids)] =
		(uint16_t)(question[0] << 8 | question[1]);
	trickster->ports[trickster->asked % COUNT(trickster->ports)] =
		from.sin_port;
	trickster->asked++;
	size = trick_answer(trickster->trick, question, (size_t)len, out);
	if (size > 0)
		sendto(trickster->udp, out, size, 0, (struct sockaddr *)&from,
		       from_len);
	if (trickster->trick == TRICK_TWICE) {
		size = honest(question, (size_t)len, out);
		sendto(trickster->udp, out, size, 0, (struct sockaddr *)&from,
		       from_len);
	}
}

static void
trickster_tcp(struct trickster *trickster)
{
	uint8_t question[2048], out[4096];
	int fd = accept(trickster->tcp, NULL, NULL);
	ssize_t len = fd < 0 ? -1 : recv(fd, question, sizeof(question), 0);
	size_t size;

	if (len > 19 && trickster->trick != TRICK_SERVFAIL) {
		size = honest(question + 2, (size_t)len - 2, out + 2);
		out[0] = (uint8_t)(size >> 8);
		out[1] = (uint8_t)size;
		size += 2;
		if (trickster->trick == TRICK_CUT_SHORT)
			size -= 5;
		/* In two pieces. */
		ASSERT(send(fd, out, 1, MSG_NOSIGNAL) == 1);
		ASSERT(send(fd, out + 1, size - 1, MSG_NOSIGNAL) > 0);
	}
	if (fd >= 0)
		close(fd);
}

static void *
trickster_run(void *argument)
{
	struct trickster *trickster = argument;
	struct pollfd pollers[] = {
		{ .fd = trickster->udp, .events = POLLIN },
		{ .fd = trickster->tcp, .events = POLLIN },
		{ .fd = trickster->stop[0], .events = POLLIN },
	};

	while (poll(pollers, 3, -1) > 0 && pollers[2].revents == 0) {
		if (pollers[0].revents != 0)
			trickster_udp(trickster);
		if (pollers[1].revents != 0)
			trickster_tcp(trickster);
	}
	return NULL;
}

static void
trickster_start(struct trickster *trickster, enum trick trick)
{
	*trickster = (struct trickster){.trick = trick};
	trickster->port = port_take(&trickster->udp, &trickster->tcp);
	cr_assert_eq(listen(trickster->tcp, 10), 0);
	cr_assert_eq(pipe(trickster->stop), 0);
	cr_assert_eq(pthread_create(&trickster->thread, NULL, trickster_run,
				    trickster), 0);
}

static void
trickster_stop(struct trickster *trickster)
{
	cr_assert_eq(write(trickster->stop[1], "", 1), 1);
	pthread_join(trickster->thread, NULL);
	close(trickster->udp);
	close(trickster->tcp);
	close(trickster->stop[0]);
	close(trickster->stop[1]);
}

static const struct trick_row {
	enum trick trick;
	const char *name;
	enum dns_status status;
	const char *reason;
} trick_rows[] = {
	{ TRICK_SERVFAIL, "SERVFAIL", DNS_FAILED, NULL },
	{ TRICK_GARBAGE, "garbage behind the right id", DNS_FOUND, NULL },
	{ TRICK_NO_EDNS, "a server without EDNS", DNS_FOUND, NULL },
	{ TRICK_BADVERS, "a server of another EDNS", DNS_FOUND, NULL },
	{ TRICK_CUT, "truncated, then over TCP", DNS_FOUND, NULL },
	{ TRICK_CUT_SHORT, "TCP closes early", DNS_FAILED, NULL },
	{ TRICK_TWICE, "a forged answer before the right one", DNS_FOUND,
	  NULL },
	{ TRICK_ALIAS, "an alias without its target", DNS_FOUND, NULL },
};

Test(dns, survives_odd_servers, .timeout = 60)
{
	for (size_t i = 0; i < COUNT(trick_rows); i++) {
		const struct trick_row *row = &trick_rows[i];
		struct trickster trickster;
		struct resolver resolver;
		struct address address;
		struct asked asked;

		trickster_start(&trickster, row->trick);
		address = loopback(trickster.port);
		resolver_open(&resolver, &address, 1);
		ask(&resolver, &asked, "aa.example.net", DNS_A);
		cr_expect_eq(asked.status, row->status, "%s: %d (%s)",
			     row->name, asked.status, asked.reason);
		if (row->status == DNS_FOUND)
			cr_expect_str_eq(asked.first, "192.0.2.53", "%s",
					 row->name);
		else
			cr_expect_str_neq(asked.reason, "", "%s", row->name);
		resolver_close(&resolver);
		trickster_stop(&trickster);
	}
}

/* Each costs one time-out of the first resolver; then the second answers. */
static const enum trick silent_tricks[] = {
	TRICK_SILENT, TRICK_WRONG_ID, TRICK_WRONG_QUESTION, TRICK_RANDOM,
	TRICK_ECHO,
};

Test(dns, does_not_believe_what_it_did_not_ask, .timeout = 60)
{
	struct trickster bad[COUNT(silent_tricks)], good;
	struct resolver resolvers[COUNT(silent_tricks)];
	struct asked asked[COUNT(silent_tricks)];
	struct address addresses[2];

	trickster_start(&good, TRICK_ALIAS);
	addresses[1] = loopback(good.port);
	for (size_t i = 0; i < COUNT(silent_tricks); i++) {
		trickster_start(&bad[i], silent_tricks[i]);
		addresses[0] = loopback(bad[i].port);
		resolver_open(&resolvers[i], addresses, 2);
		ask_start(&resolvers[i], &asked[i], "target.example.net",
			  DNS_A);
		uv_run(&resolvers[i].loop.uv, UV_RUN_NOWAIT);
	}
	for (size_t i = 0; i < COUNT(silent_tricks); i++) {
		ask_wait(&resolvers[i], &asked[i]);
		cr_expect_eq(asked[i].status, DNS_FOUND, "trick %d: %s",
			     silent_tricks[i], asked[i].reason);
		/* The one that answered is asked first from now on. */
		ask(&resolvers[i], &asked[i], "target.example.com", DNS_A);
		cr_expect_eq(asked[i].status, DNS_FOUND);
		resolver_close(&resolvers[i]);
		trickster_stop(&bad[i]);
		cr_expect_eq(bad[i].asked, 1, "trick %d", silent_tricks[i]);
	}
	trickster_stop(&good);
}

Test(dns, goes_over_tcp_where_udp_is_lost, .timeout = 60)
{
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	struct asked asked;

	trickster_start(&trickster, TRICK_TCP_ONLY);
	address = loopback(trickster.port);
	resolver_open(&resolver, &address, 1);
	ask(&resolver, &asked, "aa.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FOUND, "%s", asked.reason);
	resolver_close(&resolver);
	trickster_stop(&trickster);
	cr_expect_eq(trickster.asked, DNS_TRIES - 1);
}

Test(dns, asks_equal_questions_once_and_forgets_the_cancelled, .timeout = 60)
{
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	struct asked asked[4];

	trickster_start(&trickster, TRICK_NO_EDNS);
	trickster.trick = TRICK_TWICE;
	address = loopback(trickster.port);
	resolver_open(&resolver, &address, 1);
	for (size_t i = 0; i < COUNT(asked); i++)
		ask_start(&resolver, &asked[i], "aa.example.net", DNS_A);
	dns_cancel(&asked[0].query);
	ask_wait(&resolver, &asked[3]);
	cr_expect_not(asked[0].is_done);
	cr_expect(asked[1].is_done);
	cr_expect(asked[2].is_done);
	/* Cancelled when its answer is at hand already. */
	ask_start(&resolver, &asked[0], "aa.example.net", DNS_A);
	dns_cancel(&asked[0].query);
	uv_run(&resolver.loop.uv, UV_RUN_NOWAIT);
	cr_expect_not(asked[0].is_done);
	/* Closed with a question on the wire that nobody waits for. */
	ask_start(&resolver, &asked[0], "bb.example.net", DNS_A);
	dns_cancel(&asked[0].query);
	resolver_close(&resolver);
	trickster_stop(&trickster);
	cr_expect_leq(trickster.asked, 2);
}

static unsigned
different(const uint16_t *numbers, size_t count)
{
	unsigned found = 0;

	for (size_t i = 0; i < count; i++) {
		size_t j = 0;

		while (j < i && numbers[j] != numbers[i])
			j++;
		found += j == i;
	}
	return found;
}

/* Who wants to forge an answer has to guess both. RFC 5452 9.2. */
Test(dns, ids_and_ports_cannot_be_foretold, .timeout = 60)
{
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	struct asked asked;
	unsigned in_step = 0;

	trickster_start(&trickster, TRICK_SERVFAIL);
	trickster.trick = TRICK_NO_EDNS;
	address = loopback(trickster.port);
	resolver_open(&resolver, &address, 1);
	for (unsigned i = 0; i < COUNT(trickster.ids) / 2; i++) {
		char name[32];

		snprintf(name, sizeof(name), "n%u.example.net", i);
		ask(&resolver, &asked, name, DNS_A);
		cr_expect_eq(asked.status, DNS_FOUND);
	}
	resolver_close(&resolver);
	trickster_stop(&trickster);
	cr_assert_eq(trickster.asked, COUNT(trickster.ids));
	/* 64 of 65,536 and of some 28,000: rarely one or two are equal. */
	cr_expect_geq(different(trickster.ids, COUNT(trickster.ids)), 60);
	cr_expect_geq(different(trickster.ports, COUNT(trickster.ports)), 58);
	for (size_t i = 1; i < COUNT(trickster.ids); i++)
		in_step += trickster.ids[i] ==
				   (uint16_t)(trickster.ids[i - 1] + 1) ||
			   ntohs(trickster.ports[i]) ==
				   ntohs(trickster.ports[i - 1]) + 1;
	cr_expect_leq(in_step, 3, "they count");
}

Test(dns, follows_aliases_only_so_far, .timeout = 60)
{
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	struct asked asked;

	trickster_start(&trickster, TRICK_ALIASES);
	address = loopback(trickster.port);
	resolver_open(&resolver, &address, 1);
	ask(&resolver, &asked, "aa.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FAILED);
	cr_expect_str_eq(asked.reason, "too many aliases");
	resolver_close(&resolver);
	trickster_stop(&trickster);
	cr_expect_eq(trickster.asked, DNS_ALIASES_MAX + 1);
}

/* What one resolver cannot say another may: SERVFAIL is no answer. */
Test(dns, goes_on_after_an_error_of_a_resolver, .timeout = 60)
{
	struct trickster sick, well;
	struct resolver resolver;
	struct address addresses[2];
	struct asked asked;

	trickster_start(&sick, TRICK_SERVFAIL);
	trickster_start(&well, TRICK_NO_EDNS);
	addresses[0] = loopback(sick.port);
	addresses[1] = loopback(well.port);
	resolver_open(&resolver, addresses, 2);
	ask(&resolver, &asked, "aa.example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FOUND, "%s", asked.reason);
	resolver_close(&resolver);
	trickster_stop(&sick);
	trickster_stop(&well);
	cr_expect_eq(sick.asked, 1);
}

Test(dns, says_why_without_a_resolver, .timeout = 10)
{
	struct resolver resolver;
	struct asked asked;

	resolver_open(&resolver, NULL, 0);
	ask(&resolver, &asked, "example.net", DNS_A);
	cr_expect_eq(asked.status, DNS_FAILED);
	cr_expect_str_eq(asked.reason, "no resolver is configured");
	resolver_close(&resolver);
}

Test(dns, refuses_more_questions_than_its_bound, .timeout = 60)
{
	static struct asked asked[DNS_QUERIES_MAX + 1];
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	char name[64];

	trickster_start(&trickster, TRICK_SILENT);
	address = loopback(trickster.port);
	resolver_open(&resolver, &address, 1);
	for (size_t i = 0; i < COUNT(asked); i++) {
		snprintf(name, sizeof(name), "n%zu.example.net", i);
		ask_start(&resolver, &asked[i], name, DNS_A);
	}
	uv_run(&resolver.loop.uv, UV_RUN_NOWAIT);
	uv_run(&resolver.loop.uv, UV_RUN_NOWAIT);
	cr_expect(asked[DNS_QUERIES_MAX].is_done);
	cr_expect_eq(asked[DNS_QUERIES_MAX].status, DNS_FAILED);
	for (size_t i = 0; i < DNS_QUERIES_MAX; i++)
		if (!asked[i].is_done)
			dns_cancel(&asked[i].query);
	resolver_close(&resolver);
	trickster_stop(&trickster);
}

/* Each of them then fails where it stands: in turn, not one inside the other. */
Test(dns, fails_all_that_wait_when_no_resolver_is_left, .timeout = 60)
{
	static struct asked asked[DNS_QUERIES_MAX];
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	char name[64];

	trickster_start(&trickster, TRICK_SILENT);
	address = loopback(trickster.port);
	resolver_open(&resolver, &address, 1);
	for (size_t i = 0; i < COUNT(asked); i++) {
		snprintf(name, sizeof(name), "n%zu.example.net", i);
		ask_start(&resolver, &asked[i], name, DNS_A);
	}
	dns_reconfigure(resolver.dns, NULL, 0);
	for (size_t i = 0; i < COUNT(asked); i++) {
		ask_wait(&resolver, &asked[i]);
		cr_assert_str_eq(asked[i].reason, "no resolver is configured");
	}
	resolver_close(&resolver);
	trickster_stop(&trickster);
}
