/* SPDX-License-Identifier: MIT */
/*
 * The socket of a vhost-user server; unix(7).
 */
#include "vhost/server.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "host/loop.h"
#include "vhost/relief.h"
#include "vhost/session.h"
#include "virtio/virtio.h"

struct vhost_server {
	struct vhost_server_config config;
	struct sockaddr_un addr;
	struct loop *loop;
	struct loop_source source; /* the listening socket */
	dev_t dev;                 /* which socket it is, to remove no other */
	ino_t ino;
	bool bound, stopping;
	bool refused;                          /* the last try to accept */
	struct vhost_session *_Atomic session; /* atomic: for a signal handler */
	struct loop_task over;
	struct vhost_relief *relief;
};

static void listen_on(struct vhost_server *s, bool on)
{
	if (on)
		loop_add(s->loop, &s->source);
	else
		loop_del(s->loop, &s->source);
}

static void over(struct loop_task *task)
{
	struct vhost_server *s = container_of(task, struct vhost_server, over);

	s->config.done(s->config.arg);
}

static void session_ended(void *arg)
{
	struct vhost_server *s = arg;
	struct vhost_session *session = s->session;

	s->session = NULL;
	vhost_session_destroy(session);
	if (s->stopping || s->config.once) {
		s->stopping = true;
		loop_post(s->loop, &s->over);
	} else {
		listen_on(s, true);
	}
}

/* No descriptors, say. Whoever waits at the door has us called at once again: not too often. Nobody
 * is being served meanwhile. */
static void cannot_accept(struct vhost_server *s, int code)
{
	enum { PAUSE_US = 100000 };

	if (code == EAGAIN || code == ECONNABORTED || code == EINTR)
		return;
	if (!s->refused)
		log_msg(s->config.log, LOG_ERROR, s->config.name,
			"cannot accept a front end, and tries again: %s%s", strerror(code),
			code == EMFILE ? "; raise the limit of open files (ulimit -n)" : "");
	s->refused = true;
	usleep(PAUSE_US);
}

static void somebody_connects(struct loop_source *source, uint32_t events)
{
	struct vhost_server *s = container_of(source, struct vhost_server, source);
	struct vhost_session_config config = {
		.dev = s->config.dev,
		.log = s->config.log,
		.limit = s->config.limit,
		.name = s->config.name,
		.without = s->config.without,
		.relief = s->relief,
		.ended = session_ended,
		.arg = s,
	};
	struct vhost_session *session;
	struct err err = ERR_INIT;

	(void)events;
	config.fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (config.fd < 0) {
		cannot_accept(s, errno);
		return;
	}
	s->refused = false;
	if (vhost_session_create(&session, &config, &err)) {
		log_msg(s->config.log, LOG_ERROR, s->config.name, "%s", err.msg);
		return;
	}
	s->session = session;
	listen_on(s, false);
}

/* ---- Making the socket ---- */

/* May a socket be made at the path? What is left over of another server goes. */
static int clear_path(const struct vhost_server *s, struct err *err)
{
	const char *path = s->config.path;
	struct stat st;
	int fd, code;

	if (lstat(path, &st) < 0)
		return 0; /* bind() will tell what else is wrong */
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST,
			       "'%s' exists and is not a socket; take another path, or remove it",
			       path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	code = connect(fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) < 0 ? -errno : 0;
	close(fd);
	if (code == 0 || code == -EAGAIN)
		return err_set(err, -EADDRINUSE,
			       "another program serves the socket '%s'; end it, or take another "
			       "path",
			       path);
	if (code == -ECONNREFUSED && unlink(path) < 0)
		return err_set(err, -errno, "cannot remove the socket '%s', left over: %s", path,
			       strerror(errno));
	return 0;
}

static int make_socket(struct vhost_server *s, struct err *err)
{
	const char *path = s->config.path, *hint = "";
	struct stat st;
	int code = clear_path(s, err);

	if (code)
		return code;
	s->source.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->source.fd < 0)
		return err_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	if (bind(s->source.fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)) < 0) {
		code = -errno;
		hint = code == -ENOENT   ? "; check that its directory exists"
		       : code == -EACCES ? "; check that you may write to its directory"
					 : "";
	} else {
		s->bound = lstat(path, &st) == 0;
		s->dev = st.st_dev;
		s->ino = st.st_ino;
		if (listen(s->source.fd, 1) < 0)
			code = -errno;
	}
	return code ? err_set(err, code, "cannot make the socket '%s': %s%s", path, strerror(-code),
			      hint)
		    : 0;
}

int vhost_server_create(struct vhost_server **server, const struct vhost_server_config *config,
			struct err *err)
{
	struct vhost_server *s = calloc(1, sizeof(*s));
	size_t len = strlen(config->path);
	int code;

	if (!s)
		return err_set(err, -ENOMEM, "cannot serve '%s': out of memory", config->path);
	s->config = *config;
	s->loop = config->dev->loop;
	s->source = (struct loop_source){ .fd = -1, .events = LOOP_IN, .ready = somebody_connects };
	s->over.run = over;
	s->addr.sun_family = AF_UNIX;
	if (len && len < sizeof(s->addr.sun_path)) {
		memcpy(s->addr.sun_path, config->path, len + 1);
		code = make_socket(s, err);
	} else {
		code = err_set(err, -EINVAL,
			       "the path of the socket is %zu bytes long: from 1 to %zu can be; "
			       "take a shorter one, or one relative to the directory: '%s'",
			       len, sizeof(s->addr.sun_path) - 1, config->path);
	}
	if (!code)
		code = vhost_relief_create(&s->relief, config->stop_fd, err);
	if (!code) {
		listen_on(s, true);
		if (!s->source.watched)
			code = err_set(err, -ENOMEM, "cannot watch the socket '%s'", config->path);
	}
	if (code) {
		vhost_server_destroy(s);
		return code;
	}
	*server = s;
	return 0;
}

void vhost_server_stop(struct vhost_server *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	listen_on(s, false);
	if (s->session)
		vhost_session_end(s->session);
	else
		loop_post(s->loop, &s->over);
}

void vhost_server_destroy(struct vhost_server *s)
{
	struct stat st;

	if (!s)
		return;
	listen_on(s, false);
	vhost_relief_destroy(s->relief);
	if (s->bound && lstat(s->config.path, &st) == 0 && st.st_dev == s->dev &&
	    st.st_ino == s->ino)
		unlink(s->config.path);
	if (s->source.fd >= 0)
		close(s->source.fd);
	free(s);
}

bool vhost_server_fault(struct vhost_server *s, void *addr)
{
	struct vhost_session *session = s->session;

	return session && vhost_session_fault(session, addr);
}
