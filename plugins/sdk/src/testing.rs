//! Settings and rows for native tests of plugins, without a sandbox.
//!
//! The imports of a plugin ([`embeddings`](crate::embeddings), [`log()`](crate::log)) exist only
//! in the sandbox, where `forebay plugin test` tests the component itself.

use crate::bindings::forebay::packed::types::Cells;
use crate::columns;
use crate::{Plugin, Record, Settings, Value, packed};

/// Configures a plugin with these settings.
///
/// # Errors
/// The message with which the plugin refuses them.
pub fn configured<P: Plugin>(settings: &[(&str, &str)]) -> Result<P, String> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let mut settings = Settings::new(settings.iter().map(owned).collect());
    let plugin = P::configure(&mut settings)?;
    settings.finish()?;
    Ok(plugin)
}

/// The row of a batch with one row.
#[derive(Debug)]
pub struct Row {
    columns: Vec<String>,
    cells: Cells,
}

/// Makes a row with the key `key` and these columns.
///
/// ```
/// # use forebay_plugin::{Value, testing};
/// # forebay_plugin::columns! { struct Posting { exp_years, title } }
/// let row = testing::row([("exp_years", Value::Integer(3))]);
/// let posting: Posting = row.view();
/// assert_eq!(posting.exp_years.integer(), Some(3));
/// assert!(posting.title.is_none());
/// ```
pub fn row<'n>(columns: impl IntoIterator<Item = (&'n str, Value)>) -> Row {
    let mut cells = packed::none();
    packed::push(&mut cells, &Value::Text("key".to_owned()));
    let pairs = columns.into_iter().map(|(name, value)| {
        packed::push(&mut cells, &value);
        name.to_owned()
    });
    let columns = pairs.collect();
    Row { columns, cells }
}

impl Row {
    /// The row as a plugin sees it.
    pub fn view<'a, R: Record<'a>>(&'a self) -> R {
        let row = columns::Row::first(&self.cells);
        R::view(&R::layout(&self.columns), row)
    }
}
