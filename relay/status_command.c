#include "relay/status_command.h"

#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>

#include "base/output.h"
#include "milter/idn.h"
#include "relay/control_client.h"

static bool
arguments_read(int argc, char **argv, struct arena *arena,
	       struct control_request *request)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'},
		{"all", no_argument, NULL, 'a'},
		{"domain", required_argument, NULL, 'd'},
		{0}};
	static char name[] = "signet"; /* for getopt_long()'s messages */
	struct selection *selection = &request->selection;
	struct fault fault;
	int option;

	argv[0] = name;
	optind = 0; /* from the beginning, also a second time */
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) !=
	       -1) {
		if (option == 'j') {
			request->as_json = true;
		} else if (option == 'a') {
			request->is_all = true;
		} else if (option == 'd' && !selection->has_domain) {
			selection->has_domain = true;
			selection->domain = SLICE(optarg);
			if (optarg[0] != '[' &&
			    !idn_to_ascii(SLICE(optarg), arena,
					  &selection->domain, &fault)) {
				fprintf(stderr, "signet: '%s': %s\n", optarg,
					fault.text);
				return false;
			}
		} else {
			return false;
		}
	}
	return optind == argc && !(request->is_all && selection->has_domain);
}

int
status_command(const struct options *options, int argc, char **argv)
{
	struct control_request request = {.verb = CONTROL_STATUS};
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(control_answer_done) struct control_answer answer = {0};
	struct fault fault = {0};
	bool is_entered;

	if (!arguments_read(argc, argv, &arena, &request)) {
		fputs("usage: signet [-c FILE] status [--json] [--all | "
		      "--domain D]\n",
		      stderr);
		return EX_USAGE;
	}
	if (options == NULL)
		return EX_OK;
	is_entered = control_enter(options, &fault);
	if (is_entered && control_ask(&request, &answer, &fault))
		return output_write(answer.body);
	if (is_entered && fault.kind == FAULT_ABSENT)
		fault_put_before(&fault, "state_dir '%.*s'",
				 SLICE_ARG(options->state_dir));
	fprintf(stderr, "signet: %s\n", fault.text);
	return fault_exit_code(&fault);
}
