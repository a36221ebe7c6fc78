//! Sorts failed rows into a queue for each stage.
//!
//! The exports are called by the generated bindings. Arguments belong to the callee, which frees
//! them; answers belong to the host.

const std = @import("std");
const c = @import("bindings");
const support = @import("support.zig");

pub const panic = support.panic;

const Decision = c.exports_forebay_plugin_dead_letter_policy_decision_t;
const Decisions = c.exports_forebay_plugin_dead_letter_policy_list_decision_t;
const Failure = c.exports_forebay_plugin_dead_letter_policy_failure_t;

const retry_after_ms = 200;
/// Serialization failure, deadlock, lock not available: caused by other transactions.
const retryable = [_][]const u8{ "SQL_40001", "SQL_40P01", "SQL_55P03" };

/// Set once on every instance, before its first batch.
var retries: u32 = 3;

export fn exports_forebay_plugin_describe_describe(
    to: *c.exports_forebay_plugin_describe_descriptor_t,
) void {
    c.plugin_string_dup(&to.name, "{{name}}");
    c.plugin_string_dup(&to.version, "0.1.0");
    // The codes are enough. Columns named here are in the fields of the failures.
    to.reads = .{ .is_some = true, .val = .{} };
}

export fn exports_forebay_plugin_describe_configure(
    config: *c.plugin_list_tuple2_string_string_t,
    message: *c.plugin_string_t,
) bool {
    defer c.plugin_list_tuple2_string_string_free(config);
    return configure(support.items(config.*), message) catch |err| support.fail(@src(), err);
}

fn configure(config: []c.plugin_tuple2_string_string_t, message: *c.plugin_string_t) !bool {
    for (config) |setting| {
        const name = support.items(setting.f0);
        const text = support.items(setting.f1);
        if (!std.mem.eql(u8, name, "retries")) {
            message.* = try support.print("unknown setting `{s}`; there is retries", .{name});
            return false;
        }
        retries = std.fmt.parseInt(u32, text, 10) catch {
            message.* = try support.print("retries is `{s}`; it must be a whole number", .{text});
            return false;
        };
    }
    return true;
}

export fn exports_forebay_plugin_dead_letter_policy_decide(
    failures: *c.exports_forebay_plugin_dead_letter_policy_list_failure_t,
    to: *Decisions,
    _: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_dead_letter_policy_list_failure_free(failures);
    to.* = decide(support.items(failures.*)) catch |err| support.fail(@src(), err);
    return true;
}

fn decide(failures: []Failure) !Decisions {
    const decisions = try support.gpa.alloc(Decision, failures.len);
    for (decisions, failures) |*to, failure| to.* = try decision(failure);
    return support.list(Decisions, decisions);
}

fn decision(failure: Failure) !Decision {
    if (isRetryable(support.items(failure.code)) and failure.attempt <= retries) return .{
        .tag = c.EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_RETRY,
        .val = .{ .retry = retry_after_ms },
    };
    return .{
        .tag = c.EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DEAD_LETTER,
        .val = .{ .dead_letter = try support.owned(support.items(failure.stage)) },
    };
}

fn isRetryable(code: []const u8) bool {
    for (retryable) |known| {
        if (std.mem.eql(u8, code, known)) return true;
    }
    return false;
}
