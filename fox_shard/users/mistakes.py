"""What is wrong with a user, in words.

Owns: the words for the forms that names, keys and verifiers have. Never: checking.
"""

from typing import Final

from fox_shard.users.user import NAME_FORM, PUBLIC_KEY_FORM, VERIFIER_FORM

_WORDS: Final = {
    NAME_FORM: 'a name has no control characters, and begins neither with "fox." nor with a space',
    PUBLIC_KEY_FORM: "a public key has 64 hexadecimal digits, in lower case",
    VERIFIER_FORM: "a password verifier is made by `fox user add`, and begins with $argon2id$",
}


def in_words(error: Exception) -> str:
    """Return what a validation says, with words for the forms that it names as expressions."""
    text = str(error)
    for form, words in _WORDS.items():
        text = text.replace(f"Expected `str` matching regex {form!r}", words)
    return text
