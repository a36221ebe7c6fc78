//! Normalizes the texts of a row, and drops test postings. An unknown value stays
//! as it is, for the rules to judge.

const std = @import("std");
const c = @import("bindings");

const memory = @import("memory.zig");
const Row = @import("Row.zig");
const unicode = @import("text.zig");

const gpa = memory.gpa;

/// A spelling and its aliases.
const Spelling = struct { []const u8, []const []const u8 };

/// Aliases are compared by letters and digits only.
const english_levels = [_]Spelling{
    .{ "no_english", &.{ "noenglish", "none", "no" } },
    .{ "basic", &.{ "basic", "beginner", "elementary", "a1" } },
    .{ "pre_intermediate", &.{ "preintermediate", "pre", "a2" } },
    .{ "intermediate", &.{ "intermediate", "b1" } },
    .{ "upper_intermediate", &.{ "upperintermediate", "upper", "b2" } },
    .{ "advanced", &.{ "advanced", "c1" } },
    .{ "fluent", &.{ "fluent", "proficient", "c2" } },
    .{ "native", &.{ "native", "mothertongue" } },
};

/// ASCII case is ignored.
const keywords = [_]Spelling{
    .{ "Android", &.{} },
    .{ "C#", &.{ "c sharp", "csharp", "c-sharp" } },
    .{ "C++", &.{ "cpp", "c plus plus" } },
    .{ "Data Engineer", &.{"data engineering"} },
    .{ "Data Science", &.{ "data scientist", "datascience" } },
    .{ "Design", &.{ "designer", "ui/ux" } },
    .{ "DevOps", &.{ "dev ops", "dev-ops" } },
    .{ "Fullstack", &.{ "full stack", "full-stack" } },
    .{ "Go", &.{ "golang", "go lang" } },
    .{ "Java", &.{} },
    .{ "JavaScript", &.{ "js", "java script", "ecmascript" } },
    .{ "Kotlin", &.{} },
    .{ "Machine Learning", &.{ "ml", "machine-learning" } },
    .{ ".NET", &.{ "dotnet", "dot net" } },
    .{ "Node.js", &.{ "node", "nodejs", "node js" } },
    .{ "PHP", &.{} },
    .{ "Project Manager", &.{"project management"} },
    .{ "Python", &.{"python3"} },
    .{ "QA", &.{ "quality assurance", "tester" } },
    .{ "React", &.{ "reactjs", "react.js" } },
    .{ "Ruby", &.{ "ruby on rails", "ror" } },
    .{ "Rust", &.{"rustlang"} },
    .{ "Scala", &.{} },
    .{ "SQL", &.{} },
    .{ "TypeScript", &.{ "ts", "type script" } },
    .{ "iOS", &.{"ios developer"} },
};

pub fn normalize(row: Row) !c.forebay_plugin_types_outcome_t {
    if (Row.text(row.title)) |title| {
        if (isTest(title)) return .{
            .tag = c.FOREBAY_PLUGIN_TYPES_OUTCOME_DROP,
            .val = .{ .drop = try memory.owned("TEST_POSTING") },
        };
    }
    var arena: std.heap.ArenaAllocator = .init(gpa);
    defer arena.deinit();
    var set: std.ArrayList(c.forebay_plugin_types_field_t) = .empty;
    const tidied = .{
        .{ "company_name", clean },
        .{ "english_level", englishLevel },
        .{ "primary_keyword", keyword },
    };
    inline for (tidied) |entry| {
        const name, const spell = entry;
        if (Row.text(@field(row, name))) |text| {
            const tidy = try spell(arena.allocator(), text);
            // An empty text becomes null.
            if (tidy.len == 0 or !std.mem.eql(u8, tidy, text)) {
                try set.append(gpa, .{ .name = try memory.owned(name), .value = try value(tidy) });
            }
        }
    }
    if (set.items.len == 0) return .{ .tag = c.FOREBAY_PLUGIN_TYPES_OUTCOME_UNCHANGED };
    const fields = try set.toOwnedSlice(gpa);
    return .{
        .tag = c.FOREBAY_PLUGIN_TYPES_OUTCOME_SET,
        .val = .{ .set = memory.list(c.forebay_plugin_types_list_field_t, fields) },
    };
}

fn value(text: []const u8) !c.forebay_plugin_types_value_t {
    if (text.len == 0) return .{ .tag = c.FOREBAY_PLUGIN_TYPES_VALUE_NONE };
    return .{
        .tag = c.FOREBAY_PLUGIN_TYPES_VALUE_TEXT,
        .val = .{ .text = try memory.owned(text) },
    };
}

fn isTest(title: []const u8) bool {
    var rest = unicode.codepoints(title);
    while (true) {
        const at = rest.i;
        const codepoint = rest.nextCodepoint() orelse return false;
        if (unicode.isSpace(codepoint) or unicode.isInvisible(codepoint)) continue;
        return std.ascii.startsWithIgnoreCase(title[at..], "[test]");
    }
}

/// Trims, makes each run of white space one space, and removes invisible characters.
fn clean(arena: std.mem.Allocator, text: []const u8) ![]const u8 {
    var cleaned: std.ArrayList(u8) = try .initCapacity(arena, text.len);
    var space = false;
    var rest = unicode.codepoints(text);
    while (true) {
        const at = rest.i;
        const codepoint = rest.nextCodepoint() orelse return cleaned.items;
        if (unicode.isInvisible(codepoint)) continue;
        if (unicode.isSpace(codepoint)) {
            space = cleaned.items.len > 0;
            continue;
        }
        if (space) cleaned.appendAssumeCapacity(' ');
        space = false;
        cleaned.appendSliceAssumeCapacity(text[at..rest.i]);
    }
}

fn englishLevel(arena: std.mem.Allocator, text: []const u8) ![]const u8 {
    for (english_levels) |spelling| {
        const level, const aliases = spelling;
        if (std.mem.eql(u8, text, level)) return level;
        for (aliases) |alias| if (isSameLevel(text, alias)) return level;
    }
    const cleaned = try clean(arena, text);
    return if (cleaned.len == 0) cleaned else text;
}

fn isSameLevel(text: []const u8, alias: []const u8) bool {
    var left = alias;
    var rest = unicode.codepoints(text);
    while (rest.nextCodepoint()) |codepoint| {
        if (!unicode.isAlphanumeric(codepoint)) continue;
        // Aliases are ASCII, so a text that equals one in lower case is ASCII too.
        const char = std.math.cast(u7, codepoint) orelse return false;
        if (left.len == 0 or std.ascii.toLower(char) != left[0]) return false;
        left = left[1..];
    }
    return left.len == 0;
}

fn keyword(arena: std.mem.Allocator, text: []const u8) ![]const u8 {
    const cleaned = try clean(arena, text);
    for (keywords) |spelling| {
        const name, const aliases = spelling;
        if (std.ascii.eqlIgnoreCase(cleaned, name)) return name;
        for (aliases) |alias| if (std.ascii.eqlIgnoreCase(cleaned, alias)) return name;
    }
    return cleaned;
}
