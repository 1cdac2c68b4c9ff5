/* SPDX-License-Identifier: MIT */
/*
 * gdb's server: a socket on the control loop, and the machine as gdb_stub.h's target.
 *
 * The machine is halted from the start until the first client says "continue", and again whenever
 * a client comes. A client that detaches lets it run; one that vanishes leaves it as it is, so that
 * nothing is lost to a bad connection. Breakpoints belong to the client: they go with it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "machine/debug.h"
#include "machine/gdb_stub.h"
#include "machine/vm.h"
#include "machine/walk.h"

enum { OUT_MAX = 1 << 20 };

struct gdb {
	struct hako_vm *vm;
	char *path;                          /* of a socket that is a file, or NULL */
	struct loop_source listener, client; /* fd -1: none */
	struct gdb_stub stub;
	struct gdb_target target;
	struct debug_reg *regs;
	char *xml;
	struct debug_point points[DEBUG_POINTS_MAX];
	unsigned types[DEBUG_POINTS_MAX]; /* of points[] */
	size_t n_points;
	bool points_changed;

	/* What the client has not taken yet. */
	char *out;
	size_t out_len;
	bool lost; /* it is to be dropped */
};

static struct vm_cpu *cpu_of(struct gdb *g, unsigned thread)
{
	return &g->vm->cpus[thread];
}

/* ---- the target description ---- */

/* Types of registers that gdb does not have by itself, by the feature that needs them. */
static const struct {
	const char *feature, *xml;
} types[] = {
	{ "org.gnu.gdb.aarch64.fpu",
	  "<vector id=\"f64x2\" type=\"ieee_double\" count=\"2\"/>"
	  "<vector id=\"f32x4\" type=\"ieee_single\" count=\"4\"/>"
	  "<vector id=\"u64x2\" type=\"uint64\" count=\"2\"/>"
	  "<vector id=\"u32x4\" type=\"uint32\" count=\"4\"/>"
	  "<vector id=\"u16x8\" type=\"uint16\" count=\"8\"/>"
	  "<vector id=\"u8x16\" type=\"uint8\" count=\"16\"/>"
	  "<union id=\"vector\">"
	  "<field name=\"f64\" type=\"f64x2\"/><field name=\"f32\" type=\"f32x4\"/>"
	  "<field name=\"u64\" type=\"u64x2\"/><field name=\"u32\" type=\"u32x4\"/>"
	  "<field name=\"u16\" type=\"u16x8\"/><field name=\"u8\" type=\"u8x16\"/>"
	  "<field name=\"u128\" type=\"uint128\"/></union>" },
	/* RFLAGS: SDM 1, 3.4.3 */
	{ "org.gnu.gdb.i386.core",
	  "<flags id=\"i386_eflags\" size=\"4\">"
	  "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
	  "<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
	  "<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
	  "<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
	  "<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/>"
	  "<field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>"
	  "<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"VIF\" start=\"19\" "
	  "end=\"19\"/>"
	  "<field name=\"VIP\" start=\"20\" end=\"20\"/><field name=\"ID\" start=\"21\" "
	  "end=\"21\"/>"
	  "</flags>" },
	/* MXCSR: SDM 1, 10.2.3. The vectors have the names that gdb gives its own. */
	{ "org.gnu.gdb.i386.sse",
	  "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
	  "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
	  "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
	  "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
	  "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
	  "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
	  "<union id=\"vec128\">"
	  "<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
	  "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
	  "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
	  "<field name=\"uint128\" type=\"uint128\"/></union>"
	  "<flags id=\"i386_mxcsr\" size=\"4\">"
	  "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
	  "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
	  "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
	  "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
	  "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
	  "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
	  "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/>"
	  "</flags>" },
};

/* What lldb calls the registers that any CPU has; gdb knows them by name. */
static const char *generic(const char *name)
{
	static const char *const names[][2] = {
		{ "pc", "pc" },  { "sp", "sp" },  { "fp", "fp" },       { "x29", "fp" },
		{ "ra", "ra" },  { "x30", "ra" }, { "cpsr", "flags" },  { "rip", "pc" },
		{ "rsp", "sp" }, { "rbp", "fp" }, { "eflags", "flags" }
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i][0], name) == 0)
			return names[i][1];
	return NULL;
}

