//! Trims the white space around texts.
//!
//! The exports are called by the generated bindings. Arguments belong to the callee, which frees
//! them; answers belong to the host.

const std = @import("std");
const c = @import("bindings");
const support = @import("support.zig");

pub const panic = support.panic;

const Field = c.forebay_plugin_types_field_t;
const Outcome = c.forebay_plugin_types_outcome_t;
const Outcomes = c.exports_forebay_plugin_transform_list_outcome_t;
const Value = c.forebay_plugin_types_value_t;

export fn exports_forebay_plugin_describe_describe(
    to: *c.exports_forebay_plugin_describe_descriptor_t,
) void {
    c.plugin_string_dup(&to.name, "{{name}}");
    c.plugin_string_dup(&to.version, "0.1.0");
    // Fewer columns are faster: name them here.
    to.reads.is_some = false;
}

export fn exports_forebay_plugin_describe_configure(
    config: *c.plugin_list_tuple2_string_string_t,
    message: *c.plugin_string_t,
) bool {
    defer c.plugin_list_tuple2_string_string_free(config);
    for (support.items(config.*)) |setting| {
        const name = support.items(setting.f0);
        message.* = support.print("unknown setting `{s}`: this plugin has none", .{name}) catch |err|
            support.fail(@src(), err);
        return false;
    }
    return true;
}

export fn exports_forebay_plugin_transform_transform(
    batch: *c.exports_forebay_plugin_transform_batch_t,
    to: *Outcomes,
    _: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_transform_batch_free(batch);
    to.* = transform(batch.*) catch |err| support.fail(@src(), err);
    return true;
}

fn transform(batch: c.exports_forebay_plugin_transform_batch_t) !Outcomes {
    const rows = support.items(batch.rows);
    const outcomes = try support.gpa.alloc(Outcome, rows.len);
    for (outcomes, rows) |*to, row| {
        to.* = try outcome(support.items(batch.columns), support.items(row.values));
    }
    return support.list(Outcomes, outcomes);
}

fn outcome(columns: []c.plugin_string_t, values: []Value) !Outcome {
    var set: std.ArrayList(Field) = .empty;
    for (columns, values) |column, value| {
        if (value.tag != c.FOREBAY_PLUGIN_TYPES_VALUE_TEXT) continue;
        const text = support.items(value.val.text);
        const trimmed = std.mem.trim(u8, text, &std.ascii.whitespace);
        if (trimmed.len == text.len and text.len > 0) continue;
        try set.append(support.gpa, .{
            .name = try support.owned(support.items(column)),
            .value = try textOrNull(trimmed),
        });
    }
    if (set.items.len == 0) return .{ .tag = c.FOREBAY_PLUGIN_TYPES_OUTCOME_UNCHANGED };
    return .{
        .tag = c.FOREBAY_PLUGIN_TYPES_OUTCOME_SET,
        .val = .{ .set = support.list(c.forebay_plugin_types_list_field_t, set.items) },
    };
}

fn textOrNull(text: []const u8) !Value {
    if (text.len == 0) return .{ .tag = c.FOREBAY_PLUGIN_TYPES_VALUE_NONE };
    return .{
        .tag = c.FOREBAY_PLUGIN_TYPES_VALUE_TEXT,
        .val = .{ .text = try support.owned(text) },
    };
}
