/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM: the VM, its memory, the loop of a vCPU, kicks, doorbells and interrupt lines.
 *
 * A kick has to get a thread out of KVM_RUN, whether it is in there, on its way in or on its way
 * out. The kicker first sets run->immediate_exit, which makes KVM_RUN return at once, and then
 * sends the thread a signal, which makes a KVM_RUN return that looked before. The signal is blocked
 * in the thread; only within KVM_RUN it is not (KVM_SET_SIGNAL_MASK), so no handler ever runs, and
 * one that comes while the thread is elsewhere stays pending and makes the next KVM_RUN return.
 * vcpu_run() takes both back, in the order signal, immediate_exit: a kick in between leaves its
 * signal behind, and the next vcpu_run() returns once for nothing, which callers must expect
 * anyway. KVM_RUN completes the device access of the exit before, also when it returns at once, so
 * a kicked vCPU's registers are always those between two instructions.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "host/loop.h"
#include "host/notifier.h"
#include "mem/gmem.h"

#define KVM_PATH "/dev/kvm"

/* ---- asking the kernel ---- */

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int res;

	do {
		res = ioctl(fd, request, arg);
	} while (res < 0 && errno == EINTR);
	return res < 0 ? -errno : res;
}

int kvm_do(int fd, unsigned long request, void *arg, const char *what, struct err *err)
{
	int res = kvm_ioctl(fd, request, arg);

	if (res < 0)
		err_set(err, res, "KVM cannot %s: %s%s", what, strerror(-res),
			res == -EMFILE ? "; raise the limit of open files (ulimit -n)" : "");
	return res;
}

/* For the requests whose argument is a number. */
static void *number(unsigned long n)
{
	return (void *)n;
}

int kvm_cap(const struct engine *engine, int cap)
{
	int res = kvm_ioctl(engine->vm, KVM_CHECK_EXTENSION, number((unsigned long)cap));

	return res < 0 ? 0 : res;
}

static const struct kvm_need needs[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "2.6.25" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "2.6.32" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "4.12" },
	{ 0, NULL, NULL },
};

static int check_needs(int kvm, const struct kvm_need *need, struct err *err)
{
	for (; need->name; need++)
		if (kvm_ioctl(kvm, KVM_CHECK_EXTENSION, number((unsigned long)need->cap)) <= 0)
			return err_set(
				err, -ENODEV,
				"the host's KVM has no %s, which Linux has since %s unless it "
				"is built without; another kernel on the host will do",
				need->name, need->since);
	return 0;
}

static int open_failed(const char *path, int code, struct err *err)
{
	enum { GROUP_RW = S_IRGRP | S_IWGRP };
	struct stat st;

	switch (code) {
	case -ENOENT:
		return err_set(err, code,
			       "%s does not exist: the host's kernel has not found hardware "
			       "virtualization; load its KVM module (as root: modprobe kvm-intel "
			       "or kvm-amd, on other CPUs kvm), switch virtualization on in the "
			       "firmware's set-up, or, "
			       "where the host is itself a virtual machine, nested virtualization "
			       "in the machine that runs it",
			       path);
	case -EACCES:
	case -EPERM:
		/* In containers, the device is often its owner's alone. */
		if (stat(path, &st) == 0 && (st.st_mode & GROUP_RW) != GROUP_RW)
			return err_set(err, code,
				       "you may not open %s, and nor may its group; give it to a "
				       "group that you are a member of (as root: chgrp kvm %s; "
				       "chmod g+rw %s; usermod -aG kvm YOU), and log in again",
				       path, path, path);
		return err_set(err, code,
			       "you may not open %s; become a member of the group that owns it (as "
			       "root: usermod -aG kvm YOU) and log in again",
			       path);
	default: return err_set(err, code, "%s does not open: %s", path, strerror(-code));
	}
}

int kvm_open(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int res = fd < 0 ? open_failed(path, -errno, err)
			 : kvm_ioctl(fd, KVM_GET_API_VERSION, number(0));

	if (fd < 0)
		return res;
	if (res < 0)
		err_set(err, res, "%s is not KVM's device: %s", path, strerror(-res));
	else if (res != KVM_API_VERSION)
		res = err_set(err, -ENODEV,
			      "the KVM behind %s speaks version %d of its interface, not %d, which "
			      "is Linux's since 2.6.22",
			      path, res, KVM_API_VERSION);
	else
		res = check_needs(fd, needs, err);
	if (!res)
		res = check_needs(fd, kvm_arch_needs, err);
	if (res) {
		close(fd);
		return res;
	}
	return fd;
}

