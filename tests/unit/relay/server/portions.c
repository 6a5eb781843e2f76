#include <arpa/inet.h>

#include <criterion/criterion.h>

#include "relay/server/portions.h"

static struct address
address_of(const char *text)
{
	struct address address = {0};

	if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1)
		address.any.sa_family = AF_INET6;
	else if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1)
		address.any.sa_family = AF_INET;
	else
		address.any.sa_family = AF_UNIX;
	return address;
}

static const struct same_row {
	const char *one, *other;
	bool is_same;
} same_rows[] = {
	{"192.0.2.1", "192.0.2.1", true},
	{"192.0.2.1", "192.0.2.2", false},
	{"2001:db8::1", "2001:db8::2:0:0:1", true},
	{"2001:db8::1", "2001:db8:0:1::1", false},
	{"unix", "unix", true},
};

Test(portions, one_for_each_client)
{
	struct portions *portions = portions_new();

	for (size_t i = 0; i < COUNT(same_rows); i++) {
		const struct same_row *row = &same_rows[i];
		struct address one = address_of(row->one);
		struct address other = address_of(row->other);
		struct portion *a = portions_take(portions, &one);
		struct portion *b = portions_take(portions, &other);

		cr_expect_eq(a == b, row->is_same, "%s %s", row->one,
			     row->other);
		cr_expect_eq(portion_part(a)->incoming, 0);
		portion_part(a)->incoming = 1;
		portions_give(portions, b);
		portion_part(a)->incoming = 0;
		portions_give(portions, a);
	}
	portions_free(portions);
}

Test(portions, is_kept_as_long_as_somebody_has_it)
{
	struct portions *portions = portions_new();
	struct portion *kept[3000];

	for (uint32_t i = 0; i < COUNT(kept); i++) {
		struct address client = {.v4.sin_family = AF_INET,
					 .v4.sin_addr.s_addr = htonl(i)};

		kept[i] = portions_take(portions, &client);
		portion_part(kept[i])->held = i;
	}
	for (uint32_t i = 0; i < COUNT(kept); i++) {
		struct address client = {.v4.sin_family = AF_INET,
					 .v4.sin_addr.s_addr = htonl(i)};
		struct portion *again = portions_take(portions, &client);

		cr_expect_eq(again, kept[i]);
		cr_expect_eq(portion_part(again)->held, i);
		portion_part(again)->held = 0;
		portions_give(portions, again);
		portions_give(portions, kept[i]);
	}
	portions_free(portions);
}
