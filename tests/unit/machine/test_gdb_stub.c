/* SPDX-License-Identifier: MIT */
/*
 * gdb's protocol, packet by packet, against a target of two threads with a few registers and a
 * page of memory; and packets that no gdb would send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/gdb_stub.h"

enum { N_REGS = 4, MEM_BASE = 0x1000, MEM_SIZE = 4096 };

struct rig {
	struct gdb_stub stub;
	uint32_t regs[2][N_REGS];
	uint8_t mem[MEM_SIZE];
	enum gdb_action actions[2];
	struct debug_point point;
	unsigned type, resumed, interrupts, detached, killed, added, removed;
	char sent[4 * GDB_PACKET_MAX];
	size_t n_sent;
	char command[64];
};

static bool reg_get(void *arg, unsigned thread, size_t reg, uint8_t *val, size_t *size)
{
	struct rig *r = arg;
	*size = 4;
	memcpy(val, &r->regs[thread][reg], 4);
	return reg != 2; /* this one has no value */
}

static size_t reg_size(void *arg, size_t reg)
{
	(void)arg;
	assert_true(reg < N_REGS);
	return 4;
}

static bool reg_set(void *arg, unsigned thread, size_t reg, const uint8_t *val)
{
	struct rig *r = arg;
	memcpy(&r->regs[thread][reg], val, 4);
	return reg != 2;
}

static uint8_t *at(struct rig *r, uint64_t va, size_t len)
{
	bool ok = va >= MEM_BASE && va - MEM_BASE <= MEM_SIZE && len <= MEM_SIZE - (va - MEM_BASE);
	return ok ? &r->mem[va - MEM_BASE] : NULL;
}

static bool mem_read(void *arg, unsigned thread, uint64_t va, void *buf, size_t len)
{
	uint8_t *p = at(arg, va, len);
	(void)thread;
	if (p)
		memcpy(buf, p, len);
	return p;
}

static bool mem_write(void *arg, unsigned thread, uint64_t va, const void *buf, size_t len)
{
	uint8_t *p = at(arg, va, len);
	(void)thread;
	if (p)
		memcpy(p, buf, len);
	return p;
}

static int point(void *arg, bool add, unsigned type, const struct debug_point *p)
{
	struct rig *r = arg;
	r->point = *p;
	r->type = type;
	*(add ? &r->added : &r->removed) += 1;
	return r->added > 2 ? -ENOSPC : 0;
}

static void resume(void *arg, const enum gdb_action *actions)
{
	struct rig *r = arg;
	memcpy(r->actions, actions, sizeof(r->actions));
	r->resumed++;
}

static void interrupt(void *arg)
{
	((struct rig *)arg)->interrupts++;
}

static void thread_info(void *arg, unsigned thread, char *text, size_t size)
{
	(void)arg;
	snprintf(text, size, "hart %u", thread);
}

static void detach(void *arg)
{
	((struct rig *)arg)->detached++;
}

static void kill_it(void *arg)
{
	((struct rig *)arg)->killed++;
}

static void monitor(void *arg, const char *command, char *answer, size_t size)
{
	struct rig *r = arg;
	snprintf(r->command, sizeof(r->command), "%s", command);
	snprintf(answer, size, "hi\n");
}

static void send_bytes(void *arg, const void *bytes, size_t len)
{
	struct rig *r = arg;
	assert_true(len <= sizeof(r->sent) - 1 - r->n_sent);
	memcpy(r->sent + r->n_sent, bytes, len);
	r->n_sent += len;
	r->sent[r->n_sent] = 0;
}

static const struct gdb_target target = {
	.n_threads = 2,
	.xml = "<target>#$}*</target>",
	.n_regs = N_REGS,
	.n_general = 3,
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
	.detach = detach,
	.kill = kill_it,
	.send = send_bytes,
};

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	gdb_stub_init(&r->stub, &target, r);
	for (unsigned i = 0; i < MEM_SIZE; i++)
		r->mem[i] = (uint8_t)i;
	r->regs[0][0] = 0x11223344;
	r->regs[1][0] = 0x55;
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void raw(struct rig *r, const char *bytes, size_t len)
{
	r->n_sent = 0;
	r->sent[0] = 0;
	gdb_stub_input(&r->stub, bytes, len);
}

static char *framed(char *to, const char *body, size_t len)
{
	uint8_t sum = 0;
	*to++ = '$';
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + (uint8_t)body[i]);
	memcpy(to, body, len);
	return to + len + sprintf(to + len, "#%02x", sum);
}

