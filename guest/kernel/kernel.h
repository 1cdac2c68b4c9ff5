/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the kernel know of each other. Read it beside README.md, which tells in which
 * order the files are best read.
 *
 * The kernel has one CPU, one stack and no processes. Virtual addresses equal physical ones, so
 * that a pointer can be given to a device as it is. Interrupts are masked except inside
 * arch_wait(): what an interrupt changes, it changes while the rest of the kernel waits, and
 * nothing here needs a lock.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
/* Not uint64_t, which is "long" for one compiler target and "long long" for another: so it is
 * always %llu to printf. */
typedef unsigned long long u64;

#define ARRAY_SIZE(a)     (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(n, to)   (((n) + (to)-1) & ~((uintptr_t)(to)-1))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

enum { PAGE_SIZE = 4096, SECTOR = 512 };

/* ---- string.c ---- */

void *memset(void *to, int byte, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
/* Copies what fits, and always ends it with a NUL. */
void copy_string(char *to, size_t size, const char *from);
/* A 32-bit CPU cannot divide 64-bit numbers. */
u64 divide(u64 n, u32 by, u32 *rest);

/* ---- print.c: the console ---- */

/* As in C: %d %u %x with l, ll and z, %p %s %c; width, '-' and '0'. */
void printf(const char *format, ...) PRINTF_LIKE(1, 2);
void print_text(const char *text, size_t n);
/* Waits for a character. */
char read_char(void);
/* The UART has interrupted. */
void console_irq(void);
/* Says why, and switches the machine off. */
_Noreturn void panic(const char *format, ...) PRINTF_LIKE(1, 2);

/* ---- tree.c: what the device tree says ---- */

struct boot_info {
	uintptr_t ram_start;
	uintptr_t ram_end;
	u32 timebase; /* RISC-V: how often the clock ticks in a second */
	char args[256];
};

bool tree_read(struct boot_info *info, const void *tree);
/* Is this one of the words of the command line? */
bool has_arg(const struct boot_info *info, const char *word);

/* ---- pages.c: physical memory ---- */

void pages_init(uintptr_t start, uintptr_t end);
/* n pages in a row, filled with zeros. */
void *pages_alloc(size_t n);
void pages_free(void *start, size_t n);
size_t pages_left(void);

/* ---- main.c ---- */

/* From riscv/start.S and arm64/start.S. */
_Noreturn void kernel_main(uintptr_t boot_cpu, const void *tree);
/* From the interrupt controller of the architecture. */
void handle_irq(unsigned irq);

/* ---- shell.c ---- */

void story(void);
_Noreturn void shell(void);

/* ---- The architecture: a folder each ---- */

enum access { READ = 1, WRITE = 2, EXECUTE = 4, DEVICE = 8 };

/* Turns translation on, with all of the kernel, RAM and devices at their own addresses. */
void arch_paging_on(const struct boot_info *info);
void arch_irq_init(const struct boot_info *info, uintptr_t boot_cpu);
void arch_irq_enable(unsigned irq);
/* Sleeps until an interrupt has come, and lets it be handled. */
void arch_wait(void);
/* The UART. */
void arch_put(char c);
int arch_get(void);        /* -1: nothing has been typed */
void arch_listen(bool on); /* interrupt while something typed waits */
/* Time. */
u64 arch_ticks(void);
u32 arch_ticks_per_second(void);
/* The firmware ends or restarts the machine. */
_Noreturn void arch_off(void);
_Noreturn void arch_restart(void);

/* kernel.ld */
extern char text_start[], text_end[], rodata_end[], stack_guard[], stack_top[], kernel_end[];

#include "machine.h" /* the memory map, barriers and device access of the architecture */

#endif
