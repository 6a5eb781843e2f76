/*
 * machine - what the configuration takes from the machine where it is silent.
 * Reads local files only; asks no network.
 */
#ifndef RELAY_MACHINE_H
#define RELAY_MACHINE_H

#include "relay/net/address.h"

/* Appends the machine's full name: its host name if that has a dot, else the
 * name with a dot that /etc/hosts has for it, else the bare host name. */
void machine_hostname(struct text *out);
/* The same from an /etc/hosts at hand. */
void machine_full_name(struct slice name, struct slice hosts,
		       struct text *out);
/* Appends the contents of /etc/resolv.conf; nothing if there is none. */
void machine_resolv_conf(struct text *out);
/* Takes the address of the next "nameserver" line off *resolv_conf. */
bool machine_next_resolver(struct slice *resolv_conf,
			   struct slice *address_out);
/* Appends how many bytes of memory there are for this process: the machine's,
 * or what its control group or one above may have, if that is less. */
void machine_memory(struct text *out);
/* The same for what /proc/self/cgroup says, below where control groups are
 * mounted, of a machine that has so much. */
uint64_t machine_memory_of(const char *mounted, struct slice cgroup,
			   uint64_t memory);
/* Appends how many files this process may have open, however it asks. */
void machine_files(struct text *out);
/* Whether connections may come from there. */
bool machine_has_address(const struct address *address);
/* Whether what is kept in that directory is gone at the latest when the machine,
 * or the container whose own layer it is in, starts anew. */
bool machine_forgets(int directory);
/* Appends the current directory; nothing if it cannot be told. */
void machine_directory(struct text *out);

#endif
