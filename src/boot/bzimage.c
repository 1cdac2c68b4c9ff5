/* SPDX-License-Identifier: MIT */
/*
 * The setup header of a bzImage. Fields have the names and places of boot.rst, "The Real-Mode
 * Kernel Header".
 */
#include "boot/bzimage.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "boot/kernel.h"

struct setup_header {
	uint8_t setup_sects; /* 0x1f1: sectors of 512 bytes behind the first; 0 means 4 */
	le16_t root_flags;
	le32_t syssize; /* of what is behind them, in 16 bytes */
	le16_t ram_size, vid_mode, root_dev, boot_flag, jump;
	le32_t header; /* 0x202: the magic */
	le16_t version;
	le32_t realmode_swtch;
	le16_t start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	le16_t setup_move_size;
	le32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	le16_t heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	le32_t cmd_line_ptr, initrd_addr_max, kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	le16_t xloadflags;
	le32_t cmdline_size, hardware_subarch;
	le64_t hardware_subarch_data;
	le32_t payload_offset, payload_length;
	le64_t setup_data, pref_address;
	le32_t init_size;
} __attribute__((packed));
_Static_assert(offsetof(struct setup_header, header) == BZIMAGE_MAGIC - BZIMAGE_HEADER, "header");
_Static_assert(offsetof(struct setup_header, init_size) == 0x260 - BZIMAGE_HEADER, "init_size");
_Static_assert(BZIMAGE_HEADER + sizeof(struct setup_header) <= BZIMAGE_HEADER_END, "size");

enum {
	SECTOR = 512,
	SETUP_SECTS_DEFAULT = 4,
	VERSION_XLOADFLAGS = 0x20c, /* Linux 3.8 */
	XLF_KERNEL_64 = 1 << 0,
};

/* No kernel needs more; bounds what is believed. */
#define INIT_SIZE_MAX (1ULL << 30)
#define PREF_MAX      (1ULL << 32)

static int refuse(const struct kernel *k, const char *what, struct err *err)
{
	return err_set(err, -ENOEXEC,
		       "cannot boot the kernel '%s': it is an x86 kernel (bzImage) %s", k->path,
		       what);
}

static int cut_off(const struct kernel *k, uint64_t need, struct err *err)
{
	return err_set(
		err, -EINVAL,
		"the kernel '%s' is cut off: it has %llu bytes and should have %llu; copy or "
		"download it again",
		k->path, (unsigned long long)k->len, (unsigned long long)need);
}

int bzimage_open(struct kernel *k, const uint8_t *head, size_t n, struct err *err)
{
	struct kernel_bzimage *bz = &k->bzimage;
	struct setup_header h;
	uint64_t setup, len;
	size_t end;

	k->arch = KERNEL_X86_64;
	if (n < BZIMAGE_HEADER_END)
		return cut_off(k, BZIMAGE_HEADER_END, err);
	memcpy(&h, head + BZIMAGE_HEADER, sizeof(h));
	if (le16_get(h.version) < VERSION_XLOADFLAGS)
		return refuse(k,
			      "older than Linux 3.8, which does not tell of a 64-bit entry; give a "
			      "newer one, or its vmlinux",
			      err);
	if (!(le16_get(h.xloadflags) & XLF_KERNEL_64))
		return refuse(k,
			      "of 32 bits, without a 64-bit entry; give one built for x86-64 "
			      "(CONFIG_64BIT)",
			      err);

	setup = (h.setup_sects ? h.setup_sects : SETUP_SECTS_DEFAULT) * (uint64_t)SECTOR + SECTOR;
	len = le32_get(h.syssize) * 16ULL;
	if (k->len < setup + len)
		return cut_off(k, setup + len, err);
	k->off += setup;
	k->len = len;
	k->text_offset = le64_get(h.pref_address);
	k->image_size = le32_get(h.init_size);
	if (len <= BZIMAGE_ENTRY_64 || k->image_size < len || k->image_size > INIT_SIZE_MAX ||
	    !k->text_offset || k->text_offset > PREF_MAX || k->text_offset % GMEM_PAGE_SIZE)
		return err_set(
			err, -EINVAL,
			"the kernel '%s' is damaged: its header asks for %llu bytes at %#llx, "
			"of which %llu are in the file; copy or download it again",
			k->path, (unsigned long long)k->image_size,
			(unsigned long long)k->text_offset, (unsigned long long)len);

	/* The jump in front of the magic tells where the header ends ("Details of Header Fields",
	 * 0x200). */
	end = (size_t)BZIMAGE_MAGIC + head[BZIMAGE_MAGIC - 1];
	if (end < BZIMAGE_HEADER + sizeof(h) || end > BZIMAGE_HEADER_END)
		end = BZIMAGE_HEADER_END;
	bz->header_len = end - BZIMAGE_HEADER;
	memcpy(bz->header, head + BZIMAGE_HEADER, bz->header_len);
	bz->cmdline_max = le32_get(h.cmdline_size);
	bz->initrd_max = le32_get(h.initrd_addr_max);
	return 0;
}
