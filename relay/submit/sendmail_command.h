/*
 * sendmail_command - `signet sendmail`: what programs call as sendmail(8), and
 * its links mailq and newaliases.
 *
 * The message goes to a listener of the running relay by SMTP, so that what
 * holds for other clients holds here; without a relay there is no queue that it
 * could wait in, and the program is told so (69).
 */
#ifndef RELAY_SUBMIT_SENDMAIL_COMMAND_H
#define RELAY_SUBMIT_SENDMAIL_COMMAND_H

#include "relay/options.h"

/* What else the flags may ask for. */
enum sendmail_act {
	SENDMAIL_SUBMIT,
	SENDMAIL_DIALOGUE, /* -bs */
	SENDMAIL_LIST,     /* -bp: `signet queue list` */
	SENDMAIL_RETRY,    /* -q: `signet queue retry --all` */
	SENDMAIL_NOTHING,  /* -bi: there are no aliases */
};

/* argv[0] is "sendmail" or the name of a link. Judges the arguments; 0 or 64,
 * with a message on stderr. */
int sendmail_judge(int argc, char **argv, enum sendmail_act *act_out);
/* SUBMIT and DIALOGUE. Returns a sysexits(3) code: 65 the message or an address
 * is refused, 69 no relay, 75 try again. */
int sendmail_command(const struct options *options, int argc, char **argv);

#endif