static void describe(struct gdb *g, FILE *f)
{
	static const struct {
		enum kernel_arch arch;
		const char *name, *system;
	} archs[] = {
		{ KERNEL_ARM64, "aarch64", "system" },
		{ KERNEL_RV64, "riscv:rv64", "csr" },
		{ KERNEL_RV32, "riscv:rv32", "csr" },
		{ KERNEL_X86_64, "i386:x86-64", "system" },
	};
	const char *feature = NULL, *system = "system";

	fprintf(f, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
		   "<target version=\"1.0\">");
	for (size_t i = 0; i < ARRAY_SIZE(archs); i++)
		if (archs[i].arch == g->vm->kernel.arch) {
			fprintf(f, "<architecture>%s</architecture>", archs[i].name);
			system = archs[i].system;
		}
	for (size_t i = 0; i < g->target.n_regs; i++) {
		const struct debug_reg *r = &g->regs[i];
		if (!feature || strcmp(feature, r->feature) != 0) {
			fprintf(f, "%s<feature name=\"%s\">", feature ? "</feature>" : "",
				r->feature);
			feature = r->feature;
			for (size_t k = 0; k < ARRAY_SIZE(types); k++)
				if (strcmp(types[k].feature, feature) == 0)
					fputs(types[k].xml, f);
		}
		fprintf(f, "<reg name=\"%s\" bitsize=\"%u\" regnum=\"%zu\"", r->name, r->bits, i);
		if (r->type)
			fprintf(f, " type=\"%s\"", r->type);
		if (generic(r->name))
			fprintf(f, " generic=\"%s\"", generic(r->name));
		/* Calls of functions do not change these, and writing them back might. */
		if (r->system)
			fprintf(f, " group=\"%s\" save-restore=\"no\"", system);
		fprintf(f, "/>");
	}
	fprintf(f, "</feature></target>");
}

static int learn_regs(struct gdb *g, struct err *err)
{
	const struct debug_ops *ops = g->vm->engine_ops->debug;
	struct debug_reg reg;
	size_t n = 0, size;
	FILE *f;

	while (ops->reg(g->vm->engine, n, &reg))
		n++;
	g->regs = calloc(n, sizeof(*g->regs));
	f = g->regs ? open_memstream(&g->xml, &size) : NULL;
	if (!f)
		return err_set(err, -ENOMEM, "no memory for gdb's server");
	for (size_t i = 0; i < n; i++)
		ops->reg(g->vm->engine, i, &g->regs[i]);
	g->target.n_regs = n;
	/* Those of the first feature; the others gdb asks for one by one. */
	while (g->target.n_general < n &&
	       strcmp(g->regs[g->target.n_general].feature, g->regs[0].feature) == 0)
		g->target.n_general++;
	describe(g, f);
	if (fclose(f) || !g->xml)
		return err_set(err, -ENOMEM, "no memory for gdb's server");
	g->target.xml = g->xml;
	return 0;
}

/* ---- the target ---- */

static size_t reg_size(void *arg, size_t reg)
{
	return ((struct gdb *)arg)->regs[reg].bits / 8;
}

static bool reg_get(void *arg, unsigned thread, size_t reg, uint8_t *val, size_t *size)
{
	struct gdb *g = arg;

	*size = reg_size(g, reg);
	return g->vm->engine_ops->debug->reg_get(cpu_of(g, thread)->vcpu, reg, val);
}

static bool reg_set(void *arg, unsigned thread, size_t reg, const uint8_t *val)
{
	struct gdb *g = arg;

	return g->vm->engine_ops->debug->reg_set(cpu_of(g, thread)->vcpu, reg, val);
}

