#include <criterion/criterion.h>

#include "relay/net/address.h"

static const struct {
	const char *input;
	uint16_t default_port;
	const char *written; /* NULL: refused */
} parse_rows[] = {
	{"127.0.0.1:25", 0, "127.0.0.1:25"},
	{"[::1]:2525", 0, "[::1]:2525"},
	{"*:25", 0, "[::]:25"},
	{"192.0.2.1", 53, "192.0.2.1:53"},
	{"[2001:db8::1]", 53, "[2001:db8::1]:53"},
	{"2001:db8::1", 53, "[2001:db8::1]:53"},
	{"unix:/run/x.sock", 0, "unix:/run/x.sock"},
	{"127.0.0.1:65535", 0, "127.0.0.1:65535"},
	{"127.0.0.1", 0, NULL},
	{"127.0.0.1:", 25, NULL},
	{"127.0.0.1:0", 25, NULL},
	{"127.0.0.1:65536", 0, NULL},
	{"127.0.0.1:025x", 0, NULL},
	{"127.0.0.1:99999999999999999999", 0, NULL},
	{"127.0.0.01:25", 0, NULL},
	{"127.0.0:25", 0, NULL},
	{"256.0.0.1:25", 0, NULL},
	{"mail.example.com:25", 0, NULL},
	{"[::1:25", 0, NULL},
	{"[::1]25", 0, NULL},
	{"[]:25", 0, NULL},
	{":25", 0, NULL},
	{"", 25, NULL},
	{"unix:", 0, NULL},
	{"unix:relative", 0, NULL},
	{"unix:/this/path/is/far/too/long/for/a/socket/of/the/local/kind/"
	 "since/it/has/more/than/one/hundred/and/seven/bytes", 0, NULL},
	{"1:2:3", 25, NULL},
};

Test(address, parse)
{
	for (size_t i = 0; i < COUNT(parse_rows); i++) {
		struct address address;
		struct fault fault = {0};
		char text[ADDRESS_TEXT_SIZE];
		bool ok = address_parse(SLICE(parse_rows[i].input),
					parse_rows[i].default_port, &address,
					&fault);

		cr_expect_eq(ok, parse_rows[i].written != NULL, "%s",
			     parse_rows[i].input);
		if (ok && parse_rows[i].written != NULL) {
			address_write(&address, text);
			cr_expect_str_eq(text, parse_rows[i].written);
		}
		if (!ok)
			cr_expect_gt(strlen(fault.text), 0);
	}
}

static const struct {
	const char *input, *host, *literal;
} host_rows[] = {
	{"192.0.2.1", "192.0.2.1", "[192.0.2.1]"},
	{"[192.0.2.1]", "192.0.2.1", "[192.0.2.1]"},
	{"2001:DB8::1", "2001:db8::1", "[IPv6:2001:db8::1]"},
	{"[2001:db8::1]", "2001:db8::1", "[IPv6:2001:db8::1]"},
	{"[IPv6:2001:db8::1]", "2001:db8::1", "[IPv6:2001:db8::1]"},
	{"[ipv6:::1]", "::1", "[IPv6:::1]"},
	{"IPv6:::1", NULL, NULL},
	{"[IPv6:192.0.2.1]", NULL, NULL},
	{"[192.0.2.1", NULL, NULL},
	{"192.0.2.1]", NULL, NULL},
	{"192.0.2.1 ", NULL, NULL},
	{"fe80::1%lo", NULL, NULL},
	{"", NULL, NULL},
	{"[]", NULL, NULL},
};

Test(address, parse_host)
{
	for (size_t i = 0; i < COUNT(host_rows); i++) {
		struct address address;
		char text[ADDRESS_TEXT_SIZE];
		bool ok = address_parse_host(SLICE(host_rows[i].input), 25,
					     &address);

		cr_expect_eq(ok, host_rows[i].host != NULL, "%s",
			     host_rows[i].input);
		if (!ok || host_rows[i].host == NULL)
			continue;
		address_write_host(&address, text);
		cr_expect_str_eq(text, host_rows[i].host);
		address_write_literal(&address, text);
		cr_expect_str_eq(text, host_rows[i].literal);
		cr_expect_eq(address_port(&address), 25);
	}
}

