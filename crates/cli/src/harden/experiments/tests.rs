use super::*;

#[test]
fn a_reset_that_fails_is_no_unbind_that_fails() {
    let of = |status, remains| Quiet::of(&Ended { status, remains, ..Ended::default() });
    assert_eq!(of(Some(0), false), Quiet::Done);
    assert_eq!(of(Some(Binding::NO_RESET), false), Quiet::NoReset);
    assert_eq!(of(Some(1), false), Quiet::Bound);
    assert_eq!((of(None, false), of(Some(0), true)), (Quiet::Bound, Quiet::Bound));
}
