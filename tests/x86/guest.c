/* SPDX-License-Identifier: MIT */
/*
 * A guest that looks at its x86 machine without a kernel: what the boot tables say, what the
 * devices do. It does what the last word of its command line asks for, and prints what it sees for
 * test_x86.py to judge. Compiled for 64 bits, and with PVH for 32: all is below 4 GiB, but for one
 * word that 64 bits reach.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COM1 = 0x3f8, LSR = 5, LSR_THRE = 1 << 5 };

static inline void outb(uint16_t port, uint8_t val)
{
	__asm__ volatile("outb %0, %1" : : "a"(val), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t val;

	__asm__ volatile("inb %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}
static inline uint32_t inl(uint16_t port)
{
	uint32_t val;

	__asm__ volatile("inl %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

static const volatile uint8_t *at(uint64_t addr)
{
	return (const volatile uint8_t *)(uintptr_t)addr;
}

/* n bytes, lowest first */
static uint64_t get(uint64_t addr, unsigned n)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < n; i++)
		val |= (uint64_t)at(addr)[i] << 8 * i;
	return val;
}

static void put_char(char c)
{
	while (!(inb(COM1 + LSR) & LSR_THRE))
		;
	outb(COM1, (uint8_t)c);
}

static void put(const char *text)
{
	while (*text)
		put_char(*text++);
}

static void put_bytes(uint64_t addr, unsigned n)
{
	while (n--)
		put_char((char)*at(addr++));
}

static void put_hex(uint64_t val)
{
	bool begun = false;

	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned digit = val >> shift & 15;

		begun |= digit || !shift;
		if (begun)
			put_char("0123456789abcdef"[digit]);
	}
}

static void say(const char *name, uint64_t val)
{
	put(name);
	put(" ");
	put_hex(val);
	put("\n");
}

/* ---- boot tables ---- */

struct told {
	uint64_t cmdline, rsdp, initrd, initrd_size, map;
	unsigned n, entry_size;
};

/* Linux, Documentation/arch/x86/zero-page.rst; or Xen's start_info.h */
static struct told read_told(uint64_t tables)
{
#ifdef PVH
	uint64_t modules = get(tables + 16, 8);

	say("magic", get(tables, 4));
	return (struct told){
		.cmdline = get(tables + 24, 8),
		.rsdp = get(tables + 32, 8),
		.initrd = modules ? get(modules, 8) : 0,
		.initrd_size = modules ? get(modules + 8, 8) : 0,
		.map = get(tables + 40, 8),
		.n = (unsigned)get(tables + 48, 4),
		.entry_size = 24,
	};
#else
	say("magic", get(tables + 0x202, 4));
	return (struct told){
		.cmdline = get(tables + 0x228, 4),
		.rsdp = get(tables + 0x70, 8),
		.initrd = get(tables + 0x218, 4),
		.initrd_size = get(tables + 0x21c, 4),
		.map = tables + 0x2d0,
		.n = (unsigned)get(tables + 0x1e8, 1),
		.entry_size = 20,
	};
#endif
}

static void print_told(const struct told *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		uint64_t entry = t->map + i * t->entry_size;

		put("map ");
		put_hex(get(entry, 8));
		put_char(' ');
		put_hex(get(entry + 8, 8));
		put_char(' ');
		put_hex(get(entry + 16, 4));
		put("\n");
	}
	say("initrd", t->initrd);
	say("initrd-size", t->initrd_size);
	put("initrd-text ");
	if (t->initrd_size >= 5)
		put_bytes(t->initrd, 5);
	put("\ncmdline ");
	for (uint64_t c = t->cmdline; *at(c); c++)
		put_char((char)*at(c));
	put("\n");
}

/* ---- ACPI: the table of that name, found as an operating system finds it ---- */

static uint64_t find(const struct told *t, const char *name)
{
	uint64_t xsdt = get(t->rsdp + 24, 8);

	for (uint64_t i = 36; i < get(xsdt + 4, 4); i += 8) {
		uint64_t table = get(xsdt + i, 8);

		if (at(table)[0] == name[0] && at(table)[1] == name[1] && at(table)[2] == name[2])
			return table;
	}
	return 0;
}