static int create_vm(int kvm, struct err *err)
{
	int res = kvm_ioctl(kvm, KVM_CREATE_VM, number(kvm_arch_vm_type(kvm)));

	if (res < 0)
		err_set(err, res, "KVM cannot create a virtual machine: %s%s", strerror(-res),
			res == -EBUSY    ? "; another program has the CPU's virtualization, such "
					   "as VirtualBox: stop its machines"
			: res == -EMFILE ? "; raise the limit of open files (ulimit -n)"
			: res == -ENOMEM ? "; free some of the host's memory"
					 : "; the host's kernel log may tell more (dmesg)");
	return res;
}

static int check_arch(enum guest_arch arch, struct err *err)
{
	if (arch == kvm_arch_guest)
		return 0;
	return err_set(err, -ENOTSUP, "KVM on this host runs %s guests and no others",
		       kvm_arch_name);
}

static int kvm_probe(enum guest_arch arch, struct err *err)
{
	int kvm, vm, res = check_arch(arch, err);

	if (res)
		return res;
	kvm = kvm_open(KVM_PATH, err);
	if (kvm < 0)
		return kvm;
	/* That the device opens does not mean that the CPU is free, or can do it. */
	vm = create_vm(kvm, err);
	close(kvm);
	if (vm < 0)
		return vm;
	close(vm);
	return 0;
}

/* ---- doorbells ---- */

static int ioeventfd(struct engine *e, uint64_t addr, uint32_t match, struct notifier *n,
		     uint32_t flags)
{
	struct kvm_ioeventfd arg = {
		.datamatch = match,
		.addr = addr,
		.len = 4,
		.fd = n->wfd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH | flags,
	};

	return kvm_ioctl(e->vm, KVM_IOEVENTFD, &arg);
}

static int doorbell_add(void *arg, uint64_t addr, uint32_t match, struct notifier *n)
{
	return ioeventfd(arg, addr, match, n, 0);
}

