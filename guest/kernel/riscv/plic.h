/* SPDX-License-Identifier: MIT */
/* The platform-level interrupt controller, to trap.c. */
#ifndef PLIC_H
#define PLIC_H

void plic_handle(void);

#endif
