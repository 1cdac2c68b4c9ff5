/* SPDX-License-Identifier: MIT */
/*
 * The console: text to the UART and from it. The UART itself is the architecture's: a 16550 on
 * RISC-V, a PL011 on arm64.
 *
 * What is typed stays in the UART until somebody asks for it. Its interrupt is for waiting only: it
 * is off unless somebody waits.
 */
#include "kernel.h"

/* ---- Output ---- */

static void put(char c)
{
	if (c == '\n')
		arch_put('\r');
	arch_put(c);
}

/* Text from a disk can be anything; a terminal would obey some of it. */
void print_text(const char *text, size_t n)
{
	for (; n; n--, text++)
		put(*text == '\n' || *text == '\t' || (*text >= ' ' && *text != 127) ? *text : '?');
}

struct style {
	unsigned width;
	bool left;
	bool zeros;
};

static void put_padded(const char *s, size_t n, const struct style *style)
{
	size_t pad = n < style->width ? style->width - n : 0;

	for (; !style->left && pad; pad--)
		put(style->zeros ? '0' : ' ');
	for (; n; n--)
		put(*s++);
	for (; pad; pad--)
		put(' ');
}

static void put_number(u64 value, u32 base, bool negative, const struct style *style)
{
	char digits[24];
	size_t at = sizeof(digits);
	u32 digit;

	do {
		value = divide(value, base, &digit);
		digits[--at] = "0123456789abcdef"[digit];
	} while (value);
	if (negative)
		digits[--at] = '-';
	put_padded(digits + at, sizeof(digits) - at, style);
}

static void vprintf(const char *f, va_list args)
{
	for (; *f; f++) {
		struct style style = { 0 };
		unsigned longs = 0;
		u64 value;

		if (*f != '%') {
			put(*f);
			continue;
		}
		f++;
		for (; *f == '-' || *f == '0'; f++) {
			style.left |= *f == '-';
			style.zeros |= *f == '0';
		}
		for (; *f >= '0' && *f <= '9'; f++)
			style.width = style.width * 10 + (unsigned)(*f - '0');
		for (; *f == 'l'; f++)
			longs++;
		if (*f == 'z') {
			longs = sizeof(size_t) == sizeof(long) ? 1 : 0;
			f++;
		}
		switch (*f) {
		case 'c': {
			char c = (char)va_arg(args, int);
			put_padded(&c, 1, &style);
			break;
		}
		case 's': {
			const char *s = va_arg(args, const char *);
			put_padded(s, strlen(s), &style);
			break;
		}
		case 'd': {
			long long n = longs > 1 ? va_arg(args, long long)
				      : longs   ? va_arg(args, long)
						: va_arg(args, int);
			put_number(n < 0 ? 0 - (u64)n : (u64)n, 10, n < 0, &style);
			break;
		}
		case 'u':
		case 'x':
			value = longs > 1 ? va_arg(args, unsigned long long)
				: longs   ? va_arg(args, unsigned long)
					  : va_arg(args, unsigned);
			put_number(value, *f == 'u' ? 10 : 16, false, &style);
			break;
		case 'p':
			style.zeros = true;
			style.width = 2 * sizeof(void *);
			put_number((uintptr_t)va_arg(args, void *), 16, false, &style);
			break;
		case 0: return;
		default: put(*f); break;
		}
	}
}

void printf(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

_Noreturn void panic(const char *format, ...)
{
	va_list args;

	printf("\npanic: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	arch_off();
}

/* ---- Input ---- */

void console_irq(void)
{
	/* It would come again and again: what was typed is still there. */
	arch_listen(false);
}

char read_char(void)
{
	int c;

	while ((c = arch_get()) < 0) {
		arch_listen(true);
		arch_wait();
	}
	return (char)c;
}
