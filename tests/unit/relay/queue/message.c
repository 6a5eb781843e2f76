#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/limits.h"
#include "relay/queue/message.h"

Test(message, ids_differ_and_order_by_time)
{
	struct message_id before = message_id_new();

	for (int i = 0; i < 10000; i++) {
		struct message_id id = message_id_new();

		/* Equal times order by the counter. */
		cr_assert_gt(memcmp(id.bytes, before.bytes, sizeof(id.bytes)),
			     0);
		before = id;
	}
}

Test(message, a_child_has_ids_of_its_own)
{
	struct message_id ours, theirs, first = message_id_new();
	int ends[2], status;

	cr_assert_eq(pipe(ends), 0);
	if (fork() == 0) {
		theirs = message_id_new();
		_exit(write(ends[1], &theirs, sizeof(theirs)) !=
		      sizeof(theirs));
	}
	ours = message_id_new();
	cr_assert_eq(read(ends[0], &theirs, sizeof(theirs)), sizeof(theirs));
	wait(&status);
	cr_expect_eq(status, 0);
	cr_expect_eq(memcmp(first.bytes + 6, ours.bytes + 6, 6), 0);
	cr_expect_neq(memcmp(theirs.bytes + 6, ours.bytes + 6, 6), 0);
}

static const struct id_row {
	const char *name, *text;
	bool is_id;
	const char *written;
} id_rows[] = {
	{"zero", "00000000000000000000000000", true,
	 "00000000000000000000000000"},
	{"the largest", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", true,
	 "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"},
	{"more than 128 bits", "80000000000000000000000000", false, NULL},
	{"lower case", "01arz3ndektsv4rrffq69g5fav", true,
	 "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	{"too short", "01ARZ3NDEKTSV4RRFFQ69G5FA", false, NULL},
	{"too long", "01ARZ3NDEKTSV4RRFFQ69G5FAVX", false, NULL},
	{"empty", "", false, NULL},
	{"a letter that is not there", "01ARZ3NDEKTSV4RRFFQ69G5FAU", false,
	 NULL},
	{"a path", "../../../../etc/passwd0000", false, NULL},
};

Test(message, id_text)
{
	for (size_t i = 0; i < COUNT(id_rows); i++) {
		const struct id_row *row = &id_rows[i];
		char text[MESSAGE_ID_TEXT + 1];
		struct message_id id;

		cr_expect_eq(message_id_read(SLICE(row->text), &id),
			     row->is_id, "%s", row->name);
		if (!row->is_id)
			continue;
		message_id_write(&id, text);
		cr_expect_str_eq(text, row->written, "%s", row->name);
	}
}

Test(message, id_text_and_back)
{
	for (int i = 0; i < 1000; i++) {
		struct message_id id = message_id_new(), back;
		char text[MESSAGE_ID_TEXT + 1];

		message_id_write(&id, text);
		cr_assert(message_id_read(SLICE(text), &back));
		cr_assert(message_id_eq(&id, &back));
	}
}

Test(message, text_orders_as_bytes_do)
{
	char before[MESSAGE_ID_TEXT + 1], after[MESSAGE_ID_TEXT + 1];
	struct message_id id = message_id_new();

	message_id_write(&id, before);
	id = message_id_new();
	message_id_write(&id, after);
	cr_expect_lt(strcmp(before, after), 0);
}

Test(message, recipients_are_copied_and_kept)
{
	struct message *message = message_new(SLICE("from@example.org"));
	char address[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(address, sizeof(address), "u%d@x.example", i);
		message_add_recipient(message, SLICE(address),
				      SLICE("x.example"));
	}
	memset(address, 0, sizeof(address));
	cr_assert_eq(message->recipients_count, 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(address, sizeof(address), "u%d@x.example", i);
		cr_assert(slice_eq(message->recipients[i].address,
				   SLICE(address)));
	}
	message_ref(message);
	message_unref(message);
	message_unref(message);
}

Test(message, like)
{
	struct message *message = message_new(SLICE("a@example.com")), *like;

	message_add_recipient(message, SLICE("b@example.net"),
			      SLICE("example.net"));
	message_add_recipient(message, SLICE("c@example.org"),
			      SLICE("example.org"));
	message->recipients[1].orcpt = SLICE("rfc822;c");
	message->recipients[1].notify = NOTIFY_NEVER;
	message->declared_smtputf8 = true;
	message->ret = RET_FULL;
	message->envid = SLICE("id");
	message->user = SLICE("user");
	message->received_ms = 42;
	message->declared_8bit = message->is_report = true;
	message->body.size = 7;
	like = message_new_like(message);
	cr_expect_not(message_id_eq(&message->id, &like->id));
	message_unref(message);
	cr_expect(slice_eq(like->reverse_path, SLICE("a@example.com")));
	cr_assert_eq(like->recipients_count, 2);
	cr_expect(slice_eq(like->recipients[0].address,
			   SLICE("b@example.net")));
	cr_expect(slice_eq(like->recipients[1].destination,
			   SLICE("example.org")));
	cr_expect(slice_eq(like->recipients[1].orcpt, SLICE("rfc822;c")));
	cr_expect_eq(like->recipients[1].notify, NOTIFY_NEVER);
	cr_expect(like->declared_smtputf8);
	cr_expect_eq(like->ret, RET_FULL);
	cr_expect(slice_eq(like->envid, SLICE("id")));
	cr_expect(slice_eq(like->user, SLICE("user")));
	cr_expect_eq(like->received_ms, 42);
	cr_expect(like->declared_8bit);
	cr_expect(like->is_report);
	cr_expect_eq(like->body.size, 0);
	message_unref(like);
}
