//! How much there is to compile in a function. It is more than its bytes say: each local is
//! followed through each block, and each value of a call through registers. 4,000 bytes can ask
//! for minutes and gigabytes.

use wasmparser::{FunctionBody, Operator};

use super::{Unfit, at_most};

/// Bytes of a function's body. The largest that tools are known to make, the loop of CPython, has
/// 430 KB.
const MAX_SIZE: usize = 1 << 20;

/// Blocks times locals, and calls times values. What tools make has 150,000 at most, and twice
/// that takes up to 10 s.
const MAX_EFFORT: usize = 300_000;

/// Loops within each other. The most that tools are known to make, in an interpreter, are 21.
const MAX_LOOPS: usize = 100;

/// What is counted, for messages.
pub(super) const EFFORT: &str = "blocks times locals and calls times values";

/// The effort of a function whose module has types of `values` parameters and results at most.
pub(super) fn effort(body: &FunctionBody<'_>, values: usize) -> Result<usize, Unfit> {
    at_most(body.range().len(), MAX_SIZE, "bytes in a function")?;
    let mut locals = values;
    for group in body.get_locals_reader()? {
        let (count, _) = group?;
        locals = locals.saturating_add(count as usize);
    }
    let (mut effort, mut loops) = (0_usize, 0_usize);
    // Of each block that is open, whether it is a loop.
    let mut open = Vec::new();
    for operator in body.get_operators_reader()? {
        effort = effort.saturating_add(match operator? {
            Operator::Loop { .. } => {
                open.push(true);
                loops += 1;
                locals
            }
            Operator::Block { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => {
                open.push(false);
                locals
            }
            Operator::Else => locals,
            Operator::End => {
                loops -= usize::from(open.pop() == Some(true));
                0
            }
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => values,
            _ => 0,
        });
        at_most(loops, MAX_LOOPS, "loops within each other")?;
    }
    at_most(effort, MAX_EFFORT, &format!("{EFFORT} in a function"))?;
    Ok(effort)
}
