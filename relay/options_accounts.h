/*
 * options_accounts - whether the accounts' names are those of users, and whom
 * none of them holds. A part of options.
 */
#ifndef RELAY_OPTIONS_ACCOUNTS_H
#define RELAY_OPTIONS_ACCOUNTS_H

#include "relay/options.h"

/* One line for each, with file and line. Reads auth_file and tls_clients; what
 * cannot be read there is options_check_files()'s to report. */
void accounts_warn(const struct options *options,
		   void (*warn)(const char *text));

#endif
