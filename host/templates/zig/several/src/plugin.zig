//! Begins with these roles: {{roles}}. They change nothing yet.
//!
//! The exports are called by the generated bindings. Arguments belong to the callee, which frees
//! them; answers belong to the host.

const c = @import("bindings");
const support = @import("support.zig");

pub const panic = support.panic;

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
{{#transform}}

const Outcome = c.forebay_plugin_types_outcome_t;
const Outcomes = c.exports_forebay_plugin_transform_list_outcome_t;

export fn exports_forebay_plugin_transform_transform(
    batch: *c.exports_forebay_plugin_transform_batch_t,
    to: *Outcomes,
    _: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_transform_batch_free(batch);
    to.* = transform(batch.rows.len) catch |err| support.fail(@src(), err);
    return true;
}

fn transform(rows: usize) !Outcomes {
    const outcomes = try support.gpa.alloc(Outcome, rows);
    for (outcomes) |*to| to.* = .{ .tag = c.FOREBAY_PLUGIN_TYPES_OUTCOME_UNCHANGED };
    return support.list(Outcomes, outcomes);
}
{{/transform}}
{{#validate}}

const Rejections = c.exports_forebay_plugin_validate_list_rejection_t;
const Faults = c.exports_forebay_plugin_validate_list_list_rejection_t;

export fn exports_forebay_plugin_validate_validate(
    batch: *c.exports_forebay_plugin_validate_batch_t,
    to: *Faults,
    _: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_validate_batch_free(batch);
    to.* = validate(batch.rows.len) catch |err| support.fail(@src(), err);
    return true;
}

fn validate(rows: usize) !Faults {
    const faults = try support.gpa.alloc(Rejections, rows);
    for (faults) |*to| to.* = .{ .ptr = null, .len = 0 };
    return support.list(Faults, faults);
}
{{/validate}}
{{#policy}}

const Failure = c.exports_forebay_plugin_dead_letter_policy_failure_t;
const Decision = c.exports_forebay_plugin_dead_letter_policy_decision_t;
const Decisions = c.exports_forebay_plugin_dead_letter_policy_list_decision_t;

export fn exports_forebay_plugin_dead_letter_policy_decide(
    failures: *c.exports_forebay_plugin_dead_letter_policy_list_failure_t,
    to: *Decisions,
    _: *c.plugin_string_t,
) bool {
    defer c.exports_forebay_plugin_dead_letter_policy_list_failure_free(failures);
    to.* = decide(support.items(failures.*)) catch |err| support.fail(@src(), err);
    return true;
}

fn decide(failures: []Failure) !Decisions {
    const decisions = try support.gpa.alloc(Decision, failures.len);
    for (decisions, failures) |*to, failure| to.* = .{
        .tag = c.EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DEAD_LETTER,
        .val = .{ .dead_letter = try support.owned(support.items(failure.stage)) },
    };
    return support.list(Decisions, decisions);
}
{{/policy}}