Test(address, a_nul_inside_is_not_the_end)
{
	struct address address;

	cr_expect_not(address_parse_host(slice_of("127.0.0.1\0", 10), 25,
					 &address));
}

static const struct {
	const char *input;
	uint16_t default_port;
	const char *host;
	uint16_t port;
} split_rows[] = {
	{"mail.example.com:587", 0, "mail.example.com", 587},
	{"mail.example.com", 25, "mail.example.com", 25},
	{"mail.example.com", 0, NULL, 0},
	{"[::1]:587", 25, "::1", 587},
	{"[::1]", 25, "::1", 25},
	{"::1", 25, "::1", 25},
	{"::1", 0, NULL, 0},
	{":587", 25, NULL, 0},
	{"host:", 25, NULL, 0},
	{"host:0", 25, NULL, 0},
	{"host:+1", 25, NULL, 0},
};

Test(address, split)
{
	for (size_t i = 0; i < COUNT(split_rows); i++) {
		struct slice host = SLICE_NONE;
		uint16_t port = 0;
		bool ok = address_split(SLICE(split_rows[i].input),
					split_rows[i].default_port, &host,
					&port);

		cr_expect_eq(ok, split_rows[i].host != NULL, "%s",
			     split_rows[i].input);
		cr_expect(slice_eq(host, SLICE(split_rows[i].host)), "%s",
			  split_rows[i].input);
		cr_expect_eq(port, split_rows[i].port, "%s",
			     split_rows[i].input);
	}
}

static const struct {
	const char *network, *address;
	bool contains;
} network_rows[] = {
	{"127.0.0.0/8", "127.255.0.1", true},
	{"127.0.0.0/8", "128.0.0.1", false},
	{"192.0.2.1", "192.0.2.1", true},
	{"192.0.2.1", "192.0.2.2", false},
	{"192.0.2.0/25", "192.0.2.127", true},
	{"192.0.2.0/25", "192.0.2.128", false},
	{"0.0.0.0/0", "203.0.113.9", true},
	{"0.0.0.0/0", "2001:db8::1", false},
	{"::/0", "2001:db8::1", true},
	{"::/0", "192.0.2.1", false},
	{"2001:db8::/33", "2001:db8:7fff::1", true},
	{"2001:db8::/33", "2001:db8:8000::1", false},
	{"::1/128", "::1", true},
	{"127.0.0.0/8", "::ffff:127.0.0.1", true},
	{"::ffff:127.0.0.0/104", "127.0.0.1", true},
	{"::ffff:127.0.0.0/104", "128.0.0.1", false},
};

Test(address, network_contains)
{
	for (size_t i = 0; i < COUNT(network_rows); i++) {
		struct network network;
		struct address address;
		struct fault fault = {0};

		cr_assert(network_parse(SLICE(network_rows[i].network),
					&network, &fault), "%s", fault.text);
		cr_assert(address_parse_host(SLICE(network_rows[i].address),
					     25, &address));
		cr_expect_eq(network_contains(&network, &address),
			     network_rows[i].contains, "%s in %s",
			     network_rows[i].address, network_rows[i].network);
	}
}

static const char *const bad_networks[] = {
	"", "/8", "127.0.0.1/8", "127.0.0.0/33", "::/129", "127.0.0.0/",
	"127.0.0.0/-1", "127.0.0.0/8/8", "localhost", "10/8", "192.0.2.1:25",
};

Test(address, network_refuses)
{
	for (size_t i = 0; i < COUNT(bad_networks); i++) {
		struct network network;
		struct fault fault = {0};

		cr_expect_not(network_parse(SLICE(bad_networks[i]), &network,
					    &fault), "%s", bad_networks[i]);
	}
}

