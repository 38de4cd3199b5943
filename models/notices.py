"""Sentences that every product carries."""

RESEARCH_NOTICE = "Research use only: not a medical device, not for diagnosis or treatment."
PHANTOM_NOTICE = "DRAWN PHANTOMS, NOT PATIENTS: no dataset was found, so these figures say nothing about X-rays."
RANDOM_WEIGHTS_NOTICE = "RANDOM WEIGHTS: this language model was never trained, so its text means nothing."
RANDOM_ENCODER_NOTICE = "RANDOM WEIGHTS: this encoder was never trained, so what is found with it means nothing."
