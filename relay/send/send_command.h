/*
 * send_command - `signet send`: composes a message, signs it, delivers it now,
 * and says what became of it, recipient by recipient.
 *
 * No relay need run, and nothing is queued: the command has a signer of its own
 * (milter/own_signer.h) and delivers as the relay would (relay/delivery/
 * errand.h), by the same configuration. What the relay would try again later is
 * not delivered here.
 *
 * Root gives up being root once it has read what only root may: the
 * configuration, keys, passwords and attachments. From then on it is the
 * relay's user.
 */
#ifndef RELAY_SEND_SEND_COMMAND_H
#define RELAY_SEND_SEND_COMMAND_H

#include "relay/options.h"

/* With options NULL it only judges the arguments: 0 or 64. Else it takes the
 * options, and returns a sysexits(3) code:
 *
 *	0   everybody's host has taken it
 *	65  a recipient, the message or a file was refused
 *	75  nobody was, but a host wants it later, or it could not be signed now
 *	69  nor that, but no host of some recipient was reached
 *	77  a file may not be read
 *	78  the configuration, or a key that it names
 */
int send_command(struct options *options, int argc, char **argv);

#endif
