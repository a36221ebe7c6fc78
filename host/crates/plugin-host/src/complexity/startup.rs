//! Steps of a module before any of its functions is called. Tables and memories with contents known
//! in advance are laid out by the compiler. All other initialization of them and of globals is
//! compiled as one long function: 50 KB of it take 5 s and 360 MB.

use std::ops::Range;

use wasmparser::{
    ConstExpr, Data, DataKind, Element, ElementItems, ElementKind, Global, Operator, Result, Table,
    TableInit, TypeRef,
};

/// Bytes within which the contents of a memory are laid out however sparse they are, and ratio of
/// memory to contents up to which they are laid out beyond that. Both as in wasmtime.
const DENSE: u64 = 16 << 20;
const SPARSE: u64 = 2;

/// The tables and memories of a module.
#[derive(Default)]
pub(super) struct Startup {
    imported_tables: usize,
    imported_memories: usize,
    /// Elements of each of its own tables.
    tables: Vec<u64>,
    /// Bytes of each of its own memories.
    memories: Vec<u64>,
}

impl Startup {
    pub(super) fn import(&mut self, ty: TypeRef) {
        match ty {
            TypeRef::Table(_) => self.imported_tables += 1,
            TypeRef::Memory(_) => self.imported_memories += 1,
            _ => {}
        }
    }

    pub(super) fn memory(&mut self, ty: wasmparser::MemoryType) {
        let page = 1_u64.checked_shl(ty.page_size_log2.unwrap_or(16));
        self.memories
            .push(ty.initial.saturating_mul(page.unwrap_or(u64::MAX)));
    }

    /// Returns the steps for a table.
    pub(super) fn table(&mut self, table: &Table<'_>) -> Result<usize> {
        self.tables.push(table.ty.initial);
        match &table.init {
            TableInit::RefNull => Ok(0),
            TableInit::Expr(value) => operators(value),
        }
    }

    /// Returns the steps for a global.
    pub(super) fn global(global: &Global<'_>) -> Result<usize> {
        operators(&global.init_expr)
    }

    /// Returns the steps for an element segment.
    pub(super) fn elements(&self, segment: Element<'_>) -> Result<usize> {
        let functions = match segment.items {
            ElementItems::Functions(functions) => functions.count(),
            ElementItems::Expressions(_, values) => {
                let each = values.into_iter().map(|value| operators(&value?));
                return each.sum();
            }
        };
        if let ElementKind::Active {
            table_index,
            offset_expr,
        } = &segment.kind
            && let Some(size) = own(&self.tables, self.imported_tables, table_index.unwrap_or(0))
            && let Some(begin) = constant(offset_expr)?
            && begin.saturating_add(functions.into()) <= size
        {
            return Ok(0);
        }
        Ok(functions as usize)
    }

    /// Returns the steps for all data segments together.
    pub(super) fn data<'a>(
        &self,
        segments: impl Iterator<Item = Result<Data<'a>>>,
    ) -> Result<usize> {
        let (mut steps, mut is_known, mut bytes) = (0, true, 0_u64);
        let mut extent: Option<Range<u64>> = None;
        for segment in segments {
            let segment = segment?;
            steps += 1;
            match self.place(&segment)? {
                Some(place) => {
                    bytes = bytes.saturating_add(place.end - place.start);
                    extent = Some(match extent {
                        Some(all) => all.start.min(place.start)..all.end.max(place.end),
                        None => place,
                    });
                }
                None => is_known = false,
            }
        }
        let extent = extent.map_or(0, |all| all.end - all.start);
        let is_dense = extent < DENSE.max(bytes.saturating_mul(SPARSE));
        Ok(if is_known && is_dense { 0 } else { steps })
    }

    /// The range of a segment in the first memory, if it is known in advance.
    fn place(&self, segment: &Data<'_>) -> Result<Option<Range<u64>>> {
        let DataKind::Active {
            memory_index: 0,
            offset_expr,
        } = &segment.kind
        else {
            return Ok(None);
        };
        let size = own(&self.memories, self.imported_memories, 0);
        let place = constant(offset_expr)?.map(|begin| {
            let end = begin.saturating_add(segment.data.len() as u64);
            begin..end
        });
        Ok(place.filter(|place| size.is_some_and(|size| place.end <= size)))
    }
}

/// The size of a table or memory; `None` if it is imported. Imported ones have the first indices.
fn own(sizes: &[u64], imported: usize, index: u32) -> Option<u64> {
    let index = (index as usize).checked_sub(imported)?;
    sizes.get(index).copied()
}

fn operators(expression: &ConstExpr<'_>) -> Result<usize> {
    let mut operators = 0;
    for operator in expression.get_operators_reader() {
        operator?;
        operators += 1;
    }
    Ok(operators)
}

/// The value of an expression that is a constant and nothing else.
fn constant(expression: &ConstExpr<'_>) -> Result<Option<u64>> {
    let mut reader = expression.get_operators_reader();
    let value = match reader.read()? {
        Operator::I32Const { value } => u64::from(value.cast_unsigned()),
        Operator::I64Const { value } => value.cast_unsigned(),
        _ => return Ok(None),
    };
    Ok(matches!(reader.read()?, Operator::End).then_some(value))
}
