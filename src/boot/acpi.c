/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables. Sections and field names are those of ACPI 6.4.
 */
#include "boot/acpi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "boot/aml.h"

struct table_header { /* 5.2.6 */
	char signature[4];
	le32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	le32_t oem_revision;
	char creator_id[4];
	le32_t creator_revision;
} __attribute__((packed));

struct rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	le32_t rsdt;
	le32_t length;
	le64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
enum { RSDP_V1_SIZE = 20 };

struct gas { /* 5.2.3.2 */
	uint8_t space, bit_width, bit_offset, access_size;
	le64_t address;
} __attribute__((packed));
enum { SPACE_IO = 1, ACCESS_BYTE = 1 };

struct fadt { /* 5.2.9 */
	struct table_header header;
	le32_t firmware_ctrl, dsdt;
	uint8_t reserved0, preferred_pm_profile;
	le16_t sci_int;
	uint8_t pm1[60]; /* of fixed hardware: all zero */
	uint8_t century; /* the RTC's register */
	le16_t iapc_boot_arch;
	uint8_t reserved1;
	le32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	le16_t arm_boot_arch;
	uint8_t minor_version;
	le64_t x_firmware_ctrl, x_dsdt;
	struct gas x_pm[8];
	struct gas sleep_control_reg, sleep_status_reg;
	char hypervisor_vendor[8];
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, century) == 108, "FADT");
_Static_assert(offsetof(struct fadt, reset_reg) == 116, "FADT");
_Static_assert(offsetof(struct fadt, sleep_control_reg) == 244, "FADT");
_Static_assert(sizeof(struct fadt) == 276, "FADT");

enum {
	/* IAPC_BOOT_ARCH (5.2.9.3): devices beside those of the DSDT, no 8042 to look for, no VGA,
	 * no MSI; there is an RTC */
	VGA_NOT_PRESENT = 1 << 2,
	MSI_NOT_SUPPORTED = 1 << 3,

	/* Flags (table 5.10) */
	WBINVD = 1 << 0,
	PROC_C1 = 1 << 2,
	PWR_BUTTON = 1 << 4, /* set: not of fixed hardware */
	SLP_BUTTON = 1 << 5,
	RESET_REG_SUP = 1 << 10,
	HW_REDUCED_ACPI = 1 << 20,

	RTC_CENTURY = 0x32,
};

struct madt { /* 5.2.12 */
	struct table_header header;
	le32_t lapic, flags;
} __attribute__((packed));
enum { PCAT_COMPAT = 1 << 0 }; /* there are two 8259s */

struct madt_lapic { /* 5.2.12.2 */
	uint8_t type, length, processor, apic;
	le32_t flags;
} __attribute__((packed));

struct madt_ioapic { /* 5.2.12.3 */
	uint8_t type, length, id, reserved;
	le32_t address, gsi_base;
} __attribute__((packed));

struct madt_lapic_nmi { /* 5.2.12.7 */
	uint8_t type, length, processor;
	le16_t flags;
	uint8_t lint;
} __attribute__((packed));

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_LAPIC_NMI = 4,
	LAPIC_ENABLED = 1 << 0,
	ALL_PROCESSORS = 0xff,
	NMI_LINT = 1, /* as the MultiProcessor Specification 1.4 wires it, section 3.6.2.2 */
};

/* The tables so far, with the addresses that they will have. */
struct builder {
	const struct acpi_config *config;
	uint8_t *bytes;
	size_t len;
	bool full;
};

