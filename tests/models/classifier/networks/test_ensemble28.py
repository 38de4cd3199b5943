import torch

from models.classifier.networks.ensemble28 import BRANCHES, ensemble28


def test_the_maps_of_the_branches_are_7_by_7():
    network = ensemble28(channels=1).network
    assert network.stages(torch.zeros(2, 1, 28, 28)).shape == (2, BRANCHES * 64, 7, 7)


def test_no_feature_depends_on_another_branch():
    network = ensemble28(channels=1).network.eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images).unflatten(1, (BRANCHES, -1))
        for weights in network.stages[1].parameters():
            weights.add_(1)
        after = network(images).unflatten(1, (BRANCHES, -1))
    changed = [(before[:, branch] != after[:, branch]).any().item() for branch in range(BRANCHES)]
    assert changed == [False, True, False, False]


def test_each_branch_may_have_its_own_view():
    network = ensemble28(channels=3).network.eval()
    views = torch.rand(BRANCHES, 2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = network(torch.cat(list(views), dim=1)).unflatten(1, (BRANCHES, -1))
        for branch, view in enumerate(views):
            alone = network(view).unflatten(1, (BRANCHES, -1))[:, branch]
            torch.testing.assert_close(together[:, branch], alone)
