//! A text that holds words, as `trace --probe 'SPEC FETCH...'` does.

/// The words of `text`, with quotes and backslashes as in a shell.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| format!("`{text}` has a quote that is not closed"))
}

/// Divides a text at its word `if`, which a condition follows; one between quotes is none.
pub(crate) fn at_condition(text: &str) -> Option<(&str, &str)> {
    let (mut quote, mut before) = (None, ' ');
    for (at, char) in text.char_indices() {
        match quote {
            Some(end) if char == end => quote = None,
            Some(_) => {}
            None if matches!(char, '"' | '\'') => quote = Some(char),
            None => {
                if before.is_whitespace()
                    && let Some(behind) = text[at..].strip_prefix("if")
                    && behind.chars().next().is_none_or(|next| next.is_whitespace() || next == '(')
                {
                    return Some((&text[..at], behind));
                }
            }
        }
        before = char;
    }
    None
}

/// What is wrong with the words, in one line: clap's message without its heading and its usage.
pub(super) fn mistake(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}
