//! Generated code. Each interface that a plugin may export has a world of its own, because a
//! component must have all exports of every world that describes it: [`export!`](crate::export)
//! uses the worlds of the plugin's roles. All of them share the types of the first one.

#![allow(clippy::all, missing_docs, unreachable_pub)]

wit_bindgen::generate!({
    path: ["wit", "wit/packed"],
    inline: "
        package forebay:rust;
        world imports {
            import forebay:plugin/types@0.1.0;
            import forebay:plugin/log@0.1.0;
            import forebay:plugin/embeddings@0.1.0;
            import forebay:packed/types@0.1.0;
        }
    ",
    generate_all,
});

macro_rules! export_of {
    ($module:ident, $world:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: ["wit", "wit/packed"],
                inline: $world,
                with: {
                    "forebay:plugin/types@0.1.0": crate::bindings::forebay::plugin::types,
                    "forebay:packed/types@0.1.0": crate::bindings::forebay::packed::types,
                },
                pub_export_macro: true,
                generate_all,
            });
        }
    };
}

export_of!(
    describe,
    "
        package forebay:rust;
        world describe {
            import forebay:plugin/types@0.1.0;
            import forebay:packed/types@0.1.0;
            export forebay:plugin/describe@0.1.0;
        }
    "
);

export_of!(
    transform,
    "
        package forebay:rust;
        world transform {
            import forebay:plugin/types@0.1.0;
            import forebay:packed/types@0.1.0;
            export forebay:packed/transform@0.1.0;
        }
    "
);

export_of!(
    validate,
    "
        package forebay:rust;
        world validate {
            import forebay:plugin/types@0.1.0;
            import forebay:packed/types@0.1.0;
            export forebay:packed/validate@0.1.0;
        }
    "
);

export_of!(
    policy,
    "
        package forebay:rust;
        world policy {
            import forebay:plugin/types@0.1.0;
            import forebay:packed/types@0.1.0;
            export forebay:plugin/dead-letter-policy@0.1.0;
        }
    "
);
