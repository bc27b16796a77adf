use super::*;

fn exit(error: impl Into<TraceError>) -> Exit {
    Error::from(error.into()).exit()
}

#[test]
fn a_command_that_can_not_be_started_has_the_shells_status() {
    let error = |kind| CommandError::Start { command: "x".into(), source: io::Error::from(kind) };
    assert_eq!(exit(error(io::ErrorKind::NotFound)) as u8, 127);
    assert_eq!(exit(error(io::ErrorKind::PermissionDenied)) as u8, 126);
}

#[test]
fn a_refusal_ends_by_whose_fault_it_is() {
    let watch = |reason| {
        let source = io::ErrorKind::Other.into();
        exit(Refusal::Watch { target: String::new(), reason: Some(reason), failed_at: 0, source })
    };
    assert_eq!(watch(WatchError::Ram), Exit::Usage);
    assert_eq!(watch(WatchError::SelfTest), Exit::Environment);
    assert_eq!(watch(WatchError::NoMemory), Exit::Failed);
    let probe = |reason| {
        let (source, nearby) = (io::ErrorKind::Other.into(), String::new());
        exit(Refusal::Probe { name: "f".into(), address: 0, reason: Some(reason), nearby, source })
    };
    assert_eq!(probe(ProbeError::InsideInstruction), Exit::Usage);
    assert_eq!(probe(ProbeError::Taken), Exit::Environment);
    assert_eq!(probe(ProbeError::NoMemory), Exit::Failed);
    let busy = Refusal::Busy { what: "accesses are traced", owner: 1, name: None };
    assert_eq!(exit(busy), Exit::Environment);
    assert_eq!(exit(ModuleError::SelfTest { outcome: 2 }), Exit::Environment);
}
