/* SPDX-License-Identifier: MIT */
/*
 * What the lint found, for programs.
 *
 * jansson takes NULL for a value that there was no memory for, and then gives NULL: so only the
 * whole is looked at.
 */
#include "lint_report.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "hako/doctor.h"
#include "hako/lint.h"
#include "say.h"

static const char schema[] = "hako-lint-report-1";

/* "blk0", or "blk0/queue 1" */
static void place(const struct hako_lint_finding *f, char *text, size_t size)
{
	if (f->queue < 0)
		snprintf(text, size, "%s", f->device);
	else
		snprintf(text, size, "%s/queue %d", f->device, f->queue);
}

/* ---- A form of our own ---- */

static json_t *plain_finding(const struct hako_lint_finding *f)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:s, s:s, s:s}", "rule", f->rule.id,
			 "level", f->rule.must ? "MUST" : "SHOULD", "section", f->rule.section,
			 "device", f->device, "queue",
			 f->queue < 0 ? json_null() : json_integer(f->queue), "count",
			 (json_int_t)f->count, "saw", f->saw, "right", f->rule.what, "linux",
			 f->rule.in_linux);
}

static json_t *plain(const struct hako_vm *vm, const char *outcome)
{
	json_t *findings = json_array();
	struct hako_lint_finding f;
	json_int_t must = 0, should = 0;

	for (size_t n = 0; hako_vm_lint_finding(vm, n, &f); n++) {
		if (json_array_append_new(findings, plain_finding(&f)))
			goto fail;
		*(f.rule.must ? &must : &should) += (json_int_t)f.count;
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:{s:I, s:I}, s:o}", "schema", schema, "hako",
			 hako_version(), "standard", "virtio 1.2", "outcome", outcome, "counts",
			 "MUST", must, "SHOULD", should, "findings", findings);
fail:
	json_decref(findings);
	return NULL;
}

/* ---- SARIF 2.1.0; the numbers are those of its sections ---- */

/* 3.49: reportingDescriptor */
static json_t *sarif_rule(const struct hako_lint_rule *r)
{
	char text[400], help[400];

	snprintf(text, sizeof(text), "A driver %s %s (virtio 1.2, %s).",
		 r->must ? "must" : "should", r->what, r->section);
	snprintf(help, sizeof(help), "Linux's driver %s.", r->in_linux);
	return json_pack("{s:s, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:b}}", "id", r->id,
			 "shortDescription", "text", text, "help", "text", help,
			 "defaultConfiguration", "level", r->must ? "error" : "warning",
			 "properties", "section", r->section, "deep", r->deep);
}

/* 3.27: result */
static json_t *sarif_result(const struct hako_lint_finding *f)
{
	char text[700], where[64];

	place(f, where, sizeof(where));
	snprintf(text, sizeof(text), "Saw %s; right: %s.", f->saw, f->rule.what);
	return json_pack("{s:s, s:I, s:s, s:{s:s}, s:I, s:[{s:[{s:s, s:s}]}]}", "ruleId",
			 f->rule.id, "ruleIndex", (json_int_t)f->number, "level",
			 f->rule.must ? "error" : "warning", "message", "text", text,
			 "occurrenceCount", (json_int_t)f->count, "locations", "logicalLocations",
			 "fullyQualifiedName", where, "kind", "resource");
}

static json_t *sarif(const struct hako_vm *vm)
{
	json_t *rules = json_array(), *results = json_array();
	struct hako_lint_finding f;
	struct hako_lint_rule r;

	for (size_t n = 0; hako_lint_rule(n, &r); n++)
		if (json_array_append_new(rules, sarif_rule(&r)))
			goto fail;
	for (size_t n = 0; hako_vm_lint_finding(vm, n, &f); n++)
		if (json_array_append_new(results, sarif_result(&f)))
			goto fail;
	return json_pack("{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:o}]}", "$schema",
			 "https://docs.oasis-open.org/sarif/sarif/v2.1.0/cs01/schemas/"
			 "sarif-schema-2.1.0.json",
			 "version", "2.1.0", "runs", "tool", "driver", "name", "hako", "version",
			 hako_version(), "rules", rules, "results", results);
fail:
	json_decref(rules);
	json_decref(results);
	return NULL;
}

/* ---- The file ---- */

static bool is_sarif(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && strcmp(dot, ".sarif") == 0;
}

static int cannot(const struct lint_report *report, const char *why)
{
	say("the lint's report cannot be written to '%s': %s; name another file", report->path,
	    why);
	return -1;
}

int lint_report_open(struct lint_report *report)
{
	if (!report->path)
		return 0;
	report->file = fopen(report->path, "we");
	return report->file ? 0 : cannot(report, strerror(errno));
}

void lint_report_close(struct lint_report *report)
{
	if (report->file)
		fclose(report->file);
	report->file = NULL;
}

int lint_report_write(struct lint_report *report, const struct hako_vm *vm, const char *outcome)
{
	json_t *json;
	int bad;

	if (!report->file)
		return 0;
	json = is_sarif(report->path) ? sarif(vm) : plain(vm, outcome);
	if (!json) {
		lint_report_close(report);
		return cannot(report, "out of memory");
	}
	errno = 0;
	bad = json_dumpf(json, report->file, JSON_INDENT(2)) || fputc('\n', report->file) == EOF;
	json_decref(json);
	bad |= fclose(report->file) != 0;
	report->file = NULL;
	return bad ? cannot(report, errno ? strerror(errno) : "no space left") : 0;
}
