//! Types of a component. Types can be within each other, and both reading and checking them is
//! recursive: 1,200 levels, which take 4 KB, would overflow a thread's stack.

use wasmparser::{BinaryReader, ComponentType, ComponentTypeDeclaration};

use super::{Unfit, at_most};

/// Types within each other. Tools make three.
const MAX_DEPTH: usize = 100;

/// What a declaration begins with that is a type.
const TYPE: u8 = 0x01;

/// What types begin with that have declarations within them.
const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;

/// The number of types and declarations in a section, with all within each other. The walk
/// itself is not recursive.
pub(super) fn count(mut reader: BinaryReader<'_>) -> Result<usize, Unfit> {
    let mut types = 0;
    // How much is to come on each level: types on the first, declarations on the others.
    let mut open = vec![reader.read_var_u32()?];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        types += 1;
        if open.len() > 1 {
            if reader.clone().read_u8()? != TYPE {
                reader.read::<ComponentTypeDeclaration<'_>>()?;
                continue;
            }
            reader.read_u8()?;
        }
        if matches!(reader.clone().read_u8()?, COMPONENT | INSTANCE) {
            reader.read_u8()?;
            open.push(reader.read_var_u32()?);
            at_most(open.len(), MAX_DEPTH, "types within each other")?;
        } else {
            reader.read::<ComponentType<'_>>()?;
        }
    }
    Ok(types)
}
