/* SPDX-License-Identifier: MIT */
/*
 * gdb's remote serial protocol: gdb_stub.h. Numbers in brackets are sections of gdb's
 * documentation, version 13.
 */
#include "machine/gdb_stub.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"

/* ---- packets out ---- */

static const char hex_digits[] = "0123456789abcdef";

/* Send `data` as a packet (E.1). */
static void send_packet(struct gdb_stub *s, const char *data, size_t len)
{
	uint8_t sum = 0;
	size_t n = 0;

	s->last[n++] = '$';
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)data[i];
		if (n + 8 > sizeof(s->last))
			break;
		if (c == '$' || c == '#' || c == '}' || c == '*') {
			s->last[n++] = '}';
			sum = (uint8_t)(sum + '}');
			c ^= 0x20;
		}
		s->last[n++] = (char)c;
		sum = (uint8_t)(sum + c);
	}
	s->last[n++] = '#';
	s->last[n++] = hex_digits[sum >> 4];
	s->last[n++] = hex_digits[sum & 15];
	s->last_len = n;
	s->target->send(s->arg, s->last, n);
}

static void reply(struct gdb_stub *s, const char *text)
{
	send_packet(s, text, strlen(text));
}

static void reply_ok(struct gdb_stub *s)
{
	reply(s, "OK");
}

/* "E NN": the number is an errno, for those who read along. */
static void reply_error(struct gdb_stub *s, int code)
{
	char text[4];

	snprintf(text, sizeof(text), "E%02x", (unsigned)(code < 0 ? -code : code) & 0xff);
	reply(s, text);
}

/* A reply that is put together; what does not fit is cut off. */
struct text {
	char at[2 * GDB_PACKET_MAX / 2];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	size_t room = sizeof(t->at) - t->len;
	int n = vsnprintf(t->at + t->len, room, fmt, args);
	va_end(args);
	t->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

static void add_hex(struct text *t, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len && t->len + 2 < sizeof(t->at); i++) {
		t->at[t->len++] = hex_digits[b[i] >> 4];
		t->at[t->len++] = hex_digits[b[i] & 15];
	}
	t->at[t->len] = 0;
}

/* ---- what is in a packet ---- */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A hexadecimal number at *p, which moves behind it; false: there is none, or it is too long. */
static bool number(const char **p, uint64_t *val)
{
	const char *from = *p;

	*val = 0;
	for (; digit(**p) >= 0; (*p)++) {
		if (*p - from >= 16)
			return false;
		*val = *val << 4 | (uint64_t)digit(**p);
	}
	return *p > from;
}

