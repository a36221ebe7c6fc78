//! Effort to compile a function. Its size is no measure: the compiler tracks each local through
//! each block, and each value of a call through registers. 4,000 bytes can take minutes and
//! gigabytes.

use wasmparser::{BlockType, FunctionBody, Operator};

use super::bound::{ComplexityError, at_most};

/// Maximum bytes of a function's body. The largest known from real tools, CPython's main loop, has
/// 430 KB.
const MAX_SIZE: usize = 1 << 20;

/// Maximum effort of a function: blocks times locals, plus calls times values. Tools generate at
/// most 130,000; this much takes up to 10 s.
const MAX_EFFORT: usize = 600_000;

/// Maximum depth of nested loops. The deepest known from real tools, in an interpreter, is 21.
const MAX_LOOPS: usize = 100;

/// Unit of effort, for messages.
pub(super) const EFFORT: &str = "units of effort (blocks times locals plus calls times values)";

/// Effort for a parameter or result of a block. Tools use locals instead.
const VALUE_EFFORT: usize = 100;

/// Number of loops that add as much effort to each later loop as one local does: the compiler's
/// time grows with the square of their number. Tools generate 81.
const LOOPS_PER_LOCAL: usize = 8;

/// Function types of a module.
#[derive(Default)]
pub(super) struct Signatures {
    /// Number of parameters and results of each type.
    pub(super) values: Vec<usize>,
    /// Maximum of these numbers.
    pub(super) most: usize,
}

impl Signatures {
    /// Effort for the parameters and results of a block.
    fn of_block(&self, ty: BlockType) -> usize {
        match ty {
            BlockType::FuncType(index) => {
                let values = self.values.get(index as usize).copied();
                values.unwrap_or_default().saturating_mul(VALUE_EFFORT)
            }
            BlockType::Empty | BlockType::Type(_) => 0,
        }
    }
}

/// Returns the effort to compile a function.
pub(super) fn effort(
    body: &FunctionBody<'_>,
    signatures: &Signatures,
) -> Result<usize, ComplexityError> {
    at_most(body.range().len(), MAX_SIZE, "bytes in a function")?;
    let mut locals = signatures.most;
    for group in body.get_locals_reader()? {
        let (count, _) = group?;
        locals = locals.saturating_add(count as usize);
    }
    let (mut effort, mut loops, mut nested) = (0_usize, 0_usize, 0_usize);
    // True for each open block that is a loop.
    let mut open = Vec::new();
    for operator in body.get_operators_reader()? {
        effort = effort.saturating_add(match operator? {
            Operator::Loop { blockty } => {
                open.push(true);
                loops += 1;
                nested += 1;
                locals + loops / LOOPS_PER_LOCAL + signatures.of_block(blockty)
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
        at_most(nested, MAX_LOOPS, "levels of nested loops")?;
    }
    at_most(effort, MAX_EFFORT, &format!("{EFFORT} in a function"))?;
    Ok(effort)
}
