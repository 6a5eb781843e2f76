#include "relay/import/milter_lines.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <unistd.h>

#include "relay/import/dataset.h"
#include "relay/import/rows.h"
#include "relay/import/write.h"
#include "relay/net/address.h"

/* Of dns_timeout and max_header_size. */
#define DNS_TIMEOUT_MAX_S 60
#define HEADER_SIZE_MIN 1024

struct maker {
	struct opendkim_conf *conf;
	struct slice directory;
	struct arena *arena;
	struct text *out;
	struct report *report;
	struct conf_errors *errors;
};

struct list {
	struct slice *items;
	size_t count;
};

static void
list_add(struct maker *maker, struct list *list, struct slice item)
{
	for (size_t i = 0; i < list->count; i++)
		if (slice_eq(list->items[i], item))
			return;
	list->items = rows_grow(maker->arena, list->items, list->count,
				sizeof(*list->items));
	list->items[list->count++] = item;
}

/* ---- outside of the milter section ---- */

static void
resolvers_write(struct maker *maker)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "Nameservers");
	struct list list = {0};
	struct slice rest, part;

	if (setting == NULL)
		return;
	rest = setting->value;
	while (slice_split(&rest, ',', &part))
		if (slice_trim(part).len > 0)
			list_add(maker, &list, slice_trim(part));
	text_add_string(maker->out, "dns {\n");
	write_list("resolvers", list.items, list.count, maker->out);
	text_add_string(maker->out, "}\n");
}

static void
limits_write(struct maker *maker)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "MaximumHeaders");

	if (setting == NULL)
		return;
	if (setting->number < HEADER_SIZE_MIN) {
		report_lost(maker->report, setting->place,
			    "MaximumHeaders: limits.max_header_size is at "
			    "least %d; its default stays",
			    HEADER_SIZE_MIN);
		return;
	}
	text_addf(maker->out, "limits {\n    max_header_size = %ld\n}\n",
		  setting->number);
}

/* ---- the socket ---- */

static bool
is_unix(struct slice socket)
{
	return slice_starts(socket, SLICE("unix:"));
}

/* "inet:8891@localhost", "inet:8891", "inet6:8891@[::1]" */
static struct slice
inet_socket(struct maker *maker, const struct opendkim_setting *setting,
	    const char *kind, struct slice rest, bool is_v6)
{
	struct slice port = SLICE_NONE, host = rest;
	struct address address;

	(void)slice_split(&host, '@', &port);
	if (slice_starts(host, SLICE("[")) && host.len > 2)
		host = slice_sub(host, 1, host.len - 2);
	if (slice_eq_nocase(host, SLICE("localhost")))
		host = SLICE(is_v6 ? "::1" : "127.0.0.1");
	if (host.len == 0)
		host = SLICE(is_v6 ? "::" : "0.0.0.0");
	if (!address_parse_host(host, 0, &address)) {
		report_decisive(maker->report, setting->place,
				"Socket: write the address of '%.*s' into "
				"milter.socket",
				SLICE_ARG(host));
		return SLICE_NONE;
	}
	return arena_printf(maker->arena, "%s:%.*s@%.*s", kind, SLICE_ARG(port),
			    SLICE_ARG(host));
}

static struct slice
socket_of(struct maker *maker)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "Socket");
	struct slice rest, kind;

	if (setting == NULL) {
		report_note(maker->report,
			    opendkim_place(maker->conf, setting),
			    "Socket is not set: milter.socket stays "
			    "inet:8891@127.0.0.1");
		return SLICE_NONE;
	}
	rest = setting->value;
	if (slice_starts(rest, SLICE("/")))
		return arena_printf(maker->arena, "unix:%.*s",
				    SLICE_ARG(rest));
	if (slice_split(&rest, ':', &kind) && rest.len > 0) {
		if (slice_eq(kind, SLICE("local")) ||
		    slice_eq(kind, SLICE("unix")))
			return arena_printf(maker->arena, "unix:%.*s",
					    SLICE_ARG(rest));
		if (slice_eq(kind, SLICE("inet")))
			return inet_socket(maker, setting, "inet", rest,
					   false);
		if (slice_eq(kind, SLICE("inet6")))
			return inet_socket(maker, setting, "inet6", rest,
					   true);
	}
	conf_error(maker->errors, setting->place,
		   "Socket: '%.*s' is none that can be read",
		   SLICE_ARG(setting->value));
	return SLICE_NONE;
}

/* The group that OpenDKIM gets where UserID names none: its user's own, which is
 * the one that the MTA's user has been put into. */
