/* One alarm, which goes by tests/fake/clock.h. */
#ifndef TESTS_FAKE_ALARM_H
#define TESTS_FAKE_ALARM_H

#include "relay/net/loop.h"

/* Fires it where its time has come. */
void fake_alarm_turn(void);

#endif
