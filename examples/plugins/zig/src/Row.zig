//! The values of a row by column; null if the pipeline has no such column.

const std = @import("std");
const c = @import("bindings");

const memory = @import("memory.zig");

const Row = @This();
const Value = c.forebay_plugin_types_value_t;

company_name: Value = none,
exp_years: Value = none,
english_level: Value = none,
primary_keyword: Value = none,
title: Value = none,

const none: Value = .{ .tag = c.FOREBAY_PLUGIN_TYPES_VALUE_NONE };

/// The columns this plugin reads: the fields above.
pub const columns = std.meta.fieldNames(Row);

/// Indexes of the columns in a batch; found once per batch.
pub const Columns = struct {
    indices: [columns.len]?usize,

    pub fn find(names: c.plugin_list_string_t) Columns {
        var found: Columns = .{ .indices = @splat(null) };
        for (memory.items(names), 0..) |name, i| {
            for (&found.indices, columns) |*index, column| {
                if (std.mem.eql(u8, memory.items(name), column)) index.* = i;
            }
        }
        return found;
    }

    pub fn of(self: Columns, row: c.forebay_plugin_types_row_t) Row {
        const values = memory.items(row.values);
        var fields: Row = .{};
        inline for (columns, self.indices) |column, index| {
            if (index) |i| @field(fields, column) = values[i];
        }
        return fields;
    }
};

/// The text of a value, if it is a text.
pub fn text(value: Value) ?[]const u8 {
    if (value.tag != c.FOREBAY_PLUGIN_TYPES_VALUE_TEXT) return null;
    return memory.items(value.val.text);
}
