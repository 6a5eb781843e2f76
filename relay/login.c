#include "relay/login.h"

#include <stdlib.h>

#include "relay/options.h"

/* Only the first line counts. */
#define FILE_MAX ((size_t)64 << 10)

struct logins {
	struct text lines;
	struct login *items;
	size_t count;
};

/* ---- the supervisor's side ---- */

static bool
password_check(struct slice password, struct fault *fault)
{
	if (password.len == 0)
		return fault_set(fault, FAULT_INPUT, "its first line is empty");
	if (password.len > LOGIN_PASSWORD_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "its first line has more than %d octets",
				 LOGIN_PASSWORD_MAX);
	for (size_t i = 0; i < password.len; i++)
		if ((unsigned char)password.bytes[i] < 0x20 ||
		    password.bytes[i] == 0x7f)
			return fault_set(fault, FAULT_INPUT,
					 "its first line holds a control "
					 "character");
	return true;
}

/* Does not repeat the name: who mistakes the option for one that takes the
 * password itself has given that. */
static bool
absence_tell(struct fault *fault)
{
	if (fault != NULL && fault->kind == FAULT_ABSENT)
		fault_set(fault, FAULT_ABSENT,
			  "'auth_password_file' names no file that is there; "
			  "it is looked for beside this one, and does not "
			  "hold the password itself");
	return false;
}

bool
login_read(struct slice path, bool strict_modes, secret_warn_fn *warn,
	   struct text *password_out, struct fault *fault)
{
	CLEAN(secret_cleanse) struct text bytes = {0};
	struct slice rest, line = SLICE_NONE;

	if (!secret_file_read("password file", path, FILE_MAX, strict_modes,
			      warn, &bytes, fault))
		return absence_tell(fault);
	rest = text_slice(&bytes);
	if (slice_split(&rest, '\n', &line) &&
	    slice_ends_nocase(line, SLICE("\r")))
		line.len--;
	if (!password_check(line, fault))
		return fault_within(fault, "password file '%.*s'",
				    SLICE_ARG(path));
	text_add(password_out, line);
	return true;
}

static size_t
logins_count(const struct options *options)
{
	return 1 + options->routes_count;
}

static const struct login_options *
login_options_at(const struct options *options, size_t i)
{
	return i == 0 ? &options->delivery.login
		      : &options->routes[i - 1].login;
}

/* Which of them it was, where its file is not named. */
static bool
whose_tell(const struct options *options, size_t i, struct fault *fault)
{
	if (i == 0)
		return fault_within(fault, "delivery");
	return fault_within(fault, "route \"%.*s\"",
			    SLICE_ARG(options->routes[i - 1].pattern));
}

bool
login_read_all(const struct options *options, secret_warn_fn *warn,
	       struct text *lines_out, struct fault *fault)
{
	/* Without growing on the way, which would leave copies behind. */
	text_room(lines_out, logins_count(options) * (LOGIN_PASSWORD_MAX + 1));
	for (size_t i = 0; i < logins_count(options); i++) {
		const struct login_options *login =
			login_options_at(options, i);

		if (login->user.len > 0 &&
		    !login_read(login->password_file,
				options->strict_key_modes, warn, lines_out,
				fault))
			return whose_tell(options, i, fault);
		text_add_byte(lines_out, '\n');
	}
	return true;
}

/* ---- the relay process's side ---- */

bool
logins_new(const struct options *options, struct slice lines,
	   struct logins **logins_out, struct fault *fault)
{
	struct logins *logins = memory_new(sizeof(*logins));
	struct slice rest;

	logins->count = logins_count(options);
	logins->items = memory_array(logins->count, sizeof(*logins->items));
	text_room(&logins->lines, lines.len);
	text_add(&logins->lines, lines);
	rest = text_slice(&logins->lines);
	for (size_t i = 0; i < logins->count; i++) {
		const struct login_options *from = login_options_at(options, i);
		struct login *login = &logins->items[i];

		if (!slice_split(&rest, '\n', &login->password) ||
		    (from->user.len > 0) != (login->password.len > 0)) {
			logins_free(logins);
			return fault_set(fault, FAULT_INPUT,
					 "the passwords handed over are not "
					 "those of the configuration");
		}
		login->user = from->user;
		login->may_be_clear = from->without_tls;
	}
	*logins_out = logins;
	return true;
}

void
logins_free(struct logins *logins)
{
	if (logins == NULL)
		return;
	secret_cleanse(&logins->lines);
	free(logins->items);
	free(logins);
}

struct login *
logins_at(struct logins *logins, size_t i)
{
	if (logins == NULL)
		return NULL;
	ASSERT(i < logins->count);
	return logins->items[i].user.len > 0 ? &logins->items[i] : NULL;
}
