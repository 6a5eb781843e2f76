#include "relay/options_check.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/clients.h"
#include "relay/identity.h"
#include "relay/login.h"
#include "relay/secret_file.h"
#include "relay/users.h"

static void
file_check(struct slice path, struct conf_place place, const char *option,
	   struct conf_errors *errors)
{
	CLEAN(clean_descriptor) int descriptor = -1;
	CLEAN(text_done) struct text name = {0};
	struct fault fault;

	if (path.len == 0)
		return;
	text_add(&name, path);
	descriptor = open(text_string(&name),
			  O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor >= 0)
		return;
	fault_errno(&fault, "'%s': '%s'", option, text_string(&name));
	conf_error_fault(errors, place, &fault);
}

/* A group of its own may read it, as Debian's ssl-cert does. */
static void
tls_key_look(struct slice path, secret_warn_fn *warn)
{
	CLEAN(text_done) struct text name = {0}, line = {0};
	struct stat status;

	text_add(&name, path);
	if (warn == NULL || path.len == 0 ||
	    stat(text_string(&name), &status) < 0 ||
	    (status.st_mode & (S_IWGRP | S_IROTH | S_IWOTH)) == 0)
		return;
	text_addf(&line, "tls_key '%s': mode %04o lets others %s it; chmod 600",
		  text_string(&name), (unsigned)status.st_mode & 07777,
		  (status.st_mode & S_IROTH) != 0 ? "read" : "write");
	warn(text_string(&line));
}

static void
password_check(const struct options *options, const struct login_options *login,
	       const struct conf_item *item, secret_warn_fn *warn,
	       struct conf_errors *errors)
{
	CLEAN(secret_cleanse) struct text password = {0};
	struct fault fault;

	if (login->user.len > 0)
		options_fault_report(
			errors, conf_item_place(item, "auth_password_file"),
			login_read(login->password_file,
				   options->strict_key_modes, warn, &password,
				   &fault),
			&fault);
}

/* A file in which nobody stands: what of it, and what belongs there. */
static void
nobody_warn(const char *option, struct slice file, const char *words,
	    secret_warn_fn *warn)
{
	CLEAN(text_done) struct text said = {0};

	text_addf(&said, "%s '%.*s': nobody stands in it, so nobody %s", option,
		  SLICE_ARG(file), words);
	warn(text_string(&said));
}

static void
users_check(const struct options *options,
	    const struct listener_options *listener,
	    const struct conf_item *item, secret_warn_fn *warn,
	    struct conf_errors *errors)
{
	CLEAN(secret_cleanse) struct text bytes = {0};
	struct users *users = NULL;
	struct fault fault;
	bool is_good;

	if (listener->auth == AUTH_NONE || listener->auth_file.len == 0)
		return;
	is_good = users_read(listener->auth_file, options->strict_key_modes,
			     warn, &bytes, &fault);
	if (is_good && !users_new(text_slice(&bytes), &users, &fault))
		is_good = fault_within(&fault, "auth_file '%.*s'",
				       SLICE_ARG(listener->auth_file));
	options_fault_report(errors, conf_item_place(item, "auth_file"),
			     is_good, &fault);
	if (is_good && warn != NULL && users_decoy(users, 0) == NULL)
		nobody_warn("auth_file", listener->auth_file,
			    "can log in by a password; `signet passwd` writes "
			    "users",
			    warn);
	users_free(users);
}

static void
clients_check(const struct listener_options *listener,
	      const struct conf_item *item, secret_warn_fn *warn,
	      struct conf_errors *errors)
{
	struct clients *clients = NULL;
	struct fault fault;
	bool is_good;

	if (listener->tls_clients.len == 0)
		return;
	is_good = clients_read(listener->tls_clients, &clients, &fault);
	options_fault_report(errors, conf_item_place(item, "tls_clients"),
			     is_good, &fault);
	if (is_good && warn != NULL && clients_count(clients) == 0)
		nobody_warn("tls_clients", listener->tls_clients,
			    "is known by a fingerprint; a line is a "
			    "fingerprint and a name",
			    warn);
	clients_free(clients);
}

