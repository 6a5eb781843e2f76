#include <criterion/criterion.h>

#include "relay/server/claims.h"

#define V6 "2001:db8::1"

static const struct claims_row {
	const char *name, *args;
	enum claims_command command;
	unsigned code; /* 0: taken */
	const char *written; /* what was taken, see write() */
} claims_rows[] = {
	{"IPv4", "ADDR=192.0.2.1", CLAIMS_XCLIENT, 0, "192.0.2.1"},
	{"IPv6", "addr=ipv6:" V6, CLAIMS_XCLIENT, 0, V6},
	{"IPv6 in xtext", "ADDR=IPV6:2001+3Adb8::1", CLAIMS_XCLIENT, 0, V6},
	{"IPv4 as IPv6", "ADDR=IPV6:::ffff:192.0.2.1", CLAIMS_XCLIENT, 0,
	 "192.0.2.1"},
	{"not available", "ADDR=[unavailable] NAME=[TEMPUNAVAIL]",
	 CLAIMS_XCLIENT, 0, "unknown"},
	{"all of XCLIENT",
	 "NAME=client.example.com ADDR=192.0.2.1 PORT=40000 PROTO=ESMTP "
	 "HELO=laptop LOGIN=a+2Bb+20c DESTADDR=192.0.2.9 DESTPORT=25 "
	 "REVERSE_NAME=x.example.com",
	 CLAIMS_XCLIENT, 0,
	 "192.0.2.1:40000 client.example.com ESMTP laptop login a+b c"},
	{"all of XFORWARD",
	 "NAME=client.example.com ADDR=192.0.2.1 PORT=[UNAVAILABLE] PROTO=SMTP "
	 "HELO=[192.0.2.1] IDENT=3CF6B2AAE8 SOURCE=REMOTE",
	 CLAIMS_XFORWARD, 0,
	 "192.0.2.1 client.example.com SMTP [192.0.2.1] id 3CF6B2AAE8"},
	{"what is no xtext stands for itself", "HELO=a+b", CLAIMS_XCLIENT, 0,
	 "unknown a+b"},
	{"the last one counts", "ADDR=192.0.2.1 ADDR=192.0.2.2",
	 CLAIMS_XCLIENT, 0, "192.0.2.2"},
	{"two spaces", "HELO=a  PROTO=SMTP", CLAIMS_XCLIENT, 0,
	 "unknown SMTP a"},
	{"none", "", CLAIMS_XCLIENT, 501, NULL},
	{"no value", "ADDR", CLAIMS_XCLIENT, 501, NULL},
	{"an empty value", "ADDR=", CLAIMS_XCLIENT, 501, NULL},
	{"unknown", "COLOUR=blue", CLAIMS_XCLIENT, 501, NULL},
	{"of the other command", "IDENT=1", CLAIMS_XCLIENT, 501, NULL},
	{"a login is not forwarded", "LOGIN=a", CLAIMS_XFORWARD, 501, NULL},
	{"an address in brackets", "ADDR=[192.0.2.1]", CLAIMS_XCLIENT, 501,
	 NULL},
	{"no address", "ADDR=example.com", CLAIMS_XCLIENT, 501, NULL},
	{"no destination", "DESTADDR=example.com", CLAIMS_XCLIENT, 501, NULL},
	{"a port too high", "PORT=65536", CLAIMS_XCLIENT, 501, NULL},
	{"no port", "DESTPORT=smtp", CLAIMS_XCLIENT, 501, NULL},
	{"a name that is none", "NAME=a..b", CLAIMS_XCLIENT, 501, NULL},
	{"a line end", "HELO=a+0D+0AX-Field:", CLAIMS_XCLIENT, 501, NULL},
	{"a NUL", "LOGIN=a+00b", CLAIMS_XCLIENT, 501, NULL},
	{"a space", "HELO=a+20b", CLAIMS_XCLIENT, 501, NULL},
	{"no UTF-8", "LOGIN=+FF", CLAIMS_XCLIENT, 501, NULL},
	{"a control character of Unicode", "LOGIN=+C2+80", CLAIMS_XCLIENT, 501,
	 NULL},
	{"UTF-8 in a name", "HELO=b+C3+BCcher", CLAIMS_XCLIENT, 501, NULL},
	{"UTF-8 in a login", "LOGIN=b+C3+BCcher", CLAIMS_XCLIENT, 0,
	 "unknown login b\xc3\xbc" "cher"},
};

static void
write(const struct claims *claims, struct text *out)
{
	struct address address = claims->address;
	char text[ADDRESS_TEXT_SIZE];

	address_set_port(&address, claims->port);
	address_write_host(&address, text);
	text_add_string(out, text);
	if (claims->port != 0)
		text_addf(out, ":%u", claims->port);
	if (claims->name.len > 0)
		text_addf(out, " %.*s", SLICE_ARG(claims->name));
	if (claims->proto.len > 0)
		text_addf(out, " %.*s", SLICE_ARG(claims->proto));
	if (claims->helo.len > 0)
		text_addf(out, " %.*s", SLICE_ARG(claims->helo));
	if (claims->login.len > 0)
		text_addf(out, " login %.*s", SLICE_ARG(claims->login));
	if (claims->ident.len > 0)
		text_addf(out, " id %.*s", SLICE_ARG(claims->ident));
}

Test(claims, parse)
{
	for (size_t i = 0; i < COUNT(claims_rows); i++) {
		const struct claims_row *row = &claims_rows[i];
		CLEAN(arena_done) struct arena arena = {0};
		CLEAN(text_done) struct text text = {0};
		struct claims claims = {0};
		const struct reply *refusal = claims_parse(
			row->command, SLICE(row->args), &arena, &claims);

		cr_expect_eq(refusal != NULL ? refusal->code : 0, row->code,
			     "%s: %s", row->name,
			     refusal != NULL ? refusal->text : "taken");
		if (refusal != NULL || row->code != 0)
			continue;
		write(&claims, &text);
		cr_expect_str_eq(text_string(&text), row->written, "%s",
				 row->name);
	}
}

Test(claims, a_value_of_255_octets)
{
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(text_done) struct text args = {0};
	struct claims claims = {0};

	text_add_string(&args, "HELO=");
	for (size_t i = 0; i < 255; i++)
		text_add_byte(&args, 'x');
	cr_expect_null(claims_parse(CLAIMS_XCLIENT, text_slice(&args), &arena,
				    &claims));
	text_add_byte(&args, 'x');
	cr_expect_not_null(claims_parse(CLAIMS_XCLIENT, text_slice(&args),
					&arena, &claims));
}

Test(claims, more_of_it)
{
	CLEAN(arena_done) struct arena arena = {0}, longer = {0};
	CLEAN(text_done) struct text text = {0};
	struct claims claims = {0}, copy;

	cr_assert_null(claims_parse(CLAIMS_XFORWARD, SLICE("HELO=a PROTO=SMTP"),
				    &arena, &claims));
	cr_assert_null(claims_parse(CLAIMS_XFORWARD,
				    SLICE("ADDR=192.0.2.1 PROTO=ESMTP"),
				    &arena, &claims));
	claims_copy(&claims, &longer, &copy);
	arena_done(&arena);
	write(&copy, &text);
	cr_expect_str_eq(text_string(&text), "192.0.2.1 ESMTP a");
}
