/*
 * milter_process - the milter process: libmilter's front end, the way to the
 * signer, and the supervisor's word, put together and taken apart.
 *
 * It gets everything from the supervisor over its control socket (handover.h),
 * runs in "/" as the relay's user and opens no file. When the control socket
 * closes it ends at once: no message is ours.
 */
#ifndef RELAY_MILTER_PROCESS_H
#define RELAY_MILTER_PROCESS_H

/* What `signet milter-process` runs; control is descriptor 3. */
_Noreturn void milter_process_main(int control);

#endif
