//! How much there is to compile in a function. It is more than its bytes say: each local is
//! followed through each block, and each value of a call through registers. 4,000 bytes can ask
//! for minutes and gigabytes.

use wasmparser::{BlockType, FunctionBody, Operator};

use super::{Unfit, at_most};

/// Bytes of a function's body. The largest that tools are known to make, the loop of CPython, has
/// 430 KB.
const MAX_SIZE: usize = 1 << 20;

/// Blocks times locals, and calls times values. What tools make has 130,000 at most; so much takes
/// up to 10 s.
const MAX_EFFORT: usize = 600_000;

/// Loops within each other. The most that tools are known to make, in an interpreter, are 21.
const MAX_LOOPS: usize = 100;

/// What is counted, for messages.
pub(super) const EFFORT: &str = "blocks times locals and calls times values";

/// Effort for a value that a block takes or leaves. Tools make no such blocks: locals do.
const OF_VALUE: usize = 100;

/// Loops of a function of which each costs as much as a local more in each after them: the
/// compiler's time grows with their square. Tools make 81.
const LOOPS_LIKE_A_LOCAL: usize = 8;

/// The types of functions in a module.
#[derive(Default)]
pub(super) struct Signatures {
    /// Parameters and results of each.
    pub(super) values: Vec<usize>,
    /// Of the one with the most.
    pub(super) most: usize,
}

impl Signatures {
    fn of_block(&self, ty: BlockType) -> usize {
        match ty {
            BlockType::FuncType(index) => {
                let values = self.values.get(index as usize).copied();
                values.unwrap_or_default().saturating_mul(OF_VALUE)
            }
            BlockType::Empty | BlockType::Type(_) => 0,
        }
    }
}

/// The effort of a function.
pub(super) fn effort(body: &FunctionBody<'_>, signatures: &Signatures) -> Result<usize, Unfit> {
    at_most(body.range().len(), MAX_SIZE, "bytes in a function")?;
    let mut locals = signatures.most;
    for group in body.get_locals_reader()? {
        let (count, _) = group?;
        locals = locals.saturating_add(count as usize);
    }
    let (mut effort, mut loops, mut nested) = (0_usize, 0_usize, 0_usize);
    // Of each block that is open, whether it is a loop.
    let mut open = Vec::new();
    for operator in body.get_operators_reader()? {
        effort = effort.saturating_add(match operator? {
            Operator::Loop { blockty } => {
                open.push(true);
                loops += 1;
                nested += 1;
                locals + loops / LOOPS_LIKE_A_LOCAL + signatures.of_block(blockty)
            }
            Operator::Block { blockty } | Operator::If { blockty } | Operator::Try { blockty } => {
                open.push(false);
                locals + signatures.of_block(blockty)
            }
            Operator::TryTable { try_table } => {
                open.push(false);
                locals + signatures.of_block(try_table.ty)
            }
            Operator::Else => locals,
            Operator::End => {
                nested -= usize::from(open.pop() == Some(true));
                0
            }
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => signatures.most,
            _ => 0,
        });
        at_most(nested, MAX_LOOPS, "loops within each other")?;
    }
    at_most(effort, MAX_EFFORT, &format!("{EFFORT} in a function"))?;
    Ok(effort)
}