static bool skip(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* `len` bytes as hexadecimal digits. */
static bool bytes(const char **p, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++, *p += 2) {
		int high = digit((*p)[0]), low = high < 0 ? -1 : digit((*p)[1]);
		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* A thread: 1 and up, 0 for any, -1 for all (E.2, "thread-id"). False: there is no such one. */
enum { ALL_THREADS = GDB_THREADS_MAX };

static bool thread_id(struct gdb_stub *s, const char **p, unsigned *thread)
{
	uint64_t n;

	*thread = ALL_THREADS;
	if (skip(p, '-'))
		return skip(p, '1');
	if (!number(p, &n) || n > s->target->n_threads)
		return false;
	*thread = n ? (unsigned)n - 1 : s->stop_thread;
	return true;
}

/* ---- registers and memory ---- */

static void general_read(struct gdb_stub *s, const char *args)
{
	struct text t = { .len = 0 };
	uint8_t val[GDB_REG_MAX];

	(void)args;
	for (size_t i = 0; i < s->target->n_general; i++) {
		size_t size;
		if (s->target->reg_get(s->arg, s->thread_g, i, val, &size))
			add_hex(&t, val, size);
		else
			for (size_t k = s->target->reg_size(s->arg, i); k--;)
				add(&t, "xx");
	}
	reply(s, t.at);
}

static void general_write(struct gdb_stub *s, const char *args)
{
	uint8_t val[GDB_REG_MAX];

	for (size_t i = 0; i < s->target->n_general; i++) {
		size_t size = s->target->reg_size(s->arg, i);
		if (strncmp(args, "xx", 2) == 0) {
			for (size_t k = 0; k < 2 * size && *args; k++)
				args++;
			continue;
		}
		if (!bytes(&args, val, size))
			return reply_error(s, EINVAL);
		s->target->reg_set(s->arg, s->thread_g, i, val);
	}
	reply_ok(s);
}

static void reg_read(struct gdb_stub *s, const char *args)
{
	struct text t = { .len = 0 };
	uint8_t val[GDB_REG_MAX];
	uint64_t reg;
	size_t size;

	if (!number(&args, &reg) || *args || reg >= s->target->n_regs)
		return reply_error(s, EINVAL);
	if (!s->target->reg_get(s->arg, s->thread_g, (size_t)reg, val, &size)) {
		for (size_t k = s->target->reg_size(s->arg, (size_t)reg); k--;)
			add(&t, "xx");
		return reply(s, t.at);
	}
	add_hex(&t, val, size);
	reply(s, t.at);
}

static void reg_write(struct gdb_stub *s, const char *args)
{
	uint8_t val[GDB_REG_MAX];
	uint64_t reg;

	if (!number(&args, &reg) || !skip(&args, '=') || reg >= s->target->n_regs ||
	    !bytes(&args, val, s->target->reg_size(s->arg, (size_t)reg)) ||
	    !s->target->reg_set(s->arg, s->thread_g, (size_t)reg, val))
		return reply_error(s, EINVAL);
	reply_ok(s);
}

/* As much as an answer takes: gdb asks for the rest. */
enum { MEM_MAX = GDB_PACKET_MAX / 2 - 64 };

/* No packet has more bytes than this to write. */
enum { MEM_WRITE_MAX = GDB_PACKET_MAX };

static bool range(const char **args, uint64_t *va, uint64_t *len)
{
	return number(args, va) && skip(args, ',') && number(args, len);
}

static void mem_read(struct gdb_stub *s, const char *args)
{
	struct text t = { .len = 0 };
	uint8_t buf[MEM_MAX];
	uint64_t va, len;

	/* No bytes would be an empty answer, which says that the packet is not known. */
	if (!range(&args, &va, &len) || *args || !len)
		return reply_error(s, EINVAL);
	len = len < sizeof(buf) ? len : sizeof(buf);
	/* Fewer bytes than asked for are allowed, so stop at the end of what is mapped. */
	while (len && !s->target->mem_read(s->arg, s->thread_g, va, buf, (size_t)len)) {
		uint64_t last = va + len - 1;
		uint64_t shorter = align_down(last, 4096) > va ? align_down(last, 4096) - va : 0;
		len = shorter;
		if (!len)
			return reply_error(s, EFAULT);
	}
	add_hex(&t, buf, (size_t)len);
	reply(s, t.at);
}

static void mem_write(struct gdb_stub *s, const char *args)
{
	uint8_t buf[MEM_WRITE_MAX];
	uint64_t va, len;

	if (!range(&args, &va, &len) || !skip(&args, ':') || len > sizeof(buf) ||
	    !bytes(&args, buf, (size_t)len) || *args)
		return reply_error(s, EINVAL);
	if (!s->target->mem_write(s->arg, s->thread_g, va, buf, (size_t)len))
		return reply_error(s, EFAULT);
	reply_ok(s);
}

/* The same with the bytes as they are, but for those that mean something (E.1, "Binary Data"). */
static void mem_write_binary(struct gdb_stub *s, const char *args)
{
	uint8_t buf[MEM_WRITE_MAX];
	uint64_t va, len;
	size_t n = 0;

	if (!range(&args, &va, &len) || !skip(&args, ':') || len > sizeof(buf))
		return reply_error(s, EINVAL);
	const char *end = s->in + s->len;
	while (args < end && n < len) {
		uint8_t escape = *args == '}' ? 0x20 : 0;
		if (escape && ++args == end)
			break;
		buf[n++] = (uint8_t)*args++ ^ escape;
	}
	if (n != len || args != end)
		return reply_error(s, EINVAL);
	if (n && !s->target->mem_write(s->arg, s->thread_g, va, buf, n))
		return reply_error(s, EFAULT);
	reply_ok(s);
}

/* ---- points ---- */

/* Z and z (E.2): type 0 and 1 breakpoints, 2 write, 3 read, 4 access watchpoints. */
static void point(struct gdb_stub *s, const char *args, bool insert)
{
	static const uint8_t access[] = { DEBUG_EXEC, DEBUG_EXEC, DEBUG_WRITE, DEBUG_READ,
					  DEBUG_READ | DEBUG_WRITE };
	struct debug_point p;
	uint64_t type;

	if (!number(&args, &type) || type >= ARRAY_SIZE(access))
		return reply(s, ""); /* a type that there is not */
	/* Conditions and commands could follow, but not where qSupported offers none. */
	if (!skip(&args, ',') || !range(&args, &p.va, &p.len) || *args)
		return reply_error(s, EINVAL);
	p.access = access[type];
	if (p.access != DEBUG_EXEC && (!p.len || p.len - 1 > UINT64_MAX - p.va))
		return reply_error(s, EINVAL);
	int res = s->target->point(s->arg, insert, (unsigned)type, &p);
	if (res == -ENOTSUP)
		return reply(s, "");
	if (res)
		return reply_error(s, res);
	reply_ok(s);
}

static void insert_point(struct gdb_stub *s, const char *args)
{
	point(s, args, true);
}

static void remove_point(struct gdb_stub *s, const char *args)
{
	point(s, args, false);
}

/* ---- running ---- */

static void resume(struct gdb_stub *s, const enum gdb_action *actions)
{
	s->halted = false;
	s->target->resume(s->arg, actions);
}

static void v_cont_query(struct gdb_stub *s, const char *args)
{
	(void)args;
	reply(s, "vCont;c;C;s;S");
}

/* vCont;ACTION[:THREAD]... : for each thread, the leftmost that is for it. */
static void v_cont(struct gdb_stub *s, const char *args)
{
	enum gdb_action actions[GDB_THREADS_MAX] = { GDB_STAY };
	bool chosen[GDB_THREADS_MAX] = { false };
	bool any = false;

	while (*args) {
		unsigned thread = ALL_THREADS;
		uint64_t signal;
		char c = *args++;
		if (((c == 'C' || c == 'S') && !number(&args, &signal)) || !c ||
		    !strchr("cCsS", c) || (skip(&args, ':') && !thread_id(s, &args, &thread)) ||
		    (*args && !skip(&args, ';')))
			return reply_error(s, EINVAL);
		for (unsigned i = 0; i < s->target->n_threads; i++) {
			if (chosen[i] || (thread != ALL_THREADS && thread != i))
				continue;
			chosen[i] = any = true;
			actions[i] = c == 's' || c == 'S' ? GDB_STEP : GDB_GO;
		}
	}
	if (!any)
		return reply_error(s, EINVAL);
	resume(s, actions);
}

/* The old packets: [ADDR] is where; Hc said which, the others stay, or all. */
static void go(struct gdb_stub *s, const char *args, enum gdb_action action)
{
	enum gdb_action actions[GDB_THREADS_MAX];

	if (*args)
		return reply_error(s, EINVAL); /* nobody uses it: set pc first */
	for (unsigned i = 0; i < s->target->n_threads; i++) {
		if (s->thread_c == ALL_THREADS)
			actions[i] = i == s->stop_thread ? action : GDB_GO;
		else
			actions[i] = i == s->thread_c ? action : GDB_STAY;
	}
	resume(s, actions);
}

static void go_on(struct gdb_stub *s, const char *args)
{
	go(s, args, GDB_GO);
}

static void step(struct gdb_stub *s, const char *args)
{
	go(s, args, GDB_STEP);
}

static void why(struct gdb_stub *s, const char *args)
{
	(void)args;
	reply(s, s->stop);
}

static void detach(struct gdb_stub *s, const char *args)
{
	(void)args;
	reply_ok(s);
	s->gone = true;
	s->target->detach(s->arg);
}

static void kill(struct gdb_stub *s, const char *args)
{
	(void)args;
	s->gone = true;
	s->target->kill(s->arg);
}

static void v_kill(struct gdb_stub *s, const char *args)
{
	reply_ok(s);
	kill(s, args);
}

/* ---- threads ---- */

static void set_thread(struct gdb_stub *s, const char *args)
{
	char what = *args ? *args++ : 0;
	bool any = strcmp(args, "0") == 0;
	unsigned thread;

	if ((what != 'g' && what != 'c') || !thread_id(s, &args, &thread) || *args)
		return reply_error(s, EINVAL);
	if (what == 'c')
		s->thread_c = any ? ALL_THREADS : thread;
	else
		s->thread_g = thread == ALL_THREADS ? s->stop_thread : thread;
	reply_ok(s);
}

static void thread_alive(struct gdb_stub *s, const char *args)
{
	unsigned thread;

	if (!thread_id(s, &args, &thread) || thread == ALL_THREADS)
		return reply_error(s, ESRCH);
	reply_ok(s);
}

static void current_thread(struct gdb_stub *s, const char *args)
{
	char text[16];

	(void)args;
	snprintf(text, sizeof(text), "QC%x", s->thread_g + 1);
	reply(s, text);
}

static void first_threads(struct gdb_stub *s, const char *args)
{
	struct text t = { .len = 0 };

	(void)args;
	for (unsigned i = 0; i < s->target->n_threads; i++)
		add(&t, "%c%x", i ? ',' : 'm', i + 1);
	reply(s, t.at);
}

static void next_threads(struct gdb_stub *s, const char *args)
{
	(void)args;
	reply(s, "l");
}

static void thread_extra(struct gdb_stub *s, const char *args)
{
	struct text t = { .len = 0 };
	char info[64];
	unsigned thread;

	if (!thread_id(s, &args, &thread) || thread == ALL_THREADS)
		return reply_error(s, ESRCH);
	s->target->thread_info(s->arg, thread, info, sizeof(info));
	add_hex(&t, info, strlen(info));
	reply(s, t.at);
}

/* ---- the rest of the queries ---- */

static void supported(struct gdb_stub *s, const char *args)
{
	char text[128];

	(void)args;
	snprintf(text, sizeof(text),
		 "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+;"
		 "multiprocess-",
		 GDB_PACKET_MAX);
	reply(s, text);
}

static void no_ack(struct gdb_stub *s, const char *args)
{
	(void)args;
	reply_ok(s);
	s->no_ack_next = true;
}

/* qXfer:features:read:target.xml:OFFSET,LENGTH */
static void features(struct gdb_stub *s, const char *args)
{
	struct text t = { .len = 0 };
	size_t size = strlen(s->target->xml);
	uint64_t off, len;

	if (strncmp(args, "target.xml:", 11) != 0)
		return reply(s, "E00"); /* an annex that there is not (E.9) */
	args += 11;
	if (!range(&args, &off, &len) || *args)
		return reply(s, "E00");
	if (off > size)
		return reply_error(s, EINVAL);
	len = len < sizeof(t.at) / 2 ? len : sizeof(t.at) / 2;
	len = len < size - off ? len : size - off;
	add(&t, "%c%.*s", off + len < size ? 'm' : 'l', (int)len, s->target->xml + off);
	reply(s, t.at);
}

/* lldb's, in its own documentation of the protocol: watchpoints stop where gdb takes it for
 * granted. */
static void host_info(struct gdb_stub *s, const char *args)
{
	(void)args;
	reply(s, s->target->watch_after ? "endian:little;watchpoint_exceptions_received:after;"
					: "endian:little;watchpoint_exceptions_received:before;");
}

static void watchpoints(struct gdb_stub *s, const char *args)
{
	char text[16];

	(void)args;
	snprintf(text, sizeof(text), "num:%u;", (unsigned)DEBUG_POINTS_MAX);
	reply(s, text);
}

static void attached(struct gdb_stub *s, const char *args)
{
	(void)args;
	reply(s, "1"); /* to something that was there before: quitting gdb detaches */
}

static void monitor(struct gdb_stub *s, const char *args)
{
	char command[256], answer[4096] = "";
	struct text t = { .len = 0 };
	size_t n = strlen(args) / 2;

	if (n >= sizeof(command) || !bytes(&args, (uint8_t *)command, n) || *args)
		return reply_error(s, EINVAL);
	command[n] = 0;
	s->target->monitor(s->arg, command, answer, sizeof(answer));
	if (!*answer)
		return reply_ok(s);
	add_hex(&t, answer, strlen(answer));
	reply(s, t.at);
}

/* ---- packets in ---- */

/* By their beginnings; of those that begin alike, the longest first. */
static const struct {
	const char *name;
	void (*run)(struct gdb_stub *s, const char *args);
	bool while_running; /* needs no halted target */
} packets[] = {
	{ "QStartNoAckMode", no_ack, true },
	{ "qSupported", supported, true },
	{ "qXfer:features:read:", features, true },
	{ "qAttached", attached, true },
	{ "qHostInfo", host_info, true },
	{ "qWatchpointSupportInfo", watchpoints, true },
	{ "qThreadExtraInfo,", thread_extra, true },
	{ "qfThreadInfo", first_threads, true },
	{ "qsThreadInfo", next_threads, true },
	{ "qRcmd,", monitor, false },
	{ "qC", current_thread, true },
	{ "vCont?", v_cont_query, true },
	{ "vCont;", v_cont, false },
	{ "vKill", v_kill, true },
	{ "?", why, false },
	{ "c", go_on, false },
	{ "D", detach, true },
	{ "g", general_read, false },
	{ "G", general_write, false },
	{ "H", set_thread, true },
	{ "k", kill, true },
	{ "m", mem_read, false },
	{ "M", mem_write, false },
	{ "p", reg_read, false },
	{ "P", reg_write, false },
	{ "s", step, false },
	{ "T", thread_alive, true },
	{ "X", mem_write_binary, false },
	{ "z", remove_point, false },
	{ "Z", insert_point, false },
};

/* Is this only the beginning of a longer name? Packets of one letter have no separator (E.4). */
static bool goes_on(const char *packet, size_t n)
{
	return n > 1 && isalnum((unsigned char)packet[n - 1]) && isalnum((unsigned char)packet[n]);
}

static void packet(struct gdb_stub *s)
{
	s->in[s->len] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		size_t n = strlen(packets[i].name);
		if (strncmp(s->in, packets[i].name, n) != 0 || goes_on(s->in, n))
			continue;
		if (!s->halted && !packets[i].while_running)
			return reply_error(s, EBUSY);
		return packets[i].run(s, s->in + n);
	}
	reply(s, ""); /* not known here (E.1) */
}

static void acknowledge(struct gdb_stub *s, char c)
{
	if (!s->no_ack)
		s->target->send(s->arg, &c, 1);
}

static void outside(struct gdb_stub *s, uint8_t c)
{
	switch (c) {
	case '$':
		s->state = GDB_INSIDE;
		s->len = 0;
		s->sum = 0;
		s->too_long = false;
		break;
	case '-':
		if (!s->no_ack && s->last_len)
			s->target->send(s->arg, s->last, s->last_len);
		break;
	case 3: /* Ctrl-C */
		if (!s->halted)
			s->target->interrupt(s->arg);
		break;
	default: break; /* '+', and noise */
	}
}

static void checked(struct gdb_stub *s)
{
	s->state = GDB_OUTSIDE;
	if (s->sum != s->check || s->too_long)
		return acknowledge(s, '-');
	acknowledge(s, '+');
	packet(s);
	if (s->no_ack_next)
		s->no_ack = true;
}

void gdb_stub_input(struct gdb_stub *s, const void *data, size_t len)
{
	const uint8_t *in = data;

	for (size_t i = 0; i < len && !s->gone; i++) {
		int d = digit((char)in[i]);
		switch (s->state) {
		case GDB_OUTSIDE: outside(s, in[i]); break;
		case GDB_INSIDE:
			if (in[i] == '#') {
				s->state = GDB_CHECK_1;
				break;
			}
			/* Never within a packet: the end of the last one was lost. */
			if (in[i] == '$') {
				outside(s, in[i]);
				break;
			}
			s->sum = (uint8_t)(s->sum + in[i]);
			if (s->len < GDB_PACKET_MAX)
				s->in[s->len++] = (char)in[i];
			else
				s->too_long = true;
			break;
		case GDB_CHECK_1:
			if (d < 0) {
				s->state = GDB_OUTSIDE;
				break;
			}
			s->check = (uint8_t)(d << 4);
			s->state = GDB_CHECK_2;
			break;
		case GDB_CHECK_2:
			if (d < 0) {
				s->state = GDB_OUTSIDE;
				break;
			}
			s->check |= (uint8_t)d;
			checked(s);
			break;
		}
	}
}

/* ---- what the target says ---- */

void gdb_stub_init(struct gdb_stub *s, const struct gdb_target *target, void *arg)
{
	*s = (struct gdb_stub){ .target = target, .arg = arg, .halted = true };
	s->thread_c = ALL_THREADS;
	snprintf(s->stop, sizeof(s->stop), "T%02xthread:1;", GDB_SIGNAL_TRAP);
}

void gdb_stub_stopped(struct gdb_stub *s, unsigned thread, enum gdb_signal signal,
		      const struct debug_stop *stop)
{
	char watch[40] = "";

	if (stop && stop->why == DEBUG_WATCHPOINT)
		snprintf(watch, sizeof(watch), "%s:%llx;",
			 stop->access == DEBUG_READ    ? "rwatch"
			 : stop->access == DEBUG_WRITE ? "watch"
						       : "awatch",
			 (unsigned long long)stop->addr);
	snprintf(s->stop, sizeof(s->stop), "T%02xthread:%x;%s", (unsigned)signal, thread + 1,
		 watch);
	s->stop_thread = s->thread_g = thread;
	if (s->halted)
		return;
	s->halted = true;
	reply(s, s->stop);
}

void gdb_stub_exited(struct gdb_stub *s, uint8_t status)
{
	char text[4];

	snprintf(text, sizeof(text), "W%02x", status);
	if (!s->halted && !s->gone)
		reply(s, text);
	s->gone = true;
}
