//! `report.html`: a run on one page, for a person.
//!
//! The page is one file that loads nothing from a network: style, script and charts are inside, and its content
//! security policy forbids everything else. Question text is hostile input: the template engine escapes it, control and
//! direction characters are shown by name, every text is isolated (`<bdi>`) and cut, and the search data cannot end its
//! script element. The page stays under 10 MB for a run of any size, and says what it leaves out.
//!
//! [`page::render`] makes the page from a [`source::Source`], which a run holds in memory and `mine report` reads from
//! the folder; pairs come as a stream (`tally`). The template, its style and its script are in `templates/`.

mod charts;
mod clusters;
mod format;
pub mod label_file;
pub mod labels;
mod night;
pub mod page;
mod run;
mod search;
mod smallest;
pub mod source;
mod tally;
pub mod thresholds;

pub use page::FILE;
