//! The fault of a row that cannot be decoded.

/// A row's fault: code, message, field. Boxed, so that the good case is returned in registers.
pub(super) type Fault = Box<(&'static str, String, Option<String>)>;

#[cold]
pub(super) fn fault(
    code: &'static str,
    message: impl Into<String>,
    field: Option<String>,
) -> Fault {
    Box::new((code, message.into(), field))
}

#[cold]
pub(super) fn wrong_type(number: u32) -> Fault {
    let message = format!("field {number} has the wrong wire type");
    fault("ROW_MALFORMED", message, None)
}
