//! Settings of the pipeline. Invalid ones are refused with a message that says what is
//! valid.

const std = @import("std");
const c = @import("bindings");

const memory = @import("memory.zig");
const unicode = @import("text.zig");

const Settings = @This();
const List = []const []const u8;

min_years: i64 = 0,
max_years: i64 = 60,
english_levels: List = &.{
    "no_english",         "basic",    "pre_intermediate", "intermediate",
    "upper_intermediate", "advanced", "fluent",           "native",
},
require_keyword: bool = true,
drop_codes: List = &.{},
halt_codes: List = &.{},

const Error = error{ Refused, OutOfMemory };

pub fn contains(list: List, item: []const u8) bool {
    for (list) |known| if (std.mem.eql(u8, known, item)) return true;
    return false;
}

/// The settings, which refer to the texts of `config`. With `Refused`, `message` says why.
pub fn parse(
    config: []const c.plugin_tuple2_string_string_t,
    message: *c.plugin_string_t,
) Error!Settings {
    var parser: Parser = .{ .message = message };
    var settings: Settings = .{};
    for (config) |setting| {
        parser.key = memory.items(setting.f0);
        parser.text = memory.items(setting.f1);
        try parser.setting(&settings);
    }
    try parser.check(&settings);
    return settings;
}

const Parser = struct {
    key: []const u8 = "",
    text: []const u8 = "",
    message: *c.plugin_string_t,

    fn setting(self: *Parser, to: *Settings) Error!void {
        inline for (comptime std.meta.fieldNames(Settings)) |name| {
            if (std.mem.eql(u8, self.key, name)) {
                @field(to, name) = try self.value(@FieldType(Settings, name));
                return;
            }
        }
        const known = "min_years, max_years, english_levels, require_keyword, drop_codes, halt_codes";
        return self.refuse("unknown setting `{s}`; there are {s}", .{ self.key, known });
    }

    fn value(self: *Parser, comptime T: type) Error!T {
        return switch (T) {
            i64 => self.integer(),
            bool => self.boolean(),
            List => self.list(),
            else => comptime unreachable,
        };
    }

    fn integer(self: *Parser) Error!i64 {
        // Zig would accept underscores between digits.
        const digits = std.mem.findScalar(u8, self.text, '_') == null;
        if (digits) {
            if (std.fmt.parseInt(i64, self.text, 10)) |n| return n else |_| {}
        }
        return self.wrong("a whole number");
    }

    fn boolean(self: *Parser) Error!bool {
        if (std.mem.eql(u8, self.text, "true")) return true;
        if (std.mem.eql(u8, self.text, "false")) return false;
        return self.wrong("`true` or `false`");
    }

    fn list(self: *Parser) Error!List {
        const of_codes = std.mem.endsWith(u8, self.key, "_codes");
        var items: std.ArrayList([]const u8) = .empty;
        var rest = std.mem.splitScalar(u8, self.text, ',');
        while (rest.next()) |part| {
            const item = unicode.trim(part);
            if (item.len == 0) continue;
            if (of_codes and !isCode(item)) return self.refuse(
                "{s} has `{s}`; it must be a list of codes such as `FIELD_RANGE, SQL_23514`",
                .{ self.key, item },
            );
            try items.append(memory.gpa, item);
        }
        return items.toOwnedSlice(memory.gpa);
    }

    /// Checks that involve several settings.
    fn check(self: *Parser, settings: *const Settings) Error!void {
        const min, const max = .{ settings.min_years, settings.max_years };
        if (min > max) return self.refuse(
            "min_years is {d}; it must be at most max_years, which is {d}",
            .{ min, max },
        );
        if (settings.english_levels.len == 0) return self.refuse(
            "english_levels is empty; it must be a list such as `basic, fluent`",
            .{},
        );
        for (settings.drop_codes) |code| {
            if (contains(settings.halt_codes, code)) return self.refuse(
                "halt_codes and drop_codes both have {s}; it must be in one",
                .{code},
            );
        }
    }

    fn wrong(self: *Parser, expected: []const u8) Error {
        return self.refuse("{s} is `{s}`; it must be {s}", .{ self.key, self.text, expected });
    }

    fn refuse(self: *Parser, comptime format: []const u8, args: anytype) Error {
        self.message.* = try memory.print(format, args);
        return error.Refused;
    }
};

fn isCode(text: []const u8) bool {
    for (text) |char| switch (char) {
        'A'...'Z', '0'...'9', '_' => {},
        else => return false,
    };
    return true;
}
