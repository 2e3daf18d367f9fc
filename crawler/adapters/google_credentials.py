"""What to do where Google Cloud has no credentials for us."""

from __future__ import annotations


def without_credentials(error: Exception) -> str:
    """Say what makes credentials, in the middle of a sentence; of the error no more is told than its kind."""
    return (
        f"there are no credentials that work ({type(error).__name__}); on a computer of your own "
        "`gcloud auth application-default login` makes some, and GOOGLE_APPLICATION_CREDENTIALS may name a file of them"
    )