/* Bytes at virtual addresses, page by page. */
static bool mem_move(struct gdb *g, unsigned thread, uint64_t va, void *buf, size_t len, bool write)
{
	const struct debug_ops *ops = g->vm->engine_ops->debug;
	struct vm_cpu *cpu = cpu_of(g, thread);
	const struct walk_access where = { .level = debug_level(cpu) };

	for (size_t done = 0, n; done < len; done += n) {
		struct walk_access a = where;
		struct walk w;
		uint8_t *at = (uint8_t *)buf + done;

		a.va = va + done;
		n = GMEM_PAGE_SIZE - (size_t)(a.va % GMEM_PAGE_SIZE);
		n = n < len - done ? n : len - done;
		walk_va(cpu, &a, &w);
		/* RAM only: a look at a device's registers would change them. */
		if (!w.ok || (!write       ? gmem_read(g->vm->mem, w.pa, at, n)
			      : ops->write ? ops->write(g->vm->engine, w.pa, at, n)
					   : gmem_write(g->vm->mem, w.pa, at, n)))
			return false;
	}
	return true;
}

static bool mem_read(void *arg, unsigned thread, uint64_t va, void *buf, size_t len)
{
	return mem_move(arg, thread, va, buf, len, false);
}

static bool mem_write(void *arg, unsigned thread, uint64_t va, const void *buf, size_t len)
{
	return mem_move(arg, thread, va, (void *)(uintptr_t)buf, len, true);
}

static void push_points(struct gdb *g)
{
	if (g->points_changed)
		g->vm->engine_ops->debug->set_points(g->vm->engine, g->points, g->n_points);
	g->points_changed = false;
}

/* They are not in memory while somebody looks at it. */
static void pull_points(struct gdb *g)
{
	if (!g->vm->engine_ops->debug->writes_memory || g->points_changed)
		return;
	g->vm->engine_ops->debug->set_points(g->vm->engine, NULL, 0);
	g->points_changed = true;
}

/* Can the engine have the last point, too? If not, it goes again. */
static int try_points(struct gdb *g)
{
	const struct debug_ops *ops = g->vm->engine_ops->debug;
	struct debug_point *p = &g->points[g->n_points - 1];
	struct vm_cpu *cpu = cpu_of(g, g->stub.thread_g);
	struct walk_access a = { .va = p->va, .level = debug_level(cpu) };
	struct walk w;

	walk_va(cpu, &a, &w);
	p->mapped = w.ok;
	p->pa = w.pa;
	int res = ops->set_points(g->vm->engine, g->points, g->n_points);
	ops->set_points(g->vm->engine, NULL, 0);
	if (res)
		g->n_points--;
	return res;
}

static int point(void *arg, bool add, unsigned type, const struct debug_point *p)
{
	struct gdb *g = arg;
	size_t i = 0;

	while (i < g->n_points && (g->points[i].va != p->va || g->types[i] != type ||
				   (p->access != DEBUG_EXEC && g->points[i].len != p->len)))
		i++;
	if (add == (i < g->n_points))
		return 0;
	if (add && g->n_points == DEBUG_POINTS_MAX)
		return -ENOSPC;
	if (add) {
		g->types[g->n_points] = type;
		g->points[g->n_points++] = *p;
	} else {
		g->types[i] = g->types[--g->n_points];
		g->points[i] = g->points[g->n_points];
	}
	/* The engine is told when the machine runs: gdb takes all away at each stop. */
	g->points_changed = true;
	if (add && g->vm->engine_ops->debug->writes_memory)
		return try_points(g);
	return 0;
}

/* Let them run on; all are parked. */
static void go_on(struct gdb *g)
{
	struct hako_vm *vm = g->vm;
	bool pending = false;

	for (unsigned i = 0; i < vm->n_cpus; i++)
		pending |= vm->cpus[i].stopped;
	vm_resume(vm);
	/* Somebody stopped together with the one that was told, and all are held until somebody
	 * looks: now. */
	if (pending)
		notifier_set(&vm->act);
}

/* The same without a debugger. */
static void go_all(struct gdb *g)
{
	struct hako_vm *vm = g->vm;

	g->n_points = 0;
	g->points_changed = true;
	push_points(g);
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		pthread_mutex_lock(&vm->lock);
		vm->cpus[i].frozen = false;
		pthread_mutex_unlock(&vm->lock);
		vm->engine_ops->debug->step(vm->cpus[i].vcpu, false, 0);
	}
	go_on(g);
}

