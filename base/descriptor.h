/*
 * descriptor - gives away a plain descriptor that CLEAN(clean_descriptor)
 * guards, as TAKE() does a pointer.
 *
 *	CLEAN(clean_descriptor) int file = open(...);
 *	...
 *	*file_out = descriptor_take(&file);
 */
#ifndef BASE_DESCRIPTOR_H
#define BASE_DESCRIPTOR_H

static inline int
descriptor_take(int *descriptor)
{
	int taken = *descriptor;

	*descriptor = -1;
	return taken;
}

#endif
