/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: the board's devices by their registers: UART (PL011), clock (PL031), and a disk
 * behind virtio-mmio, polled and by interrupt, also reading into a page of code. run_guest.py sends
 * what the UART receives and made the disk: sector n holds the number n throughout.
 */
#include "guest.h"

static bool has_id(u64 base, u32 part)
{
	static const u32 cell[] = { 0x0d, 0xf0, 0x05, 0xb1 };
	bool ok = read32(base + 0xfe0) == part;

	for (unsigned i = 0; i < 4; i++)
		ok &= read32(base + 0xff0 + 4 * i) == cell[i];
	return ok;
}

/* ---- interrupts ---- */

static void (*volatile on_intid)(unsigned intid);
static volatile unsigned interrupts;

static bool on_irq(struct frame *f)
{
	if ((f->vector & 3) != VEC_IRQ)
		return false;
	unsigned intid = (unsigned)READ_ICC(ICC_IAR1);
	if (intid >= 1020)
		return true;
	interrupts++;
	on_intid(intid);
	DSB();
	WRITE_ICC(ICC_EOIR1, intid);
	return true;
}

/* Sleep until done() says so, once at least: an interrupt is due. */
static void wait_for(bool (*done)(void))
{
	do {
		asm volatile("wfi");
		IRQ_ON();
		ISB();
		IRQ_OFF();
	} while (!done());
}

/* ---- PL011 (DDI0183) ---- */

enum {
	DR = 0x00,
	FR = 0x18,
	IBRD = 0x24,
	FBRD = 0x28,
	LCR_H = 0x2c,
	CR = 0x30,
	IFLS = 0x34,
	IMSC = 0x38,
	RIS = 0x3c,
	MIS = 0x40,
	ICR = 0x44
};
enum { INT_RX = 1 << 4, INT_RT = 1 << 6, FR_RXFE = 1 << 4, FR_TXFE = 1 << 7, LCR_FEN = 1 << 4 };

static char received[32];
static volatile unsigned n_received, want;

static void on_uart(unsigned intid)
{
	if (intid != INTID_UART)
		bail("an interrupt that is not the UART's");
	if (!(read32(UART + MIS) & (INT_RX | INT_RT)))
		bail("an interrupt without UARTMIS");
	write32(UART + ICR, INT_RT);
	while (!(read32(UART + FR) & FR_RXFE) && n_received < sizeof(received))
		received[n_received++] = (char)read32(UART + DR);
}

static bool got_all(void)
{
	return n_received >= want;
}

static bool receive(const char *text)
{
	bool ok = true;

	n_received = 0;
	for (want = 0; text[want]; want++)
		;
	note("send %s", text);
	wait_for(got_all);
	for (unsigned i = 0; i < want; i++)
		ok &= received[i] == text[i];
	return ok && n_received == want;
}

static void uart(void)
{
	check(has_id(UART, 0x11), "UARTPeriphID0 and UARTPCellID");
	while (!(read32(UART + FR) & FR_TXFE))
		;
	check(read32(UART + FR) & FR_RXFE, "nothing received yet");
	check_eq(read32(UART + RIS) & INT_RX, 0, "no receive interrupt yet");
	write32(UART + IBRD, 0x1234);
	write32(UART + FBRD, 0x2a);
	check(read32(UART + IBRD) == 0x1234 && read32(UART + FBRD) == 0x2a, "divisors keep");
	write32(UART + IFLS, 0x12);
	check_eq(read32(UART + IFLS), 0x12, "UARTIFLS keeps");
	write32(UART + CR, 0x301);
	check_eq(read32(UART + CR) & 0x301, 0x301, "UARTCR keeps");

	on_intid = on_uart;
	gic_enable(INTID_UART, 0x80, false);
	write32(UART + ICR, 0x7ff);
	write32(UART + LCR_H, 0x60);
	write32(UART + IMSC, INT_RX | INT_RT);
	check_eq(read32(UART + IMSC), INT_RX | INT_RT, "UARTIMSC keeps");
	interrupts = 0;
	check(receive("abcdef"), "received by interrupt, without FIFO");
	check(interrupts >= 1, "... with interrupts");
	write32(UART + LCR_H, 0x60 | LCR_FEN);
	interrupts = 0;
	check(receive("hello, world"), "received by interrupt, with FIFO");
	check(interrupts >= 1, "... with interrupts");
	check_eq(read32(UART + MIS), 0, "nothing left");
	check(!gic_pending(INTID_UART), "its line is low");
	/* By polling */
	write32(UART + IMSC, 0);
	note("send xyz");
	char got[3];
	for (unsigned i = 0; i < 3; i++) {
		while (read32(UART + FR) & FR_RXFE)
			;
		got[i] = (char)read32(UART + DR);
	}
	check(got[0] == 'x' && got[1] == 'y' && got[2] == 'z', "received by polling");
	gic_disable(INTID_UART);
}

