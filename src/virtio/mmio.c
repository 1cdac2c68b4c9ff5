/* SPDX-License-Identifier: MIT */
typedef int mmio_not_yet;
