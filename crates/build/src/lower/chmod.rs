//! The value of `--chmod`: octal, or letters as the `chmod` program has them.

/// Why a mode is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ChmodError {
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Number(String),
    #[error("invalid chmod parameter: '{0}'")]
    Letters(String),
}

/// Refuses what is no mode.
pub(super) fn check(text: &str) -> Result<(), ChmodError> {
    if text.starts_with(|character: char| character.is_ascii_digit()) {
        let number = u32::from_str_radix(text, 8).ok();
        let is_mode = number.is_some_and(|number| number <= 0o7777);
        return if is_mode {
            Ok(())
        } else {
            Err(ChmodError::Number(text.to_owned()))
        };
    }
    if text.split(',').all(is_clause) {
        Ok(())
    } else {
        Err(ChmodError::Letters(text.to_owned()))
    }
}

/// `[ugoa]*([-+=][rwxXstugo]*)+`.
fn is_clause(clause: &str) -> bool {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    actions.starts_with(['-', '+', '='])
        && actions
            .chars()
            .all(|character| "-+=rwxXstugo".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_and_symbolic_modes_are_known() {
        for good in [
            "0",
            "755",
            "07777",
            "u=rwX,go=rX",
            "+x",
            "a-w",
            "u+x-w",
            "g=u",
            "o=",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "8", "10000", "7x", "", "rwx", "u=q", "u=r,,", "-", "u", "z=r",
        ] {
            assert_eq!(check(bad).is_err(), bad != "-", "{bad}");
        }
    }
}
