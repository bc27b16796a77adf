//! Members, names and arguments that types say the place of.

use super::*;

#[test]
fn members_are_fetched_by_their_places_and_types() {
    use Op::{EmitMemory, EmitString, Load, Register, ReturnValue};
    let limit = MAX_STRING as u16;
    // r8 and r9 are the fifth and sixth argument.
    let (begin, flags) = ((Register, 0, 8, 0), (Register, 0, 9, 0));
    for (text, steps, form) in [
        ("file->f_mode", vec![begin, (EmitMemory, 4, 0, 0)], "u32"),
        ("file->f_mode:x8", vec![begin, (EmitMemory, 1, 0, 0)], "x8"),
        ("file->f_color", vec![begin, (EmitMemory, 4, 0, 120)], "s32"),
        ("file->f_data", vec![begin, (EmitMemory, 8, 0, 128)], "x64"),
        ("file->f_path.dentry", vec![begin, (EmitMemory, 8, 0, 16)], "x64"),
        ("file->f_path.dentry->d_flags", vec![begin, (Load, 8, 0, 16), (EmitMemory, 4, 0, 0)], "u32"),
        // What has no name has no place in the path.
        ("file->f_path.dentry->d_name.count", vec![begin, (Load, 8, 0, 16), (EmitMemory, 4, 0, 32)], "s32"),
        // A pointer to a text is followed, and a text in its place is read there.
        (
            "file->f_path.dentry->d_name.name:string",
            vec![begin, (Load, 8, 0, 16), (Load, 8, 0, 40), (EmitString, 0, limit, 0)],
            "string",
        ),
        (
            "file->f_path.dentry->d_name.name",
            vec![begin, (Load, 8, 0, 16), (Load, 8, 0, 40), (EmitString, 0, limit, 0)],
            "string",
        ),
        ("file->f_name", vec![begin, (EmitString, 0, limit, 24)], "string"),
        ("file->f_name:string", vec![begin, (EmitString, 0, limit, 24)], "string"),
        ("file->f_name[2]", vec![begin, (EmitMemory, 1, 0, 26)], "s8"),
        ("file->f_bytes[7]", vec![begin, (EmitMemory, 1, 0, 47)], "u8"),
        ("file->f_bytes:u8[2]", vec![begin, (EmitMemory, 1, 0, 40), (EmitMemory, 1, 0, 41)], "u8[2]"),
        ("file->f_pairs[3].b", vec![begin, (EmitMemory, 4, 0, 104)], "s32"),
        // Through a pointer that is a member: its third element, and what that points to.
        (
            "file->f_table[2]->b",
            vec![begin, (Load, 8, 0, 112), (Load, 8, 0, 16), (EmitMemory, 4, 0, 8)],
            "s32",
        ),
        ("file->f_other[1].b", vec![begin, (Load, 8, 0, 144), (EmitMemory, 4, 0, 24)], "s32"),
        ("file[0].f_mode", vec![begin, (EmitMemory, 4, 0, 0)], "u32"),
        ("$arg5->f_mode", vec![begin, (EmitMemory, 4, 0, 0)], "u32"),
        // Bit fields, in what holds them.
        ("flags->low", vec![flags, (EmitMemory, 4, 0, 0)], "b3@0/32"),
        ("flags->high", vec![flags, (EmitMemory, 4, 0, 0)], "b3@29/32"),
        ("flags->odd", vec![flags, (EmitMemory, 8, 0, 8)], "b10@6/64"),
        ("flags->whole", vec![flags, (EmitMemory, 4, 0, 12)], "s32"),
        // Pointers whose type is said.
        ("(file)%di->f_mode", vec![(Register, 0, 7, 0), (EmitMemory, 4, 0, 0)], "u32"),
        ("(struct file *)how->f_mode", vec![(Register, 0, 2, 0), (EmitMemory, 4, 0, 0)], "u32"),
        (
            "(file_t)(+8(%di))->f_color",
            vec![(Register, 0, 7, 0), (Load, 8, 0, 8), (EmitMemory, 4, 0, 120)],
            "s32",
        ),
        (
            "(file)@jiffies->f_mode",
            vec![(Op::Immediate, 0, 0, -0x7e00_0000), (Load, 8, 0, 0), (EmitMemory, 4, 0, 0)],
            "u32",
        ),
        // What a pointer to a member of it lies in.
        ("(file,f_path)%di->f_mode", vec![(Register, 0, 7, 0), (EmitMemory, 4, 0, -8)], "u32"),
        (
            "(file,f_pairs[1].b)%di->f_name",
            vec![(Register, 0, 7, 0), (EmitString, 0, limit, 24 - 72)],
            "string",
        ),
        ("(flags,whole)%di->high", vec![(Register, 0, 7, 0), (EmitMemory, 4, 0, -12)], "b3@29/32"),
        // Within other forms, and of what a function returns.
        ("+4(file->f_path.dentry):u16", vec![begin, (Load, 8, 0, 16), (EmitMemory, 2, 0, 4)], "u16"),
        ("+u0(file->f_data):u16", vec![begin, (Load, 8, 0, 128), (Op::EmitUser, 2, 0, 0)], "u16"),
        ("$retval->f_mode", vec![(ReturnValue, 0, 0, 0), (EmitMemory, 4, 0, 0)], "u32"),
        ("file->f_path:x64", vec![begin, (EmitMemory, 8, 0, 8)], "x64"),
    ] {
        assert_eq!(value(text), (steps, form.to_owned()), "{text}");
    }
}

