#include "relay/status_command.h"

#include <stdio.h>
#include <sysexits.h>

#include "relay/control_client.h"

static int
answer_print(struct slice body)
{
	if (fwrite(body.bytes, 1, body.len, stdout) == body.len &&
	    fflush(stdout) == 0)
		return EX_OK;
	fputs("signet: cannot write the status\n", stderr);
	return EX_IOERR;
}

int
status_command(const struct options *options, int argc, char **argv)
{
	struct control_request request = {.verb = CONTROL_STATUS};
	CLEAN(control_answer_done) struct control_answer answer = {0};
	struct fault fault = {0};

	request.as_json = argc == 2 && strcmp(argv[1], "--json") == 0;
	if (argc > 1 && !request.as_json) {
		fputs("usage: signet [-c FILE] status [--json]\n", stderr);
		return EX_USAGE;
	}
	if (options == NULL)
		return EX_OK;
	if (control_enter(options, &fault) &&
	    control_ask(&request, &answer, &fault))
		return answer_print(answer.body);
	if (fault.kind == FAULT_ABSENT)
		fault_put_before(&fault, "state_dir '%.*s'",
				 SLICE_ARG(options->state_dir));
	fprintf(stderr, "signet: %s\n", fault.text);
	return fault_exit_code(&fault);
}
