//! `trapline explain` on what kernels printed, each beside its explanation (`UPDATE_EXPECT=1`
//! writes those anew): in `oops/` oopses of kernels in a virtual machine, in `reports/` what people
//! meet.
//!
//! Most of `reports/` are made from public reports with names, boards and prose replaced. Some are
//! written by hand in the kernel's own message format: the stack guard page of 6.x, a double fault
//! with its panic, a hard lockup, a coloured soft lockup, refcount and 6.18 warnings, user traps,
//! split locks, and the short ones by which a review found wrong diagnoses.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::expect_file;

fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trapline"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments ends without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oops").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Explains each text of a folder and compares with the file beside it, in which what is said on
/// standard error comes last.
fn check(folder: &str, at_least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    names.sort();
    assert!(names.len() >= at_least, "{names:?}");
    for input in names {
        let output = explain(&["-"], &std::fs::read_to_string(&input).unwrap());
        let mut said = text(&output.stdout);
        // A status other than 0 comes with a message, and no message with status 0.
        assert_eq!(output.status.success(), output.stderr.is_empty(), "{}", input.display());
        if let Some(status) = output.status.code().filter(|status| *status != 0) {
            said += &format!("[exit status {status}] {}", text(&output.stderr));
        }
        expect_file![input.with_extension("explained")].assert_eq(&said);
    }
}

#[test]
fn each_oops_of_a_kernel_is_explained() {
    check("oops", 8);
}

#[test]
fn each_report_that_people_meet_is_explained() {
    check("reports", 155);
}

#[test]
fn the_picture_of_the_documentation_is_what_a_terminal_shows() {
    let said = explain(&["--color", "always"], &read("list-poison.txt"));
    let shown = format!("\x1b[36m$ dmesg | trapline explain\x1b[0m\n{}", text(&said.stdout));
    let picture = anstyle_svg::Term::new().render_svg(&shown);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explain.svg");
    expect_file![path].assert_eq(&picture);
}

#[test]
fn an_oops_cut_off_in_the_middle_is_explained_as_far_as_it_goes_and_then_told_of() {
    let whole = read("null.txt");
    let cut = &whole[..whole.find("RBP: ").unwrap()];
    let output = explain(&[], cut);
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stdout);
    assert!(said.contains("write to a page that is not present, in kernel mode"), "{said}");
    assert!(said.contains("use+0x5/0x20 [oops]"), "{said}");
    let message = text(&output.stderr);
    assert!(message.contains("it lacks registers, the call trace, the line of its end"), "{message}");
}

#[test]
fn a_log_without_an_oops_is_refused() {
    let output = explain(&["-"], "[    0.0] Linux version 6.1\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), String::new()));
    assert!(text(&output.stderr).contains("holds no oops"), "{output:?}");
}

#[test]
fn what_an_error_code_leaves_open_is_said() {
    for (arguments, word) in [
        // As the kernel tells programs of its own half; as it was for the kernel itself.
        (["0x5", "ffffffff81000000"], Some("sanitize_error_code")),
        (["0x4", "ffffffff81000000"], Some("a wild pointer")),
        (["0x5", "7fff81000000"], None),
        (["0x3", "7fff81000000"], Some("SMAP")),
        (["0x7", "7fff81000000"], None),
        (["0x3", "ffffffff81000000"], None),
        (["0x23", "7fff81000000"], None),
    ] {
        let said = text(&explain(&arguments, "").stdout);
        match word {
            Some(word) => assert!(said.contains("note: ") && said.contains(word), "{arguments:?}: {said}"),
            None => assert!(!said.contains("note: "), "{arguments:?}: {said}"),
        }
    }
}

#[test]
fn input_of_another_format_is_named_with_what_reads_it() {
    let output = explain(&[], "PERFILE2 and so on");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), String::new()));
    assert!(text(&output.stderr).contains("a recording of perf: perf report -i FILE"), "{output:?}");
    // The words of reports are in the kernel's image.
    let output = explain(&[], "\x7fELF\x02\x01\nkernel BUG at %s:%u!\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), String::new()));
}

#[test]
fn what_an_error_code_has_no_use_for_is_refused() {
    for arguments in
        [&["0x7", "--format", "json"] as &[&str], &["0x7", "--vmlinux", "a"], &["0x7", "--module", "a"]]
    {
        let output = explain(arguments, "");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{arguments:?}");
        assert!(text(&output.stderr).contains("is for a log on standard input"), "{output:?}");
    }
}

