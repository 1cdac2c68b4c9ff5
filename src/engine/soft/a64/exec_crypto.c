/* SPDX-License-Identifier: MIT */
typedef int exec_crypto_not_yet;
