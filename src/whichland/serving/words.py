"""Probabilities in words, the same words for the same probabilities everywhere.

The scale is the calibrated language of the Intergovernmental Panel on Climate Change (Mastrandrea et al. 2010,
Guidance Note for Lead Authors of the IPCC Fifth Assessment Report on Consistent Treatment of Uncertainties, table
1 and the note below it). There the ranges overlap; here each probability has the narrowest that holds it.
"""

# From which probability on a word holds, surest first.
WORDS: tuple[tuple[float, str], ...] = (
    (0.99, "virtually certain"),
    (0.95, "extremely likely"),
    (0.90, "very likely"),
    (0.66, "likely"),
    (0.50, "more likely than not"),
    (0.33, "about as likely as not"),
    (0.10, "unlikely"),
    (0.01, "very unlikely"),
    (0.0, "exceptionally unlikely"),
)


def words(probability: float) -> str:
    """The word for a probability in [0, 1].

    >>> words(0.97), words(0.4), words(0.0)
    ('extremely likely', 'about as likely as not', 'exceptionally unlikely')
    """
    return next(word for least, word in WORDS if probability >= least)