/* For engines that want to know it; arm64's are of this size. */
static uint32_t insn_at_pc(struct gdb *g, unsigned thread)
{
	le32_t insn = { 0 };

	if (!g->vm->engine_ops->debug->writes_memory || g->vm->kernel.arch != KERNEL_ARM64 ||
	    !mem_move(g, thread, debug_reg(cpu_of(g, thread), "pc"), &insn, sizeof(insn), false))
		return 0;
	return le32_get(insn);
}

static void resume(void *arg, const enum gdb_action *actions)
{
	struct gdb *g = arg;
	struct hako_vm *vm = g->vm;

	push_points(g);
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		pthread_mutex_lock(&vm->lock);
		vm->cpus[i].frozen = actions[i] == GDB_STAY;
		pthread_mutex_unlock(&vm->lock);
		bool one = actions[i] == GDB_STEP;
		vm->engine_ops->debug->step(vm->cpus[i].vcpu, one, one ? insn_at_pc(g, i) : 0);
	}
	go_on(g);
}

static void halt(struct gdb *g)
{
	vm_pause(g->vm);
	for (unsigned i = 0; i < g->vm->n_cpus; i++)
		g->vm->engine_ops->debug->step(g->vm->cpus[i].vcpu, false, 0);
	pull_points(g);
}

static void interrupt(void *arg)
{
	struct gdb *g = arg;
	unsigned thread = 0;

	vm_pause(g->vm);
	/* One of them may have met a breakpoint at this moment: that is told then. */
	debug_look(g->vm);
	if (g->stub.halted)
		return;
	halt(g);
	while (thread + 1 < g->vm->n_cpus && cpu_of(g, thread)->state == CPU_OFF)
		thread++;
	gdb_stub_stopped(&g->stub, thread, GDB_SIGNAL_INT, NULL);
}

static void thread_info(void *arg, unsigned thread, char *text, size_t size)
{
	struct gdb *g = arg;
	struct vm_cpu *cpu = cpu_of(g, thread);

	pthread_mutex_lock(&g->vm->lock);
	bool off = cpu->state == CPU_OFF;
	pthread_mutex_unlock(&g->vm->lock);
	snprintf(text, size, "%s %u%s", g->vm->board_ops == &board_riscv ? "hart" : "CPU", thread,
		 off ? ", off" : "");
}

static void detach(void *arg)
{
	struct gdb *g = arg;

	g->lost = true;
	if (!g->stub.halted)
		vm_pause(g->vm);
	go_all(g);
}

static void kill_machine(void *arg)
{
	struct gdb *g = arg;

	g->lost = true;
	hako_vm_stop(g->vm);
}

/* ---- monitor ---- */

__attribute__((format(printf, 3, 4))) static void say(char **text, size_t *size, const char *fmt,
						      ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(*text, *size, fmt, args);
	va_end(args);
	size_t used = n < 0 ? 0 : (size_t)n < *size ? (size_t)n : *size - 1;
	*text += used;
	*size -= used;
}

static void monitor_walk(struct gdb *g, const char *arg, char *answer, size_t size)
{
	struct vm_cpu *cpu = cpu_of(g, g->stub.thread_g);
	struct walk_access a = { .level = debug_level(cpu) };
	struct walk w;
	char *end;

	a.va = strtoull(arg, &end, 0);
	if (end == arg || *end)
		return say(&answer, &size, "walk takes an address, such as 0x80000000\n");
	walk_va(cpu, &a, &w);
	say(&answer, &size, "0x%llx: %s\n", ull(a.va), w.how);
	for (unsigned i = 0; i < w.n; i++)
		say(&answer, &size, "  level %u, entry at 0x%llx: 0x%016llx, %s\n",
		    w.steps[i].level, ull(w.steps[i].at), ull(w.steps[i].entry),
		    w.steps[i].meaning);
	if (w.ok)
		say(&answer, &size, "physical address 0x%llx\n", ull(w.pa));
	else
		say(&answer, &size, "no translation: %s\n", w.why);
}

static void monitor(void *arg, const char *command, char *answer, size_t size)
{
	struct gdb *g = arg;
	struct err err = ERR_INIT;

	if (strcmp(command, "reset") == 0) {
		if (vm_power_cycle(g->vm, &err))
			say(&answer, &size, "the reset failed: %s\n", err.msg);
		else
			say(&answer, &size,
			    "reset; 'maintenance flush register-cache' makes gdb look again\n");
	} else if (strncmp(command, "walk ", 5) == 0) {
		monitor_walk(g, command + 5, answer, size);
	} else {
		say(&answer, &size,
		    "monitor reset      begin again, as after a power cut; stays halted\n"
		    "monitor walk ADDR  translate a virtual address, step by step\n");
	}
}

