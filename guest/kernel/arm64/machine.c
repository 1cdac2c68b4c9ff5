/* SPDX-License-Identifier: MIT */
/*
 * What the kernel needs of the arm64 machine: the UART (Arm PL011, DDI0183), the clock (DDI0487,
 * chapter D11, "The Generic Timer"), and the firmware (Power State Coordination Interface,
 * DEN0022). gic.c has the interrupts.
 */
#include "kernel.h"

#include "gic.h"

/* ---- UART ---- */

/* DDI0183, table 3-1. The firmware, or what stands for it, has set the speed. */
enum {
	UARTDR = 0x00,
	UARTFR = 0x18,
	RXFE = 1 << 4,
	TXFF = 1 << 5,
	UARTCR = 0x30,
	UARTEN = 1 << 0,
	TXE = 1 << 8,
	RXE = 1 << 9,
	UARTIMSC = 0x38,
	RXIM = 1 << 4,
	RTIM = 1 << 6, /* a few characters have waited for a while */
};

void arch_put(char c)
{
	while (mmio_read(UART_BASE + UARTFR) & TXFF)
		;
	mmio_write(UART_BASE + UARTDR, (u8)c);
}

int arch_get(void)
{
	if (mmio_read(UART_BASE + UARTFR) & RXFE)
		return -1;
	return (u8)mmio_read(UART_BASE + UARTDR);
}

void arch_listen(bool on)
{
	mmio_write(UART_BASE + UARTIMSC, on ? RXIM | RTIM : 0);
}

/* ---- Interrupts ---- */

/*
 * WFI ends when an interrupt is pending even if it is masked (DDI0487 D1.7.2): so none can slip in
 * between the caller's last look and the sleep.
 */
void arch_wait(void)
{
	__asm__ volatile("dsb sy\n\twfi\n\tmsr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
}

void arch_irq_init(const struct boot_info *info, uintptr_t boot_cpu)
{
	(void)info;
	(void)boot_cpu;
	gic_init();
	mmio_write(UART_BASE + UARTCR, UARTEN | TXE | RXE);
}

/* ---- Time ---- */

u64 arch_ticks(void)
{
	__asm__ volatile("isb" ::: "memory"); /* D11.2.1: it may be read early otherwise */
	return READ_SYSREG("cntvct_el0");
}

u32 arch_ticks_per_second(void)
{
	return (u32)READ_SYSREG("cntfrq_el0");
}

/* ---- Firmware ---- */

/* DEN0022 5.1.10 and 5.1.12. */
enum { SYSTEM_OFF = 0x84000008, SYSTEM_RESET = 0x84000009 };

static void psci(u32 function)
{
	register u64 x0 __asm__("x0") = function;

	/* SMC Calling Convention (DEN0028), 2.6: what a call may change. */
	__asm__ volatile("hvc #0"
			 : "+r"(x0)
			 :
			 : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
			   "x12", "x13", "x14", "x15", "x16", "x17", "memory");
}

_Noreturn void arch_off(void)
{
	psci(SYSTEM_OFF);
	for (;;)
		__asm__ volatile("wfi");
}

_Noreturn void arch_restart(void)
{
	psci(SYSTEM_RESET);
	for (;;)
		__asm__ volatile("wfi");
}
