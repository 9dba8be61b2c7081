/* First instructions on a Cortex-M with a floating-point unit, for newlib with semihosting. The emulator has
 * loaded every section to its place, so only the zeroed statics are left to do. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern char __stack[], __bss_start__[], __bss_end__[];
extern int main(void);
extern void initialise_monitor_handles(void);
void reset(void);

/* Stops the program where an exception would be lost otherwise. */
static void unexpected(void) {
    _Exit(EXIT_FAILURE);
}

/* The vector table: stack, reset, and the exceptions of the processor. */
__attribute__((section(".vectors"), used)) static const struct {
    char *stack;
    void (*handlers[15])(void);
} vectors = {__stack,
             {reset, unexpected, unexpected, unexpected, unexpected, unexpected, 0, 0, 0, 0, unexpected,
              unexpected, 0, unexpected, unexpected}};

void reset(void) {
    /* Access to the floating-point unit (CPACR), which the C library may use. */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm volatile("dsb\n isb");
    memset(__bss_start__, 0, (size_t)(__bss_end__ - __bss_start__));
    initialise_monitor_handles();
    exit(main());
}
