"""Names of the networks, for whoever checks a choice without building one: that takes seconds to import."""

from typing import Literal

Architecture = Literal["ensemble28", "resnet18_gray", "efficientnet_b0", "efficientnet_lite0", "compact28"]
