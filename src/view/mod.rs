//! What `mine show` and `mine explain` say of a run.
//!
//! Pure functions: rows of a finished run in, typed views for JSON and blocks of text for a terminal out. Nothing here
//! reads a file, prints, or knows how wide the terminal is.
//!
//! | file | what it describes |
//! |---|---|
//! | `overview` | the run as a whole |
//! | `cluster` | one cluster: its questions and the scores between them |
//! | `question` | one question: its cluster, its pairs, and why it is where it is |
//! | `apart` | why duplicates are in different clusters |
//! | `pair` | one pair of the run |
//! | `decided` | what the run decided about two of its questions |
//! | `explanation` | two texts that someone typed, and what a run would decide |
//! | `named` | ids and texts of questions, and the row of a typed id |
//! | `block` | lines and tables, before they are fitted to a terminal |

pub mod apart;
pub mod block;
pub mod cluster;
pub mod decided;
pub mod explanation;
pub mod named;
pub mod overview;
pub mod pair;
pub mod question;
