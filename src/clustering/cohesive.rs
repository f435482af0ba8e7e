pub fn representatives(c: &super::Canonical) -> Vec<u32> { super::star::representatives(c) }
