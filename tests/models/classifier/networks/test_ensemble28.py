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
