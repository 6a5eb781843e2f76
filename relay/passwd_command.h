/*
 * passwd_command - `signet passwd`: writes a user and the hash of his password
 * into a listener's auth_file.
 */
#ifndef RELAY_PASSWD_COMMAND_H
#define RELAY_PASSWD_COMMAND_H

/* argv[0] is the command's name; gives the exit code. */
int passwd_command(int argc, char **argv);

#endif
