import torch
from torch.utils.flop_counter import FlopCounterMode

from models.classifier.networks.compact28 import compact28
from models.classifier.networks.resnet18_gray import resnet18_gray


def test_the_stages_end_at_7_by_7():
    network = compact28(channels=1).network.eval()
    sides = []
    for stage in list(network)[:-1]:
        stage.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    network(torch.zeros(1, 1, 28, 28))
    assert sides == [14, 14, 7, 7, 7]


def test_the_cost_is_a_third_of_resnet18_at_most():
    def operations(build):
        with FlopCounterMode(display=False) as counter:
            build(channels=1).network(torch.zeros(2, 1, 28, 28)).sum().backward()
        return counter.get_total_flops()

    assert operations(compact28) <= operations(resnet18_gray) / 3