#[test]
fn the_names_of_a_dentry_and_of_a_file_are_followed_to() {
    use Op::{EmitString, Load, Register, Stack};
    let limit = MAX_STRING as u16;
    let name = [(Load, 8, 0, 40), (EmitString, 0, limit, 0)];
    let told = |text| value(text);
    assert_eq!(told("dentry:%pd"), ([&[(Stack, 0, 1, 0)], &name[..]].concat(), "string".into()));
    assert_eq!(
        told("file:%pD"),
        ([&[(Register, 0, 8, 0), (Load, 8, 0, 16)], &name[..]].concat(), "string".into())
    );
    assert_eq!(told("%si:%pd"), ([&[(Register, 0, 6, 0)], &name[..]].concat(), "string".into()));
    let program = try_compile(&["file:%pD"], Moment::Before, true).unwrap();
    assert_eq!(program.layouts[0].name, "arg1", "as the kernel calls it");
}

#[test]
fn arguments_of_a_system_call_are_read_where_its_registers_were_saved() {
    use Op::{EmitMemory, EmitString, Load, Register};
    let begin = (Register, 0, 7, 0);
    assert_eq!(value("fd"), (vec![begin, (EmitMemory, 4, 0, 104)], "u32".into()));
    let limit = MAX_STRING as u16;
    let text = vec![begin, (Load, 8, 0, 104), (EmitString, 0, limit, 0)];
    assert_eq!(value("called"), (text, "string".into()));
    assert_eq!(value("called:x64"), (vec![begin, (EmitMemory, 8, 0, 104)], "x64".into()));
    assert_eq!(
        value("called:x8[1]"),
        (vec![begin, (Load, 8, 0, 104), (EmitMemory, 1, 0, 0)], "x8[1]".into())
    );
}

#[test]
fn members_that_are_not_there_are_told_under_their_places() {
    let told = |text, expected: &str| {
        let error = error(text, Moment::Before, true);
        assert!(error.contains(expected), "{text}: {error}");
    };
    told("file->f_pth.dentry", "struct file has no member `f_pth`: did you mean one of: f_path");
    told("file->f_pth.dentry", "\n  file->f_pth.dentry\n        ^^^^^");
    told(
        "file->f_path.zz",
        "struct path has no member `zz`: it has: mnt, dentry\n  file->f_path.zz\n               ^^",
    );
    told("file->f_path->dentry", "a structure in its place, no pointer: write . before it");
    told(
        "file->f_path.dentry.d_flags",
        "a pointer: write -> before it, not .\n  file->f_path.dentry.d_flags\n                      ^^^^^^^",
    );
    told("file->f_pairs.a", "is an array: write which element before it, as in [0]");
    told("file->f_pairs->a", "is an array: write which element, as in [0]");
    told(
        "file->f_pairs[4].a",
        "it has 4 elements: the last one is [3]\n  file->f_pairs[4].a\n               ^^^",
    );
    told("file->f_mode[1]", "neither an array nor a pointer");
    told("file->f_mode.x", "has no members");
    told("file->f_mode->x", "no pointer: it has no members");
    told("file->f_data[1]", "neither an array nor a pointer");
    told(
        "how->x",
        "a void * has no members: say to what it points, as in (sk_buff)%di->len\n  how->x\n       ^",
    );
    told("%di->f_mode", "has no type: say to what it points");
    told("+0(%di)->f_mode", "has no type");
    told("dfd->f_mode", "no pointer: it has no members");
    told("(fiel)%di->f_mode", "no structure `fiel`: did you mean one of: file");
    told("(flags,low)%di->high", "a bit field has no address");
    told("file->f_path", "`file->f_path` is struct path: name a member of it, as in .mnt");
    told("file->f_pairs", "is an array: name one element");
    told("file->f_mode:string", "is an integer of 4 bytes, not a pointer");
    told("file->f_data:x8[4]", "is a pointer: of what it points to write file->f_data[0]:x8[4]");
    told(
        "file:%pd",
        "`file` points to struct file, and this type is for a struct dentry\n  file:%pd\n       ^^^",
    );
    told("$comm:%pd", "its type can only be string");
}

#[test]
fn without_types_members_are_told_to_be_unknown() {
    let symbols = Symbols::default();
    let why = "the types of the kernel can't be read";
    let place = Place { symbols: &symbols, is_entry: true, types: Err(why), function: Err(why) };
    for text in ["(file)%di->f_mode", "%di:%pd"] {
        let arguments = [parse(text).unwrap()];
        let moments = [Moment::Before];
        let error = compile(&arguments, (Moment::Before, &moments), false, &place).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("write the offset instead"), "{error}");
    }
}

#[test]
fn what_is_returned_has_the_functions_type() {
    assert_eq!(value("$retval").1, "x64");
    let (symbols, (types, mut function)) = (Symbols::default(), types());
    let moments = [Moment::Return];
    let form = |function: &Function| {
        let place = Place { symbols: &symbols, is_entry: true, types: Ok(&types), function: Ok(function) };
        let program = compile(&[parse("$retval").unwrap()], (Moment::Return, &moments), false, &place)?;
        Ok::<_, Mistake>(program.layouts[0].form.clone())
    };
    function.returns = Some(Shape::Integer { bytes: 4, signed: true });
    assert_eq!(form(&function).unwrap(), "s32");
    function.returns = None;
    assert!(form(&function).unwrap_err().why.contains("the function returns nothing"));
}
