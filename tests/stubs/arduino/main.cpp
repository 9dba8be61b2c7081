// Runs a sketch, whose file is named by SKETCH.
#include "Arduino.h"
#include SKETCH

#ifndef STUB_INTERRUPT
#define STUB_INTERRUPT() (void)0
#endif

int main() {
    setup();
    for (;;) {
        STUB_INTERRUPT();
        loop();
        loop();
    }
}