/* ---- PL031 (DDI0224) ---- */

enum {
	RTCDR = 0x00,
	RTCMR = 0x04,
	RTCLR = 0x08,
	RTCCR = 0x0c,
	RTCIMSC = 0x10,
	RTCRIS = 0x14,
	RTCMIS = 0x18,
	RTCICR = 0x1c
};

static volatile bool rtc_seen;
static void on_rtc(unsigned intid)
{
	rtc_seen = intid == INTID_RTC && read32(RTC + RTCMIS) == 1;
	write32(RTC + RTCICR, 1);
}
static bool rtc_done(void)
{
	return rtc_seen;
}

static void rtc(void)
{
	check(has_id(RTC, 0x31), "RTCPeriphID0 and RTCPCellID");
	check(read32(RTC + RTCDR) > 1600000000, "the clock tells the time of day");
	check_eq(read32(RTC + RTCCR) & 1, 1, "RTCCR: it runs");
	write32(RTC + RTCMR, 0);
	write32(RTC + RTCICR, 1);
	write32(RTC + RTCLR, 1000000);
	check(read32(RTC + RTCDR) - 1000000 < 3, "RTCLR sets it");
	check_eq(read32(RTC + RTCRIS), 0, "no match yet");
	write32(RTC + RTCIMSC, 1);
	check_eq(read32(RTC + RTCIMSC), 1, "RTCIMSC keeps");
	on_intid = on_rtc;
	gic_enable(INTID_RTC, 0x80, false);
	write32(RTC + RTCMR, read32(RTC + RTCDR) + 1);
	wait_for(rtc_done);
	check(rtc_seen, "a match interrupts");
	check_eq(read32(RTC + RTCRIS), 0, "RTCICR clears it");
	check(!gic_pending(INTID_RTC), "its line is low");
	gic_disable(INTID_RTC);
}

/* ---- virtio-mmio (virtio 1.2, 4.2.2) and virtio-blk (5.2) ---- */

enum {
	MAGIC = 0x00,
	VERSION = 0x04,
	DEVICE_ID = 0x08,
	DEV_FEATURES = 0x10,
	DEV_FEATURES_SEL = 0x14,
	DRV_FEATURES = 0x20,
	DRV_FEATURES_SEL = 0x24,
	QUEUE_SEL = 0x30,
	QUEUE_NUM_MAX = 0x34,
	QUEUE_NUM = 0x38,
	QUEUE_READY = 0x44,
	QUEUE_NOTIFY = 0x50,
	INT_STATUS = 0x60,
	INT_ACK = 0x64,
	STATUS = 0x70,
	QUEUE_DESC = 0x80,
	QUEUE_DRIVER = 0x90,
	QUEUE_DEVICE = 0xa0,
	CONFIG = 0x100
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { F_FLUSH = 9, DESC_NEXT = 1, DESC_WRITE = 2, QSIZE = 8, SECTOR = 512 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8 };

static u64 dev;
static unsigned intid_blk;
static struct {
	struct {
		u64 addr;
		u32 len;
		u16 flags, next;
	} desc[QSIZE];
	struct {
		u16 flags, idx, ring[QSIZE];
	} avail;
	u8 gap[64];
	struct {
		u16 flags;
		volatile u16 idx;
		struct {
			u32 id, len;
		} ring[QSIZE];
	} used __attribute__((aligned(16)));
} vq __attribute__((aligned(4096)));
static u16 seen;
static struct {
	u32 type, reserved;
	u64 sector;
} head __attribute__((aligned(16)));
static volatile u8 status;

static bool find_disk(void)
{
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++) {
		u64 at = VIRTIO + i * VIRTIO_STRIDE;

		if (read32(at + MAGIC) != 0x74726976)
			return false;
		if (read32(at + DEVICE_ID) == 2) {
			dev = at;
			intid_blk = INTID_VIRTIO + i;
		}
	}
	return dev;
}

static u64 features(void)
{
	write32(dev + DEV_FEATURES_SEL, 0);
	u64 low = read32(dev + DEV_FEATURES);
	write32(dev + DEV_FEATURES_SEL, 1);
	return low | (u64)read32(dev + DEV_FEATURES) << 32;
}

static void set_address(unsigned reg, u64 a)
{
	write32(dev + reg, (u32)a);
	write32(dev + reg + 4, (u32)(a >> 32));
}

