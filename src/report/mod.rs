//! `report.html`: a run on one page, for a person.
//!
//! The page is one file that asks nothing of any network: style, script and charts are inside, and its content
//! security policy forbids the rest. Question text is hostile input: the template engine escapes it, control and
//! direction characters are shown by name, every text is isolated (`<bdi>`) and cut, and the search data cannot end
//! its script element. Whatever the size of the run the page stays under 10 MB, and says what it left out.
//!
//! [`page::render`] makes the page from a [`source::Source`], which a run has in memory and `mine report` reads back;
//! pairs come as a stream (`tally`). The template, its style and its script are in `templates/`.

mod charts;
mod clusters;
mod format;
pub mod labels;
pub mod page;
mod run;
mod search;
mod smallest;
pub mod source;
mod tally;

/// File name in the output folder.
pub const FILE: &str = "report.html";
