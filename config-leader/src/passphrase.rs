//! Passphrases: from the environment, where a service manager puts them, else from the person at the terminal.

use zeroize::Zeroizing;

/// The value of the environment variable `variable`, else what a person types when asked for `what`, twice where it is a new
/// one. `None` where nobody says one, or not the same one twice.
pub(crate) fn ask(variable: &str, what: &str, is_new: bool) -> Option<Zeroizing<String>> {
    if let Ok(said) = std::env::var(variable) {
        return Some(Zeroizing::new(said));
    }
    let prompt = |prompt: String| rpassword::prompt_password(prompt).ok().map(Zeroizing::new);
    let said = prompt(format!("{what}: "))?;
    if is_new && prompt(format!("{what}, once more: "))? != said {
        return None;
    }
    Some(said)
}
