# %% [markdown]
# # From X-rays to evidence, cell by cell
#
# [Open in Colab](https://colab.research.google.com/github/): enter the address of your copy of the repository and take
# `docs/quickstart.ipynb`. On your own machine: `make setup`, then open this file with the kernel of `.venv`.
#
# Train a classifier on PneumoniaMNIST, look at its figures, search for similar cases, ask about an X-ray of your own,
# and compare two runs. It takes some minutes on two cores. **Research use only: not a medical device.**

# %% [markdown]
# **1. Where things are.** Only Colab needs to fetch and install; everything that is made goes to `outputs/`. Below the
# cell stands the preset: what `debug` shows comes of too few images to mean anything.

# %%
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

if "google.colab" in sys.modules:
    REPOSITORY = ""  # the address that you entered above
    for command in (
        f"git clone --quiet --depth 1 {REPOSITORY} workflow",
        f"{sys.executable} -m pip install --quiet uv",
        f"uv pip install --quiet --python {sys.executable} -r workflow/requirements.in -c workflow/requirements.txt",
    ):
        subprocess.run(command.split(), check=True)
    os.chdir("workflow")
elif not Path("flows").is_dir():
    os.chdir("..")
sys.path.insert(0, "")
warnings.filterwarnings("ignore")
os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"

from flows.support.shell import main

PRESET = os.environ.get("PRESET", "quickstart")  # `standard` is better and slower, `debug` takes 160 images
DATASET = shlex.split(os.environ.get("DATASET", ""))  # --dataset.path mine.npz, for instance
OPTIONS = ["--preset", PRESET, *DATASET, *shlex.split(os.environ.get("OPTIONS", ""))]


def run(flow, *options):
    """What `python -m flows.NAME OPTIONS` does in a shell."""
    assert main(flow, options) == 0, "the sentence above says what is wrong"


PRESET


# %% [markdown]
# **2. Train.** Temperature, threshold and epoch are chosen on validation; the test images are scored once. Run the cell
# again: all steps are hits, and nothing is computed.

# %%
from flows.classification import classification

run(classification, *OPTIONS)

# %% [markdown]
# **3. The metrics**, with 95 % bootstrap intervals, as MLflow has them.

# %%
import mlflow
import pandas as pd

from tasks.storage.locations import outputs, tracking_uri

mlflow.set_tracking_uri(tracking_uri())


def newest(stage):
    """The newest run of a stage, as a row of MLflow's table."""
    found = mlflow.search_runs(experiment_names=[f"pneumonia/{stage}"], filter_string="attributes.status = 'FINISHED'")
    return found.iloc[0]


def metrics(run, *names):
    """Values and intervals of a run."""
    rows = {name: [run.get(f"metrics.{name}{end}") for end in ("", "_ci_low", "_ci_high")] for name in names}
    return pd.DataFrame.from_dict(rows, "index", columns=["value", "from", "to"]).astype(float).round(3)


first = newest("classification")
metrics(first, "test/auc", "test/accuracy", "test/balanced_accuracy", "test/recall", "test/specificity", "test/ece")

# %% [markdown]
# **4. The figures.** Where is it wrong, and where did it look?

# %%
from IPython.display import display
from PIL import Image


def show(path, width=720):
    """A picture, small enough for a notebook."""
    with Image.open(path) as picture:
        picture.thumbnail((width, 4 * width))
        display(picture.convert("P", palette=Image.Palette.ADAPTIVE))


def figure(run, name):
    """The file of a run's figure."""
    return mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path=f"figures/{name}.png")


for name in ("confusion_matrix", "grad_cam"):
    show(figure(first, name))

# %% [markdown]
# **5. Search.** The classifier without its head makes a vector of each image; cases with near vectors look alike. A
# search without an image takes the first of the test split.

# %%
from flows.retrieval import retrieval

run(retrieval, *OPTIONS)

# %%
from flows.search import search

run(search, "--search.k", "5")
show(max(outputs().glob("searches/*/*/gallery.png"), key=lambda path: path.stat().st_mtime))

# %% [markdown]
# **6. An X-ray of your own.** Put a PNG, JPEG or DICOM file in the place of `mine.png`; without one a test image stands
# in. Is it foreign, what does the classifier say, how reliable is that, and which known cases look alike?

# %%
import numpy as np

from flows.cases import cases
from tasks.data.catalogue import locate
from tasks.storage.locations import data_folder

mine = outputs() / "mine.png"
if not mine.exists():
    known = locate(folder=data_folder())
    Image.fromarray(np.load(known.path)["test_images"][7]).save(mine)

run(cases, "--cases.images", str(mine), *DATASET)
show(figure(newest("cases"), "cases"))

# %% [markdown]
# **7. Compare.** Another seed, everything else the same. The intervals say whether the difference means anything;
# `python -m flows.sweep` does this for many.

# %%
run(classification, *OPTIONS, "--training.seed", "1")
names = "test/auc", "test/balanced_accuracy", "test/ece"
runs = {"seed 0": first, "seed 1": newest("classification")}
pd.concat({seed: metrics(run, *names) for seed, run in runs.items()}, axis=1)

# %% [markdown]
# **What next?** `make up` shows all of this in Prefect and MLflow. [Your own data](operations.md#your-own-pictures),
# how far to [trust the classifier](classification.md), [what is measured](results.md) and what falls short.
