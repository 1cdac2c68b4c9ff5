/* SPDX-License-Identifier: MIT */
/*
 * The MP table. Sections and field names are those of the MultiProcessor Specification 1.4.
 */
#include "boot/mptable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"

struct floating_pointer { /* 4.1 */
	char signature[4];
	le32_t config;
	uint8_t length, spec_rev, checksum, features[5]; /* length in 16 bytes */
};

struct config_header { /* 4.2 */
	char signature[4];
	le16_t length;
	uint8_t spec_rev, checksum;
	char oem_id[8], product_id[12];
	le32_t oem_table;
	le16_t oem_table_size, entries;
	le32_t lapic;
	le16_t extended_length;
	uint8_t extended_checksum, reserved;
};
_Static_assert(sizeof(struct floating_pointer) == 16, "MP 4.1");
_Static_assert(sizeof(struct config_header) == 44, "MP 4.2");

enum entry_type { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_IRQ, ENTRY_LOCAL_IRQ };

struct cpu_entry { /* 4.3.1 */
	uint8_t type, apic_id, apic_version, flags;
	le32_t signature, features, reserved[2];
};
struct bus_entry { /* 4.3.2 */
	uint8_t type, id;
	char name[6];
};
struct ioapic_entry { /* 4.3.3 */
	uint8_t type, id, version, flags;
	le32_t address;
};
struct irq_entry { /* 4.3.4, 4.3.5 */
	uint8_t type, irq_type;
	le16_t flags; /* 0: as the bus has it, which is edge-triggered */
	uint8_t bus, bus_irq, apic, pin;
};

enum {
	SPEC_REV_1_4 = 4,
	APIC_VERSION = 0x14,
	CPU_ENABLED = 1 << 0,
	CPU_BOOT = 1 << 1,
	/* What is in the entry of a CPU with CPUID is CPUID's to tell; these are its first family
	 * with an integrated APIC, and FPU and APIC. */
	CPU_SIGNATURE = 0x600,
	CPU_FEATURES = 0x201,
	IOAPIC_ENABLED = 1 << 0,
	ISA_BUS = 0,
	IRQ_INT = 0,
	IRQ_NMI = 1,
	IRQ_EXTINT = 3,
	ALL_APICS = 0xff,
};

struct builder {
	uint8_t *bytes;
	size_t len, size;
	unsigned entries;
};

static uint8_t checksum(const uint8_t *bytes, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* What does not fit makes len larger than size, and is left out. */
static void add(struct builder *b, const void *entry, size_t n)
{
	if (range_ok(b->len, n, b->size))
		memcpy(b->bytes + b->len, entry, n);
	b->len += n;
	b->entries++;
}

static void add_entries(struct builder *b, const struct mptable_config *c)
{
	uint8_t ioapic_id = (uint8_t)c->n_cpus; /* behind those of the local APICs (3.6.6) */

	for (unsigned i = 0; i < c->n_cpus; i++)
		add(b,
		    &(struct cpu_entry){
			    .type = ENTRY_CPU,
			    .apic_id = (uint8_t)i,
			    .apic_version = APIC_VERSION,
			    .flags = CPU_ENABLED | (i == 0 ? CPU_BOOT : 0),
			    .signature = le32(CPU_SIGNATURE),
			    .features = le32(CPU_FEATURES),
		    },
		    sizeof(struct cpu_entry));
	add(b, &(struct bus_entry){ ENTRY_BUS, ISA_BUS, { 'I', 'S', 'A', ' ', ' ', ' ' } },
	    sizeof(struct bus_entry));
	add(b,
	    &(struct ioapic_entry){ ENTRY_IOAPIC, ioapic_id, APIC_VERSION, IOAPIC_ENABLED,
				    le32(c->ioapic) },
	    sizeof(struct ioapic_entry));
	for (unsigned pin = 0; pin < c->ioapic_pins; pin++)
		add(b,
		    &(struct irq_entry){ ENTRY_IRQ, IRQ_INT, le16(0), ISA_BUS, (uint8_t)pin,
					 ioapic_id, (uint8_t)pin },
		    sizeof(struct irq_entry));
	add(b, &(struct irq_entry){ ENTRY_LOCAL_IRQ, IRQ_EXTINT, le16(0), ISA_BUS, 0, 0, 0 },
	    sizeof(struct irq_entry));
	add(b, &(struct irq_entry){ ENTRY_LOCAL_IRQ, IRQ_NMI, le16(0), ISA_BUS, 0, ALL_APICS, 1 },
	    sizeof(struct irq_entry));
}

int mptable_load(const struct mptable_config *c, struct gmem *mem, struct err *err)
{
	const size_t header_at = sizeof(struct floating_pointer);
	struct builder b = {
		.bytes = calloc(1, c->size_max),
		.len = header_at + sizeof(struct config_header),
		.size = c->size_max,
	};
	struct floating_pointer pointer = {
		.signature = { '_', 'M', 'P', '_' },
		.config = le32((uint32_t)(c->base + header_at)),
		.length = 1,
		.spec_rev = SPEC_REV_1_4,
	};
	int res = 0;

	if (!b.bytes)
		return err_set(err, -ENOMEM, "no memory for the MP table");
	add_entries(&b, c);
	if (b.len > b.size) {
		free(b.bytes);
		return err_set(err, -E2BIG, "the MP table needs %zu bytes, and there are %zu",
			       b.len, b.size);
	}
	struct config_header header = {
		.signature = { 'P', 'C', 'M', 'P' },
		.length = le16((uint16_t)(b.len - header_at)),
		.spec_rev = SPEC_REV_1_4,
		.entries = le16((uint16_t)b.entries),
		.lapic = le32(c->lapic),
	};
	memcpy(header.oem_id, "HAKO    ", sizeof(header.oem_id));
	memcpy(header.product_id, "X86         ", sizeof(header.product_id));
	memcpy(b.bytes + header_at, &header, sizeof(header));
	b.bytes[header_at + offsetof(struct config_header, checksum)] =
		checksum(b.bytes + header_at, b.len - header_at);
	pointer.checksum = checksum((const uint8_t *)&pointer, sizeof(pointer));
	memcpy(b.bytes, &pointer, sizeof(pointer));
	if (gmem_write(mem, c->base, b.bytes, b.len))
		res = err_set(err, -EFAULT, "there is no memory at %#llx for the MP table",
			      (unsigned long long)c->base);
	free(b.bytes);
	return res;
}
