#include "relay/control_request.h"

#include "relay/limits.h"

/* Which fields a verb may have. */
enum field {
	FIELD_JSON = 1,
	FIELD_ALL = 2,
	FIELD_ID = 4,
	FIELD_DOMAIN = 8,
	FIELD_SENDER = 16,
	FIELD_FROM = 32,
};
#define FIELDS_ALTER                                                           \
	(FIELD_ALL | FIELD_ID | FIELD_DOMAIN | FIELD_SENDER | FIELD_FROM)

static const struct verb {
	const char *name;
	unsigned fields;
	unsigned needs; /* one of these */
} verbs[] = {
	[CONTROL_STATUS] = {"status", FIELD_JSON | FIELD_ALL | FIELD_DOMAIN, 0},
	[CONTROL_LIST] = {"list",
			  FIELD_JSON | FIELD_DOMAIN | FIELD_SENDER |
				  FIELD_FROM, 0},
	[CONTROL_SHOW] = {"show", FIELD_ID, FIELD_ID},
	[CONTROL_RETRY] = {"retry", FIELDS_ALTER, FIELDS_ALTER & ~FIELD_FROM},
	[CONTROL_HOLD] = {"hold", FIELDS_ALTER, FIELDS_ALTER & ~FIELD_FROM},
	[CONTROL_RELEASE] = {"release", FIELDS_ALTER,
			     FIELDS_ALTER & ~FIELD_FROM},
	[CONTROL_DELETE] = {"delete", FIELDS_ALTER,
			    FIELDS_ALTER & ~FIELD_FROM},
};

/* --- cursors --- */

void
control_cursor_write(const struct control_cursor *cursor, struct text *out)
{
	char after[MESSAGE_ID_TEXT + 1], until[MESSAGE_ID_TEXT + 1];

	message_id_write(&cursor->after, after);
	message_id_write(&cursor->until, until);
	text_addf(out, "%s-%s-%llu", after, until,
		  (unsigned long long)cursor->begun_ms);
}

bool
control_cursor_parse(struct slice text, struct control_cursor *cursor_out)
{
	struct control_cursor cursor;
	struct slice after, until;

	if (!slice_split(&text, '-', &after) ||
	    !slice_split(&text, '-', &until) ||
	    !message_id_read(after, &cursor.after) ||
	    !message_id_read(until, &cursor.until) ||
	    !slice_number(text, &cursor.begun_ms))
		return false;
	*cursor_out = cursor;
	return true;
}

/* --- reading --- */

static bool
is_clean(struct slice value, size_t max)
{
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.bytes[i] < ' ' ||
		    value.bytes[i] == 0x7f)
			return false;
	return value.len <= max;
}

/* Which field it is and what it says; 0: none, or not well said. */
static unsigned
field_read(struct slice name, struct slice value, bool has_value,
	   struct control_request *request)
{
	if (!has_value && slice_eq(name, SLICE("json"))) {
		request->as_json = true;
		return FIELD_JSON;
	}
	if (!has_value && slice_eq(name, SLICE("all"))) {
		request->is_all = true;
		return FIELD_ALL;
	}
	if (!has_value)
		return 0;
	if (slice_eq(name, SLICE("id"))) {
		request->has_id = message_id_read(value, &request->id);
		return request->has_id ? FIELD_ID : 0;
	}
	if (slice_eq(name, SLICE("domain"))) {
		request->selection.has_domain = true;
		request->selection.domain = value;
		return is_clean(value, DOMAIN_MAX) ? FIELD_DOMAIN : 0;
	}
	if (slice_eq(name, SLICE("sender"))) {
		request->selection.has_sender = true;
		request->selection.sender = value;
		return is_clean(value, CONTROL_SENDER_MAX) ? FIELD_SENDER : 0;
	}
	if (slice_eq(name, SLICE("from")) &&
	    control_cursor_parse(value, &request->cursor))
		return FIELD_FROM;
	return 0;
}

static bool
verb_find(struct slice name, enum control_verb *verb_out)
{
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (!slice_eq(name, SLICE(verbs[i].name)))
			continue;
		*verb_out = (enum control_verb)i;
		return true;
	}
	return false;
}

/* Everything of the queue is asked for by that word, and not together with
 * less. */
static bool
fields_agree(const struct verb *verb, unsigned seen)
{
	unsigned which = seen & verb->needs;

	if (verb->needs == 0)
		return true;
	return which == FIELD_ID || which == FIELD_ALL ||
	       (which != 0 && (which & (FIELD_ID | FIELD_ALL)) == 0);
}

bool
control_request_parse(struct slice line, struct control_request *request_out,
		      struct fault *fault)
{
	struct control_request request = {0};
	struct slice field = SLICE_NONE, name;
	unsigned seen = 0;

	if (!slice_split(&line, '\t', &field) ||
	    !verb_find(field, &request.verb))
		return fault_set(fault, FAULT_INPUT, "unknown request");
	while (slice_split(&line, '\t', &field)) {
		struct slice value = field;
		bool has_value = slice_find(field, '=') >= 0;
		unsigned found;

		if (!slice_split(&value, '=', &name))
			name = SLICE_NONE;
		found = field_read(name, value, has_value, &request);
		if (found == 0 || (verbs[request.verb].fields & found) == 0 ||
		    (seen & found) != 0)
			return fault_set(fault, FAULT_INPUT,
					 "unknown request");
		seen |= found;
	}
	if (!fields_agree(&verbs[request.verb], seen))
		return fault_set(fault, FAULT_INPUT, "unknown request");
	*request_out = request;
	return true;
}

/* --- writing --- */

static bool
value_write(const char *name, struct slice value, size_t max, struct text *out,
	    struct fault *fault)
{
	if (!is_clean(value, max))
		return fault_set(fault, FAULT_INPUT,
				 "no message has such a %s", name);
	text_addf(out, "\t%s=%.*s", name, SLICE_ARG(value));
	return true;
}

bool
control_request_write(const struct control_request *request, struct text *out,
		      struct fault *fault)
{
	const struct selection *selection = &request->selection;
	char id[MESSAGE_ID_TEXT + 1];

	text_add_string(out, verbs[request->verb].name);
	if (request->as_json)
		text_add_string(out, "\tjson");
	if (request->is_all)
		text_add_string(out, "\tall");
	if (request->has_id) {
		message_id_write(&request->id, id);
		text_addf(out, "\tid=%s", id);
	}
	if ((selection->has_domain &&
	     !value_write("domain", selection->domain, DOMAIN_MAX, out,
			  fault)) ||
	    (selection->has_sender &&
	     !value_write("sender", selection->sender, CONTROL_SENDER_MAX, out,
			  fault)))
		return false;
	if (request->cursor.begun_ms != 0) {
		text_add_string(out, "\tfrom=");
		control_cursor_write(&request->cursor, out);
	}
	text_add_byte(out, '\n');
	return true;
}
