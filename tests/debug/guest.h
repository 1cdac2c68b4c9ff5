/* SPDX-License-Identifier: MIT */
/*
 * What the guests share that debuggers and reports are tested with: bare metal for RISC-V, 32 and
 * 64 bits, and arm64. Nothing is set up but a stack: what else a guest does, or leaves out, is the
 * test.
 */
#ifndef HAKO_TESTS_DEBUG_GUEST_H
#define HAKO_TESTS_DEBUG_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The guest's own: where the first CPU gets to, and the second, once started. */
void guest_main(void);
void guest_second(void);

/* False: the firmware says no. */
bool start_second(void);
/* By the second CPU itself; and what the firmware says of it. */
_Noreturn void stop_second(void);
bool second_is_on(void);
void print(const char *text);
_Noreturn void power_off(void);
_Noreturn void reset(void);
/* A call of the firmware that changes nothing. */
void ask_firmware(void);
#ifdef __riscv
/* The timer's interrupt is pending after so many ticks of 100 ns. */
void set_timer(unsigned ticks);
#else
/* The virtual timer's interrupt comes after so many ticks of 16 ns; the GIC lets it through. */
void timer_on(unsigned ticks);
/* It would let the UART's through, too. */
void uart_on(void);
#endif

#endif