static void packet_of(struct rig *r, const char *body, size_t len)
{
	static char frame[2 * GDB_PACKET_MAX];
	raw(r, frame, (size_t)(framed(frame, body, len) - frame));
}

/* Send this; what comes back, in its acknowledged packet, is that. */
static void expect_n(struct rig *r, const char *body, size_t len, const char *reply)
{
	char want[512] = "+";
	framed(want + 1, reply, strlen(reply));
	packet_of(r, body, len);
	assert_string_equal(r->sent, want);
}

static void expect(struct rig *r, const char *body, const char *reply)
{
	expect_n(r, body, strlen(body), reply);
}

static void framing(void **state)
{
	struct rig *r = *state;

	raw(r, "noise+-$qC#b4", 13);
	assert_string_equal(r->sent, "+$QC1#c5");
	raw(r, "-", 1); /* once more */
	assert_string_equal(r->sent, "$QC1#c5");
	raw(r, "$qC#b5", 6); /* the checksum is wrong */
	assert_string_equal(r->sent, "-");
	raw(r, "$qC#x", 5); /* that is none: back to the start */
	assert_string_equal(r->sent, "");
	raw(r, "$qC#bx", 6);
	assert_string_equal(r->sent, "");
	raw(r, "$qSu$qC#b4", 10); /* the end of the first is lost */
	assert_string_equal(r->sent, "+$QC1#c5");
	raw(r, "$q", 2);
	raw(r, "C#", 2);
	raw(r, "b4", 2); /* in pieces */
	assert_string_equal(r->sent, "+$QC1#c5");
	expect(r, "nonsense", "");
	expect(r, "", "");

	expect(r, "QStartNoAckMode", "OK");
	packet_of(r, "qC", 2);
	assert_string_equal(r->sent, "$QC1#c5");
	raw(r, "-", 1);
	assert_string_equal(r->sent, "");
}

static void too_long(void **state)
{
	struct rig *r = *state;
	static char body[GDB_PACKET_MAX + 100];

	memset(body, 'm', sizeof(body));
	packet_of(r, body, sizeof(body));
	assert_string_equal(r->sent, "-");
	expect(r, "qC", "QC1");
	packet_of(r, body, GDB_PACKET_MAX); /* as long as may be */
	assert_string_equal(r->sent, "+$E16#ac");
}

static void registers(void **state)
{
	struct rig *r = *state;

	expect(r, "g", "4433221100000000xxxxxxxx");
	expect(r, "p0", "44332211");
	expect(r, "p2", "xxxxxxxx");
	expect(r, "p3", "00000000");
	expect(r, "p4", "E16");
	expect(r, "pffffffffffffffff", "E16");
	expect(r, "p11112222333344445", "E16"); /* longer than a number is */
	expect(r, "p", "E16");
	expect(r, "p0 ", "E16");
	expect(r, "P1=78563412", "OK");
	assert_int_equal(r->regs[0][1], 0x12345678);
	expect(r, "P1=785634", "E16");
	expect(r, "P1", "E16");
	expect(r, "P2=00000000", "E16");
	expect(r, "P9=00000000", "E16");
	expect(r, "Gxxxxxxxx0100000002000000", "OK");
	assert_int_equal(r->regs[0][0], 0x11223344);
	assert_int_equal(r->regs[0][1], 1);
	expect(r, "G0000", "E16");
	expect(r, "Gx", "E16");
	expect(r, "Hg2", "OK");
	expect(r, "p0", "55000000");
	expect(r, "Hg3", "E16");
	expect(r, "Hg0", "OK");
	expect(r, "p0", "44332211");
}

static void memory(void **state)
{
	struct rig *r = *state;

	expect(r, "m1001,3", "010203");
	expect(r, "m1ffe,2", "feff");
	expect(r, "m1ffe,20", "feff"); /* what there is */
	expect(r, "m2000,1", "E0e");
	expect(r, "m0,1", "E0e");
	expect(r, "mffffffffffffffff,8", "E0e");
	expect(r, "m1000", "E16");
	expect(r, "m1000,", "E16");
	expect(r, "m,1", "E16");
	expect(r, "m1000,0", "E16"); /* empty would be: what is m? */
	expect(r, "M1000,2:abcd", "OK");
	assert_int_equal(r->mem[0], 0xab);
	expect(r, "M1000,3:abcd", "E16");
	expect(r, "M1000,1:abcd", "E16"); /* more than it says */
	expect(r, "M1000,0:", "OK");
	expect(r, "M1fff,2:abcd", "E0e");
	expect(r, "M1000,ffffffffffffffff:00", "E16");
	expect_n(r, "X1000,4:}\3a}]\0", 14, "OK");
	assert_memory_equal(r->mem, "#a}\0", 4);
	expect(r, "X1000,2:a", "E16");
	expect(r, "X1000,1:}", "E16");
	expect(r, "X1000,1:ab", "E16");
	expect(r, "X1000,0:", "OK"); /* gdb asks so whether it may */
}