static void
group_check(struct slice name, struct conf_place place,
	    struct conf_errors *errors)
{
	CLEAN(text_done) struct text copy = {0};

	text_add(&copy, name);
	if (name.len > 0 && getgrnam(text_string(&copy)) == NULL)
		conf_error(errors, place,
			   "'socket_group': there is no group '%.*s'",
			   SLICE_ARG(name));
}

void
options_check_milter_group(const struct options *options,
			   struct conf_errors *errors)
{
	const struct conf_item *item =
		options_section_at(options->items, "milter", 0);

	group_check(options->milter.socket_group,
		    conf_item_place(item, "socket_group"), errors);
}

static void
user_check(const struct options *options, const char *option,
	   struct slice name, struct conf_errors *errors)
{
	CLEAN(text_done) struct text copy = {0};

	text_add(&copy, name);
	if (name.len > 0 && getpwnam(text_string(&copy)) == NULL)
		conf_error(errors, conf_item_place(options->items, option),
			   "'%s': there is no user '%.*s'; make one with "
			   "'useradd --system --shell /usr/sbin/nologin %.*s', "
			   "or name another",
			   option, SLICE_ARG(name), SLICE_ARG(name));
}

/* They are for a start by root; in place of the default one nobody will do. */
static void
identities_check(const struct options *options, struct conf_errors *errors)
{
	if (geteuid() != 0)
		return;
	if (!slice_eq(options->user, SLICE(IDENTITY_USER)))
		user_check(options, "user", options->user, errors);
	user_check(options, "signer_user", options->signer_user, errors);
}

static void
keys_check(const struct options *options, struct conf_errors *errors)
{
	for (size_t i = 0; i < options->keys.domains_count; i++) {
		const struct domain_options *domain = &options->keys.domains[i];

		for (size_t j = 0; j < domain->selectors_count; j++) {
			const struct selector_options *selector =
				&domain->selectors[j];
			CLEAN(text_done) struct text path = {0};
			struct conf_place place = {selector->file,
						   selector->line};

			if (selector->key_path.bytes[0] != '/')
				text_addf(&path, "%.*s/",
					  SLICE_ARG(options->keys.keys_dir));
			text_add(&path, selector->key_path);
			file_check(text_slice(&path), place, "key", errors);
		}
	}
}

bool
options_check_files(const struct options *options, secret_warn_fn *warn,
		    struct text *text, struct fault *fault)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {0};
	const struct conf_item *root = options->items;

	identities_check(options, &errors);
	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];
		const struct conf_item *item =
			options_section_at(root, "listener", i);

		file_check(listener->tls_cert,
			   conf_item_place(item, "tls_cert"), "tls_cert",
			   &errors);
		file_check(listener->tls_key, conf_item_place(item, "tls_key"),
			   "tls_key", &errors);
		tls_key_look(listener->tls_key, warn);
		file_check(listener->tls_client_ca,
			   conf_item_place(item, "tls_client_ca"),
			   "tls_client_ca", &errors);
		clients_check(listener, item, warn, &errors);
		users_check(options, listener, item, warn, &errors);
		group_check(listener->socket_group,
			    conf_item_place(item, "socket_group"), &errors);
	}
	password_check(options, &options->delivery.login,
		       options_section_at(root, "delivery", 0), warn,
		       &errors);
	for (size_t i = 0; i < options->routes_count; i++)
		password_check(options, &options->routes[i].login,
			       options_section_at(root, "route", i), warn,
			       &errors);
	keys_check(options, &errors);
	return options_errors_report(&errors, root->place.file, text, fault);
}

bool
options_check_milter_files(const struct options *options, struct text *text,
			   struct fault *fault)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {0};

	identities_check(options, &errors);
	options_check_milter_group(options, &errors);
	keys_check(options, &errors);
	return options_errors_report(&errors, options->items->place.file, text,
				     fault);
}
