/*
 * render: the connector's answers (docs/CONTROL.md) as text for people, to
 * c->out.  Members that are missing or of another type print as "-".
 */
#ifndef RMS_CTL_RENDER_H
#define RMS_CTL_RENDER_H

#include "tools/ctl/ctl.h"

void render_servers_list(struct ctl *c, const json_t *reply);
void render_servers_update(struct ctl *c, const json_t *reply);
void render_servers_add(struct ctl *c, const json_t *reply);
void render_servers_import(struct ctl *c, const json_t *reply);
void render_servers_remove(struct ctl *c, const json_t *reply);
void render_servers_seen(struct ctl *c, const json_t *reply);
void render_servers_conflicts(struct ctl *c, const json_t *reply);
void render_credentials_list(struct ctl *c, const json_t *reply);
void render_credentials_add(struct ctl *c, const json_t *reply);
void render_credentials_proxy(struct ctl *c, const json_t *reply);
void render_set(struct ctl *c, const json_t *reply);
void render_get(struct ctl *c, const json_t *reply);
void render_reload(struct ctl *c, const json_t *reply);
void render_explain(struct ctl *c, const json_t *reply);

/* One event; with what would do when `remedy`. */
void render_event(struct ctl *c, const json_t *event, bool remedy);

/* How far a new list has come, a line. */
void render_reach(struct ctl *c, const json_t *reply);
/* Everything, then what is wrong. */
void render_status(struct ctl *c, const json_t *reply);
/*
 * What is wrong, in lines "what; what would do", each passed to say() (which
 * may be NULL).  The number of lines.
 */
size_t status_problems(const json_t *reply,
		       void (*say)(void *arg, const char *line), void *arg);

#endif
