use super::super::campaign::Bounds;
use super::super::campaign::tests::{about, campaign};
use super::super::outcome::Trouble;
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn an_interrupted_campaign_goes_on_where_it_was_and_one_that_killed_the_kernel_has_found_that() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path()).unwrap().is_none());
    let mut state = State::open(folder.path()).unwrap();
    state.begin(&about(), &campaign().sites, LIMIT).unwrap();
    let bounds = Bounds { budget: Duration::MAX, most: None, repeat: 1 };
    let first = campaign().next(&bounds).unwrap();
    state.begun(&first, "boot 1").unwrap();

    // Interrupted: it is made again.
    let mut kept = read(folder.path()).unwrap().unwrap();
    state.settle(&mut kept, "boot 1", || None).unwrap();
    assert_eq!(kept.campaign.next(&bounds), Some(first.clone()));
    // So it is of a machine that was started anew since.
    let mut kept = read(folder.path()).unwrap().unwrap();
    state.settle(&mut kept, "boot 2", || None).unwrap();
    assert_eq!(kept.campaign.next(&bounds), Some(first.clone()));
    // Broken off: it is made again too, whatever boot that was in.
    state.begun(&first, "boot 1").unwrap();
    state.left().unwrap();
    fs::write(folder.path().join(LAST_WORDS), "[ 1.0] Oops: 0002 [#1] SMP\n").unwrap();
    let mut kept = read(folder.path()).unwrap().unwrap();
    assert!(kept.open.is_none());
    state.settle(&mut kept, "boot 2", || None).unwrap();
    assert_eq!(kept.campaign.next(&bounds), Some(first.clone()));
    assert!(!folder.path().join(LAST_WORDS).exists(), "of nothing that was made");
    state.begun(&first, "boot 1").unwrap();
    // The kernel died: that is the finding.
    fs::write(folder.path().join(LAST_WORDS), "[ 1.0] Oops: 0002 [#1] SMP\n").unwrap();
    let mut kept = read(folder.path()).unwrap().unwrap();
    state.settle(&mut kept, "boot 2", || Some("unit_wait".into())).unwrap();
    assert_ne!(kept.campaign.next(&bounds), Some(first.clone()));
    assert_eq!(kept.campaign.findings()[0].trouble, Trouble::Died);
    assert!(kept.campaign.runs()[0].outcome.log.contains("Oops"));
    assert_eq!(kept.campaign.runs()[0].outcome.function.as_deref(), Some("unit_wait"));
    // And it is kept.
    let kept = read(folder.path()).unwrap().unwrap();
    assert_eq!(kept.campaign.runs()[0].experiment, first);
    assert!(kept.open.is_none() && kept.limit == LIMIT);
}

#[test]
fn a_folder_is_of_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert!(matches!(State::open(folder.path()), Err(StateError::Busy { .. })));
    drop(state);
    State::open(folder.path()).unwrap();
}

#[test]
fn a_line_that_was_cut_off_is_left_out_and_one_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(folder.path()).unwrap();
    state.begin(&about(), &campaign().sites, LIMIT).unwrap();
    let path = folder.path().join(FILE);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"kind\":\"ended\",\"exp")).unwrap();
    assert!(read(folder.path()).unwrap().is_some());
    state.trim().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    fs::write(&path, format!("{whole}none\n")).unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("line 3, is none of a campaign"), "{error}");
}

#[test]
fn nothing_is_left_of_a_campaign_that_has_not_begun_but_what_others_put_there() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    let state = State::open(&own).unwrap();
    fs::write(own.join("said"), "").unwrap();
    state.discard();
    assert!(!own.exists());
    let state = State::open(folder.path()).unwrap();
    fs::write(folder.path().join("mine"), "").unwrap();
    state.discard();
    assert!(folder.path().join("mine").exists() && !folder.path().join(FILE).exists());
}

#[test]
fn a_folder_of_another_campaign_is_told() {
    let other = About { command: vec!["true".into()], ..about() };
    let error = is_of(&about(), &other, Path::new("x")).unwrap_err().to_string();
    assert_eq!(
        error,
        "x is of another campaign: COMMAND was cat '/dev/edu one' there and is true here; name another folder with --state"
    );
    let words = ["cat", "/dev/edu", "one"].map(str::to_owned).to_vec();
    let other = About { command: words, ..about() };
    assert!(is_of(&about(), &other, Path::new("x")).is_err(), "other words of the same letters");
    let other = About { seed: 8, ..about() };
    let error = is_of(&about(), &other, Path::new("x")).unwrap_err().to_string();
    assert!(error.contains("--seed was 7 there and is 8 here"), "{error}");
    assert!(is_of(&about(), &about(), Path::new("x")).is_ok());
}