/* Once it is back, the kernel does not touch the notifier any more. */
static void doorbell_del(void *arg, uint64_t addr, uint32_t match, struct notifier *n)
{
	ioeventfd(arg, addr, match, n, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

/* ---- mirrors: memory that the guest only reads, and whose writes come back to hako ---- */

static int set_mirror(struct engine *e, unsigned i, uint64_t addr, const void *memory)
{
	struct kvm_userspace_memory_region slot = {
		.slot = GMEM_REGION_MAX + i, /* behind those of RAM */
		.flags = memory ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = addr,
		.memory_size = memory ? BUS_MIRROR_SIZE : 0, /* 0 takes it away */
		.userspace_addr = (uintptr_t)memory,
	};

	return kvm_ioctl(e->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static int mirror_add(void *arg, uint64_t addr, const void *memory)
{
	struct engine *e = arg;
	int res = -ENOSPC;

	pthread_mutex_lock(&e->mirrors_lock);
	for (unsigned i = 0; i < KVM_MIRRORS_MAX; i++) {
		if (e->mirrors[i])
			continue;
		res = set_mirror(e, i, addr, memory);
		if (res >= 0)
			e->mirrors[i] = addr;
		break;
	}
	pthread_mutex_unlock(&e->mirrors_lock);
	return res;
}

static void mirror_del(void *arg, uint64_t addr)
{
	struct engine *e = arg;

	pthread_mutex_lock(&e->mirrors_lock);
	for (unsigned i = 0; i < KVM_MIRRORS_MAX; i++) {
		if (e->mirrors[i] != addr)
			continue;
		set_mirror(e, i, addr, NULL);
		e->mirrors[i] = 0;
	}
	pthread_mutex_unlock(&e->mirrors_lock);
}

static void mirror_written(void *arg, const void *at, size_t len)
{
	(void)arg;
	kvm_arch_written(at, len);
}

static const struct bus_engine_ops bus_ops = {
	.doorbell_add = doorbell_add,
	.doorbell_del = doorbell_del,
	.mirror_add = mirror_add,
	.mirror_del = mirror_del,
	.mirror_written = mirror_written,
};
static const struct bus_engine_ops bus_ops_no_mirror = {
	.doorbell_add = doorbell_add,
	.doorbell_del = doorbell_del,
};

/* ---- the VM ---- */

static void kvm_destroy(struct engine *e);
static int attach_lines(struct engine *e, struct err *err);

static int kvm_create(struct engine **out, const struct engine_config *cfg, struct err *err)
{
	struct engine *e;
	int max, res = check_arch(cfg->arch, err);

	if (res)
		return res;
	e = calloc(1, sizeof(*e));
	if (!e)
		return err_set(err, -ENOMEM, "no memory for the engine KVM");
	e->cfg = *cfg;
	e->kvm = e->vm = -1;
	pthread_mutex_init(&e->mirrors_lock, NULL);
	kvm_debug_init(&e->debug);
	res = e->kvm = kvm_open(KVM_PATH, err);
	if (res >= 0)
		res = e->vm = create_vm(e->kvm, err);
	if (res >= 0)
		res = kvm_do(e->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "tell the size of a CPU", err);
	if (res >= 0) {
		e->run_size = (size_t)res;
		max = kvm_cap(e, KVM_CAP_MAX_VCPUS);
		if (max && cfg->n_vcpus > (unsigned)max)
			res = err_set(err, -EINVAL,
				      "KVM on this host gives a machine up to %d CPUs, not %u; ask "
				      "for fewer, or take the engine soft",
				      max, cfg->n_vcpus);
	}
	if (res >= 0)
		res = kvm_arch_create(e, err);
	if (res < 0) {
		kvm_destroy(e);
		return res;
	}
	bus_set_engine(cfg->mmio, kvm_cap(e, KVM_CAP_READONLY_MEM) ? &bus_ops : &bus_ops_no_mirror,
		       e);
	*out = e;
	return 0;
}

/* A region's number is its slot's. With another flag only, KVM changes a slot in place. */
static int set_ram(struct engine *e, size_t region, uint32_t flags)
{
	const struct gmem_region *r = gmem_region(e->cfg.mem, region);
	struct kvm_userspace_memory_region slot = {
		.slot = (uint32_t)region,
		.flags = flags,
		.guest_phys_addr = r->base,
		.memory_size = r->size,
		.userspace_addr = (uintptr_t)r->host,
	};

	return kvm_ioctl(e->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static int kvm_map(struct engine *e, struct err *err)
{
	unsigned bits = kvm_arch_address_bits(e);
	size_t n = gmem_count(e->cfg.mem);

	for (; e->n_slots < n; e->n_slots++) {
		const struct gmem_region *r = gmem_region(e->cfg.mem, e->n_slots);
		int res;

		if (bits < 64 && (r->base + r->size - 1) >> bits)
			return err_set(err, -EINVAL,
				       "the guest's memory would end at %#llx, and with KVM "
				       "addresses have %u bits on this host; give it less memory",
				       (unsigned long long)(r->base + r->size), bits);
		res = set_ram(e, e->n_slots, 0);
		if (res < 0)
			return err_set(err, res,
				       "KVM does not take %llu MiB of guest memory at %#llx: %s; "
				       "give it less memory",
				       (unsigned long long)(r->size >> 20),
				       (unsigned long long)r->base, strerror(-res));
	}
	return attach_lines(e, err);
}

/* ---- the dirty log ---- */

static int kvm_dirty_log(struct engine *e, size_t region, bool on, struct err *err)
{
	int res = set_ram(e, region, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);

	return res >= 0 ? 0
			: err_set(err, res, "KVM cannot log writes to the guest's memory: %s",
				  strerror(-res));
}

/* Without KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, fetching protects all written pages again, at once. */
static int kvm_dirty_fetch(struct engine *e, size_t region, uint64_t *dirty, struct err *err)
{
	struct kvm_dirty_log log = { .slot = (uint32_t)region, .dirty_bitmap = dirty };
	int res = kvm_do(e->vm, KVM_GET_DIRTY_LOG, &log, "tell what the guest has written", err);

	return res < 0 ? res : 0;
}

/* ---- interrupt lines ---- */

/*
 * An edge line is an irqfd. Where it is the guest that says whether an interrupt is an edge or a
 * level (kvm_arch_trigger_is_guests), a guest that takes it as a level has a level: the irqfd has
 * KVM_IRQFD_FLAG_RESAMPLE, so a raised line stays up until the guest ends the interrupt, whereupon
 * KVM sets `ended`, and a line that is to be up is raised again. One that goes down before the end
 * is lowered by KVM_IRQ_LINE, which for an edge is for nothing; KVM does not tell which it is, but
 * it never tells of an edge's end. So a line that has gone down EDGE_SURE times without a word from
 * KVM is taken for an edge, and not lowered any more. Were that wrong, because the guest has never
 * taken the interrupt so far, then the first that it takes has no reason any more, once.
 */
enum { EDGE_SURE = 64 };

struct kvm_line {
	struct kvm_line *next;
	struct engine *engine;
	unsigned pin;
	struct notifier event; /* edge: what KVM watches */

	/* Where the guest may take it as a level. */
	struct notifier ended; /* set by KVM, watched by the engine's loop */
	struct loop_source source;
	pthread_mutex_t lock;
	bool high;
	unsigned lowered; /* so often since an end was told */
};

static void set_edge(void *chip, unsigned pin, bool level)
{
	struct kvm_line *line = chip;

	(void)pin;
	if (level)
		notifier_set(&line->event);
}

static void set_level(void *chip, unsigned pin, bool level)
{
	struct kvm_line *line = chip;
	struct kvm_irq_level arg = { .irq = kvm_arch_irq_line(pin), .level = level };

	kvm_ioctl(line->engine->vm, KVM_IRQ_LINE, &arg);
}

static void set_either(void *chip, unsigned pin, bool level)
{
	struct kvm_line *line = chip;

	pthread_mutex_lock(&line->lock);
	line->high = level;
	if (level)
		notifier_set(&line->event);
	else if (line->lowered < EDGE_SURE) {
		line->lowered++;
		set_level(line, pin, false);
	}
	pthread_mutex_unlock(&line->lock);
}

/* The guest has ended an interrupt that is a level to it, and KVM has lowered the line. */
static void irq_ended(struct loop_source *source, uint32_t events)
{
	struct kvm_line *line = container_of(source, struct kvm_line, source);

	(void)events;
	notifier_clear(&line->ended);
	pthread_mutex_lock(&line->lock);
	line->lowered = 0;
	if (line->high)
		notifier_set(&line->event);
	pthread_mutex_unlock(&line->lock);
}

static void line_free(struct kvm_line *line)
{
	if (line->source.ready)
		loop_del(line->engine->cfg.loop, &line->source);
	/* KVM lets go of an irqfd when its last descriptor is closed. */
	notifier_fini(&line->event);
	notifier_fini(&line->ended);
	pthread_mutex_destroy(&line->lock);
	free(line);
}

/* Wait for the ends of its interrupts. */
static int watch_ends(struct kvm_line *line, struct err *err)
{
	int res = notifier_init(&line->ended, err);

	if (res)
		return res;
	line->source = (struct loop_source){ .fd = line->ended.rfd,
					     .events = LOOP_IN,
					     .ready = irq_ended };
	res = loop_add(line->engine->cfg.loop, &line->source);
	if (!res)
		return 0;
	line->source.ready = NULL;
	return err_set(err, res, "the event loop takes no interrupt line: %s", strerror(-res));
}

static int attach(struct kvm_line *line, struct err *err)
{
	bool either = line->ended.wfd >= 0;
	struct kvm_irqfd arg = {
		.fd = (uint32_t)line->event.rfd,
		.gsi = line->pin,
		.flags = either ? KVM_IRQFD_FLAG_RESAMPLE : 0,
		.resamplefd = either ? (uint32_t)line->ended.wfd : 0,
	};

	if (line->event.rfd < 0)
		return 0;
	return kvm_do(line->engine->vm, KVM_IRQFD, &arg, "take interrupts by eventfd", err);
}

/* Not before: a GIC takes no irqfds until it is complete, and that it is with its last vCPU. */
static int attach_lines(struct engine *e, struct err *err)
{
	int res = 0;

	for (struct kvm_line *line = e->lines; line && res >= 0 && !e->attached; line = line->next)
		res = attach(line, err);
	e->attached = true;
	return res < 0 ? res : 0;
}

static int kvm_irq(struct engine *e, unsigned pin, bool edge, struct irq_line *out, struct err *err)
{
	static const struct irq_ops edge_ops = { .set = set_edge };
	static const struct irq_ops level_ops = { .set = set_level };
	static const struct irq_ops either_ops = { .set = set_either };
	bool either = edge && kvm_arch_trigger_is_guests;
	struct kvm_line *line;
	int res = 0;

	if (either && (!e->cfg.loop || !kvm_cap(e, KVM_CAP_IRQFD_RESAMPLE)))
		edge = either = false;
	line = calloc(1, sizeof(*line));
	if (!line)
		return err_set(err, -ENOMEM, "no memory for an interrupt line");
	line->engine = e;
	line->pin = pin;
	line->event = line->ended = (struct notifier){ -1, -1 };
	pthread_mutex_init(&line->lock, NULL);
	if (edge)
		res = notifier_init(&line->event, err);
	if (either && !res)
		res = watch_ends(line, err);
	if (e->attached && res >= 0)
		res = attach(line, err);
	if (res < 0) {
		line_free(line);
		return res;
	}
	line->next = e->lines;
	e->lines = line;
	*out = (struct irq_line){ either ? &either_ops : edge ? &edge_ops : &level_ops, line, pin };
	return 0;
}

static int kvm_reset(struct engine *e, struct err *err)
{
	/* The next guest may take them in another way. */
	for (struct kvm_line *line = e->lines; line; line = line->next) {
		pthread_mutex_lock(&line->lock);
		line->lowered = 0;
		pthread_mutex_unlock(&line->lock);
	}
	e->wait = e->waits = 0;
	kvm_debug_reset(e);
	return kvm_arch_reset(e, err);
}

static void kvm_destroy(struct engine *e)
{
	bus_set_engine(e->cfg.mmio, NULL, NULL);
	while (e->lines) {
		struct kvm_line *line = e->lines;

		e->lines = line->next;
		line_free(line);
	}
	kvm_arch_destroy(e);
	if (e->vm >= 0)
		close(e->vm);
	if (e->kvm >= 0)
		close(e->kvm);
	kvm_debug_fini(&e->debug);
	pthread_mutex_destroy(&e->mirrors_lock);
	free(e);
}

/* ---- vCPUs ---- */

/* What takes a thread out of KVM_RUN. */
static int kick_signal(void)
{
	return SIGRTMAX;
}

static void kvm_vcpu_destroy(struct vcpu *v)
{
	for (struct vcpu **at = &v->engine->vcpus; *at; at = &(*at)->next)
		if (*at == v) {
			*at = v->next;
			break;
		}
	kvm_arch_vcpu_destroy(v);
	if (v->run)
		munmap(v->run, v->engine->run_size);
	kvm_stats_close(&v->stats);
	if (v->fd >= 0)
		close(v->fd);
	free(v);
}

static int kvm_vcpu_create(struct engine *e, unsigned index, const struct vcpu_wiring *wiring,
			   struct vcpu **out, struct err *err)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	int res;

	(void)wiring; /* the interrupt controller and timers are the kernel's */
	if (!v)
		return err_set(err, -ENOMEM, "no memory for CPU %u", index);
	v->engine = e;
	v->index = index;
	v->stats.fd = -1;
	v->exits_seen = UINT64_MAX;
	v->looked_at = UINT64_MAX;
	kvm_arch_vcpu_prepare(e);
	res = v->fd = kvm_do(e->vm, KVM_CREATE_VCPU, number(index), "create a CPU", err);
	if (res >= 0) {
		void *run = mmap(NULL, e->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);

		if (run == MAP_FAILED)
			res = err_set(err, -errno, "cannot map what KVM shares of CPU %u: %s",
				      index, strerror(errno));
		else
			v->run = run;
	}
	if (res >= 0)
		res = kvm_arch_vcpu_create(v, err);
	if (res < 0) {
		kvm_vcpu_destroy(v);
		return res;
	}
	/* Now, for of a vCPU that runs they cannot be had; where KVM has none, so be it. */
	kvm_stats_open(&v->stats, v->fd);
	v->next = e->vcpus;
	e->vcpus = v;
	*out = v;
	return 0;
}

static int kvm_vcpu_init(struct vcpu *v, struct err *err)
{
	/* The kernel's sigset_t: 64 bits, signal n is bit n - 1. */
	enum { SIGSET_SIZE = 8 };
	union {
		struct kvm_signal_mask mask;
		uint8_t room[sizeof(struct kvm_signal_mask) + SIGSET_SIZE];
	} arg = { .mask.len = SIGSET_SIZE };
	sigset_t kick, all;
	int res;

	sigemptyset(&kick);
	sigaddset(&kick, kick_signal());
	pthread_sigmask(SIG_BLOCK, &kick, &all);
	sigdelset(&all, kick_signal());
	memcpy(arg.mask.sigset, &all, SIGSET_SIZE);
	res = kvm_do(v->fd, KVM_SET_SIGNAL_MASK, &arg, "take the signal for kicks", err);
	if (res < 0)
		return res;
	v->thread = pthread_self();
	/* Before a kicker looks at has_thread it sets immediate_exit, and KVM_RUN looks at that
	 * after this: one of the two sees the other. */
	atomic_store(&v->has_thread, true);
	return 0;
}

static void kvm_vcpu_kick(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (atomic_load(&v->has_thread))
		pthread_kill(v->thread, kick_signal());
}

/* False: there was none. */
static bool take_kick_back(struct vcpu *v)
{
	const struct timespec now = { 0 };
	sigset_t kick;
	int res;

	sigemptyset(&kick);
	sigaddset(&kick, kick_signal());
	do {
		res = sigtimedwait(&kick, NULL, &now);
	} while (res < 0 && errno == EINTR);
	return __atomic_exchange_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST) || res >= 0;
}

/* On the vCPU's thread: is the vCPU asleep for good? See kvm_vcpu_stuck(). */
static void look(struct vcpu *v)
{
	uint64_t exits;

	if (!atomic_exchange(&v->must_look, false) ||
	    !kvm_stats_get(&v->stats, KVM_STAT_EXITS, &exits))
		return;
	atomic_store(&v->asleep, kvm_arch_asleep(v));
	atomic_store(&v->looked_at, exits);
}

void kvm_count(struct vcpu *v, enum kvm_count which)
{
	uint64_t n = atomic_load_explicit(&v->counts[which], memory_order_relaxed);

	atomic_store_explicit(&v->counts[which], n + 1, memory_order_relaxed);
}

/* A CPU may access a device in any width up to 8 bytes; the bus refuses the odd ones. */
static void mmio(struct vcpu *v)
{
	struct bus *bus = v->engine->cfg.mmio;
	struct kvm_run *run = v->run;
	unsigned len = run->mmio.len;
	uint64_t val = 0;
	int res;

	if (run->mmio.is_write) {
		memcpy(&val, run->mmio.data, len);
		res = bus_write(bus, run->mmio.phys_addr, len, val);
	} else {
		res = bus_read(bus, run->mmio.phys_addr, len, &val);
		if (res)
			val = UINT64_MAX;
		memcpy(run->mmio.data, &val, len);
	}
	if (res) {
		log_guest(v->engine->cfg.log, &v->limit, LOG_DEBUG, "cpu",
			  "CPU %u: no device takes the %s of %u bytes at %#llx", v->index,
			  run->mmio.is_write ? "write" : "read", len,
			  (unsigned long long)run->mmio.phys_addr);
		kvm_arch_bad_access(v);
	}
}

/* The machine's firmware in the kernel: since 3.16; on x86 unused. */
static int system_event(struct vcpu *v, enum vcpu_exit *exit)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN: *exit = VCPU_OFF; return 0;
	case KVM_SYSTEM_EVENT_RESET:
	case KVM_SYSTEM_EVENT_CRASH: *exit = VCPU_RESET; return 0;
	}
	log_msg(v->engine->cfg.log, LOG_ERROR, "kvm", "CPU %u: unknown system event %u", v->index,
		v->run->system_event.type);
	return -EIO;
}

/* KVM's internal errors by number, and what to make of them. */
static const char *internal_error(uint32_t suberror)
{
	static const char *const known[] = {
		[KVM_INTERNAL_ERROR_EMULATION] =
			"it has no emulation of what the guest does there, such as to run where no "
			"memory is",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "two exceptions came together",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an interrupt or exception cannot be delivered; "
						   "its tables or its stack may be "
						   "where no memory is",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] =
			"the host's CPU has left the guest for a reason that KVM does not know; a "
			"newer kernel on the host may",
	};

	return suberror < ARRAY_SIZE(known) && known[suberror] ? known[suberror]
							       : "it does not say why";
}

/* What KVM has put beside the number, such as the instruction
 * (api.rst, KVM_EXIT_INTERNAL_ERROR). */
static void internal_data(const struct kvm_run *run, char *out, size_t size)
{
	size_t n = ARRAY_SIZE(run->internal.data), len = 0;

	if (run->internal.ndata < n)
		n = run->internal.ndata;
	*out = 0;
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%#llx", i ? " " : "; its data: ",
					(unsigned long long)run->internal.data[i]);
}

