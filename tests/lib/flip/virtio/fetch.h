/* SPDX-License-Identifier: MIT */
/*
 * The test build's src/virtio/fetch.h: what the device has read of guest memory is changed at once,
 * every bit of it, and put back when it may be read again. A call that succeeds although it has
 * read a field twice ends the program.
 */
#ifndef HAKO_VIRTIO_FETCH_H
#define HAKO_VIRTIO_FETCH_H

#include <stdbool.h>
#include <stddef.h>

enum fetch_life { FETCH_CALL, FETCH_CALL_FLAGS, FETCH_CHAIN };

void fetch_begin(const volatile void *p, size_t len);
void fetch_end(const volatile void *p, size_t len, enum fetch_life life);
void fetch_chain(const void *vq, unsigned slot);
void fetch_call_over(bool good);
void fetch_chain_over(const void *vq, unsigned slot);

#endif
