use super::*;

fn table(text: &[u8]) -> (tempfile::TempDir, Result<Table>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.csv");
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("here.wav"), "").unwrap();
    let table = Table::open(&path, None);
    (folder, table)
}

/// Returns the labels and answers of a table that is read without an error.
fn read(text: &str) -> (Vec<String>, Vec<Vec<Option<bool>>>) {
    let table = table(text.as_bytes()).1.unwrap();
    assert!(table.skipped.is_empty(), "{text}: {:?}", table.skipped);
    (table.labels, table.rows.into_iter().map(|row| row.answers).collect())
}

#[test]
fn reads_ones_zeros_and_question_marks_and_reports_the_rest() {
    let text = "file,left,\"turn, right\"\na.wav,1,?\nb.wav,0,1\n\nc.wav,1\nd.wav,2,0\n";
    let (folder, table) = table(text.as_bytes());
    let table = table.unwrap();
    assert_eq!(table.labels, ["left", "turn, right"]);
    let row = |name, answers: &[Option<bool>]| Row {
        path: folder.path().join(name),
        answers: answers.to_vec(),
        speaker: None,
    };
    let rows = [row("a.wav", &[Some(true), None]), row("b.wav", &[Some(false), Some(true)])];
    assert_eq!(table.rows, rows);
    assert_eq!(table.skipped.len(), 2);
    assert!(table.skipped[0].contains("line 5: 2 columns"), "{:?}", table.skipped);
    assert!(table.skipped[1].contains("line 6: \"2\""), "{:?}", table.skipped);
}

#[test]
fn rejects_malformed_tables_by_name() {
    for text in
        [&b""[..], b"file\n", b"file,a,a\nx,1,1\n", b"file,\nx,1\n", b"\xff\xfe,a\n", b"f,\"a\n"]
    {
        let error = table(text).1.err().unwrap().to_string();
        assert!(error.contains("labels.csv"), "{error}");
    }
}

#[test]
fn every_separator_line_end_and_blank_is_read_alike() {
    let expected = (
        vec!["hey".to_owned(), "turn, right".to_owned()],
        vec![vec![Some(true), None], vec![Some(false), Some(true)]],
    );
    for text in [
        "file;hey;turn, right\na.wav;1;?\nb.wav;0;1\n",
        "file\they\tturn, right\na.wav\t1\t?\nb.wav\t0\t1",
        "\u{feff}file, hey ,\"turn, right\"\r\na.wav, 1 ,?\r\nb.wav,0,1\r\n",
        "sep=;\r\nfile;hey;\"turn, right\"\r\na.wav;1;\r\nb.wav;0;1\r\n",
        "file;hey;turn, right;\na.wav;1,0;?;\nb.wav;0,0;1,0;\n;;;\n",
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn values_of_spreadsheets_and_pandas_are_read() {
    let text = "file,yes,no\na,1.0,TRUE\nb,0.0,False\nc,,?\nd,Yes,no\ne,NaN,1.00\n";
    let (labels, rows) = read(text);
    assert_eq!(labels, ["yes", "no"]);
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(rows, [[yes, yes], [no, no], [None, None], [yes, no], [None, yes]]);
}

#[test]
fn a_speaker_is_no_label() {
    let (_folder, table) = table(b"file,hey,Speaker\na.wav,1,Ana\nb.wav,0,\n");
    let table = table.unwrap();
    assert_eq!(table.labels, ["hey"]);
    let speakers: Vec<Option<&str>> = table.rows.iter().map(|r| r.speaker.as_deref()).collect();
    assert_eq!(speakers, [Some("Ana"), None]);
}

#[test]
fn a_table_without_a_header_is_refused() {
    for text in [
        "here.wav,1\nb.wav,0\n",
        "gone.wav,1,0\n",
        "gone;?;1.0\n",
        "gone.wav,yes,no\nb.wav,no,no\n",
    ] {
        let error = table(text.as_bytes()).1.err().unwrap();
        assert!(matches!(error, Error::TableWithoutHeader { .. }), "{error}");
    }
}

#[test]
fn file_has_one_label_and_counts_once() {
    let text = b"file,hey,hi\na.wav,1,?\nb.wav,1,0\n./a.wav,0,1\n";
    let error = table(text).1.err().unwrap().to_string();
    for part in ["a.wav", "\"hey\"", "line 2", "line 4"] {
        assert!(error.lines().next().unwrap().contains(part), "{error}");
    }
    let table = table(b"file,hey,hi\na.wav,1,?\na.wav,1,0\n").1.unwrap();
    assert_eq!(table.rows.len(), 1);
    assert_eq!(table.rows[0].answers, [Some(true), Some(false)]);
    assert!(table.skipped[0].contains("line 3"), "{:?}", table.skipped);
}

#[test]
fn reports_rows_lost_to_an_open_quote() {
    let table = table(b"file,hey\na.wav,1\n\"b.wav,1\nc.wav,0\n").1.unwrap();
    assert_eq!((table.rows.len(), table.skipped.len()), (1, 1));
    assert!(table.skipped[0].contains("quote"), "{:?}", table.skipped);
}

#[test]
fn rows_of_a_split_are_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.csv");
    fs::write(&path, "file;cat;Split\na.png;1;train\nb.png;0;test\n").unwrap();
    let table = Table::open(&path, Some("test")).unwrap();
    assert_eq!((table.labels, table.rows.len()), (vec!["cat".to_owned()], 1));
    assert!(Table::open(&path, Some("none")).unwrap().rows.is_empty());
}
