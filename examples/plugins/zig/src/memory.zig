//! The interface's strings and lists, which live on C's heap, as slices and back.

const std = @import("std");
const c = @import("bindings");

/// Allocator of results, because the bindings free them with C's `free`.
pub const gpa = std.heap.c_allocator;

/// The items of a list or the bytes of a string, which own them.
pub fn items(of: anytype) []std.meta.Child(@TypeOf(of.ptr)) {
    return if (of.len == 0) &.{} else of.ptr[0..of.len];
}

/// A list that owns `from`; null if it is empty.
pub fn list(comptime List: type, from: anytype) List {
    return .{ .ptr = if (from.len == 0) null else from.ptr, .len = from.len };
}

/// A string with a copy of `text`.
pub fn owned(text: []const u8) !c.plugin_string_t {
    return list(c.plugin_string_t, try gpa.dupe(u8, text));
}

/// A string formatted by `std.fmt`.
pub fn print(comptime format: []const u8, args: anytype) !c.plugin_string_t {
    return list(c.plugin_string_t, try std.fmt.allocPrint(gpa, format, args));
}
