//! What a person sees: titles, tables, and each check with its outcome.

use std::io::Write;

/// Writes a scenario's story and keeps count of its checks.
pub struct Report {
    out: Box<dyn Write + Send>,
    passed: usize,
    failed: Vec<String>,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Report")
            .field("passed", &self.passed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Report {
    /// A report that goes to `out`.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), passed: 0, failed: Vec::new() }
    }

    fn write(&mut self, text: &str) {
        // Whoever closed the terminal still wants the pods taken down.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    /// The heading of a step.
    pub fn title(&mut self, text: &str) {
        self.write(&format!("\n== {text}\n"));
    }

    /// One line of the story.
    pub fn line(&mut self, text: &str) {
        self.write(&format!("   {text}\n"));
    }

    /// Rows in columns as wide as their widest cell.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        for line in columns(rows) {
            self.line(&line);
        }
    }

    /// Counts a check and shows how it went. `found` says what was seen, and is shown where the check failed.
    pub fn check(&mut self, what: &str, ok: bool, found: &str) -> bool {
        if ok {
            self.passed += 1;
            self.write(&format!("ok   {what}\n"));
        } else {
            self.failed.push(what.to_owned());
            self.write(&format!("FAIL {what}\n     found: {found}\n"));
        }
        ok
    }

    /// Counts a step that went wrong as a whole.
    pub fn broken(&mut self, what: &str, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        self.check(what, false, &text);
    }

    /// Repeats what failed, ends with `N passed, N failed`, and says whether all is well.
    pub fn summary(&mut self) -> bool {
        let failed = std::mem::take(&mut self.failed);
        self.title("Summary");
        for what in &failed {
            self.line(&format!("failed: {what}"));
        }
        if failed.is_empty() {
            self.line("everything is as it should be");
        }
        self.write(&format!("\n{} passed, {} failed\n", self.passed, failed.len()));
        failed.is_empty() && self.passed > 0
    }
}

fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let line = cells.join("  ");
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_line_up_and_end_without_blanks() {
        let lines = columns(&[row(&["VF", "driver", ""]), row(&["0000:01:10.0", "igbvf"])]);
        assert_eq!(lines, ["VF            driver", "0000:01:10.0  igbvf"]);
    }

    #[test]
    fn the_last_line_counts_and_a_failure_shows_what_was_found() {
        let paper = Paper::default();
        let mut report = Report::to(paper.clone());
        report.check("one", true, "");
        report.check("two", false, "3 of 5");
        assert!(!report.summary());
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("FAIL two\n     found: 3 of 5\n"), "{text}");
        assert!(text.ends_with("\n1 passed, 1 failed\n"), "{text}");
    }

    #[test]
    fn nothing_checked_is_no_success() {
        assert!(!Report::to(Paper::default()).summary());
    }
}
