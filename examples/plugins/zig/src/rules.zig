//! Rejects rows that must not be written, with all their faults at once; what the tables
//! check themselves, such as the length of a keyword, is not repeated here.

const std = @import("std");
const c = @import("bindings");

const memory = @import("memory.zig");
const Row = @import("Row.zig");
const Settings = @import("Settings.zig");
const unicode = @import("text.zig");

const gpa = memory.gpa;
const company_name_length = 200;

const Rejections = c.exports_forebay_plugin_validate_list_rejection_t;

pub fn judge(settings: *const Settings, row: Row) !Rejections {
    var faults: Faults = .{};

    const name = Row.text(row.company_name) orelse "";
    const length = unicode.length(name);
    if (length == 0) {
        try faults.missing("company_name");
    } else if (length > company_name_length) {
        const format = "has {d} characters, of {d} at most";
        try faults.add("company_name", "FIELD_LENGTH", format, .{ length, company_name_length });
    }

    const years = row.exp_years.val.integer;
    const min, const max = .{ settings.min_years, settings.max_years };
    if (row.exp_years.tag != c.FOREBAY_PLUGIN_TYPES_VALUE_INTEGER) {
        try faults.missing("exp_years");
    } else if (years < min or years > max) {
        const format = "is {d}; it must be {d} to {d}";
        try faults.add("exp_years", "FIELD_RANGE", format, .{ years, min, max });
    }

    if (Row.text(row.english_level)) |level| {
        if (!Settings.contains(settings.english_levels, level)) {
            const known = try std.mem.join(gpa, ", ", settings.english_levels);
            defer gpa.free(known);
            const format = "is `{s}`; it must be one of {s}";
            try faults.add("english_level", "FIELD_VALUE", format, .{ level, known });
        }
    }

    const keyword = Row.text(row.primary_keyword) orelse "";
    if (keyword.len == 0 and settings.require_keyword) try faults.missing("primary_keyword");

    return memory.list(Rejections, try faults.found.toOwnedSlice(gpa));
}

const Faults = struct {
    found: std.ArrayList(c.exports_forebay_plugin_validate_rejection_t) = .empty,

    fn missing(self: *Faults, field: []const u8) !void {
        try self.add(field, "FIELD_REQUIRED", "must be given", .{});
    }

    fn add(
        self: *Faults,
        field: []const u8,
        code: []const u8,
        comptime detail: []const u8,
        args: anytype,
    ) !void {
        try self.found.append(gpa, .{
            .code = try memory.owned(code),
            .message = try memory.print("{s} " ++ detail, .{field} ++ args),
            .field = .{ .is_some = true, .val = try memory.owned(field) },
        });
    }
};
