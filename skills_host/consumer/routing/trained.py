"""A classifier of scikit-learn (extra `ml`) in the place of the nearest examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skills_host.consumer.routing.decision import Candidate
from skills_host.consumer.routing.examples import Example, features
from skills_host.consumer.routing.grants import Visible
from skills_host.errors import SettingsError

__all__ = ["Classifier", "trained"]

STRENGTH = 20.0  # inverse of the regularisation; words are few and telling


class Classifier:
    """Logistic regression over the features that the nearest examples are compared by."""

    def __init__(self, vectorizer: Any, model: Any) -> None:
        self._vectorizer = vectorizer
        self._model = model

    def found(self, text: str, visible: Visible, *, locale: str = "") -> tuple[Candidate, ...]:
        """The skills by their probability, best first, as in `ExampleIndex.found`.

        What a skill that is not visible would have got is nobody's.
        """
        row = self._vectorizer.transform([text])
        if row.nnz == 0:
            return ()
        shares = zip(self._model.classes_, self._model.predict_proba(row)[0], strict=True)
        found = (
            Candidate(str(skill), round(float(share), 4), "by its examples")
            for skill, share in shares
            if not skill or visible(str(skill))
        )
        return tuple(sorted(found, key=lambda candidate: -candidate.score)[:5])


def trained(examples: Sequence[Example]) -> Classifier:
    """A classifier that knows these examples. Raises `SettingsError` without the extra."""
    try:
        # A hundred megabytes, which a host that does not ask for it need not carry.
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise SettingsError('routing.examples.engine: "sklearn" needs skills-host[ml]') from None
    vectorizer = TfidfVectorizer(analyzer=features, sublinear_tf=True)
    rows = vectorizer.fit_transform([text for _, _, text in examples])
    model = LogisticRegression(C=STRENGTH, max_iter=1000, class_weight="balanced")
    model.fit(rows, [skill for skill, _, _ in examples])
    return Classifier(vectorizer, model)