static int gave_up(struct vcpu *v)
{
	struct log *log = v->engine->cfg.log;
	const struct kvm_run *run = v->run;
	unsigned long long pc = kvm_arch_get(v, kvm_arch_pc);
	char data[32 + 16 * 20];

	if (run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
		log_msg(log, LOG_ERROR, "kvm",
			"CPU %u at %#llx: the host's CPU does not enter the guest (reason %#llx); "
			"the guest's state makes no sense to it",
			v->index, pc,
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	} else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		internal_data(run, data, sizeof(data));
		log_msg(log, LOG_ERROR, "kvm",
			"CPU %u at %#llx: KVM cannot go on (internal error %u): %s%s", v->index, pc,
			run->internal.suberror, internal_error(run->internal.suberror), data);
	} else if (run->exit_reason == KVM_EXIT_UNKNOWN) {
		log_msg(log, LOG_ERROR, "kvm",
			"CPU %u at %#llx: the host's CPU has left the guest, and KVM does not know "
			"why (reason %#llx); a newer kernel on the host may",
			v->index, pc, (unsigned long long)run->hw.hardware_exit_reason);
	} else {
		log_msg(log, LOG_ERROR, "kvm", "CPU %u at %#llx: unknown exit %u", v->index, pc,
			run->exit_reason);
	}
	return -EIO;
}

