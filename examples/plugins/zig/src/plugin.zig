//! A Forebay plugin with all three roles: it normalizes `recruit` rows, rejects those that must
//! not be written, and sorts failed rows into queues.
//!
//! These are the exports, which the generated bindings call. Arguments belong to the callee, which
//! frees them; results belong to the host, which has them freed with C's `free`.

const std = @import("std");
const c = @import("bindings");

const memory = @import("memory.zig");
const normalize = @import("normalize.zig").normalize;
const policy = @import("policy.zig");
const Row = @import("Row.zig");
const rules = @import("rules.zig");
const Settings = @import("Settings.zig");

const gpa = memory.gpa;

/// Set by `configure`, which the host calls on every instance before its first batch.
var current: ?Settings = null;

/// A panic traps; without this handler its message would be lost.
pub const panic = std.debug.FullPanic(struct {
    fn log(message: []const u8, _: ?usize) noreturn {
        var line: c.plugin_string_t = .{ .ptr = @constCast(message.ptr), .len = message.len };
        c.forebay_plugin_log_log(c.FOREBAY_PLUGIN_LOG_LEVEL_ERROR, &line);
        @trap();
    }
}.log);

export fn exports_forebay_plugin_describe_describe(
    to: *c.exports_forebay_plugin_describe_descriptor_t,
) void {
    to.* = describe() catch @panic("out of memory");
}

fn describe() !c.exports_forebay_plugin_describe_descriptor_t {
    const reads = try gpa.alloc(c.plugin_string_t, Row.columns.len);
    for (reads, Row.columns) |*name, column| name.* = try memory.owned(column);
    return .{
        .name = try memory.owned("row-rules-zig"),
        .version = try memory.owned("0.1.0"),
        // Only these columns cross into the sandbox.
        .reads = .{ .is_some = true, .val = memory.list(c.plugin_list_string_t, reads) },
    };
}

export fn exports_forebay_plugin_describe_configure(
    config: *c.plugin_list_tuple2_string_string_t,
    message: *c.plugin_string_t,
) bool {
    // Accepted settings refer to the config's texts, so those stay.
    configure(memory.items(config.*), message) catch |problem| return failed(problem, message);
    return true;
}

fn configure(config: []const c.plugin_tuple2_string_string_t, message: *c.plugin_string_t) !void {
    if (current != null) return error.ConfiguredTwice;
    current = try Settings.parse(config, message);
}

export fn exports_forebay_plugin_transform_transform(
    batch: *c.exports_forebay_plugin_transform_batch_t,
    to: *c.exports_forebay_plugin_transform_list_outcome_t,
    message: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_transform_batch_free(batch);
    to.* = transform(batch.*) catch |problem| return failed(problem, message);
    return true;
}

fn transform(
    batch: c.exports_forebay_plugin_transform_batch_t,
) !c.exports_forebay_plugin_transform_list_outcome_t {
    const columns: Row.Columns = .find(batch.columns);
    const rows = memory.items(batch.rows);
    const outcomes = try gpa.alloc(c.forebay_plugin_types_outcome_t, rows.len);
    for (outcomes, rows) |*outcome, row| outcome.* = try normalize(columns.of(row));
    return memory.list(c.exports_forebay_plugin_transform_list_outcome_t, outcomes);
}

export fn exports_forebay_plugin_validate_validate(
    batch: *c.exports_forebay_plugin_validate_batch_t,
    to: *c.exports_forebay_plugin_validate_list_list_rejection_t,
    message: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_validate_batch_free(batch);
    to.* = validate(batch.*) catch |problem| return failed(problem, message);
    return true;
}

fn validate(
    batch: c.exports_forebay_plugin_validate_batch_t,
) !c.exports_forebay_plugin_validate_list_list_rejection_t {
    const settings = if (current) |*settings| settings else return error.NotConfigured;
    const columns: Row.Columns = .find(batch.columns);
    const rows = memory.items(batch.rows);
    const faults = try gpa.alloc(c.exports_forebay_plugin_validate_list_rejection_t, rows.len);
    for (faults, rows) |*of_row, row| of_row.* = try rules.judge(settings, columns.of(row));
    return memory.list(c.exports_forebay_plugin_validate_list_list_rejection_t, faults);
}

export fn exports_forebay_plugin_dead_letter_policy_decide(
    failures: *c.exports_forebay_plugin_dead_letter_policy_list_failure_t,
    to: *c.exports_forebay_plugin_dead_letter_policy_list_decision_t,
    message: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_dead_letter_policy_list_failure_free(failures);
    to.* = decide(memory.items(failures.*)) catch |problem| return failed(problem, message);
    return true;
}

fn decide(
    failures: []const c.exports_forebay_plugin_dead_letter_policy_failure_t,
) !c.exports_forebay_plugin_dead_letter_policy_list_decision_t {
    const settings = if (current) |*settings| settings else return error.NotConfigured;
    const decisions = try gpa.alloc(policy.Decision, failures.len);
    for (decisions, failures) |*decision, failure| {
        decision.* = try policy.decide(settings, failure);
    }
    return memory.list(c.exports_forebay_plugin_dead_letter_policy_list_decision_t, decisions);
}

/// Writes the reason to `message`, unless it is already there.
fn failed(problem: anyerror, message: *c.plugin_string_t) bool {
    switch (problem) {
        error.Refused => {},
        error.ConfiguredTwice => c.plugin_string_dup(message, "configured twice"),
        error.NotConfigured => c.plugin_string_dup(message, "not configured"),
        else => @panic(@errorName(problem)),
    }
    return false;
}
