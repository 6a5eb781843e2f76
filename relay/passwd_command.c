#include "relay/passwd_command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "relay/server/password.h"

#define MODE_NEW 0600

struct arguments {
	enum user_scheme scheme;
	bool deletes;
	struct slice file, user;
};

static int
fail(const struct fault *fault)
{
	fprintf(stderr, "signet: passwd: %s\n", fault->text);
	return fault_exit_code(fault);
}

/* ---- the password ---- */

static bool
line_read(struct text *line_out, struct fault *fault)
{
	char bytes[PASSWORD_MAX + 3];
	size_t len = 0;
	bool is_whole = false;

	/* Byte by byte: what is behind the line is not ours, and no stream's
	 * buffer keeps a copy. */
	while (!is_whole && len < sizeof(bytes)) {
		ssize_t count = read(STDIN_FILENO, bytes + len, 1);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		is_whole = bytes[len] == '\n';
		if (!is_whole)
			len++;
	}
	/* Also where nothing is behind it, as with the passwords of files. */
	if (len > 0 && bytes[len - 1] == '\r')
		len--;
	text_room(line_out, len);
	text_add(line_out, slice_of(bytes, len));
	explicit_bzero(bytes, sizeof(bytes));
	return len > 0 ||
	       fault_set(fault, FAULT_INPUT, "no password was given");
}

static bool
line_ask(const char *prompt, struct text *line_out, struct fault *fault)
{
	struct termios before, silent;
	bool is_done;

	fputs(prompt, stderr);
	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return fault_errno(fault, "the terminal");
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	silent.c_lflag |= ECHONL;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) < 0)
		return fault_errno(fault, "the terminal");
	is_done = line_read(line_out, fault);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	return is_done;
}

/* From a terminal twice, without an echo; else the first line of stdin. */
static bool
password_ask(struct text *password_out, struct fault *fault)
{
	CLEAN(secret_cleanse) struct text again = {0};

	if (!isatty(STDIN_FILENO))
		return line_read(password_out, fault);
	if (!line_ask("Password: ", password_out, fault) ||
	    !line_ask("Again: ", &again, fault))
		return false;
	return slice_eq(text_slice(password_out), text_slice(&again)) ||
	       fault_set(fault, FAULT_INPUT, "the two differ");
}

/* ---- the file ---- */

/* Empty where the line is nobody's. */
static struct slice
name_of(struct slice line)
{
	struct slice name;

	line = slice_trim(line);
	if (line.len == 0 || line.bytes[0] == '#' ||
	    !slice_split(&line, ':', &name))
		return SLICE_NONE;
	return name;
}

/* All lines but the user's; comments stay. *alike_out is a name that differs in
 * its case alone, or empty. */
static bool
others_add(struct slice bytes, struct slice user, struct text *out,
	   struct slice *alike_out)
{
	struct slice line;
	bool was_there = false;

	*alike_out = SLICE_NONE;
	while (slice_split(&bytes, '\n', &line)) {
		struct slice name = name_of(line);

		if (slice_eq(name, user)) {
			was_there = true;
			continue;
		}
		if (slice_eq_nocase(name, user))
			*alike_out = name;
		text_add(out, line);
		text_add_byte(out, '\n');
	}
	return was_there;
}

/* Whoever changes a password, or takes a user out, means the person. */
static void
alike_warn(struct slice alike)
{
	if (alike.len > 0)
		fprintf(stderr,
			"signet: passwd: warning: the file has '%.*s', too, "
			"whose entry stays as it is: names that differ in "
			"their case log in each with a password of its own\n",
			SLICE_ARG(alike));
}

static bool
descriptor_write(int descriptor, struct slice bytes, struct fault *fault)
{
	while (bytes.len > 0) {
		ssize_t count = write(descriptor, bytes.bytes, bytes.len);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return fault_errno(fault, "writing it");
		bytes = slice_from(bytes, (size_t)count);
	}
	return fsync(descriptor) == 0 || fault_errno(fault, "writing it");
}

/* Owner and mode stay what they were. */
static bool
likeness_give(int descriptor, const char *path, struct fault *fault)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return errno == ENOENT || fault_errno(fault, "'%s'", path);
	if (fchmod(descriptor, status.st_mode & 07777) < 0 ||
	    ((status.st_uid != geteuid() || status.st_gid != getegid()) &&
	     fchown(descriptor, status.st_uid, status.st_gid) < 0))
		return fault_errno(fault, "owner and mode of '%s'", path);
	return true;
}

