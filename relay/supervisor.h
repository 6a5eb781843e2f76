/*
 * supervisor - starts, feeds and replaces the signer and the process that does
 * the work, relay or milter; reads files for them; reads no network input.
 *
 * Single-threaded. It keeps the privileges that it was started with, holds no
 * private key of a selector (it opens the files for the signer), and ends both
 * children when it ends, however it ends: they see their control socket close.
 */
#ifndef RELAY_SUPERVISOR_H
#define RELAY_SUPERVISOR_H

/* `signet relay` and `signet milter`. Each returns a sysexits(3) code. */
int relay_command(const char *config_path, int argc, char **argv);
int milter_command(const char *config_path, int argc, char **argv);

#endif
