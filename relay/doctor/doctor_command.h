/*
 * doctor_command - `signet doctor`: what receivers would see of a domain's mail
 * that leaves from here, and what is to be mended. Root is the relay's user once
 * the keys are loaded, before a foreign host is asked.
 */
#ifndef RELAY_DOCTOR_DOCTOR_COMMAND_H
#define RELAY_DOCTOR_DOCTOR_COMMAND_H

#include "relay/options.h"

/* argv[0] is "doctor"; with options NULL it only judges the arguments: 0 or
 * 64. Returns 65 where something fails, 75 where the DNS did not answer. */
int doctor_command(const struct options *options, int argc, char **argv);

#endif
