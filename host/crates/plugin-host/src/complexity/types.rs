//! Number of types of a component. Types can be nested, and parsing and validating them is
//! recursive: 1,200 levels, which take 4 KB, would overflow a thread's stack.

use wasmparser::{BinaryReader, ComponentType, ComponentTypeDeclaration};

use super::bound::{ComplexityError, at_most};

/// Maximum depth of nested types. Tools generate three.
const MAX_DEPTH: usize = 100;

/// First byte of a declaration that is a type.
const TYPE: u8 = 0x01;

/// First bytes of types that contain declarations.
const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;

/// Counts the types and declarations in a section, nested ones included, without recursion.
pub(super) fn count(mut reader: BinaryReader<'_>) -> Result<usize, ComplexityError> {
    let mut types = 0;
    // Items left on each level: types on the first, declarations on the others.
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
            at_most(open.len(), MAX_DEPTH, "levels of nested types")?;
        } else {
            reader.read::<ComponentType<'_>>()?;
        }
    }
    Ok(types)
}
