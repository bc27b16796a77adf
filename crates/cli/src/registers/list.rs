//! `trapline registers list`: which register files there are.

use std::io::{self, Write};

use anstream::ColorChoice;
use trapline_registers::{RegisterFile, Registers};

use crate::naming::{Folders, Found, Senseless};
use crate::output;
use crate::say::say;
use crate::style::WARNING;

use super::RegisterFilesError;
use crate::table::{self, Side};

/// Prints the files that are asked for a device, the first one first. What is wrong with any is
/// told after that, and the last of it ends the command.
pub(super) fn run() -> Result<(), RegisterFilesError> {
    let folders = Folders::here();
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for found in folders.files() {
        match found {
            Ok(Found { path, mut file }) => {
                rows.push(row(&file, path.display().to_string()));
                let in_it = std::mem::take(&mut file.wrong);
                if !in_it.is_empty() {
                    wrong.push(Senseless { path, wrong: in_it }.into());
                }
            }
            Err(error) => wrong.push(error),
        }
    }
    let shipped = Registers::shipped_files().into_iter();
    rows.extend(shipped.map(|(_, file)| row(&file, "(comes with trapline)".into())));
    output::print(|out| {
        let colour = out.current_choice() != ColorChoice::Never;
        write(out, colour, &rows)
    })?;
    let last = wrong.pop();
    wrong.iter().for_each(|error| say!("{WARNING}warning{WARNING:#}: {error}"));
    last.map_or(Ok(()), |error| Err(error.into()))
}

fn write(out: &mut impl Write, colour: bool, rows: &[[String; 4]]) -> io::Result<()> {
    let titles =
        [("name", Side::Left), ("for", Side::Left), ("registers", Side::Right), ("file", Side::Left)];
    table::write(out, colour, titles, rows)
}

fn row(file: &RegisterFile, path: String) -> [String; 4] {
    let elements: u64 = file.registers.iter().map(|register| u64::from(register.count)).sum();
    [file.name.clone(), super::show::devices(file), elements.to_string(), path]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_line_with_its_devices_and_the_count_of_its_registers() {
        let text = "name = \"nic\"\n[[match]]\nvendor = 0x8086\ndevices = [0x10d3]\n[[match]]\ndriver = \"x\"\n\
                    [[register]]\noffset = 0\nname = \"A\"\n[[register]]\noffset = 8\nname = \"B\"\ncount = 16\n";
        let nic = RegisterFile::parse("", text).unwrap();
        let none = RegisterFile::parse("", "name = \"draft\"").unwrap();
        let mut out = Vec::new();
        write(&mut out, false, &[row(&nic, "/a/nic.toml".into()), row(&none, "/a/draft.toml".into())])
            .unwrap();
        let expected = "\
name   for                  registers  file
nic    8086:10d3, driver=x         17  /a/nic.toml
draft  no device                    0  /a/draft.toml
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
