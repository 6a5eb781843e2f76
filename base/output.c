#include "base/output.h"

#include <stdio.h>
#include <sysexits.h>

int
output_end(void)
{
	/* What did not fit into the buffer failed before the flush. */
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EX_OK;
	fputs("signet: cannot write to standard output\n", stderr);
	return EX_TEMPFAIL;
}

int
output_write(struct slice bytes)
{
	if (bytes.len > 0)
		fwrite(bytes.bytes, 1, bytes.len, stdout);
	return output_end();
}