/* The file is the old one or the new one, whatever happens. */
static bool
file_replace(const char *path, struct slice bytes, struct fault *fault)
{
	CLEAN(text_done) struct text name = {0};
	CLEAN(clean_descriptor) int descriptor = -1;
	bool is_done;

	text_addf(&name, "%s.XXXXXX", path);
	descriptor = mkostemp(name.bytes, O_CLOEXEC);
	if (descriptor < 0)
		return fault_errno(fault, "'%s'", text_string(&name));
	is_done = fchmod(descriptor, MODE_NEW) == 0
			  ? likeness_give(descriptor, path, fault) &&
				    descriptor_write(descriptor, bytes, fault)
			  : fault_errno(fault, "its mode");
	if (is_done && rename(text_string(&name), path) < 0)
		is_done = fault_errno(fault, "'%s'", path);
	if (!is_done)
		(void)unlink(text_string(&name));
	return is_done;
}

static bool
entry_add(const struct arguments *arguments, struct text *out,
	  struct fault *fault)
{
	CLEAN(secret_cleanse) struct text password = {0}, hash = {0};

	if (!password_ask(&password, fault) ||
	    !password_hash(arguments->scheme, text_slice(&password), &hash,
			   fault))
		return false;
	text_addf(out, "%.*s:%s\n", SLICE_ARG(arguments->user),
		  text_string(&hash));
	return true;
}

/* Where that is a link, what it leads to, so that it stays one; what is not
 * there yet, as it is named. NULL: neither. The caller frees it. */
static char *
file_find(const char *path, struct fault *fault)
{
	char *real = realpath(path, NULL);
	struct stat status;

	if (real != NULL)
		return real;
	if (errno != ENOENT) {
		fault_errno(fault, "'%s'", path);
		return NULL;
	}
	if (lstat(path, &status) == 0) {
		fault_set(fault, FAULT_ABSENT, "'%s' is a link to nowhere",
			  path);
		return NULL;
	}
	real = memory_new(strlen(path) + 1);
	memcpy(real, path, strlen(path));
	return real;
}

/* What is there is kept only if it can be read: a listener would refuse it. */
static bool
file_change(const struct arguments *arguments, struct fault *fault)
{
	CLEAN(secret_cleanse) struct text before = {0}, after = {0};
	CLEAN(text_done) struct text path = {0};
	CLEAN(clean_memory) char *real = NULL;
	struct users *users = NULL;
	struct slice alike;
	bool was_there;

	text_add(&path, arguments->file);
	real = file_find(text_string(&path), fault);
	if (real == NULL)
		return false;
	if (!users_read(arguments->file, false, NULL, &before, fault) &&
	    (fault->kind != FAULT_ABSENT || arguments->deletes))
		return false;
	if (!users_new(text_slice(&before), &users, fault))
		return fault_within(fault, "'%s'", text_string(&path));
	users_free(users);
	was_there = others_add(text_slice(&before), arguments->user, &after,
			       &alike);
	alike_warn(alike);
	if (arguments->deletes && !was_there)
		return fault_set(fault, FAULT_INPUT, "'%s' has no user '%.*s'",
				 text_string(&path),
				 SLICE_ARG(arguments->user));
	if (!arguments->deletes && !entry_add(arguments, &after, fault))
		return false;
	return file_replace(real, text_slice(&after), fault);
}

/* ---- the command ---- */

static bool
user_check(struct slice user, struct fault *fault)
{
	if (user.len == 0 || user.len > USER_NAME_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "a user's name has 1 to %d octets",
				 USER_NAME_MAX);
	if (user.bytes[0] == '#' || slice_trim(user).len != user.len)
		return fault_set(fault, FAULT_INPUT,
				 "a user's name begins with no '#', and has no "
				 "spaces at its ends");
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.bytes[i] < 0x20 ||
		    user.bytes[i] == 0x7f || user.bytes[i] == ':')
			return fault_set(fault, FAULT_INPUT,
					 "a user's name has no colon and no "
					 "control characters");
	return true;
}

static bool
arguments_parse(int argc, char **argv, struct arguments *out)
{
	static const struct option options[] = {
		{"scram", no_argument, NULL, 's'},
		{"delete", no_argument, NULL, 'd'},
		{NULL, 0, NULL, 0},
	};
	static char name[] = "signet"; /* for getopt_long()'s messages */
	int option;

	*out = (struct arguments){.scheme = USER_CRYPT};
	argv[0] = name;
	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			out->scheme = USER_SCRAM;
		else if (option == 'd')
			out->deletes = true;
		else
			return false;
	}
	if (argc - optind != 2)
		return false;
	out->file = SLICE(argv[optind]);
	out->user = SLICE(argv[optind + 1]);
	return true;
}

int
passwd_command(int argc, char **argv)
{
	struct arguments arguments;
	struct fault fault;

	if (!arguments_parse(argc, argv, &arguments)) {
		fputs("usage: signet passwd [--scram] FILE USER\n"
		      "       signet passwd --delete FILE USER\n", stderr);
		return EX_USAGE;
	}
	if (!user_check(arguments.user, &fault) ||
	    !file_change(&arguments, &fault))
		return fail(&fault);
	return EX_OK;
}
