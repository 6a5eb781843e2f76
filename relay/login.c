#include "relay/login.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/options.h"

struct logins {
	struct text lines;
	struct login *items;
	size_t count;
};

void
login_cleanse(struct text *secret)
{
	if (secret->bytes != NULL)
		explicit_bzero(secret->bytes, secret->size);
	text_done(secret);
}

/* ---- the supervisor's side ---- */

/* As with keys. */
static bool
mode_check(const char *path, mode_t mode, bool strict_modes,
	   login_warn_fn *warn, struct fault *fault)
{
	struct fault warning = {0};

	if ((mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) == 0)
		return true;
	fault_set(&warning, FAULT_DENIED,
		  "password file '%s': mode %04o lets others than its owner "
		  "%s it; chmod 600",
		  path, (unsigned)mode & 07777,
		  (mode & (S_IRGRP | S_IROTH)) != 0 ? "read" : "write");
	if (strict_modes) {
		if (fault != NULL)
			*fault = warning;
		return false;
	}
	if (warn != NULL)
		warn(warning.text);
	return true;
}

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

static bool
first_line_take(char *bytes, size_t len, struct text *password_out,
		struct fault *fault)
{
	struct slice rest = slice_of(bytes, len), line = SLICE_NONE;

	if (slice_split(&rest, '\n', &line) &&
	    slice_ends_nocase(line, SLICE("\r")))
		line.len--;
	if (!password_check(line, fault))
		return false;
	text_add(password_out, line);
	return true;
}

bool
login_read(struct slice path, bool strict_modes, login_warn_fn *warn,
	   struct text *password_out, struct fault *fault)
{
	CLEAN(text_done) struct text name = {0};
	CLEAN(clean_descriptor) int descriptor = -1;
	char bytes[LOGIN_PASSWORD_MAX + 3];
	struct stat status;
	ssize_t len;
	bool is_good;

	text_add(&name, path);
	descriptor = open(text_string(&name),
			  O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0 || fstat(descriptor, &status) < 0)
		return fault_errno(fault, "password file '%s'",
				   text_string(&name));
	if (!S_ISREG(status.st_mode))
		return fault_set(fault, FAULT_INPUT,
				 "password file '%s': not a regular file",
				 text_string(&name));
	if (!mode_check(text_string(&name), status.st_mode, strict_modes, warn,
			fault))
		return false;
	do {
		len = read(descriptor, bytes, sizeof(bytes));
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return fault_errno(fault, "password file '%s'",
				   text_string(&name));
	is_good = first_line_take(bytes, (size_t)len, password_out, fault);
	explicit_bzero(bytes, sizeof(bytes));
	return is_good ||
	       fault_within(fault, "password file '%s'", text_string(&name));
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

bool
login_read_all(const struct options *options, login_warn_fn *warn,
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
			return false;
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
	login_cleanse(&logins->lines);
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
