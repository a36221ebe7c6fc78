//! Rejects rows that lack a required column.
//!
//! The exports are called by the generated bindings. Arguments belong to the callee, which frees
//! them; answers belong to the host.

const std = @import("std");
const c = @import("bindings");
const support = @import("support.zig");

pub const panic = support.panic;

const Rejection = c.forebay_plugin_types_rejection_t;
const Rejections = c.exports_forebay_plugin_validate_list_rejection_t;
const Answer = c.exports_forebay_plugin_validate_list_list_rejection_t;
const Value = c.forebay_plugin_types_value_t;

/// Set once on every instance, before its first batch.
var required: std.ArrayList([]const u8) = .empty;

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
    // Not freed, because `required` refers to its texts.
    return configure(support.items(config.*), message) catch |err| support.fail(@src(), err);
}

fn configure(config: []c.plugin_tuple2_string_string_t, message: *c.plugin_string_t) !bool {
    for (config) |setting| {
        const name = support.items(setting.f0);
        if (!std.mem.eql(u8, name, "required")) {
            message.* = try support.print("unknown setting `{s}`; there is required", .{name});
            return false;
        }
        var listed = std.mem.tokenizeScalar(u8, support.items(setting.f1), ',');
        while (listed.next()) |item| {
            const column = std.mem.trim(u8, item, " ");
            if (column.len > 0) try required.append(support.gpa, column);
        }
    }
    return true;
}

export fn exports_forebay_plugin_validate_validate(
    batch: *c.exports_forebay_plugin_validate_batch_t,
    to: *Answer,
    _: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_validate_batch_free(batch);
    to.* = validate(batch.*) catch |err| support.fail(@src(), err);
    return true;
}

fn validate(batch: c.exports_forebay_plugin_validate_batch_t) !Answer {
    const rows = support.items(batch.rows);
    const faults = try support.gpa.alloc(Rejections, rows.len);
    for (faults, rows) |*to, row| {
        to.* = try judge(support.items(batch.columns), support.items(row.values));
    }
    return support.list(Answer, faults);
}

fn judge(columns: []c.plugin_string_t, values: []Value) !Rejections {
    var found: std.ArrayList(Rejection) = .empty;
    for (required.items) |name| {
        if (isMissing(columns, values, name)) try found.append(support.gpa, try missing(name));
    }
    return support.list(Rejections, found.items);
}

/// True if this column is empty. The pipeline may lack it.
fn isMissing(columns: []c.plugin_string_t, values: []Value, name: []const u8) bool {
    for (columns, values) |column, value| {
        if (!std.mem.eql(u8, support.items(column), name)) continue;
        return switch (value.tag) {
            c.FOREBAY_PLUGIN_TYPES_VALUE_NONE => true,
            c.FOREBAY_PLUGIN_TYPES_VALUE_TEXT => value.val.text.len == 0,
            else => false,
        };
    }
    return true;
}

fn missing(column: []const u8) !Rejection {
    return .{
        .code = try support.owned("FIELD_REQUIRED"),
        .message = try support.print("{s} must be given", .{column}),
        .field = .{ .is_some = true, .val = try support.owned(column) },
    };
}
