#include "relay/import/header_names.h"

#include "milter/policy.h"
#include "relay/import/dataset.h"
#include "relay/import/rows.h"
#include "relay/import/write.h"

struct names {
	struct slice *items;
	size_t count;
};

struct maker {
	struct opendkim_conf *conf;
	struct slice directory;
	struct arena *arena;
	struct report *report;
	struct conf_errors *errors;
};

/* dkim_should_signhdrs of OpenDKIM 2.11. */
static const char *const signed_by_default[] = {
	"From",		   "Reply-To",	     "Subject",	  "Date",
	"To",		   "Cc",	     "Resent-Date",  "Resent-From",
	"Resent-Sender",   "Resent-To",	     "Resent-Cc",    "In-Reply-To",
	"References",	   "List-Id",	     "List-Help",    "List-Unsubscribe",
	"List-Subscribe",  "List-Post",	     "List-Owner",   "List-Archive",
};

/* Its dkim_should_not_signhdrs. */
static const char *const omitted_by_default[] = {
	"Return-Path", "Received", "Comments", "Keywords"};

static bool
has(const struct names *names, struct slice name)
{
	for (size_t i = 0; i < names->count; i++)
		if (slice_eq_nocase(names->items[i], name))
			return true;
	return false;
}

static void
add(struct maker *maker, struct names *names, struct slice name)
{
	if (has(names, name))
		return;
	names->items = rows_grow(maker->arena, names->items, names->count,
				 sizeof(*names->items));
	names->items[names->count++] = name;
}

/* The usual spelling, where there is one. */
static struct slice
spelled(struct slice name)
{
	size_t count;
	const struct policy_field *fields = policy_fields(&count);

	for (size_t i = 0; i < COUNT(signed_by_default); i++)
		if (slice_eq_nocase(name, SLICE(signed_by_default[i])))
			return SLICE(signed_by_default[i]);
	for (size_t i = 0; i < count; i++)
		if (slice_eq_nocase(name, fields[i].name))
			return fields[i].name;
	return name;
}

/* "*" in a list: the default, with the names behind a "+" and without those
 * behind a "-". */
static void
difference_read(struct maker *maker, const struct dataset *dataset,
		const char *const *defaults, size_t count, struct names *names)
{
	struct names without = {0};

	for (size_t i = 0; i < dataset->count; i++)
		if (slice_starts(dataset->rows[i].key, SLICE("-")))
			add(maker, &without,
			    slice_from(dataset->rows[i].key, 1));
	for (size_t i = 0; i < count; i++)
		if (!has(&without, SLICE(defaults[i])))
			add(maker, names, SLICE(defaults[i]));
	for (size_t i = 0; i < dataset->count; i++)
		if (slice_starts(dataset->rows[i].key, SLICE("+")))
			add(maker, names,
			    spelled(slice_from(dataset->rows[i].key, 1)));
}

static void
list_read(struct maker *maker, const char *option, const char *const *defaults,
	  size_t count, struct names *names)
{
	const struct opendkim_setting *setting =
		opendkim_setting(maker->conf, option);
	struct dataset dataset = {0};

	for (size_t i = 0; setting == NULL && i < count; i++)
		add(maker, names, SLICE(defaults[i]));
	if (setting == NULL ||
	    !dataset_read(setting->value, maker->directory, setting->place,
			  maker->arena, &dataset, maker->errors))
		return;
	for (size_t i = 0; i < dataset.count; i++)
		if (slice_eq(dataset.rows[i].key, SLICE("*"))) {
			difference_read(maker, &dataset, defaults, count,
					names);
			return;
		}
	for (size_t i = 0; i < dataset.count; i++)
		add(maker, names, spelled(dataset.rows[i].key));
}

/* What a list of signet's may hold. */
static bool
is_fit(struct maker *maker, struct slice name, struct conf_place place)
{
	const char *problem = slice_find(name, '*') >= 0
				      ? "is a pattern: write the names"
				      : policy_name_problem(name);

	if (problem != NULL)
		report_decisive(maker->report, place, "the field '%.*s' %s",
				SLICE_ARG(name), problem);
	return problem == NULL;
}

static void
list_write(struct maker *maker, const char *option, const char *ours,
	   const struct names *names, const struct names *omitted,
	   struct text *out)
{
	static const struct slice none = SLICE_LITERAL(POLICY_NO_NAME);
	struct conf_place place = opendkim_place(
		maker->conf, opendkim_setting(maker->conf, option));
	struct slice *kept =
		arena_array(maker->arena, names->count, sizeof(*kept));
	size_t count = 0;

	for (size_t i = 0; i < names->count; i++)
		if (!has(omitted, names->items[i]) &&
		    is_fit(maker, names->items[i], place))
			kept[count++] = names->items[i];
	if (count > POLICY_NAMES_MAX) {
		report_decisive(maker->report, place,
				"%zu names: signet takes at most %d", count,
				POLICY_NAMES_MAX);
		count = POLICY_NAMES_MAX;
	}
	if (count == 0) /* an empty list would mean the default */
		write_list(ours, &none, 1, out);
	else
		write_list(ours, kept, count, out);
}

void
header_names_write(struct opendkim_conf *conf, struct slice directory,
		   struct arena *arena, struct text *out,
		   struct report *report, struct conf_errors *errors)
{
	struct maker maker = {conf, directory, arena, report, errors};
	struct names omitted = {0}, headers = {0}, oversigned = {0};
	struct names none = {0};

	list_read(&maker, "OmitHeaders", omitted_by_default,
		  COUNT(omitted_by_default), &omitted);
	add(&maker, &headers, SLICE("From"));
	list_read(&maker, "SignHeaders", signed_by_default,
		  COUNT(signed_by_default), &headers);
	list_read(&maker, "OverSignHeaders", NULL, 0, &oversigned);
	text_add_string(out, "    # As OpenDKIM signs. Without these two lists "
			     "signet signs what it recommends.\n");
	list_write(&maker, "SignHeaders", "headers", &headers, &omitted, out);
	list_write(&maker, "OverSignHeaders", "oversign", &oversigned, &none,
		   out);
}
