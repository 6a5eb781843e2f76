/*
 * process - the relay process: loops, queue, server and delivery, put together
 * and taken apart.
 *
 * It gets everything from the supervisor over its control socket (handover.h)
 * and runs in the state directory, as the relay's user. When the control
 * socket closes it ends at once: what was accepted is in the queue.
 */
#ifndef RELAY_PROCESS_H
#define RELAY_PROCESS_H

/* What `signet relay-process` runs; control is descriptor 3. */
_Noreturn void relay_process_main(int control);

#endif
