/* SPDX-License-Identifier: MIT */
/*
 * What the RISC-V board (riscv.c) and its firmware (sbi.c) both know.
 */
#ifndef HAKO_MACHINE_RISCV_H
#define HAKO_MACHINE_RISCV_H

/* The UART: SBI's console is a driver for it, as in any firmware. */
enum { RISCV_UART_BASE = 0x10000000 };

#endif
