/* SPDX-License-Identifier: MIT */
/*
 * A client of gdb's server that sends anything. The first byte says how: as it is, or each line as
 * a packet with a checksum that is right, so that what is in packets is reached too.
 */
#include "fuzz.h"
#include "machine/gdb_stub.h"

enum { N_THREADS = 3, N_REGS = 5, MEM_SIZE = 8192, MEM_BASE = 0x10000 };

static struct {
	struct gdb_stub stub;
	uint8_t regs[N_THREADS][N_REGS][GDB_REG_MAX];
	uint8_t mem[MEM_SIZE];
	bool running, gone;
	size_t points;
} f;

static size_t reg_size(void *arg, size_t reg)
{
	static const uint8_t sizes[N_REGS] = { 8, 4, 16, 8, 4 };
	(void)arg;
	fuzz_check(reg < N_REGS);
	return sizes[reg];
}

static bool reg_get(void *arg, unsigned thread, size_t reg, uint8_t *val, size_t *size)
{
	fuzz_check(thread < N_THREADS && !f.running);
	*size = reg_size(arg, reg);
	memcpy(val, f.regs[thread][reg], *size);
	return reg != 3;
}

static bool reg_set(void *arg, unsigned thread, size_t reg, const uint8_t *val)
{
	fuzz_check(thread < N_THREADS && !f.running);
	memcpy(f.regs[thread][reg], val, reg_size(arg, reg));
	return true;
}

static bool there(uint64_t va, size_t len)
{
	return va >= MEM_BASE && va - MEM_BASE <= MEM_SIZE && len <= MEM_SIZE - (va - MEM_BASE);
}

static bool mem_read(void *arg, unsigned thread, uint64_t va, void *buf, size_t len)
{
	(void)arg;
	fuzz_check(thread < N_THREADS && !f.running);
	if (there(va, len))
		memcpy(buf, f.mem + (va - MEM_BASE), len);
	return there(va, len);
}

static bool mem_write(void *arg, unsigned thread, uint64_t va, const void *buf, size_t len)
{
	(void)arg;
	fuzz_check(thread < N_THREADS && !f.running);
	if (there(va, len))
		memcpy(f.mem + (va - MEM_BASE), buf, len);
	return there(va, len);
}

static int point(void *arg, bool add, unsigned type, const struct debug_point *p)
{
	(void)arg;
	fuzz_check(type <= 4);
	fuzz_check(!f.running && p->access && (p->access == DEBUG_EXEC || p->len));
	f.points += add;
	return 0;
}

static void resume(void *arg, const enum gdb_action *actions)
{
	bool any = false;
	(void)arg;
	fuzz_check(!f.running);
	for (unsigned i = 0; i < N_THREADS; i++)
		any |= actions[i] != GDB_STAY;
	fuzz_check(any);
	f.running = true;
}

static void interrupt(void *arg)
{
	(void)arg;
	fuzz_check(f.running);
	f.running = false;
	gdb_stub_stopped(&f.stub, 2, GDB_SIGNAL_INT, NULL);
}

static void monitor(void *arg, const char *command, char *answer, size_t size)
{
	(void)arg;
	snprintf(answer, size, "%s", command);
}

static void thread_info(void *arg, unsigned thread, char *text, size_t size)
{
	(void)arg;
	fuzz_check(thread < N_THREADS);
	snprintf(text, size, "hart %u", thread);
}

static void end(void *arg)
{
	(void)arg;
	fuzz_check(!f.gone);
	f.gone = true;
}

static void send_bytes(void *arg, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;
	uint8_t sum = 0;
	(void)arg;
	fuzz_check(!f.gone && len <= sizeof(f.stub.last));
	if (b[0] != '$')
		return;
	/* What goes out is a packet, and nothing in it ends it early. */
	fuzz_check(len >= 4 && b[len - 3] == '#');
	for (size_t i = 1; i < len - 3; i++) {
		fuzz_check(b[i] != '$' && b[i] != '#');
		sum = (uint8_t)(sum + b[i]);
	}
	char check[3];
	snprintf(check, sizeof(check), "%02x", sum);
	fuzz_check(memcmp(check, b + len - 2, 2) == 0);
}

static const struct gdb_target target = {
	.n_threads = N_THREADS,
	.xml = "<target>#$</target>",
	.n_regs = N_REGS,
	.n_general = 4,
	.reg_get = reg_get,
	.reg_size = reg_size,
	.reg_set = reg_set,
	.mem_read = mem_read,
	.mem_write = mem_write,
	.point = point,
	.resume = resume,
	.monitor = monitor,
	.interrupt = interrupt,
	.thread_info = thread_info,
	.detach = end,
	.kill = end,
	.send = send_bytes,
};

static void line(const uint8_t *body, size_t len)
{
	uint8_t sum = 0;
	char tail[4];

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + body[i]);
	snprintf(tail, sizeof(tail), "#%02x", sum);
	gdb_stub_input(&f.stub, "$", 1);
	gdb_stub_input(&f.stub, body, len);
	gdb_stub_input(&f.stub, tail, 3);
	if (f.running && sum % 3)
		gdb_stub_input(&f.stub, "\3", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(&f, 0, sizeof(f));
	gdb_stub_init(&f.stub, &target, NULL);
	if (!size)
		return 0;
	if (data[0] & 1) {
		gdb_stub_input(&f.stub, data + 1, size - 1);
		return 0;
	}
	data++;
	size--;
	while (size) {
		const uint8_t *end_of_line = memchr(data, '\n', size);
		size_t len = end_of_line ? (size_t)(end_of_line - data) : size;
		line(data, len);
		data += len;
		size -= len;
		if (size)
			data++, size--;
	}
	return 0;
}