Test(address, a_local_socket_is_loopback)
{
	struct network networks[2];
	struct address address;

	cr_assert(address_parse(SLICE("unix:/run/x"), 0, &address, NULL));
	cr_assert(network_parse(SLICE("192.0.2.0/24"), &networks[0], NULL));
	cr_assert(network_parse(SLICE("::1"), &networks[1], NULL));
	cr_expect_not(networks_contain(networks, 1, &address));
	cr_expect(networks_contain(networks, 2, &address));
}

/* The closest holds, in whatever order they stand. */
Test(address, exceptions)
{
	static const struct {
		const char *address;
		bool contains;
	} probes[] = {{"10.9.9.9", true},    {"10.1.9.9", false},
		      {"10.1.2.9", true},    {"10.1.2.3", false},
		      {"192.0.2.1", false},  {"192.0.2.2", false},
		      {"198.51.100.1", false}};
	static const struct {
		const char *network;
		bool is_exception;
	} list[] = {{"10.1.2.3", true},	  {"10.0.0.0/8", false},
		    {"10.1.2.0/24", false}, {"10.1.0.0/16", true},
		    {"192.0.2.1", false},   {"192.0.2.1", true},
		    {"192.0.2.0/24", true}};
	struct network networks[COUNT(list)];

	for (size_t i = 0; i < COUNT(list); i++) {
		cr_assert(network_parse(SLICE(list[i].network), &networks[i],
					NULL));
		networks[i].is_exception = list[i].is_exception;
	}
	for (size_t i = 0; i < COUNT(probes); i++) {
		struct address address;

		cr_assert(address_parse_host(SLICE(probes[i].address), 0,
					     &address));
		cr_expect_eq(networks_contain(networks, COUNT(networks),
					      &address),
			     probes[i].contains, "%s", probes[i].address);
	}
}

Test(address, equality_and_ports)
{
	struct address a, b, mapped;
	char text[ADDRESS_TEXT_SIZE];

	cr_assert(address_parse_host(SLICE("192.0.2.1"), 25, &a));
	cr_assert(address_parse_host(SLICE("192.0.2.1"), 26, &b));
	cr_assert(address_parse_host(SLICE("::ffff:192.0.2.1"), 25, &mapped));
	cr_expect_not(address_eq(&a, &b));
	address_set_port(&b, 25);
	cr_expect(address_eq(&a, &b));
	cr_expect_not(address_eq(&a, &mapped));
	address_unmap(&mapped);
	cr_expect(address_eq(&a, &mapped));
	cr_assert(address_parse(SLICE("unix:/a"), 0, &a, NULL));
	cr_assert(address_parse(SLICE("unix:/b"), 0, &b, NULL));
	cr_expect_not(address_eq(&a, &b));
	cr_expect(address_eq(&a, &a));
	a.len = sizeof(sa_family_t);
	address_write(&a, text);
	cr_expect_str_eq(text, "unix:");
}

Test(address, what_is_private)
{
	static const struct {
		const char *address;
		bool is_private;
	} rows[] = {
		{"10.255.0.1", true},      {"11.0.0.1", false},
		{"172.15.0.1", false},     {"172.31.255.255", true},
		{"192.168.1.20", true},    {"192.169.0.1", false},
		{"100.127.0.1", true},     {"100.128.0.1", false},
		{"169.254.0.1", true},     {"127.0.0.2", true},
		{"192.0.2.9", false},      {"::ffff:10.0.0.1", true},
		{"::ffff:8.8.8.8", false}, {"::1", true},
		{"fd00::1", true},         {"fe80::1", true},
		{"2001:db8::1", false},    {"::", false},
	};
	struct address address;

	for (size_t i = 0; i < COUNT(rows); i++) {
		cr_assert(address_parse_host(SLICE(rows[i].address), 0,
					     &address));
		cr_expect_eq(address_is_private(&address), rows[i].is_private,
			     "%s", rows[i].address);
	}
	cr_assert(address_parse(SLICE("unix:/a"), 0, &address, NULL));
	cr_expect(address_is_private(&address));
}