static struct slice
user_group(struct maker *maker, const struct opendkim_setting *setting,
	   struct slice user)
{
	CLEAN(text_done) struct text name = {0};
	const struct passwd *entry;
	const struct group *group;
	uint64_t number;

	text_add(&name, user);
	entry = getpwnam(text_string(&name));
	if (entry == NULL && slice_number(user, &number) && number <= INT_MAX)
		entry = getpwuid((uid_t)number);
	group = entry != NULL ? getgrgid(entry->pw_gid) : NULL;
	if (group == NULL) {
		report_note(maker->report, setting->place,
			    "UserID: '%.*s' is no user of this machine, and "
			    "is taken for the name of the socket's group, too "
			    "(milter.socket_group); the MTA has to be in it",
			    SLICE_ARG(user));
		return user;
	}
	report_note(maker->report, setting->place,
		    "UserID: the socket stays the group's '%s', the one of "
		    "'%.*s' (milter.socket_group); keep that group where "
		    "OpenDKIM's package goes",
		    group->gr_name, SLICE_ARG(user));
	return arena_copy(maker->arena, SLICE(group->gr_name));
}

/* Nothing: the one of who starts the milter, as with OpenDKIM. */
static struct slice
socket_group(struct maker *maker, const struct opendkim_setting *setting)
{
	struct slice group, user;

	if (setting == NULL)
		return SLICE_NONE;
	group = setting->value;
	if (!slice_split(&group, ':', &user) || user.len == 0)
		return group;
	return group.len > 0 ? group : user_group(maker, setting, user);
}

/* A package that goes takes with it what makes such a directory, and the next
 * boot finds nowhere to listen. */
static void
directory_note(struct maker *maker, struct slice socket)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "Socket");
	struct slice path = slice_from(socket, strlen("unix:")), directory;

	if (!slice_starts(path, SLICE("/run/")) &&
	    !slice_starts(path, SLICE("/var/run/")))
		return;
	directory = slice_sub(path, 0, (size_t)slice_find_last(path, '/'));
	if (slice_ends_nocase(directory, SLICE("/run")))
		return;
	report_note(maker->report, setting->place,
		    "Socket: something has to make '%.*s' at each boot: before "
		    "OpenDKIM's package goes, write \"d %.*s 0755 root root\" "
		    "into /etc/tmpfiles.d/opendkim.conf",
		    SLICE_ARG(directory), SLICE_ARG(directory));
}

/* What libmilter's socket has from the umask, without the x bits, which mean
 * nothing for a socket. */
static void
socket_write(struct maker *maker)
{
	const struct opendkim_setting *mask =
		opendkim_setting(maker->conf, "UMask");
	/* Its user is not ours: keys that are his are not for the milter. */
	const struct opendkim_setting *user =
		opendkim_setting(maker->conf, "UserID");
	struct slice socket = socket_of(maker), group;

	if (socket.len == 0)
		return;
	write_text("socket", socket, maker->out);
	if (!is_unix(socket))
		return;
	if (mask != NULL)
		text_addf(maker->out, "    socket_mode = \"%04o\"\n",
			  (unsigned)(0666 & ~mask->number));
	group = socket_group(maker, user);
	if (group.len > 0)
		write_text("socket_group", group, maker->out);
	directory_note(maker, socket);
}

/* ---- whose mail ---- */

/* OpenDKIM's "!" is the same as ours. */
static bool
is_network(struct maker *maker, const struct dataset_row *row,
	   struct slice *text_out)
{
	bool is_exception = slice_starts(row->key, SLICE("!"));
	struct slice text = slice_from(row->key, is_exception);
	struct network network;
	struct fault fault;

	if (slice_starts(text, SLICE("["))) {
		struct slice rest = slice_from(text, 1), host;

		(void)slice_split(&rest, ']', &host);
		text = arena_printf(maker->arena, "%.*s%.*s", SLICE_ARG(host),
				    SLICE_ARG(rest));
	}
	*text_out = is_exception ? arena_printf(maker->arena, "!%.*s",
						SLICE_ARG(text))
				 : text;
	return network_parse(text, &network, &fault);
}

static bool
is_address_like(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!ascii_is_digit(text.bytes[i]) && text.bytes[i] != '.' &&
		    text.bytes[i] != '/')
			return slice_find(text, ':') >= 0;
	return true;
}

