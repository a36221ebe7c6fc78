//! What every plugin needs: the bindings, and texts of the interface as slices.

const std = @import("std");

pub const c = @cImport(@cInclude("plugin.h"));

/// What the interface is given must be freed by its bindings, which use this one.
pub const allocator = std.heap.c_allocator;

pub const Text = c.plugin_string_t;

/// A text of the interface; only for as long as that is there.
pub fn slice(text: Text) []const u8 {
    return if (text.len == 0) "" else text.ptr[0..text.len];
}

/// A copy, for the interface to keep.
pub fn copy(text: []const u8) Text {
    return .{ .ptr = (allocator.dupe(u8, text) catch outOfMemory()).ptr, .len = text.len };
}

/// A list for the interface to keep. It wants null where a list is empty.
pub fn list(comptime T: type, len: usize) []T {
    return allocator.alloc(T, len) catch outOfMemory();
}

/// Answers `err` with a message.
pub fn refuse(to: *Text, comptime format: []const u8, arguments: anytype) bool {
    const message = std.fmt.allocPrint(allocator, format, arguments) catch outOfMemory();
    to.* = .{ .ptr = message.ptr, .len = message.len };
    return false;
}

/// Ends the call with a trap: the host then halves the batch.
pub fn outOfMemory() noreturn {
    @panic("out of memory");
}