/* One return of KVM_RUN; *exit stays VCPU_KICKED when the guest simply goes on. */
static int handle(struct vcpu *v, enum vcpu_exit *exit)
{
	int res;

	switch (v->run->exit_reason) {
	case KVM_EXIT_MMIO:
		kvm_count(v, COUNT_MMIO);
		mmio(v);
		return 0;
	case KVM_EXIT_SYSTEM_EVENT: kvm_count(v, COUNT_SYSTEM); return system_event(v, exit);
	case KVM_EXIT_DEBUG:
		kvm_count(v, COUNT_DEBUG);
		if (kvm_debug_exit(v))
			*exit = VCPU_DEBUG;
		return *exit == VCPU_DEBUG ? 0 : kvm_debug_enter(v);
	case KVM_EXIT_INTERNAL_ERROR:
		if (kvm_debug_at_patch(v)) {
			*exit = VCPU_DEBUG;
			return 0;
		}
		return gave_up(v);
	case KVM_EXIT_FAIL_ENTRY: return gave_up(v);
	}
	res = kvm_arch_exit(v, exit);
	return res == -ENOSYS ? gave_up(v) : res;
}

static void does_not_run(struct vcpu *v, int code)
{
	const char *hint = code == -EFAULT       ? "; the guest's memory cannot be had"
			   : code == -EOPNOTSUPP ? "; it may run where no memory is"
			   /* arm64 without KVM_CAP_ARM_NISV_TO_USER: before 5.5 */
			   : code == -ENOSYS ? "; an instruction may access a device in a way that "
					       "this KVM cannot do (a pair, a vector, write-back)"
					     : "";

	log_msg(v->engine->cfg.log, LOG_ERROR, "kvm", "CPU %u at %#llx does not run: %s%s",
		v->index, (unsigned long long)kvm_arch_get(v, kvm_arch_pc), strerror(-code), hint);
}