static void start(void)
{
	write32(dev + STATUS, 0);
	check_eq(read32(dev + STATUS), 0, "a reset device has status 0");
	write32(dev + STATUS, ACKNOWLEDGE | DRIVER);
	u64 offered = features();
	check(offered >> 32 & 1, "VIRTIO_F_VERSION_1 is offered");
	check(offered >> F_FLUSH & 1, "VIRTIO_BLK_F_FLUSH is offered");
	write32(dev + DRV_FEATURES_SEL, 0);
	write32(dev + DRV_FEATURES, 1 << F_FLUSH);
	write32(dev + DRV_FEATURES_SEL, 1);
	write32(dev + DRV_FEATURES, 1);
	write32(dev + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	check(read32(dev + STATUS) & FEATURES_OK, "FEATURES_OK stays");
	write32(dev + QUEUE_SEL, 0);
	check_eq(read32(dev + QUEUE_READY), 0, "the queue is not ready yet");
	check(read32(dev + QUEUE_NUM_MAX) >= QSIZE, "the queue has room");
	write32(dev + QUEUE_NUM, QSIZE);
	vq.avail.flags = 0;
	vq.avail.idx = vq.used.idx = seen = 0;
	set_address(QUEUE_DESC, (u64)vq.desc);
	set_address(QUEUE_DRIVER, (u64)&vq.avail);
	set_address(QUEUE_DEVICE, (u64)&vq.used);
	DSB();
	write32(dev + QUEUE_READY, 1);
	check_eq(read32(dev + QUEUE_READY), 1, "the queue is ready");
	write32(dev + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	check_eq(read32(dev + STATUS), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK,
		 "the device runs");
}

static bool completed(void)
{
	DMB();
	return vq.used.idx != seen;
}

static void submit(u32 type, u64 sector, void *buf, u32 len, unsigned pieces)
{
	unsigned n = 0;
	bool in = type == T_IN || type == T_GET_ID;

	head.type = type;
	head.reserved = 0;
	head.sector = sector;
	status = 0xee;
	vq.desc[n].addr = (u64)&head;
	vq.desc[n].len = 16;
	vq.desc[n].flags = DESC_NEXT;
	vq.desc[n].next = (u16)(n + 1);
	n++;
	for (unsigned i = 0; i < pieces; i++, n++) {
		vq.desc[n].addr = (u64)buf + i * (len / pieces);
		vq.desc[n].len = len / pieces;
		vq.desc[n].flags = DESC_NEXT | (in ? DESC_WRITE : 0);
		vq.desc[n].next = (u16)(n + 1);
	}
	vq.desc[n].addr = (u64)&status;
	vq.desc[n].len = 1;
	vq.desc[n].flags = DESC_WRITE;
	vq.avail.ring[vq.avail.idx % QSIZE] = 0;
	DMB();
	vq.avail.idx++;
	DSB();
	write32(dev + QUEUE_NOTIFY, 0);
}

/* By polling: the device's status byte; *written is what the used ring says. */
static unsigned request(u32 type, u64 sector, void *buf, u32 len, unsigned pieces, u32 *written)
{
	submit(type, sector, buf, len, pieces);
	while (!completed())
		asm volatile("yield");
	if (written)
		*written = vq.used.ring[seen % QSIZE].len;
	seen++;
	return status;
}

static void on_blk(unsigned intid)
{
	if (intid != intid_blk)
		bail("an interrupt that is not the disk's");
	write32(dev + INT_ACK, read32(dev + INT_STATUS));
}

static u8 buffer[8 * SECTOR] __attribute__((aligned(4096)));

static bool all(const u8 *p, u32 value, unsigned len)
{
	bool ok = true;

	for (unsigned i = 0; i < len; i += 4)
		ok &= read32((u64)p + i) == value;
	return ok;
}

static void disk(void)
{
	u32 written;

	if (!check(find_disk(), "32 slots, a disk in one"))
		return;
	check_eq(read32(dev + VERSION), 2, "virtio-mmio version 2");
	check_eq(read64(dev + CONFIG), 256, "the capacity, read as 64 bits");
	check_eq(read32(dev + CONFIG), 256, "... as 32 bits");
	start();

	unsigned s = request(T_IN, 7, buffer, SECTOR, 1, &written);
	check(s == 0 && all(buffer, 7, SECTOR), "a sector is read");
	check_eq(written, SECTOR + 1, "... and the used ring says how much");
	check_eq(read32(dev + INT_STATUS), 1, "InterruptStatus: a used buffer");
	check(gic_pending(intid_blk), "... and the line is high");
	write32(dev + INT_ACK, 1);
	check_eq(read32(dev + INT_STATUS), 0, "InterruptACK");
	check(!gic_pending(intid_blk), "... and the line is low");

	s = request(T_IN, 100, buffer, 4 * SECTOR, 4, &written);
	check(s == 0 && all(buffer, 100, SECTOR) && all(buffer + 3 * SECTOR, 103, SECTOR),
	      "four sectors into four buffers");
	for (unsigned i = 0; i < SECTOR; i += 4)
		write32((u64)buffer + i, 0xa5a5a5a5);
	s = request(T_OUT, 9, buffer, SECTOR, 1, &written);
	check_eq(s, 0, "a sector is written");
	check_eq(written, 1, "... and only the status byte came back");
	check_eq(request(T_FLUSH, 0, 0, 0, 0, 0), 0, "flush");
	note("disk 9 has a5");
	note("disk 8 has 08000000");
	s = request(T_IN, 8, buffer, 3 * SECTOR, 1, 0);
	check(s == 0 && all(buffer, 8, SECTOR) && all(buffer + SECTOR, 0xa5a5a5a5, SECTOR) &&
		      all(buffer + 2 * SECTOR, 10, SECTOR),
	      "... and read back, its neighbours as they were");
	check_eq(request(T_IN, 256, buffer, SECTOR, 1, 0), 1, "behind the end: an error");
	check_eq(request(T_IN, 255, buffer, 2 * SECTOR, 1, 0), 1, "over the end: an error");
	check_eq(request(T_IN, ~0ULL, buffer, SECTOR, 1, 0), 1, "a huge sector number: an error");
	check_eq(request(77, 0, buffer, SECTOR, 1, 0), 2, "an unknown request: unsupported");
	check_eq(request(T_GET_ID, 0, buffer, 20, 1, 0), 0, "GET_ID");
	s = request(T_IN, 255, buffer, SECTOR, 1, 0);
	check(s == 0 && all(buffer, 255, SECTOR), "the last sector");

	/* By interrupt */
	write32(dev + INT_ACK, read32(dev + INT_STATUS));
	on_intid = on_blk;
	gic_enable(intid_blk, 0x80, false);
	bool ok = true;
	interrupts = 0;
	for (unsigned n = 0; n < 50; n++) {
		submit(T_IN, n + 20, buffer, SECTOR, 1);
		wait_for(completed);
		seen++;
		ok &= status == 0 && all(buffer, n + 20, SECTOR);
	}
	check(ok, "fifty sectors, each waited for with wfi");
	check(interrupts >= 1 && interrupts <= 50, "... an interrupt for each at most");
	vq.avail.flags = 1; /* no interrupt wanted */
	DMB();
	write32(dev + INT_ACK, read32(dev + INT_STATUS));
	interrupts = 0;
	request(T_IN, 3, buffer, SECTOR, 1, 0);
	IRQ_ON();
	ISB();
	IRQ_OFF();
	check_eq(interrupts, 0, "none with VIRTQ_AVAIL_F_NO_INTERRUPT");
	vq.avail.flags = 0;
	gic_disable(intid_blk);
}

/* A page that was executed is read from the disk: the new code runs. */
static void disk_into_code(void)
{
	const u64 code = SCRATCH + 0x10000, x = 0x90000000;
	const u32 ret = 0xd65f03c0;
	bool maintain = field(READ_REG(ctr_el0), 29, 28) != 3;
	u64 (*f)(void) = (u64(*)(void))x;
	bool ok = true;

	pt_map(flat_root, 1, x, code, 3, PT_MEM | PT_RO | PT_UXN);
	for (unsigned i = 0; i < SECTOR; i += 8)
		write64((u64)buffer + i, (u64)ret << 32 | 0xd2800000 | 2 << 5); /* mov x0, #2 */
	check_eq(request(T_OUT, 40, buffer, SECTOR, 1, 0), 0, "code goes to the disk");
	for (unsigned n = 0; n < 20; n++) {
		write64(code, (u64)ret << 32 | 0xd2800000 | 1 << 5);
		for (unsigned after = 1; after < 3; after++) {
			if (maintain)
				asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %1" ::"r"(code),
					     "r"(x)
					     : "memory");
			asm volatile("dsb ish\n\tisb" ::: "memory");
			ok &= f() == after;
			if (after == 1)
				ok &= request(T_IN, 40, (void *)code, SECTOR, 1, 0) == 0;
		}
	}
	check(ok, "a disk read into a page of code: the new code runs");
	write32(dev + STATUS, 0);
	check_eq(read32(dev + QUEUE_READY), 0, "after a reset the queue is not ready");
}

void guest_main(void)
{
	extern u64 boot_dtb;
	/* booting.rst: aligned to 8 bytes, and at most 2 MiB; big-endian magic and size */
	check(boot_dtb && boot_dtb % 8 == 0 && read32(boot_dtb) == 0xedfe0dd0,
	      "x0 has a device tree");
	check(__builtin_bswap32(read32(boot_dtb + 4)) <= BLOCK2M, "... of 2 MiB at most");
	mmu_on();
	gic_init();
	this_cpu()->handler = on_irq;
	uart();
	rtc();
	disk();
	if (dev)
		disk_into_code();
}
