"""What is fixed beforehand in the retrieval, for all runs to be comparable."""

SPLITS = ("train", "val", "test")
STANDARD_K = (1, 5, 10)  # always evaluated
FAILURE_K = 5  # cut-off of the failure analysis: Hit@5
BOOTSTRAP_SEED = 0
