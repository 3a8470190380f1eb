//! Rows of paired samples, and how they are printed.

use std::time::Duration;

pub(crate) struct Table {
    rows: Vec<(&'static str, Vec<Duration>)>,
}

impl Table {
    pub(crate) fn new(rows: &[&'static str]) -> Table {
        Table { rows: rows.iter().map(|name| (*name, Vec::new())).collect() }
    }

    /// One round: a value for each row.
    pub(crate) fn push(&mut self, round: impl IntoIterator<Item = Duration>) {
        self.rows.iter_mut().zip(round).for_each(|(row, value)| row.1.push(value));
    }

    /// Prints every row, with the ratio to the row `floor` of the same round.
    pub(crate) fn print(&self, title: &str, floor: usize) {
        println!("{title:<16}{:>12}{:>24}{:>10}{:>18}", "median", "min – max", "ratio", "min – max");
        let Some((_, floors)) = self.rows.get(floor) else { return };
        for (name, values) in &self.rows {
            let micros: Vec<f64> = values.iter().map(|value| value.as_secs_f64() * 1e6).collect();
            let ratios = values.iter().zip(floors).map(|(value, floor)| value.as_secs_f64() / floor.as_secs_f64());
            let (least, middle, most) = spread(micros);
            let (low, ratio, high) = spread(ratios.collect());
            println!(
                "  {name:<14}{middle:>9.1} µs{:>24}{ratio:>10.3}{:>18}",
                format!("{least:.1} – {most:.1}"),
                format!("{low:.3} – {high:.3}")
            );
        }
    }

    /// Prints the median of every row as a throughput.
    pub(crate) fn print_throughput(&self, bytes: usize) {
        for (name, values) in &self.rows {
            let (_, seconds, _) = spread(values.iter().map(Duration::as_secs_f64).collect());
            println!("  {name:<14}{:>9.0} MB/s", bytes as f64 / 1e6 / seconds);
        }
    }
}

/// Least, median and most.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)))
}