static void
host_add(struct maker *maker, const struct dataset *dataset,
	 const struct dataset_row *row, struct list *list)
{
	struct slice text;

	if (is_network(maker, row, &text))
		list_add(maker, list, text);
	else if (slice_eq_nocase(text, SLICE("localhost")) ||
		 slice_eq_nocase(text, SLICE("localhost.localdomain"))) {
		list_add(maker, list, SLICE("127.0.0.1"));
		list_add(maker, list, SLICE("::1"));
	} else if (is_address_like(text))
		report_note(maker->report, row->place,
			    "'%.*s' matches no address, since bits are set "
			    "behind the prefix, or an address is not written "
			    "out: OpenDKIM does not sign for it either",
			    SLICE_ARG(text));
	else if (slice_find(text, '*') >= 0 && !dataset->is_patterns)
		report_note(maker->report, row->place,
			    "'%.*s' matches no host (\".example.com\" would): "
			    "OpenDKIM does not sign for it either",
			    SLICE_ARG(text));
	else
		report_decisive(maker->report, row->place,
				"'%.*s': signet trusts no names of clients, "
				"which DNS can forge: write the addresses",
				SLICE_ARG(text));
}

/* Clients whose mail is left alone: as far as it is signed, they are exceptions
 * from those whose mail is. */
static void
peers_except(struct maker *maker, struct list *list)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "PeerList");
	struct dataset dataset = {0};

	if (setting == NULL ||
	    !dataset_read(setting->value, maker->directory, setting->place,
			  maker->arena, &dataset, maker->errors))
		return;
	report_lost(maker->report, setting->place,
		    "PeerList: its clients are exceptions in milter.sign_from "
		    "now: their mail is not signed, but where they have logged "
		    "in, and is verified like that of others");
	for (size_t i = 0; i < dataset.count; i++) {
		struct slice text;

		if (!is_network(maker, &dataset.rows[i], &text) ||
		    slice_starts(text, SLICE("!")))
			report_decisive(maker->report, dataset.rows[i].place,
					"'%.*s' in PeerList: write it as an "
					"address or network into "
					"milter.sign_from, as in "
					"\"!192.0.2.1\"",
					SLICE_ARG(dataset.rows[i].key));
		else
			list_add(maker, list,
				 arena_printf(maker->arena, "!%.*s",
					      SLICE_ARG(text)));
	}
}

static void
hosts_write(struct maker *maker)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "InternalHosts");
	struct dataset dataset = {0};
	struct list list = {0};

	if (setting == NULL) {
		list_add(maker, &list, SLICE("127.0.0.1"));
		list_add(maker, &list, SLICE("::1"));
	} else if (!dataset_read(setting->value, maker->directory,
				 setting->place, maker->arena, &dataset,
				 maker->errors)) {
		return;
	}
	for (size_t i = 0; i < dataset.count; i++)
		host_add(maker, &dataset, &dataset.rows[i], &list);
	peers_except(maker, &list);
	if (list.count > CONF_LIST_MAX) {
		report_decisive(maker->report,
				opendkim_place(maker->conf, setting),
				"%zu networks: signet takes at most %d",
				list.count, CONF_LIST_MAX);
		list.count = CONF_LIST_MAX;
	}
	write_list("sign_from", list.items, list.count, maker->out);
}

/* "daemon_name=ORIGINATING|MSA" */
static void
macro_read(struct maker *maker, const struct dataset_row *row,
	   struct list *list)
{
	struct slice values = row->value, value;

	if (slice_eq(row->key, SLICE("auth_type")) && values.len == 0)
		return; /* sign_authenticated */
	if (!slice_eq(row->key, SLICE("daemon_name")) || values.len == 0) {
		report_decisive(maker->report, row->place,
				"the macro '%.*s': signet looks at "
				"{daemon_name} and {auth_type} only",
				SLICE_ARG(row->key));
		return;
	}
	while (slice_split(&values, '|', &value))
		if (slice_trim(value).len > 0)
			list_add(maker, list, slice_trim(value));
}

static void
macros_read(struct maker *maker, const struct opendkim_setting *macros,
	    struct list *list)
{
	struct dataset dataset = {0};

	if (macros != NULL &&
	    dataset_read(macros->value, maker->directory, macros->place,
			 maker->arena, &dataset, maker->errors))
		for (size_t i = 0; i < dataset.count; i++)
			macro_read(maker, &dataset.rows[i], list);
}

/* MTA and MacroList are asked one after the other, and what the second finds
 * of {daemon_name} is what counts. */
