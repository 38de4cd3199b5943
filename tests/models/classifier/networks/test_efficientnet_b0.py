import torch

from models.classifier.networks.efficientnet_b0 import efficientnet_b0


def test_the_stages_end_at_2_by_2():
    network = efficientnet_b0(channels=1).network.eval()
    sides = []
    for stage in network.features:
        stage.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    network(torch.zeros(1, 1, 28, 28))
    assert sides == [14, 14, 7, 4, 4, 4, 2, 2, 2]
