/* SPDX-License-Identifier: MIT */
/*
 * How the system registers of AArch64 are named between a CPU and the devices it reaches by MRS and
 * MSR: op0:op1:CRn:CRm:op2 in 16 bits, the order and width of DDI0487 C5.1.2 (instruction bits
 * 20:5).
 */
#ifndef HAKO_BASE_A64_SYSREG_H
#define HAKO_BASE_A64_SYSREG_H

#define A64_SYSREG(op0, op1, crn, crm, op2) \
	(((op0) << 14) | ((op1) << 11) | ((crn) << 7) | ((crm) << 3) | (op2))

#endif
