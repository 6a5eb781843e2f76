/*
 * media_type - what an attachment is, by the end of its name: those that
 * programs send, and application/octet-stream. Pure.
 *
 * A table, and not the machine's mime.types or shared-mime-info, so that the
 * same command gives the same message everywhere.
 */
#ifndef RELAY_SEND_MEDIA_TYPE_H
#define RELAY_SEND_MEDIA_TYPE_H

#include "base/slice.h"

#define MEDIA_TYPE_NONE "application/octet-stream"

/* "application/pdf". */
const char *media_type_of(struct slice file_name);

#endif
