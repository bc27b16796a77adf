//! The probes that are compared: every way to fetch, place and choose.

use super::case::{Case, SAME};

pub(super) const CASES: &[Case] = &[
    Case {
        spec: "do_sys_openat2",
        fetch: r#"'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'user=+0(%si):ustring' 'u=+u0(%si):x32' 'how=+0(%dx):x64[3]' '+8(%dx)' \
            'bits=+0(%dx):b2@0/32' 'sp=$stack' 'caller=$stack0:symbol' 's1=$stack1:u16' 'third=$arg3' 'minus=\-5:s64' 'byte=\300:u8' \
            'banner=@linux_banner:x8[5]' 'in=@linux_banner+6:u32' 'line=+0(@saved_command_line):string' 'bad=+0(\16):string' 'nested=+4(+0(%sp)):x32' \
            'bytes=+0(@saved_command_line):u8[3]' 'strings=@envp_init:string[2]'"#,
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "do_sys_openat2",
        fetch: "'who=$comm' dfd filename how",
        kernel: Some("'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'how=%dx:x64'"),
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "do_sys_openat2",
        at_return: true,
        fetch: "'who=$comm' 'fd=$retval:s32'",
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "vfs_read",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64' 'hex=$retval:x16'",
        least: 10,
        in_interrupt: Some(false),
        ..SAME
    },
    // An instruction inside of a function, which is stepped or emulated by way of a breakpoint.
    Case {
        spec: "vfs_read+$inside",
        fetch: "'who=$comm' '%ax' '%di' '%bx:u32' '%flags' '%cs:x16'",
        least: 10,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "__dev_queue_xmit",
        fetch: "'who=$comm' 'skb=%di' 'len=+112(%di):u32' 'x=+0(+16(%di)):x8[8]'",
        least: 4,
        ..SAME
    },
    // In a soft interrupt.
    Case {
        spec: "ip_rcv",
        fetch: "'who=$comm' 'skb=%di' 'device=%si' 'data=+0(+200(%di)):x32'",
        least: 4,
        in_interrupt: Some(true),
        ..SAME
    },
    Case {
        spec: "submit_bio_noacct",
        fetch: "'who=$comm' 'op=+16(%di):x32' 'flags=+20(%di):x16'",
        least: 1,
        ..SAME
    },
    Case { spec: "nvme_core:nvme_setup_cmd", fetch: "'who=$comm' 'request=%si'", least: 1, ..SAME },
    // Conditions: texts, patterns, and numbers with and without a sign, joined.
    Case {
        spec: "do_sys_openat2",
        fetch: "'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string'",
        condition: Some(r#"filename ~ "/etc/*" && dfd < 0 || who == "ls""#),
        ..SAME
    },
    Case {
        spec: "vfs_read",
        fetch: "'who=$comm' 'count=%dx:u64'",
        condition: Some(r#"count >= 4096 && !(who == "sh" || who ~ "*a[!b]")"#),
        ..SAME
    },
    Case {
        spec: "vfs_read",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64'",
        condition: Some(r#"(got <= 0 || got & 0x40) && who != "dd""#),
        pasted: true,
        least: 2,
        ..SAME
    },
    // Definitions as they are pasted: of an event with a name, of a return, of one that follows so
    // many calls; and the newer way to say a return.
    Case {
        spec: "do_sys_openat2",
        fetch: r#"'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'minus=\-5:s64' '%si:x16'"#,
        pasted: true,
        least: 20,
        ..SAME
    },
    Case {
        spec: "do_sys_openat2",
        at_return: true,
        fetch: "'who=$comm' 'fd=$retval:s32'",
        pasted: true,
        least: 20,
        ..SAME
    },
    Case {
        spec: "vfs_read%return",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64'",
        pasted: true,
        least: 10,
        ..SAME
    },
    // What a function returns has its type, and members: kernel 6.1's own events know neither.
    Case {
        spec: "vfs_read",
        at_return: true,
        fetch: "'who=$comm' '$retval'",
        older: Some("'who=$comm' '$retval:s64'"),
        pasted: true,
        least: 10,
        ..SAME
    },
    Case {
        spec: "getname_flags",
        at_return: true,
        fetch: "'who=$comm' 'name=$retval->name:string' 'count=$retval->refcnt:u32' '+0($retval->name):x8[3]'",
        older: Some(
            "'who=$comm' 'name=+0(+0($retval)):string' 'count=+16($retval):u32' '+0(+0($retval)):x8[3]'",
        ),
        pasted: true,
        least: 20,
        ..SAME
    },
    // Parameters, members, members of members, and what is in place of them.
    Case {
        spec: "vfs_read",
        fetch: "'who=$comm' 'name=file->f_path.dentry->d_name.name:string' 'length=file->f_path.dentry->d_name.len' \
            'flags=file->f_flags' 'mode=file->f_mode:x32' 'inode=file->f_inode->i_ino' 'operations=file->f_op' count buf:x64 \
            'file->f_pos:s64' \"short=file->f_path.dentry->$short:string\"",
        older: Some(
            "'who=$comm' 'name=+0(+40(+24(%di))):string' 'length=+36(+24(%di)):u32' 'flags=+64(%di):u32' \
            'mode=+68(%di):x32' 'inode=+64(+32(%di)):u64' 'operations=+40(%di)' 'count=%dx:u64' 'buf=%si:x64' '+104(%di):s64' \
            'short=+56(+24(%di)):string'",
        ),
        pasted: true,
        least: 10,
        ..SAME
    },
    // The names of files and dentries, for which kernel 6.1 has no word.
    Case {
        spec: "vfs_read",
        fetch: "'who=$comm' 'name=file:%pD' '%di:%pD' '$arg1:%pD'",
        older: Some(
            "'who=$comm' 'name=+0(+40(+24(%di))):string' '+0(+40(+24(%di))):string' '+0(+40(+24($arg1))):string'",
        ),
        kernel: Some("'who=$comm' 'name=file:%pD' '%di:%pD' 'arg4=$arg1:%pD'"),
        pasted: true,
        least: 10,
        ..SAME
    },
    Case {
        spec: "dput",
        fetch: "'who=$comm' 'name=%di:%pd'",
        older: Some("'who=$comm' 'name=+0(+40(%di)):string'"),
        pasted: true,
        least: 10,
        ..SAME
    },
    // All parameters, by their names and types.
    Case {
        spec: "__dev_queue_xmit",
        fetch: "'who=$comm' '$arg*'",
        older: Some("'who=$comm' 'skb=%di' 'sb_dev=%si'"),
        pasted: true,
        least: 4,
        ..SAME
    },
    // Bit fields and elements, which lie in structures and unions without names; the kernel's own
    // events have bit fields by types too, and write over what is behind them.
    Case {
        spec: "__dev_queue_xmit",
        fetch: "'who=$comm' 'kind=skb->pkt_type' 'sum=skb->ip_summed' 'cloned=skb->cloned' 'device=skb->dev->name' 'index=skb->dev->ifindex' \
            'third=skb->cb[3]:x8' 'row=skb->cb:x8[4]' 'head=skb->head[1]:x8'",
        kernel: Some(
            "'who=$comm' 'kind=+128(%di):b3@0/8' 'sum=+128(%di):b2@5/8' 'cloned=+126(%di):b1@0/8' 'device=skb->dev->name:string' 'index=skb->dev->ifindex' \
            'third=+43(%di):x8' 'row=+40(%di):x8[4]' 'head=+1(+200(%di)):x8'",
        ),
        older: Some(
            "'who=$comm' 'kind=+128(%di):b3@0/8' 'sum=+128(%di):b2@5/8' 'cloned=+126(%di):b1@0/8' 'device=+0(+16(%di)):string' 'index=+216(+16(%di)):s32' \
            'third=+43(%di):x8' 'row=+40(%di):x8[4]' 'head=+1(+200(%di)):x8'",
        ),
        least: 4,
        ..SAME
    },
    // Pointers whose type is said, and what a pointer to a member lies in: kernel 7.3's own events
    // have that.
    Case {
        spec: "inet_recvmsg",
        fetch: "'who=$comm' 'inode=(socket_alloc,socket)sock->vfs_inode.i_ino' 'family=(sock)(+24(%di))->__sk_common.skc_family'",
        kernel: Some("'who=$comm' 'inode=+192(%di):u64' 'family=+16(+24(%di)):u16'"),
        ..SAME
    },
    // A system call, whose arguments are where the registers were saved.
    Case {
        spec: "sys_openat",
        fetch: "'who=$comm' dfd filename flags mode '+112($arg1):s32'",
        kernel: Some(
            "'who=$comm' 'dfd=+112(%di):s32' 'filename=+0(+104(%di)):string' 'flags=+96(%di):s32' 'mode=+56(%di):u16' '+112(%di):s32'",
        ),
        kernel_spec: Some("__x64_sys_openat"),
        least: 20,
        ..SAME
    },
    // Several functions at once, and all that a pattern matches: of the kernel's event each is one
    // more probe.
    Case {
        spec: "vfs_read vfs_write",
        fetch: "'who=$comm' count 'file=%di'",
        kernel: Some("'who=$comm' 'count=%dx:u64' 'file=%di'"),
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "vfs_read vfs_write ksys_read",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64'",
        condition: Some(r#"got > 0 && who != "dd""#),
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "vfs_*",
        fetch: "'who=$comm' 'first=%di' 'second=%si'",
        kernel_spec: Some("$(sed -n '/^vfs_[^ ]*$/p' $tracing/available_filter_functions)"),
        least: 50,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "nvme_core:nvme_*",
        fetch: "'who=$comm' 'first=%di'",
        kernel_spec: Some(
            "$(sed -n 's/^\\(nvme_[^ ]*\\) \\[nvme_core\\]$/nvme_core:\\1/p' $tracing/available_filter_functions)",
        ),
        ..SAME
    },
];