static void long_memory(void **state)
{
	struct rig *r = *state;

	packet_of(r, "m1000,ffffffff", 14);
	assert_memory_equal(r->sent, "+$000102", 8);
	assert_int_equal(r->n_sent, 1 + 4 + 2 * MEM_SIZE);

	/* gdb fills packets to the size that it was told; this much it may write at once. */
	static char body[GDB_PACKET_MAX];
	memset(body, 'x', sizeof(body));
	memcpy(body, "X1000,3ff3:", 11);
	expect_n(r, body, 11 + 0x3ff3, "E0e"); /* there is not so much memory, else all is well */
	memset(body, '0', sizeof(body));
	memcpy(body, "M1000,1ffa:", 11);
	expect_n(r, body, 11 + 2 * 0x1ffa, "E0e");
}

static void points(void **state)
{
	struct rig *r = *state;

	expect(r, "Z0,1234,4", "OK");
	assert_int_equal(r->point.va, 0x1234);
	assert_int_equal(r->point.access, DEBUG_EXEC);
	expect(r, "Z4,10,8", "OK");
	assert_int_equal(r->point.access, DEBUG_READ | DEBUG_WRITE);
	assert_int_equal(r->type, 4);
	expect(r, "Z0,1234,4;X1,0", "E16"); /* a condition */
	expect(r, "Z1,10,4", "E1c");        /* the target's ENOSPC */
	expect(r, "z2,10,8", "E1c");
	expect(r, "Z5,10,8", "");
	expect(r, "Z0", "E16");
	expect(r, "Z0,1", "E16");
	expect(r, "Z2,10,0", "E16");
	expect(r, "Z2,fffffffffffffff0,20", "E16");
	assert_int_equal(r->added, 3);
}

static void running(void **state)
{
	struct rig *r = *state;
	const struct debug_stop watch = { .why = DEBUG_WATCHPOINT,
					  .addr = 0x123,
					  .access = DEBUG_WRITE };

	expect(r, "?", "T05thread:1;");
	expect(r, "vCont?", "vCont;c;C;s;S");
	packet_of(r, "vCont;s:2;c", 11);
	assert_string_equal(r->sent, "+"); /* the answer comes when it stops */
	assert_int_equal(r->actions[0], GDB_GO);
	assert_int_equal(r->actions[1], GDB_STEP);
	expect(r, "g", "E10"); /* it runs */
	expect(r, "m1000,1", "E10");
	expect(r, "vCont;c", "E10");
	expect(r, "qC", "QC1");
	raw(r, "\3", 1);
	assert_int_equal(r->interrupts, 1);
	r->n_sent = 0;
	gdb_stub_stopped(&r->stub, 1, GDB_SIGNAL_TRAP, &watch);
	assert_string_equal(r->sent, "$T05thread:2;watch:123;#fa");
	raw(r, "\3", 1); /* halted: nothing to interrupt */
	assert_int_equal(r->interrupts, 1);
	expect(r, "p0", "55000000"); /* of the thread that stopped */

	packet_of(r, "vCont;s:1", 9);
	assert_int_equal(r->actions[0], GDB_STEP);
	assert_int_equal(r->actions[1], GDB_STAY);
	gdb_stub_stopped(&r->stub, 0, GDB_SIGNAL_INT, NULL);
	packet_of(r, "vCont;C05:-1", 12);
	assert_int_equal(r->actions[1], GDB_GO);
	gdb_stub_stopped(&r->stub, 0, GDB_SIGNAL_INT, NULL);
	packet_of(r, "s", 1);
	assert_int_equal(r->actions[0], GDB_STEP);
	gdb_stub_stopped(&r->stub, 0, GDB_SIGNAL_INT, NULL);
	expect(r, "Hc2", "OK");
	packet_of(r, "s", 1);
	assert_int_equal(r->actions[0], GDB_STAY);
	assert_int_equal(r->actions[1], GDB_STEP);
	gdb_stub_stopped(&r->stub, 0, GDB_SIGNAL_INT, NULL);
	packet_of(r, "c", 1);
	assert_int_equal(r->actions[0], GDB_STAY);
	assert_int_equal(r->actions[1], GDB_GO);
	gdb_stub_stopped(&r->stub, 0, GDB_SIGNAL_INT, NULL);
	expect(r, "Hc0", "OK"); /* any: gdb means all */
	packet_of(r, "s", 1);
	assert_int_equal(r->actions[0], GDB_STEP);
	assert_int_equal(r->actions[1], GDB_GO);
	gdb_stub_stopped(&r->stub, 0, GDB_SIGNAL_INT, NULL);
	assert_int_equal(r->resumed, 7);
	for (const char *const *bad =
		     (const char *const[]){ "vCont;", "vCont;x", "vCont;c:9", "vCont;c:", "vCont;C",
					    "vCont;cc", "c1234", "vCont;r1,2", NULL };
	     *bad; bad++)
		expect(r, *bad, "E16");
	assert_int_equal(r->resumed, 7);
	packet_of(r, "c", 1);
	r->n_sent = 0;
	gdb_stub_exited(&r->stub, 0);
	assert_string_equal(r->sent, "$W00#b7");
}

