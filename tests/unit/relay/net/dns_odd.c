/* The resolver's client against a thread that answers as no server should. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/limits.h"
#include "tests/unit/relay/net/asking.h"

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
	TRICK_EDNS_LOST,  /* silent as long as there is an OPT, and on TCP */
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
	case TRICK_EDNS_LOST:
		return question[11] == 0 ? size : 0;
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

	if (len > 19 && trickster->trick != TRICK_SERVFAIL &&
	    trickster->trick != TRICK_EDNS_LOST) {
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

Test(dns_odd, survives_odd_servers, .timeout = 120)
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

Test(dns_odd, does_not_believe_what_it_did_not_ask, .timeout = 120)
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

/* What gets through on the way to the only resolver, and how many datagrams it
 * takes to find that out. */
static const struct lost_row {
	enum trick trick;
	unsigned asked;
} lost_rows[] = {
	{ TRICK_TCP_ONLY, DNS_TRIES - 1 },
	{ TRICK_EDNS_LOST, 2 },
};

Test(dns_odd, goes_without_what_is_lost, .timeout = 120)
{
	struct trickster tricksters[COUNT(lost_rows)];
	struct resolver resolvers[COUNT(lost_rows)];
	struct asked asked[COUNT(lost_rows)];
	struct address address;

	for (size_t i = 0; i < COUNT(lost_rows); i++) {
		trickster_start(&tricksters[i], lost_rows[i].trick);
		address = loopback(tricksters[i].port);
		resolver_open(&resolvers[i], &address, 1);
		ask_start(&resolvers[i], &asked[i], "aa.example.net", DNS_A);
		uv_run(&resolvers[i].loop.uv, UV_RUN_NOWAIT);
	}
	for (size_t i = 0; i < COUNT(lost_rows); i++) {
		ask_wait(&resolvers[i], &asked[i]);
		cr_expect_eq(asked[i].status, DNS_FOUND, "%zu: %s", i,
			     asked[i].reason);
		resolver_close(&resolvers[i]);
		trickster_stop(&tricksters[i]);
		cr_expect_eq(tricksters[i].asked, lost_rows[i].asked, "%zu", i);
	}
}

Test(dns_odd, asks_equal_questions_once_and_forgets_the_cancelled, .timeout = 120)
{
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	struct asked asked[4];

	trickster_start(&trickster, TRICK_TWICE);
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
Test(dns_odd, ids_and_ports_cannot_be_foretold, .timeout = 120)
{
	struct trickster trickster;
	struct resolver resolver;
	struct address address;
	struct asked asked;
	unsigned in_step = 0;

	trickster_start(&trickster, TRICK_NO_EDNS);
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

Test(dns_odd, follows_aliases_only_so_far, .timeout = 120)
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
Test(dns_odd, goes_on_after_an_error_of_a_resolver, .timeout = 120)
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

Test(dns_odd, refuses_more_questions_than_its_bound, .timeout = 120)
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
Test(dns_odd, fails_all_that_wait_when_no_resolver_is_left, .timeout = 120)
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

/* --- whose question is next --- */

#define CROWD 30 /* that wait */

/* The next question that is on the wire, answered; its name's first label. */
static void
next_asked(struct resolver *resolver, int udp, char label[64])
{
	uint8_t question[2048], out[4096];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t len;

	while ((len = recvfrom(udp, question, sizeof(question), MSG_DONTWAIT,
			       (struct sockaddr *)&from, &from_len)) < 17)
		uv_run(&resolver->loop.uv, UV_RUN_NOWAIT);
	snprintf(label, 64, "%.*s", question[12], question + 13);
	sendto(udp, out, honest(question, (size_t)len, out), 0,
	       (struct sockaddr *)&from, from_len);
}

/* As many as may be are on the wire; of those behind them two are prompt, one
 * because somebody hurries it, and one because somebody else asks it, too. */
Test(dns_odd, who_is_prompt_does_not_wait_for_the_crowd, .timeout = 120)
{
	static struct asked crowd[DNS_SOCKETS_MAX + CROWD];
	static const char *const wanted[] = {"prompt", "q512", "q530",
					     "q513",   "q540", "q514"};
	struct asked prompt, other;
	struct resolver resolver;
	struct address address;
	char label[64];
	int udp, tcp;

	address = loopback(port_take(&udp, &tcp));
	resolver_open(&resolver, &address, 1);
	for (unsigned i = 0; i < COUNT(crowd); i++) {
		char name[32];

		snprintf(name, sizeof(name), "q%u.example", i);
		ask_start(&resolver, &crowd[i], name, DNS_A);
	}
	ask_start_prompt(&resolver, &prompt, "prompt.example", DNS_A);
	dns_hurry(&crowd[530].query);
	ask_start_prompt(&resolver, &other, "q540.example", DNS_A);
	next_asked(&resolver, udp, label);
	cr_expect_str_eq(label, "q0");
	/* The others that are on the wire are never answered. */
	while (recv(udp, label, sizeof(label), MSG_DONTWAIT) > 0)
		;
	for (size_t i = 0; i < COUNT(wanted); i++) {
		next_asked(&resolver, udp, label);
		cr_expect_str_eq(label, wanted[i], "%zu", i);
	}
	for (unsigned i = 0; i < COUNT(crowd); i++)
		if (!crowd[i].is_done)
			dns_cancel(&crowd[i].query);
	cr_expect(prompt.is_done);
	if (!prompt.is_done)
		dns_cancel(&prompt.query);
	if (!other.is_done)
		dns_cancel(&other.query);
	resolver_close(&resolver);
	close(udp);
	close(tcp);
}
