# Sourced by the scripts beside it: where data and the model come from, neither of which is in the repository.
#   DATA    a folder with qqp/{questions,train,dev}.parquet and qqp/kaggle_train.csv (Quora Question Pairs)
#   MODEL   the folder of sentence-transformers/all-MiniLM-L6-v2
data=${DATA:-../shared/data}
model=${MODEL:-../shared/models/all-MiniLM-L6-v2}

# stops with one line if a file or folder is missing
need() {
    for path in "$@"; do
        [ -e "$path" ] || { echo "$path is missing: set DATA or MODEL (see benches/data.sh)" >&2; exit 1; }
    done
}