#[test]
fn long_lines_and_many_prefixes_take_no_long_time() {
    let brackets = "[ 1.0] ".repeat(100_000);
    let bytes = format!("Oops: 0000 [#1]\nCode: {}<90> 90\n", "06 ".repeat(100_000));
    let joined = format!("Code: 90\n{}", "90 90\n".repeat(100_000));
    let begun = std::time::Instant::now();
    for input in [brackets, bytes, joined] {
        explain(&[], &input);
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn with_all_each_report_is_explained_on_its_own() {
    let both = read("null.txt") + &read("smap.txt");
    let first = text(&explain(&[], &both).stdout);
    assert!(first.contains("address     0x28") && !first.contains("address     0x7fe4550b9000"), "{first}");
    assert!(first.contains("holds 1 other report of the kernel"), "{first}");
    let all = text(&explain(&["--all"], &both).stdout);
    let alone = |name: &str| text(&explain(&[], &read(name)).stdout);
    assert_eq!(all, alone("null.txt") + "\n" + &alone("smap.txt"));
}

#[test]
fn machines_are_told_the_same_as_people() {
    let output = explain(&["--format", "json"], &read("null.txt"));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [report] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(report["kind"], "page-fault");
    assert_eq!((report["address"].as_str(), report["error_code"].as_str()), (Some("0x28"), Some("0x2")));
    assert_eq!(report["task"], serde_json::json!({ "name": "sh", "pid": 187 }));
    assert_eq!(report["registers"]["RSI"], "0x2126fda4");
    let human = text(&explain(&[], &read("null.txt")).stdout);
    for row in report["explanation"]["rows"].as_array().unwrap() {
        for line in row["text"].as_str().unwrap().lines() {
            assert!(human.contains(line), "{line}");
        }
    }
}

/// A kernel and a module, as far as their debugging information goes: a program that is linked, and
/// an object file that is not, whose text is not its first section.
fn compiled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Two reads that can't be left out, so that the second instruction is one of `field`.
    let source = "static inline __attribute__((always_inline)) int field(volatile int *p) {\n    int a = *p;\n    \
        return a * *p;\n}\nint __attribute__((noinline)) use_it(volatile int *p) {\n    return 1 + field(p);\n}\n\
        int caller(volatile int *p) {\n    int x = use_it(p);\n    return x + 1;\n}\n";
    std::fs::write(at("box.c"), source).unwrap();
    std::fs::write(at("other.c"), format!("int first(int x) {{\n    return x * 3;\n}}\n{source}")).unwrap();
    let cc = |arguments: &[&str]| {
        let status = Command::new("cc").current_dir(folder.path()).args(arguments).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    };
    cc(&["-g", "-O1", "-fcf-protection=none", "-c", "-ffunction-sections", "other.c", "-o", "some-box.ko"]);
    cc(&[
        "-g",
        "-O1",
        "-fcf-protection=none",
        "-nostdlib",
        "-static",
        "-Wl,-e,caller",
        "box.c",
        "-o",
        "vmlinux",
    ]);
    folder
}

/// A report whose functions have the sizes of those in `file`.
fn report_of(file: &Path, module: &str) -> String {
    use object::{Object, ObjectSymbol};
    let bytes = std::fs::read(file).unwrap();
    let object = object::File::parse(bytes.as_slice()).unwrap();
    let size = |name: &str| object.symbol_by_name(name).unwrap().size();
    let call = |name: &str, offset: u64| format!("{name}+{offset:#x}/{:#x}{module}", size(name));
    // A call instruction has five bytes and comes first but for what makes room on the stack.
    let text = read("null.txt");
    text.replace("use+0x5/0x20 [oops]", &call("use_it", 2))
        .replace("wr+0x53/0xda0 [oops]", &call("caller", size("caller") - 1))
}

#[test]
fn calls_get_their_lines_from_the_kernels_image_and_from_modules() {
    let folder = compiled();
    let vmlinux = folder.path().join("vmlinux");
    let module = folder.path().join("some-box.ko");
    for (option, file, of, lines) in [
        ("--vmlinux", &vmlinux, "", ["box.c:3, in field, inlined", "box.c:6", "box.c:10"]),
        ("--module", &module, " [some_box]", ["other.c:6, in field, inlined", "other.c:9", "other.c:13"]),
    ] {
        let report = report_of(file, of);
        let said = text(&explain(&[option, file.to_str().unwrap()], &report).stdout);
        for line in lines {
            assert!(said.contains(line), "{line}: {said}");
        }
        // Another build's function has another size: nothing is told of it.
        let other = report.replace("use_it+0x2/0x", "use_it+0x2/0xf");
        let said = text(&explain(&[option, file.to_str().unwrap()], &other).stdout);
        assert!(!said.contains("in field"), "{said}");
    }
}

#[test]
fn a_module_of_a_32_bit_kernel_has_its_addends_where_the_results_go() {
    let folder = compiled();
    let flags = ["-m32", "-g", "-O1", "-fcf-protection=none", "-c", "-ffunction-sections", "other.c"];
    let status =
        Command::new("cc").current_dir(folder.path()).args(flags).args(["-o", "some-box.ko"]).status();
    assert!(status.unwrap().success());
    let module = folder.path().join("some-box.ko");
    let report = report_of(&module, " [some_box]");
    let said = text(&explain(&["--module", module.to_str().unwrap()], &report).stdout);
    assert_eq!(said.matches("other.c:").count(), 2, "{said}");
    assert!(said.contains("other.c:13"), "{said}");
}

/// Addresses of `use_it` and of `caller` behind it, and the size of the first.
fn neighbours(file: &Path) -> (u64, u64, u64) {
    use object::{Object, ObjectSymbol};
    let bytes = std::fs::read(file).unwrap();
    let object = object::File::parse(bytes.as_slice()).unwrap();
    let symbol = |name: &str| object.symbol_by_name(name).unwrap();
    (symbol("use_it").address(), symbol("caller").address(), symbol("use_it").size())
}

#[test]
fn a_function_is_the_same_builds_if_the_next_one_begins_where_the_report_says() {
    let folder = compiled();
    let vmlinux = folder.path().join("vmlinux");
    let status = Command::new("cc")
        .current_dir(folder.path())
        .args(["-g", "-O1", "-fcf-protection=none", "-falign-functions=64", "-nostdlib", "-static"])
        .args(["-Wl,-e,caller", "box.c", "-o", "vmlinux"])
        .status();
    assert!(status.unwrap().success());
    let (address, next, size) = neighbours(&vmlinux);
    let said = |size: u64| {
        let report = read("null.txt").replace("use+0x5/0x20 [oops]", &format!("use_it+0x2/{size:#x}"));
        text(&explain(&["--vmlinux", vmlinux.to_str().unwrap()], &report).stdout)
    };
    assert!(next - address > size + 1, "no padding to test with");
    assert!(said(next - address).contains("box.c:6"), "{}", said(next - address));
    let other = said(size + 1);
    assert!(!other.contains("box.c") && other.contains("it is another build's"), "{other}");
}

#[test]
fn a_file_with_none_of_the_reports_functions_is_named() {
    let folder = compiled();
    let (vmlinux, module) = (folder.path().join("vmlinux"), folder.path().join("some-box.ko"));
    for (option, file, says) in [
        (
            "--vmlinux",
            &vmlinux,
            "vmlinux has none of the functions that the report names of the kernel's image",
        ),
        ("--module", &module, "some-box.ko: the report names no function of the module some_box"),
    ] {
        let said = text(&explain(&[option, file.to_str().unwrap()], &read("null.txt")).stdout);
        assert!(said.contains("note: ") && said.contains(says), "{said}");
    }
}

#[test]
fn a_file_of_another_kernel_is_told_of_and_tells_no_lines() {
    let folder = compiled();
    let at = |name: &str| folder.path().join(name);
    let source = std::fs::read_to_string(at("box.c")).unwrap();
    let banner = "const char linux_banner[] = \"Linux version 6.12.94+deb12-amd64 (somebody) #1\";\n";
    let magic = "static const char magic[] __attribute__((section(\".modinfo\"), used)) = \
        \"license=GPL\\0vermagic=6.12.94+deb12-amd64 SMP\";\n";
    std::fs::write(at("box.c"), banner.to_owned() + magic + &source).unwrap();
    let cc = |arguments: &[&str]| {
        let mut cc = Command::new("cc");
        let status = cc.current_dir(folder.path()).args(["-g", "-O1", "box.c"]).args(arguments).status();
        assert!(status.unwrap().success(), "{arguments:?}");
    };
    cc(&["-c", "-o", "some-box.ko"]);
    cc(&["-nostdlib", "-static", "-Wl,-e,caller", "-o", "vmlinux"]);
    for (option, file) in [("--vmlinux", at("vmlinux")), ("--module", at("some-box.ko"))] {
        let said = |report: &str| text(&explain(&[option, file.to_str().unwrap()], report).stdout);
        let report = report_of(&file, if option == "--module" { " [some_box]" } else { "" });
        let told = said(&report);
        let expected = "is of kernel 6.12.94+deb12-amd64, the report of 6.12.95+deb12-amd64: no lines";
        assert!(told.contains(expected) && !told.contains("box.c:"), "{told}");
        let told = said(&report.replace("6.12.95+deb12", "6.12.94+deb12"));
        assert!(!told.contains("is of kernel") && told.contains("box.c:"), "{told}");
    }
}

#[test]
fn a_file_without_debugging_information_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let text_file = folder.path().join("vmlinux");
    std::fs::write(&text_file, "no image").unwrap();
    let output = explain(&["--vmlinux", text_file.to_str().unwrap()], &read("null.txt"));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), String::new()));
    assert!(
        text(&output.stderr).contains("expected a whole ELF file: vmlinux or a module, uncompressed"),
        "{output:?}"
    );
    let program = std::fs::read(env!("CARGO_BIN_EXE_trapline")).unwrap();
    std::fs::write(&text_file, &program[..4096]).unwrap();
    let output = explain(&["--vmlinux", text_file.to_str().unwrap()], &read("null.txt"));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), String::new()));
    assert!(text(&output.stderr).contains("vmlinux is cut off or damaged ("), "{output:?}");
    let output = explain(&["--module", "/nowhere.ko"], &read("null.txt"));
    assert!(text(&output.stderr).contains("can't read /nowhere.ko"), "{output:?}");
}