static uint8_t checksum(const void *data, size_t n)
{
	const uint8_t *bytes = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* Room for n bytes, zeroed, at the next multiple of 16; NULL when there is none. */
static void *reserve(struct builder *b, size_t n, gpa_t *at)
{
	size_t off = align_up(b->len, 16);

	if (b->full || !range_ok(off, n, b->config->size_max)) {
		b->full = true;
		return NULL;
	}
	b->len = off + n;
	*at = b->config->base + off;
	return b->bytes + off;
}

/* `table` has all but its header; `n` is the length of both. Where it is, or 0. */
static gpa_t add(struct builder *b, const char *signature, uint8_t revision, const void *table,
		 size_t n)
{
	struct table_header *h;
	gpa_t at;
	void *to = reserve(b, n, &at);

	if (!to)
		return 0;
	memcpy(to, table, n);
	h = to;
	*h = (struct table_header){ .length = le32((uint32_t)n), .revision = revision };
	memcpy(h->signature, signature, sizeof(h->signature));
	memcpy(h->oem_id, "HAKO  ", sizeof(h->oem_id));
	memcpy(h->oem_table_id, "HAKO    ", sizeof(h->oem_table_id));
	h->oem_revision = le32(1);
	memcpy(h->creator_id, "HAKO", sizeof(h->creator_id));
	h->creator_revision = le32(1);
	h->checksum = checksum(to, n);
	return at;
}

static struct gas port(uint16_t at)
{
	return (struct gas){
		.space = SPACE_IO,
		.bit_width = 8,
		.access_size = ACCESS_BYTE,
		.address = le64(at),
	};
}

static void describe_devices(const struct acpi_config *c, struct aml *a)
{
	const uint8_t s5[] = { c->s5, 0, 0, 0 }; /* 7.4.2.6 */
	char name[8];

	aml_name_package(a, "_S5_", s5, ARRAY_SIZE(s5));
	aml_scope(a, "_SB_");
	aml_device(a, "COM1");
	aml_name_eisaid(a, "_HID", "PNP0501"); /* 16550A-compatible COM port */
	aml_name_int(a, "_UID", 1);
	aml_crs(a);
	aml_crs_io(a, c->uart_port, 8);
	aml_crs_irq(a, c->uart_gsi);
	aml_end(a);
	aml_end(a);

	aml_device(a, "RTC_");
	aml_name_eisaid(a, "_HID", "PNP0B00"); /* AT real-time clock */
	aml_crs(a);
	aml_crs_io(a, c->rtc_port, 2);
	aml_crs_irq(a, c->rtc_gsi);
	aml_end(a);
	aml_end(a);

	/* LNRO0005: what Linux's virtio_mmio driver looks for. */
	for (size_t i = 0; i < c->n_virtio; i++) {
		snprintf(name, sizeof(name), "VR%02X", (unsigned)i & 0xff);
		aml_device(a, name);
		aml_name_string(a, "_HID", "LNRO0005");
		aml_name_int(a, "_UID", (uint32_t)i);
		aml_name_int(a, "_CCA", 1); /* DMA is coherent (6.2.17) */
		aml_crs(a);
		aml_crs_memory(a, c->virtio[i].base, c->virtio[i].size);
		aml_crs_irq(a, c->virtio[i].gsi);
		aml_end(a);
		aml_end(a);
	}
	aml_end(a);
}

static gpa_t add_dsdt(struct builder *b)
{
	struct aml *aml = malloc(sizeof(*aml));
	uint8_t *bytes = malloc(sizeof(struct table_header) + AML_SIZE_MAX);
	gpa_t at = 0;

	if (aml && bytes) {
		aml_init(aml);
		describe_devices(b->config, aml);
		memcpy(bytes + sizeof(struct table_header), aml->bytes, aml->len);
		if (aml_ok(aml))
			at = add(b, "DSDT", 2, bytes, sizeof(struct table_header) + aml->len);
		else
			b->full = true;
	}
	free(bytes);
	free(aml);
	return at;
}

static gpa_t add_fadt(struct builder *b, gpa_t dsdt)
{
	const struct acpi_config *c = b->config;
	struct fadt fadt = {
		.dsdt = le32((uint32_t)dsdt),
		.century = RTC_CENTURY,
		.iapc_boot_arch = le16(VGA_NOT_PRESENT | MSI_NOT_SUPPORTED),
		.flags = le32(WBINVD | PROC_C1 | PWR_BUTTON | SLP_BUTTON | RESET_REG_SUP |
			      HW_REDUCED_ACPI),
		.reset_reg = port(c->reset),
		.reset_value = c->reset_value,
		.minor_version = 4,
		.x_dsdt = le64(dsdt),
		.sleep_control_reg = port(c->sleep_control),
		.sleep_status_reg = port(c->sleep_status),
	};

	memcpy(fadt.hypervisor_vendor, "HAKO    ", sizeof(fadt.hypervisor_vendor));
	return add(b, "FACP", 6, &fadt, sizeof(fadt));
}

static gpa_t add_madt(struct builder *b)
{
	const struct acpi_config *c = b->config;
	size_t size = sizeof(struct madt) + c->n_cpus * sizeof(struct madt_lapic) +
		      sizeof(struct madt_ioapic) + sizeof(struct madt_lapic_nmi);
	uint8_t *bytes = calloc(1, size), *to = bytes;
	gpa_t at;

	if (!bytes)
		return 0;
	const struct madt madt = { .lapic = le32(c->lapic), .flags = le32(PCAT_COMPAT) };
	memcpy(to, &madt, sizeof(madt));
	to += sizeof(madt);
	for (unsigned i = 0; i < c->n_cpus; i++) {
		const struct madt_lapic lapic = {
			.type = MADT_LAPIC,
			.length = sizeof(lapic),
			.processor = (uint8_t)i,
			.apic = (uint8_t)i,
			.flags = le32(LAPIC_ENABLED),
		};
		memcpy(to, &lapic, sizeof(lapic));
		to += sizeof(lapic);
	}
	const struct madt_ioapic ioapic = {
		.type = MADT_IOAPIC,
		.length = sizeof(ioapic),
		.address = le32(c->ioapic),
	};
	memcpy(to, &ioapic, sizeof(ioapic));
	to += sizeof(ioapic);
	const struct madt_lapic_nmi nmi = {
		.type = MADT_LAPIC_NMI,
		.length = sizeof(nmi),
		.processor = ALL_PROCESSORS,
		.lint = NMI_LINT,
	};
	memcpy(to, &nmi, sizeof(nmi));
	at = add(b, "APIC", 5, bytes, size);
	free(bytes);
	return at;
}

static gpa_t add_xsdt(struct builder *b, gpa_t fadt, gpa_t madt)
{
	const struct {
		struct table_header header;
		le64_t entries[2];
	} __attribute__((packed)) xsdt = { .entries = { le64(fadt), le64(madt) } };

	return add(b, "XSDT", 1, &xsdt, sizeof(xsdt));
}

int acpi_tables(const struct acpi_config *c, void **tables, size_t *size, struct err *err)
{
	struct builder b = { .config = c, .bytes = calloc(1, c->size_max) };
	gpa_t at, dsdt, fadt, madt, xsdt;
	struct rsdp *rsdp;

	if (!b.bytes)
		return err_set(err, -ENOMEM, "no memory for the ACPI tables");
	rsdp = reserve(&b, sizeof(*rsdp), &at);
	dsdt = add_dsdt(&b);
	fadt = add_fadt(&b, dsdt);
	madt = add_madt(&b);
	xsdt = add_xsdt(&b, fadt, madt);
	if (!rsdp || !dsdt || !fadt || !madt || !xsdt) {
		free(b.bytes);
		return err_set(err, b.full ? -E2BIG : -ENOMEM,
			       b.full ? "the ACPI tables do not fit into their %zu bytes"
				      : "no memory for %zu bytes of ACPI tables",
			       c->size_max);
	}
	*rsdp = (struct rsdp){
		.revision = 2,
		.length = le32(sizeof(*rsdp)),
		.xsdt = le64(xsdt),
	};
	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "HAKO  ", sizeof(rsdp->oem_id));
	rsdp->checksum = checksum(rsdp, RSDP_V1_SIZE);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	*tables = b.bytes;
	*size = b.len;
	return 0;
}
