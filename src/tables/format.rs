//! Which format a file is read as, and Parquet files opened.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use serde::{Deserialize, Serialize};

use crate::error::{hint, usage_with_hint};
use crate::tables::encoding::Encoding;
use crate::tables::source;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Parquet,
    /// Commas between the fields, with a header.
    Csv,
    /// Tabs between the fields, with a header.
    Tsv,
    /// One JSON object a line, or one array of objects.
    #[value(aliases = ["jsonl", "ndjson"])]
    #[serde(alias = "jsonl", alias = "ndjson")]
    Json,
}

/// What `--input` reads.
pub const READ: &str =
    "files are read by their names: .parquet, .csv, .tsv, .jsonl, .json, and all but .parquet with .gz or .zst";

impl Format {
    /// By extension, without that of a compressed file; `None` for one that is not read.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let bare = [".gz", ".zst"].into_iter().find_map(|packed| name.strip_suffix(packed));
        Self::of_plain(Path::new(bare.unwrap_or(&name)))
    }

    /// By extension, of a file that is not compressed.
    pub fn of_plain(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            _ => None,
        }
    }

    /// What is `given`, else by the name; standard input and Parquet files are told by their first bytes.
    pub fn of_input(path: &Path, given: Option<Self>) -> Result<Self> {
        match given.or_else(|| Self::of(path)) {
            Some(format) => Ok(format),
            None if source::is_stdin(path) || starts_as_parquet(path)? => Self::sniffed(path),
            None => {
                let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
                let advice = match extension.as_deref() {
                    Some("zip" | "bz2" | "xz" | "7z" | "tar" | "tgz") => {
                        "unpack it first; .gz and .zst are unpacked on reading".into()
                    }
                    Some("xlsx" | "xls" | "ods") => "save the sheet as CSV in UTF-8".into(),
                    _ => format!("{READ}; for another name, give --format csv"),
                };
                Err(usage_with_hint(format!("{}: its name does not tell its format", path.display()), advice))
            }
        }
    }

    /// By the first bytes of a file.
    fn sniffed(path: &Path) -> Result<Self> {
        if starts_as_parquet(path)? {
            return Ok(Self::Parquet);
        }
        let mut text = source::text(path, Encoding::Utf8)?;
        let start = text.fill_buf().map_err(|error| source::cannot_read(path, &error))?;
        let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
        let header = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(match start.first() {
            Some(b'[' | b'{') => Self::Json,
            _ if header.contains(&b'\t') => Self::Tsv,
            _ => Self::Csv,
        })
    }

    fn is_delimited(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv)
    }
}

fn starts_as_parquet(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    source::open(path)?
        .take(4)
        .read_to_end(&mut start)
        .with_context(|| format!("cannot read {}", source::name(path)))?;
    Ok(start == b"PAR1")
}

/// Words in the names of columns that hold text, the likeliest first.
const TEXT_WORDS: [&str; 9] = ["question", "text", "title", "body", "content", "message", "query", "prompt", "subject"];

/// Whether a column's name is one that ids have.
pub fn is_like_id(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with("id") || ["key", "index", "number", "nr", "no", "#", ""].contains(&name.as_str())
}

/// The column of `present` that was most likely meant by `name`, which is missing.
fn likely<'a>(name: &str, flag: &str, present: &[&'a String]) -> Option<&'a str> {
    let distance = |column: &&&String| strsim::damerau_levenshtein(&column.to_lowercase(), &name.to_lowercase());
    let nearest = present.iter().min_by_key(distance)?;
    if flag != "--text-column" || distance(&nearest) <= 2 && !is_like_id(nearest) {
        return Some(nearest);
    }
    let texts = present.iter().filter(|column| !is_like_id(column));
    let with = |word: &&str| texts.clone().find(|column| column.to_lowercase().contains(*word));
    TEXT_WORDS.iter().find_map(with).or_else(|| texts.clone().next()).map(|column| column.as_str())
}

/// The error for a column that a file lacks and that `flag` can name. `taken` is a column that serves for something else.
/// `written` is what was typed for the flag, if more than the name.
pub fn missing_column(
    path: &Path,
    (name, written): (&str, &str),
    flag: &str,
    present: &[String],
    taken: Option<&str>,
) -> anyhow::Error {
    let advice = match present {
        [header] if Format::of(path).is_some_and(Format::is_delimited) && header.contains([';', '\t', '|', ',']) => {
            "its header looks like one of other separators: .csv files have commas, .tsv files tabs".to_string()
        }
        _ => {
            let free: Vec<&String> = present.iter().filter(|column| Some(column.as_str()) != taken).collect();
            match likely(name, flag, &free) {
                Some(column) => {
                    let whole = written.replace(name, column);
                    let whole = if whole.contains([' ', '{']) { format!("'{whole}'") } else { whole };
                    format!("name it with {flag}, for instance {flag} {whole}")
                }
                None => format!("name it with {flag}"),
            }
        }
    };
    hint(format!("{}: no column {name:?}; the columns are: {}", source::name(path), present.join(", ")), advice)
}

/// Opens a Parquet file; one whose name says nothing of its format may be another's.
pub fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = match source::is_stdin(path) {
        true => source::open(path)?,
        false => File::open(path).with_context(|| format!("cannot read {}", path.display()))?,
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| {
        let message = format!("{}: not a readable Parquet file: {e}", source::name(path));
        match Format::of_plain(path) {
            Some(_) => anyhow::Error::msg(message),
            None => hint(message, READ),
        }
    })?;
    refuse_rare_compression(path, &builder)?;
    Ok(builder)
}

/// Spark, DuckDB and pandas write Brotli and LZO only when asked to, so the program does not carry their code.
fn refuse_rare_compression(path: &Path, builder: &ParquetRecordBatchReaderBuilder<File>) -> Result<()> {
    for column in builder.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        let codec = match column.compression() {
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            _ => continue,
        };
        return Err(hint(
            format!("{}: {codec} compression is not supported", source::name(path)),
            "write the file again with zstd, snappy, gzip or lz4",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_proposes_text_for_text_and_never_an_id() {
        let proposed = |name: &str, flag: &str, present: &[&str], taken: Option<&str>| {
            let present: Vec<String> = present.iter().map(ToString::to_string).collect();
            let error = missing_column(Path::new("q.csv"), (name, name), flag, &present, taken);
            crate::error::render(&error).lines().last().unwrap().rsplit(' ').next().unwrap().to_string()
        };
        assert_eq!(proposed("text", "--text-column", &["tags", "question"], None), "question");
        assert_eq!(proposed("text", "--text-column", &["id", "Txt"], Some("id")), "Txt");
        assert_eq!(proposed("text", "--text-column", &["qid", "note"], None), "note");
        assert_eq!(proposed("text", "--text-column", &["texts", "note"], Some("texts")), "note");
        assert_eq!(proposed("text", "--text-column", &["id", "uuid"], Some("id")), "--text-column");
        assert_eq!(proposed("tgas", "--id-column", &["tags", "question"], Some("question")), "tags");
    }

    #[test]
    fn a_name_tells_the_format_also_of_a_compressed_file() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(
            (of("a.CSV.gz"), of("a.json.zst"), of("a.ndjson")),
            (Some(Format::Csv), Some(Format::Json), Some(Format::Json))
        );
        assert_eq!((of("a.gz"), of("csv"), of("a.txt.gz")), (None, None, None));
        assert_eq!(Format::of_plain(Path::new("a.csv.gz")), None);
    }
}
