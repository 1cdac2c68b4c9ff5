/* SPDX-License-Identifier: MIT */
/*
 * Help for a server that waits for a front end which has gone.
 *
 * A front end is told by a write to an eventfd of its own. That waits where nothing can be added to
 * it and O_NONBLOCK is not set; both are for the front end to decide, at any moment, and no look
 * beforehand helps against one that means it. While it is there, only itself has to wait: a server
 * has one front end at a time. But the next one must get its turn, and a server must end when it is
 * told to. So a thread, asleep before, sees that the front end has gone or is to go, and from then
 * on empties what is full.
 *
 * Threads: its own; all that is here is called on the loop's, or while that does not run.
 */
#ifndef HAKO_VHOST_RELIEF_H
#define HAKO_VHOST_RELIEF_H

struct err;
struct vhost_relief;

enum { VHOST_RELIEF_MAX = 512 }; /* two of each ring that a message can name (8 bits) */

/* `stop_fd`: the server is to end when it becomes readable; -1: none. */
int vhost_relief_create(struct vhost_relief **relief, int stop_fd, struct err *err);
void vhost_relief_destroy(struct vhost_relief *r);

/* A front end comes; it has gone when this socket is hung up. */
void vhost_relief_attach(struct vhost_relief *r, int sock);
/* The i-th of the eventfds that are written to for it, or -1; the caller's, to close after it has
 * been replaced, or after vhost_relief_detach(). */
void vhost_relief_set(struct vhost_relief *r, unsigned i, int fd);
/* It is to go. */
void vhost_relief_begin(struct vhost_relief *r);
/* It has gone, and nothing is written any more. */
void vhost_relief_detach(struct vhost_relief *r);

#endif