static void print_acpi(const struct told *t)
{
	uint64_t madt = find(t, "APIC"), end = madt + get(madt + 4, 4);
	unsigned cpus = 0;

#ifdef PVH /* what a kernel with ACPI looks for, and by which hako knows one */
	static const volatile char signature[] = "RSD PTR ";

	for (unsigned i = 0; i < 8; i++)
		if (at(t->rsdp)[i] != (uint8_t)signature[i])
			put("BAD ");
#endif
	put("rsdp ");
	put_bytes(t->rsdp, 7);
	put("\n");
	for (uint64_t e = madt + 44; e < end; e += *at(e + 1))
		cpus += *at(e) == 0;
	say("cpus", cpus);
}

/* Registers are where the FADT says: a generic address of I/O space each. */
enum { RESET_REG = 116, RESET_VALUE = 128, SLEEP_CONTROL = 244 };

static uint16_t acpi_port(const struct told *t, unsigned where)
{
	return (uint16_t)get(find(t, "FACP") + where + 4, 8);
}

static void power_off(const struct told *t)
{
	outb(acpi_port(t, SLEEP_CONTROL), 1 << 5 | 5 << 2);
}

/* ---- devices ---- */

static uint8_t cmos(uint8_t index)
{
	outb(0x70, index);
	return inb(0x71);
}

static void print_time(void)
{
	static const uint8_t regs[] = { 0x32, 9, 8, 7, 4, 2, 0 };

	while (cmos(0x0a) & 0x80)
		;
	put("time");
	for (unsigned i = 0; i < sizeof(regs); i++) {
		put_char(' ');
		put_hex(cmos(regs[i])); /* BCD, so it reads as it is */
	}
	put("\n");
}

static void print_nobody(void)
{
	say("port", inb(0x1234));
	say("ports", inl(0xcf8));
	say("memory", *(const volatile uint32_t *)at(0xe0000000));
	say("slot", *(const volatile uint32_t *)at(0xd0000000));
}

#ifndef PVH
/* A word at 4 GiB, by a page table of our own: the fifth GiB, whose entry is next to
 * the others'. */
static void use_high_memory(void)
{
	static uint64_t directory[512] __attribute__((aligned(4096)));
	volatile uint64_t *high = (volatile uint64_t *)(1ULL << 32);
	uint64_t cr3, pdpt;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	pdpt = *(volatile uint64_t *)cr3 & ~0xfffULL;
	directory[0] = 1ULL << 32 | 0x83;
	((volatile uint64_t *)pdpt)[4] = (uintptr_t)directory | 3;
	say("high", *high);
	*high = 0x123456789abcdef;
	__asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
	say("high", *high);
}
#endif

/* Did the last boot leave its mark where the battery keeps it? Then this is the second one. */
static bool second_boot(void)
{
	bool second = cmos(0x40) == 0x42;

	outb(0x70, 0x40);
	outb(0x71, 0x42);
	return second;
}

static void reset(const struct told *t, char how)
{
	static const struct {
		uint16_t limit;
		uintptr_t base;
	} __attribute__((packed)) no_idt = { 0, 0 };

	switch (how) {
	case 'a': outb(acpi_port(t, RESET_REG), *at(find(t, "FACP") + RESET_VALUE)); break;
	case 'k': outb(0x64, 0xfe); break;
	case 't': __asm__ volatile("lidt %0; ud2" : : "m"(no_idt)); break;
	}
}

void guest(uintptr_t tables)
{
	struct told t = read_told(tables);
	uint64_t word = t.cmdline;

	for (uint64_t c = t.cmdline; *at(c); c++)
		if (*at(c) == ' ' && at(c)[1] == '@')
			word = c + 1;
	switch (at(word)[1]) {
	case 'b':
		print_told(&t);
		print_acpi(&t);
		break;
	case 'd': print_time(); print_nobody();
#ifndef PVH
		if (at(word)[2] == 'h')
			use_high_memory();
#endif
		break;
	case 'r':
		put(second_boot() ? "second\n" : "first\n");
		if (cmos(0x41) == 0) {
			outb(0x71, 1);
			reset(&t, (char)at(word)[2]);
			for (;;)
				;
		}
		break;
	}
	put("end\n");
	power_off(&t);
}
