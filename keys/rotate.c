#include "keys/rotate.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/generate.h"
#include "keys/record.h"

#define SELECTOR_SIZE 16

/* The selector's options stand in the same place as the key's. */
struct rotation {
	const struct keys_options *all, *only;
	const struct domain_options *options;
	const struct keyring_domain *domain;
	const struct keys_dns *dns;
	struct text *out;
	enum rotate_result result;
};

static size_t
state_count(const struct rotation *rotation, enum selector_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < rotation->domain->selectors_count; i++)
		count += rotation->domain->selectors[i].state == state;
	return count;
}

/* Both are asked for the same senders' mail, with the same algorithm. */
static bool
is_same_kind(const struct keyring_selector *a, const struct keyring_selector *b)
{
	if (key_public_algorithm(a->key) != key_public_algorithm(b->key) ||
	    a->from_count != b->from_count)
		return false;
	for (size_t i = 0; i < a->from_count; i++)
		if (!slice_eq_nocase(a->from[i], b->from[i]))
			return false;
	return true;
}

static enum check_verdict
dns_check(const struct rotation *rotation,
	  const struct keyring_selector *selector,
	  enum check_answer *answer_out, struct text *why)
{
	CLEAN(text_done) struct text name = {0};
	struct slice texts[CHECK_RECORDS_MAX];
	size_t count = 0;

	record_name_write(selector->name, rotation->domain->name, &name);
	*answer_out = rotation->dns->ask(rotation->dns->owner,
					 text_slice(&name), texts, &count);
	return check_selector(selector, *answer_out, texts, count, why);
}

static void
result_worsen(struct rotation *rotation, enum rotate_result result)
{
	if (result > rotation->result)
		rotation->result = result;
}

static void
place_write(const struct selector_options *selector, struct text *out)
{
	text_addf(out, "    %s:%u: selector \"%.*s\"", selector->file,
		  selector->line, SLICE_ARG(selector->name));
}

/* ---- a key that is to sign next ---- */

static void
switch_tell(struct rotation *rotation, size_t next)
{
	const struct keyring_domain *domain = rotation->domain;
	struct text *out = rotation->out;

	text_addf(out, "%.*s is published. Let it sign now:\n",
		  SLICE_ARG(domain->selectors[next].name));
	place_write(&rotation->options->selectors[next], out);
	text_add_string(out, ": state = \"active\"\n");
	for (size_t i = 0; i < domain->selectors_count; i++) {
		if (domain->selectors[i].state != SELECTOR_ACTIVE ||
		    !is_same_kind(&domain->selectors[i],
				  &domain->selectors[next]))
			continue;
		place_write(&rotation->options->selectors[i], out);
		text_add_string(out, ": state = \"retired\"\n");
	}
	text_add_string(out, "and reload. Leave the old record in the DNS. "
			     "Sender sections that name the old selector are "
			     "named by check-config.\n");
}

static void
next_step(struct rotation *rotation, size_t i)
{
	CLEAN(text_done) struct text why = {0};
	const struct keyring_selector *selector =
		&rotation->domain->selectors[i];
	struct text *out = rotation->out;
	enum check_answer answer;

	switch (dns_check(rotation, selector, &answer, &why)) {
	case CHECK_WARN:
		text_addf(out, "%.*s: %s.\n", SLICE_ARG(selector->name),
			  text_string(&why));
		switch_tell(rotation, i);
		return;
	case CHECK_OK:
		switch_tell(rotation, i);
		return;
	case CHECK_FAIL:
		result_worsen(rotation, answer == CHECK_FOUND ? ROTATE_WRONG
							      : ROTATE_WAITS);
		break;
	case CHECK_UNKNOWN:
		result_worsen(rotation, ROTATE_WAITS);
		break;
	}
	text_addf(out,
		  "%.*s is not to sign yet: %s. Publish this, and ask again "
		  "once it is seen everywhere:\n",
		  SLICE_ARG(selector->name), text_string(&why));
	record_write_zone(selector->name, rotation->domain->name, selector->key,
			  out);
}

