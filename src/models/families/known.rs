//! The families that this binary computes, found by their `model_type`.

use crate::models::families::family::Family;
use crate::models::families::{bert, distilbert, mpnet, roberta};

/// Every family this binary computes.
pub const FAMILIES: [&Family; 4] = [&bert::FAMILY, &roberta::FAMILY, &distilbert::FAMILY, &mpnet::FAMILY];

impl Family {
    /// The family of a `model_type`.
    pub fn of(model_type: &str) -> Option<&'static Self> {
        FAMILIES.into_iter().find(|family| family.model_types.contains(&model_type))
    }

    /// Every `model_type` there is, for messages.
    pub fn model_types() -> String {
        FAMILIES.iter().flat_map(|family| family.model_types).copied().collect::<Vec<_>>().join(", ")
    }
}
