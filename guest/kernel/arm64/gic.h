/* SPDX-License-Identifier: MIT */
/* The Generic Interrupt Controller, to trap.c and machine.c. */
#ifndef GIC_H
#define GIC_H

void gic_init(void);
void gic_handle(void);

#endif