static void
daemons_write(struct maker *maker)
{
	const struct opendkim_setting *macros =
		opendkim_setting(maker->conf, "MacroList");
	const struct opendkim_setting *daemons =
		opendkim_setting(maker->conf, "MTA");
	struct dataset dataset = {0};
	struct list list = {0};

	macros_read(maker, macros, &list);
	if (daemons != NULL && list.count > 0)
		report_note(maker->report, daemons->place,
			    "MTA counts for nothing beside a MacroList with "
			    "daemon_name");
	else if (daemons != NULL &&
		 dataset_read(daemons->value, maker->directory, daemons->place,
			      maker->arena, &dataset, maker->errors))
		for (size_t i = 0; i < dataset.count; i++)
			list_add(maker, &list, dataset.rows[i].key);
	write_list("sign_daemons", list.items, list.count, maker->out);
}

/* ---- what it does ---- */

static void
mode_write(struct maker *maker)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "Mode");
	struct slice mode = setting != NULL ? setting->value : SLICE("sv");
	bool signs = slice_find(mode, 's') >= 0;
	bool verifies = slice_find(mode, 'v') >= 0;

	if (!signs && !verifies)
		conf_error(maker->errors, opendkim_place(maker->conf, setting),
			   "Mode: '%.*s' has neither s nor v",
			   SLICE_ARG(mode));
	text_addf(maker->out, "    mode = \"%s\"\n",
		  signs && verifies ? "both"
		  : signs	    ? "sign"
				    : "verify");
}

/* The first letter of what is to become of a message in trouble. */
static char
action_of(struct maker *maker, const char *name, char otherwise)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, name);
	char action;

	if (setting == NULL)
		return otherwise;
	action = ascii_lower(setting->value.bytes[0]);
	if (strchr("adqrt", action) == NULL)
		conf_error(maker->errors, setting->place,
			   "%s: '%.*s' is no action", name,
			   SLICE_ARG(setting->value));
	else if (action != 'a' && action != 't')
		report_lost(maker->report, setting->place,
			    "%s: milter.on_error knows tempfail and accept",
			    name);
	return action;
}

/* One on_error for both: unsigned only where OpenDKIM lets both through. */
static void
on_error_write(struct maker *maker)
{
	char all = action_of(maker, "On-Default", '\0');
	char internal =
		action_of(maker, "On-InternalError", all ? all : 't');
	char signature =
		action_of(maker, "On-SignatureError", all ? all : 'r');
	bool accepts = internal == 'a' && signature == 'a';

	if (!accepts && (internal == 'a' || signature == 'a'))
		report_lost(maker->report,
			    opendkim_place(
				    maker->conf,
				    opendkim_setting(maker->conf,
						     internal == 'a'
							     ? "On-InternalError"
							     : "On-SignatureError")),
			    "accept for one kind of error only: "
			    "milter.on_error is for all, and stays tempfail");
	text_addf(maker->out, "    on_error = \"%s\"\n",
		  accepts ? "accept" : "tempfail");
}

static void
authserv_id_write(struct maker *maker)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "AuthservID");

	char hostname[HOST_NAME_MAX + 1];

	/* Without one both take the MTA's name. */
	if (setting == NULL)
		return;
	if (!slice_eq(setting->value, SLICE("HOSTNAME"))) {
		write_text("authserv_id", setting->value, maker->out);
		return;
	}
	ASSERT(gethostname(hostname, sizeof(hostname)) == 0);
	report_note(maker->report, setting->place,
		    "AuthservID: HOSTNAME is the name of the machine, which is "
		    "written out");
	write_text("authserv_id", SLICE(hostname), maker->out);
}

static void
dns_timeout_write(struct maker *maker)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, "DNSTimeout");

	if (setting == NULL)
		return;
	if (setting->number < 1 || setting->number > DNS_TIMEOUT_MAX_S) {
		report_lost(maker->report, setting->place,
			    "DNSTimeout: milter.dns_timeout is from 1s to 1m; "
			    "it is 1m now");
		text_add_string(maker->out, "    dns_timeout = 1m\n");
		return;
	}
	text_addf(maker->out, "    dns_timeout = %lds\n", setting->number);
}

void
milter_lines_write(struct opendkim_conf *conf, struct slice directory,
		   struct arena *arena, struct text *out,
		   struct report *report, struct conf_errors *errors)
{
	struct maker maker = {conf, directory, arena, out, report, errors};

	resolvers_write(&maker);
	limits_write(&maker);
	text_add_string(out, "\nmilter {\n");
	socket_write(&maker);
	mode_write(&maker);
	hosts_write(&maker);
	daemons_write(&maker);
	on_error_write(&maker);
	authserv_id_write(&maker);
	dns_timeout_write(&maker);
	text_add_string(out, "}\n");
}
