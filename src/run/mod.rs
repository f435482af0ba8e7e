//! A run as a typed thing: what it is asked for, how it decides, what it writes, and how that is read back.
//!
//! | file | what it fixes |
//! |---|---|
//! | `flags` | options as they are written: flags and TOML keys |
//! | `options` | the table of options: default, range, what each one decides |
//! | `input` | which files `--input` names |
//! | `keep` | which question represents a cluster |
//! | `decision` | which pairs are duplicates: the only place that decides |
//! | `manifest` | `manifest.json` |
//! | `schema` | the Parquet files: rows and columns |
//! | `change_schema` | the files that say what changed from version to version |
//! | `reader` | a finished run, read from its folder |

pub mod change_schema;
pub mod decision;
pub mod flags;
pub mod input;
pub mod keep;
pub mod manifest;
pub mod options;
pub mod reader;
pub mod schema;
