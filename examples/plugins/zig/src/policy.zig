//! Sorts failed rows into queues for the people who can fix them.

const std = @import("std");
const c = @import("bindings");

const memory = @import("memory.zig");
const Settings = @import("Settings.zig");

const retries = 3;
const retry_after_ms = 200;

/// Conditions caused by other transactions, not by the row: serialization failure, deadlock, lock
/// not available.
const retryable = [_][]const u8{ "SQL_40001", "SQL_40P01", "SQL_55P03" };

const Failure = c.exports_forebay_plugin_dead_letter_policy_failure_t;
pub const Decision = c.exports_forebay_plugin_dead_letter_policy_decision_t;

/// The queue for failures of a stage.
const queues = std.StaticStringMap([]const u8).initComptime(.{
    .{ "decode", "source" },
    .{ "transform", "review" },
    .{ "validate", "review" },
    .{ "write", "database" },
});

pub fn decide(settings: *const Settings, failure: Failure) !Decision {
    const key = memory.items(failure.key);
    const stage = memory.items(failure.stage);
    const code = memory.items(failure.code);
    const message = memory.items(failure.message);
    if (Settings.contains(settings.halt_codes, code)) return .{
        .tag = c.EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_HALT,
        .val = .{ .halt = try memory.print("{s} at row `{s}`: {s}", .{ code, key, message }) },
    };
    if (Settings.contains(settings.drop_codes, code)) return .{
        .tag = c.EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DROP,
    };
    if (std.mem.startsWith(u8, code, "PLUGIN_")) return deadLetter("plugin");
    const is_write = std.mem.eql(u8, stage, "write");
    if (is_write and Settings.contains(&retryable, code) and failure.attempt <= retries) return .{
        .tag = c.EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_RETRY,
        .val = .{ .retry = retry_after_ms },
    };
    return deadLetter(queues.get(stage) orelse "default");
}

fn deadLetter(queue: []const u8) !Decision {
    return .{
        .tag = c.EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DEAD_LETTER,
        .val = .{ .dead_letter = try memory.owned(queue) },
    };
}