static int kvm_vcpu_run(struct vcpu *v, enum vcpu_exit *exit)
{
	int res = v->failed ? v->failed : kvm_arch_enter(v);

	*exit = VCPU_KICKED;
	if (!res)
		res = kvm_debug_enter(v);
	while (!res && *exit == VCPU_KICKED) {
		int run = ioctl(v->fd, KVM_RUN, 0);

		if (run == 0) {
			res = handle(v, exit);
		} else if (errno == EINTR) {
			kvm_count(v, COUNT_KICK);
			/* Then the process was stopped, for who knows how long (SIGSTOP, a
			 * freezer). A guest with x86's kvmclock is told, lest it take that for a
			 * lockup. */
			if (!take_kick_back(v))
				kvm_ioctl(v->fd, KVM_KVMCLOCK_CTRL, NULL);
			look(v);
			return 0;
		} else if (errno != EAGAIN) { /* EAGAIN: it has been given its start, say SIPI */
			res = -errno;
			does_not_run(v, res);
		}
	}
	return res;
}

static void kvm_vcpu_reset(struct vcpu *v)
{
	int res = kvm_arch_vcpu_reset(v);

	if (res && !v->failed)
		v->failed = res;
}

/*
 * Only the vCPU's own thread can ask KVM whether the vCPU sleeps, and it does not come by while the
 * vCPU does. So a vCPU that has not run since it was asked about last is kicked once, to have a
 * look (look()); what that finds is good for as long as KVM counts no further exit.
 */