static void queries(void **state)
{
	struct rig *r = *state;

	expect(r, "qfThreadInfo", "m1,2");
	expect(r, "qsThreadInfo", "l");
	expect(r, "qThreadExtraInfo,2", "686172742031");
	expect(r, "qThreadExtraInfo,3", "E03");
	expect(r, "qThreadExtraInfo,-1", "E03");
	expect(r, "T2", "OK");
	expect(r, "T3", "E03");
	expect(r, "T", "E03");
	expect(r, "qAttached", "1");
	expect(r, "qHostInfo", "endian:little;watchpoint_exceptions_received:before;");
	expect(r, "qWatchpointSupportInfo:", "num:64;");
	expect(r, "qCRC:0,4", "");
	/* Longer names that begin as known ones do */
	expect(r, "qSupportedMore", "");
	expect(r, "vKillAll", "");
	expect(r, "QStartNoAckMode2", "");
	expect(r, "QNonStop:1", "");
	expect(r, "vCont?", "vCont;c;C;s;S");
	expect(r, "vMustReplyEmpty", "");
	expect(r, "Hq1", "E16");
	expect(r, "H", "E16");
	/* What means something in a packet is escaped in an answer. */
	expect(r, "qXfer:features:read:target.xml:0,8", "m<target>");
	packet_of(r, "qXfer:features:read:target.xml:8,4", 34);
	assert_memory_equal(r->sent, "+$m}\3}\4}]}\n#", 12);
	expect(r, "qXfer:features:read:target.xml:c,100", "l</target>");
	expect(r, "qXfer:features:read:target.xml:15,100", "l"); /* its end */
	expect(r, "qXfer:features:read:target.xml:16,100", "E16");
	expect(r, "qXfer:features:read:target.xml:ffffffffffffffff,10", "E16");
	expect(r, "qXfer:features:read:other.xml:0,10", "E00");
	expect(r, "qXfer:features:read:target.xml:0", "E00");
	expect(r, "qRcmd,68656c70", "68690a");
	assert_string_equal(r->command, "help");
	expect(r, "qRcmd,6", "E16");
	expect(r, "qRcmd,zz", "E16");
	packet_of(r, "qSupported:multiprocess+", 24);
	assert_non_null(strstr(r->sent, "PacketSize=4000"));
}

static void ends(void **state)
{
	struct rig *r = *state;

	expect(r, "D", "OK");
	assert_int_equal(r->detached, 1);
	raw(r, "$k#6b", 5); /* nobody listens any more */
	assert_int_equal(r->killed, 0);
	gdb_stub_init(&r->stub, &target, r);
	packet_of(r, "k", 1);
	assert_int_equal(r->killed, 1);
	gdb_stub_init(&r->stub, &target, r);
	expect(r, "vKill;1", "OK");
	assert_int_equal(r->killed, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(framing), TEST(too_long), TEST(registers), TEST(memory), TEST(long_memory),
		TEST(points),  TEST(running),  TEST(queries),   TEST(ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
