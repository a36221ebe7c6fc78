//! Helpers for every plugin: they convert the interface's strings and lists, which live on C's
//! heap, to slices and back.

const std = @import("std");
const c = @import("bindings");

/// Allocator of answers, because the bindings free them with C's `free`.
pub const gpa = std.heap.c_allocator;

/// A panic, or a failed safety check, traps. Its message goes to the host; Zig knows no place for
/// it in WebAssembly, so prefer `fail`.
pub const panic = std.debug.FullPanic(struct {
    fn log(message: []const u8, _: ?usize) noreturn {
        var line: c.plugin_string_t = .{ .ptr = @constCast(message.ptr), .len = message.len };
        c.forebay_plugin_log_log(c.FOREBAY_PLUGIN_LOG_LEVEL_ERROR, &line);
        @trap();
    }
}.log);

/// Traps with the name of an error, and file and line: `catch |err| support.fail(@src(), err)`.
pub fn fail(at: std.builtin.SourceLocation, err: anyerror) noreturn {
    var buffer: [256]u8 = undefined;
    const message = std.fmt.bufPrint(&buffer, "{s}:{d}: error.{s}", .{ at.file, at.line, @errorName(err) });
    @panic(message catch @errorName(err));
}

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