static bool kvm_vcpu_stuck(struct vcpu *v)
{
	uint64_t exits, sleeps, seen = v->exits_seen;

	if (!kvm_stats_get(&v->stats, KVM_STAT_EXITS, &exits))
		return false;
	v->exits_seen = exits;
	if (exits != seen)
		return false;
	if (kvm_arch_asks_wakeable && kvm_stats_get(&v->stats, KVM_STAT_BLOCKING, &sleeps) &&
	    sleeps) {
		if (v->engine->wait) {
			v->engine->wait--;
			return false;
		}
		return true;
	}
	if (atomic_load(&v->looked_at) == exits)
		return atomic_load(&v->asleep);
	atomic_store(&v->must_look, true);
	kvm_vcpu_kick(v);
	return false;
}

/*
 * To ask costs the guest a WFI that ends for nothing, so of one that sleeps and may wake it is not
 * asked again soon: after 1, 2, 4 and at last 64 looks of vcpu_stuck().
 */
static bool kvm_wakeable(struct engine *e)
{
	enum { WAITS_MAX = 64 };
	bool may_wake = kvm_arch_wakeable(e);

	for (struct vcpu *v = e->vcpus; v; v = v->next) {
		uint64_t exits;

		/* From its sleep straight to its parking place? */
		may_wake |=
			!kvm_stats_get(&v->stats, KVM_STAT_EXITS, &exits) || exits != v->exits_seen;
	}
	if (may_wake)
		e->wait = e->waits = !e->waits              ? 1
				     : e->waits < WAITS_MAX ? 2 * e->waits
							    : WAITS_MAX;
	return may_wake;
}

