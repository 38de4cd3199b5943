import torch

from models.classifier.networks.resnet18_gray import resnet18_gray


def test_the_stages_end_at_2_by_2():
    network = resnet18_gray(channels=1).network.eval()
    sides = []
    for stage in (network.conv1, network.layer1, network.layer2, network.layer3, network.layer4):
        stage.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    network(torch.zeros(1, 1, 28, 28))
    assert sides == [14, 14, 7, 4, 2]
