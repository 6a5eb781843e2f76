/*
 * send_arguments - what `signet send` is told to do, judged. Pure.
 */
#ifndef RELAY_SEND_SEND_ARGUMENTS_H
#define RELAY_SEND_SEND_ARGUMENTS_H

#include "base/arena.h"
#include "relay/send/addressees.h"

#define SEND_USAGE                                                             \
	"send --from ADDRESS --to ADDRESS... --subject TEXT\n"                 \
	"              [--cc ADDRESS...] [--bcc ADDRESS...] [--text FILE]\n"   \
	"              [--html FILE] [--attach FILE]... [--timeout TIME] "     \
	"[--json]"

/* Slices and strings are the arguments', or lie in the arena. */
struct send_arguments {
	struct slice from;         /* address */
	struct text from_value, to_value, cc_value; /* of fields: composer.h */
	struct mailing recipients; /* addresses, each once */
	struct slice subject;
	const char *text_path, *html_path; /* "-": stdin; NULL: none */
	char **attach_paths;
	size_t attach_count;
	uint64_t timeout_ms;
	bool as_json;
};

/* argv[0] is the command. INPUT: a mistake, in words. */
bool send_arguments_parse(int argc, char **argv, struct arena *arena,
			  struct send_arguments *out,
			  struct fault *fault) MUST_USE;
void send_arguments_done(struct send_arguments *arguments);

/* "report.pdf" of "/tmp/report.pdf"; of "-" a name that says so. */
struct slice send_file_name(const char *path);

#endif