/* ---- the client ---- */

static void drop(struct gdb *g)
{
	if (g->client.fd < 0)
		return;
	loop_del(g->vm->control, &g->client);
	close(g->client.fd);
	g->client.fd = -1;
	g->out_len = 0;
	/* Nobody is there to be told of these; the machine halts or runs as before. */
	if (!g->stub.gone) {
		log_msg(&g->vm->log, LOG_TRACE, "gdb", "the connection is lost; the guest %s",
			g->stub.halted ? "stays halted until gdb comes back" : "runs on");
		if (!g->stub.halted)
			vm_pause(g->vm);
		g->n_points = 0;
		g->points_changed = true;
		push_points(g);
		if (!g->stub.halted)
			go_all(g);
	}
}

/* What is left over goes later. */
static void flush(struct gdb *g)
{
	ssize_t n = 0;

	while (g->out_len && (n = send(g->client.fd, g->out, g->out_len, MSG_NOSIGNAL)) > 0) {
		g->out_len -= (size_t)n;
		memmove(g->out, g->out + n, g->out_len);
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		g->lost = true;
	loop_mod(g->vm->control, &g->client, g->out_len ? LOOP_IN | LOOP_OUT : LOOP_IN);
}

static void send_bytes(void *arg, const void *bytes, size_t len)
{
	struct gdb *g = arg;

	if (g->client.fd < 0)
		return;
	if (len > OUT_MAX - g->out_len) {
		g->lost = true; /* it asks and does not listen */
		return;
	}
	memcpy(g->out + g->out_len, bytes, len);
	g->out_len += len;
	flush(g);
}

static void client_ready(struct loop_source *source, uint32_t events)
{
	struct gdb *g = container_of(source, struct gdb, client);
	char buf[4096];

	if (events & LOOP_OUT)
		flush(g);
	if (events & (LOOP_IN | LOOP_HUP)) {
		ssize_t n = recv(g->client.fd, buf, sizeof(buf), 0);
		if (n > 0)
			gdb_stub_input(&g->stub, buf, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			g->lost = true;
	}
	if (g->lost)
		drop(g);
}

static void client_comes(struct loop_source *source, uint32_t events)
{
	struct gdb *g = container_of(source, struct gdb, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	const int on = 1;

	(void)events;
	if (fd < 0) {
		int code = errno;

		if (code == EAGAIN || code == EINTR || code == ECONNABORTED)
			return;
		/* Who waits at the door would be told of again and again. */
		log_msg(&g->vm->log, LOG_ERROR, "gdb",
			"no connection can be taken, nor will be: %s%s", strerror(code),
			code == EMFILE ? "; raise the limit of open files (ulimit -n)" : "");
		loop_del(g->vm->control, source);
		close(source->fd);
		source->fd = -1;
		return;
	}
	if (g->client.fd >= 0) { /* one at a time */
		close(fd);
		return;
	}
	/* Packets are small, and each waits for the one before. Fails on a file's socket. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	g->client = (struct loop_source){ .fd = fd, .events = LOOP_IN, .ready = client_ready };
	if (loop_add(g->vm->control, &g->client)) {
		close(fd);
		g->client.fd = -1;
		return;
	}
	g->lost = false;
	halt(g);
	for (unsigned i = 0; i < g->vm->n_cpus; i++)
		g->vm->cpus[i].stopped = false;
	gdb_stub_init(&g->stub, &g->target, g);
}

bool gdb_stopped(struct gdb *g, struct vm_cpu *cpu, const struct debug_stop *stop)
{
	if (g->client.fd < 0 || g->stub.gone)
		return false;
	halt(g);
	gdb_stub_stopped(&g->stub, cpu->index,
			 stop->why == DEBUG_TRAPPED ? GDB_SIGNAL_SEGV : GDB_SIGNAL_TRAP, stop);
	if (g->lost)
		drop(g);
	return true;
}

void gdb_ended(struct gdb *g, uint8_t status)
{
	if (g->client.fd >= 0)
		gdb_stub_exited(&g->stub, status);
}

/* ---- life ---- */

static bool is_path(const char *where)
{
	return strchr(where, '/');
}

int gdb_check(const char *where, struct err *err)
{
	char *end = NULL;
	long port = 0;

	if (is_path(where)) {
		if (strlen(where) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
			return err_set(err, -EINVAL, "the socket's path '%s' is too long", where);
		return 0;
	}
	if (*where >= '0' && *where <= '9')
		port = strtol(where, &end, 10);
	if (!end || *end || port < 1 || port > 65535)
		return err_set(err, -EINVAL,
			       "gdb cannot be waited for at '%s': that is a port from 1 to 65535, "
			       "or the path of a socket, with a slash in it",
			       where);
	return 0;
}

/* A socket that a run before has left behind, and nobody listens at, may go. */
static void remove_stale(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return;
	if (lstat(addr->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(fd, (const struct sockaddr *)(const void *)addr, sizeof(*addr)) < 0 &&
	    errno == ECONNREFUSED)
		unlink(addr->sun_path);
	close(fd);
}

static int listen_at(struct gdb *g, const char *where, struct err *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET };
	bool path = is_path(where);
	const int on = 1;
	int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int res = -1;

	if (path) {
		memcpy(un.sun_path, where, strlen(where) + 1);
		remove_stale(&un);
	} else {
		in.sin_port = htons((uint16_t)strtol(where, NULL, 10));
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (fd >= 0)
			(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	}
	if (fd >= 0)
		res = path ? bind(fd, (struct sockaddr *)&un, sizeof(un))
			   : bind(fd, (struct sockaddr *)&in, sizeof(in));
	if (!res && path && !(g->path = strdup(where)))
		res = -1, errno = ENOMEM;
	if (!res)
		res = listen(fd, 1);
	if (res) {
		int code = errno;
		if (fd >= 0)
			close(fd);
		return err_set(err, -code,
			       "gdb cannot be waited for at %s%s: %s; choose another "
			       "with --gdb=%s",
			       path ? "" : "port ", where, strerror(code), path ? "PATH" : "PORT");
	}
	g->listener = (struct loop_source){ .fd = fd, .events = LOOP_IN, .ready = client_comes };
	res = loop_add(g->vm->control, &g->listener);
	return res ? err_set(err, res, "the event loop takes no sources") : 0;
}

int gdb_create(struct gdb **out, struct hako_vm *vm, const char *where, struct err *err)
{
	int res = debug_check(vm, DEBUG_GDB, err);
	if (res)
		return res;
	struct gdb *g = calloc(1, sizeof(*g));
	if (!g || !(g->out = malloc(OUT_MAX))) {
		free(g);
		return err_set(err, -ENOMEM, "no memory for gdb's server");
	}
	g->vm = vm;
	g->listener.fd = g->client.fd = -1;
	g->target = (struct gdb_target){
		.n_threads = vm->n_cpus,
		.watch_after = vm->kernel.arch == KERNEL_X86_64,
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
		.kill = kill_machine,
		.send = send_bytes,
	};
	res = learn_regs(g, err);
	if (!res)
		res = listen_at(g, where, err);
	if (res) {
		gdb_destroy(g);
		return res;
	}
	/* No vCPU runs yet; none will until a client says so. */
	vm->hold = vm->paused = true;
	vm_time_stop(vm);
	log_msg(&vm->log, LOG_TRACE, "gdb",
		"the guest waits at its first instruction; connect with 'target remote %s%s'",
		is_path(where) ? "" : ":", where);
	*out = g;
	return 0;
}

void gdb_destroy(struct gdb *g)
{
	if (!g)
		return;
	if (g->client.fd >= 0) {
		loop_del(g->vm->control, &g->client);
		close(g->client.fd);
	}
	if (g->listener.fd >= 0) {
		loop_del(g->vm->control, &g->listener);
		close(g->listener.fd);
	}
	if (g->path)
		unlink(g->path);
	free(g->path);
	free(g->regs);
	free(g->xml);
	free(g->out);
	free(g);
}
