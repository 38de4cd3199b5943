import pytest
import torch

from models.classifier.networks.ensemble28 import ensemble28
from models.classifier.networks.ensemble28x8 import ensemble28x8

of_each_size = pytest.mark.parametrize(("build", "branches"), [(ensemble28, 4), (ensemble28x8, 8)])


@of_each_size
def test_the_maps_of_the_branches_are_7_by_7(build, branches):
    built = build(channels=1)
    assert built.branches == branches
    assert built.network.stages(torch.zeros(2, 1, 28, 28)).shape == (2, branches * 64, 7, 7)


@of_each_size
def test_no_feature_depends_on_another_branch(build, branches):
    network = build(channels=1).network.eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images).unflatten(1, (branches, -1))
        for weights in network.stages[1].parameters():
            weights.add_(1)
        after = network(images).unflatten(1, (branches, -1))
    changed = [(before[:, branch] != after[:, branch]).any().item() for branch in range(branches)]
    assert changed == [branch == 1 for branch in range(branches)]


@of_each_size
def test_each_branch_may_have_its_own_view(build, branches):
    network = build(channels=3).network.eval()
    views = torch.rand(branches, 2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = network(torch.cat(list(views), dim=1)).unflatten(1, (branches, -1))
        for branch, view in enumerate(views):
            alone = network(view).unflatten(1, (branches, -1))[:, branch]
            torch.testing.assert_close(together[:, branch], alone)
