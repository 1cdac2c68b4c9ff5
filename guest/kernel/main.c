/* SPDX-License-Identifier: MIT */
/*
 * The kernel's way from its first line of C to the shell's prompt.
 */
#include "disk.h"
#include "kernel.h"
#include "tarfs.h"

static struct boot_info info;

void handle_irq(unsigned irq)
{
	if (irq == UART_IRQ)
		console_irq();
	else
		disk_irq(irq);
}

_Noreturn void kernel_main(uintptr_t boot_cpu, const void *tree)
{
	printf("\nhello from the " ARCH_NAME " kernel\n");
	if (!tree_read(&info, tree))
		panic("no device tree at %p that tells where memory is", tree);
	if ((uintptr_t)text_start < info.ram_start || (uintptr_t)kernel_end > info.ram_end)
		panic("the kernel is at %p, but memory from %p to %p", (void *)text_start,
		      (void *)info.ram_start, (void *)info.ram_end);
	pages_init((uintptr_t)kernel_end, info.ram_end);
	arch_paging_on(&info);
	arch_irq_init(&info, boot_cpu);
	arch_irq_enable(UART_IRQ);
	printf("memory: %p to %p, %zu KiB free\n", (void *)info.ram_start, (void *)info.ram_end,
	       pages_left() * (PAGE_SIZE / 1024));
	disks_init();
	if (has_arg(&info, "story")) {
		story();
		arch_off();
	}
	if (disk_get(0))
		tarfs_mount(disk_get(0));
	shell();
}
