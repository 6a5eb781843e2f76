/*
 * supervisor - starts, feeds and replaces the signer and the relay process;
 * reads files for them; reads no network input.
 *
 * Single-threaded. It keeps the privileges that it was started with, holds no
 * private key of a selector (it opens the files for the signer), and ends both
 * children when it ends, however it ends: they see their control socket close.
 */
#ifndef RELAY_SUPERVISOR_H
#define RELAY_SUPERVISOR_H

/* `signet relay`. Returns a sysexits(3) code. */
int relay_command(const char *config_path, int argc, char **argv);

#endif
