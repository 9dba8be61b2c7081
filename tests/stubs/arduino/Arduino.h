// What the sketches use of Arduino, on this machine.
#ifndef STUB_ARDUINO_H
#define STUB_ARDUINO_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define HIGH 1
#define LOW 0
#define OUTPUT 1
#define LED_BUILTIN 13

struct Stream {
    void begin(unsigned long) {}
    void print(const char *text) { fputs(text, stdout); }
    void print(uint64_t number) { printf("%llu", (unsigned long long)number); }
    void println(const char *text) { puts(text); }
};
static Stream Serial;

static inline void pinMode(int, int) {}
static inline void digitalWrite(int, int) {}
// Only a sketch that has stopped waits.
[[noreturn]] static inline void delay(unsigned long) {
    exit(EXIT_FAILURE);
}

void setup();
void loop();

#include "../recording.h"

#endif
