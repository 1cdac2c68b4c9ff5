/* SPDX-License-Identifier: MIT */
typedef int pl031_not_yet;