static void kvm_vcpu_stats(struct vcpu *v, void (*say)(void *arg, const char *reason, uint64_t n),
			   void *arg)
{
	static const char *const names[COUNT_N] = {
		[COUNT_MMIO] = "mmio",     [COUNT_PORT] = "port",   [COUNT_KICK] = "kick",
		[COUNT_SYSTEM] = "system", [COUNT_DEBUG] = "debug", [COUNT_CALL] = "firmware_call",
	};

	for (unsigned i = 0; i < COUNT_N; i++)
		say(arg, names[i], atomic_load_explicit(&v->counts[i], memory_order_relaxed));
	kvm_stats_say(&v->stats, say, arg);
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.starts_cpus = true,
	.probe = kvm_probe,
	.slow = kvm_arch_slow,
	.create = kvm_create,
	.destroy = kvm_destroy,
	.map = kvm_map,
	.dirty_log = kvm_dirty_log,
	.dirty_fetch = kvm_dirty_fetch,
	.irqchip_create = kvm_arch_irqchip_create,
	.irq = kvm_irq,
	.reset = kvm_reset,
	.vcpu_create = kvm_vcpu_create,
	.vcpu_init = kvm_vcpu_init,
	.vcpu_destroy = kvm_vcpu_destroy,
	.vcpu_reset = kvm_vcpu_reset,
	.vcpu_get = kvm_arch_get,
	.vcpu_set = kvm_arch_set,
	.vcpu_hart = kvm_arch_vcpu_hart,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_kick = kvm_vcpu_kick,
	.vcpu_irq = kvm_arch_vcpu_irq,
	.vcpu_stuck = kvm_vcpu_stuck,
	.wakeable = kvm_wakeable,
	.vcpu_stats = kvm_vcpu_stats,
	.debug = &kvm_debug_ops,
};
