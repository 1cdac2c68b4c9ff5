/* SPDX-License-Identifier: MIT */
/*
 * What the kernel needs of the RISC-V machine: the interrupt controller (RISC-V Platform-Level
 * Interrupt Controller Specification 1.0), the UART (National Semiconductor PC16550D data sheet),
 * the clock, and the firmware (RISC-V Supervisor Binary Interface Specification 2.0).
 */
#include "kernel.h"

#include "plic.h"

static uintptr_t plic_context;
static u32 timebase;

/* ---- Interrupts ---- */

/* PLIC specification, "Memory Map". */
static uintptr_t plic_priority(unsigned irq)
{
	return PLIC_BASE + 4 * irq;
}

static uintptr_t plic_enable(unsigned irq)
{
	return PLIC_BASE + 0x2000 + plic_context * 0x80 + irq / 32 * 4;
}

static uintptr_t plic_threshold(void)
{
	return PLIC_BASE + 0x200000 + plic_context * 0x1000;
}

static uintptr_t plic_claim(void)
{
	return plic_threshold() + 4;
}

enum { SSTATUS_SIE = 1 << 1, SIE_SEIE = 1 << 9 }; /* volume II, "Supervisor CSRs" */

void arch_irq_init(const struct boot_info *info, uintptr_t boot_cpu)
{
	timebase = info->timebase;
	/* Each hart has a context for M-mode and one for S-mode. */
	plic_context = 2 * boot_cpu + 1;
	mmio_write(plic_threshold(), 0);
	SET_CSR("sie", SIE_SEIE);
}

void arch_irq_enable(unsigned irq)
{
	mmio_write(plic_priority(irq), 1);
	mmio_write(plic_enable(irq), mmio_read(plic_enable(irq)) | 1u << irq % 32);
}

/* Claim says which interrupt; the PLIC holds it back until completion. 0: there is none (more). */
void plic_handle(void)
{
	for (u32 irq; (irq = mmio_read(plic_claim()));) {
		handle_irq(irq);
		mmio_write(plic_claim(), irq);
	}
}

/*
 * WFI ends when an interrupt is pending even if it is masked (volume II, "Wait for Interrupt"): so
 * none can slip in between the caller's last look and the sleep.
 */
void arch_wait(void)
{
	__asm__ volatile("wfi" ::: "memory");
	SET_CSR("sstatus", SSTATUS_SIE);
	CLEAR_CSR("sstatus", SSTATUS_SIE);
}

/* ---- UART ---- */

/* Data sheet, 8.0 "Registers". The firmware has set the speed. */
enum {
	RBR_THR = 0,
	IER = 1,
	IER_RECEIVED = 1 << 0,
	LSR = 5,
	LSR_DR = 1 << 0,
	LSR_THRE = 1 << 5,
};

static volatile u8 *uart(unsigned reg)
{
	return (volatile u8 *)UART_BASE + reg;
}

void arch_put(char c)
{
	while (!(*uart(LSR) & LSR_THRE))
		;
	*uart(RBR_THR) = (u8)c;
}

int arch_get(void)
{
	return *uart(LSR) & LSR_DR ? *uart(RBR_THR) : -1;
}

void arch_listen(bool on)
{
	*uart(IER) = on ? IER_RECEIVED : 0;
}

/* ---- Time ---- */

/* Volume I, "Zicntr": 64 bits, of which a 32-bit hart reads one half at a time. */
u64 arch_ticks(void)
{
#if __riscv_xlen == 64
	return READ_CSR("time");
#else
	u32 high, low;

	do {
		high = READ_CSR("timeh");
		low = READ_CSR("time");
	} while (high != READ_CSR("timeh"));
	return (u64)high << 32 | low;
#endif
}

u32 arch_ticks_per_second(void)
{
	return timebase;
}

/* ---- Firmware ---- */

/* SBI chapter 3: a7 is the extension, a6 the function, and any call may change a0 and a1. */
static void sbi(uintptr_t extension, uintptr_t function, uintptr_t arg0, uintptr_t arg1)
{
	register uintptr_t a0 __asm__("a0") = arg0;
	register uintptr_t a1 __asm__("a1") = arg1;
	register uintptr_t a6 __asm__("a6") = function;
	register uintptr_t a7 __asm__("a7") = extension;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a6), "r"(a7) : "memory");
}

/* Chapters 10 and 5. */
enum { SRST = 0x53525354, SYSTEM_RESET = 0, SHUTDOWN = 0, COLD_REBOOT = 1, LEGACY_SHUTDOWN = 8 };

_Noreturn void arch_off(void)
{
	sbi(SRST, SYSTEM_RESET, SHUTDOWN, 0);
	/* Back? Then the firmware is older than that extension. */
	sbi(LEGACY_SHUTDOWN, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

_Noreturn void arch_restart(void)
{
	sbi(SRST, SYSTEM_RESET, COLD_REBOOT, 0);
	printf("the firmware cannot restart the machine\n");
	arch_off();
}