/* However the two are written; text decides where one of them is not there. */
static bool
is_same_file(const char *a, const char *b)
{
	struct stat of_a, of_b;

	if (stat(a, &of_a) != 0 || stat(b, &of_b) != 0)
		return strcmp(a, b) == 0;
	return of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

/* By a selector of any section, but for that one. */
static bool
is_configured(const struct rotation *rotation, const char *path,
	      const struct selector_options *but)
{
	for (size_t i = 0; i < rotation->all->domains_count; i++) {
		const struct domain_options *domain =
			&rotation->all->domains[i];

		for (size_t j = 0; j < domain->selectors_count; j++) {
			CLEAN(text_done) struct text known = {0};

			if (&domain->selectors[j] == but)
				continue;
			keys_path_write(rotation->all,
					domain->selectors[j].key_path, &known);
			if (is_same_file(text_string(&known), path))
				return true;
		}
	}
	return false;
}

/* ---- one that has signed ---- */

static void
retired_step(struct rotation *rotation, size_t i)
{
	CLEAN(text_done) struct text why = {0}, path = {0}, name = {0};
	const struct keyring_selector *selector =
		&rotation->domain->selectors[i];
	struct text *out = rotation->out;
	enum check_answer answer;

	(void)dns_check(rotation, selector, &answer, &why);
	record_name_write(selector->name, rotation->domain->name, &name);
	if (answer == CHECK_UNANSWERED) {
		text_addf(out, "%.*s is retired; whether its record is still "
			  "there, the DNS does not say now.\n",
			  SLICE_ARG(selector->name));
		result_worsen(rotation, ROTATE_WAITS);
		return;
	}
	if (answer == CHECK_FOUND) {
		text_addf(out, "%.*s is retired. Once no mail that it has "
			  "signed waits any more (delivery.expire after it was "
			  "retired, and a week for slow readers), take %s out "
			  "of the DNS, and ask again.\n",
			  SLICE_ARG(selector->name), text_string(&name));
		return;
	}
	keys_path_write(rotation->only,
			rotation->options->selectors[i].key_path, &path);
	text_addf(out, "%.*s is retired and no longer published. Remove\n",
		  SLICE_ARG(selector->name));
	place_write(&rotation->options->selectors[i], out);
	text_add_string(out, "\nand reload");
	if (!is_configured(rotation, text_string(&path),
			   &rotation->options->selectors[i]))
		text_addf(out, ", and delete %s", text_string(&path));
	text_add_string(out, ".\n");
}

/* ---- a new one ---- */

static void
section_tell(const struct rotation *rotation, struct slice selector,
	     const struct keyring_selector *like)
{
	struct text *out = rotation->out;

	text_addf(out, "Add to the section at %s:%u\n    selector \"%.*s\" { "
		  "key = \"%.*s/%.*s.pem\"  state = \"publish\"",
		  rotation->options->file, rotation->options->line,
		  SLICE_ARG(selector), SLICE_ARG(rotation->domain->name),
		  SLICE_ARG(selector));
	for (size_t i = 0; like != NULL && i < like->from_count; i++)
		text_addf(out, "%s\"%.*s\"%s", i == 0 ? "  from = {" : ", ",
			  SLICE_ARG(like->from[i]),
			  i + 1 == like->from_count ? "}" : "");
	text_add_string(out, " }\nand reload");
}

static bool
is_taken(const struct rotation *rotation, struct slice name)
{
	CLEAN(text_done) struct text record = {0}, path = {0};
	struct slice texts[CHECK_RECORDS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < rotation->domain->selectors_count; i++)
		if (slice_eq_nocase(rotation->domain->selectors[i].name, name))
			return true;
	text_addf(&path, "%.*s/%.*s/%.*s.pem",
		  SLICE_ARG(rotation->only->keys_dir),
		  SLICE_ARG(rotation->domain->name), SLICE_ARG(name));
	if (access(text_string(&path), F_OK) == 0)
		return true;
	/* Perhaps of a key that is long gone. */
	record_name_write(name, rotation->domain->name, &record);
	return rotation->dns->ask(rotation->dns->owner, text_slice(&record),
				  texts, &count) == CHECK_FOUND;
}

/* "2026a" and so on: the first of this year that nobody has. */
static bool
name_choose(const struct rotation *rotation, char name[SELECTOR_SIZE],
	    struct fault *fault)
{
	time_t now = (time_t)(clock_wall_ms() / SECOND);
	struct tm date;

	gmtime_r(&now, &date);
	for (int letter = 'a'; letter <= 'z'; letter++) {
		snprintf(name, SELECTOR_SIZE, "%d%c", date.tm_year + 1900,
			 letter);
		if (!is_taken(rotation, SLICE(name)))
			return true;
	}
	return fault_set(fault, FAULT_LIMIT,
			 "no selector from %da to z is left: `signet key "
			 "generate` takes any name",
			 date.tm_year + 1900);
}

static bool
key_make(struct rotation *rotation, const struct keyring_selector *like,
	 struct fault *fault)
{
	CLEAN(key_public_free_clean) struct key_public *public = NULL;
	CLEAN(text_done) struct text path = {0};
	unsigned bits = key_public_bits(like->key);
	char name[SELECTOR_SIZE];

	if (bits < KEY_RSA_BITS_ADVISED)
		bits = KEY_RSA_BITS_ADVISED;
	if (!name_choose(rotation, name, fault) ||
	    !generate_file(rotation->only->keys_dir, rotation->domain->name,
			   SLICE(name), key_public_algorithm(like->key), bits,
			   &public, &path, fault))
		return false;
	text_addf(rotation->out, "Made %s, which is to follow %.*s. ",
		  text_string(&path), SLICE_ARG(like->name));
	section_tell(rotation, SLICE(name), like);
	text_add_string(rotation->out, ", publish\n");
	record_write_zone(SLICE(name), rotation->domain->name, public,
			  rotation->out);
	text_add_string(rotation->out, "and ask again.\n");
	rotation->result = ROTATE_MADE;
	return true;
}

/* Keys that an earlier step has made, and that no selector names yet. */
static size_t
waiting_tell(struct rotation *rotation)
{
	CLEAN(text_done) struct text directory = {0};
	const struct dirent *entry;
	size_t count = 0;
	DIR *open;

	text_addf(&directory, "%.*s/%.*s",
		  SLICE_ARG(rotation->only->keys_dir),
		  SLICE_ARG(rotation->domain->name));
	open = opendir(text_string(&directory));
	while (open != NULL && (entry = readdir(open)) != NULL) {
		CLEAN(text_done) struct text path = {0};
		struct slice name = SLICE(entry->d_name);

		text_addf(&path, "%s/%s", text_string(&directory),
			  entry->d_name);
		if (name.bytes[0] == '.' || name.len <= 4 ||
		    !slice_ends_nocase(name, SLICE(".pem")) ||
		    is_configured(rotation, text_string(&path), NULL))
			continue;
		text_addf(rotation->out, "%s is named by no selector. ",
			  text_string(&path));
		section_tell(rotation, slice_sub(name, 0, name.len - 4), NULL);
		text_add_string(rotation->out,
				", and ask again; or delete it.\n");
		count++;
	}
	if (open != NULL)
		closedir(open);
	return count;
}

static bool
keys_make(struct rotation *rotation, struct fault *fault)
{
	if (waiting_tell(rotation) > 0)
		return true;
	for (size_t i = 0; i < rotation->domain->selectors_count; i++)
		if (!key_make(rotation, &rotation->domain->selectors[i], fault))
			return false;
	return true;
}

bool
rotate_next(const struct keys_options *all, const struct keys_options *only,
	    const struct keyring_domain *domain, const struct keys_dns *dns,
	    struct text *out, enum rotate_result *result_out,
	    struct fault *fault)
{
	struct rotation rotation = {
		.all = all,
		.only = only,
		.options = &only->domains[0],
		.domain = domain,
		.dns = dns,
		.out = out,
		.result = ROTATE_TOLD,
	};
	enum selector_state state = SELECTOR_PUBLISH;

	if (state_count(&rotation, state) == 0)
		state = SELECTOR_RETIRED;
	if (state_count(&rotation, state) == 0 && !keys_make(&rotation, fault))
		return false;
	for (size_t i = 0; i < domain->selectors_count; i++) {
		if (domain->selectors[i].state != state)
			continue;
		if (state == SELECTOR_PUBLISH)
			next_step(&rotation, i);
		else
			retired_step(&rotation, i);
	}
	*result_out = rotation.result;
	return true;
}
