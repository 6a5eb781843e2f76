/*
 * glob - patterns whose only sign is "*", which stands for any bytes, also
 * none. ASCII case does not matter. Pure.
 */
#ifndef RELAY_IMPORT_GLOB_H
#define RELAY_IMPORT_GLOB_H

#include "base/slice.h"

#define GLOB_MAX 512 /* longer ones are refused before they come here */

bool glob_is_literal(struct slice glob);
/* Whether everything that `narrow` matches `wide` matches, too. A text is a
 * pattern without "*". */
bool glob_covers(struct slice wide, struct slice narrow);
/* Whether there is a text that both match; *text gets one. */
bool glob_meet(struct slice a, struct slice b, struct text *text);

#endif
