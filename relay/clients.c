#include "relay/clients.h"

#include <stdlib.h>

#include "base/conf.h"
#include "relay/users.h"

struct client_entry {
	uint8_t fingerprint[CLIENT_FINGERPRINT];
	struct slice name;
};

struct clients {
	struct text bytes;
	struct client_entry *items; /* by fingerprint */
	size_t count;
};

/* --- one line --- */

static int
digit_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "AB:CD:…" or "abcd…". Gives how many octets; 0: it is neither. */
static size_t
hexadecimal_read(struct slice text, uint8_t *out, size_t max)
{
	bool has_colons = text.len > 2 && text.bytes[2] == ':';
	size_t step = has_colons ? 3 : 2, count = 0;

	for (size_t i = 0; i + 1 < text.len; i += step) {
		int high = digit_value(text.bytes[i]);
		int low = digit_value(text.bytes[i + 1]);
		size_t end = i + 2;

		if (high < 0 || low < 0 || count == max ||
		    (has_colons && end < text.len && text.bytes[end] != ':'))
			return 0;
		out[count++] = (uint8_t)(high * 16 + low);
	}
	return text.len == count * step - (has_colons ? 1 : 0) ? count : 0;
}

static bool
fingerprint_parse(struct slice text, uint8_t out[CLIENT_FINGERPRINT],
		  struct fault *fault)
{
	uint8_t octets[64];
	size_t count = hexadecimal_read(text, octets, sizeof(octets));

	if (count == CLIENT_FINGERPRINT) {
		memcpy(out, octets, CLIENT_FINGERPRINT);
		return true;
	}
	if (count == 16 || count == 20)
		return fault_set(fault, FAULT_INPUT,
				 "a fingerprint by %s; by SHA-256 it is taken: "
				 "`openssl x509 -noout -fingerprint -sha256 "
				 "-in FILE`",
				 count == 16 ? "MD5" : "SHA-1");
	return fault_set(fault, FAULT_INPUT,
			 "a line is FINGERPRINT NAME, the fingerprint being 32 "
			 "octets in hexadecimal: `openssl x509 -noout "
			 "-fingerprint -sha256 -in FILE`");
}

static bool
name_check(struct slice name, struct fault *fault)
{
	if (name.len == 0)
		return fault_set(fault, FAULT_INPUT,
				 "behind the fingerprint stands a name");
	if (name.len > USER_NAME_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "a name of more than %d octets",
				 USER_NAME_MAX);
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.bytes[i] < ' ' ||
		    name.bytes[i] == 0x7f)
			return fault_set(fault, FAULT_INPUT,
					 "a control character");
	return true;
}

static bool
line_parse(struct slice line, struct client_entry *entry, struct fault *fault)
{
	size_t len = 0;

	while (len < line.len && !ascii_is_wsp(line.bytes[len]))
		len++;
	entry->name = slice_trim(slice_from(line, len));
	return fingerprint_parse(slice_sub(line, 0, len), entry->fingerprint,
				 fault) &&
	       name_check(entry->name, fault);
}

/* --- all of them --- */

static int
by_fingerprint(const void *a, const void *b)
{
	const struct client_entry *left = a, *right = b;

	return memcmp(left->fingerprint, right->fingerprint,
		      CLIENT_FINGERPRINT);
}

static bool
entries_sort(struct clients *clients, struct fault *fault)
{
	if (clients->count > 0)
		qsort(clients->items, clients->count, sizeof(*clients->items),
		      by_fingerprint);
	for (size_t i = 1; i < clients->count; i++)
		if (by_fingerprint(&clients->items[i - 1],
				   &clients->items[i]) == 0)
			return fault_set(fault, FAULT_INPUT,
					 "the fingerprint of '%.*s' stands "
					 "there twice",
					 SLICE_ARG(clients->items[i].name));
	return true;
}

static bool
clients_parse(struct clients *clients, struct fault *fault)
{
	struct slice rest = text_slice(&clients->bytes), line;
	size_t number = 0;

	while (slice_split(&rest, '\n', &line)) {
		number++;
		line = slice_trim(line);
		if (line.len == 0 || line.bytes[0] == '#')
			continue;
		if (!line_parse(line, &clients->items[clients->count], fault))
			return fault_within(fault, "line %zu", number);
		clients->count++;
	}
	return entries_sort(clients, fault);
}

bool
clients_new(struct slice bytes, struct clients **clients_out,
	    struct fault *fault)
{
	struct clients *clients = memory_new(sizeof(*clients));
	size_t lines = 1;

	for (size_t i = 0; i < bytes.len; i++)
		lines += bytes.bytes[i] == '\n';
	text_add(&clients->bytes, bytes);
	clients->items = memory_array(lines, sizeof(*clients->items));
	if (!clients_parse(clients, fault)) {
		clients_free(clients);
		return false;
	}
	*clients_out = clients;
	return true;
}

bool
clients_read(struct slice path, struct clients **clients_out,
	     struct fault *fault)
{
	CLEAN(text_done) struct text name = {0}, bytes = {0};

	text_add(&name, path);
	return (conf_file_read(text_string(&name), CLIENTS_FILE_MAX, &bytes,
			       fault) &&
		clients_new(text_slice(&bytes), clients_out, fault)) ||
	       fault_within(fault, "tls_clients '%s'", text_string(&name));
}

void
clients_free(struct clients *clients)
{
	if (clients == NULL)
		return;
	text_done(&clients->bytes);
	free(clients->items);
	free(clients);
}

bool
clients_find(const struct clients *clients,
	     const uint8_t fingerprint[CLIENT_FINGERPRINT],
	     struct slice *name_out)
{
	struct client_entry wanted = {0};
	const struct client_entry *found;

	if (clients->count == 0)
		return false;
	memcpy(wanted.fingerprint, fingerprint, CLIENT_FINGERPRINT);
	found = bsearch(&wanted, clients->items, clients->count,
			sizeof(*clients->items), by_fingerprint);
	if (found == NULL)
		return false;
	*name_out = found->name;
	return true;
}

size_t
clients_count(const struct clients *clients)
{
	return clients->count;
}

struct slice
clients_name_at(const struct clients *clients, size_t i)
{
	ASSERT(i < clients->count);
	return clients->items[i].name;
}
