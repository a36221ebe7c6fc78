//! What a terminal shows: tables within its columns, colours unless `NO_COLOR` is set.

use support::Place;

/// Checks that a pipe gets what a terminal of 80 columns shows, and a wide terminal shows more.
#[track_caller]
pub(crate) fn assert_same_when_piped(place: &Place, arguments: &[&str]) {
    let piped = place.done(arguments);
    assert_eq!(place.on_terminal(80, "", arguments), piped);
    assert_eq!(place.on_terminal(40, "", arguments), piped);
    let width = |text: &str| text.lines().map(|line| line.chars().count()).max();
    assert!(width(&piped) <= Some(80), "{piped}");
    let wide = place.on_terminal(200, "", arguments);
    assert!(
        width(&piped) < width(&wide) && width(&wide) <= Some(200),
        "{wide}"
    );
    assert_eq!(piped.lines().count(), wide.lines().count(), "{wide}");
}

#[test]
fn logs_have_colours_on_a_terminal_unless_no_color_is_set() {
    let place = Place::new();
    place.start_server();
    let arguments = ["--log", "debug", "migrate"];
    let adopted = "adopting the running PostgreSQL";
    let coloured = place.on_terminal(80, "", &arguments);
    assert!(
        coloured.contains(adopted) && coloured.contains("\x1b["),
        "{coloured:?}"
    );
    let plain = place.on_terminal(80, "NO_COLOR=1", &arguments);
    assert!(
        plain.contains(adopted) && !plain.contains('\x1b'),
        "{plain:?}"
    );
    let piped = place.run(&arguments).err;
    assert!(
        piped.contains(adopted) && !piped.contains('\x1b'),
        "{piped:?}"
    );
}
