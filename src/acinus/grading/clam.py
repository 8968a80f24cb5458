"""CLAM-SB: gated attention that also learns, patch by patch, to tell the most from the least attended ones.

Source: Lu et al., Data-efficient and weakly supervised computational pathology on whole-slide images, Nature Biomedical
Engineering 5 (2021) 555-570; cross-entropy in place of its smooth SVM loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acinus.grading.mil import GatedAttention, Judged, MilSpec

SAMPLED = 8
"""So many of the most and of the least attended patches teach (half of the bag where it is smaller)."""
BAG_WEIGHT = 0.7
"""Share of the slide's own loss; the rest is that of its patches."""


class ClamSb(GatedAttention):
    """Gated attention with a classifier of patches per class: the most attended patches are evidence of the slide's
    class, the least attended are not; of more than two classes the most attended are no evidence of any other.
    """

    def __init__(self, spec: MilSpec) -> None:
        """What is drawn comes from torch's generator: seed it first."""
        super().__init__(spec)
        self.evidence = nn.ModuleList(nn.Linear(spec.hidden_units, 2) for _ in range(spec.classes))

    def whole_loss(self, loss: Tensor, judged: Judged, label: int) -> Tensor:
        """Return BAG_WEIGHT of the bag's loss and the rest of the patches'."""
        count = min(SAMPLED, len(judged.attention) // 2)
        if not count:
            return loss
        order = torch.argsort(judged.attention.detach(), descending=True, stable=True)
        top, bottom = judged.patches[order[:count]], judged.patches[order[-count:]]
        no = torch.zeros(count, dtype=torch.long, device=loss.device)
        yes = no + 1
        own = F.cross_entropy(self.evidence[label](torch.cat([top, bottom])), torch.cat([yes, no]))
        others = [name for name in range(self.spec.classes) if name != label] if self.spec.classes > 2 else []
        of_patches = torch.stack([own, *(F.cross_entropy(self.evidence[name](top), no) for name in others)]).mean()
        return BAG_WEIGHT * loss + (1 - BAG_WEIGHT) * of_patches
