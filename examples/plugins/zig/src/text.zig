//! Unicode properties of characters.

const std = @import("std");

/// The code points of a text, which the host has checked.
pub fn codepoints(text: []const u8) std.unicode.Utf8Iterator {
    return std.unicode.Utf8View.initUnchecked(text).iterator();
}

pub fn length(text: []const u8) usize {
    var count: usize = 0;
    var rest = codepoints(text);
    while (rest.nextCodepoint() != null) count += 1;
    return count;
}

/// White space as defined by Unicode (White_Space).
pub fn isSpace(codepoint: u21) bool {
    return switch (codepoint) {
        '\t'...'\r', ' ', 0x85, 0xa0, 0x1680, 0x2000...0x200a => true,
        0x2028, 0x2029, 0x202f, 0x205f, 0x3000 => true,
        else => false,
    };
}

/// Zero-width space, word joiner, byte order mark: left over from copying from web pages.
/// Not the zero-width joiners, which some scripts need.
pub fn isInvisible(codepoint: u21) bool {
    return codepoint == 0x200b or codepoint == 0x2060 or codepoint == 0xfeff;
}

/// Letters and digits. Zig's standard library has no such table, C's has.
pub fn isAlphanumeric(codepoint: u21) bool {
    return iswalnum(codepoint) != 0;
}

extern "c" fn iswalnum(codepoint: c_uint) c_int;

/// The text without white space at both ends.
pub fn trim(text: []const u8) []const u8 {
    var start: ?usize = null;
    var end: usize = 0;
    var rest = codepoints(text);
    while (true) {
        const at = rest.i;
        const codepoint = rest.nextCodepoint() orelse break;
        if (isSpace(codepoint)) continue;
        start = start orelse at;
        end = rest.i;
    }
    return text[start orelse 0 .. end];
}
